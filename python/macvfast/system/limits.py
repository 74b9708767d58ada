"""How many files this process may have open (RLIMIT_NOFILE), and how many of its threads hold how many at once.

What is done to many sandboxes is done to some at a time, whose namespaces are open meanwhile: two descriptors each.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# What is not shared out: the state's connections, sockets, what the program around this has open; and of each thread.
_SPARE, _EACH_THREAD = 128, 8

# What an operation on many has use for: three chunks of 128 namespaces. With less than the least it waits.
_WANTED, _LEAST = 3 * 128 * 2, 24

_mine = threading.local()
_changed = threading.Condition()
_used = 0

# The soft limit that this process was started with, where it was raised.
_before: int | None = None


def _forget() -> None:
    """In a forked child no other thread is at work."""
    global _changed, _used
    _changed, _used = threading.Condition(), 0
    _mine.__dict__.clear()


os.register_at_fork(after_in_child=_forget)


def raise_soft_limit() -> None:
    """Let this process have as many files open as it may; what it starts is to have the limit of before, see
    `restore_soft_limit`.
    """
    global _before  # noqa: PLW0603
    soft, hard = getrlimit(RLIMIT_NOFILE)
    if soft != hard and soft != RLIM_INFINITY:
        setrlimit(RLIMIT_NOFILE, (hard, hard))
        _before = soft


def restore_soft_limit() -> None:
    """Have the soft limit again that this process was started with: what it is about to start inherits it."""
    global _before  # noqa: PLW0603
    if _before is not None:
        setrlimit(RLIMIT_NOFILE, (_before, getrlimit(RLIMIT_NOFILE)[1]))
        _before = None


@contextmanager
def share() -> Iterator[None]:
    """Within this, this thread has descriptors that it need not share with others; where there are too few, it waits
    until another thread is done.
    """
    global _used  # noqa: PLW0603
    if getattr(_mine, "share", 0):
        yield
        return
    with _changed:
        while (got := _offer()) < _LEAST and _used:
            _changed.wait()
        _used += got
    _mine.share = got
    try:
        yield
    finally:
        _mine.share = 0
        with _changed:
            _used -= got
            _changed.notify_all()


def at_once(most: int, each: int) -> int:
    """How many things this thread may hold at once, each of so many descriptors: at least one."""
    have = getattr(_mine, "share", 0) or max(_offer() // 4, 1)
    return max(1, min(most, have // each))


def none_left() -> bool:
    """Whether this process can open nothing any more."""
    try:
        os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return True
    return False


def _offer() -> int:
    """What an operation may have now: all that it wants, if no other is at work; otherwise half of what is left."""
    soft = getrlimit(RLIMIT_NOFILE)[0]
    if soft == RLIM_INFINITY:
        return _WANTED
    left = soft - _SPARE - _EACH_THREAD * threading.active_count() - _used
    return max(0, min(_WANTED, left // 2 if _used else left))
