"""The output of detached commands: the two files of a sandbox's log, read as one, and followed while they grow.

The keeper (`rust/init`) writes `log`. When that has half of the limit, the keeper renames it to `log.1`, over the one
before, and begins another. Nothing is locked: a reader sees by the inode that a file was replaced.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, BinaryIO

from macvfast.errors import StateUnusable
from macvfast.system import trusted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_NOW, _BEFORE = "log", "log.1"
_BLOCK = 64 * 1024

# How often a log that is followed is looked at.
_LOOK_S = 0.1


def read(directory: Path, tail: int | None = None, running: Callable[[], bool] | None = None) -> Iterator[bytes]:
    """The log of a sandbox, in pieces; nothing where there is none.

    Args:
        directory: the sandbox's.
        tail: only so many of the last lines.
        running: follow the log while this gives true.

    Raises:
        StateUnusable: it cannot be read.
    """
    opened: list[BinaryIO] = []
    try:
        opened += _open(directory)
        # Output from now on is for followers only: a command may write faster than anybody reads.
        ends = [os.fstat(file.fileno()).st_size for file in opened]
        if tail is not None:
            _seek_last_lines(opened, ends, tail)
        for file, end in zip(opened, ends, strict=True):
            yield from _rest(file, end)
        if running is not None:
            yield from _follow(directory, opened, running)
    except OSError as error:
        raise StateUnusable(str(directory), f"cannot read its log: {error.strerror or error}") from None
    finally:
        _close(opened)


def free(directory: Path) -> None:
    """Free the disk space of a log, also where a process has it open. One that is missing is no error."""
    for name in (_BEFORE, _NOW):
        # It is about to be deleted anyway.
        with suppress(OSError), open(directory / name, "r+b", buffering=0, opener=_opened) as file:
            file.truncate(0)


def _open(directory: Path) -> list[BinaryIO]:
    """Both files as they were at one moment, the older one first; without those that are missing."""
    while True:
        with ExitStack() as files:
            before, now = (_file(directory / name, files) for name in (_BEFORE, _NOW))
            # Otherwise they were replaced in between.
            if _is_called(directory / _BEFORE, before):
                files.pop_all()
                return [file for file in (before, now) if file is not None]


def _file(path: Path, files: ExitStack) -> BinaryIO | None:
    try:
        return files.enter_context(open(path, "rb", opener=_opened))
    except FileNotFoundError:
        return None


def _opened(path: str, flags: int) -> int:
    """Open a file as the keeper does: a symbolic link in its place is refused."""
    return trusted.open_file(path, flags)


def _is_called(path: Path, file: BinaryIO | None) -> bool:
    """Whether a path leads to an open file; `file` None: whether it leads to nothing."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return file is None
    return file is not None and os.path.samestat(found, os.fstat(file.fileno()))


def _rest(file: BinaryIO, end: int | None = None) -> Iterator[bytes]:
    """The rest of a file, or what comes before a position in it."""
    while piece := file.read(_BLOCK if end is None else max(0, min(_BLOCK, end - file.tell()))):
        yield piece


def _seek_last_lines(files: Sequence[BinaryIO], ends: Sequence[int], count: int) -> None:
    """Move to the beginning of the last lines, and to the end of the files before. Reads blocks from the end.

    Args:
        files: the older one first.
        ends: where each is taken to end.
        count: how many lines.
    """
    left = count
    at_end = True
    for at in range(len(files) - 1, -1, -1):
        file = files[at]
        end = ends[at]
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            block = file.read(end - start)
            position = len(block)
            if at_end:
                # No line begins after the end of the last line.
                position -= block.endswith(b"\n")
                at_end = False
            while left and (position := block.rfind(b"\n", 0, position)) >= 0:
                left -= 1
            if not left:
                file.seek(start + position + 1 if count else ends[at])
                for before in range(at):
                    files[before].seek(ends[before])
                return
            end = start
        file.seek(0)


def _follow(directory: Path, opened: list[BinaryIO], running: Callable[[], bool]) -> Iterator[bytes]:
    """What is added to the last of the open files, and to those after it, until nothing runs and all of it is read."""
    while True:
        goes_on = running()
        file = opened[-1] if opened else None
        if file is not None:
            yield from _rest(file)
        later = [] if file is not None and _is_called(directory / _NOW, file) else _open(directory)
        if later and file is not None:
            # What was added before it was replaced.
            yield from _rest(file)
            if _is_called(directory / _BEFORE, file):
                _close(later[:1])
                later = later[1:]
        for one in later:
            yield from _rest(one)
        if later:
            _close(opened)
            opened[:] = later
        elif goes_on:
            time.sleep(_LOOK_S)
        else:
            return


def _close(files: Sequence[BinaryIO]) -> None:
    for file in files:
        file.close()
