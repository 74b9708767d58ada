"""How full a subnet is: what is in use of its pool, and by whom, as numbers and as a map of blocks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

from macvfast._core import Source
from macvfast.outcomes import Block, Map, SubnetUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from macvfast.model import Address, Cidr, Subnet
    from macvfast.state.records import Kept

# A map has at most that many blocks.
MAP_BLOCKS = 1024

# Of a larger subnet only that part is mapped in which there is anything: most of it can never be used.
_WHOLE_BITS = 24


def fullness(subnet: Subnet, taken: set[int], kept: Iterable[Kept] = (), own: Iterable[Address] = ()) -> SubnetUsage:
    """What is in use of a network's subnet.

    Args:
        subnet: one of the network.
        taken: what endpoints have of its pool, this network's or another's.
        kept: what all networks of the pool keep, and what is reserved.
        own: what the host itself has on the parent.
    """
    # The addresses that are not free, each with one part: the fields of `Block`.
    roles = {
        "in_use": taken,
        "gateway": set() if subnet.gateway is None else {int(subnet.gateway)},
        "aux": {int(address) for _, address in subnet.aux},
        "reserved": set(subnet.ends),
    }
    kept = tuple(kept)
    for one in kept:
        # The same address may be this network's own under another name.
        if not any(int(one.address) in values for values in roles.values()):
            role = "gateway" if one.role == "gateway" else "reserved" if one.network is None else "aux"
            roles[role].add(int(one.address))
    host = tuple(sorted((address for address in own if address in subnet.cidr), key=int))
    # What has another part as well is shown as that.
    roles["host"] = {int(address) for address in host}.difference(*roles.values())
    ranges = automatic_ranges(subnet)
    used = sorted(set().union(*roles.values()))
    size = sum(last - first + 1 for first, last in ranges)
    return SubnetUsage(
        subnet=subnet,
        own=host,
        total=Block(subnet.cidr.num_addresses, **{role: len(there) for role, there in roles.items()}, automatic=True),
        automatic_size=size,
        automatic_free=size - sum(_meets(ranges, number, number) for number in used),
        automatic_run=_longest_run(used, ranges),
        map=_map(subnet.cidr, roles, ranges),
        reservations=tuple((one.address, one.role) for one in kept if one.network is None),
    )


def automatic_ranges(subnet: Subnet) -> list[tuple[int, int]]:
    """Where automatic allocation takes place: the first and the last address of each range, sorted, and apart."""
    return Source(subnet.cidr, ip_range=subnet.ranges, order="lowest", begin=0, avoid=()).ranges


def _longest_run(taken: Sequence[int], ranges: Sequence[tuple[int, int]]) -> int:
    """How many numbers in a row, at the most, are in one of the ranges and not taken, which is sorted."""
    longest = 0
    for first, last in ranges:
        within = taken[bisect_left(taken, first) : bisect_right(taken, last)]
        runs = (after - before - 1 for before, after in pairwise([first - 1, *within, last + 1]))
        longest = max(longest, *runs)
    return longest


def _map(cidr: Cidr, roles: Mapping[str, set[int]], ranges: Sequence[tuple[int, int]]) -> Map:
    part = _part(cidr, roles, ranges)
    first = int(part.network_address)
    size = max(1, part.num_addresses // MAP_BLOCKS)
    counts = {role: Counter((value - first) // size for value in values) for role, values in roles.items()}
    # Most blocks have nothing in them, and are one of two.
    filled = set().union(*counts.values())
    empty = [Block(size, **dict.fromkeys(roles, 0), automatic=automatic) for automatic in (False, True)]
    blocks = []
    for index in range(part.num_addresses // size):
        start = first + index * size
        automatic = _meets(ranges, start, start + size - 1)
        of_block = {role: count[index] for role, count in counts.items()} if index in filled else None
        blocks.append(empty[automatic] if of_block is None else Block(size, **of_block, automatic=automatic))
    return Map(part, size, tuple(blocks))


def _meets(ranges: Sequence[tuple[int, int]], first: int, last: int) -> bool:
    """Whether one of the ranges, which are sorted and apart, has a number from `first` to `last`."""
    before = bisect_right(ranges, last, key=itemgetter(0))
    return before > 0 and ranges[before - 1][1] >= first


def _part(cidr: Cidr, roles: Mapping[str, set[int]], ranges: Sequence[tuple[int, int]]) -> Cidr:
    """What of a subnet is mapped: all, or of a huge one the smallest prefix that holds what is in use and where the
    next address will come from.
    """
    bits = cidr.max_prefixlen - cidr.prefixlen
    if bits <= _WHOLE_BITS:
        return cidr
    spots = {*set().union(*roles.values()), *(low for low, _ in ranges)}
    spots |= {high for low, high in ranges if high - low < 2**_WHOLE_BITS}
    differing = min(spots) ^ max(spots)
    # 256 at least, so that the map of a fresh network is not a single block.
    kept = max(8, differing.bit_length())
    return type(cidr)((min(spots) >> kept << kept, cidr.max_prefixlen - kept)) if kept < bits else cidr
