"""What the tests in the virtual machine share. They speak to macvfast through its Python API where they can: a command
takes seconds there.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.errors import MacvfastError
from macvfast.requests import EndpointRequest
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from macvfast.model import Network
    from macvfast.outcomes import LinkKept
    from tests.netns import Lan, Netns

ADVERTISED = "2001:db8:abc4::/64"

RADVD = """interface lan0.218 {
  AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 0;
  prefix %s { AdvOnLink on; AdvAutonomous on; };
};
"""


def create(lan: Lan, name: str, *subnets: str, **rest: Any) -> Network:
    """Make a network."""
    return lan.api(lambda host: host.create_network(name, subnets=subnets, **rest))


def refused(lan: Lan, name: str, *subnets: str, **rest: Any) -> MacvfastError:
    """Ask for a network that must be refused; the error."""

    def ask() -> MacvfastError:
        with pytest.raises(MacvfastError) as caught:
            create(lan, name, *subnets, **rest)
        return caught.value

    return ask()


def remove(lan: Lan, *networks: str) -> list[LinkKept]:
    """Remove networks; what was told of links that stay."""
    notes: list[LinkKept] = []

    def ask() -> None:
        def removing(host: Any) -> None:
            host.on_note = notes.append
            host.remove_networks(networks).raise_if_any()

        lan.api(removing)

    ask()
    return notes


def sandbox(lan: Lan, name: str, *networks: str, ip: str | None = None, ip6: str | None = None) -> Netns:
    """Make a sandbox on networks; the addresses are those on the first."""
    first = [EndpointRequest.of(networks[0], ip=ip, ip6=ip6)] if networks else []
    endpoints = [*first, *(EndpointRequest.of(network) for network in networks[1:])]
    lan.api(lambda host: host.create_sandbox(name, endpoints=endpoints))
    return lan.sandbox(name)


def link(netns: Netns, ifname: str) -> dict[str, Any]:
    """One link with its addresses, as `ip -json -details` shows it."""
    (shown,) = netns.ip_json("address", "show", "dev", ifname)
    return shown


def kind(shown: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A link's kind, and what belongs to that alone."""
    return shown["linkinfo"]["info_kind"], shown["linkinfo"].get("info_data", {})


def addresses(netns: Netns, ifname: str = "eth0", scope: str = "global") -> list[str]:
    """The addresses of one scope on a link, both families."""
    found = [one for one in link(netns, ifname)["addr_info"] if one["scope"] == scope]
    return [f"{one['local']}/{one['prefixlen']}" for one in found]


def defaults(netns: Netns) -> dict[int, list[tuple[str | None, str]]]:
    """The default routes of both families: gateway and link."""
    return {
        family: [
            (route.get("gateway"), route["dev"]) for route in netns.ip_json(f"-{family}", "route", "show", "default")
        ]
        for family in (4, 6)
    }


def router_vlan(lan: Lan, vid: int, *its_addresses: str) -> None:
    """Let the router speak on a VLAN of the wire, as `lan0.VID`."""
    ifname = f"lan0.{vid}"
    lan.router.ip_batch(
        f"link add link lan0 name {ifname} type vlan id {vid}",
        *(f"address add {one} dev {ifname}{' nodad' if ':' in one else ''}" for one in its_addresses),
        f"link set {ifname} up",
    )


@contextlib.contextmanager
def advertising(lan: Lan, directory: Path) -> Iterator[None]:
    """The router advertises a prefix on VLAN 218, and does not offer itself as a gateway, as in the guide's output."""
    lan.router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
    ready = "the router's link-local address"
    wait_until(lambda: link(lan.router, "lan0.218")["addr_info"][-1].get("tentative") is None, what=ready)
    (directory / "radvd.conf").write_text(RADVD % ADVERTISED)
    daemon = lan.router.start(
        "radvd", "-n", "-m", "stderr", "-C", directory / "radvd.conf", "-p", directory / "radvd.pid"
    )
    try:
        yield
    finally:
        daemon.terminate()
        daemon.communicate()


def reach(netns: Netns, targets: Sequence[str]) -> list[str]:
    """Those of the addresses that answer a ping."""
    return [target for target in targets if netns.can_ping(target, timeout_s=2)]
