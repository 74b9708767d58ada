"""Which subnet each part of a request for a network belongs to, and what each subnet is to have."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from operator import itemgetter
from typing import TYPE_CHECKING

from macvfast._core import Pool
from macvfast.errors import (
    AuxAddressInvalid,
    GatewayInvalid,
    OptionInvalid,
    PoolExhausted,
    RangeInvalid,
    SubnetInvalid,
    SubnetsOverlap,
)
from macvfast.model import Address, Cidr, Subnet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from macvfast.ipam.shared import SharedPool
    from macvfast.requests import NetworkRequest

# The kernel gives these to no endpoint, or means something else by them (RFC 6890, RFC 4291 sections 2.5.5 and 2.7).
_NOT_FOR_LINKS = (
    ("0.0.0.0/8", "this-network"),
    ("127.0.0.0/8", "loopback"),
    ("224.0.0.0/4", "multicast"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("ff00::/8", "multicast"),
)

# What a network without --subnet is cut from, in Docker's order: 172.17/16 to 172.31/16, then 192.168/16 in /20s.
_DEFAULT_SUBNETS = (
    *(f"172.{second}.0.0/16" for second in range(17, 32)),
    *(f"192.168.{third}.0/20" for third in range(0, 256, 16)),
)


def _ends(cidr: Cidr) -> tuple[int, int]:
    return int(cidr.network_address), int(cidr.broadcast_address)


class DefaultSubnets:
    """Those of Docker's default subnets that are free."""

    def __init__(self, taken: Iterable[Cidr]) -> None:
        """All but those that overlap one of `taken`."""
        self._free = {text: _ends(IPv4Network(text)) for text in _DEFAULT_SUBNETS}
        for cidr in taken:
            self.take(cidr)

    def take(self, cidr: Cidr) -> None:
        """Have it that a subnet is not free any more."""
        if cidr.version == 4 and self._free:
            begin, end = _ends(cidr)
            overlapping = [text for text, (first, last) in self._free.items() if first <= end and begin <= last]
            for text in overlapping:
                del self._free[text]

    def first(self) -> str | None:
        """The first one, in Docker's order; None when there is none left."""
        return next(iter(self._free), None)


@dataclass(frozen=True, slots=True)
class OnParent:
    """What the home namespace itself has on a network's parent: its addresses, and where its default routes through
    it go; and, of a network that is there, the gateways that were chosen automatically, by subnet.
    """

    addresses: tuple[Address, ...] = ()
    routers: tuple[Address, ...] = ()
    chosen: Mapping[Cidr, Address | None] = field(default_factory=dict)


class DomainSubnets:
    """The subnets of one layer-2 domain, none of which overlaps another: what overlaps a new one stands beside it."""

    def __init__(self, cidrs: Iterable[Cidr] = ()) -> None:
        self._sorted: dict[int, list[tuple[tuple[int, int], Cidr]]] = {4: [], 6: []}
        for cidr in cidrs:
            self._sorted[cidr.version].append((_ends(cidr), cidr))
        for there in self._sorted.values():
            there.sort(key=itemgetter(0))

    def add(self, cidr: Cidr) -> None:
        """Have one more, which overlaps none that is there; one that is there is there already."""
        if self.overlapping(cidr) is None:
            insort(self._sorted[cidr.version], (_ends(cidr), cidr), key=itemgetter(0))

    def overlapping(self, cidr: Cidr) -> Cidr | None:
        """One that has addresses in common with a subnet, or is the same."""
        there = self._sorted[cidr.version]
        first, last = _ends(cidr)
        at = bisect_left(there, (first, last), key=itemgetter(0))
        # Only the one before it and the one after it can reach into it.
        near = there[max(0, at - 1) : at + 1]
        return next((other for (begin, end), other in near if begin <= last and first <= end), None)


def settle_subnets(
    request: NetworkRequest,
    host: OnParent | None = None,
    neighbours: Callable[[Cidr], SharedPool | None] = lambda _: None,
) -> tuple[Subnet, ...]:
    """The request's subnets in their order, each with its ip-ranges, gateway and aux addresses.

    Args:
        request: the network.
        host: what the host has on its parent; None: nothing.
        neighbours: gives the pool of a subnet that another network in its layer-2 domain has, too.

    Raises:
        SubnetInvalid, SubnetsOverlap, RangeInvalid, GatewayInvalid, AuxAddressInvalid, OptionInvalid
    """
    cidrs = _cidrs(request)
    _refuse_ipv6_switch(request, cidrs)
    ranges: dict[Cidr, list[str]] = {cidr: [] for cidr in cidrs}
    gateways: dict[Cidr, str] = {}
    aux: dict[Cidr, list[tuple[str, str]]] = {cidr: [] for cidr in cidrs}
    for text in request.ip_ranges:
        ranges[_of_range(cidrs, text)].append(text)
    for text in request.gateways:
        cidr = _containing(cidrs, text, partial(_stray_gateway, cidrs, text))
        if cidr in gateways:
            raise GatewayInvalid(text, f"subnet {cidr} has the gateway {gateways[cidr]} already")
        gateways[cidr] = text
    names: set[str] = set()
    for name, text in request.aux:
        if name in names:
            raise AuxAddressInvalid(name, text, f"the name `{name}` is given twice")
        names.add(name)
        cidr = _containing(cidrs, text, partial(AuxAddressInvalid, name, text))
        aux[cidr].append((name, text))
    settled = []
    for cidr in cidrs:
        if (typed := gateways.get(cidr)) is not None:
            gateway = _Gateway(ip_address(typed), typed)
        else:
            gateway = _automatic_gateway(request, cidr, ranges[cidr], host or OnParent(), neighbours(cidr))
        settled.append(_settle_one(request, cidr, ranges[cidr], gateway, aux[cidr]))
    return tuple(settled)


def _cidrs(request: NetworkRequest) -> list[Cidr]:
    """The subnets, each of which endpoints can have addresses of, and apart from each other."""
    # The pool refuses a malformed subnet in words of its own; afterwards the text is known to be good.
    cidrs = [Pool(text).subnet for text in request.subnets]
    before = DomainSubnets()
    for index, cidr in enumerate(cidrs):
        refuse_unfit(cidr, request.subnets[index])
        if (other := before.overlapping(cidr)) is not None:
            raise SubnetsOverlap(str(cidr), str(other))
        before.add(cidr)
    return cidrs


def refuse_unfit(cidr: Cidr, typed: str | None = None) -> None:
    """Refuse a subnet that has addresses which no endpoint can have; `typed`: what it was typed as.

    Raises:
        SubnetInvalid
    """
    for text, what in _NOT_FOR_LINKS:
        never = ip_network(text)
        if type(cidr) is type(never) and cidr.overlaps(never):
            raise SubnetInvalid(typed or str(cidr), f"{text} is for {what} addresses, which no endpoint can have")


def _stray_gateway(cidrs: Sequence[Cidr], text: str, reason: str) -> GatewayInvalid:
    """The refusal of a gateway that is in no subnet."""
    family = 6 if ":" in text else 4
    usual = [f"--gateway={cidr[1]}" for cidr in cidrs if cidr.version == family and cidr.num_addresses > 2]
    if usual:
        hint = f"{usual[0]}, or another of its addresses; or --gateway=none"
    else:
        # A /31 or /32 has no address to spare, and no subnet of a family has a gateway of it.
        hint = "--gateway=none, or a --subnet that contains the gateway"
    return GatewayInvalid(text, reason, [hint])


def _refuse_ipv6_switch(request: NetworkRequest, cidrs: Sequence[Cidr]) -> None:
    if request.ipv6 and not any(isinstance(cidr, IPv6Network) for cidr in cidrs):
        raise OptionInvalid("--ipv6", "true", "no IPv6 subnet is given", hints=["--subnet=2001:db8:1::/64"])
    if request.ipv6 is False and cidrs and not any(isinstance(cidr, IPv4Network) for cidr in cidrs):
        why = "the network would have no subnet left"
        raise OptionInvalid("--ipv6", "false", why, hints=["--subnet=192.168.32.0/24, for example"])
    if request.ipv6_ra and (request.ipv6 is False or not any(isinstance(cidr, IPv6Network) for cidr in cidrs)):
        hint = "--subnet=2001:db8:1::/64" if request.ipv6 is None else "leave out --no-ipv6, or -o ipv6_ra=on"
        raise OptionInvalid("ipv6_ra", "on", "the network has no IPv6", hints=[hint])


@dataclass(frozen=True, slots=True)
class _Gateway:
    """A subnet's gateway; what it was typed as, or else what is to be said of where it comes from; and whether the
    network has it already, so that no option gives another.
    """

    address: Address | None
    typed: str | None = None
    origin: str = ""
    kept: bool = False


def _automatic_gateway(
    request: NetworkRequest, cidr: Cidr, ranges: list[str], host: OnParent, neighbour: SharedPool | None
) -> _Gateway:
    """The gateway of a subnet where none is given: the one chosen before; or the host's own router, where that is in
    the subnet; or that of another network which has the subnet; or the first free address of the ip-range, or else of
    the subnet. None of IPv6: routers announce themselves there, and a gateway that was merely chosen would hide them.
    """
    if request.gateway_automatic and cidr in host.chosen:
        return _Gateway(host.chosen[cidr], origin=", chosen automatically when the network was made", kept=True)
    # RFC 3021: point-to-point subnets and single addresses have nothing to spare.
    if not request.wants_gateways or cidr.version == 6 or cidr.num_addresses <= 2:
        return _Gateway(None)
    for router in host.routers:
        if router in cidr and router not in host.addresses and Pool(cidr).role(router) is None:
            return _Gateway(router, origin=", by this host's default route")
    if neighbour is not None and (there := neighbour.gateway()) is not None:
        return _Gateway(there[0], origin=f", as of network `{there[1]}`")
    avoided = [address for address in host.addresses if address.version == cidr.version]
    first_free = partial(_first_free, cidr) if neighbour is None else neighbour.first_free
    # Only reserved ends, and what the host has, may be in the ip-range.
    found = first_free(ranges, avoided) or first_free(None, avoided)
    return _Gateway(found, origin=", which no --gateway names")


def _settle_one(
    request: NetworkRequest, cidr: Cidr, ranges: list[str], gateway: _Gateway, aux: list[tuple[str, str]]
) -> Subnet:
    """One subnet, checked. The gateway is settled first, so that an aux address can be refused for being it."""
    taken: dict[Address, str] = {}
    for name, text in aux:
        address = ip_address(text)
        if address in taken:
            raise AuxAddressInvalid(name, text, f"aux address `{taken[address]}` names it already")
        taken[address] = name
        if address == gateway.address:
            hint = "give the gateway with --gateway, or none with --gateway none"
            reason = f"it is the gateway of {cidr}{gateway.origin}"
            raise AuxAddressInvalid(name, text, reason, hints=[] if gateway.typed or gateway.kept else [hint])
    # What the pool of this network alone would refuse.
    Pool(
        cidr,
        ip_range=ranges or None,
        # As text where it was given so: a refusal shows what was typed.
        gateway=gateway.typed or gateway.address,
        aux=dict(aux),
        order=request.order,
    )
    return Subnet(
        cidr=cidr,
        ranges=tuple(ranges),
        gateway=gateway.address,
        gateway_automatic=gateway.typed is None and request.gateway_automatic,
        aux=tuple((name, ip_address(text)) for name, text in aux),
    )


def _first_free(cidr: Cidr, ip_range: Iterable[str] | None, avoided: Iterable[Address]) -> Address | None:
    """The first free address of the ip-range, or of the subnet, of a pool in which nothing is in use."""
    pool = Pool(cidr, ip_range=ip_range)
    pool.avoid(avoided)
    try:
        return pool.allocate()
    except PoolExhausted:
        return None


def _containing(cidrs: Sequence[Cidr], text: str, refusal: Callable[[str], Exception]) -> Cidr:
    """The subnet that contains the address."""
    try:
        address = ip_address(text)
    except ValueError:
        raise refusal("it is not an IP address") from None
    for cidr in cidrs:
        if address.version == cidr.version and address in cidr:
            return cidr
    raise refusal(_outside(cidrs))


def _of_range(cidrs: Sequence[Cidr], text: str) -> Cidr:
    """The subnet that contains an ip-range, by its first address; the pool checks the rest."""
    first = text.partition("-")[0] if "-" in text else text
    try:
        network = ip_network(first.strip(), strict=False)
    except ValueError:
        raise RangeInvalid(text, "it is neither a CIDR nor FIRST-LAST", _part_of(cidrs)) from None
    for cidr in cidrs:
        if network.version == cidr.version and network.network_address in cidr:
            return cidr
    for cidr in cidrs:
        if network.version == cidr.version and network.overlaps(cidr):
            raise RangeInvalid(text, f"it is larger than subnet {cidr}", _part_of([cidr]))
    raise RangeInvalid(text, _outside(cidrs), _part_of(cidrs, network.version))


def _part_of(cidrs: Sequence[Cidr], version: int = 0) -> str | None:
    """An ip-range that could be typed: the upper half of a subnet, of that version of IP if there is one."""
    cidr = next((one for one in cidrs if one.version == version), cidrs[0] if cidrs else None)
    return None if cidr is None else str([*cidr.subnets()][-1])


def _outside(cidrs: Sequence[Cidr]) -> str:
    return f"no subnet of the network contains it ({', '.join(map(str, cidrs))})" if cidrs else "no --subnet is given"
