"""Remove what nobody owns any more: orphans (sandboxes that stand for namespaces which no longer exist, and sandboxes
of `--rm` whose commands have ended), and everything that an uninstalled engine created.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from macvfast.engine.observe import Observer
from macvfast.engine.removal import RemovalOptions
from macvfast.errors import RemovalUnfinished
from macvfast.kernel.namespaces import close_all
from macvfast.model import SandboxState, natural
from macvfast.outcomes import Difference, Freed, Step
from macvfast.process import autoremove, keeper

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from macvfast.engine.detach import Detacher
    from macvfast.engine.network_removal import NetworkRemover
    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.engine.unfinished import Finished
    from macvfast.errors import MacvfastError
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Sandbox
    from macvfast.state.store import Store


class Collector:
    """Finds and removes orphans."""

    def __init__(self, store: Store, kernel: Kernel, detacher: Detacher, directories: SandboxDirectories) -> None:
        self._store = store
        self._kernel = kernel
        self._detacher = detacher
        self._directories = directories
        self._observer = Observer(store, kernel)

    def collect(self, finished: Finished) -> list[Freed]:
        """Remove all orphans. Returns what was removed or could not be: first the work that other operations left
        unfinished.
        """
        freed = [_unfinished(step) for step in finished.steps]
        freed += [_unfinished(step, left=True) for step in finished.left]
        freed += [
            Freed(kind="sandbox", name=sandbox.name, reason=reason, error=error)
            for sandbox, reason, error in self._removed(self._orphans())
        ]
        cleared = self._directories.clear(self._kernel.boot_id())
        autoremove.forget(autoremove.queues_in(self._store.directory), self._there)
        return freed + [
            Freed(kind="sandbox", name=one.mends.sandbox or "", reason=one.mends.found, error=one.error)
            for one in cleared
        ]

    def _there(self) -> Collection[str]:
        """The ids of all sandboxes."""
        with self._store.reading() as records:
            return records.sandbox_names().keys()

    def _removed(self, orphans: Iterable[tuple[Sandbox, str]]) -> Iterator[tuple[Sandbox, str, MacvfastError | None]]:
        """Remove orphans. Returns each with its reason, and with its error if it has one."""
        found = list(orphans)
        _, errors = self._detacher.remove([sandbox.id for sandbox, _ in found], RemovalOptions(force=True))
        return ((*one, errors.get(one[0].id)) for one in found)

    def _orphans(self) -> Iterator[tuple[Sandbox, str]]:
        """All orphans, each with the reason."""
        boot_id = self._kernel.boot_id()
        for page in self._observer.sandboxes():
            # Whether attachments are orphans, other things decide (`attachments`).
            given = [one.sandbox for one in page if not one.sandbox.made and one.sandbox.origin is None]
            places = self._observer.locate(given, patient=True)
            close_all([place.namespace for place in places])
            gone = {sandbox.id for sandbox, place in zip(given, places, strict=True) if place.for_good}
            for one in page:
                sandbox = one.sandbox
                if sandbox.id in gone:
                    yield sandbox, f"the namespace at {sandbox.path} that it stood for is gone"
                elif sandbox.auto_remove and (reason := self._ended(sandbox, boot_id)):
                    yield sandbox, reason

    def _ended(self, sandbox: Sandbox, boot_id: str) -> str | None:
        """Why a sandbox of `--rm` is left behind; None: it is not."""
        directory = self._store.sandbox_dir(sandbox.id)
        state, _ = keeper.state(directory, boot_id)
        if state in (SandboxState.EXITED, SandboxState.LOST):
            return "its command (--rm) has ended"
        # A process that is about to start its command has held the lock since before the sandbox was created.
        if state is SandboxState.IDLE and keeper.is_absent(directory):
            return "its command (--rm) was never started"
        return None

    def left_behind(self) -> list[Step]:
        """The steps that would remove sandboxes whose commands have ended."""
        return [_removal(sandbox, reason) for sandbox, reason in self._left_behind()]

    def remove_left_behind(self) -> list[Step]:
        """Remove them. Returns each step, with its error if it failed."""
        return [
            replace(_removal(sandbox, reason), error=error)
            for sandbox, reason, error in self._removed(self._left_behind())
        ]

    def _left_behind(self) -> Iterator[tuple[Sandbox, str]]:
        boot_id = self._kernel.boot_id()
        with self._store.reading() as records:
            # Usually few: the other sandboxes are not read.
            settled = self._observer.settled(records, [*records.sandboxes(auto_remove=True)])
        for one in sorted(settled, key=lambda one: natural(one.sandbox.name)):
            if reason := self._ended(one.sandbox, boot_id):
                yield one.sandbox, reason


def remove_all(store: Store, detacher: Detacher, remover: NetworkRemover) -> list[Freed]:
    """Remove all that the engine made for which the state is open: its sandboxes, then its endpoints of other
    sandboxes, then its networks. Gives what was removed, or could not be.
    """
    origin = store.origin or ""
    reason = f"{origin} made it"
    with store.reading() as records:
        sandboxes = sorted(records.sandboxes(origin=origin), key=lambda one: natural(one.name))
        networks = list(records.networks(origin=origin))
    options = RemovalOptions(force=True)
    _, errors = detacher.remove([sandbox.id for sandbox in sandboxes], options)
    freed = [Freed(kind="sandbox", name=one.name, reason=reason, error=errors.get(one.id)) for one in sandboxes]
    with store.reading() as records:
        seen = [
            (box, endpoint)
            for endpoint in records.endpoints(origin=origin)
            if endpoint.sandbox_id not in errors
            for box in records.sandbox(endpoint.sandbox_id)
        ]
    freed += [
        Freed(kind="endpoint", name=f"{box.name} on {endpoint.network}", reason=reason, error=error)
        for (box, endpoint), error in zip(seen, detacher.disconnect(seen, options), strict=True)
    ]
    outcomes = remover.remove_many([network.id for network in networks])
    return freed + [
        Freed(kind="network", name=network.name, reason=reason, error=outcome.error)
        for network, outcome in zip(networks, outcomes, strict=True)
    ]


def _unfinished(step: Step, *, left: bool = False) -> Freed:
    """What has become of unfinished work. `left`: it is still unfinished."""
    of = step.mends
    kind, name = ("sandbox", of.sandbox) if of.sandbox is not None else ("network", of.network or "")
    again = f"macvfast {'rm -f' if kind == 'sandbox' else 'network rm'} {name}"
    error = RemovalUnfinished(kind, name, of.found, again) if left else None
    return Freed(kind=kind, name=name, reason=of.found, error=error)


def _removal(sandbox: Sandbox, reason: str) -> Step:
    return Step(mends=Difference(kind="left-behind", sandbox=sandbox.name, found=reason), action="remove it")
