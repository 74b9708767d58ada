"""Which files and directories are trusted: those that only root and this user can change.

Symbolic links are not followed: a link, a fifo or a device in the place of a file or a directory is refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Symbolic links on one path, as in the kernel (MAXSYMLINKS, namei.h).
_LINKS_MAX = 40

# How long to wait for another process that has locked a directory, to write a few small files.
_LOCK_S = 10.0


def why_not(found: os.stat_result) -> str | None:
    """Why another user could have made, or could change, a file or a directory; None: nobody could."""
    if found.st_uid not in (0, os.geteuid()):
        return f"it belongs to another user (uid {found.st_uid})"
    # The mode of a symbolic link says nothing.
    if found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode):
        return f"others may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    return None


def open_directory(path: str | Path, *, dir_fd: int | None = None) -> int:
    """A descriptor of a directory that no other user can change.

    Raises:
        OSError: it is not a directory, not trusted, or missing.
    """
    return _opened(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd, why_not)


@contextmanager
def locked_directory(directory: Path) -> Iterator[int]:
    """Lock a directory that no other user can change against others who do so; gives its descriptor.

    Raises:
        OSError: as `open_directory`, or another process keeps the lock.
    """
    descriptor = open_directory(directory)
    try:
        deadline = time.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.001)
        yield descriptor
    finally:
        # Closing alone would leave the lock with a child that was forked meanwhile.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def open_file(path: str | Path, flags: int = os.O_RDONLY, *, dir_fd: int | None = None, whoever: bool = False) -> int:
    """A descriptor of a regular file that no other user can change; a new one has the mode 0600.

    Args:
        path: the file.
        flags: of open(2).
        dir_fd: the directory that a relative path starts from.
        whoever: other users may change it: files that are mounted for commands.

    Raises:
        OSError: it is no regular file, not trusted, or missing.
    """

    def refuse(found: os.stat_result) -> str | None:
        if not stat.S_ISREG(found.st_mode):
            return "it is no regular file"
        return None if whoever else why_not(found)

    return _opened(path, flags | os.O_NONBLOCK, dir_fd, refuse)


def _opened(path: str | Path, flags: int, dir_fd: int | None, refuse: Callable[[os.stat_result], str | None]) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and stat.S_ISLNK(os.lstat(path, dir_fd=dir_fd).st_mode):
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from None
        if error.errno == errno.ENXIO:
            # A fifo without a reader.
            raise OSError(errno.ENXIO, "it is no regular file", str(path)) from None
        raise
    try:
        if (reason := refuse(os.fstat(descriptor))) is not None:
            raise OSError(errno.EPERM, reason, str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read(path: str | Path, limit: int, *, dir_fd: int | None = None) -> bytes:
    """The content of a file that no other user can change.

    Raises:
        OSError: as `open_file`, or it is longer than `limit` bytes.
    """
    descriptor = open_file(path, dir_fd=dir_fd)
    with open(descriptor, "rb", buffering=0) as file:
        text = file.read(limit + 1) or b""
    if len(text) > limit:
        raise OSError(errno.EFBIG, f"it is longer than {limit} bytes", str(path))
    return text


def make_directory(directory: Path, mode: int) -> None:
    """Make a directory with exactly that mode, unless something is there.

    Raises:
        OSError: it cannot be made, or another user has replaced it.
    """
    try:
        # Never, not even for a moment, with more rights for others.
        os.mkdir(directory, mode & 0o700)
    except FileExistsError:
        return
    descriptor = open_directory(directory)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def why_others_may_change(path: Path) -> str | None:
    """Why a user other than root could put something at a path, now or when it is gone; None: nobody could.

    Every directory on the way counts, also those that symbolic links lead through. In a directory where everybody may
    write (/tmp), sticky or not, the first user to come gets the name.
    """
    try:
        for directory, found in _way(path):
            if found.st_uid != 0:
                return f"{directory} belongs to another user (uid {found.st_uid})"
            if found.st_mode & 0o022:
                return f"others may write to {directory} (mode {stat.S_IMODE(found.st_mode):04o})"
    except OSError as error:
        return f"{error.filename or path}: {error.strerror or error}"
    return None


def _way(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The directories on the way to a path, and what is at its end, as far as they exist. Links are followed, and are
    as safe as the directory that they are in.
    """
    at, links = "", 0
    # Names still to follow, the next one last.
    todo = list(path.absolute().parts[:0:-1])
    yield "/", os.lstat("/")
    while todo:
        name = todo.pop()
        if name == "..":
            at = at.rpartition("/")[0]
            continue
        try:
            found = os.lstat(f"{at}/{name}")
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            leads = Path(os.readlink(f"{at}/{name}"))
            todo += leads.parts[:0:-1] if leads.is_absolute() else leads.parts[::-1]
            at = "" if leads.is_absolute() else at
            continue
        at = f"{at}/{name}"
        yield at, found
        if not stat.S_ISDIR(found.st_mode):
            return
