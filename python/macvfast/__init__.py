"""Docker's macvlan networking for a Linux host, without Docker, at the kernel's own speed.

    from macvfast import EndpointRequest, Host

    with Host.open() as host:
        host.create_network("lan", subnets=["172.16.86.0/24"], gateways=["172.16.86.1"], parent="eth0")
        sandbox = host.create_sandbox("web", endpoints=[EndpointRequest.of("lan", ip="172.16.86.10")])

Importing this package is cheap; each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from macvfast.errors import MacvfastError
    from macvfast.host import Host
    from macvfast.ipam import Addresses, Pool
    from macvfast.model import Endpoint, Network, Route, Sandbox, SandboxState, Subnet
    from macvfast.outcomes import (
        Difference,
        FilesUnseen,
        Freed,
        LinkKept,
        LinkNeeded,
        LinkUnlikeName,
        NamespaceKept,
        Outcome,
        Outcomes,
        Plan,
        StartedByHand,
        Status,
        Step,
    )
    from macvfast.requests import CommandRequest, EndpointRequest, NetworkRequest, UpdateRequest

__version__ = "0.1.0"

_HOMES = {
    "Addresses": "ipam",
    "CommandRequest": "requests",
    "Difference": "outcomes",
    "Endpoint": "model",
    "EndpointRequest": "requests",
    "FilesUnseen": "outcomes",
    "Freed": "outcomes",
    "Host": "host",
    "LinkKept": "outcomes",
    "LinkNeeded": "outcomes",
    "LinkUnlikeName": "outcomes",
    "MacvfastError": "errors",
    "NamespaceKept": "outcomes",
    "Network": "model",
    "NetworkRequest": "requests",
    "Outcome": "outcomes",
    "Outcomes": "outcomes",
    "Plan": "outcomes",
    "Pool": "ipam",
    "Route": "model",
    "Sandbox": "model",
    "SandboxState": "model",
    "StartedByHand": "outcomes",
    "Status": "outcomes",
    "Step": "outcomes",
    "Subnet": "model",
    "UpdateRequest": "requests",
}

__all__ = [
    "Addresses",
    "CommandRequest",
    "Difference",
    "Endpoint",
    "EndpointRequest",
    "FilesUnseen",
    "Freed",
    "Host",
    "LinkKept",
    "LinkNeeded",
    "LinkUnlikeName",
    "MacvfastError",
    "NamespaceKept",
    "Network",
    "NetworkRequest",
    "Outcome",
    "Outcomes",
    "Plan",
    "Pool",
    "Route",
    "Sandbox",
    "SandboxState",
    "StartedByHand",
    "Status",
    "Step",
    "Subnet",
    "UpdateRequest",
    "__version__",
]


def __getattr__(name: str) -> object:
    """Load a public name on first use."""
    from importlib import import_module  # noqa: PLC0415

    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"macvfast.{_HOMES[name]}"), name)
