"""Turns of processes: of several that are to do something about one thing, one after the other does, though nothing of
that is recorded yet. Each thing is a place of one file, locked for an open file (F_OFD_SETLK of fcntl(2)).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

# Its content is nothing, and its locks go with those who have them: it stays.
_FILE = "turns"

# `struct flock` of fcntl(2), up to its last field, and padding.
_LOCK = struct.Struct("hhqqi0q")


class Turn:
    """A turn, until it is given up. Programs that are started meanwhile inherit its descriptor, and have it, too: where
    this process is killed, the turn ends with them.
    """

    def __init__(self, descriptor: int, place: int) -> None:
        self._descriptor = descriptor
        self._place = place

    @classmethod
    def take(cls, directory: Path, about: str) -> Self | None:
        """Take the turn of a thing in a state directory; None: another process has it.

        Raises:
            OSError
        """
        # Slow to load, and hardly any call takes a turn.
        from hashlib import sha256  # noqa: PLC0415

        # Two things of one place wait for each other, and nothing more.
        place = int.from_bytes(sha256(about.encode()).digest()[:7], "big")
        descriptor = os.open(directory / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _lock(descriptor, fcntl.F_WRLCK, place)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise
        os.set_inheritable(descriptor, True)
        return cls(descriptor, place)

    def give_up(self) -> None:
        """Give it up, whoever has inherited it."""
        _lock(self._descriptor, fcntl.F_UNLCK, self._place)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give it up."""
        self.give_up()


def _lock(descriptor: int, kind: int, place: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(kind, os.SEEK_SET, place, 1, 0))
