"""What detached commands have shown: the two files of a sandbox's log, read as one, and followed while they grow.

The keeper (`rust/init`) writes `log`, and when that has half of the limit, calls it `log.1` in place of the one before
and begins another. Nothing is locked: who reads sees by the inode that a file was exchanged.
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


def read(folder: Path, tail: int | None = None, running: Callable[[], bool] | None = None) -> Iterator[bytes]:
    """The log of a sandbox, in pieces; nothing where there is none.

    Args:
        folder: the sandbox's.
        tail: only so many of the last lines.
        running: go on with what is added for as long as this says so.

    Raises:
        StateUnusable: it cannot be read.
    """
    opened: list[BinaryIO] = []
    try:
        opened += _open(folder)
        # What is added from now on is for who follows: a command may show more than anybody reads.
        ends = [os.fstat(file.fileno()).st_size for file in opened]
        if tail is not None:
            _seek_last_lines(opened, ends, tail)
        for file, end in zip(opened, ends, strict=True):
            yield from _rest(file, end)
        if running is not None:
            yield from _follow(folder, opened, running)
    except OSError as error:
        raise StateUnusable(str(folder), f"cannot read its log: {error.strerror or error}") from None
    finally:
        _close(opened)


def free(folder: Path) -> None:
    """Give the disk back what a log takes, also where somebody has it open. One that is not there stays so."""
    for name in (_BEFORE, _NOW):
        # It is about to be deleted all the same.
        with suppress(OSError), open(folder / name, "r+b", buffering=0, opener=_opened) as file:
            file.truncate(0)


def _open(folder: Path) -> list[BinaryIO]:
    """Both files as they were at one moment, the older one first; without those that are not there."""
    while True:
        with ExitStack() as files:
            before, now = (_file(folder / name, files) for name in (_BEFORE, _NOW))
            # Otherwise they were exchanged in between.
            if _is_called(folder / _BEFORE, before):
                files.pop_all()
                return [file for file in (before, now) if file is not None]


def _file(path: Path, files: ExitStack) -> BinaryIO | None:
    try:
        return files.enter_context(open(path, "rb", opener=_opened))
    except FileNotFoundError:
        return None


def _opened(path: str, flags: int) -> int:
    """Open a file itself, as the keeper does: what stands in its place and leads elsewhere is refused."""
    return trusted.open_file(path, flags)


def _is_called(path: Path, file: BinaryIO | None) -> bool:
    """Whether a path leads to a file that is open; of None, to none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return file is None
    return file is not None and os.path.samestat(found, os.fstat(file.fileno()))


def _rest(file: BinaryIO, end: int | None = None) -> Iterator[bytes]:
    """What comes next in a file, as far as it goes, or up to a position."""
    while piece := file.read(_BLOCK if end is None else max(0, min(_BLOCK, end - file.tell()))):
        yield piece


def _seek_last_lines(files: Sequence[BinaryIO], ends: Sequence[int], count: int) -> None:
    """Go to where the last lines begin of files that end there, and to the end of those before; read from the end, a
    block at a time.
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
                # The last line's own end begins no further one.
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


def _follow(folder: Path, opened: list[BinaryIO], running: Callable[[], bool]) -> Iterator[bytes]:
    """What is added to the last of the files that are open, and to those after it, until nothing runs any more and all
    of it is read.
    """
    while True:
        goes_on = running()
        file = opened[-1] if opened else None
        if file is not None:
            yield from _rest(file)
        later = [] if file is not None and _is_called(folder / _NOW, file) else _open(folder)
        if later and file is not None:
            # What was added before it was exchanged.
            yield from _rest(file)
            if _is_called(folder / _BEFORE, file):
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
