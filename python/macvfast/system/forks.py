"""Which process this is: a forked child has its parent's values, but must not use its threads, locks and files."""

from __future__ import annotations

import os

# Its pid, and how many forks lead to it: pids repeat in other pid namespaces. Noted: one change asks for it some thirty
# times.
_here = [(os.getpid(), 0)]


def _count() -> None:
    _here[0] = (os.getpid(), _here[0][1] + 1)


os.register_at_fork(after_in_child=_count)


def here() -> tuple[int, int]:
    """An identity of this process."""
    return _here[0]
