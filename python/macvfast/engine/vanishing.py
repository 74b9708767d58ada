"""See when links that are being deleted are gone from their namespaces: long before the kernel is done with them.

A deletion takes the name and the index of a link away within a millisecond. It is answered some 18 ms later, when
nothing in the kernel uses the link any more (`rcu_barrier`); only then are its MAC and addresses free.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError
from macvfast.kernel.namespaces import close_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.engine.removal import Removal
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Sandbox

# How long it is slept between two looks.
_LOOK_S = 0.0003


class Vanishing:
    """Within this context another thread deletes links; a thread of its own tells which are gone.

    Args:
        kernel: opens sockets of its own: those that delete are busy until the deletions are answered.
        leaving: the removals whose links are deleted, each with its namespace, which stays open.
        tell: called, on that thread, with the sandboxes whose links are gone.
    """

    def __init__(
        self, kernel: Kernel, leaving: Sequence[tuple[Removal, Namespace]], tell: Callable[[Sequence[Sandbox]], None]
    ) -> None:
        self._kernel = kernel
        self._leaving = leaving
        self._tell = tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="macvfast-vanishing")

    def __enter__(self) -> None:
        """Begin to look. Where no thread can be started, nothing is told."""
        with suppress(RuntimeError):
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        """End looking."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _look(self) -> None:
        opened: dict[int, Namespace | MacvfastError] = {}
        try:
            for _, namespace in self._leaving:
                if namespace.cookie not in opened:
                    opened[namespace.cookie] = self._kernel.reopen(namespace)
            left = list(self._leaving)
            while left and not self._ended.wait(_LOOK_S):
                there = [pair for pair in left if self._has_links(pair[0], opened[pair[1].cookie])]
                if len(there) < len(left):
                    self._tell([one.sandbox for one, namespace in left if (one, namespace) not in there])
                left = there
        except MacvfastError:
            # Whoever waits hears of it when the deletions are answered.
            return
        finally:
            close_all([*opened.values()])

    def _has_links(self, one: Removal, namespace: Namespace | MacvfastError) -> bool:
        if isinstance(namespace, MacvfastError):
            raise namespace
        return any(self._kernel.links_at([(namespace, ifindex) for ifindex in one.deleted]))
