"""A systemd of a test's own: pid 1 of new namespaces, in a cgroup of its own, with no unit but what the test adds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests import netns

if TYPE_CHECKING:
    from types import TracebackType

    from tests.netns import Netns

PROGRAM = Path("/lib/systemd/systemd")

# `$1` is a directory, `$2` and so on the program.
_BEGIN = """
mount -t cgroup2 none "$1"
mkdir "$1/systemd-$$"
echo $$ > "$1/systemd-$$/cgroup.procs"
echo $$ > "$1.number"
umount "$1"
shift
exec unshare --mount --pid --fork --kill-child --cgroup --uts --ipc "$@"
"""

# What could reach the machine is read-only; what systemd writes to is new. A bootable system has these targets.
_INSIDE = """
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,rw /proc/sys/net
umount -R /sys/fs/cgroup || true
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=755 none /mnt
cp -a /etc/. /mnt
mount --move /mnt /etc
rm -rf /etc/systemd /etc/macvfast
mkdir -p /etc/systemd/system
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=755 none /usr/lib/systemd/system
mount -t tmpfs -o mode=755 none /usr/lib/systemd/system-generators
cd /usr/lib/systemd/system
for name in basic sysinit sockets multi-user shutdown network-pre network-online
do printf '[Unit]\\nDescription=%s\\nDefaultDependencies=no\\n' $name > $name.target; done
printf 'Wants=sockets.target\\nAfter=sockets.target\\n' >> multi-user.target
cd /
exec env -i container=test PATH="$PATH" /lib/systemd/systemd --system --unit=multi-user.target --log-target=null
"""


class Systemd:
    """One that has come up, in a network namespace; a context manager."""

    def __init__(self, home: Netns, directory: Path) -> None:
        self._home = home
        self._cgroups = directory / "cgroups"
        self._cgroups.mkdir()
        begin = ("sh", "-ec", _BEGIN, "sh", str(self._cgroups), "sh", "-ec", _INSIDE)
        self._process = home.start(*begin)

    def __enter__(self) -> Self:
        netns.wait_until(self._has_come_up, timeout_s=60, what="systemd")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for pid in self._pid_one():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.communicate(timeout=60)
        subprocess.run(["mount", "-t", "cgroup2", "none", self._cgroups], check=True)
        try:
            number = Path(f"{self._cgroups}.number").read_text(encoding="ascii").strip()
            # The innermost first.
            subprocess.run(["find", self._cgroups / f"systemd-{number}", "-depth", "-type", "d", "-delete"], check=True)
        finally:
            subprocess.run(["umount", self._cgroups], check=True)

    def attempt(self, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command beside it, whatever its exit status."""
        return self._home.attempt(*self.beside(*command), timeout_s=timeout_s)

    def run(self, *command: str) -> str:
        """Run a command beside it that must succeed; its standard output."""
        return self._home.run(*self.beside(*command)).rstrip("\n")

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command beside it; the caller ends it."""
        return self._home.start(*self.beside(*command))

    def beside(self, *command: str) -> list[str]:
        """The command line that runs a command beside it, in its namespaces."""
        (pid,) = self._pid_one()
        return ["nsenter", f"--target={pid}", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--", *command]

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit)

    def _pid_one(self) -> list[int]:
        said = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(FileNotFoundError):
            return [int(pid) for pid in said.read_text(encoding="ascii").split()]
        return []

    def _has_come_up(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"systemd did not start: {self._process.communicate()}")
        return bool(self._pid_one()) and self.attempt("systemctl", "is-active", "multi-user.target").returncode == 0
