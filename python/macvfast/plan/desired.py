"""What differs between a recorded network and a wanted one, and what of it may change under its endpoints.

Endpoints keep the addresses, routes and links that they were made with. So what only decides about endpoints to come,
and what no endpoint has anything of, may change at any time: ip-ranges, aux addresses, the order of allocation, labels,
and whether others may share the parent. All else needs a network that is made anew.

A whole host is compared network by network: each of these functions takes one, and knows of no other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from macvfast.errors import NetworkDiffers
from macvfast.options import link_options
from macvfast.plan.endpoints import takes_advertisements
from macvfast.requests import NetworkRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from macvfast.model import Address, Cidr, Network, Subnet
    from macvfast.requests import UpdateRequest


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that would have to change, in words; `live`: it may change under endpoints."""

    setting: str
    recorded: str
    wanted: str
    live: bool = False

    def __str__(self) -> str:
        return f"{self.setting}: {self.recorded} is recorded, {self.wanted} is asked for"


# From a record to what is wanted.


def as_request(network: Network) -> NetworkRequest:
    """The request that asks for a recorded network. What was chosen automatically is not in it: `chosen_gateways`."""
    given = [subnet.gateway for subnet in network.subnets if not subnet.gateway_automatic]
    return NetworkRequest(
        name=network.name,
        driver=network.driver,
        subnets=tuple(str(subnet.cidr) for subnet in network.subnets),
        ip_ranges=tuple(text for subnet in network.subnets for text in subnet.ranges),
        gateways=tuple(str(gateway) for gateway in given if gateway is not None),
        gateway_automatic=any(subnet.gateway_automatic for subnet in network.subnets),
        aux=tuple((name, str(address)) for subnet in network.subnets for name, address in subnet.aux),
        parent=network.parent,
        mode=network.mode,
        flag=network.flag,
        mtu=network.mtu,
        link_options=tuple(link_options(network.options).items()),
        share_parent=network.share_parent,
        order=network.order,
        ipv4=None if network.subnets else False,
        ipv6=None if network.ipv6 else False,
        ipv6_ra=network.ipv6_ra,
        internal=network.internal,
        labels=network.labels,
        options=network.options,
        origin=network.origin,
        domain=network.own_domain,
        inside=network.inside,
    )


def chosen_gateways(network: Network) -> dict[Cidr, Address | None]:
    """The gateways of a recorded network that were chosen automatically, by subnet: they stay what they are."""
    return {subnet.cidr: subnet.gateway for subnet in network.subnets if subnet.gateway_automatic}


def updated(network: Network, update: UpdateRequest) -> NetworkRequest:
    """The request that asks for a recorded network with the update applied; it is checked as any other.

    Raises:
        OptionInvalid
    """
    request = as_request(network)
    moved = {name for name, _ in update.aux}
    labels = dict(network.labels) | dict(update.labels)
    return replace(
        request,
        ip_ranges=request.ip_ranges if update.ip_ranges is None else _ranges(network.subnets, update.ip_ranges),
        aux=(
            *((name, address) for name, address in request.aux if name not in moved),
            *((name, address) for name, address in update.aux if address is not None),
        ),
        labels=tuple((key, value) for key, value in labels.items() if value is not None),
        order=request.order if update.order is None else update.order,
        share_parent=request.share_parent if update.share_parent is None else update.share_parent,
    )


def _ranges(subnets: Sequence[Subnet], given: Sequence[str]) -> tuple[str, ...]:
    """The ip-ranges where those given replace all of the subnets that contain them; none given: none any more."""
    if not given:
        return ()
    stay = [subnet for subnet in subnets if not any(begins_in(subnet, text) for text in given)]
    return (*(text for subnet in stay for text in subnet.ranges), *given)


def begins_in(subnet: Subnet, ip_range: str) -> bool:
    """Whether the subnet contains the first address of an ip-range; all else about it is checked later."""
    first = ip_range.partition("-")[0].partition("/")[0].strip()
    try:
        return ip_address(first) in subnet.cidr
    except ValueError:
        return False


# What differs.


def changes(recorded: Network, wanted: Network) -> list[Change]:
    """What would have to change for a recorded network to be as it is wanted; empty: it is so already.

    `wanted` has the link that its parent leads to now. Its id, its time, the spelling of its options and, without a
    parent, its link mean nothing here.
    """
    return [*_of_network(recorded, wanted), *_of_subnets(recorded, wanted)]


def _of_network(recorded: Network, wanted: Network) -> Iterator[Change]:
    differ = [
        ("origin", _or_none(recorded.origin), _or_none(wanted.origin)),
        ("domain", _or_none(recorded.own_domain), _or_none(wanted.own_domain)),
        ("driver", recorded.driver, wanted.driver),
        ("mode", recorded.mode, wanted.mode),
        ("ipvlan_flag", _or_none(recorded.flag), _or_none(wanted.flag)),
        ("parent", _parent(recorded), _parent(wanted)),
        ("mtu", str(recorded.mtu or "the parent's"), str(wanted.mtu or "the parent's")),
        ("internal", _said(recorded.internal), _said(wanted.internal)),
        ("ipv6", _said(recorded.ipv6), _said(wanted.ipv6)),
        ("ipv6_ra", _advertised(recorded), _advertised(wanted)),
    ]
    theirs, ours = link_options(recorded.options), link_options(wanted.options)
    differ += [(key, _of_link(theirs.get(key)), _of_link(ours.get(key))) for key in sorted({*theirs, *ours})]
    yield from (Change(*one) for one in differ if one[1] != one[2])
    may_differ = [
        ("ipam_order", recorded.order, wanted.order),
        ("share_parent", _said(recorded.share_parent), _said(wanted.share_parent)),
        ("labels", _pairs(recorded.labels), _pairs(wanted.labels)),
    ]
    yield from (Change(*one, live=True) for one in may_differ if one[1] != one[2])


def _of_subnets(recorded: Network, wanted: Network) -> Iterator[Change]:
    # Their order within a family is that in which addresses are given.
    for version in (4, 6):
        before, after = (
            ", ".join(str(subnet.cidr) for subnet in network.subnets if subnet.version == version)
            for network in (recorded, wanted)
        )
        if before != after:
            yield Change(f"IPv{version} subnets", before or "none", after or "none")
    theirs = {subnet.cidr: subnet for subnet in wanted.subnets}
    for subnet in recorded.subnets:
        if (other := theirs.get(subnet.cidr)) is not None:
            yield from _of_subnet(subnet, other)


def _of_subnet(recorded: Subnet, wanted: Subnet) -> Iterator[Change]:
    if recorded.gateway != wanted.gateway:
        automatic = " (automatic)" if wanted.gateway_automatic else ""
        asked = _or_none(wanted.gateway) + automatic
        yield Change(f"gateway of {recorded.cidr}", _or_none(recorded.gateway), asked)
    if recorded.ranges != wanted.ranges:
        before, after = (", ".join(subnet.ranges) or "none" for subnet in (recorded, wanted))
        yield Change(f"ip-ranges of {recorded.cidr}", before, after, live=True)
    if dict(recorded.aux) != dict(wanted.aux):
        yield Change(f"aux addresses of {recorded.cidr}", _pairs(recorded.aux), _pairs(wanted.aux), live=True)


def _parent(network: Network) -> str:
    if network.inside:
        return f"{network.parent} of the sandbox"
    return "none" if network.parent is None else network.link


def _advertised(network: Network) -> str:
    return "on" if network.ipv6 and takes_advertisements(network) else "off"


def _of_link(value: int | None) -> str:
    return "the kernel's" if value is None else str(value)


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _said(value: bool) -> str:
    return "true" if value else "false"


def _pairs(pairs: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(pairs, key=lambda pair: pair[0])) or "none"


# What is done about it.


def refuse_fixed(network: Network, found: Iterable[Change]) -> None:
    """Refuse changes that no network may see while it is there.

    Raises:
        NetworkDiffers: names each of them.
    """
    fixed = [str(change) for change in found if not change.live]
    if fixed:
        raise NetworkDiffers(network.name, fixed)


def changed(recorded: Network, wanted: Network) -> Network:
    """The recorded network with all that may change as it is wanted."""
    theirs = {subnet.cidr: subnet for subnet in wanted.subnets}
    subnets = tuple(
        replace(subnet, ranges=other.ranges, aux=other.aux) if (other := theirs.get(subnet.cidr)) else subnet
        for subnet in recorded.subnets
    )
    options = dict(recorded.options)
    if recorded.order != wanted.order:
        options["ipam_order"] = wanted.order
    if recorded.share_parent != wanted.share_parent:
        options["share_parent"] = _said(wanted.share_parent)
    return replace(
        recorded,
        subnets=subnets,
        labels=wanted.labels,
        order=wanted.order,
        share_parent=wanted.share_parent,
        options=tuple(options.items()),
    )
