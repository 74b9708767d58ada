"""One run of the virtual machine: boots, runs one command as root on this machine's files, ends with its exit status.

The guest sees this machine's whole file system at the same paths, read-only under an overlay in memory: whatever it
writes is gone when it ends, save in the one directory that it was given to keep.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.vm import kernel
from tests.vm.kernel import CannotRun, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TREE = Path(__file__).parents[2]
GUEST = Path(__file__).parent / "guest"
TIMED_OUT = 124
MEMORY = "2G"
# With a second one the same work costs twice the time of this machine: both wait for each other.
CPUS = 1

# What the guest's command gets of the environment here, beside MACVFAST_VM=1.
ENVIRONMENT = ("PATH", "HOME", "CI")


@dataclass(frozen=True)
class Run:
    """What is to be run.

    Attributes:
        command: as typed here.
        keep: a directory of this machine that the guest may write to, at the same path.
        timeout_s: after which the machine is switched off.
    """

    command: Sequence[str]
    keep: Path | None = None
    timeout_s: float = 900


def prepare() -> Kernel:
    """See to all that a run needs, installing what is missing where that is possible.

    Raises:
        CannotRun: with the reason, for people.
    """
    if platform.machine() != "x86_64":
        raise CannotRun(f"this machine is {platform.machine()}; its programs would need a guest of that kind")
    needed = subprocess.run([TREE / "tools" / "need", "vm"], stderr=subprocess.PIPE, text=True, check=False)
    if needed.returncode != 0:
        raise CannotRun(needed.stderr.strip().removeprefix("error: "))
    return kernel.ready()


def run(what: Run) -> int:
    """Boot, run the command with its output on standard output, and give its exit status; TIMED_OUT when it took
    longer than it may.

    Raises:
        CannotRun: it cannot be started here, or the guest ended before the command did.
    """
    booted = prepare()
    with tempfile.TemporaryDirectory(prefix="macvfast-vm-") as name, _ending_on_sigterm():
        directory = Path(name)
        shutil.copy(GUEST / "start", directory / "start")
        (directory / "settings").write_text(_settings(what, booted))
        console = directory / "console"
        timed_out = _run_to_the_end(_qemu(what, booted, directory), what.timeout_s)
        said = console.read_text(errors="replace") if console.exists() else ""
        statuses = re.findall(r"^vm: exit status (\d+)", said, re.MULTILINE)
        if statuses:
            return int(statuses[-1])
        if timed_out:
            print(f"vm: switched off after {what.timeout_s:g} s", file=sys.stderr)
            return TIMED_OUT
        last = "\n".join(said.splitlines()[-20:])
        raise CannotRun(f"the guest ended before the command did; its console:\n{last}")


def _settings(what: Run, booted: Kernel) -> str:
    """The variables of the guest's second stage."""
    lines = [f"export {name}={shlex.quote(os.environ[name])}" for name in ENVIRONMENT if name in os.environ]
    lines += [
        f"directory={shlex.quote(os.getcwd())}",
        f"modules={shlex.quote(str(booted.modules))}",
        f"keep={shlex.quote(str(what.keep or ''))}",
        f"command=({shlex.join(what.command)})",
    ]
    return "".join(f"{line}\n" for line in lines)


def _qemu(what: Run, booted: Kernel, directory: Path) -> list[str]:
    """QEMU's command line. If this program is killed, QEMU is too."""
    initramfs = booted.initramfs(directory, GUEST / "init")
    shares = ["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"]
    if what.keep is not None:
        shares += ["-virtfs", f"local,path={what.keep},mount_tag=keep,security_model=none,multidevs=remap"]
    return [
        "setpriv", "--pdeathsig=KILL", "qemu-system-x86_64",
        "-nodefaults", "-no-reboot", "-display", "none", "-accel", "tcg,thread=multi", "-cpu", "max",
        "-smp", str(CPUS), "-m", MEMORY, "-kernel", str(booted.image), "-initrd", str(initramfs),
        "-append", f"console=ttyS0 loglevel=4 panic=-1 mitigations=off vm_run={directory}",
        "-serial", f"file:{directory / 'console'}",
        "-device", "virtio-serial-pci", "-chardev", "stdio,id=output,signal=off",
        "-device", "virtconsole,chardev=output", *shares,
    ]  # fmt: skip


def _run_to_the_end(command: Sequence[str], timeout_s: float) -> bool:
    """Pass on what QEMU writes until it ends; whether it had to be ended."""
    timed_out = threading.Event()
    # A pipe in between: QEMU makes its standard output non-blocking, for everyone who shares it.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:

        def switch_off() -> None:
            timed_out.set()
            process.kill()

        timer = threading.Timer(timeout_s, switch_off)
        timer.start()
        assert process.stdout is not None
        try:
            while data := os.read(process.stdout.fileno(), 65536):
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
        finally:
            timer.cancel()
            process.kill()
    return timed_out.is_set()


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """End in order when asked to: the directory of the run is removed."""

    def end(*_: object) -> NoReturn:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
