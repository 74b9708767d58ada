"""How full the pools of all networks are, by the record alone: for lists, of which a line costs next to nothing.

How full one network is, with the host's own addresses and a map, is in `fullness`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.state import lookup
from macvfast.usage import NetworkUsage, PoolUsage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.model import Subnet
    from macvfast.state.records import Kept, PoolRow, Records
    from macvfast.state.store import Store


def each_network(store: Store) -> Iterator[NetworkUsage]:
    """All networks, by name, as people count; see `lookup.pages`."""
    return lookup.pages(store, lambda records: records.network_order(), of_networks)


def of_networks(records: Records, numbers: Sequence[int]) -> list[NetworkUsage]:
    """Those of the networks that are there, in that order. Cost: of a subnet with ip-ranges, its pages in use."""
    found = records.networks_with_pools(numbers)
    kept = records.kept_in(list({row.pool for _, rows in found for row in rows}))
    return [
        NetworkUsage(network, tuple(_usage(records, row, kept[row.pool]) for row in rows)) for network, rows in found
    ]


def _usage(records: Records, row: PoolRow, kept: Sequence[Kept]) -> PoolUsage:
    subnet = row.subnet
    first = subnet.first
    ranges = _ranges(subnet)
    size = sum(high - low + 1 for low, high in ranges)
    if subnet.ranges:
        used = sum(records.used_within(row.pool, low - first, high - first) for low, high in ranges)
    else:
        used = row.used
    # What is in use, and not by an endpoint.
    numbers = {*subnet.ends, *(int(one.address) for one in kept)}
    others = sum(low <= number <= high for number in numbers for low, high in ranges)
    return PoolUsage(subnet, used - others, size - others)


def _ranges(subnet: Subnet) -> list[tuple[int, int]]:
    if not subnet.ranges:
        return [(subnet.first, subnet.last)]
    from macvfast.ipam.fullness import automatic_ranges  # noqa: PLC0415 - most lists need no allocator

    return automatic_ranges(subnet)
