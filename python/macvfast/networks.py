"""Networks and the parents that macvfast makes for them.

Whether a link is ours is decided here and recorded before it is made: its random index is durable first, and it is
asked for with NLM_F_EXCL, so neither a crash nor a reboot turns ours into a stranger's or a stranger's into ours.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.choose import new_id
from macvfast.errors import (
    Conflict,
    KernelRefused,
    MacvfastError,
    NetworkExists,
    NetworkInUse,
    RemovalUnfinished,
    SubnetMissing,
    UndoFailed,
)
from macvfast.ipam import default_subnet, settle_subnets, store_pool
from macvfast.lookup import one_network, refuse_unsettled
from macvfast.make import new_ifindex
from macvfast.model import LinkKept, Network, NetworkRequest
from macvfast.records import MadeParent, now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.ipam import Pool
    from macvfast.kernel import Kernel
    from macvfast.model import Cidr, Subnet
    from macvfast.plan import LinkFacts, SubInterface
    from macvfast.records import Records
    from macvfast.store import Store


@dataclass(frozen=True, slots=True)
class _Parent:
    """What a network is to stand on: a link that is there, a sub-interface to be made, or (neither) a dummy to be
    made.
    """

    name: str
    link: LinkFacts | None = None
    wanted: SubInterface | None = None
    base: LinkFacts | None = None

    @property
    def mtu(self) -> int:
        """Its MTU; what is made has its base's or, a dummy, that of Ethernet."""
        on = self.link or self.base
        return 1500 if on is None else on.mtu


class Networks:
    """Makes and removes networks; `on_note` is told of links that were to be removed and stay."""

    def __init__(self, store: Store, kernel: Kernel, on_note: Callable[[LinkKept], None]) -> None:
        self._store = store
        self._kernel = kernel
        self._on_note = on_note

    def create(self, request: NetworkRequest) -> Network:
        """Make a network: checked, recorded, its parent made where it is to be, settled."""
        while True:
            # Again where the parent has appeared, or gone, between the look and the record.
            network = self._create(request)
            if network is not None:
                return network

    def _create(self, asked: NetworkRequest) -> Network | None:
        with self._store.reading() as records:
            self._refuse_name(records, asked.name)
        id_ = new_id()
        links = self._kernel.links()
        parent = self._parent(asked, id_, links)
        request = self._with_subnets(asked, parent)
        settled = settle_subnets(request)
        network = self._network(request, id_, parent, tuple(subnet for subnet, _ in settled))
        plan.refuse_mtu(network, parent.name, parent.mtu)
        made = self._made_parent(parent)
        with self._store.writing() as records:
            self._refuse_name(records, request.name)
            sharing = records.networks_on(parent.name)
            plan.refuse_company(parent.name, request, sharing)
            for other in sharing:
                # Its parent may be about to come, or to go.
                refuse_unsettled("network", other.name, records.network_intent(other.id), self._store)
            if not self._as_seen(parent):
                return None
            plan.refuse_overlap(network.subnets, sharing)
            intent = self._add(records, network, [pool for _, pool in settled], made)
        if made is not None and intent is not None and not self._make(network, parent, made, intent):
            return None
        return network

    def _as_seen(self, parent: _Parent) -> bool:
        """Whether the parent is there, or not there, as it was when it was looked for."""
        link = self._kernel.link(parent.name)
        seen = parent.link and parent.link.ifindex
        return (link and link.ifindex) == seen

    def _refuse_name(self, records: Records, name: str) -> None:
        if [*records.networks("name = ?", (name,))]:
            raise NetworkExists(name)

    def _parent(self, request: NetworkRequest, id_: str, links: Sequence[LinkFacts]) -> _Parent:
        """Find the request's parent, or what must be made for it."""
        if request.parent is None:
            return _Parent(f"dm-{id_[:12]}")
        link = self._kernel.link(request.parent)
        if link is not None:
            plan.refuse_parent(link, links, request)
            return _Parent(link.ifname, link=link)
        wanted = plan.sub_interface(request.parent)
        base = self._kernel.link(wanted.base)
        plan.refuse_base(base, wanted, links)
        return _Parent(wanted.ifname, wanted=wanted, base=base)

    def _with_subnets(self, request: NetworkRequest, parent: _Parent) -> NetworkRequest:
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
        for link in self._kernel.links():
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

    @staticmethod
    def _network(request: NetworkRequest, id_: str, parent: _Parent, subnets: tuple[Subnet, ...]) -> Network:
        has_ipv6 = any(subnet.version == 6 for subnet in subnets)
        return Network(
            id=id_, name=request.name, driver=request.driver, mode=str(request.mode), flag=request.flag,
            parent=request.parent, link=parent.name, subnets=subnets,
            ipv6=has_ipv6 and request.ipv6 is not False, ipv6_ra=request.ipv6_ra,
            internal=request.internal, mtu=request.mtu, share_parent=request.share_parent, order=request.order,
            labels=request.labels, options=request.options, created_at=now(),
        )  # fmt: skip

    def _made_parent(self, parent: _Parent) -> MadeParent | None:
        """What is recorded of a link that is going to be made."""
        if parent.link is not None:
            return None
        kind = "vlan" if parent.wanted else "dummy"
        base, vid = (parent.wanted.base, parent.wanted.vid) if parent.wanted else (None, None)
        return MadeParent(parent.name, kind, base, vid, new_ifindex(), self._kernel.boot_id())

    def _add(self, records: Records, network: Network, pools: Sequence[Pool], made: MadeParent | None) -> int | None:
        """Note the network; the intent under which its parent is going to be made."""
        intent = None if made is None else records.begin(self._store.owner(), removing=False)
        for subnet_id, pool in zip(records.add_network(network, intent), pools, strict=True):
            store_pool(records, subnet_id, pool)
        if made is not None and intent is not None:
            # A record of an earlier boot, or of a link that somebody deleted, is of no link any more.
            records.delete_made_parent(made.link)
            records.add_made_parent(made, intent)
        return intent

    def _make(self, network: Network, parent: _Parent, made: MadeParent, intent: int) -> bool:
        """Make a recorded parent, then settle; or forget the network again. False: another index is to be tried."""
        try:
            if parent.wanted is not None and parent.base is not None:
                self._kernel.add_sub_interface(parent.wanted, made.ifindex, parent.base.ifindex)
            else:
                self._kernel.add_dummy(made.link, made.ifindex)
            with self._store.writing() as records:
                records.settle(intent)
        except MacvfastError as error:
            try:
                first = self._explained(error, parent, made)
                self._take_away(network, intent)
            except MacvfastError as second:
                raise UndoFailed(error, [str(second)]) from None
            if first is not None:
                raise first from None
            return False
        return True

    def _explained(self, error: MacvfastError, parent: _Parent, made: MadeParent) -> MacvfastError | None:
        """What a refused parent means: EEXIST and EBUSY stand for several causes, which are looked up; None: the index
        is some other link's.
        """
        if not isinstance(error, KernelRefused) or error.errno not in (errno.EEXIST, errno.EBUSY):
            return error
        links = self._kernel.links()
        if any(link.ifindex == made.ifindex and link.ifname != made.link for link in links):
            return None
        if any(link.ifname == made.link for link in links):
            return Conflict(
                f"could not make parent `{made.link}`",
                causes=["a link of that name has just appeared, and macvfast did not make it"],
                hints=["the same command again takes it as it is"],
            )
        if parent.wanted is not None:
            try:
                plan.refuse_base(parent.base, parent.wanted, links)
            except MacvfastError as cause:
                return cause
        return error

    # Removing.

    def remove(self, key: str) -> str:
        """Remove a network without endpoints; gives its name.

        Raises:
            NetworkNotFound, NameAmbiguous, NetworkInUse, RemovalUnfinished
        """
        with self._store.writing() as records:
            network = one_network(records, self._store, key)
            sandboxes = records.occupants(network.id)
            if sandboxes:
                raise NetworkInUse(network.name, sandboxes)
            intent = records.begin(self._store.owner(), removing=True)
            records.begin_network_removal(network.id, intent)
        try:
            self._take_away(network, intent)
        except MacvfastError as error:
            raise RemovalUnfinished(
                "network", network.name, str(error), f"macvfast network rm {network.name}"
            ) from None
        return network.name

    def _take_away(self, network: Network, intent: int) -> None:
        """Delete the network's parent, if it is ours and no other network's, and then its record."""
        with self._store.reading() as records:
            made = records.made_parent(network.link)
            shared = len(records.networks_on(network.link)) > 1
        last = made is not None and not shared
        kept = self._delete_parent(made) if made is not None and last else None
        with self._store.writing() as records:
            if last:
                records.delete_made_parent(network.link)
            records.delete_network(network.id)
            records.sweep([intent])
        if kept is not None:
            self._on_note(kept)

    def _delete_parent(self, made: MadeParent) -> LinkKept | None:
        """Delete a link of ours; where something that macvfast does not know needs it, it stays, and that is told."""
        link = self._kernel.link(made.ifindex) if made.boot_id == self._kernel.boot_id() else None
        if link is None or (link.kind, link.vid) != (made.kind, made.vid):
            return None
        # No network is on it any more: whoever stands on it is not ours.
        uppers = [one for one in self._kernel.links() if one.parent == link.ifindex and one.parent_netnsid is None]
        on_it = {one.mac for one in uppers}
        kept = LinkKept(
            link.ifname,
            made.link,
            macs=tuple(sorted(self._kernel.filter_macs(link.ifindex) - on_it)),
            uppers=tuple(sorted(one.ifname for one in uppers)),
        )
        if kept == LinkKept(made.link, made.link):
            self._kernel.delete_parent(link.ifindex)
            return None
        return kept

    def finish(self) -> None:
        """Remove what processes that have died left half-made or half-removed."""
        with self._store.reading() as records:
            dead = [intent for intent, token in records.intents().items() if not self._store.owner_lives(token)]
            networks = [(network, one) for one in dead for network in records.networks("intent = ?", (one,))]
        for network, intent in networks:
            try:
                self._take_away(network, intent)
            except MacvfastError:
                # It stays recorded as unsettled and is tried again by the next command.
                continue
