"""What Docker does not have any more: it forgets networks and endpoints whatever its driver answers, and without asking
where that is not there.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError
from macvfast.outcomes import Freed
from macvfast.plugins.docker import api, ipam, networks
from macvfast.plugins.docker.answers import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.host import Host
    from macvfast.model import Address, DockerPool, Network

# Docker lists a network, an endpoint and an address after its driver has made it: what is as young as that stays.
YOUNG_S = 60.0

_GONE = "Docker does not have it any more"


def collect(host: Host, path: str) -> list[Freed]:
    """Free what a host has for Docker, and an Engine has not; what was freed. What is younger than YOUNG_S stays.

    Only of an Engine that has some of it: another one, or Podman, may answer there, and has nothing of it.

    Args:
        host: open for Docker.
        path: the Engine's socket.

    Raises:
        NoAnswer: the Engine does not answer, and nothing was freed.
        Stranger: it has nothing of it, and nothing was freed.
    """
    # Before Docker is asked: what is made meanwhile stays.
    until = _young_from(YOUNG_S)
    recorded = {dict(one.labels).get(networks.ID, ""): one for one in host.networks() if one.origin == "docker"}
    there = api.endpoints(path, recorded.keys())
    has_pools = [pool for pool, _ in host.docker_pools()]
    used = api.ipam(path) if has_pools else []
    if not there and not any(_is_of(host, pool, one) for pool in has_pools for one in used):
        raise api.Stranger(f"the Engine at {path} has none of the networks that macvfast has for Docker")
    missing = sorted(_missing(host, recorded, there, until))
    freed = [_freed(host, recorded[network_id], network_id, id_) for network_id, id_ in missing]
    return freed + _free_pools(host, used, until)


def pools(host: Host, path: str, young_s: float) -> list[Freed]:
    """Free the pools and addresses that an Engine does not have; what was freed.

    Args:
        host: open for Docker.
        path: the Engine's socket.
        young_s: what it has requested in so many seconds stays: it lists a container after that has its address.

    Raises:
        NoAnswer: the Engine does not answer, and nothing was freed.
    """
    until = _young_from(young_s)
    return _free_pools(host, api.ipam(path), until)


def _young_from(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def _free_pools(host: Host, used: Sequence[api.Used], until: datetime) -> list[Freed]:
    ids: set[str] = set()
    known: set[tuple[str, Address]] = set()
    for pool, addresses in host.docker_pools():
        for one in used:
            if _is_of(host, pool, one):
                ids.add(pool.id)
                known |= {(pool.id, has.address) for has in addresses if has.address in one.addresses}
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


def _missing(
    host: Host, recorded: dict[str, Network], there: dict[str, set[str]], until: datetime
) -> Iterator[tuple[str, str]]:
    """The networks, and the endpoints of others, that Docker does not have, by its ids; of a network, no endpoint."""
    for id_, network in recorded.items():
        if id_ not in there:
            if network.created_at <= until:
                yield id_, ""
            continue
        since = dict.fromkeys((one.container for one in host.attachments(id_)), until)
        since |= {one.id: one.since for one in host.noted_endpoints(network)}
        yield from ((id_, one) for one in since.keys() - there[id_] if since[one] <= until)


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
