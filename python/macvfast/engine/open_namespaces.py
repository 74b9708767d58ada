"""The namespaces of a chunk: new ones, created ahead of it, and those of sandboxes that exist or are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.chunk import Task
from macvfast.engine.making import NewSandbox, Opened
from macvfast.errors import MacvfastError, NamespaceChanged, NamespaceInvalid
from macvfast.kernel.namespaces import close_all, make_each, open_recorded
from macvfast.model import Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.engine.chunk import Chunk
    from macvfast.engine.making import AttachRequest, Attempt, GivenNetns
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
            recorded = [
                (one, box)
                for one in chunk.good
                if one.request.given is None and isinstance(box := one.request.sandbox, Sandbox)
            ]
            self._hold(chunk, [one for one, _ in recorded], open_recorded(self._kernel, [box for _, box in recorded]))
            self._open_given(chunk)
        except MacvfastError as error:
            chunk.fail(error)

    def _open_given(self, chunk: Chunk) -> None:
        """Open the given namespaces, each path once."""
        asked = [(one, given) for one in chunk.good if (given := one.request.given) is not None]
        known: dict[str, Namespace | MacvfastError] = dict(chunk.call.shared)
        paths = list({given.opened: None for _, given in asked if given.opened not in known})
        if paths:
            known |= zip(paths, self._kernel.open_namespaces(paths, plan.IPV6_DEFAULTS), strict=True)
        found = [self._checked(one.request, given, known[given.opened]) for one, given in asked]
        self._hold(chunk, [one for one, _ in asked], found)
        held = {id(one) for one in found}
        close_all([known[path] for path in paths if id(known[path]) not in held])

    def open_given(self, given: GivenNetns) -> Namespace:
        """A namespace that many are to be connected in, which is not the home namespace.

        Raises:
            NamespaceInvalid, KernelRefused, PermissionNeeded
        """
        (opened,) = self._kernel.open_namespaces([given.opened], plan.IPV6_DEFAULTS)
        found = self._suitable(given, opened)
        if isinstance(found, MacvfastError):
            close_all([opened])
            raise found
        return found

    def _suitable(self, given: GivenNetns, found: Namespace | MacvfastError) -> Namespace | MacvfastError:
        """What was opened, if endpoints can be in it; messages have the path that the caller knows."""
        if isinstance(found, NamespaceInvalid):
            return NamespaceInvalid(given.path, found.reason)
        if not isinstance(found, MacvfastError) and found.cookie == self._kernel.home_cookie():
            return NamespaceInvalid(given.path, "it is the home namespace, which holds the parents")
        return found

    def _checked(
        self, request: AttachRequest, given: GivenNetns, opened: Namespace | MacvfastError
    ) -> Namespace | MacvfastError:
        """What was opened, if it also is the one that the sandbox stands for."""
        found, box = self._suitable(given, opened), request.sandbox
        if isinstance(found, MacvfastError) or isinstance(box, NewSandbox):
            return found
        if (box.cookie, box.boot_id) != (found.cookie, self._kernel.boot_id()):
            return NamespaceChanged(box.name, given.path, "the sandbox stands for another namespace")
        return found

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
        kept = list(chunk.call.shared.values())
        for one in chunk.opened:
            if one.attempt.starts:
                one.attempt.namespace = one.namespace
                kept.append(one.namespace)
        close_all([one.namespace for one in chunk.opened if one.namespace not in kept])
        chunk.opened = []
