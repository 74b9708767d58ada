"""Remove networks, many at once or one, with the links that macvfast created for them.

For each chunk: one durable transaction records which networks are going to be removed; their parents are deleted
together; another transaction deletes the records. What a dead process left half-created or half-removed is removed in
the same way.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.parents import Parents
from macvfast.errors import KernelRefused, MacvfastError, NetworkInUse, RemovalUnfinished
from macvfast.ipam import Pools
from macvfast.outcomes import Freed, LinkNeeded, Outcome, Outcomes
from macvfast.state.lookup import one_network, refuse_another, refuse_unsettled
from macvfast.state.records import REMOVED
from macvfast.system import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from macvfast.kernel.netlink import Kernel
    from macvfast.model import MadeParent, Network
    from macvfast.outcomes import Note
    from macvfast.state.records import Records
    from macvfast.state.store import Store
    from macvfast.system.progress import Progress

# Networks in one transaction and one send: so many, and of more than 16 times as many a sixteenth. Each transaction
# reads what all networks of its pools keep: with a fixed number of networks in each, all of them would read the square.
CHUNK = 128


def chunk_of(count: int) -> int:
    """How many of so many networks go into one transaction."""
    return max(CHUNK, -(-count // 16))


class NetworkRemover:
    """Removes networks; `on_note` is called with links that have to stay."""

    def __init__(self, store: Store, kernel: Kernel, on_note: Callable[[Note], None]) -> None:
        self._store = store
        self._parents = Parents(kernel)
        self._on_note = on_note

    def free(self, unused: Sequence[Network], reason: str) -> list[Freed]:
        """Remove networks of engines that nobody was on. One that is used again by now stays."""
        if not unused:
            return []
        outcomes = self.remove_many([one.id for one in unused], any_origin=True)
        return [
            Freed(kind="network", name=one.name, reason=reason, error=outcome.error)
            for one, outcome in zip(unused, outcomes, strict=True)
            if not isinstance(outcome.error, NetworkInUse)
        ]

    def remove_many(
        self, asked: Sequence[str], progress: Progress | None = None, *, any_origin: bool = False
    ) -> Outcomes[str]:
        """Remove networks without endpoints; one outcome per key, in the order asked. A network that is named twice is
        removed once. `any_origin`: also what an engine made for which the state is not open.
        """
        with self._store.reading() as records:
            ids = {key: there[0].id if len(there := records.network(key)) == 1 else key for key in asked}
        # By what each was called first.
        first: dict[str, str] = {}
        for key, id_ in ids.items():
            first.setdefault(id_, key)
        todo = list(first.values())
        outcomes: dict[str, Outcome[str]] = {}
        for chunk in limits.chunks(todo, chunk_of(len(todo))):
            self._remove(chunk, outcomes, any_origin=any_origin)
            if progress is not None:
                progress.step(len(chunk))
        return Outcomes(tuple(replace(outcomes[first[ids[key]]], name=key) for key in asked))

    def _remove(self, todo: Sequence[str], outcomes: dict[str, Outcome[str]], *, any_origin: bool) -> None:
        """Remove the networks of a chunk, and add the outcome of each."""
        try:
            with self._store.writing() as records:
                going, intent = self._begin_removal(records, todo, outcomes, any_origin=any_origin)
        except MacvfastError as error:
            outcomes |= {key: Outcome(key, error=error) for key in todo}
            return
        failure: MacvfastError | None = None
        try:
            self.take_away([(network, intent) for network in going.values()])
        except MacvfastError as error:
            failure = error
        outcomes |= {key: _removed(key, network, failure) for key, network in going.items()}

    def _begin_removal(
        self, records: Records, todo: Sequence[str], outcomes: dict[str, Outcome[str]], *, any_origin: bool
    ) -> tuple[dict[str, Network], int]:
        """Record which networks are being removed."""
        going: dict[str, Network] = {}
        intent = 0
        for key in todo:
            try:
                network = one_network(records, self._store, key)
                if not any_origin:
                    refuse_another(self._store, network)
                if sandboxes := records.occupants(network.id):
                    raise NetworkInUse(network.name, sandboxes, records.origins_on(network.id))
                if held := records.held_on(network.id):
                    origins = sorted({one.attachment.origin for one in held})
                    raise NetworkInUse(network.name, [str(one.attachment) for one in held], origins)
                if noted := records.noted_on(network.id):
                    origins = [network.origin] if network.origin else []
                    raise NetworkInUse(network.name, [f"endpoint {one.id[:12]}" for one in noted], origins)
                refuse_unsettled("parent", network.link, records.made_parent_intent(network.link), self._store)
            except MacvfastError as error:
                outcomes[key] = Outcome(key, error=error)
                continue
            intent = intent or records.begin(self._store.owner(), REMOVED)
            going[key] = network
        begin_removal(records, list(going.values()), intent)
        return going, intent

    def take_away(self, going: Sequence[tuple[Network, int]]) -> None:
        """Delete the parents that only these networks have and that are ours; then delete the records."""
        if not going:
            return
        with self._store.reading() as records:
            ids = {network.id for network, _ in going}
            last, needed = self._last(records, [network.link for network, _ in going], ids)
        kept = self._parents.delete(last) if last else []
        with self._store.writing() as records:
            for made in last:
                records.delete_made_parent(made.link)
            pools = Pools(records)
            for network, _ in going:
                pools.leave(network)
            pools.save()
            for link in {network.link for network, _ in going}:
                if not records.stays(link, ()):
                    records.forget_parent_links(link)
            records.delete_unused_intents({intent for _, intent in going})
        for one in (*kept, *needed):
            if one is not None:
                self._on_note(one)

    @staticmethod
    def _last(records: Records, links: Iterable[str], ids: Container[str]) -> tuple[list[MadeParent], list[LinkNeeded]]:
        """The links of ours that go with the last network on each, and those that stay because others stand on them."""

        @cache
        def free(link: str) -> bool:
            return not records.stays(link, ids)

        last, needed = plan.links_that_go(links, records.stacked(), free)
        made = map(records.made_parent, last)
        return [one for one in made if one is not None], [
            LinkNeeded(link, tuple(on_it), tuple(one.name for upper in on_it for one in records.networks(link=upper)))
            for link, on_it in needed.items()
        ]

    def finish(self, intents: Iterable[int]) -> None:
        """Remove the networks that operations which have ended left half-created or half-removed.

        Args:
            intents: the intents of those operations.
        """
        with self._store.writing() as records:
            going = [network for one in intents for network in records.networks(intent=one)]
            if not going:
                return
            # With a new intent: another process may finish the same networks, and create one with such a name again.
            intent = records.begin(self._store.owner(), REMOVED)
            begin_removal(records, going, intent)
            records.delete_unused_intents(intents)
        for chunk in limits.chunks(going, chunk_of(len(going))):
            if not self._finish([(network, intent) for network in chunk]):
                break

    def _finish(self, going: Sequence[tuple[Network, int]]) -> bool:
        """Take networks away. One whose link cannot go keeps none of the others: it stays recorded as unsettled, and
        the next command tries again. Returns whether others can be tried; not where all would fail: the state cannot be
        written, or a permission is missing.
        """
        try:
            self.take_away(going)
        except KernelRefused:
            half = len(going) // 2
            return not half or (self._finish(going[:half]) and self._finish(going[half:]))
        except MacvfastError:
            return False
        return True


def begin_removal(records: Records, networks: Sequence[Network], intent: int) -> None:
    """Record that networks are being removed, and with them the links below that no network is on."""
    for network in networks:
        records.begin_network_removal(network.id, intent)
    below = records.stacked() if networks else {}
    for network in networks:
        for link in plan.way_down(network.link, below)[1:]:
            # So that nobody puts another network on it meanwhile.
            if records.network_on(link) is None:
                records.begin_parent_removal(link, intent)


def _removed(key: str, network: Network, failure: MacvfastError | None) -> Outcome[str]:
    if failure is None:
        return Outcome(key, value=network.name)
    again = f"macvfast network rm {network.name}"
    return Outcome(key, error=RemovalUnfinished("network", network.name, str(failure), again))
