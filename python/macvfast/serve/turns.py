"""Turns: what must not be done at the same time is done in the order in which it came, and no thread waits for it."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# What only one is done about at a time: its kind, and which one.
Key = tuple[str, str]


class Turns:
    """The keys for which something is being done, each with what waits for its turn. Whoever takes several keys takes
    their kinds in the same order as all others, so that no two wait for each other.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._behind: dict[Key, deque[Callable[[], object]]] = {}

    def take(self, keys: Sequence[Key], start: Callable[[], object]) -> None:
        """Call `start` once it is the turn of all the keys: now, or on the thread that ends the last turn before."""
        if not keys:
            start()
            return
        with self._changed:
            behind = self._behind.get(keys[0])
            if behind is not None:
                behind.append(lambda: self.take(keys[1:], start))
                return
            self._behind[keys[0]] = deque()
        self.take(keys[1:], start)

    def end(self, keys: Sequence[Key]) -> None:
        """End the turn of these keys, and begin those that wait."""
        for key in keys:
            with self._changed:
                following = self._behind[key].popleft() if self._behind[key] else None
                if following is None:
                    del self._behind[key]
                    self._changed.notify_all()
            if following is not None:
                following()

    def wait(self) -> None:
        """Wait until all turns have ended."""
        with self._changed:
            self._changed.wait_for(lambda: not self._behind)
