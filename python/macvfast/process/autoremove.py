"""The queue of sandboxes whose commands (`run --rm`) have ended: one process removes them all.

`rust/init/src/queue.rs` explains the directory, who waits in it, and who starts this process, which inherits the lock.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from macvfast.process.files import names_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    # Removes sandboxes by id; calls the second argument with those that are gone, while others are waited for. Gives
    # what a keeper is to print, by id.
    Remove = Callable[[list[str], Callable[[Iterable[str]], None]], dict[str, str]]

_ID = re.compile(r"[0-9a-f]{64}\Z")

# The descriptor of the lock, which is the directory itself, in a process that a keeper has started (`HANDED_ON` in
# `rust/init/src/sys.rs`).
LOCK = 3

# The answer to a keeper that has nothing to print.
_DONE = b"\0"


def queues_in(directory: Path) -> Path:
    """The queues of a state directory: a directory per mount namespace."""
    return directory / "ended"


def serve(queues: Path, lock: int, remove: Remove) -> None:
    """Remove all sandboxes of this mount namespace's queue, also those that are added meanwhile; the empty queue is
    deleted.

    Args:
        queues: the directory of the queues.
        lock: a descriptor, by which this process alone holds the queue's lock.
        remove: removes sandboxes.
    """
    directory = queues / str(os.stat("/proc/self/ns/mnt").st_ino)
    while True:
        while ids := _waiting(directory):
            left = set(ids)

            def gone(some: Iterable[str], left: set[str] = left) -> None:
                for id_ in left.intersection(some):
                    left.discard(id_)
                    _answer(directory / id_, "")

            said = remove(ids, gone)
            for id_ in sorted(left):
                _answer(directory / id_, said.get(id_, ""))
        # A sandbox that was added before this must be seen here; later, its keeper may take the lock.
        fcntl.flock(lock, fcntl.LOCK_UN)
        if not _waiting(directory):
            _take_away(directory)
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return


def forget(queues: Path, there: Callable[[], Collection[str]]) -> None:
    """Answer all keepers whose sandbox is gone, and delete empty queues.

    Args:
        queues: the directory of the queues.
        there: gives the ids of the sandboxes that exist. Called after the queues are read, so that the sandbox of each
            entry was made before.
    """
    directories = [queues / name for name in names_in(queues)]
    waiting = [directory / one for directory in directories for one in names_in(directory)]
    ids = there() if waiting else ()
    for one in waiting:
        if one.name not in ids:
            _answer(one, "")
    for directory in directories:
        _take_away(directory)


def _take_away(directory: Path) -> None:
    """Delete a queue, unless something is in it; a keeper that is about to enter removes its sandbox alone."""
    with suppress(OSError):
        directory.rmdir()


def _waiting(directory: Path) -> list[str]:
    """The ids of the sandboxes in a queue."""
    return list(filter(_ID.match, names_in(directory)))


def _answer(path: Path, text: str) -> None:
    """Take a sandbox out of the queue, and answer its keeper, if that waits."""
    fifo = -1
    # ENXIO: the keeper does not wait.
    with suppress(OSError):
        fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with suppress(OSError):
        os.unlink(path)
    if fifo >= 0:
        with suppress(OSError):
            os.write(fifo, text.encode(errors="replace")[: select.PIPE_BUF] or _DONE)
        os.close(fifo)
