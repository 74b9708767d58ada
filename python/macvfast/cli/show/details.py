"""Sandboxes as Docker inspects containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.text import Object, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable

    from macvfast.model import Endpoint, Sandbox, SandboxDetails

# Docker's keys in Docker's order, then ours.
INSPECTED = (
    "Id", "Created", "Path", "Args", "State", "Name", "RestartCount", "HostConfig", "Config", "NetworkSettings",
    "Origin", "Attachment",
)  # fmt: skip


def inspected(found: SandboxDetails) -> Object:
    """A sandbox as Docker's `inspect` prints a container. What an engine made has its Origin too, and what
    the engine knows it by.
    """
    sandbox = found.sandbox
    policy, _, most = found.restart.partition(":")
    known = {
        "Id": sandbox.id,
        "Created": rfc3339(sandbox.created_at),
        "Path": sandbox.command[0] if sandbox.command else "",
        "Args": list(sandbox.command[1:]),
        "State": Object(
            {
                "Status": sandbox.state.value,
                "Running": sandbox.state.active,
                "Restarting": sandbox.state.value == "restarting",
                "Pid": found.pid or 0,
                "ExitCode": sandbox.exit_code or 0,
            }
        ),
        "Name": sandbox.name,
        "RestartCount": found.restarts,
        "HostConfig": Object(
            {
                "RestartPolicy": Object({"Name": policy, "MaximumRetryCount": int(most or 0)}),
                "AutoRemove": sandbox.auto_remove,
            }
        ),
        "Config": Object(
            {
                "Hostname": found.hostname,
                "User": found.user or "",
                "Tty": found.tty,
                "OpenStdin": found.interactive,
                # Names only: values are often secret.
                "Env": list(found.variables),
                "Cmd": list(sandbox.command),
                "WorkingDir": found.workdir or "",
                "Rootfs": found.rootfs or "",
                "Labels": dict(sorted(sandbox.labels)),
            }
        ),
        "NetworkSettings": Object({"SandboxKey": sandbox.path, "Networks": _networks(sandbox.endpoints)}),
    }
    return Object(known | _of_engine(sandbox), {"Origin": sandbox.origin or "", "Attachment": Object({})})


def _of_engine(sandbox: Sandbox) -> dict[str, object]:
    """What an engine made, and what that knows it by."""
    found: dict[str, object] = {"Origin": sandbox.origin} if sandbox.origin else {}
    if (known := sandbox.attachment) is not None:
        found["Attachment"] = Object({"Conf": known.conf, "ContainerID": known.container, "Ifname": known.ifname})
    return found


def _networks(endpoints: Iterable[Endpoint]) -> dict[str, Object]:
    """Endpoints by network; further ones on a network with their link's name."""
    found: dict[str, Object] = {}
    for one in endpoints:
        key = one.network if one.network not in found else f"{one.network}/{one.ifname}"
        ip, ip6 = one.ip, one.ip6
        found[key] = Object(
            {
                "MacAddress": one.mac.hex(":"),
                "NetworkID": one.network_id,
                "EndpointID": one.id,
                "Gateway": str(one.gateway or ""),
                "IPAddress": "" if ip is None else str(ip.ip),
                "IPPrefixLen": 0 if ip is None else ip.network.prefixlen,
                "IPv6Gateway": str(one.gateway6 or ""),
                "GlobalIPv6Address": "" if ip6 is None else str(ip6.ip),
                "GlobalIPv6PrefixLen": 0 if ip6 is None else ip6.network.prefixlen,
                "GwPriority": "none" if one.gw_priority is None else one.gw_priority,
                # Docker has none of these.
                "Ifname": one.ifname,
                "Ifindex": one.ifindex,
                "Origin": one.origin or "",
            }
        )
    return found
