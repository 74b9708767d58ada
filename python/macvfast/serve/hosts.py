"""The hosts of one state directory, one for each engine that asks: opened when it first does, and again where the state
was replaced.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from macvfast.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator


class Hosts:
    """Hosts that several threads use at once."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._lock = threading.Lock()
        self._shared: dict[str | None, _Shared] = {}

    @contextmanager
    def of(self, origin: str | None) -> Iterator[Host]:
        """The host of an origin, open until the block ends. Raises as `Host.open`."""
        self._end_replaced()
        with self._lock:
            one = self._shared.setdefault(origin, _Shared())
            one.users += 1
        try:
            yield one.opened(self._state_dir, origin)
        finally:
            with self._lock:
                one.users -= 1
                last = one.gone and not one.users
            if last:
                one.close()

    def _end_replaced(self) -> None:
        """Use no host any more whose state was deleted with all that was in it: what is written there now would be
        lost.
        """
        now = _file_in(self._state_dir)
        with self._lock:
            replaced = {key: one for key, one in self._shared.items() if one.file not in (None, now)}
            for key, one in replaced.items():
                one.gone = True
                del self._shared[key]
            unused = [one for one in replaced.values() if not one.users]
        for one in unused:
            one.close()

    def close(self) -> None:
        """Close all; nobody uses one any more."""
        for one in self._shared.values():
            one.close()


class _Shared:
    """A host, once it is open.

    Attributes:
        users: the threads that use it, or wait until it is open.
        gone: nobody else comes to use it.
        file: which file its state is in; None: it is not open yet.
    """

    def __init__(self) -> None:
        self.users = 0
        self.gone = False
        self.file: tuple[int, int] | None = None
        self._host: Host | None = None
        self._opening = threading.Lock()

    def opened(self, state_dir: str, origin: str | None) -> Host:
        """The host; whoever comes first opens it."""
        with self._opening:
            if self._host is None:
                self._host = Host.open(state_dir, origin=origin)
                self.file = _file_in(state_dir)
            return self._host

    def close(self) -> None:
        """Close the host if it is open."""
        if self._host is not None:
            self._host.close()


def _file_in(state_dir: str) -> tuple[int, int]:
    """Which file the state is in."""
    try:
        found = os.stat(os.path.join(state_dir, "state.db"))
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
