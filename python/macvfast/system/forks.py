"""Which process this is: a forked child has its parent's values, but must not use its threads, locks and files."""

from __future__ import annotations

import os

_forks = [0]


def _count() -> None:
    _forks[0] += 1


os.register_at_fork(after_in_child=_count)


def here() -> tuple[int, int]:
    """An identity of this process: its pid, and how many forks lead to it, for pids repeat in other pid namespaces."""
    return os.getpid(), _forks[0]
