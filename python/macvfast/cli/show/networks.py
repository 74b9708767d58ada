"""Networks as Docker lists and inspects them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.lists import Shape
from macvfast.cli.show.tables import Column
from macvfast.cli.show.text import Object, addresses_json, count_text, created_at, labels_text, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.model import Endpoint, HeldAddresses, Network, NotedEndpoint, Subnet
    from macvfast.outcomes import SubnetUsage
    from macvfast.usage import NetworkUsage


def _has(network: Network, version: int) -> bool:
    return any(subnet.version == version for subnet in network.subnets)


def _said(value: bool) -> str:
    return "true" if value else "false"


def _in_use(one: NetworkUsage) -> str:
    """`2/252`, of each subnet: the addresses in use of those that are given automatically."""
    return ",".join(f"{pool.in_use}/{_capacity(pool.capacity)}" for pool in one.pools)


def _capacity(number: int) -> str:
    """Without commas, which stand between subnets."""
    return count_text(number).replace(",", "")


LISTED: Shape[NetworkUsage] = Shape(
    # Docker's keys, all as text, then ours.
    fields={
        "CreatedAt": lambda one: created_at(one.network.created_at),
        "Driver": lambda one: one.network.driver,
        "ID": lambda one: one.network.id,
        "IPv4": lambda one: _said(_has(one.network, 4)),
        "IPv6": lambda one: _said(one.network.ipv6),
        "Internal": lambda one: _said(one.network.internal),
        "Labels": lambda one: labels_text(one.network.labels),
        "Name": lambda one: one.network.name,
        "Scope": lambda _: "local",
        "Parent": lambda one: one.network.parent or "",
        "Subnets": lambda one: ",".join(str(subnet.cidr) for subnet in one.network.subnets),
    },
    extra={
        "Label": lambda one: dict(one.network.labels),
        "InUse": _in_use,
        "Origin": lambda one: one.network.origin or "",
    },
    # Docker's columns, then ours.
    columns={
        "ID": Column("NETWORK ID", goes=2),
        "Name": Column("NAME"),
        "Driver": Column("DRIVER", goes=3),
        "Scope": Column("SCOPE", goes=1),
        "Parent": Column("PARENT"),
        "Subnets": Column("SUBNETS", fold=","),
        "InUse": Column("IN USE", fold=",", goes=4),
        "Origin": Column("ORIGIN", rare=True),
    },
)

# Docker's keys in Docker's order, then ours.
INSPECTED = (
    "Name", "Id", "Created", "Scope", "Driver", "EnableIPv4", "EnableIPv6", "IPAM", "Internal", "Attachable", "Ingress",
    "ConfigFrom", "ConfigOnly", "Containers", "Options", "Labels", "Status",
    "Held", "Origin", "ID",
)  # fmt: skip


def inspected(
    network: Network, endpoints: Sequence[Endpoint], usage: Sequence[SubnetUsage], held: Sequence[HeldAddresses] = (),
    noted: Sequence[NotedEndpoint] = (),
) -> Object:  # fmt: skip
    """A network as Docker's `network inspect` prints it; its Containers are the sandboxes, by sandbox name, then the
    endpoints whose links an engine moves. What an engine made has its Origin too, and `Held` is what attachments have
    without an endpoint. Names that Go's templates have for fields are not in the JSON.
    """
    ordered = sorted(network.subnets, key=lambda subnet: subnet.version)
    fields = {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_at),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": _has(network, 4),
        "EnableIPv6": network.ipv6,
        "IPAM": Object(
            {"Driver": "default", "Options": _domain(network), "Config": [_config(subnet) for subnet in ordered]}
        ),
        "Internal": network.internal,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": Object({"Network": ""}),
        "ConfigOnly": False,
        "Containers": _containers(endpoints) | _noted(noted, endpoints),
        "Options": _sorted(network.options),
        "Labels": _sorted(network.labels),
        "Status": Object(
            {"IPAM": Object({"Subnets": dict(sorted((str(one.subnet.cidr), _status(one)) for one in usage))})}
        ),
        **({"Held": {one.attachment.path: Object(_addresses(one)) for one in held}} if held else {}),
        **_origin(network),
    }
    return Object(fields, {"ID": network.id, "Origin": "", "Held": {}})


def _domain(network: Network) -> dict[str, str]:
    """The layer-2 domain of its own, as `--ipam-opt` names it to Docker."""
    return {} if network.own_domain is None else {"domain": network.own_domain.partition(":")[2]}


def _addresses(one: HeldAddresses) -> dict[str, str]:
    return {"IPv4Address": str(one.ip or ""), "IPv6Address": str(one.ip6 or "")}


# Docker's counts are of 64 bits, and stop there.
_MOST = 2**64 - 1


def _status(usage: SubnetUsage) -> Object:
    """How full a subnet is, as Docker from 29 on shows it."""
    total = usage.total
    return Object(
        {
            "IPsInUse": min(total.size - total.free, _MOST),
            "DynamicIPsAvailable": min(usage.automatic_free, _MOST),
        }
    )


def _containers(endpoints: Iterable[Endpoint]) -> dict[str, object]:
    """Endpoints by the ids of their sandboxes; further ones of a sandbox as Docker keys what has no container."""
    found: dict[str, object] = {}
    for endpoint in endpoints:
        key = endpoint.sandbox_id if endpoint.sandbox_id not in found else f"ep-{endpoint.id}"
        found[key] = _container(endpoint)
    return found


def _origin(thing: Network | Endpoint) -> dict[str, object]:
    return {"Origin": thing.origin} if thing.origin else {}


def _config(subnet: Subnet) -> Object:
    """One subnet. Docker knows one ip-range of a subnet: several stand with commas between, as they were given."""
    config: dict[str, object] = {"Subnet": str(subnet.cidr)}
    if subnet.ranges:
        config["IPRange"] = ",".join(subnet.ranges)
    if subnet.gateway is not None:
        config["Gateway"] = str(subnet.gateway)
    aux = _sorted((name, str(address)) for name, address in subnet.aux)
    if aux:
        config["AuxiliaryAddresses"] = aux
    return Object(config, {"IPRange": "", "Gateway": "", "AuxiliaryAddresses": {}, "AuxAddress": aux})


def _sorted(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By key, as Docker prints a map: what two ways give in another order is shown the same."""
    return dict(sorted(pairs))


def _noted(noted: Iterable[NotedEndpoint], endpoints: Iterable[Endpoint]) -> dict[str, object]:
    """Endpoints that have no sandbox, keyed as Docker does it where there is no container."""
    shown = {address for endpoint in endpoints for address in (endpoint.ip, endpoint.ip6)}
    return {
        f"ep-{one.id}": Object(
            {
                "Name": "",
                "EndpointID": one.id,
                "MacAddress": one.mac.hex(":") if one.mac else "",
                "IPv4Address": _of_version(one, 4),
                "IPv6Address": _of_version(one, 6),
            },
            {"Routes": [], "GwPriority": 0, "Origin": ""},
        )
        for one in noted
        if shown.isdisjoint(one.addresses)
    }


def _of_version(noted: NotedEndpoint, version: int) -> str:
    return next((str(address) for address in noted.addresses if address.version == version), "")


def _container(endpoint: Endpoint) -> Object:
    # Docker has none of these here.
    own: dict[str, object] = {"Routes": [str(route) for route in endpoint.routes]} if endpoint.routes else {}
    if endpoint.gw_priority != 0:
        own["GwPriority"] = "none" if endpoint.gw_priority is None else endpoint.gw_priority
    fields = {
        "Name": endpoint.sandbox,
        "EndpointID": endpoint.id,
        **addresses_json(endpoint),
        **own,
        **_origin(endpoint),
    }
    return Object(fields, {"Routes": [], "GwPriority": 0, "Origin": ""})
