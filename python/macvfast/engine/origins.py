"""Remove all that an engine made: the way out where the engine itself is gone for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.engine.removal import RemovalOptions
from macvfast.outcomes import Freed

if TYPE_CHECKING:
    from macvfast.engine.detach import Detacher
    from macvfast.engine.network_removal import NetworkRemover
    from macvfast.state.store import Store


def remove_all(store: Store, detacher: Detacher, remover: NetworkRemover) -> list[Freed]:
    """Remove all that the engine made for which the state is open: its sandboxes, then its endpoints of other
    sandboxes, then its networks. Gives what was removed, or could not be.
    """
    origin = store.origin or ""
    reason = f"{origin} made it"
    with store.reading() as records:
        sandboxes = records.sandboxes_from(origin)
        networks = records.networks_from(origin)
    options = RemovalOptions(force=True)
    _, errors = detacher.remove([sandbox.id for sandbox in sandboxes], options)
    freed = [Freed(kind="sandbox", name=one.name, reason=reason, error=errors.get(one.id)) for one in sandboxes]
    with store.reading() as records:
        seen = [
            (box, endpoint)
            for endpoint in records.endpoints_from(origin)
            if endpoint.sandbox_id not in errors
            for box in records.sandbox(endpoint.sandbox_id)
        ]
    freed += [
        Freed(kind="endpoint", name=f"{box.name} on {endpoint.network}", reason=reason, error=error)
        for (box, endpoint), error in zip(seen, detacher.disconnect(seen, options), strict=True)
    ]
    outcomes = remover.remove_many([network.id for network in networks])
    return freed + [
        Freed(kind="network", name=network.name, reason=reason, error=outcome.error)
        for network, outcome in zip(networks, outcomes, strict=True)
    ]
