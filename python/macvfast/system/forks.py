"""Which process this is: a forked child has its parent's values, but must not use its threads, locks and files."""

from __future__ import annotations

import _frozen_importlib
import _thread
import os
import time

# How long a fork waits for other threads that load modules of ours.
_WAIT_S = 10.0

# Its pid, and how many forks lead to it: pids repeat in other pid namespaces. Noted: one change asks for it some thirty
# times.
_here = [(os.getpid(), 0)]


def _wait_for_imports() -> None:
    """Wait until no other thread is in the middle of loading a module of ours, as at its first use. The child
    would have the module's lock, which nobody gives up there, and wait for ever where it needs the module, too.
    """
    until = time.monotonic() + _WAIT_S
    while _loading() and time.monotonic() < until:
        time.sleep(0.001)


def _loading() -> bool:
    """Whether another thread has the lock of a module of ours (importlib's `_ModuleLock`). Others' may be loaded for as
    long as a program runs, if that is what its module does.
    """
    found = [*getattr(_frozen_importlib, "_module_locks", {}).items()]
    locks = [lock() for name, lock in found if name.partition(".")[0] == "macvfast"]
    return any(getattr(lock, "owner", None) not in (None, _thread.get_ident()) for lock in locks)


def _count() -> None:
    _here[0] = (os.getpid(), _here[0][1] + 1)


os.register_at_fork(before=_wait_for_imports, after_in_child=_count)


def here() -> tuple[int, int]:
    """An identity of this process."""
    return _here[0]
