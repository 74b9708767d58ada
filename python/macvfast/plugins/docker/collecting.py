"""What Docker does not have any more: it forgets networks and endpoints whatever its driver answers, and without asking
where that is not there.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError
from macvfast.outcomes import Freed
from macvfast.plugins.docker import api, ipam, networks
from macvfast.plugins.docker.answers import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from macvfast.host import Host
    from macvfast.model import Address, DockerPool, Network

# Docker lists an endpoint a moment after its driver has made it: what is missing is looked for once more.
_AGAIN_S = 1.0

# What Docker has requested in the last minute may belong to what it does not list yet.
YOUNG_S = 60.0

_GONE = "Docker does not have it any more"


def collect(host: Host, path: str) -> list[Freed]:
    """Free the networks and endpoints of a host that an Engine does not have; what was freed.

    Args:
        host: open for Docker.
        path: the Engine's socket.

    Raises:
        NoAnswer: the Engine does not answer, and nothing was freed.
    """
    # Before Docker is asked: what is made meanwhile stays.
    recorded = {dict(one.labels).get(networks.ID, ""): one for one in host.networks() if one.origin == "docker"}
    missing = set(_missing(host, recorded, api.endpoints(path)))
    if missing:
        time.sleep(_AGAIN_S)
        missing &= set(_missing(host, recorded, api.endpoints(path)))
    freed = [_freed(host, recorded[network_id], network_id, id_) for network_id, id_ in sorted(missing)]
    return freed + pools(host, path)


def pools(host: Host, path: str, young_s: float = YOUNG_S) -> list[Freed]:
    """Free the pools and addresses that an Engine does not have; what was freed.

    Args:
        host: open for Docker.
        path: the Engine's socket.
        young_s: what it has requested in so many seconds stays: it lists a container after that has its address.

    Raises:
        NoAnswer: the Engine does not answer, and nothing was freed.
    """
    until = datetime.now(UTC) - timedelta(seconds=young_s)
    if not host.docker_pools():
        return []
    used = api.ipam(path)
    ids: set[str] = set()
    known: set[tuple[str, Address]] = set()
    for pool, addresses in host.docker_pools():
        for one in used:
            if _is_of(host, pool, one):
                ids.add(pool.id)
                known |= {(pool.id, has.address) for has in addresses if _has(one, has.address)}
    return [Freed(kind="address", name=one, reason=_GONE) for one in host.free_docker(known, ids, until)]


def _is_of(host: Host, pool: DockerPool, used: api.Used) -> bool:
    """Whether a network of the Engine has a pool."""
    try:
        domain, parent = ipam.domain_of(used.options)
        if pool.domain != (domain or host.domain_of_parent(parent)):
            return False
        return any(ip_network(subnet) == pool.cidr for subnet, _ in used.pools if subnet)
    except (Refused, ValueError):
        return False


def _has(used: api.Used, address: Address) -> bool:
    return any(one and ip_address(one) == address for one in used.addresses)


def _missing(host: Host, recorded: dict[str, Network], there: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """The networks, and the endpoints of others, that Docker does not have, by its ids; of a network, no endpoint."""
    for id_, network in recorded.items():
        if id_ not in there:
            yield id_, ""
            continue
        known = {one.id for one in host.noted_endpoints(network)} | {one.container for one in host.attachments(id_)}
        yield from ((id_, one) for one in known - there[id_])


def _freed(host: Host, network: Network, network_id: str, id_: str) -> Freed:
    error = None
    try:
        if id_:
            host.detach([networks.attachment_of(network_id, id_)])[0].result()
            host.forget_endpoint(id_)
        else:
            networks.remove(host, network_id)
    except MacvfastError as failed:
        error = failed
    name = f"{id_[:12]} on {network.name}" if id_ else network.name
    return Freed(kind="endpoint" if id_ else "network", name=name, reason=_GONE, error=error)
