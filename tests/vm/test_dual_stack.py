"""Both families on a VLAN: the guide's example, and what a router's advertisements add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.netns import wait_until
from tests.vm.support import ADVERTISED, addresses, advertising, create, defaults, link, reach, router_vlan, sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("vlan", "macvlan", "ipv6", "radvd")


def the_guides_network(lan: Lan) -> None:
    """VLAN 218 with the guide's two gateways of IPv4 and one of IPv6, and its network, typed."""
    router_vlan(lan, 218, "192.168.216.1/24", "192.168.218.1/24", "2001:db8:abc8::10/64")
    lan.macvfast(
        "network", "create", "-d", "macvlan", "--subnet=192.168.216.0/24", "--subnet=192.168.218.0/24",
        "--gateway=192.168.216.1", "--gateway=192.168.218.1",
        "--subnet=2001:db8:abc8::/64", "--gateway=2001:db8:abc8::10",
        "-o", "parent=eth0.218", "-o", "macvlan_mode=bridge", "macvlan216",
    )  # fmt: skip


def advertisements(netns: Netns) -> int:
    """How many advertisements the IPv6 of a namespace has received, taken or not."""
    for line in netns.run("cat", "/proc/net/snmp6").splitlines():
        name, count = line.split()
        if name == "Icmp6InRouterAdvertisements":
            return int(count)
    raise AssertionError


def made_from(mac: str) -> str:
    """The advertised prefix with the interface identifier of RFC 4291, appendix A."""
    first, *rest = bytes.fromhex(mac.replace(":", ""))
    eui = bytes([first ^ 2, *rest[:2], 0xFF, 0xFE, *rest[2:]]).hex()
    return "2001:db8:abc4:0:" + ":".join(f"{int(eui[at : at + 4], 16):x}" for at in range(0, 16, 4)) + "/64"


def test_the_guides_dual_stack_example_has_both_default_routes_and_what_the_router_adds(
    lan: Lan, tmp_path: Path
) -> None:
    the_guides_network(lan)
    first = sandbox(lan, "macnet216_test", "macvlan216", ip="192.168.216.10")
    second = sandbox(lan, "macnet218_test", "macvlan216", ip="192.168.218.10")
    for box, subnet, last in ((first, 216, 1), (second, 218, 2)):
        assert addresses(box) == [f"192.168.{subnet}.10/24", f"2001:db8:abc8::{last}/64"]
        assert defaults(box) == {4: [(f"192.168.{subnet}.1", "eth0")], 6: [("2001:db8:abc8::10", "eth0")]}
        ours = next(one for one in link(box, "eth0")["addr_info"] if one["local"] == f"2001:db8:abc8::{last}")
        assert (ours.get("nodad"), ours.get("tentative")) == (True, None), "usable at once"
        gateways = [f"192.168.{subnet}.1", "2001:db8:abc8::10"]
        assert reach(box, gateways) == gateways
    third = sandbox(lan, "third", "macvlan216", ip="192.168.216.11")
    assert reach(third, ["192.168.216.10", "2001:db8:abc8::2"]) == ["192.168.216.10", "2001:db8:abc8::2"]
    with advertising(lan, tmp_path):
        expected = made_from("02:42:c0:a8:d8:0b")
        assert expected == "2001:db8:abc4:0:42:c0ff:fea8:d80b/64"
        wait_until(lambda: expected in addresses(third), 60, what="the address from the advertisement")
        assert set(addresses(third)) == {"192.168.216.11/24", "2001:db8:abc8::3/64", expected}
        routes = third.ip_json("-6", "route", "show")
        assert {(route["dst"], route.get("gateway")) for route in routes if route["dst"] != "fe80::/64"} == {
            (ADVERTISED, None), ("2001:db8:abc8::/64", None), ("default", "2001:db8:abc8::10"),
        }  # fmt: skip


def test_nothing_is_taken_from_advertisements_where_the_network_says_so(lan: Lan, tmp_path: Path) -> None:
    router_vlan(lan, 218)
    networks: dict[str, dict[str, Any]] = {
        "off": {"ipv6_ra": False, "gateways": ["2001:db8:1::1"]},
        "internal": {"internal": True},
        "bare": {"gateways": None},
        "taking": {"gateways": ["2001:db8:4::1"]},
    }
    boxes = {}
    for number, (name, options) in enumerate(networks.items(), 1):
        create(lan, name, f"2001:db8:{number}::/64", parent="eth0.218", share_parent=True, **options)
        boxes[name] = sandbox(lan, name, name, ip6=f"2001:db8:{number}::5")
    create(lan, "ipv4", "10.1.0.0/24", parent="eth0.218", share_parent=True)
    boxes["ipv4"] = sandbox(lan, "ipv4", "ipv4")
    assert [one["local"] for one in link(boxes["ipv4"], "eth0")["addr_info"]] == ["10.1.0.2"], "IPv6 is off there"
    with advertising(lan, tmp_path):
        wait_until(lambda: len(addresses(boxes["taking"])) == 2, 60, what="the address of the one that takes it")
        for name in ("off", "internal", "bare"):
            # Of two that have come, the first has been dealt with.
            wait_until(lambda name=name: advertisements(boxes[name]) >= 2, 60, what="two advertisements")  # type: ignore[misc]
            number = [*networks].index(name) + 1
            assert addresses(boxes[name]) == [f"2001:db8:{number}::5/64"]
        assert advertisements(boxes["ipv4"]) == 0
        assert [one["local"] for one in link(boxes["ipv4"], "eth0")["addr_info"]] == ["10.1.0.2"]
    assert defaults(boxes["internal"])[6] == defaults(boxes["bare"])[6] == []
    assert defaults(boxes["off"])[6] == [("2001:db8:1::1", "eth0")]
