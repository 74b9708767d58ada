"""The kernel that the virtual machine boots: Debian's, fetched once by apt-get and kept below `target`."""

from __future__ import annotations

import contextlib
import fcntl
import lzma
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE = Path(__file__).parents[2] / "target" / "vm"
# The first that this Debian has. Both depend on the package with the kernel itself.
PACKAGES = ("linux-image-6.12-amd64", "linux-image-amd64")
# What the first stage loads by hand: it has no other file system to find them on.
FIRST_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")


class CannotRun(Exception):
    """The virtual machine cannot be started here."""


@dataclass(frozen=True)
class Kernel:
    """A kernel, unpacked."""

    directory: Path

    @property
    def release(self) -> str:
        """Its `uname -r`."""
        return next(self.modules.iterdir()).name

    @property
    def modules(self) -> Path:
        """What is to be its `/lib/modules`."""
        return self.directory / "lib" / "modules"

    @property
    def image(self) -> Path:
        """What QEMU boots."""
        return self.directory / "boot" / f"vmlinuz-{self.release}"

    def initramfs(self, directory: Path, init: Path) -> Path:
        """Pack the first stage in `directory`: `init`, busybox to run it, and the modules that reach this machine's
        files.
        """
        tree = directory / "initramfs"
        for name in ("bin", "modules", "proc", "sys", "dev", "lower", "overlay", "root"):
            (tree / name).mkdir(parents=True)
        busybox = shutil.which("busybox")
        assert busybox is not None, "tools/need vm has seen to it"
        shutil.copy(busybox, tree / "bin" / "busybox")
        shutil.copy(init, tree / "init")
        order = self._first_modules()
        for module in order:
            packed = module.read_bytes()
            (tree / "modules" / module.name).write_bytes(lzma.decompress(packed) if module.suffix == ".xz" else packed)
        (tree / "modules" / "order").write_text("".join(f"{module.name}\n" for module in order))
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        packed_tree = subprocess.run(
            ["cpio", "--create", "--format=newc", "--quiet"],
            cwd=tree,
            input=names.encode(),
            capture_output=True,
            check=True,
        ).stdout
        archive = directory / "initramfs.cpio"
        archive.write_bytes(packed_tree)
        return archive

    def _first_modules(self) -> list[Path]:
        """The first modules and all that they need, in the order of loading; what is built in is left out."""
        found: dict[Path, None] = {}
        for name in FIRST_MODULES:
            said = _output(
                "modprobe", "--dirname", str(self.directory), "--set-version", self.release, "--show-depends", name
            )
            for line in said.splitlines():
                action, _, path = line.partition(" ")
                if action == "insmod":
                    found[Path(path.split()[0])] = None
        return list(found)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def ready() -> Kernel:
    """The kernel, fetched and unpacked if it is not there yet. Cost: the first time about 110 MB and 10 s.

    Raises:
        CannotRun: apt-get has no kernel to give.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    kernel = Kernel(CACHE / "kernel")
    with _locked(CACHE / "lock"):
        if not kernel.directory.exists():
            _fetch(kernel)
    return kernel


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(kernel: Kernel) -> None:
    """Unpack the kernel's package beside its place, and move it there when it is whole."""
    if shutil.which("apt-get") is None:
        raise CannotRun("its kernel is fetched with apt-get, which is not here")
    package = _package()
    print(f"==> fetching {package}", flush=True)
    draft = Kernel(CACHE / "draft")
    shutil.rmtree(draft.directory, ignore_errors=True)
    draft.directory.mkdir()
    done = subprocess.run(
        ["apt-get", "download", "-qq", package], cwd=draft.directory, capture_output=True, text=True, check=False
    )
    archives = list(draft.directory.glob("*.deb"))
    if done.returncode != 0 or not archives:
        raise CannotRun(f"`apt-get download {package}` failed: {done.stderr.strip()}")
    _output("dpkg-deb", "--extract", str(archives[0]), str(draft.directory))
    archives[0].unlink()
    _output("depmod", "--basedir", str(draft.directory), draft.release)
    os.rename(draft.directory, kernel.directory)


def _package() -> str:
    """The package that holds the newest kernel of the first series that apt knows."""
    for attempt in ("with the lists that are there", "with fresh ones"):
        for package in PACKAGES:
            done = subprocess.run(["apt-cache", "depends", package], capture_output=True, text=True, check=False)
            for line in done.stdout.splitlines():
                word, _, name = line.strip().partition(": ")
                if word == "Depends" and name.startswith("linux-image-"):
                    return name
        if attempt == "with the lists that are there":
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
    raise CannotRun(f"apt knows none of {', '.join(PACKAGES)}")
