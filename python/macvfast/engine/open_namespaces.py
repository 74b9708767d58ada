"""The namespaces of a chunk: new ones, created ahead of it, and those of sandboxes that exist or are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.engine.chunk import Task
from macvfast.engine.making import NewSandbox, Opened
from macvfast.errors import MacvfastError, NamespaceInvalid
from macvfast.kernel.namespaces import close_all, make_each, open_recorded
from macvfast.model import Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.engine.chunk import Chunk
    from macvfast.engine.making import Attempt
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace


class Opener:
    """Opens and closes the namespaces of chunks."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def begin(self, chunk: Chunk, after: Task[list[Namespace]] | None, *, beside: bool) -> None:
        """Begin to create the new namespaces of a chunk, in the order of its items, after those of another chunk."""
        wanted = [sysctls for _, sysctls in chunk.fresh]

        def work() -> list[Namespace]:
            if after is not None:
                after.wait()
            return make_each(self._kernel, wanted)

        if wanted:
            chunk.namespaces = Task(work, chunk.call.ended, beside=beside)

    def open(self, chunk: Chunk) -> None:
        """Open the namespace of every attempt: a new one for a new sandbox, the recorded or given one for others."""
        try:
            if chunk.namespaces is not None:
                made = zip(chunk.fresh, chunk.namespaces.result(), strict=True)
                chunk.opened = [Opened(one, namespace, sysctls) for (one, sysctls), namespace in made]
            recorded = [(one, box) for one in chunk.good if isinstance(box := one.request.sandbox, Sandbox)]
            self._hold(chunk, [one for one, _ in recorded], open_recorded(self._kernel, [box for _, box in recorded]))
            self._open_given(chunk)
        except MacvfastError as error:
            chunk.fail(error)

    def _open_given(self, chunk: Chunk) -> None:
        """Open the given namespaces once more: what is at the path of one may have changed since the call began."""
        given = [
            (one, box, box.opened or box.netns)
            for one in chunk.good
            if isinstance(box := one.request.sandbox, NewSandbox) and box.netns is not None
        ]
        known = chunk.call.given
        paths = list({path: None for _, _, path in given if path not in known})
        if paths:
            known |= zip(paths, self._kernel.open_namespaces(paths), strict=True)
        self._hold(chunk, [one for one, _, _ in given], [_checked(box, known[path]) for _, box, path in given])

    @staticmethod
    def _hold(chunk: Chunk, attempts: Sequence[Attempt], found: Sequence[Namespace | MacvfastError]) -> None:
        for one, namespace in zip(attempts, found, strict=True):
            if isinstance(namespace, MacvfastError):
                one.fail(namespace)
            else:
                chunk.opened.append(Opened(one, namespace))

    @staticmethod
    def close(chunk: Chunk) -> None:
        """Close the namespaces that were opened for a chunk, except what other attempts or a command still need."""
        kept = list(chunk.call.given.values())
        for one in chunk.opened:
            if one.attempt.starts:
                one.attempt.namespace = one.namespace
                kept.append(one.namespace)
        close_all([one.namespace for one in chunk.opened if one.namespace not in kept])
        chunk.opened = []


def _checked(box: NewSandbox, found: Namespace | MacvfastError) -> Namespace | MacvfastError:
    """A given namespace, if it is the one that was given; messages have the path that the caller knows."""
    path = box.netns or ""
    if isinstance(found, NamespaceInvalid):
        return NamespaceInvalid(path, found.reason)
    if isinstance(found, MacvfastError) or found.cookie == box.cookie:
        return found
    return NamespaceInvalid(path, "another one came to be there during the call")
