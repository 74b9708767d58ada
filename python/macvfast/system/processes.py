"""Processes, by pid and start time, and what /proc says of them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process, by pid and start time (clock ticks since boot, proc(5)): a pid alone may be used again."""

    pid: int
    start_time: int

    def alive(self) -> bool:
        """Whether it runs, and is not a zombie."""
        fields = stat_of(self.pid)
        return fields is not None and fields[0] not in ("Z", "X") and int(fields[19]) == self.start_time

    def stopped(self) -> bool:
        """Whether it is stopped: by Ctrl-Z, SIGSTOP, or a debugger."""
        fields = stat_of(self.pid)
        return fields is not None and fields[0] in ("T", "t") and int(fields[19]) == self.start_time

    def is_in(self, inode: int) -> bool:
        """Whether it is in the network namespace with that inode. Where this process may not see that: whether all its
        uids are root's or this user's.
        """
        try:
            return os.stat(f"/proc/{self.pid}/ns/net").st_ino == inode
        except PermissionError:
            lines = [line.split() for line in _lines(f"/proc/{self.pid}/status")]
            uids = next((words[1:] for words in lines if words[:1] == ["Uid:"]), [])
            return bool(uids) and {int(uid) for uid in uids} <= {0, os.geteuid()}
        except OSError:
            return False

    def open(self) -> int | None:
        """A pidfd of it; None if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive():
            return descriptor
        os.close(descriptor)
        return None


def process_of(pid: int) -> Process:
    """The process that has a pid now; if none has, a Process that is never alive."""
    fields = stat_of(pid)
    return Process(pid, 0 if fields is None else int(fields[19]))


def named(name: str) -> list[int]:
    """The pids of all processes with that name (comm, up to 15 characters). Cost: a read per process of the host."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _words(f"/proc/{pid}/comm") == [name]]


def children_of(process: Process) -> list[Process]:
    """The children of a process with one thread."""
    return [process_of(int(pid)) for pid in _words(f"/proc/{process.pid}/task/{process.pid}/children")]


def is_orphaned(group: int) -> bool:
    """Whether nobody could let a process group go on that has been stopped: no member has a parent in another group of
    its session (POSIX, "Orphaned Process Group"; will_become_orphaned_pgrp in kernel/exit.c). Cost: a read per process
    of the host.
    """
    everybody = {int(pid): fields for pid in os.listdir("/proc") if pid.isdigit() and (fields := stat_of(int(pid)))}
    for state, parent, own_group, session, *_ in everybody.values():
        if int(own_group) != group or state in ("Z", "X") or int(parent) <= 1:
            continue
        above = everybody.get(int(parent))
        if above is not None and int(above[2]) != group and above[3] == session:
            return False
    return True


def has_open(pid: int, file: os.stat_result) -> bool:
    """Whether a process has a file open."""
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{descriptor}"), file):
                    return True
    except OSError:
        pass
    return False


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process, if it is alive."""
    descriptor = process.open()
    if descriptor is not None:
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)


def status_of(pid: int | str) -> dict[str, str]:
    """The fields of /proc/PID/status (proc_pid_status(5)).

    Raises:
        OSError: there is no such process, or it may not be looked at.
    """
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        fields = (line.partition(":") for line in status)
        return {name: value.strip() for name, _, value in fields}


def stat_of(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may hold spaces and parentheses; the state comes first
    (proc_pid_stat(5)). None: there is no such process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(") ")[2].split()


def _words(path: str) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
