"""How full a network is: by the record, and by the addresses that this host has on its parent."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from macvfast.engine.carriers import own_addresses
from macvfast.errors import HomeNamespaceOther
from macvfast.ipam import fullness
from macvfast.kernel.netlink import Kernel
from macvfast.state import home, lookup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from macvfast.model import Address, Network
    from macvfast.outcomes import SubnetUsage
    from macvfast.state.records import PoolRow
    from macvfast.state.store import Store


def usage(store: Store, kernel: Kernel | None, network: str | Network) -> list[SubnetUsage]:
    """What is in use of each subnet of a network, in the order they were given. Outside the home namespace the host's
    own addresses are not counted.

    Args:
        store: the state.
        kernel: None: the running one, opened for this look alone, which needs no capability.
        network: itself, or its id, name or id prefix.
    """
    found = lookup.network(store, network) if isinstance(network, str) else network
    with nullcontext(kernel) if kernel is not None else closing(Kernel(changes=False)) as looked_at:
        try:
            home.is_here(store, looked_at)
            own = own_addresses(looked_at, found.link)
        except HomeNamespaceOther:
            own = ()
    with store.reading() as records:
        return [
            replace(
                fullness(row.subnet, records.taken(row.pool, row.subnet), records.kept(row.pool), own),
                held=_whose(row, records.held_in(row.pool).items()),
                remembered=_whose(
                    row, ((packed, one) for one in records.remembered_in(row.pool) for packed in one.addresses)
                ),
            )
            for row in records.pools(found.id)
        ]


def _whose(row: PoolRow, given: Iterable[tuple[bytes, object]]) -> tuple[tuple[Address, str], ...]:
    """Addresses of a subnet, in order, each with whose it is in words."""
    both = ((ip_address(packed), str(whose)) for packed, whose in given)
    return tuple(sorted((one for one in both if one[0] in row.subnet.cidr), key=lambda one: int(one[0])))
