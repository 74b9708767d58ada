"""What keeps network namespaces alive: processes, threads, open descriptors and mounts, found by inode number.

An inode number is used again when its namespace is gone: who asks compares the cookie of what a path leads to.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# proc_pid_fdinfo(5), Linux 5.14 and later.
_OPEN_INODE = re.compile(r"^ino:\t(\d+)$", re.ASCII | re.MULTILINE)
_NAMESPACE = re.compile(r"net:\[(\d+)\]\Z", re.ASCII)


# What most descriptors are, and no namespace is.
_NO_FILES = ("socket:[", "pipe:[", "anon_inode:")

# Of the first pid namespace of a kernel, by inode number (PROC_PID_INIT_INO of <linux/proc_ns.h>).
_FIRST_PIDS = 0xEFFFFFFC

# How long threads and descriptors are looked at, however many there are: anybody may open hundreds of thousands.
LOOK_S = 1.0
# The same for who frees what is held by nothing: what was not looked at may hold it.
PATIENT_S = 30.0


class Holder(NamedTuple):
    """Something that keeps a namespace alive: a path that leads to it, and what to call it."""

    path: str
    what: str


class _Candidate(NamedTuple):
    """A path that may lead to a namespace, by inode number; what to call it; the process that has it, if one does."""

    inode: int
    path: str
    what: str
    pid: str = ""


class Found(NamedTuple):
    """What holds each of the namespaces that were asked for, by inode number. `complete`: all was looked at that can be
    seen on this host; not in the pid namespace of a container, which shows its own processes alone.
    """

    holders: dict[int, list[Holder]]
    complete: bool


class Search(NamedTuple):
    """A path to each namespace that was found, and whether everything was looked at."""

    paths: list[str]
    complete: bool


def find(inodes: Collection[int], *, quick: bool = False, patient: bool = False) -> Found:
    """What holds each of the namespaces, as far as /proc shows it; descriptors of this process left out.

    A socket that was opened inside and taken elsewhere is nowhere to be seen. Cost: a look at every thread and every
    descriptor of the host, for `LOOK_S` at most, or (`patient`) for `PATIENT_S`; `quick`: only at what is mounted here,
    and at where each process is.
    """
    found: dict[int, list[Holder]] = {inode: [] for inode in inodes}
    scan = _Scan(PATIENT_S if patient else LOOK_S)
    for one in scan.plain() if quick else scan.everything():
        if one.inode in found and not _known(found[one.inode], one):
            found[one.inode].append(Holder(one.path, one.what + (_process(one.pid) if one.pid else "")))
    return Found(found, complete=not quick and scan.complete and _inode("/proc/self/ns/pid") == _FIRST_PIDS)


def namespaces() -> Search:
    """A path to each namespace that something holds. Cost: as of `find`."""
    found: dict[int, str] = {}
    device, _ = _identity("/proc/self/ns/net")
    scan = _Scan(LOOK_S)
    for one in scan.everything():
        # Most of what is open is no namespace.
        if one.inode and one.inode not in found and _identity(one.path)[0] == device:
            found[one.inode] = one.path
    return Search(list(found.values()), scan.complete)


def _known(holders: Collection[Holder], one: _Candidate) -> bool:
    """Whether its process is listed already: each is listed once, by its simplest path."""
    return bool(one.pid) and any(holder.path.startswith(f"/proc/{one.pid}/") for holder in holders)


class _Scan:
    """One look at this host: what takes long comes last, and is given up in time."""

    def __init__(self, look_s: float) -> None:
        self.complete = True
        self._until = time.monotonic() + look_s
        self._pids = sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int)

    def plain(self) -> Iterator[_Candidate]:
        """What is mounted here, and where each process is."""
        yield from _mounts("self", "")
        for pid in self._pids:
            path = f"/proc/{pid}/ns/net"
            yield _Candidate(_inode(path), path, "", pid)

    def everything(self) -> Iterator[_Candidate]:
        """That, and where each thread is; then what is open, and what is mounted elsewhere."""
        yield from self.plain()
        for pid in self._pids:
            if self._late():
                return
            for tid in _listed(f"/proc/{pid}/task"):
                path = f"/proc/{pid}/task/{tid}/ns/net"
                yield _Candidate(_inode(path), path, f"thread {tid} of ", pid)
        for pid in self._pids:
            if pid != str(os.getpid()):
                yield from self._open(pid)
        mount_namespaces = {_inode("/proc/self/ns/mnt")}
        for pid in self._pids:
            if self._late():
                return
            mounts = _inode(f"/proc/{pid}/ns/mnt")
            if mounts and mounts not in mount_namespaces:
                mount_namespaces.add(mounts)
                yield from _mounts(pid, f"/proc/{pid}/root")

    def _open(self, pid: str) -> Iterator[_Candidate]:
        for descriptor in _listed(f"/proc/{pid}/fd"):
            if self._late():
                return
            path = f"/proc/{pid}/fd/{descriptor}"
            if _link(path).startswith(_NO_FILES):
                continue
            # Not by what it links to: a pin that was opened shows the path that it had.
            inode = _OPEN_INODE.search(_text(f"/proc/{pid}/fdinfo/{descriptor}"))
            if inode:
                yield _Candidate(int(inode[1]), path, f"descriptor {descriptor} of ", pid)

    def _late(self) -> bool:
        self.complete = self.complete and time.monotonic() < self._until
        return not self.complete


def _process(pid: str) -> str:
    return f"process {pid} ({_text(f'/proc/{pid}/comm').strip()})"


def _mounts(pid: str, root: str) -> Iterator[_Candidate]:
    """The namespaces that are mounted in a process's mount namespace, whose root is at `root`."""
    for line in _text(f"/proc/{pid}/mountinfo").splitlines():
        fields = line.split(" ")
        leads = _NAMESPACE.match(fields[3]) if " - nsfs " in line else None
        if leads:
            place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
            whose = f" of process {pid}" if root else ""
            yield _Candidate(int(leads[1]), root + place, f"mount {place}{whose}")


def _inode(path: str) -> int:
    return _identity(path)[1]


def _identity(path: str) -> tuple[int, int]:
    """The device and inode number of what is at a path; zeros where nothing can be seen."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall().decode("utf-8", "surrogateescape")
    except OSError:
        return ""
