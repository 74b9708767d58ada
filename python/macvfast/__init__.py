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
    from macvfast.model import (
        Attachment,
        DockerAddress,
        DockerPool,
        Endpoint,
        HeldAddresses,
        Network,
        NotedEndpoint,
        Route,
        Sandbox,
        SandboxDetails,
        SandboxState,
        Subnet,
    )
    from macvfast.outcomes import (
        Adoption,
        Block,
        Calls,
        Difference,
        FilesUnseen,
        Freed,
        LinkKept,
        LinkNeeded,
        LinkUnlikeName,
        Map,
        NamespaceKept,
        Outcome,
        Outcomes,
        Plan,
        Replacement,
        Scaled,
        ServerStatus,
        StartedByHand,
        Status,
        Step,
        SubnetUsage,
    )
    from macvfast.requests import (
        CommandRequest,
        EndpointRequest,
        NetworkRequest,
        OpenNetns,
        OwnFiles,
        PluginRequest,
        SandboxRequest,
        UpdateRequest,
    )
    from macvfast.topology import Link, NetworkOnLink, Topology
    from macvfast.usage import NetworkUsage, PoolUsage

__version__ = "0.1.0"

# The public names, by the module that each is loaded from.
_HOMES = {
    "errors": ("MacvfastError",),
    "host": ("Host",),
    "ipam": ("Addresses", "Pool"),
    "model": (
        "Attachment", "DockerAddress", "DockerPool", "Endpoint", "HeldAddresses", "Network", "NotedEndpoint", "Route",
        "Sandbox", "SandboxDetails", "SandboxState", "Subnet",
    ),
    "outcomes": (
        "Adoption", "Block", "Calls", "Difference", "FilesUnseen", "Freed", "LinkKept", "LinkNeeded",
        "LinkUnlikeName", "Map", "NamespaceKept", "Outcome", "Outcomes", "Plan", "Replacement", "Scaled",
        "ServerStatus", "StartedByHand", "Status", "Step", "SubnetUsage",
    ),
    "requests": (
        "CommandRequest", "EndpointRequest", "NetworkRequest", "OpenNetns", "OwnFiles", "PluginRequest",
        "SandboxRequest", "UpdateRequest",
    ),
    "topology": ("Link", "NetworkOnLink", "Topology"),
    "usage": ("NetworkUsage", "PoolUsage"),
}  # fmt: skip

__all__ = [
    "Addresses", "Adoption", "Attachment", "Block", "Calls", "CommandRequest", "Difference", "DockerAddress",
    "DockerPool", "Endpoint", "EndpointRequest", "FilesUnseen", "Freed", "HeldAddresses", "Host", "Link", "LinkKept",
    "LinkNeeded", "LinkUnlikeName", "MacvfastError", "Map", "NamespaceKept", "Network", "NetworkOnLink",
    "NetworkRequest", "NetworkUsage", "NotedEndpoint", "OpenNetns", "Outcome", "Outcomes", "OwnFiles", "Plan",
    "PluginRequest", "Pool", "PoolUsage", "Replacement", "Route", "Sandbox", "SandboxDetails", "SandboxRequest",
    "SandboxState", "Scaled", "ServerStatus", "StartedByHand", "Status", "Step", "Subnet", "SubnetUsage", "Topology",
    "UpdateRequest", "__version__",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Load a public name on first use."""
    from importlib import import_module  # noqa: PLC0415

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"macvfast.{home}"), name)
    raise AttributeError(name)
