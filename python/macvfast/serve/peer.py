"""Whether a caller may be served: the worker that does its command must be able to do, and see, just what it can."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from macvfast.system.processes import stat_of, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

# The kernel may have none of time.
_NAMESPACES = tuple(
    name
    for name in ("user", "net", "mnt", "pid", "uts", "cgroup", "time")
    if name != "time" or os.path.exists("/proc/self/ns/time")
)

# Those that must be the same for a request.
_ASKING = ("user", "net")

# What else must be the same (proc_pid_status(5)).
_FIELDS = ("Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

# Domains of SELinux in which nothing is forbidden: of logins, and of services.
_UNCONFINED = ("unconfined_t", "unconfined_service_t")

# <asm-generic/socket.h>.
_SO_PEERPIDFD = 77

# `struct ucred` of <linux/socket.h>.
_CREDENTIALS = struct.Struct("iII")


class Standing(NamedTuple):
    """What a process is and where; two that are the same can do and see the same.

    Attributes:
        places: its namespaces and root directory, each by device and inode.
        mount: where its root directory is mounted; a bind mount of it has the same device and inode.
        rights: users, groups and capabilities, as the kernel shows them.
        label: of its security module, as `without_limits` has it; empty where there is none.
        filtered: it has a filter of system calls (seccomp).
    """

    places: tuple[tuple[int, int], ...]
    mount: str
    rights: tuple[str, ...]
    label: str
    filtered: bool

    @classmethod
    def of(cls, pid: int | str) -> Standing:
        """Read it.

        Raises:
            OSError: there is no such process, or it may not be looked at.
        """
        directory, mount = _root(pid)
        places = (*_places(pid, _NAMESPACES), directory)
        fields = status_of(pid)
        # Being in its own group once more gives a process nothing: systemd's root is in no other, that of a login is.
        effective = fields["Gid"].split()[1]
        fields["Groups"] = " ".join(group for group in fields["Groups"].split() if group != effective)
        rights = tuple(fields.get(name, "") for name in _FIELDS)
        return cls(places, mount, rights, _label(pid), filtered=fields.get("Seccomp", "0") != "0")

    def may_serve(self, caller: Standing) -> bool:
        """Whether a process that is so may do what another one asks it to. What a filter of system calls lets through
        cannot be seen, not even whether two are the same.
        """
        return self == caller and not caller.filtered

    @classmethod
    def of_caller(cls, connection: socket.socket, taken_at: float) -> Standing:
        """That of the process at the other end, if it is the one that connected.

        Args:
            connection: to it.
            taken_at: a time since the machine's start (CLOCK_BOOTTIME) at which it had connected.

        Raises:
            OSError: it has ended, cannot be seen from here, or had another user or group when it connected.
        """
        if _credentials(connection)[1:] != (os.geteuid(), os.getegid()):
            raise PermissionError
        return _of_caller(connection, cls.of, taken_at)


def may_ask(connection: socket.socket) -> bool:
    """Whether the process at the other end may make requests: it has this process's user, in the same user and network
    namespaces. Others may differ: namespaces come as descriptors, and paths are only shown.
    """
    try:
        places = _of_caller(connection, lambda pid: _places(pid, _ASKING), time.clock_gettime(time.CLOCK_BOOTTIME))
    except OSError:
        return False
    return _credentials(connection)[1] == os.geteuid() and places == _places("self", _ASKING)


def _of_caller(connection: socket.socket, look: Callable[[int], T], taken_at: float) -> T:
    """What is seen of the process that connected.

    Raises:
        OSError: it has ended, or cannot be seen from here.
    """
    pid = caller_of(connection)
    caller = _pidfd_of(connection, pid, taken_at)
    try:
        found = look(pid)
        # Readable when it has ended: then the pid may be another's. Not `select`, which knows 1,024 descriptors.
        poll = select.poll()
        poll.register(caller, select.POLLIN)
        if poll.poll(0):
            raise ProcessLookupError
    finally:
        os.close(caller)
    return found


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Pid, user and group of the process that connected, as it was then."""
    pid, user, group = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return pid, user, group


def _places(pid: int | str, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The namespaces of a process, each by device and inode."""
    return tuple((found.st_dev, found.st_ino) for found in (os.stat(f"/proc/{pid}/ns/{name}") for name in names))


def _root(pid: int | str) -> tuple[tuple[int, int], str]:
    """The root directory of a process, by device and inode, and the id of the mount that it is on."""
    held = os.open(f"/proc/{pid}/root", os.O_PATH)
    try:
        found = os.fstat(held)
        with open(f"/proc/self/fdinfo/{held}", encoding="ascii") as about:
            mount = next(line for line in about if line.startswith("mnt_id:"))
    finally:
        os.close(held)
    return (found.st_dev, found.st_ino), mount


def caller_of(connection: socket.socket) -> int:
    """The process at the other end, or that was there."""
    return _credentials(connection)[0]


def _pidfd_of(connection: socket.socket, pid: int, taken_at: float) -> int:
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4)
    except OSError as error:
        # Of one that has ended, the pid may be another's.
        if error.errno != errno.ENOPROTOOPT:
            raise
    else:
        return int.from_bytes(data, sys.byteorder)
    # Before Linux 6.5.
    caller = os.pidfd_open(pid)
    try:
        if _started_at(pid) > taken_at:
            raise ProcessLookupError
    except BaseException:
        os.close(caller)
        raise
    return caller


def _started_at(pid: int) -> float:
    """When a process was started, in seconds since the machine was; not later than it was."""
    fields = stat_of(pid)
    if fields is None:
        raise ProcessLookupError
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _label(pid: int | str) -> str:
    try:
        with open(f"/proc/{pid}/attr/current", encoding="utf-8", errors="replace") as label:
            return without_limits(label.read())
    except OSError:
        return ""


def without_limits(label: str) -> str:
    """A label, where all those of SELinux that allow everything are one: a service has another one than a login shell.
    That of a sandbox's command is its caller's in any case.
    """
    _, _, domain, *_ = (*label.rstrip("\0\n").split(":"), "", "")
    return "unconfined" if domain in _UNCONFINED else label
