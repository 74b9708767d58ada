"""Read all that is recorded at one moment, as what stands on what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.engine.pool_usage import of_networks, own_addresses
from macvfast.topology import arranged

if TYPE_CHECKING:
    from macvfast.kernel.netlink import Kernel
    from macvfast.state.store import Store
    from macvfast.topology import Topology


def topology(store: Store, kernel: Kernel | None) -> Topology:
    """Parents, networks and endpoints, without those that are only being made. `kernel`: as for `own_addresses`."""
    own = own_addresses(store, kernel)
    with store.reading() as records:
        return arranged(
            of_networks(records, records.network_order(), own),
            records.all_endpoints(),
            records.made_parents(),
            records.unconnected(),
        )
