"""What keeps network namespaces alive: processes, threads, open descriptors and mounts, found by inode number.

An inode number is used again when its namespace is gone: who asks compares the cookie of what a path leads to.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# proc_pid_fdinfo(5), Linux 5.14 and later.
_OPEN_INODE = re.compile(r"^ino:\t(\d+)$", re.ASCII | re.MULTILINE)
_NAMESPACE = re.compile(r"net:\[(\d+)\]\Z", re.ASCII)


class Holder(NamedTuple):
    """Something that keeps a namespace alive: a path that leads to it, and what to call it."""

    path: str
    what: str


def find(inodes: Collection[int], *, quick: bool = False) -> dict[int, list[Holder]]:
    """What holds each of the namespaces, as far as /proc shows it; descriptors of this process left out.

    A socket that was opened inside and taken elsewhere is nowhere to be seen. Cost: a look at every thread and every
    descriptor of the host; `quick`: only at what is mounted here, and at where each process is.
    """
    found: dict[int, list[Holder]] = {inode: [] for inode in inodes}
    for inode, holder in _all(quick=quick):
        if inode in found:
            found[inode].append(holder)
    return found


def namespaces() -> list[str]:
    """A path to each namespace that something holds. Cost: a look at every thread and every descriptor of the host."""
    found: dict[int, str] = {}
    device = _device("/proc/self/ns/net")
    for inode, holder in _all(quick=False):
        # Most of what is open is no namespace.
        if inode not in found and _device(holder.path) == device:
            found[inode] = holder.path
    return list(found.values())


def _all(*, quick: bool) -> Iterator[tuple[int, Holder]]:
    mount_namespaces = {_inode("/proc/self/ns/mnt")}
    yield from _mounts("self", "")
    for pid in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
        if quick:
            path = f"/proc/{pid}/ns/net"
            yield _inode(path), Holder(path, f"process {pid}")
            continue
        yield from _of_process(pid)
        mounts = _inode(f"/proc/{pid}/ns/mnt")
        if mounts and mounts not in mount_namespaces:
            mount_namespaces.add(mounts)
            yield from _mounts(pid, f"/proc/{pid}/root")


def _of_process(pid: str) -> Iterator[tuple[int, Holder]]:
    """Each namespace that a process is in, has a thread in, or holds open: once, the plainest way first."""
    seen = set()
    name = f"process {pid} ({_text(f'/proc/{pid}/comm').strip()})"
    for path, inode, what in _ways(pid, name):
        if inode and inode not in seen:
            seen.add(inode)
            yield inode, Holder(path, what)


def _ways(pid: str, name: str) -> Iterator[tuple[str, int, str]]:
    path = f"/proc/{pid}/ns/net"
    yield path, _inode(path), name
    for tid in _listed(f"/proc/{pid}/task"):
        path = f"/proc/{pid}/task/{tid}/ns/net"
        yield path, _inode(path), f"thread {tid} of {name}"
    if pid == str(os.getpid()):
        return
    for descriptor in _listed(f"/proc/{pid}/fd"):
        # Not by what it links to: a pin that was opened shows the path that it had.
        inode = _OPEN_INODE.search(_text(f"/proc/{pid}/fdinfo/{descriptor}"))
        if inode:
            yield f"/proc/{pid}/fd/{descriptor}", int(inode[1]), f"descriptor {descriptor} of {name}"


def _mounts(pid: str, root: str) -> Iterator[tuple[int, Holder]]:
    """The namespaces that are mounted in a process's mount namespace, whose root is at `root`."""
    for line in _text(f"/proc/{pid}/mountinfo").splitlines():
        fields = line.split(" ")
        leads = _NAMESPACE.match(fields[3]) if " - nsfs " in line else None
        if leads:
            place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
            whose = f" of process {pid}" if root else ""
            yield int(leads[1]), Holder(root + place, f"mount {place}{whose}")


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _device(path: str) -> int | None:
    try:
        return os.stat(path).st_dev
    except OSError:
        return None


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
