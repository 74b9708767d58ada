"""Create networks, many at once or one; and change existing ones.

For each chunk: the requests are checked; one durable transaction records them; parents of our own are created in few
sends; one durable transaction settles them. What failed is removed again.

A change is one durable transaction, and sends nothing to the kernel. `plan/desired.py` decides what may change. What a
network can be is checked as it is when one is created.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.choose import new_id
from macvfast.engine.network_removal import begin_removal, chunk_of
from macvfast.engine.parents import HomeAddresses, Parent, Parents
from macvfast.errors import MacvfastError, NetworkExists, ParentNotFound, SubnetMissing, UndoFailed
from macvfast.ipam import DefaultSubnets, OnParent, Pools, settle_subnets
from macvfast.kernel.refusals import without_ipv6
from macvfast.model import LOOPBACK, Network, domain_of
from macvfast.outcomes import LinkUnlikeName, Outcome, Outcomes
from macvfast.plan import desired
from macvfast.state.lookup import one_network, refuse_another, refuse_unsettled
from macvfast.state.records import MADE, REMOVED, now
from macvfast.system import log
from macvfast.system.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from macvfast.engine.network_removal import NetworkRemover
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Cidr, MadeParent, Subnet
    from macvfast.outcomes import Note
    from macvfast.plan import Links
    from macvfast.requests import NetworkRequest, UpdateRequest
    from macvfast.state.records import Records
    from macvfast.state.store import Store


@dataclass(slots=True)
class _New:
    """A network that is being created, and how far this has come."""

    asked: NetworkRequest
    id_: str = field(default_factory=new_id)
    network: Network | None = None
    parent: Parent | None = None
    made: MadeParent | None = None
    # What the host itself has on the parent.
    host: OnParent = field(default_factory=OnParent)
    # What a default subnet must not overlap, besides recorded subnets: the subnets of this host's links and routes.
    near: Sequence[Cidr] = ()
    # Whether the host has changed since it was read, so that the network is tried once more.
    again: bool = False
    error: MacvfastError | None = None


class _Seen:
    """What exists before the networks of a chunk are begun: looked up once for all of them."""

    def __init__(self, records: Records, links: Links, home: HomeAddresses) -> None:
        self.records = records
        self.pools = Pools(records)
        self.links = links
        self.home = home

    @cached_property
    def near(self) -> list[Cidr]:
        """The subnets of this host's links and routes."""
        return self.home.subnets(self.links)

    @cached_property
    def defaults(self) -> DefaultSubnets:
        """The default subnets that are free."""
        return DefaultSubnets([*self.records.all_subnets(), *self.near])


class Networks:
    """Creates and changes networks. `on_note` is called with what a person should know of a change that succeeded."""

    def __init__(self, store: Store, kernel: Kernel, remover: NetworkRemover, on_note: Callable[[Note], None]) -> None:
        self._store = store
        self._kernel = kernel
        self._parents = Parents(kernel)
        self._on_note = on_note
        self._remover = remover

    def create_many(self, requests: Iterable[NetworkRequest], progress: Progress) -> Outcomes[Network]:
        """Create networks. One outcome for each, in the order of the requests."""
        outcomes: list[Outcome[Network]] = []
        for chunk in _apart(requests):
            items = [_New(request) for request in chunk]
            todo = items
            while todo:
                try:
                    self._create(todo)
                except MacvfastError as error:
                    # None of these was begun.
                    for item in todo:
                        item.error = item.error or error
                todo = [item for item in todo if item.again and item.error is None]
            outcomes += (
                Outcome(item.asked.name, value=None if item.error else item.network, error=item.error) for item in items
            )
            progress.step(len(items))
        return Outcomes(tuple(outcomes))

    def _create(self, items: Sequence[_New]) -> None:
        """Create the networks of a chunk. Those that have to be tried once more have `again` set."""
        coming: set[str] = set()
        with self._store.reading() as records:
            seen = _Seen(records, self._parents.links(), HomeAddresses(self._kernel))
            for item in items:
                # Its base is created with this chunk: it is checked when that exists.
                item.again = (item.asked.parent or "").rpartition(".")[0] in coming
                if item.again:
                    continue
                try:
                    self._check(item, seen)
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

    def _check(self, item: _New, seen: _Seen) -> None:
        """Decide what the network is going to be, and refuse what can be refused before anything is begun."""
        _refuse_name(seen.records, item.asked.name)
        item.parent = parent = self._find(item, seen)
        item.host = seen.home.on(parent)
        request = item.asked
        if request.wants_subnet:
            seen.home.refuse_without_subnet(request, parent)
            item.near = seen.near
            request = _with_default_subnet(item, seen.defaults)
        network = _settle(item, request, parent, seen.pools)
        if network.ipv6 and not self._kernel.has_ipv6():
            raise without_ipv6(f"make network `{item.asked.name}`")
        item.made = parent.to_be_made(self._kernel.boot_id())

    def _find(self, item: _New, seen: _Seen) -> Parent:
        try:
            return self._parents.find(item.asked, item.id_, seen.links)
        except ParentNotFound as error:
            base = error.parent.rpartition(".")[0]
            if seen.records.made_parent(base) is None:
                raise
            why = f"`{base}`, which macvfast made, is missing"
            raise ParentNotFound(error.parent, why, ["`macvfast restore` brings it back"]) from None

    def _note(self, records: Records, items: Sequence[_New]) -> tuple[list[_New], int]:
        """Record the networks that are not refused. Returns them, and the intent for their parents (0: none is
        created).
        """
        noted: list[_New] = []
        intent = 0
        # Parents that are going to be created: another network on one of them waits for the outcome.
        coming: set[str] = set()
        # Networks that are on these parents already, one for each: all networks that share a parent allow the same
        # others.
        company: dict[str, Network | None] = {}
        defaults: DefaultSubnets | None = None
        pools = Pools(records)
        for item in items:
            network, parent = item.network, item.parent
            if network is None or parent is None:
                continue
            try:
                if parent.name not in company:
                    company[parent.name] = records.network_on(parent.name)
                sharing = company[parent.name]
                if parent.name in coming or not self._may_be(records, item, parent, sharing):
                    item.again = True
                    continue
                if item.asked.wants_subnet:
                    # During the transaction, nobody else chooses one.
                    defaults = defaults or DefaultSubnets([*records.all_subnets(), *item.near])
                    network = _settle(item, _with_default_subnet(item, defaults), parent, pools)
                elif sharing is not None or item.asked.domain is not None:
                    # An address that was free may have been taken in the meantime.
                    network = _settle(item, item.asked, parent, pools)
                with pools.changing(network):
                    if item.made is not None and not intent:
                        intent = records.begin(self._store.owner(), MADE)
                    records.add_network(network, None if item.made is None else intent)
            except MacvfastError as error:
                item.error = error
                continue
            if item.made is not None:
                # An older record of that name is from an earlier boot, or of a link that somebody deleted.
                records.delete_made_parent(item.made.link)
                records.add_made_parent(item.made, intent)
                coming.add(item.made.link)
            company[parent.name] = sharing or network
            if defaults is not None:
                for subnet in network.subnets:
                    defaults.take(subnet.cidr)
            noted.append(item)
        pools.save()
        return noted, intent

    def _may_be(self, records: Records, item: _New, parent: Parent, sharing: Network | None) -> bool:
        """Refuse what the record forbids. Returns False if the parent has appeared or disappeared since it was looked
        up.
        """
        _refuse_name(records, item.asked.name)
        plan.refuse_company(parent.name, item.asked, [] if sharing is None else [sharing])
        for link in {parent.name, parent.name if item.made is None else item.made.base}:
            if link is not None and records.made_parent(link) is not None:
                self._refuse_unsettled(records, link)
        return self._parents.as_seen(parent)

    def _refuse_unsettled(self, records: Records, link: str) -> None:
        """Refuse a link of ours that is being created or removed."""
        for name, intent in records.unsettled_on(link):
            refuse_unsettled("network", name, intent, self._store)
        refuse_unsettled("parent", link, records.made_parent_intent(link), self._store)

    def _make(self, items: Sequence[_New], intent: int) -> None:
        """Create recorded parents, then settle. Remove the networks whose parents could not be created."""
        failed: list[_New] = []
        try:
            refusals = self._parents.make([(i.made, i.parent.base) for i in items if i.parent and i.made])
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
        log.event("undo", networks=", ".join(item.asked.name for item in failed))
        try:
            self._remover.take_away([(item.network, removal) for item in failed if item.network])
        except MacvfastError as second:
            for item in failed:
                item.error = UndoFailed(item.error or second, [str(second)])

    def _mark(self, records: Records, items: Sequence[_New]) -> int:
        if not items:
            return 0
        removal = records.begin(self._store.owner(), REMOVED)
        begin_removal(records, [item.network for item in items if item.network is not None], removal)
        return removal

    def default_link(self) -> str | None:
        """The link of the home namespace's default route."""
        return self._parents.by_default()

    # Changing.

    def ensure(self, request: NetworkRequest) -> Network:
        """Ensure that a network is as requested: create it, or change what may change while it is in use."""
        while True:
            changed = self._match(request)
            if changed is not None:
                return changed
            # Another process may be creating it just now: then it may be as requested.
            with suppress(NetworkExists):
                return self.create_many([request], Progress(None, 1))[0].result()

    def _match(self, request: NetworkRequest) -> Network | None:
        """The network of that name, changed to what is requested; None if there is none."""
        with self._store.reading() as records:
            if records.network_named(request.name) is None:
                return None
        home = HomeAddresses(self._kernel)
        name = LOOPBACK if request.inside else request.parent
        link = None if name is None else self._kernel.link(name)
        parent = Parent(request.parent or "" if link is None else link.ifname, link=link)
        if request.wants_subnet:
            home.refuse_without_subnet(request, parent)
        host = home.on(parent)
        with self._store.writing() as records:
            recorded = records.network_named(request.name)
            if recorded is None:
                return None
            refuse_unsettled("network", recorded.name, records.network_intent(recorded.id), self._store)
            refuse_another(self._store, recorded)
            if request.wants_subnet:
                request = replace(request, subnets=tuple(str(subnet.cidr) for subnet in recorded.subnets))
            known = request.parent is None or (request.parent, request.inside) == (recorded.parent, recorded.inside)
            return _change(records, recorded, request, recorded.link if known else parent.name, host)

    def update(self, key: str, update: UpdateRequest) -> Network:
        """Change a network while it is in use. Returns it as it is then."""
        with self._store.writing() as records:
            recorded = one_network(records, self._store, key)
            refuse_another(self._store, recorded)
            return _change(records, recorded, desired.updated(recorded, update), recorded.link, OnParent())


def _change(records: Records, recorded: Network, request: NetworkRequest, link: str, host: OnParent) -> Network:
    """Have a recorded network as it is asked for; gives what it is then.

    Raises:
        NetworkDiffers, ParentTaken, AddressTaken, and as `settle_subnets`
    """
    pools = Pools(records)
    # What it keeps now is no reason against what it is to keep.
    pools.take_out(recorded)
    host = replace(host, chosen=desired.chosen_gateways(recorded))
    subnets = settle_subnets(request, host, partial(pools.neighbour, recorded.domain))
    wanted = _network(request, subnets, recorded.id, link)
    found = desired.changes(recorded, wanted)
    desired.refuse_fixed(recorded, found)
    if not found:
        return recorded
    changed = desired.changed(recorded, wanted)
    other = records.network_on(recorded.link, besides=recorded.id)
    plan.refuse_company(recorded.link, request, [] if other is None else [other])
    with pools.changing(changed):
        records.update_network(changed)
    pools.save()
    return changed


def _apart(requests: Iterable[NetworkRequest]) -> Iterator[list[NetworkRequest]]:
    """The requests in chunks. Several with one name are in chunks of their own: the first decides about the next."""
    requests = [*requests]
    size = chunk_of(len(requests))
    chunk: list[NetworkRequest] = []
    names: set[str] = set()
    for request in requests:
        if len(chunk) == size or request.name in names:
            yield chunk
            chunk, names = [], set()
        chunk.append(request)
        names.add(request.name)
    if chunk:
        yield chunk


def _refuse_name(records: Records, name: str) -> None:
    if records.network_named(name) is not None:
        raise NetworkExists(name)


def _with_default_subnet(item: _New, defaults: DefaultSubnets) -> NetworkRequest:
    """The request with the first default subnet that is free.

    Raises:
        SubnetMissing
    """
    chosen = defaults.first()
    if chosen is None:
        raise SubnetMissing("all default subnets are in use", hints=["--subnet=10.0.0.0/24"])
    return replace(item.asked, subnets=(chosen,))


def _settle(item: _New, request: NetworkRequest, parent: Parent, pools: Pools) -> Network:
    """Decide what the network is going to be."""
    domain = domain_of(parent.name, request.domain)
    subnets = settle_subnets(request, item.host, partial(pools.neighbour, domain))
    network = _network(request, subnets, item.id_, parent.name)
    plan.refuse_mtu(network, parent.name, parent.mtu)
    item.network = network
    return network


def _network(request: NetworkRequest, subnets: tuple[Subnet, ...], id_: str, link: str) -> Network:
    """The network that is requested, with its subnets as they were settled."""
    has_ipv6 = any(subnet.version == 6 for subnet in subnets)
    return Network(
        id=id_, name=request.name, driver=request.driver, mode=str(request.mode), flag=request.flag,
        parent=request.parent, link=link, subnets=subnets,
        ipv6=has_ipv6 and request.ipv6 is not False, ipv6_ra=request.ipv6_ra,
        internal=request.internal, mtu=request.mtu, share_parent=request.share_parent, order=request.order,
        labels=request.labels, options=request.options or (), created_at=now(),
        origin=request.origin, own_domain=request.domain,
    )  # fmt: skip
