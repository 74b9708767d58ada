"""The state directory: made where it is missing, refused where it cannot keep a state safely.

Nothing here opens an existing state file: closing any descriptor of a file releases all POSIX locks of the process on
it (fcntl(2)), SQLite's own among them, and another process could then delete the log that this one uses.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from typing import TYPE_CHECKING

from macvfast.errors import StateCorrupt, StateUnusable
from macvfast.system import trusted

if TYPE_CHECKING:
    from pathlib import Path

# What `trouble` gives for a full file system.
FULL = "its file system is full"

# The least, in bytes, that SQLite adds to the files beside a state (walformat.html, 1.4): with less there is no room.
_LEAST = 32 * 1024

# The size of the header of every SQLite file (fileformat2.html).
_HEADER = 100

# A file is made and closed while no other thread of this process has it open.
_making = threading.RLock()
os.register_at_fork(before=_making.acquire, after_in_parent=_making.release, after_in_child=_making.release)


def is_empty(directory: Path, file: Path) -> bool:
    """Whether there never was a state: nothing is at the path, or a directory without a state.

    Raises:
        OSError: it cannot be read.
    """
    try:
        if not stat.S_ISDIR(directory.stat().st_mode):
            return False
    except (FileNotFoundError, NotADirectoryError):
        return True
    names = {name for name in os.listdir(directory) if name.startswith(file.name)}
    return not names & {file.name, f"{file.name}-wal"}


def prepare(directory: Path, file: Path, *, in_use: bool) -> None:
    """Make the directory (0700) and the file (0600) where they are missing. Refuse what another user could change, and
    a file whose content is lost.

    Args:
        directory: of the state.
        file: in it.
        in_use: whether an operation goes on there.

    Raises:
        StateUnusable, StateCorrupt, OSError
    """
    _make_directory(directory)
    _refuse_strangers(directory)
    _refuse_readers(directory)
    with _making:
        if not file.exists():
            _make(directory, file, in_use=in_use)
        found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise StateUnusable(str(file), "it is no regular file")
    _refuse_strangers(file)
    # The directory of owners is made after the first table. If it is there, a file without a whole header was cut off,
    # and SQLite would take it for a new one. Its maker may be writing it just now, so the size is read again.
    if found.st_size < _HEADER and (directory / "owners").exists() and file.stat().st_size < _HEADER:
        raise StateCorrupt(str(file), f"it has {found.st_size} bytes, and macvfast has recorded something in it before")


def _make_directory(directory: Path) -> None:
    """Make it, with what is missing above it; the modes do not depend on the umask."""
    try:
        trusted.make_directory(directory, 0o700)
    except FileNotFoundError:
        for above in reversed(directory.parents):
            trusted.make_directory(above, 0o755)
        trusted.make_directory(directory, 0o700)


def _make(directory: Path, file: Path, *, in_use: bool) -> None:
    """Make an empty state file, where no other process has made one meanwhile."""
    with trusted.locked_directory(directory.resolve()):
        if file.exists():
            return
        log = file.with_name(f"{file.name}-wal")
        if log.exists():
            raise StateCorrupt(str(file), f"it is gone, and its log `{log.name}` is still there")
        if in_use:
            raise StateCorrupt(str(file), "it is gone, and a process is at work on it")
        owners = directory / "owners"
        if owners.is_dir():
            for left in owners.iterdir():
                left.unlink()
            owners.rmdir()
        try:
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            raise StateUnusable(str(file), "it is a symbolic link that leads nowhere") from None


def _refuse_strangers(path: Path) -> None:
    """Refuse what another user than this one and root could change, for what is recorded is carried out. Of a symbolic
    link, check the link too.
    """
    for found in (path.lstat(), path.stat()):
        if (reason := trusted.why_not(found)) is not None:
            raise StateUnusable(str(path), reason)


def _refuse_readers(directory: Path) -> None:
    """Refuse a directory that others may list: they could open files in it, and lock them for ever."""
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o044 and directory.is_dir():
        raise StateUnusable(str(directory), f"others may list it (mode {mode:04o})")


def refuse_without_locks(directory: Path) -> None:
    """Refuse a directory whose file system has no locks, which SQLite takes for a lock of another process.

    Raises:
        StateUnusable
    """
    import tempfile  # noqa: PLC0415 - only where a lock was refused

    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            raise StateUnusable(str(directory), "its file system has no locks") from None


def trouble(directory: Path) -> str | None:
    """What is wrong with a directory's file system, where it can be seen: SQLite does not always say."""
    try:
        found = os.statvfs(directory)
    except OSError as error:
        return error.strerror
    if found.f_flag & os.ST_RDONLY:
        return "its file system is read-only"
    if found.f_bavail * found.f_frsize < _LEAST:
        return FULL
    return None
