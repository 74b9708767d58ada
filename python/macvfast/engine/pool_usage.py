"""How full the pools of all networks are: for lists, of which a line costs next to nothing.

They are counted by the record, and by the host's own addresses, which are read once per list. How full one network is,
with a map, is in `fullness`.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, TypeVar

from macvfast.errors import MacvfastError
from macvfast.state import home, lookup
from macvfast.usage import NetworkUsage, PoolUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from macvfast.kernel.look import Look
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Subnet
    from macvfast.state.records import Kept, PoolRow, Records
    from macvfast.state.store import Store

    # The packed addresses that the host has, by the names of its links.
    Own = Mapping[str, Collection[bytes]]

T = TypeVar("T")


def each_network(store: Store, kernel: Kernel | None) -> Iterator[NetworkUsage]:
    """All networks, by name, as people count; see `lookup.pages`. `kernel` is as for `looked_up`."""
    own = cache(lambda: own_addresses(store, kernel))
    return lookup.pages(store, lambda records: records.network_order(), partial(_page, own))


def own_addresses(store: Store, kernel: Kernel | None) -> Own:
    """What the host itself has on its links; `kernel` is as for `looked_up`."""
    return looked_up(store, kernel, lambda look: look.own_addresses())


def looked_up(store: Store, kernel: Kernel | None, of: Callable[[Kernel | Look], dict[str, T]]) -> dict[str, T]:
    """What the kernel says for a list; nothing where this process cannot ask it, or is outside the home namespace.

    Args:
        store: the state.
        kernel: None: the running one, opened for this look alone, which needs no capability.
        of: asks it.
    """
    from macvfast.kernel.look import Look  # noqa: PLC0415 - many lists have no network

    try:
        with nullcontext(kernel) if kernel is not None else closing(Look()) as look:
            home.is_here(store, look)
            return of(look)
    except MacvfastError:
        return {}


def of_networks(records: Records, numbers: Sequence[int], own: Own) -> list[NetworkUsage]:
    """Those of the networks that are there, in that order. Cost: of a subnet with ip-ranges, or in which the host has
    an address, its pages in use.
    """
    found = records.networks_with_pools(numbers)
    kept = records.kept_in(list({row.pool for _, rows in found for row in rows}))
    return [
        NetworkUsage(network, tuple(_usage(records, row, kept[row.pool], own.get(network.link, ())) for row in rows))
        for network, rows in found
    ]


def _page(own: Callable[[], Own], records: Records, numbers: Sequence[int]) -> list[NetworkUsage]:
    return of_networks(records, numbers, own())


def _usage(records: Records, row: PoolRow, kept: Sequence[Kept], own: Collection[bytes]) -> PoolUsage:
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
    hosts = {
        number
        for number in _numbers(subnet, own) - numbers
        if any(low <= number <= high for low, high in ranges)
        # What an endpoint has as well is in use.
        and not (used > others and records.used_within(row.pool, number - first, number - first))
    }
    return PoolUsage(subnet, used - others, size - others - len(hosts))


def _numbers(subnet: Subnet, own: Collection[bytes]) -> set[int]:
    """Those of the addresses that are in the subnet."""
    length = 4 if subnet.version == 4 else 16
    numbers = {int.from_bytes(packed, "big") for packed in own if len(packed) == length}
    return {number for number in numbers if subnet.first <= number <= subnet.last}


def _ranges(subnet: Subnet) -> list[tuple[int, int]]:
    if not subnet.ranges:
        return [(subnet.first, subnet.last)]
    from macvfast.ipam.fullness import automatic_ranges  # noqa: PLC0415 - most lists need no allocator

    return automatic_ranges(subnet)
