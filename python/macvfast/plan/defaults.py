"""Which of a sandbox's endpoints holds the default route of a family: by `gw_priority`, then by order of connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from macvfast.plan.steps import AddRoute, DeleteRoute

if TYPE_CHECKING:
    from collections.abc import Iterable

    from macvfast.model import Endpoint, Network

# Default routes that other endpoints hold, by family: what takes one away from its holder; None: it is not taken away.
Held = Mapping[int, Sequence[DeleteRoute] | None]


_EVERYWHERE = {4: bytes(4), 6: bytes(16)}


def default_families(network: Network, endpoint: Endpoint) -> set[int]:
    """The families (4, 6) in which the endpoint could hold its sandbox's default route."""
    if endpoint.gw_priority is None or network.as_reference:
        return set()
    families: set[int] = set()
    if network.has_default_route:
        routed = network.routed_by_link
        families = {subnet.version for _, subnet in endpoint.placed if subnet.gateway is not None or routed}
    if endpoint.routes:
        families |= {route.version for route in endpoint.routes if route.is_default}
    return families


def default_routes(network: Network, endpoint: Endpoint, family: int) -> list[AddRoute]:
    """The steps that make the endpoint hold the default route of a family: its own, or else the network's."""
    if endpoint.routes:
        own = [one for one in endpoint.routes if one.is_default and one.version == family]
        if own:
            return [AddRoute.of(endpoint.ifindex, one) for one in own]
    gateway = endpoint.gateway if family == 4 else endpoint.gateway6
    via = None if gateway is None or network.routed_by_link else gateway.packed
    return [AddRoute(endpoint.ifindex, _EVERYWHERE[family], 0, via)]


def goes_before(endpoint: Endpoint, holder: Endpoint) -> bool:
    """Whether an endpoint takes the default route over from one that was connected before it."""
    return (endpoint.gw_priority or 0) > (holder.gw_priority or 0)


def default_holders(endpoints: Iterable[tuple[Network, Endpoint]]) -> dict[int, tuple[Network, Endpoint]]:
    """Which of a namespace's endpoints, in the order of connection, holds the default route of each family."""
    holders: dict[int, tuple[Network, Endpoint]] = {}
    for network, endpoint in endpoints:
        for family in default_families(network, endpoint):
            if family not in holders or goes_before(endpoint, holders[family][1]):
                holders[family] = network, endpoint
    return holders


def held_by(network: Network, endpoint: Endpoint, holders: Mapping[int, tuple[Network, Endpoint] | None]) -> Held:
    """What a new endpoint finds held, and what it takes over.

    Args:
        network, endpoint: the new one.
        holders: by family; None: nobody knows whose the route is.
    """
    held: dict[int, Sequence[DeleteRoute] | None] = {}
    for family, holder in holders.items():
        takes = (
            holder is not None and family in default_families(network, endpoint) and goes_before(endpoint, holder[1])
        )
        held[family] = [DeleteRoute(one) for one in default_routes(*holder, family)] if holder and takes else None
    return held


def hand_over(
    endpoints: Sequence[tuple[Network, Endpoint]], leaving: Sequence[tuple[Network, Endpoint]]
) -> list[AddRoute]:
    """The default routes that other endpoints of a sandbox take over from those that leave.

    Args:
        endpoints: all of them, in the order of connection.
        leaving: those that leave; their links are gone.
    """
    gone = {endpoint.id for _, endpoint in leaving}
    before = default_holders(endpoints)
    after = default_holders(pair for pair in endpoints if pair[1].id not in gone)
    return [
        step
        for family, (network, endpoint) in sorted(after.items())
        if before[family][1].id in gone
        for step in default_routes(network, endpoint, family)
    ]
