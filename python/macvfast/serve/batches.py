"""A thread that does together what waits together."""

from __future__ import annotations

import sys
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Batches(Generic[T]):
    """What is added is done by one thread: all that has come while it did what came before, as one batch.

    Args:
        do: does a batch. What it raises is shown, and the next batch is done.
        most: how many make one, at most.
    """

    def __init__(self, do: Callable[[Sequence[T]], None], most: int) -> None:
        self._do = do
        self._most = most
        # None: nothing more comes.
        self._waiting: SimpleQueue[T | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="macvfast-batches")
        self._thread.start()

    def add(self, one: T) -> None:
        """Have it done."""
        self._waiting.put(one)

    def close(self) -> None:
        """Do what was added, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (one := self._waiting.get()) is not None:
            batch = [one]
            try:
                while len(batch) < self._most and (one := self._waiting.get_nowait()) is not None:
                    batch.append(one)
            except Empty:
                pass
            try:
                self._do(batch)
            except BaseException:  # noqa: BLE001 - shown, and the next are done
                sys.excepthook(*sys.exc_info())
            if one is None:
                return
