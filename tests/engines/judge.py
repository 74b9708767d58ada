"""What an engine shows, what macvfast records and what the kernel has: of one container, and when all have gone."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.acceptance.support import filter_macs, listed
from tests.netns import wait_until

if TYPE_CHECKING:
    from tests.engines.engine import Engine


class Link(NamedTuple):
    """A link of a container: its MAC, and its addresses with prefix lengths; empty where it has none of a family."""

    mac: str
    ipv4: str
    ipv6: str


def in_kernel(engine: Engine, container: str) -> dict[str, Link]:
    """The links of a container but the loopback, by name, as the kernel has them."""
    found = {}
    for link in engine.namespace(container).ip_json("address", "show"):
        if link["link_type"] == "loopback":
            continue
        assert "UP" in link["flags"], link
        assert link["linkinfo"]["info_kind"] == "macvlan", link
        wide = [one for one in link["addr_info"] if one["scope"] == "global"]
        texts = {one["family"]: f"{one['local']}/{one['prefixlen']}" for one in wide}
        found[link["ifname"]] = Link(link["address"], texts.get("inet", ""), texts.get("inet6", ""))
    return found


def shown(engine: Engine, container: str, network: str) -> Link:
    """What the engine shows of a container on a network."""
    said = engine.endpoint(container, network)
    ipv4 = f"{said['IPAddress']}/{said['IPPrefixLen']}" if said["IPAddress"] else ""
    ipv6 = f"{said['GlobalIPv6Address']}/{said['GlobalIPv6PrefixLen']}" if said["GlobalIPv6Address"] else ""
    return Link(said["MacAddress"], ipv4, ipv6)


def recorded(engine: Engine, network: str) -> list[Link]:
    """What macvfast records on a network of the engine, in the order of addresses."""
    (said,) = json.loads(engine.lan.macvfast("network", "inspect", engine.recorded_name(network)))
    links = [Link(one["MacAddress"], one["IPv4Address"], one["IPv6Address"]) for one in said["Containers"].values()]
    return sorted(links, key=lambda link: int(ipaddress.ip_interface(link.ipv4 or link.ipv6)))


def agreed(engine: Engine, container: str, *networks: str, in_hosts: bool = True) -> list[Link]:
    """What a container has on its networks, which all three say alike, and which the router reaches. `in_hosts`: its
    /etc/hosts has it, too.
    """
    links = in_kernel(engine, container)
    found = [shown(engine, container, network) for network in networks]
    assert sorted(found) == sorted(links.values())
    hosts = engine.exec(container, "cat", "/etc/hosts")
    for network, link in zip(networks, found, strict=True):
        assert link in recorded(engine, network)
        for text in filter(None, (link.ipv4, link.ipv6)):
            address = text.partition("/")[0]
            assert address in hosts or not in_hosts or text == link.ipv6
            assert engine.lan.router.can_ping(address, timeout_s=5)
    assert engine.lan.macvfast("check") == ""
    return found


def engine_networks(engine: Engine) -> list[str]:
    """The networks that macvfast records of the engine."""
    return sorted(one["Name"] for one in listed(engine.lan, "network", "ls", "-f", f"origin={engine.name}"))


def attachments(engine: Engine) -> list[Any]:
    """What macvfast records of the engine's containers."""
    return listed(engine.lan, "ps", "-a", "-f", f"origin={engine.name}")


def nothing_left(engine: Engine) -> None:
    """Remove all containers and networks of the engine, by it; then nothing of them is anywhere."""
    containers = engine("ps", "--all", "--quiet").split()
    if containers:
        engine("rm", "--force", *containers)
    wait_until(lambda: not attachments(engine), what="the end of all attachments")
    wait_until(lambda: not filter_macs(engine.lan), what="the end of the links")
    for network in engine.own_networks():
        engine("network", "rm", network)
    engine.tidied()
    wait_until(lambda: not engine_networks(engine), what="the end of the networks")
    assert engine.lan.macvfast("check") == ""
    assert [name for name in engine.lan.host.link_names() if not name.startswith(("eth", "lo"))] == []
    assert engine.own_networks() == []
