"""How many files this process may have open (RLIMIT_NOFILE), and how its threads share them.

Operations on many sandboxes handle some at a time, whose namespaces are open meanwhile: two descriptors each.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

# Descriptors that are not shared out: for the state's connections, sockets, and the caller's own files; and per thread.
_SPARE, _EACH_THREAD = 128, 8

# What an operation on many can use: three chunks of 128 namespaces. With less than the least it waits.
_WANTED, _LEAST = 3 * 128 * 2, 24

_mine = threading.local()
_changed = threading.Condition()
_used = 0

# The soft limit that this process was started with, if it was raised.
_before: int | None = None


def _forget() -> None:
    """A forked child has no other threads."""
    global _changed, _used
    _changed, _used = threading.Condition(), 0
    _mine.__dict__.clear()


os.register_at_fork(after_in_child=_forget)


def raise_soft_limit() -> None:
    """Raise the soft limit to the hard one. Other programs are started within `soft_limit_restored`."""
    global _before  # noqa: PLW0603
    soft, hard = getrlimit(RLIMIT_NOFILE)
    if soft != hard and soft != RLIM_INFINITY:
        setrlimit(RLIMIT_NOFILE, (hard, hard))
        _before = soft


@contextmanager
def soft_limit_restored() -> Iterator[None]:
    """Set the soft limit to what it was before it was raised: a program that is started within the context inherits it.
    If it cannot be started, the limit is raised again.
    """
    global _before
    before, _before = _before, None
    if before is not None:
        setrlimit(RLIMIT_NOFILE, (before, getrlimit(RLIMIT_NOFILE)[1]))
    try:
        yield
    except BaseException:
        if before is not None:
            raise_soft_limit()
        raise


@contextmanager
def share() -> Iterator[None]:
    """Reserve descriptors for this thread; where too few are left, wait until another thread is done."""
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
    """How many things of `each` descriptors this thread may hold at once: at least one, at most `most`."""
    have = getattr(_mine, "share", 0) or max(_offer() // 4, 1)
    return max(1, min(most, have // each))


def chunks(items: Sequence[T], most: int, each: int = 0) -> Iterator[Sequence[T]]:
    """The items, so many at a time; `each`: only as many as `at_once` allows where each needs so many descriptors."""
    size = at_once(most, each) if each else most
    return (items[start : start + size] for start in range(0, len(items), size))


def none_left() -> bool:
    """Whether this process has as many files open as it may."""
    try:
        os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return True
    return False


def _offer() -> int:
    """What an operation gets now: all that it can use if it is the only one, else half of what is left."""
    soft = getrlimit(RLIMIT_NOFILE)[0]
    if soft == RLIM_INFINITY:
        return _WANTED
    left = soft - _SPARE - _EACH_THREAD * threading.active_count() - _used
    return max(0, min(_WANTED, left // 2 if _used else left))
