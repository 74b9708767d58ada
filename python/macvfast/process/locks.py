"""Locks of keepers that are about to start.

A sandbox that is removed with its command (`run --rm`) is made together with its keeper's lock, which the keeper
inherits. Until then the lock says that the command will start: where it is free, the sandbox is left behind.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Locks:
    """Descriptors of such locks, by the ids of their sandboxes. Safe from several threads: each lock is given once."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether any is held."""
        return bool(self._held)

    def add(self, sandbox_id: str, descriptor: int) -> None:
        """Hold one until the command starts."""
        self._held[sandbox_id] = descriptor

    def take(self, sandbox_id: str) -> int | None:
        """Give one to the caller, who closes it; None: none is held."""
        return self._held.pop(sandbox_id, None)

    def let_go(self, sandbox_ids: Iterable[str]) -> None:
        """Close those of sandboxes whose commands will not start."""
        for id_ in sandbox_ids:
            descriptor = self.take(id_)
            if descriptor is not None:
                os.close(descriptor)

    def close(self) -> None:
        """Close all of them."""
        self.let_go(list(self._held))
