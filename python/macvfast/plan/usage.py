"""How full a network's subnets are: numbers, and a map of blocks. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast.outcomes import Block, Map, SubnetUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.model import Address, Cidr, Endpoint, Network, Subnet

# A map has at most that many blocks.
MAP_BLOCKS = 1024

# Of a larger subnet only that part is mapped in which there is anything: most of it can never be used.
_WHOLE_BITS = 24


@dataclass(frozen=True, slots=True)
class _Interval:
    first: int
    last: int

    def __contains__(self, value: int) -> bool:
        return self.first <= value <= self.last

    def meets(self, first: int, last: int) -> bool:
        """Whether one of the addresses from `first` to `last` is in it."""
        return self.first <= last and first <= self.last


def usage(network: Network, endpoints: Iterable[Endpoint], own: Iterable[Address] = ()) -> list[SubnetUsage]:
    """What is in use of each subnet, in the order they were given: by a network's endpoints, and by what the host
    itself has on the parent.
    """
    host = sorted(own, key=int)
    taken: dict[Cidr, set[int]] = {subnet.cidr: set() for subnet in network.subnets}
    for endpoint in endpoints:
        for packed, subnet in endpoint.placed:
            taken[subnet.cidr].add(int.from_bytes(packed))
    return [
        _of_subnet(subnet, taken[subnet.cidr], tuple(address for address in host if address in subnet.cidr))
        for subnet in network.subnets
    ]


def _of_subnet(subnet: Subnet, taken: set[int], own: tuple[Address, ...]) -> SubnetUsage:
    roles = {
        "in_use": taken,
        "gateway": set() if subnet.gateway is None else {int(subnet.gateway)},
        "aux": {int(address) for _, address in subnet.aux},
        "reserved": _reserved(subnet.cidr),
    }
    # What has another part as well is shown as that.
    roles["host"] = {int(address) for address in own}.difference(*roles.values())
    ranges = _ranges(subnet)
    gone = set().union(*roles.values())
    automatic_size = sum(interval.last - interval.first + 1 for interval in ranges)
    total = _block(subnet.cidr.num_addresses, {role: len(values) for role, values in roles.items()}, automatic=True)
    automatic_free = automatic_size - sum(any(value in interval for interval in ranges) for value in gone)
    return SubnetUsage(subnet, own, total, automatic_size, automatic_free, _map(subnet.cidr, roles, ranges))


def _block(size: int, counts: dict[str, int], *, automatic: bool) -> Block:
    return Block(size, **counts, automatic=automatic)


def _reserved(cidr: Cidr) -> set[int]:
    """What the subnet needs for itself: both ends in IPv4, the first in IPv6; nothing of two addresses or one."""
    if cidr.max_prefixlen - cidr.prefixlen < 2:
        return set()
    first = int(cidr.network_address)
    return {first, first + cidr.num_addresses - 1} if cidr.version == 4 else {first}


def _ranges(subnet: Subnet) -> list[_Interval]:
    """Where automatic allocation takes place: the ip-ranges united, or the subnet."""
    found = []
    for text in subnet.ranges or (str(subnet.cidr),):
        if "-" in text:
            first, last = (int(ip_address(end.strip())) for end in text.split("-"))
        else:
            cidr = ip_network(text)
            first, last = int(cidr.network_address), int(cidr.network_address) + cidr.num_addresses - 1
        found.append(_Interval(first, last))
    united: list[_Interval] = []
    for interval in sorted(found, key=lambda one: one.first):
        if united and interval.first <= united[-1].last + 1:
            united[-1] = _Interval(united[-1].first, max(united[-1].last, interval.last))
        else:
            united.append(interval)
    return united


def _map(cidr: Cidr, roles: dict[str, set[int]], ranges: Sequence[_Interval]) -> Map:
    part = _part(cidr, roles, ranges)
    first = int(part.network_address)
    size = max(1, part.num_addresses // MAP_BLOCKS)
    counts = {role: Counter((value - first) // size for value in values) for role, values in roles.items()}
    blocks = []
    for index in range(part.num_addresses // size):
        start = first + index * size
        automatic = any(interval.meets(start, start + size - 1) for interval in ranges)
        blocks.append(_block(size, {role: count[index] for role, count in counts.items()}, automatic=automatic))
    return Map(part, size, tuple(blocks))


def _part(cidr: Cidr, roles: dict[str, set[int]], ranges: Sequence[_Interval]) -> Cidr:
    """What of a subnet is mapped: all, or of a huge one the smallest prefix that holds what is in use and where the
    next address will come from.
    """
    bits = cidr.max_prefixlen - cidr.prefixlen
    if bits <= _WHOLE_BITS:
        return cidr
    spots = {*set().union(*roles.values()), *(interval.first for interval in ranges)}
    spots |= {interval.last for interval in ranges if interval.last - interval.first < 2**_WHOLE_BITS}
    differing = min(spots) ^ max(spots)
    # 256 at least, so that the map of a fresh network is not a single block.
    kept = max(8, differing.bit_length())
    return type(cidr)((min(spots) >> kept << kept, cidr.max_prefixlen - kept)) if kept < bits else cidr
