"""The files of another root, as a command in it finds them: its symbolic links never lead to files of this host.

They may be anybody's. Each is looked at before it is opened, and read up to a limit.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import contextmanager
from errno import EAGAIN, ENOENT, ENOTDIR
from typing import TYPE_CHECKING, Self

from macvfast.errors import RootfsInvalid
from macvfast.system import trusted

if TYPE_CHECKING:
    from collections.abc import Iterator

# More than any real table of users.
MOST_BYTES = 1024 * 1024

# linux/openat2.h; the number is the same on every architecture (asm-generic/unistd.h).
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_IN_ROOT = 0x10

# The kernel asks for another try where a directory is renamed meanwhile.
_TRIES = 32


class Root:
    """A directory that is the root of commands, held open.

    Raises:
        RootfsInvalid: it is not a directory.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError as error:
            raise RootfsInvalid(path, f"it cannot be opened: {error.strerror}") from None
        except (OSError, ValueError):
            raise RootfsInvalid(path, "it is not a directory") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)

    def is_this_hosts(self) -> bool:
        """Whether it is the root of this process."""
        return os.path.samestat(os.fstat(self._fd), os.stat("/"))

    def mode(self, path: str, *, follow: bool = True) -> int | None:
        """The type and mode of a file; None where nothing can be reached.

        Args:
            path: as a command sees it.
            follow: whether symbolic links are followed.
        """
        try:
            with self._open(path, 0 if follow else _RESOLVE_NO_SYMLINKS) as place:
                return os.fstat(place).st_mode
        except OSError:
            return None

    def is_trusted(self, path: str) -> bool:
        """Whether only root and this process's user can change a file, or put another in its place."""
        for one in (".", os.path.dirname(path), path):
            try:
                with self._open(one) as place:
                    found = os.fstat(place)
            except OSError as error:
                if error.errno in (ENOENT, ENOTDIR):
                    continue
                return False
            if trusted.why_not(found) is not None:
                return False
        return True

    def read(self, path: str) -> bytes:
        """The content of a file; empty where it is missing.

        Raises:
            RootfsInvalid: it is not a regular file, is too long, or cannot be read.
        """
        try:
            with self._open(path) as place:
                found = os.fstat(place)
                if not stat.S_ISREG(found.st_mode):
                    raise RootfsInvalid(self.path, f"its {path} is no regular file")
                if found.st_size > MOST_BYTES:
                    raise RootfsInvalid(self.path, f"its {path} has more than {MOST_BYTES:,} bytes")
                if not found.st_size:
                    # Files of /proc have this size, and reading some of them blocks.
                    return b""
                # This opens what was looked at, whatever is at the path by now.
                with open(f"/proc/self/fd/{place}", "rb", opener=_open_for_reading) as file:
                    return file.read(found.st_size)
        except OSError as error:
            if error.errno in (ENOENT, ENOTDIR):
                return b""
            raise RootfsInvalid(self.path, f"its {path} cannot be read: {error.strerror}") from None

    @contextmanager
    def _open(self, path: str, resolve: int = 0) -> Iterator[int]:
        """A descriptor that refers to a file without opening it (O_PATH).

        Raises:
            OSError
        """
        from ctypes import CDLL, c_long, c_size_t, get_errno  # noqa: PLC0415 - only where another root is asked for

        how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, resolve | _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        call = CDLL(None, use_errno=True).syscall
        place, errno = -1, EAGAIN
        for _ in range(_TRIES):
            place = call(c_long(_SYS_OPENAT2), c_long(self._fd), os.fsencode(path), how, c_size_t(len(how)))
            errno = get_errno()
            if place >= 0 or errno != EAGAIN:
                break
        if place < 0:
            raise OSError(errno, os.strerror(errno), path)
        try:
            yield place
        finally:
            os.close(place)


def _open_for_reading(path: str, flags: int) -> int:
    """Open without waiting, not even for a lease on the file."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
