"""How far an operation on many has come, for a caller who asked to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Tell: TypeAlias = "Callable[[int, int], None]"


class Progress:
    """Counts the items that have ended, refused ones included.

    >>> progress = Progress(lambda done, total: print(done, "of", total), 3)
    0 of 3
    >>> progress.step(2)
    2 of 3
    >>> progress.end()
    3 of 3
    """

    def __init__(self, tell: Tell | None, total: int) -> None:
        """`tell` is called with how many have ended, and of how many: at once, and whenever that changes."""
        self._tell = tell
        self._total = total
        self._done = 0
        self._say()

    def step(self, more: int) -> None:
        """So many more have ended."""
        self._done += more
        self._say()

    def end(self) -> None:
        """All have ended."""
        if self._done != self._total:
            self._done = self._total
            self._say()

    def _say(self) -> None:
        if self._tell is not None:
            self._tell(self._done, self._total)
