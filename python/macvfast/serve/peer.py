"""Whether a caller may be served: the worker that does its command must be able to do, and see, just what it can."""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
from typing import NamedTuple

_NAMESPACES = ("user", "net", "mnt", "pid", "uts", "cgroup")

# What else must be the same (proc_pid_status(5)).
_FIELDS = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "CapEff", "CapBnd")

# <asm-generic/socket.h>.
_SO_PEERPIDFD = 77

# `struct ucred` of <linux/socket.h>.
_CREDENTIALS = struct.Struct("iII")


class Standing(NamedTuple):
    """What a process is and where; two that are the same can do and see the same.

    Attributes:
        places: its namespaces and root directory, each by device and inode.
        rights: users, groups and capabilities, as the kernel shows them.
        label: of its security module; empty where there is none.
    """

    places: tuple[tuple[int, int], ...]
    rights: tuple[str, ...]
    label: str

    @classmethod
    def of(cls, pid: int | str) -> Standing:
        """Read it.

        Raises:
            OSError: there is no such process, or it may not be looked at.
        """
        names = [f"/proc/{pid}/ns/{name}" for name in _NAMESPACES]
        places = tuple((found.st_dev, found.st_ino) for found in map(os.stat, [*names, f"/proc/{pid}/root"]))
        fields = {}
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        return cls(places, tuple(fields.get(name, "") for name in _FIELDS), _label(pid))

    @classmethod
    def of_caller(cls, connection: socket.socket) -> Standing:
        """That of the process at the other end, if it is the one that connected.

        Raises:
            OSError: it has ended, or cannot be seen from here.
        """
        pid = caller_of(connection)
        caller = _pidfd_of(connection, pid)
        try:
            found = cls.of(pid)
            # Readable when it has ended: then the pid may be another's.
            if select.select([caller], [], [], 0)[0]:
                raise ProcessLookupError
        finally:
            os.close(caller)
        return found


def caller_of(connection: socket.socket) -> int:
    """The process at the other end, or that was there."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(data)[0]
    return pid


def _pidfd_of(connection: socket.socket, pid: int) -> int:
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4)
    except OSError:
        # Before Linux 6.5.
        return os.pidfd_open(pid)
    return int.from_bytes(data, sys.byteorder)


def _label(pid: int | str) -> str:
    try:
        with open(f"/proc/{pid}/attr/current", encoding="utf-8", errors="replace") as label:
            return label.read()
    except OSError:
        return ""
