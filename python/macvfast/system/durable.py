"""Files that replace older ones in one step, and are on the disk afterwards."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The mode of a new file, until it is whole.
_PRIVATE = 0o600

# How a file system refuses files without names (open(2), O_TMPFILE), and what comes of naming one where no /proc is.
_NAMES_ONLY = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


def replace(path: Path, content: bytes, mode: int = _PRIVATE, *, wait: bool = True) -> None:
    """Write a file, in the place of an older one; after a crash there is the old one or the new one.

    The directory may be another user's, who could replace any file in it: the new file is written through the
    descriptor that made it, and never opened again by name. It has no name before it is whole, where the file system
    has files without names and /proc is there: what a killed process was writing is gone with it.

    Args:
        path: the file.
        content: all of it.
        mode: exactly, whatever the umask. That of a private file is not set: some file systems have no modes.
        wait: for the disk; otherwise a crash of the host may leave a damaged file.

    Raises:
        OSError
    """
    fresh = f".{path.name}.{os.urandom(4).hex()}"
    with _opened(path.parent, os.O_PATH | os.O_DIRECTORY) as directory:
        try:
            try:
                with _opened(".", os.O_WRONLY | os.O_TMPFILE, directory) as file:
                    _write(file, content, mode, wait=wait)
                    os.link(f"/proc/self/fd/{file}", fresh, dst_dir_fd=directory, follow_symlinks=True)
            except OSError as error:
                if error.errno not in _NAMES_ONLY:
                    raise
                with _opened(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, directory) as file:
                    _write(file, content, mode, wait=wait)
            os.rename(fresh, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(fresh, dir_fd=directory)
            raise
        if wait:
            sync_names(directory)


def sync_names(directory: Path | int) -> None:
    """Have it on the disk which names a directory has.

    Raises:
        OSError
    """
    # fsync needs a descriptor that can read.
    flags = os.O_RDONLY | os.O_DIRECTORY
    opened = _opened(".", flags, directory) if isinstance(directory, int) else _opened(directory, flags)
    with opened as names:
        os.fsync(names)


@contextmanager
def _opened(path: str | Path, flags: int, directory: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, _PRIVATE, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes, mode: int, *, wait: bool) -> None:
    """Write what a new file contains, and its mode; have both on the disk if `wait`."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    if mode != _PRIVATE:
        os.fchmod(descriptor, mode)
    if wait:
        os.fsync(descriptor)
