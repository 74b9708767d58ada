"""Networks as Docker lists and inspects them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.lists import Shape
from macvfast.cli.show.tables import Column
from macvfast.cli.show.text import SHORT_ID, created_at, labels_text, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.model import Endpoint, Network, Subnet


def _fields(network: Network, whole: bool) -> dict[str, object]:
    """Docker's keys, all as text."""
    return {
        "CreatedAt": created_at(network.created_at),
        "Driver": network.driver,
        "ID": network.id if whole else network.id[:SHORT_ID],
        "IPv4": _said(_has(network, 4)),
        "IPv6": _said(network.ipv6),
        "Internal": _said(network.internal),
        "Labels": labels_text(network.labels),
        "Name": network.name,
        "Scope": "local",
    }


def _besides(network: Network) -> dict[str, object]:
    return {"Label": dict(network.labels), "Parent": network.parent or "", "Subnets": _subnets(network)}


def _row(network: Network, whole: bool) -> tuple[str, ...]:
    return (
        network.id if whole else network.id[:SHORT_ID],
        network.name,
        network.driver,
        "local",
        network.parent or "",
        _subnets(network),
    )


def _subnets(network: Network) -> str:
    return ",".join(str(subnet.cidr) for subnet in network.subnets)


def _has(network: Network, version: int) -> bool:
    return any(subnet.version == version for subnet in network.subnets)


def _said(value: bool) -> str:
    return "true" if value else "false"


LISTED: Shape[Network] = Shape(
    # Docker's columns, then ours.
    columns=(
        Column("NETWORK ID"),
        Column("NAME", fold=" "),
        Column("DRIVER"),
        Column("SCOPE"),
        Column("PARENT", fold=" "),
        Column("SUBNETS", fold=","),
    ),
    row=_row,
    fields=_fields,
    besides=_besides,
    names=(
        "CreatedAt", "Driver", "ID", "IPv4", "IPv6", "Internal", "Label", "Labels", "Name", "Scope",
        "Parent", "Subnets",
    ),
    headers={"ID": "NETWORK ID", "CreatedAt": "CREATED AT"},
)  # fmt: skip

# Docker's keys in Docker's order.
INSPECTED = (
    "Name", "Id", "Created", "Scope", "Driver", "EnableIPv4", "EnableIPv6", "IPAM", "Internal", "Attachable", "Ingress",
    "ConfigFrom", "ConfigOnly", "Containers", "Options", "Labels",
)  # fmt: skip


def inspected(network: Network, endpoints: Sequence[Endpoint]) -> dict[str, object]:
    """A network as Docker's `network inspect` prints it; its Containers are the sandboxes, by sandbox name."""
    ordered = sorted(network.subnets, key=lambda subnet: subnet.version)
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_at),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": _has(network, 4),
        "EnableIPv6": network.ipv6,
        "IPAM": {"Driver": "default", "Options": {}, "Config": [_config(subnet) for subnet in ordered]},
        "Internal": network.internal,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {endpoint.sandbox_id: _container(endpoint) for endpoint in endpoints},
        "Options": _sorted(network.options),
        "Labels": _sorted(network.labels),
    }


def _config(subnet: Subnet) -> dict[str, object]:
    """One subnet. Docker knows one ip-range of a subnet: several stand with commas between, as they were given."""
    config: dict[str, object] = {"Subnet": str(subnet.cidr)}
    if subnet.ranges:
        config["IPRange"] = ",".join(subnet.ranges)
    if subnet.gateway is not None:
        config["Gateway"] = str(subnet.gateway)
    if subnet.aux:
        config["AuxiliaryAddresses"] = _sorted((name, str(address)) for name, address in subnet.aux)
    return config


def _sorted(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By key, as Docker prints a map: what two ways give in another order is shown the same."""
    return dict(sorted(pairs))


def _container(endpoint: Endpoint) -> dict[str, object]:
    return {
        "Name": endpoint.sandbox,
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac.hex(":"),
        "IPv4Address": str(endpoint.ip or ""),
        "IPv6Address": str(endpoint.ip6 or ""),
    }
