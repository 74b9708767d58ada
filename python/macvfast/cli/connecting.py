"""The commands that connect sandboxes to networks, and disconnect them."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import (
    NetworkKey,
    SandboxKey,
    cannot_be,
    check_some,
    is_number,
    option,
    repeated,
)
from macvfast.cli.sandbox_options import IFNAME, GwPriority, link_named, priority_of
from macvfast.errors import EndpointNotFound, SandboxNotFound


def _namespace_of(call: Call, param: Any, value: str | None) -> str | None:
    """The network namespace of a process, by its path."""
    if value is None:
        return None
    if not is_number(value, digits=10) or not int(value):
        raise cannot_be(call, param, value, "it is the number of a process")
    return f"/proc/{int(value)}/ns/net"


@command(
    "network connect",
    instead="one sandbox at a time: `macvfast network connect NETWORK {}` for the next",
    details="""\
With --netns or --pid, SANDBOX names a new sandbox for that namespace, or the sandbox that it already has. macvfast then
creates and removes only its own links in it.""",
    example="macvfast network connect --ip=172.16.86.10 pub_net web",
)
def connect(
    call: Call,
    network: NetworkKey,
    sandbox: SandboxKey,
    *,
    ip: Annotated[str | None, option("--ip ADDRESS", "IPv4 address (default: the lowest free one).")] = None,
    ip6: Annotated[str | None, option("--ip6 ADDRESS", "IPv6 address (default: the lowest free one).")] = None,
    mac_address: Annotated[
        str | None, option("--mac-address MAC", "MAC address (default: derived from the IP address).")
    ] = None,
    gw_priority: GwPriority = None,
    driver_opt: Annotated[
        list[str], repeated("--driver-opt KEY=VALUE", f"{IFNAME}=NAME: name of the link (default: ethN).")
    ],
    netns: Annotated[
        str | None, option("--netns PATH", "Path of an existing network namespace.", callback=check_some)
    ] = None,
    pid: Annotated[str | None, option("--pid PID", "Network namespace of a process.", callback=_namespace_of)] = None,
) -> int:
    """Connect a sandbox to a network."""
    if netns is not None and pid is not None:
        both = "options `--netns` and `--pid` cannot be given together"
        raise call.wrong(both, "each names the one namespace to connect")
    if not sandbox:
        raise call.wrong("SANDBOX was given nothing", "it is empty", "`macvfast ps -a` lists the sandboxes")
    from macvfast.requests import EndpointRequest  # noqa: PLC0415 - a list needs none

    request = EndpointRequest.of(
        network,
        sandbox,
        ip=ip,
        ip6=ip6,
        mac=mac_address,
        ifname=link_named(call, driver_opt),
        gw_priority=priority_of(call, gw_priority),
    )
    with call.host() as host:
        host.connect(request, netns=netns or pid)
    return 0


@command("network disconnect", example="macvfast network disconnect pub_net web")
def disconnect(
    call: Call,
    network: NetworkKey,
    sandbox: SandboxKey,
    *,
    force: Annotated[bool, option("-f, --force", "Ignore a missing sandbox or endpoint.")] = False,
) -> int:
    """Disconnect a sandbox from a network."""
    gone = (EndpointNotFound, SandboxNotFound) if force else ()
    with call.host() as host, suppress(*gone):
        host.disconnect(network, sandbox)
    return 0
