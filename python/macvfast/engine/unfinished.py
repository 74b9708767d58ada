"""Unfinished work: what processes that died, or gave up, left half-created or half-removed.

There is one way. When a change begins, unfinished work is taken over and finished or undone as far as possible, and the
outcome is passed on to that change.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from macvfast.engine.removal import RemovalOptions
from macvfast.errors import NetworkNotFound, SandboxNotFound
from macvfast.outcomes import Difference, Outcome, Outcomes, Step
from macvfast.state import home
from macvfast.state.records import MADE, REMOVED, RESTORED
from macvfast.system import log

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from macvfast.engine.detach import Detacher
    from macvfast.engine.network_removal import NetworkRemover
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.state.records import Records
    from macvfast.state.store import Store


@dataclass(frozen=True, slots=True)
class Finished:
    """The outcome of the unfinished work that existed when a change began.

    Attributes:
        steps: what was finished or undone.
        left: what could not be finished yet.
        sandboxes, networks: the names of those whose removal was finished, by id.
    """

    steps: tuple[Step, ...] = ()
    left: tuple[Step, ...] = ()
    sandboxes: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)

    def count_sandboxes(self, outcomes: Outcomes[str], *, force: bool) -> Outcomes[str]:
        """The outcomes of a removal of sandboxes. What was finished counts as removed by it: if a removal was
        interrupted and is typed again, it succeeds. With `force`, everything that does not exist counts as removed,
        too.
        """
        counted = _counted(outcomes, self.sandboxes)
        if not (force and counted.failed):
            return counted
        gone = (Outcome(one.name, value=one.name) if isinstance(one.error, SandboxNotFound) else one for one in counted)
        return Outcomes(tuple(gone))

    def count_networks(self, outcomes: Outcomes[str]) -> Outcomes[str]:
        """The same for networks."""
        return _counted(outcomes, self.networks)


def _counted(outcomes: Outcomes[str], removed: Mapping[str, str]) -> Outcomes[str]:
    return Outcomes(tuple(_count(one, removed) for one in outcomes)) if removed else outcomes


def _count(outcome: Outcome[str], removed: Mapping[str, str]) -> Outcome[str]:
    key = outcome.name
    if not isinstance(outcome.error, SandboxNotFound | NetworkNotFound):
        return outcome
    exact = [name for id_, name in removed.items() if key in (id_, name)]
    names = exact or [name for id_, name in removed.items() if key and id_.startswith(key)]
    return Outcome(key, value=names[0]) if len(names) == 1 else outcome


@dataclass(frozen=True, slots=True)
class _Left:
    """What operations that have ended left behind, with what each was doing (MADE, REMOVED)."""

    intents: Mapping[int, str] = field(default_factory=dict)
    networks: tuple[tuple[Network, str], ...] = ()
    sandboxes: tuple[tuple[Sandbox, str], ...] = ()
    endpoints: tuple[tuple[Sandbox, Endpoint, str], ...] = ()

    def steps(self) -> dict[str, Step]:
        """What is done about each, by its id."""
        found = {network.id: _step(doing, network=network.name) for network, doing in self.networks}
        found |= {box.id: _step(doing, sandbox=box.name) for box, doing in self.sandboxes}
        return found | {
            one.id: _step(doing, f"its link {one.ifname}", sandbox=box.name) for box, one, doing in self.endpoints
        }


class UnfinishedWork:
    """Takes over, around each change, what others left unfinished."""

    def __init__(self, store: Store, kernel: Kernel, detacher: Detacher, remover: NetworkRemover) -> None:
        self._store = store
        self._kernel = kernel
        self._detacher = detacher
        self._remover = remover

    def steps(self) -> list[Step]:
        """What would be done about it now. Changes nothing."""
        return [*self._look().steps().values()]

    @contextmanager
    def taken_up(self, *, mending: bool = False) -> Iterator[Finished]:
        """Around every change: what the change begins and does not settle can be finished by anyone after its end.
        `mending`: the change is about unfinished work, so the host may be searched for it.
        """
        with self._store.operation():
            with self._store.reading() as records:
                claimed, owners = home.is_claimed(records, self._store, self._kernel), _owners(records)
            if not claimed:
                home.claim(self._store, self._kernel)
            found = self._left_by(owners)
            if found.intents:
                self._finish(found, patient=mending)
        # As another operation: this one may be about what the first could not finish.
        with self._store.operation():
            yield self._finished(found) if found.intents else Finished()

    def _finished(self, found: _Left) -> Finished:
        """The outcome of it: whatever still exists is left."""
        left = self._look().steps()
        return Finished(
            steps=tuple(step for id_, step in found.steps().items() if id_ not in left),
            left=tuple(left.values()),
            sandboxes=_gone(found.sandboxes, left),
            networks=_gone(found.networks, left),
        )

    # Looking.

    def _look(self) -> _Left:
        """What operations left that have ended without settling it."""
        with self._store.reading() as records:
            owners = _owners(records)
        return self._left_by(owners)

    def _left_by(self, owners: Iterable[str]) -> _Left:
        """The same, of some that had intents.

        Intents are read again: an operation may have settled its intents, and ended, between the first read and the
        look at its lock.
        """
        ended = {token for token in owners if not self._store.owner_lives(token)}
        if not ended:
            return _Left()
        with self._store.reading() as records:
            return _read(records, {id_: one.doing for id_, one in records.intents().items() if one.owner in ended})

    # Finishing.

    def _finish(self, found: _Left, *, patient: bool) -> None:
        """Finish it or undo it. What cannot be finished yet stays recorded, and the next change tries again. `patient`:
        whether the host may be searched for it.
        """
        counts = {"sandboxes": len(found.sandboxes), "endpoints": len(found.endpoints)}
        log.event("finish", intents=len(found.intents), networks=len(found.networks), **counts)
        options = RemovalOptions(force=True, patient=patient)
        if found.sandboxes:
            self._detacher.remove([sandbox.id for sandbox, _ in found.sandboxes], options)
        for given_up in (MADE, REMOVED):
            if some := [(box, one) for box, one, doing in found.endpoints if doing == given_up]:
                self._detacher.disconnect(some, options, given_up)
        if found.networks:
            self._remover.finish(found.intents)
        with self._store.writing() as records:
            records.delete_unused_intents(found.intents)
            for intent, doing in found.intents.items():
                if doing == RESTORED:
                    # What was being restored stays: whatever was done for it is known by its recorded identity.
                    records.settle(intent)


def _owners(records: Records) -> set[str]:
    """The tokens of all operations that have intents."""
    return {one.owner for one in records.intents().values()}


def _gone(found: Iterable[tuple[Network | Sandbox, str]], left: Container[str]) -> dict[str, str]:
    """The names of those whose removal was finished, by id."""
    return {one.id: one.name for one, doing in found if doing == REMOVED and one.id not in left}


def _read(records: Records, ended: Mapping[int, str]) -> _Left:
    begun = {intent: doing for intent, doing in ended.items() if doing != RESTORED}
    networks = [(one, doing) for intent, doing in begun.items() for one in records.networks(intent=intent)]
    boxes = [(one, doing) for intent, doing in begun.items() for one in records.sandboxes(intent=intent)]
    going = {box.id for box, _ in boxes}
    endpoints = [
        (records.sandbox(one.sandbox_id)[0], one, doing)
        for intent, doing in begun.items()
        for one in records.endpoints(intent=intent)
        if one.sandbox_id not in going
    ]
    return _Left(ended, tuple(networks), tuple(boxes), tuple(endpoints))


def _step(doing: str, what: str = "it", *, network: str | None = None, sandbox: str | None = None) -> Step:
    """What an operation began and did not finish, and how it ends."""
    kind = "half-made" if doing == MADE else "half-removed"
    made = f"{what} was being made by a process that died"
    found = made if doing == MADE else f"the removal of {what} is not finished"
    mends = Difference(kind=kind, network=network, sandbox=sandbox, found=found)
    return Step(mends=mends, action=f"remove what was made of {what}" if doing == MADE else f"remove {what}")
