"""Read all that is recorded at one moment, as what stands on what; of VLANs that others made, the kernel says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.engine.pool_usage import looked_up, of_networks, own_addresses
from macvfast.topology import arranged, links_of_others

if TYPE_CHECKING:
    from macvfast.kernel.netlink import Kernel
    from macvfast.state.store import Store
    from macvfast.topology import Topology


def topology(store: Store, kernel: Kernel | None) -> Topology:
    """Parents, networks and endpoints, without those that are only being made. `kernel`: as for `looked_up`."""
    own = own_addresses(store, kernel)
    with store.reading() as records:
        networks = of_networks(records, records.network_order(), own)
        endpoints = list(records.all_endpoints())
        made = records.made_parents()
        unconnected = records.unconnected()
    vlans = looked_up(store, kernel, lambda look: look.vlans(links_of_others(networks, made)))
    return arranged(networks, endpoints, made, unconnected, vlans)
