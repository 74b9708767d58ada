"""Networks, made and removed: many at once, or one.

Per chunk: what is asked for is checked, one durable transaction notes it, parents of our own are made in few sends, one
durable transaction settles them. What failed is taken away again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast import log, plan
from macvfast.choose import new_id
from macvfast.errors import (
    MacvfastError,
    NetworkExists,
    NetworkInUse,
    NetworkNotFound,
    RemovalUnfinished,
    SubnetMissing,
    UndoFailed,
)
from macvfast.ipam import default_subnet, settle_subnets, store_pool
from macvfast.lookup import abandoned, one_network, refuse_unsettled
from macvfast.model import Network
from macvfast.outcomes import Outcome, Outcomes
from macvfast.parents import Parent, Parents
from macvfast.records import MADE, REMOVED, now

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from macvfast.ipam import Pool
    from macvfast.kernel import Kernel
    from macvfast.model import Cidr, Subnet
    from macvfast.outcomes import LinkKept
    from macvfast.plan import LinkFacts, Links
    from macvfast.records import MadeParent, Records
    from macvfast.requests import NetworkRequest
    from macvfast.store import Store

# Networks in one transaction and one send.
CHUNK = 128


@dataclass(slots=True)
class _New:
    """A network that is to be made, and how far it has come."""

    asked: NetworkRequest
    network: Network | None = None
    pools: tuple[Pool, ...] = ()
    parent: Parent | None = None
    made: MadeParent | None = None
    noted: bool = False
    # Whether what was seen of the host was not so any more: it is looked at once more.
    again: bool = False
    error: MacvfastError | None = None


class Networks:
    """Makes and removes networks; `on_note` is told of links that were to be removed and stay."""

    def __init__(self, store: Store, kernel: Kernel, on_note: Callable[[LinkKept], None]) -> None:
        self._store = store
        self._kernel = kernel
        self._parents = Parents(kernel)
        self._on_note = on_note

    # Making.

    def create_many(self, requests: Iterable[NetworkRequest]) -> Outcomes[Network]:
        """Make networks; one outcome each, in the order asked."""
        outcomes: list[Outcome[Network]] = []
        for chunk in _apart(requests):
            items = [_New(request) for request in chunk]
            todo = items
            while todo:
                try:
                    self._create(todo)
                except MacvfastError as error:
                    # Nothing of these was begun.
                    for item in todo:
                        item.error = item.error or error
                todo = [item for item in todo if item.again and item.error is None]
            outcomes += (
                Outcome(item.asked.name, value=None if item.error else item.network, error=item.error) for item in items
            )
        return Outcomes(tuple(outcomes))

    def _create(self, items: Sequence[_New]) -> None:
        """Make the networks of a chunk; one for which that must be tried again ends with `again`."""
        links = self._parents.links()
        for item in items:
            item.again = False
            try:
                self._check(item, links)
            except MacvfastError as error:
                item.error = error
        good = [item for item in items if item.error is None]
        if not good:
            return
        with self._store.writing() as records:
            intent = self._note(records, good)
        making = [item for item in good if item.noted and item.made is not None]
        if making:
            self._make(making, intent)

    def _check(self, item: _New, links: Links) -> None:
        """Settle what the network is to be, and refuse what can be refused before anything is begun."""
        with self._store.reading() as records:
            _refuse_name(records, item.asked.name)
        id_ = new_id()
        parent = self._parents.find(item.asked, id_, links)
        request = self._with_subnets(item.asked, parent, links)
        settled = settle_subnets(request)
        network = _network(request, id_, parent, tuple(subnet for subnet, _ in settled))
        plan.refuse_mtu(network, parent.name, parent.mtu)
        item.network, item.pools, item.parent = network, tuple(pool for _, pool in settled), parent
        item.made = parent.to_be_made(self._kernel.boot_id())

    def _note(self, records: Records, items: Sequence[_New]) -> int:
        """Note what can be noted; the intent under which parents are going to be made, 0 where none are."""
        intent = 0
        for item in items:
            network, parent = item.network, item.parent
            if network is None or parent is None:
                continue
            try:
                if not self._may_be(records, item, network, parent):
                    item.again = True
                    continue
            except MacvfastError as error:
                item.error = error
                continue
            if item.made is not None and not intent:
                intent = records.begin(self._store.owner(), MADE)
            ids = records.add_network(network, None if item.made is None else intent)
            for subnet_id, pool in zip(ids, item.pools, strict=True):
                store_pool(records, subnet_id, pool)
            if item.made is not None:
                # A record of an earlier boot, or of a link that somebody deleted, is of no link any more.
                records.delete_made_parent(item.made.link)
                records.add_made_parent(item.made, intent)
            item.noted = True
        return intent

    def _may_be(self, records: Records, item: _New, network: Network, parent: Parent) -> bool:
        """Refuse what the record forbids; False where the parent has appeared, or gone, since it was looked for."""
        _refuse_name(records, network.name)
        sharing = records.networks_on(parent.name)
        plan.refuse_company(parent.name, item.asked, sharing)
        for other in sharing if records.made_parent(parent.name) is not None else ():
            # The parent may be about to come, or to go.
            refuse_unsettled("network", other.name, records.network_intent(other.id), self._store)
        refuse_unsettled("parent", parent.name, records.made_parent_intent(parent.name), self._store)
        if not self._parents.as_seen(parent):
            return False
        plan.refuse_overlap(network.subnets, sharing)
        return True

    def _make(self, items: Sequence[_New], intent: int) -> None:
        """Make recorded parents, then settle; forget the networks whose parents could not be made."""
        failed: list[_New] = []
        try:
            refusals = self._parents.make([(i.parent, i.made) for i in items if i.parent and i.made])
            for item, refusal in zip(items, refusals, strict=True):
                if refusal is not None:
                    failed.append(item)
                    item.again = refusal.index_taken
                    item.error = None if refusal.index_taken else refusal.error
            with self._store.writing() as records:
                removal = self._mark(records, failed)
                records.settle(intent)
        except MacvfastError as error:
            failed = list(items)
            removal = intent
            for item in items:
                item.error, item.again = item.error or error, False
        if not failed:
            return
        log.tell("undo", networks=", ".join(item.asked.name for item in failed))
        try:
            self._take_away([(item.network, removal) for item in failed if item.network])
        except MacvfastError as second:
            for item in failed:
                item.error = UndoFailed(item.error or second, [str(second)])

    def _mark(self, records: Records, items: Sequence[_New]) -> int:
        if not items:
            return 0
        removal = records.begin(self._store.owner(), REMOVED)
        for item in items:
            if item.network is not None:
                records.begin_network_removal(item.network.id, removal)
        return removal

    def _with_subnets(self, request: NetworkRequest, parent: Parent, links: Links) -> NetworkRequest:
        """The request with a default subnet where it may have one.

        Raises:
            SubnetMissing: it has a parent, whose own subnets are the hint.
        """
        if request.subnets:
            return request
        if request.parent is not None:
            # A sub-interface that is to be made has no subnet yet, and not its base's.
            theirs = self._subnets_of(parent.link) if parent.link is not None else []
            raise SubnetMissing(
                f"network `{request.name}` has a parent, so its subnet must be that of the LAN",
                hints=[f"{parent.name} is on {cidr}: --subnet={cidr}" for cidr in theirs]
                or ["--subnet=192.0.2.0/24, or what the LAN has"],
            )
        with self._store.reading() as records:
            taken: list[Cidr] = [subnet.cidr for network in records.networks() for subnet in network.subnets]
        for link in links:
            taken += self._subnets_of(link)
        chosen = default_subnet(taken)
        if chosen is None:
            raise SubnetMissing("all default subnets are in use", hints=["--subnet=10.0.0.0/24"])
        return replace(request, subnets=(chosen,))

    def _subnets_of(self, link: LinkFacts) -> list[Cidr]:
        """The subnets that a link of the home namespace has addresses in, link-local ones left out."""
        found = [
            ip_network((packed, length), strict=False) for packed, length in self._kernel.link_addresses(link.ifindex)
        ]
        return [cidr for cidr in found if not ip_address(cidr.network_address).is_link_local]

    # Removing.

    def unfinished(self, keys: Iterable[str]) -> dict[str, str]:
        """Names of networks whose removal was begun and not finished, by what they were called here: it may be
        finished before they are looked for.
        """
        names: dict[str, str] = {}
        with self._store.reading() as records:
            for key in keys if records.intents() else ():
                found = records.network(key)
                intent = records.network_intent(found[0].id) if len(found) == 1 else None
                if intent is not None and intent[1]:
                    names[key] = found[0].name
        return names

    def remove_many(self, asked: Sequence[str], unfinished: dict[str, str]) -> Outcomes[str]:
        """Remove networks without endpoints; one outcome per key, in the order asked."""
        outcomes: dict[int, Outcome[str]] = {}
        todo = list(enumerate(asked))
        while todo:
            later = todo[CHUNK:]
            try:
                with self._store.writing() as records:
                    going, postponed, intent = self._begin_removal(records, todo[:CHUNK], outcomes)
            except MacvfastError as error:
                outcomes |= {at: Outcome(key, error=error) for at, key in todo[:CHUNK]}
                todo = later
                continue
            failure: MacvfastError | None = None
            try:
                self._take_away([(network, intent) for network in going.values()])
            except MacvfastError as error:
                failure = error
            for at, network in going.items():
                outcomes[at] = _removed(asked[at], network, failure)
            todo = postponed + later
        for at, key in enumerate(asked):
            if key in unfinished and isinstance(outcomes[at].error, NetworkNotFound):
                outcomes[at] = Outcome(key, value=unfinished[key])
        return Outcomes(tuple(outcomes[at] for at in range(len(asked))))

    def _begin_removal(
        self, records: Records, todo: Sequence[tuple[int, str]], outcomes: dict[int, Outcome[str]]
    ) -> tuple[dict[int, Network], list[tuple[int, str]], int]:
        """Note which networks are about to go. Of several on one parent the first; the rest is postponed, so that the
        last takes the parent along.
        """
        going: dict[int, Network] = {}
        postponed: list[tuple[int, str]] = []
        links: set[str] = set()
        intent = 0
        for at, key in todo:
            try:
                network = one_network(records, self._store, key)
                if network.link in links:
                    postponed.append((at, key))
                    continue
                sandboxes = records.occupants(network.id)
                if sandboxes:
                    raise NetworkInUse(network.name, sandboxes)
                refuse_unsettled("parent", network.link, records.made_parent_intent(network.link), self._store)
            except MacvfastError as error:
                outcomes[at] = Outcome(key, error=error)
                continue
            intent = intent or records.begin(self._store.owner(), REMOVED)
            records.begin_network_removal(network.id, intent)
            links.add(network.link)
            going[at] = network
        return going, postponed, intent

    def _take_away(self, going: Sequence[tuple[Network, int]]) -> None:
        """Delete the parents of networks, where they are ours and no other network's, and then the records."""
        if not going:
            return
        with self._store.reading() as records:
            last: list[MadeParent] = []
            for network, _ in going:
                made = records.made_parent(network.link)
                if made is not None and not _stays(records, network.link, {one.id for one, _ in going}):
                    last.append(made)
        kept = self._parents.delete(last) if last else []
        with self._store.writing() as records:
            for made in last:
                records.delete_made_parent(made.link)
            for network, _ in going:
                records.delete_network(network.id)
            records.sweep({intent for _, intent in going})
        for one in kept:
            if one is not None:
                self._on_note(one)

    def finish(self) -> None:
        """Remove what processes that have died left half-made or half-removed."""
        dead = abandoned(self._store)
        if not dead:
            return
        with self._store.writing() as records:
            going = [network for one in dead for network in records.networks("intent = ?", (one,))]
            if not going:
                return
            # Taken over, so that nobody else who finishes them, and makes them anew, meets this.
            intent = records.begin(self._store.owner(), REMOVED)
            for network in going:
                records.begin_network_removal(network.id, intent)
            records.sweep(dead)
        log.tell("finish", networks=", ".join(network.name for network in going))
        for network in going:
            try:
                self._take_away([(network, intent)])
            except MacvfastError:
                # It stays recorded as unsettled and is tried again by the next command.
                continue


def _apart(requests: Iterable[NetworkRequest]) -> Iterator[list[NetworkRequest]]:
    """The requests in chunks. What one of them decides for another, a name, a parent or a default subnet, comes
    first, in a chunk before.
    """
    chunk: list[NetworkRequest] = []
    taken: set[object] = set()
    for request in requests:
        parent = ("parent", request.parent) if request.parent is not None else None
        keys = {("name", request.name), parent, ("subnet",) if not request.subnets else None} - {None}
        if len(chunk) == CHUNK or keys & taken:
            yield chunk
            chunk, taken = [], set()
        chunk.append(request)
        taken |= keys
    if chunk:
        yield chunk


def _refuse_name(records: Records, name: str) -> None:
    if [*records.networks("name = ?", (name,))]:
        raise NetworkExists(name)


def _network(request: NetworkRequest, id_: str, parent: Parent, subnets: tuple[Subnet, ...]) -> Network:
    has_ipv6 = any(subnet.version == 6 for subnet in subnets)
    return Network(
        id=id_, name=request.name, driver=request.driver, mode=str(request.mode), flag=request.flag,
        parent=request.parent, link=parent.name, subnets=subnets,
        ipv6=has_ipv6 and request.ipv6 is not False, ipv6_ra=request.ipv6_ra,
        internal=request.internal, mtu=request.mtu, share_parent=request.share_parent, order=request.order,
        labels=request.labels, options=request.options or (), created_at=now(),
    )  # fmt: skip


def _stays(records: Records, link: str, going: Container[str]) -> bool:
    """Whether a network on the link is neither among those nor about to go by another's hand. Of two that go at once,
    one sees that the other does too.
    """
    others = [network for network in records.networks_on(link) if network.id not in going]
    intents = [records.network_intent(network.id) for network in others]
    return any(intent is None or intent.doing != REMOVED for intent in intents)


def _removed(key: str, network: Network, failure: MacvfastError | None) -> Outcome[str]:
    if failure is None:
        return Outcome(key, value=network.name)
    again = f"macvfast network rm {network.name}"
    return Outcome(key, error=RemovalUnfinished("network", network.name, str(failure), again))
