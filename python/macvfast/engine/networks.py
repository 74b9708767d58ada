"""Networks, made and removed: many at once, or one.

Per chunk: what is asked for is checked, one durable transaction notes it, parents of our own are made in few sends, one
durable transaction settles them. What failed is taken away again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.choose import new_id
from macvfast.engine.parents import Parent, Parents
from macvfast.errors import (
    MacvfastError,
    NetworkExists,
    NetworkInUse,
    NetworkNotFound,
    ParentNotFound,
    RemovalUnfinished,
    SubnetMissing,
    UndoFailed,
)
from macvfast.ipam import OnParent, default_subnet, settle_subnets, store_pool
from macvfast.kernel.refusals import without_ipv6
from macvfast.model import Network
from macvfast.outcomes import LinkNeeded, LinkUnlikeName, Outcome, Outcomes
from macvfast.state.lookup import abandoned, one_network, refuse_unsettled
from macvfast.state.records import MADE, REMOVED, now
from macvfast.system import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from macvfast.ipam import Pool
    from macvfast.kernel.protocol import Kernel
    from macvfast.model import Cidr, MadeParent
    from macvfast.outcomes import Note
    from macvfast.plan import DefaultRoute, LinkFacts, Links
    from macvfast.requests import NetworkRequest
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# Networks in one transaction and one send.
CHUNK = 128


@dataclass(slots=True)
class _New:
    """A network that is to be made, and how far it has come."""

    asked: NetworkRequest
    id_: str = field(default_factory=new_id)
    network: Network | None = None
    pools: tuple[Pool, ...] = ()
    parent: Parent | None = None
    made: MadeParent | None = None
    # What the host itself has on the parent.
    host: OnParent = field(default_factory=OnParent)
    # What a default subnet must keep clear of, beside the record: the subnets of this host's links and routes.
    near: Sequence[Cidr] = ()
    # Whether what was seen of the host was not so any more: it is looked at once more.
    again: bool = False
    error: MacvfastError | None = None


class Networks:
    """Makes and removes networks; `on_note` is told what a person should know of what succeeded."""

    def __init__(self, store: Store, kernel: Kernel, on_note: Callable[[Note], None]) -> None:
        self._store = store
        self._kernel = kernel
        self._parents = Parents(kernel)
        self._on_note = on_note
        # Of the home namespace, looked up once for each chunk that needs it.
        self._routes: list[DefaultRoute] | None = None
        self._near: list[Cidr] | None = None

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
        coming: set[str] = set()
        self._routes = self._near = None
        for item in items:
            # What is to stand on a link that is about to be made is looked at when that is there.
            item.again = (item.asked.parent or "").rpartition(".")[0] in coming
            if item.again:
                continue
            try:
                self._check(item, links)
            except MacvfastError as error:
                item.error = error
            if item.error is None and item.made is not None:
                coming.add(item.made.link)
        good = [item for item in items if item.error is None and not item.again]
        if not good:
            return
        with self._store.writing() as records:
            noted, intent = self._note(records, good)
        for item in noted:
            if item.parent is not None and item.parent.unlike is not None:
                self._on_note(LinkUnlikeName(item.asked.name, item.parent.name, item.parent.unlike))
        making = [item for item in noted if item.made is not None]
        if making:
            self._make(making, intent)

    def _check(self, item: _New, links: Links) -> None:
        """Settle what the network is to be, and refuse what can be refused before anything is begun."""
        with self._store.reading() as records:
            _refuse_name(records, item.asked.name)
        item.parent = parent = self._find(item, links)
        item.host = self._on_parent(parent)
        request = item.asked
        if not request.subnets:
            self._refuse_without_subnet(request, parent)
            item.near = self._nearby(links)
            with self._store.reading() as records:
                request = _with_default_subnet(item, _recorded_subnets(records))
        if _settle(item, request, parent).ipv6 and not self._kernel.has_ipv6():
            raise without_ipv6(f"make network `{item.asked.name}`")
        item.made = parent.to_be_made(self._kernel.boot_id())

    def _find(self, item: _New, links: Links) -> Parent:
        try:
            return self._parents.find(item.asked, item.id_, links)
        except ParentNotFound as error:
            base = error.parent.rpartition(".")[0]
            with self._store.reading() as records:
                if records.made_parent(base) is None:
                    raise
            why = f"`{base}`, which macvfast made, is missing"
            raise ParentNotFound(error.parent, why, ["`macvfast restore` brings it back"]) from None

    def _note(self, records: Records, items: Sequence[_New]) -> tuple[list[_New], int]:
        """Note what can be noted: those, and the intent under which parents are going to be made, 0 where none are."""
        noted: list[_New] = []
        intent = 0
        # Parents that are going to be made: whoever else wants one is told by what becomes of it.
        coming: set[str] = set()
        company: dict[str, list[Network]] = {}
        taken: list[Cidr] = []
        for item in items:
            network, parent = item.network, item.parent
            if network is None or parent is None:
                continue
            try:
                sharing = company.get(parent.name)
                if sharing is None:
                    sharing = company[parent.name] = records.networks_on(parent.name)
                if parent.name in coming or not self._may_be(records, item, parent, sharing):
                    item.again = True
                    continue
                if not item.asked.subnets:
                    # Only here is nobody else choosing.
                    taken = taken or _recorded_subnets(records)
                    network = _settle(item, _with_default_subnet(item, taken), parent)
                    taken += (subnet.cidr for subnet in network.subnets)
                plan.refuse_overlap(network.subnets, sharing)
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
                coming.add(item.made.link)
            sharing.append(network)
            noted.append(item)
        return noted, intent

    def _may_be(self, records: Records, item: _New, parent: Parent, sharing: Sequence[Network]) -> bool:
        """Refuse what the record forbids; False where the parent has appeared, or gone, since it was looked for."""
        _refuse_name(records, item.asked.name)
        plan.refuse_company(parent.name, item.asked, sharing)
        if records.made_parent(parent.name) is not None:
            self._refuse_unsettled(records, parent.name, sharing)
        base = item.made.base if item.made is not None else None
        if base is not None and records.made_parent(base) is not None:
            self._refuse_unsettled(records, base, records.networks_on(base))
        return self._parents.as_seen(parent)

    def _refuse_unsettled(self, records: Records, link: str, networks: Sequence[Network]) -> None:
        """Refuse a link of ours that is about to come, or to go."""
        for one in networks:
            refuse_unsettled("network", one.name, records.network_intent(one.id), self._store)
        refuse_unsettled("parent", link, records.made_parent_intent(link), self._store)

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
        _begin_removal_of(records, [item.network for item in items if item.network is not None], removal)
        return removal

    def _refuse_without_subnet(self, request: NetworkRequest, parent: Parent) -> None:
        """Refuse a network that has a parent and no subnet; the parent's own subnets are the hint.

        Raises:
            SubnetMissing
        """
        if request.parent is None:
            return
        # A sub-interface that is to be made has no subnet yet, and not its base's.
        theirs = self._subnets_of(parent.link) if parent.link is not None else []
        raise SubnetMissing(
            f"network `{request.name}` has a parent, so its subnet must be that of the LAN",
            hints=[f"{parent.name} is on {cidr}: --subnet={cidr}" for cidr in theirs]
            or ["--subnet=192.0.2.0/24, or what the LAN has"],
        )

    def _on_parent(self, parent: Parent) -> OnParent:
        """What this host itself has on a parent; nothing on one that is to be made."""
        if parent.link is None:
            return OnParent()
        ifindex = parent.link.ifindex
        addresses = tuple(ip_address(packed) for packed, _ in self._kernel.link_addresses(ifindex))
        if self._routes is None:
            self._routes = self._kernel.home_default_routes()
        routers = [one.gateway for one in self._routes if one.gateway is not None and one.ifindex == ifindex]
        return OnParent(addresses, tuple(map(ip_address, routers)))

    def _nearby(self, links: Links) -> list[Cidr]:
        """The subnets that this host has addresses in, or routes for."""
        if self._near is None:
            self._near = [cidr for link in links for cidr in self._subnets_of(link)]
            self._near += [ip_network(one, strict=False) for one in self._kernel.home_destinations()]
        return self._near

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
        """Remove networks without endpoints; one outcome per key, in the order asked. What is named twice is removed
        once.
        """
        with self._store.reading() as records:
            found = {key: records.network(key) for key in asked}
        # Where each was named first.
        first: dict[str, int] = {}
        same = [first.setdefault(there[0].id if len(there := found[key]) == 1 else key, at)
                for at, key in enumerate(asked)]  # fmt: skip
        todo = [(at, asked[at]) for at in first.values()]
        outcomes: dict[int, Outcome[str]] = {}
        for start in range(0, len(todo), CHUNK):
            self._remove(todo[start : start + CHUNK], outcomes)
        for at, key in todo:
            if key in unfinished and isinstance(outcomes[at].error, NetworkNotFound):
                outcomes[at] = Outcome(key, value=unfinished[key])
        return Outcomes(tuple(replace(outcomes[at], name=key) for key, at in zip(asked, same, strict=True)))

    def _remove(self, todo: Sequence[tuple[int, str]], outcomes: dict[int, Outcome[str]]) -> None:
        """Remove the networks of a chunk, and note what became of each."""
        try:
            with self._store.writing() as records:
                going, intent = self._begin_removal(records, todo, outcomes)
        except MacvfastError as error:
            outcomes |= {at: Outcome(key, error=error) for at, key in todo}
            return
        failure: MacvfastError | None = None
        try:
            self._take_away([(network, intent) for network in going.values()])
        except MacvfastError as error:
            failure = error
        outcomes |= {at: _removed(key, going[at], failure) for at, key in todo if at in going}

    def _begin_removal(
        self, records: Records, todo: Sequence[tuple[int, str]], outcomes: dict[int, Outcome[str]]
    ) -> tuple[dict[int, Network], int]:
        """Note which networks are about to go."""
        going: dict[int, Network] = {}
        intent = 0
        for at, key in todo:
            try:
                network = one_network(records, self._store, key)
                sandboxes = records.occupants(network.id)
                if sandboxes:
                    raise NetworkInUse(network.name, sandboxes)
                refuse_unsettled("parent", network.link, records.made_parent_intent(network.link), self._store)
            except MacvfastError as error:
                outcomes[at] = Outcome(key, error=error)
                continue
            intent = intent or records.begin(self._store.owner(), REMOVED)
            going[at] = network
        _begin_removal_of(records, list(going.values()), intent)
        return going, intent

    def _take_away(self, going: Sequence[tuple[Network, int]]) -> None:
        """Delete the parents of networks, where they are ours and no other network's, and then the records."""
        if not going:
            return
        with self._store.reading() as records:
            ids = [network.id for network, _ in going]
            last, needed = self._last(records, [network.link for network, _ in going], ids)
        kept = self._parents.delete(last) if last else []
        with self._store.writing() as records:
            for made in last:
                records.delete_made_parent(made.link)
            for network, _ in going:
                records.delete_network(network.id)
            for link in {network.link for network, _ in going}:
                if not records.stays(link, ()):
                    records.forget_parent(link)
            records.sweep({intent for _, intent in going})
        for one in (*kept, *needed):
            if one is not None:
                self._on_note(one)

    @staticmethod
    def _last(records: Records, links: Iterable[str], ids: Sequence[str]) -> tuple[list[MadeParent], list[LinkNeeded]]:
        """The links of ours that go with the last networks on them, and those that stay for what stands on them."""

        @cache
        def free(link: str) -> bool:
            return not records.stays(link, ids)

        last, needed = plan.links_that_go(links, records.stacked(), free)
        made = map(records.made_parent, last)
        return [one for one in made if one is not None], [
            LinkNeeded(link, tuple(on_it), tuple(one.name for upper in on_it for one in records.networks_on(upper)))
            for link, on_it in needed.items()
        ]

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
            _begin_removal_of(records, going, intent)
            records.sweep(dead)
        log.tell("finish", networks=", ".join(network.name for network in going))
        for network in going:
            try:
                self._take_away([(network, intent)])
            except MacvfastError:
                # It stays recorded as unsettled and is tried again by the next command.
                continue


def _apart(requests: Iterable[NetworkRequest]) -> Iterator[list[NetworkRequest]]:
    """The requests in chunks. Of several with one name, what becomes of the first decides for the next, in a chunk
    after it.
    """
    chunk: list[NetworkRequest] = []
    names: set[str] = set()
    for request in requests:
        if len(chunk) == CHUNK or request.name in names:
            yield chunk
            chunk, names = [], set()
        chunk.append(request)
        names.add(request.name)
    if chunk:
        yield chunk


def _refuse_name(records: Records, name: str) -> None:
    if [*records.networks("name = ?", (name,))]:
        raise NetworkExists(name)


def _recorded_subnets(records: Records) -> list[Cidr]:
    return [subnet.cidr for network in records.networks() for subnet in network.subnets]


def _with_default_subnet(item: _New, taken: Sequence[Cidr]) -> NetworkRequest:
    """The request with the first default subnet that is free.

    Raises:
        SubnetMissing
    """
    chosen = default_subnet([*taken, *item.near])
    if chosen is None:
        raise SubnetMissing("all default subnets are in use", hints=["--subnet=10.0.0.0/24"])
    return replace(item.asked, subnets=(chosen,))


def _settle(item: _New, request: NetworkRequest, parent: Parent) -> Network:
    """What the network is to be, with its pools."""
    settled = settle_subnets(request, item.host)
    subnets = tuple(subnet for subnet, _ in settled)
    has_ipv6 = any(subnet.version == 6 for subnet in subnets)
    network = Network(
        id=item.id_, name=request.name, driver=request.driver, mode=str(request.mode), flag=request.flag,
        parent=request.parent, link=parent.name, subnets=subnets,
        ipv6=has_ipv6 and request.ipv6 is not False, ipv6_ra=request.ipv6_ra,
        internal=request.internal, mtu=request.mtu, share_parent=request.share_parent, order=request.order,
        labels=request.labels, options=request.options or (), created_at=now(),
    )  # fmt: skip
    plan.refuse_mtu(network, parent.name, parent.mtu)
    item.network, item.pools = network, tuple(pool for _, pool in settled)
    return network


def _begin_removal_of(records: Records, networks: Sequence[Network], intent: int) -> None:
    """Note that networks are about to go, and what no network is on and may go with them."""
    for network in networks:
        records.begin_network_removal(network.id, intent)
    below = records.stacked() if networks else {}
    for network in networks:
        for link in plan.way_down(network.link, below)[1:]:
            # So that nobody puts another on it meanwhile.
            if not records.networks_on(link):
                records.begin_parent_removal(link, intent)


def _removed(key: str, network: Network, failure: MacvfastError | None) -> Outcome[str]:
    if failure is None:
        return Outcome(key, value=network.name)
    again = f"macvfast network rm {network.name}"
    return Outcome(key, error=RemovalUnfinished("network", network.name, str(failure), again))
