"""The links that networks stand on: found, made and deleted; and what this host itself has on them.

Whether a link is ours is decided here and recorded before it is made: its random index is durable first, and it is
asked for with NLM_F_EXCL, so neither a crash nor a reboot turns ours into a stranger's or a stranger's into ours.
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
from macvfast.model import MadeParent
from macvfast.outcomes import LinkKept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Cidr
    from macvfast.plan import LinkFacts, RouteFacts, SubInterface
    from macvfast.requests import NetworkRequest


@dataclass(frozen=True, slots=True)
class Parent:
    """What a network is to stand on: a link that is there, a sub-interface to be made, or else a dummy to be made."""

    name: str
    link: LinkFacts | None = None
    wanted: SubInterface | None = None
    base: LinkFacts | None = None
    # In words, what the link is where its name says something else.
    unlike: str | None = None

    @property
    def mtu(self) -> int:
        """Its MTU: a sub-interface to be made gets that of its base, a dummy that of Ethernet."""
        on = self.link or self.base
        return 1500 if on is None else on.mtu

    def to_be_made(self, boot_id: str) -> MadeParent | None:
        """The record of a link that is going to be made; None where the link is there."""
        if self.link is not None:
            return None
        kind = "vlan" if self.wanted else "dummy"
        base, vid = (self.wanted.base, self.wanted.vid) if self.wanted else (None, None)
        if self.base is not None and self.base.kind == "vlan":
            # It may be a link of ours, and the record knows those by the names they were made with.
            base = self.base.ifname
        return MadeParent(self.name, kind, base, vid, new_ifindex(), boot_id)


@dataclass(frozen=True, slots=True)
class ParentRefusal:
    """Why a parent was not made; `index_taken`: it may be made with another index."""

    error: MacvfastError
    index_taken: bool = False


class Parents:
    """Finds, makes and deletes parents."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def links(self) -> plan.Links:
        """The links of the home namespace. Cost: a few microseconds each."""
        return plan.Links(self._kernel.links())

    def find(self, request: NetworkRequest, network_id: str, links: plan.Links) -> Parent:
        """The parent that a request names, or what has to be made for it.

        Raises:
            ParentNotFound, ParentUnusable, OptionInvalid
        """
        if request.parent is None:
            return Parent(f"dm-{network_id[:12]}")
        link = self._kernel.link(request.parent)
        if link is not None:
            plan.refuse_parent(link, links, request)
            self._refuse_wireless(link, links, request)
            return Parent(link.ifname, link=link, unlike=plan.unlike_its_name(link, links, request.parent))
        wanted = plan.sub_interface(request.parent)
        base = self._kernel.link(wanted.base)
        if base is not None:
            # First what cannot be mended: the other refusals name a remedy that would not help.
            self._refuse_wireless(base, links, request)
            plan.refuse_port(base, links, (wanted.vid,))
        plan.refuse_base(base, wanted, links)
        return Parent(wanted.ifname, wanted=wanted, base=base)

    def _refuse_wireless(self, link: LinkFacts, links: plan.Links, request: NetworkRequest) -> None:
        device = links.down_vlans(link)[-1]
        if self._kernel.is_wireless(device):
            plan.refuse_wireless(link, device, request)

    def as_seen(self, parent: Parent) -> bool:
        """Whether the parent is still there, or still missing, as `find` saw it."""
        link = self._kernel.link(parent.name)
        seen = parent.link and parent.link.ifindex
        return (link and link.ifindex) == seen

    def make(self, wanted: Sequence[tuple[MadeParent, LinkFacts | None]]) -> list[ParentRefusal | None]:
        """Make recorded parents, each with its base, and bring them up, in few sends; one outcome each."""
        outcomes = self._kernel.add_parents(wanted)
        return [
            None if error is None else self._explained(error, made, base)
            for (made, base), error in zip(wanted, outcomes, strict=True)
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
        """Delete, in one go, links of ours on which no recorded network is left. One that is needed by something that
        macvfast does not know stays; what is returned says why.

        Args:
            parents: each link after those that stand on it.

        Raises:
            KernelRefused, PermissionNeeded
        """
        boot_id = self._kernel.boot_id()
        links = self.links()
        kept: list[LinkKept | None] = []
        going: list[int] = []
        for made in parents:
            link = links.by_index.get(made.ifindex) if made.boot_id == boot_id else None
            if link is None or (link.kind, link.vid) != (made.kind, made.vid):
                kept.append(None)
                continue
            stays = self._why_kept(made, link, links.on(link.ifindex), going)
            kept.append(stays)
            if stays is None:
                going.append(link.ifindex)
        if going:
            self._kernel.delete_parents(going)
        return kept

    def _why_kept(
        self, made: MadeParent, link: LinkFacts, uppers: Sequence[LinkFacts], going: Sequence[int]
    ) -> LinkKept | None:
        """Why a link of ours stays: what stands on it and is not deleted with it is not ours."""
        called = made.link if made.link in plan.names(link) else link.ifname
        stays = LinkKept(
            called,
            made.link,
            macs=tuple(sorted(self._kernel.filter_macs(link.ifindex) - {one.mac for one in uppers})),
            uppers=tuple(sorted(one.ifname for one in uppers if one.ifindex not in going)),
        )
        return None if stays == LinkKept(made.link, made.link) else stays


class HomeAddresses:
    """What the home namespace has on its links: looked up when it is first needed, and then once."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._subnets: list[Cidr] | None = None

    @cached_property
    def _default_routes(self) -> list[RouteFacts]:
        return self._kernel.routes(default_only=True)

    def on(self, parent: Parent) -> OnParent:
        """What this host itself has on a parent; nothing on one that is to be made."""
        if parent.link is None:
            return OnParent()
        ifindex = parent.link.ifindex
        addresses = tuple(ip_address(packed) for packed, _ in self._kernel.addresses(ifindex))
        routers = [one.gateway for one in self._default_routes if one.gateway is not None and one.ifindex == ifindex]
        return OnParent(addresses, tuple(map(ip_address, routers)))

    def subnets(self, links: plan.Links) -> list[Cidr]:
        """The subnets that this host has addresses in, or routes for; `links` are all of the home namespace."""
        if self._subnets is None:
            self._subnets = [cidr for link in links for cidr in self._subnets_of(link)]
            routes = self._kernel.routes(default_only=False)
            self._subnets += [ip_network(one[:2], strict=False) for one in routes if one.prefix_length]
        return self._subnets

    def _subnets_of(self, link: LinkFacts) -> list[Cidr]:
        """The subnets that a link has addresses in, link-local ones left out."""
        found = [ip_network((packed, length), strict=False) for packed, length in self._kernel.addresses(link.ifindex)]
        return [cidr for cidr in found if not ip_address(cidr.network_address).is_link_local]

    def refuse_without_subnet(self, request: NetworkRequest, parent: Parent) -> None:
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
