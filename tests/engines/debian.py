"""A Debian of another release that runs on the network of a test bed's host, with processes and files of its own.

What is written goes to a layer over the root, which many tests use at once. From outside it has the checkout, the
interpreter that its venv stands on, and the directories of the bed, at the same paths: macvfast runs in it, too.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self

from macvfast.system.configured import FILE, Places
from macvfast.system.units import client
from tests.engines.roots import CHECKOUT, ROOTS
from tests.netns import MACVFAST, Netns, wait_until
from tests.parity.engine import busybox_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.netns import Lan

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# The layer and what engines store, which outlive a reboot.
DISK = "disk"
IMAGE_FILE = "busybox.tar"

# Its first process collects what nobody else waits for. A file system with two trees of cgroups is refused by crun.
_START = """
mount -t overlay none -o lowerdir={root},upperdir={disk}/upper,workdir={disk}/work {disk}/root
cd {disk}/root
mount -t proc proc proc
for seen in sys dev; do mount --rbind /$seen $seen; done
{cgroups}
mount -t tmpfs none run
mkdir -p {tops}
for shared in {shared}; do
  if [ -d $shared ]; then mkdir -p .$shared; else touch .$shared; fi
  mount --bind $shared .$shared
done
mount --bind {disk}/boot_id proc/sys/kernel/random/boot_id
pivot_root . .
umount -l .
cd /
echo ready
sleep infinity &
wait
"""
_ONE_TREE = "mount -t cgroup2 none sys/fs/cgroup"


class _Host(Netns):
    """The network namespace of a bed's host, with the files and processes of a Debian."""

    def __init__(self, path: Path, environment: dict[str, str], first: int) -> None:
        super().__init__(path, environment)
        self.first = first

    def command(self, *command: str | Path) -> list[str]:
        where = ["nsenter", f"--target={self.first}", "--mount", "--pid", f"--net={self.path}"]
        return [*where, "--", *map(str, command)]


class Debian:
    """A running Debian. A context manager; while it runs, what the bed does on its host is done in it.

    Args:
        suite: whose root.
        lan: the bed.
        one_tree: whether its cgroups are one tree, as they are on most machines, and not those of this machine.
    """

    # What `macvfast serve` says for it.
    served: tuple[str, ...] = ()

    def __init__(self, suite: str, lan: Lan, *, one_tree: bool = False) -> None:
        self.suite = suite
        self.lan = lan
        self.directory = lan.state_dir.parent
        self._outside = lan.host
        self._one_tree = one_tree
        self.server: int | None = None
        self._disk = self.directory / DISK
        self._holder: subprocess.Popen[str] | None = None
        self._started: list[subprocess.Popen[bytes]] = []
        self.cgroup = f"macvfast-{lan.host.name}"

    def __enter__(self) -> Self:
        """Boot it; `booted` then starts what belongs to it."""
        self._disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", self._disk], check=True)
        try:
            for name in ("upper", "work", "root"):
                (self._disk / name).mkdir()
            (self.directory / IMAGE_FILE).write_bytes(busybox_layer())
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.halt()
        finally:
            subprocess.run(["umount", self._disk], check=True)

    # Its life.

    def boot(self) -> None:
        """Start it with nothing that runs, and another boot id than ever."""
        (self._disk / "boot_id").write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        root = (ROOTS / self.suite).resolve()
        shared = [*_interpreter(), CHECKOUT, self.directory]
        script = _START.format(
            root=shlex.quote(str(root)), disk=shlex.quote(str(self._disk)), shared=shlex.join(map(str, shared)),
            tops=shlex.join(f".{path.parent}" for path in shared), cgroups=_ONE_TREE if self._one_tree else "",
        )  # fmt: skip
        namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private")
        self._holder = self._outside.start(*namespaces, "sh", "-ec", script)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise AssertionError(self._holder.communicate()[1])
        self.first = _child_of(self._holder.pid)
        environment = {**self._outside.environment, "PATH": PATH, "HOME": "/root"}
        self.lan.host = _Host(self._outside.path, environment, self.first)
        self.booted()

    def booted(self) -> None:
        """Start what runs in it from the beginning."""

    def halt(self) -> None:
        """End all that runs in it at once, as when the power goes; its mounts go, too."""
        self.lan.host = self._outside
        if self._holder is not None:
            self._holder.kill()
            self._holder.communicate()
            self._holder = None
        for one in self._started:
            one.wait()
        self._started.clear()
        if self.lan.server is not None:
            self.lan.server.communicate()
            self.lan.server = None
        for path in sorted(Path("/sys/fs/cgroup").glob(f"**/{self.cgroup}/**/"), reverse=True):
            wait_until(lambda path=path: _is_removed(path), what=f"the end of {path}")  # type: ignore[misc]

    def reboot(self) -> None:
        """Lose all that runs, all namespaces and all links but the parents, and start again."""
        self.halt()
        for link in self._outside.ip_json("link", "show"):
            if link.get("linkinfo", {}).get("info_kind") in {"macvlan", "macvtap", "ipvlan"}:
                self._outside.run("ip", "link", "delete", link["ifname"])
        self.boot()

    # macvfast in it.

    def serve(self) -> None:
        """Start macvfast's server in it, and tell plugins where all is."""
        places = Places(sys.executable, *map(str, (self.lan.state_dir, self.lan.run_dir, self.lan.netns_dir)))
        self.write(str(FILE), client(places))
        self.server = self.spawn(str(MACVFAST), "serve", *self.served)
        wait_until((self.lan.run_dir / "command.sock").exists, 60, "the server's socket")

    def kill_server(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End macvfast's server."""
        assert self.server is not None
        self.end(self.server, number)
        self.server = None

    # What is typed in it.

    def attempt(self, *command: str, stdin: str = "", timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in it, whatever its exit status."""
        return self.lan.host.attempt(*command, stdin=stdin, timeout_s=timeout_s)

    def run(self, *command: str, stdin: str = "", timeout_s: float = 60) -> str:
        """Run a command in it that must succeed; its standard output."""
        return self.lan.host.run(*command, stdin=stdin, timeout_s=timeout_s)

    def spawn(self, *command: str) -> int:
        """Start a command whose output goes to the log; the pid of it out here. It ends with the Debian."""
        with self.log.open("ab") as log:
            started = subprocess.Popen(
                self.lan.host.command(*command), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.lan.host.environment},
            )  # fmt: skip
        self._started.append(started)
        return _child_of(started.pid)

    def end(self, pid: int, number: signal.Signals, timeout_s: float = 60) -> None:
        """End what `spawn` has started by a signal; what it has started goes on."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), timeout_s, f"the end of process {pid}")

    @property
    def log(self) -> Path:
        """What the engine says of itself."""
        return self.directory / "engine.log"

    def path(self, inside: str) -> Path:
        """A file of it by its path in there, while it runs."""
        return Path(f"/proc/{self.first}/root{inside}")

    def write(self, inside: str, text: str) -> None:
        """Write a file in it, and make the directories that lead there."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _interpreter() -> Sequence[Path]:
    """What the interpreter of the venv consists of beside the venv. Debian's own shares /usr with much else."""
    prefix = Path(sys.base_prefix)
    if prefix != Path("/usr"):
        return [prefix]
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [prefix / "bin" / name, prefix / "lib" / name]


def _child_of(pid: int) -> int:
    """The only child of a process, once it is there."""

    def children() -> list[str]:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()

    (child,) = wait_until(children, what=f"a child of process {pid}")
    return int(child)


def _is_removed(cgroup: Path) -> bool:
    """Remove a cgroup; what was killed in it leaves it a moment later."""
    try:
        cgroup.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
