"""A network's addresses: which subnet each part of a request belongs to, and the pools behind them.

The door to the native allocator. The rules within one subnet (reserved ends, ip-ranges, gateway, aux addresses,
order) live there, in `rust/ipam/pool.rs`; here is what concerns several subnets: which one contains what, the
automatic gateway, one address of each family; and what the host itself has, which nobody is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast._core import Addresses, Pool
from macvfast.errors import (
    AddressOutsideSubnet,
    AddressTaken,
    AuxAddressInvalid,
    GatewayInvalid,
    MacvfastError,
    OptionInvalid,
    PoolExhausted,
    RangeInvalid,
    SubnetInvalid,
    SubnetsOverlap,
)
from macvfast.model import Address, Cidr, Network, Subnet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from macvfast.requests import NetworkRequest
    from macvfast.state.records import PoolRow, Records

__all__ = [
    "Addresses",
    "NetworkPools",
    "Pool",
    "Taken",
    "default_subnet",
    "remake_pools",
    "settle_subnets",
    "store_pool",
]

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


def default_subnet(taken: Iterable[Cidr]) -> str | None:
    """The first of Docker's default subnets that overlaps none of `taken`; None when there is none left."""
    others = [cidr for cidr in taken if isinstance(cidr, IPv4Network)]
    for text in _DEFAULT_SUBNETS:
        if not any(IPv4Network(text).overlaps(other) for other in others):
            return text
    return None


@dataclass(frozen=True, slots=True)
class OnParent:
    """What the home namespace itself has on a network's parent: its addresses, and where its default routes through
    it go; and, of a network that is there, the gateways that were chosen automatically, by subnet.
    """

    addresses: tuple[Address, ...] = ()
    routers: tuple[Address, ...] = ()
    chosen: Mapping[Cidr, Address | None] = field(default_factory=dict)


def settle_subnets(request: NetworkRequest, host: OnParent | None = None) -> tuple[tuple[Subnet, Pool], ...]:
    """The request's subnets in their order, each with its ip-ranges, gateway and aux addresses, and a pool with
    these taken.

    Args:
        request: the network.
        host: what the host has on its parent; None: nothing.

    Raises:
        SubnetInvalid, SubnetsOverlap, RangeInvalid, GatewayInvalid, AuxAddressInvalid, OptionInvalid
    """
    # The pool refuses a malformed subnet in words of its own; afterwards the text is known to be good.
    cidrs = [Pool(text).subnet for text in request.subnets]
    for index, cidr in enumerate(cidrs):
        for text, what in _NOT_FOR_LINKS:
            never = ip_network(text)
            if type(cidr) is type(never) and cidr.overlaps(never):
                raise SubnetInvalid(
                    request.subnets[index], f"{text} is for {what} addresses, which no endpoint can have"
                )
        for other in cidrs[:index]:
            if type(cidr) is type(other) and cidr.overlaps(other):
                raise SubnetsOverlap(str(cidr), str(other))
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
        gateway = _gateway(request, cidr, ranges[cidr], gateways.get(cidr), host or OnParent())
        settled.append(_settle_one(request, cidr, ranges[cidr], gateway, aux[cidr]))
    return tuple(settled)


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
        raise OptionInvalid("--ipv6", "false", "the network would have no subnet left")
    if request.ipv6_ra and (request.ipv6 is False or not any(isinstance(cidr, IPv6Network) for cidr in cidrs)):
        hint = "--subnet=2001:db8:1::/64" if request.ipv6 is None else "leave out --no-ipv6, or -o ipv6_ra=on"
        raise OptionInvalid("ipv6_ra", "on", "the network has no IPv6", hints=[hint])


@dataclass(frozen=True, slots=True)
class _Gateway:
    """A subnet's gateway, and what it was typed as, or else what is to be said of where it comes from."""

    address: Address | None
    typed: str | None = None
    origin: str = ""


def _gateway(request: NetworkRequest, cidr: Cidr, ranges: list[str], typed: str | None, host: OnParent) -> _Gateway:
    """The gateway of a subnet: the given one; or, where the network is to have one by itself, the host's own router,
    where that is in the subnet, or else the first free address. None of IPv6: its routers say themselves who they are,
    which one that was merely chosen would hide.
    """
    if typed is not None:
        return _Gateway(ip_address(typed), typed)
    if request.gateway_automatic and cidr in host.chosen:
        return _Gateway(host.chosen[cidr], origin=", chosen automatically when the network was made")
    # RFC 3021: point-to-point subnets and single addresses have nothing to spare.
    if not request.wants_gateways or cidr.version == 6 or cidr.num_addresses <= 2:
        return _Gateway(None)
    for router in host.routers:
        if router in cidr and router not in host.addresses and Pool(cidr).role(router) is None:
            return _Gateway(router, origin=", by this host's default route")
    return _Gateway(_first_free(cidr, ranges, host.addresses), origin=", which no --gateway names")


def _settle_one(
    request: NetworkRequest, cidr: Cidr, ranges: list[str], gateway: _Gateway, aux: list[tuple[str, str]]
) -> tuple[Subnet, Pool]:
    """One subnet with its pool. The gateway is settled first, so that an aux address can be refused for being it."""
    taken: dict[Address, str] = {}
    for name, text in aux:
        address = ip_address(text)
        if address in taken:
            raise AuxAddressInvalid(name, text, f"aux address `{taken[address]}` names it already")
        taken[address] = name
        if address == gateway.address:
            hint = "give the gateway with --gateway, or none with --gateway none"
            reason = f"it is the gateway of {cidr}{gateway.origin}"
            raise AuxAddressInvalid(name, text, reason, hints=[] if gateway.typed else [hint])
    pool = Pool(
        cidr,
        ip_range=ranges or None,
        # As text where it was given so: a refusal shows what was typed.
        gateway=gateway.typed or gateway.address,
        aux=dict(aux),
        order=request.order,
    )
    subnet = Subnet(
        cidr=cidr,
        ranges=tuple(ranges),
        gateway=gateway.address,
        gateway_automatic=gateway.typed is None and request.gateway_automatic,
        aux=tuple((name, ip_address(text)) for name, text in aux),
    )
    return subnet, pool


def _first_free(cidr: Cidr, ranges: list[str], avoided: Iterable[Address]) -> Address | None:
    """The first free address of the ip-range, or else of the subnet, that the host does not have itself."""
    for places in (ranges or None, None):
        pool = Pool(cidr, ip_range=places)
        pool.avoid(_of_family(avoided, cidr.version))
        if pool.available:
            return pool.allocate()
        # Only reserved ends, and what the host has, are in the ip-range.
    return None


def _of_family(addresses: Iterable[Address], version: int) -> list[Address]:
    return [address for address in addresses if address.version == version]


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
        raise RangeInvalid(text, "it is neither a CIDR nor FIRST-LAST") from None
    for cidr in cidrs:
        if network.version == cidr.version and network.network_address in cidr:
            return cidr
    for cidr in cidrs:
        if network.version == cidr.version and network.overlaps(cidr):
            raise RangeInvalid(text, f"it is larger than subnet {cidr}")
    raise RangeInvalid(text, _outside(cidrs))


def _outside(cidrs: Sequence[Cidr]) -> str:
    return f"no subnet of the network contains it ({', '.join(map(str, cidrs))})" if cidrs else "no --subnet is given"


@dataclass(frozen=True, slots=True)
class Taken:
    """The addresses that one endpoint got, packed, with the subnets they are from."""

    packed: bytes | None
    subnet: Subnet | None
    packed6: bytes | None
    subnet6: Subnet | None

    @property
    def placed(self) -> list[tuple[bytes, Subnet]]:
        """Each address with its subnet."""
        both = ((self.packed, self.subnet), (self.packed6, self.subnet6))
        return [(packed, subnet) for packed, subnet in both if packed is not None and subnet is not None]


class NetworkPools:
    """The pools of one network within one transaction: read page by page as they are touched, written back by
    `save`. What the host has itself on the network's parent (`own`) is given to nobody, and no part of what is written.
    """

    def __init__(self, records: Records, network: Network, own: Iterable[Address] = ()) -> None:
        self._records = records
        self._network = network
        self._own = frozenset(own)
        rows = records.pools(network.id)
        self._rows: dict[int, list[PoolRow]] = {
            version: [row for row in rows if row.subnet.version == version] for version in (4, 6)
        }
        self._usable = {version: bool(network.usable_subnets(version)) for version in (4, 6)}
        self._pools: dict[int, Pool] = {}

    def take(self, ip: Address | None = None, ip6: Address | None = None) -> Taken:
        """One address of each family the network has, the given ones where they are given, or none at all.

        Raises:
            PoolExhausted, AddressTaken, AddressOutsideSubnet
        """
        packed, subnet = self._take_one(4, ip)
        try:
            packed6, subnet6 = self._take_one(6, ip6)
        except MacvfastError:
            if packed is not None and subnet is not None:
                self.give_back([(packed, subnet)])
            raise
        return Taken(packed, subnet, packed6, subnet6)

    def _take_one(self, version: int, wanted: Address | None) -> tuple[bytes | None, Subnet | None]:
        if not self._usable[version]:
            if wanted is not None:
                raise AddressOutsideSubnet(str(wanted), [], self._network.name)
            return None, None
        rows = self._rows[version]
        if wanted is not None:
            for row in rows:
                if wanted in row.subnet.cidr:
                    self._reserve(row, wanted)
                    return wanted.packed, row.subnet
            raise AddressOutsideSubnet(str(wanted), [str(row.subnet.cidr) for row in rows], self._network.name)
        for row in rows:
            try:
                return self._pool(row).allocate().packed, row.subnet
            except PoolExhausted:
                continue
        subnets, free_outside = [str(row.subnet.cidr) for row in rows], any(self._free(row) for row in rows)
        all_kept = not any(self._fresh(row).available for row in rows)
        raise PoolExhausted(subnets, self._network.name, f"IPv{version}", free_outside=free_outside, all_kept=all_kept)

    def _fresh(self, row: PoolRow) -> Pool:
        """The pool as it was before its first address was given."""
        subnet = row.subnet
        pool = Pool(subnet.cidr, ip_range=subnet.ranges or None, gateway=subnet.gateway, aux=dict(subnet.aux))
        pool.avoid(_of_family(self._own, subnet.version))
        return pool

    def _free(self, row: PoolRow) -> int:
        """How many addresses of a subnet `--ip` could still give."""
        pool = self._pool(row)
        return pool.free - sum(address in row.subnet.cidr and address not in pool for address in self._own)

    def _reserve(self, row: PoolRow, wanted: Address) -> None:
        pool = self._pool(row)
        try:
            pool.reserve(wanted)
        except AddressTaken:
            role = pool.role(wanted)
            if role is not None:
                raise AddressTaken(str(wanted), f"the {role} of {row.subnet.cidr}") from None
            if wanted in self._own:
                raise AddressTaken(str(wanted), f"this host's own, on `{self._network.link}`") from None
            sandbox = self._records.address_holder(self._network.id, wanted.packed)
            raise AddressTaken(
                str(wanted),
                f"held by sandbox `{sandbox}` on network `{self._network.name}`" if sandbox else "being released",
                hints=[f"leave the address out for the next free one, or `macvfast rm -f {sandbox}` first"]
                if sandbox
                else [],
            ) from None

    def give_back(self, placed: Iterable[tuple[bytes, Subnet]]) -> None:
        """Release addresses that `take` gave; one that is free already stays so."""
        for packed, subnet in placed:
            for row in self._rows[subnet.version]:
                if row.subnet.first == subnet.first:
                    self._pool(row).release(int.from_bytes(packed))

    def save(self) -> None:
        """Write what changed back into the transaction."""
        for rows in self._rows.values():
            for row in rows:
                pool = self._pools.get(row.subnet_id)
                if pool is not None:
                    store_pool(self._records, row.subnet_id, pool)

    def _pool(self, row: PoolRow) -> Pool:
        pool = self._pools.get(row.subnet_id)
        if pool is None:
            subnet = row.subnet
            pool = Pool.from_pages(
                subnet.cidr,
                ip_range=subnet.ranges or None,
                gateway=subnet.gateway,
                aux=dict(subnet.aux),
                order=self._network.order,
                used=row.used,
                used_in_ranges=row.used_in_ranges,
                cursor=row.cursor,
                summary=self._records.summary(row.subnet_id),
                fetch=lambda number: self._records.page(row.subnet_id, number),
            )
            if own := _of_family(self._own, subnet.version):
                pool.avoid(own)
            self._pools[row.subnet_id] = pool
        return pool


def store_pool(records: Records, subnet_id: int, pool: Pool) -> None:
    """Write a pool's changed pages and counters."""
    changes = pool.changes()
    records.save_pool(subnet_id, (changes.used, changes.used_in_ranges, changes.cursor), changes.pages, changes.summary)


def remake_pools(records: Records, network: Network) -> None:
    """Have the pools of a network follow its rules, which have changed; its endpoints keep their addresses. Cost: a
    look at each endpoint.

    Raises:
        AddressTaken: an endpoint has an address that the network is to keep.
    """
    endpoints = records.endpoints_on(network.id)
    for row in records.pools(network.id):
        subnet = row.subnet
        pool = Pool(
            subnet.cidr,
            ip_range=subnet.ranges or None,
            gateway=subnet.gateway,
            aux=dict(subnet.aux),
            order=network.order,
        )
        for endpoint in endpoints:
            for packed, theirs in endpoint.placed:
                if theirs.first == subnet.first:
                    _hold(pool, network, endpoint.sandbox, ip_address(packed))
        changes = pool.changes()
        cursor = row.cursor if network.order == "next" else changes.cursor
        records.forget_pages(row.subnet_id)
        counters = (changes.used, changes.used_in_ranges, cursor)
        records.save_pool(row.subnet_id, counters, changes.pages, changes.summary)


def _hold(pool: Pool, network: Network, sandbox: str, address: Address) -> None:
    """Take the address of an endpoint out of a pool that is made anew."""
    try:
        pool.reserve(address)
    except AddressTaken:
        raise AddressTaken(
            str(address),
            f"held by sandbox `{sandbox}` on network `{network.name}`",
            hints=[f"`macvfast network disconnect {network.name} {sandbox}` first, or keep another address"],
        ) from None
