"""The links that networks are on: found, created and deleted; and what the host itself has on them.

Whether a link is ours is decided here, and recorded before the link is created: its random index is durable first, and
the link is requested with NLM_F_EXCL. So neither a crash nor a reboot can make another program's link count as ours, or
ours as another's.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.make import new_ifindex
from macvfast.errors import Conflict, KernelRefused, MacvfastError, SubnetMissing
from macvfast.ipam import OnParent
from macvfast.model import LOOPBACK, MadeParent, natural
from macvfast.outcomes import LinkKept
from macvfast.plan import commands
from macvfast.system import log

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Cidr
    from macvfast.plan import LinkFacts, RouteFacts, SubInterface
    from macvfast.requests import NetworkRequest


@dataclass(frozen=True, slots=True)
class Parent:
    """What a network is going to be on: an existing link, or else a sub-interface or a dummy that is created for it."""

    name: str
    link: LinkFacts | None = None
    wanted: SubInterface | None = None
    base: LinkFacts | None = None
    # What the link is, in words, if its name says something else.
    unlike: str | None = None

    @property
    def mtu(self) -> int:
        """Its MTU. A sub-interface that is created gets the MTU of its base, and a dummy that of Ethernet."""
        on = self.link or self.base
        return 1500 if on is None else on.mtu

    def to_be_made(self, boot_id: str) -> MadeParent | None:
        """The record of a link that is going to be created; None if the link exists."""
        if self.link is not None:
            return None
        kind = "vlan" if self.wanted else "dummy"
        base, vid = (self.wanted.base, self.wanted.vid) if self.wanted else (None, None)
        if self.base is not None and self.base.kind == "vlan":
            # It may be a link of ours; the record has the names with which those were created.
            base = self.base.ifname
        return MadeParent(self.name, kind, base, vid, new_ifindex(), boot_id)


@dataclass(frozen=True, slots=True)
class ParentRefusal:
    """Why a parent was not created. `index_taken`: it can be created with another index."""

    error: MacvfastError
    index_taken: bool = False


class Parents:
    """Finds, creates and deletes parents."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def links(self) -> plan.Links:
        """The links of the home namespace. Cost: a few microseconds for each."""
        return plan.Links(self._kernel.links())

    def by_default(self) -> str | None:
        """The link of the home namespace's default route, of IPv4 before IPv6."""
        routes = sorted(self._kernel.routes(default_only=True), key=lambda one: (one.family, one.metric))
        # One after the other: hardly ever is there more than one, and a host may have thousands of links.
        links = (self._kernel.link(one.ifindex) for one in routes if one.ifindex is not None)
        return next((link.ifname for link in links if link is not None), None)

    def find(self, request: NetworkRequest, network_id: str, links: plan.Links) -> Parent:
        """The parent that a request names, or what has to be created for it.

        Raises:
            ParentNotFound, ParentUnusable, OptionInvalid
        """
        if request.parent is None:
            return Parent(f"dm-{network_id[:12]}")
        if request.inside:
            return Parent(LOOPBACK, link=self._kernel.link(LOOPBACK))
        link = self._kernel.link(request.parent)
        if link is not None:
            plan.refuse_parent(link, links, request)
            self._refuse_wireless(link, links, request)
            return Parent(link.ifname, link=link, unlike=plan.unlike_its_name(link, links, request.parent))
        wanted = plan.sub_interface(request.parent)
        base = self._kernel.link(wanted.base)
        if base is not None:
            # First what cannot be repaired: the hints of the other refusals would not help.
            self._refuse_wireless(base, links, request)
            plan.refuse_port(base, links, (wanted.vid,))
        plan.refuse_base(base, wanted, links)
        return Parent(wanted.ifname, wanted=wanted, base=base)

    def _refuse_wireless(self, link: LinkFacts, links: plan.Links, request: NetworkRequest) -> None:
        device = links.down_vlans(link)[-1]
        if self._kernel.is_wireless(device):
            plan.refuse_wireless(link, device, request)

    def as_seen(self, parent: Parent) -> bool:
        """Whether the parent still exists, or is still missing, as `find` saw it."""
        link = self._kernel.link(parent.name)
        seen = parent.link and parent.link.ifindex
        return (link and link.ifindex) == seen

    def make(self, wanted: Sequence[tuple[MadeParent, LinkFacts | None]]) -> list[ParentRefusal | None]:
        """Create recorded parents, each with its base, and bring them up, in few sends. One outcome for each."""
        outcomes = self._kernel.add_parents(wanted)
        made = [one for (one, _), error in zip(wanted, outcomes, strict=True) if error is None]
        log.change(lambda: map(commands.create_parent, made))
        return [
            None if error is None else self._explained(error, one, base)
            for (one, base), error in zip(wanted, outcomes, strict=True)
        ]

    def _explained(self, error: MacvfastError, made: MadeParent, base: LinkFacts | None) -> ParentRefusal:
        """Why the kernel refused a parent: EEXIST and EBUSY have several causes, which are looked up."""
        if not isinstance(error, KernelRefused) or error.errno not in (errno.EEXIST, errno.EBUSY):
            return ParentRefusal(error)
        links = self.links()
        index = links.by_index.get(made.ifindex)
        if index is not None and index.ifname != made.link:
            return ParentRefusal(error, index_taken=True)
        if links.named(made.link) is not None:
            appeared = Conflict(
                f"could not make parent `{made.link}`",
                causes=["a link of that name has just appeared, and macvfast did not make it"],
                hints=["the same command again takes it as it is"],
            )
            return ParentRefusal(appeared)
        if made.base is not None and made.vid is not None:
            try:
                plan.refuse_base(base, plan.SubInterface(made.link, made.base, made.vid), links)
            except MacvfastError as cause:
                return ParentRefusal(cause)
        return ParentRefusal(error)

    def delete(self, parents: Sequence[MadeParent]) -> list[LinkKept | None]:
        """Delete together links of ours on which no recorded network is left. A link that something else needs, which
        macvfast does not know, stays. Returns why.

        Args:
            parents: each link after those that are on it.

        Raises:
            KernelRefused, PermissionNeeded
        """
        boot_id = self._kernel.boot_id()
        links = self.links()
        kept: list[LinkKept | None] = []
        going: dict[int, None] = {}
        for made in parents:
            link = links.by_index.get(made.ifindex) if made.boot_id == boot_id else None
            if link is None or (link.kind, link.vid) != (made.kind, made.vid):
                kept.append(None)
                continue
            stays = self._why_kept(made, link, links.on(link.ifindex), going)
            kept.append(stays)
            if stays is None:
                going[link.ifindex] = None
        if going:
            self._kernel.delete_parents([*going])
            log.change(lambda: [commands.delete_parent(links.by_index[ifindex].ifname) for ifindex in going])
        return kept

    def _why_kept(
        self, made: MadeParent, link: LinkFacts, uppers: Sequence[LinkFacts], going: Container[int]
    ) -> LinkKept | None:
        """Why a link of ours stays: a link on it, which is not deleted with it, is not ours."""
        called = made.link if made.link in plan.names(link) else link.ifname
        stays = LinkKept(
            called,
            made.link,
            macs=tuple(sorted(self._kernel.filter_macs(link.ifindex) - {one.mac for one in uppers})),
            uppers=tuple(sorted((one.ifname for one in uppers if one.ifindex not in going), key=natural)),
        )
        return None if stays == LinkKept(made.link, made.link) else stays


class HomeAddresses:
    """The addresses of the home namespace's links: read when they are first needed, and only once."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._subnets: list[Cidr] | None = None

    @cached_property
    def _default_routes(self) -> list[RouteFacts]:
        return self._kernel.routes(default_only=True)

    def on(self, parent: Parent) -> OnParent:
        """The addresses that this host itself has on a parent; none on a parent that is going to be created."""
        if parent.link is None:
            return OnParent()
        ifindex = parent.link.ifindex
        addresses = tuple(ip_address(packed) for packed, _ in self._kernel.addresses(ifindex))
        routers = [one.gateway for one in self._default_routes if one.gateway is not None and one.ifindex == ifindex]
        return OnParent(addresses, tuple(map(ip_address, routers)))

    def subnets(self, links: plan.Links) -> list[Cidr]:
        """The subnets in which this host has addresses, or to which it has routes. `links` are all links of the home
        namespace.
        """
        if self._subnets is None:
            self._subnets = [cidr for link in links for cidr in self._subnets_of(link)]
            routes = self._kernel.routes(default_only=False)
            self._subnets += [ip_network(one[:2], strict=False) for one in routes if one.prefix_length]
        return self._subnets

    def _subnets_of(self, link: LinkFacts) -> list[Cidr]:
        """The subnets in which a link has addresses, without link-local ones."""
        found = [ip_network((packed, length), strict=False) for packed, length in self._kernel.addresses(link.ifindex)]
        return [cidr for cidr in found if not ip_address(cidr.network_address).is_link_local]

    def refuse_without_subnet(self, request: NetworkRequest, parent: Parent) -> None:
        """Refuse a network that has a parent and no subnet; the parent's own subnets are the hint.

        Raises:
            SubnetMissing
        """
        if request.parent is None:
            return
        # A sub-interface that is going to be created has no subnet yet. It does not have that of its base.
        theirs = self._subnets_of(parent.link) if parent.link is not None else []
        raise SubnetMissing(
            f"network `{request.name}` has a parent, so its subnet must be that of the LAN",
            hints=[f"{parent.name} is on {cidr}: --subnet={cidr}" for cidr in theirs]
            or ["--subnet=192.0.2.0/24, or what the LAN has"],
        )
