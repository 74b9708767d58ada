"""Free what dead owners left: what stood for namespaces that are gone, what went with commands that have ended, and
what was half-made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from macvfast.engine.observe import Observer
from macvfast.errors import RemovalUnfinished
from macvfast.kernel.namespaces import close_all
from macvfast.model import SandboxState, natural
from macvfast.outcomes import Difference, Freed, Step
from macvfast.process import autoremove, keeper

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from macvfast.engine.detach import Detacher
    from macvfast.engine.unfinished import Finished
    from macvfast.kernel.protocol import Kernel
    from macvfast.model import Sandbox
    from macvfast.state.store import Store


class Freer:
    """Frees what nobody owns any more."""

    def __init__(self, store: Store, kernel: Kernel, detacher: Detacher) -> None:
        self._store = store
        self._kernel = kernel
        self._detacher = detacher
        self._observer = Observer(store, kernel)

    def free(self, finished: Finished) -> list[Freed]:
        """Free it; what was freed, by name, and what could not be: what others left unfinished first."""
        freed = [_unfinished(step) for step in finished.steps]
        freed += [_unfinished(step, left=True) for step in finished.left]
        ownerless = list(self._ownerless())
        errors = self._detacher.remove([sandbox.id for sandbox, _ in ownerless], force=True)
        freed += [
            Freed(kind="sandbox", name=sandbox.name, reason=reason, error=error)
            for (sandbox, reason), error in zip(ownerless, errors, strict=True)
        ]
        cleared = self._detacher.folders.clear(self._kernel.boot_id())
        autoremove.forget(autoremove.queues_in(self._store.directory), self._there)
        return freed + [
            Freed(kind="sandbox", name=one.mends.sandbox or "", reason=one.mends.found, error=one.error)
            for one in cleared
        ]

    def _there(self) -> Collection[str]:
        """The ids of all sandboxes."""
        with self._store.reading() as records:
            return records.sandbox_names().keys()

    def _ownerless(self) -> Iterator[tuple[Sandbox, str]]:
        """Sandboxes that nobody owns any more, and why."""
        boot_id = self._kernel.boot_id()
        for page in self._observer.sandboxes():
            given = [one.sandbox for one in page if not one.sandbox.made]
            places = self._observer.locate(given)
            close_all([place.namespace for place in places])
            gone = {sandbox.id for sandbox, place in zip(given, places, strict=True) if place.for_good}
            for one in page:
                sandbox = one.sandbox
                if sandbox.id in gone:
                    yield sandbox, f"the namespace at {sandbox.path} that it stood for is gone"
                elif sandbox.auto_remove and (reason := self._ended(sandbox, boot_id)):
                    yield sandbox, reason

    def _ended(self, sandbox: Sandbox, boot_id: str) -> str | None:
        """Why a sandbox that was to go with its command is left behind; None, if it is not."""
        folder = self._store.sandbox_dir(sandbox.id)
        state, _ = keeper.state(folder, boot_id)
        if state in (SandboxState.EXITED, SandboxState.LOST):
            return "the command that it was to go with (--rm) has ended"
        # Whoever is about to start it holds the lock from before the sandbox was made.
        if state is SandboxState.IDLE and keeper.will_not_come(folder):
            return "the command that it was to go with (--rm) was never started"
        return None

    def left_behind(self) -> list[Step]:
        """What would be done about sandboxes that were to go with a command."""
        return [_removal(sandbox, reason) for sandbox, reason in self._left_behind()]

    def remove_left_behind(self) -> list[Step]:
        """Remove them; each step with what it failed of."""
        there = list(self._left_behind())
        errors = self._detacher.remove([sandbox.id for sandbox, _ in there], force=True)
        return [
            replace(_removal(sandbox, reason), error=error)
            for (sandbox, reason), error in zip(there, errors, strict=True)
        ]

    def _left_behind(self) -> Iterator[tuple[Sandbox, str]]:
        boot_id = self._kernel.boot_id()
        with self._store.reading() as records:
            # Few of all sandboxes: the others are not read.
            settled = self._observer.settled(records, records.removed_with_command())
        for one in sorted(settled, key=lambda one: natural(one.sandbox.name)):
            if reason := self._ended(one.sandbox, boot_id):
                yield one.sandbox, reason


def _unfinished(step: Step, *, left: bool = False) -> Freed:
    """What became of unfinished work."""
    of = step.mends
    kind, name = ("sandbox", of.sandbox) if of.sandbox is not None else ("network", of.network or "")
    again = f"macvfast {'rm -f' if kind == 'sandbox' else 'network rm'} {name}"
    error = RemovalUnfinished(kind, name, of.found, again) if left else None
    return Freed(kind=kind, name=name, reason=of.found, error=error)


def _removal(sandbox: Sandbox, reason: str) -> Step:
    return Step(mends=Difference(kind="left-behind", sandbox=sandbox.name, found=reason), action="remove it")
