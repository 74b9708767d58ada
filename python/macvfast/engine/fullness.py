"""How full a network is here: what is recorded of it, and what this host itself has on its parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.engine.carriers import own_addresses
from macvfast.errors import HomeNamespaceOther
from macvfast.plan.usage import usage as of_network
from macvfast.state import home

if TYPE_CHECKING:
    from collections.abc import Iterable

    from macvfast.kernel.protocol import Kernel
    from macvfast.model import Endpoint, Network
    from macvfast.outcomes import SubnetUsage
    from macvfast.state.store import Store


def usage(store: Store, kernel: Kernel, network: Network, endpoints: Iterable[Endpoint]) -> list[SubnetUsage]:
    """What is in use of each subnet of a network, in the order they were given. In another namespace than the home
    namespace, the host's own addresses are not seen, and not counted.
    """
    try:
        home.is_here(store, kernel)
        own = own_addresses(kernel, network.link)
    except HomeNamespaceOther:
        own = ()
    return of_network(network, endpoints, own)
