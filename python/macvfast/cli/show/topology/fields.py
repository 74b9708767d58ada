"""The topology as JSON, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.pools import usage_fields
from macvfast.cli.show.text import addresses_json

if TYPE_CHECKING:
    from macvfast.topology import Link, NetworkOnLink, Topology


def fields(topology: Topology) -> dict[str, object]:
    """The topology as programs read it."""
    return {"Links": [_link(link) for link in topology.links], "Unconnected": list(topology.unconnected)}


def _link(link: Link) -> dict[str, object]:
    return {
        "Name": link.name,
        "Made": link.kind,
        "Vlan": link.vid,
        "Networks": [_network(one) for one in link.networks],
        "Links": [_link(upper) for upper in link.links],
    }


def _network(one: NetworkOnLink) -> dict[str, object]:
    network = one.network
    return {
        "Name": network.name,
        "ID": network.id,
        "Driver": network.driver,
        "Mode": network.mode,
        "Internal": network.internal,
        "Origin": network.origin,
        "Pools": [
            {**usage_fields(pool), "Gateway": None if pool.subnet.gateway is None else str(pool.subnet.gateway)}
            for pool in one.pools
        ],
        "Endpoints": [
            {"Sandbox": endpoint.sandbox, "Interface": endpoint.ifname, **addresses_json(endpoint)}
            for endpoint in one.endpoints
        ],
    }
