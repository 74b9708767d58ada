"""Routes of an endpoint's own, on a real kernel: packets follow them, and `check` and `restore` know them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from macvfast import EndpointRequest, Route
from tests.acceptance.support import another_boot, default_routes, lose_everything

if TYPE_CHECKING:
    from pathlib import Path

    from macvfast import Host
    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan", "ping")

# Behind the router, where only a route leads.
BEHIND, BEHIND6 = "10.99.0.1", "fd00:99::1"
ROUTES = (
    Route.of("10.99.0.0/16", "172.16.86.1", metric=7, mtu=1400, advmss=1300),
    Route.of("fd00:99::/32", "fd00:86::1"),
    Route.of("192.0.2.0/24"),
)


@pytest.fixture(autouse=True)
def behind(lan: Lan) -> None:
    """The router has further networks; `pub_net` is dual-stack, and has no default route."""
    lan.router.ip_batch(
        f"address add {BEHIND}/16 dev lo", f"address add {BEHIND6}/64 dev lo nodad",
        "address add fd00:86::1/64 dev lan0 nodad",
    )  # fmt: skip
    lan.macvfast(
        "network", "create", "--subnet=172.16.86.0/24", "--subnet=fd00:86::/64", "--internal", "-o", "parent=eth0",
        "--aux-address=router=172.16.86.1", "--aux-address=router6=fd00:86::1", "pub_net",
    )  # fmt: skip


def make(lan: Lan, *routes: Route, network: str = "pub_net") -> None:
    request = EndpointRequest(network=network, routes=routes)
    lan.api(lambda host: host.create_sandbox("box", endpoints=[request]).name)


def shown(box: Netns) -> list[dict[str, Any]]:
    """The routes that somebody set, as `ip` shows them."""
    every = [*box.ip_json("-4", "route", "show"), *box.ip_json("-6", "route", "show")]
    kept = ("dst", "gateway", "dev", "metric", "metrics")
    return [{key: one[key] for key in kept if key in one} for one in every if one["protocol"] == "boot"]


WANTED: list[dict[str, Any]] = [
    {"dst": "10.99.0.0/16", "gateway": "172.16.86.1", "dev": "eth0", "metric": 7,
     "metrics": [{"mtu": 1400, "advmss": 1300}]},
    {"dst": "192.0.2.0/24", "dev": "eth0"},
    {"dst": "fd00:99::/32", "gateway": "fd00:86::1", "dev": "eth0", "metric": 1024},
]  # fmt: skip


def test_packets_follow_the_routes_of_both_families(lan: Lan) -> None:
    make(lan, *ROUTES)
    box = lan.sandbox("box")
    assert shown(box) == WANTED
    assert box.can_ping(BEHIND, timeout_s=5)
    assert box.can_ping(BEHIND6, timeout_s=5)
    (inspected,) = json.loads(lan.macvfast("network", "inspect", "pub_net"))
    (container,) = inspected["Containers"].values()
    assert container["Routes"] == [str(route) for route in ROUTES]


@pytest.mark.parametrize(
    ("family", "destination", "named"),
    [("-4", "10.99.0.0/16", "10.99.0.0/16"), ("-6", "fd00:99::/32", "fd00:99::/32"), ("-4", "192.0.2.0/24", "192.0.2")],
)
def test_a_route_that_somebody_deleted_is_named_and_restored(
    lan: Lan, family: str, destination: str, named: str
) -> None:
    make(lan, *ROUTES)
    box = lan.sandbox("box")
    box.run("ip", family, "route", "del", destination)
    assert f"has lost the route to {named}" in lan.attempt("check").stdout
    lan.macvfast("restore")
    assert shown(box) == WANTED
    assert lan.macvfast("check") == lan.macvfast("restore") == ""


@pytest.mark.parametrize(
    ("family", "changed", "said"),
    [
        ("-4", "10.99.0.0/16 via 172.16.86.1 metric 7 mtu 1300 advmss 1300", "with mtu 1300 advmss 1300, not mtu 1400"),
        ("-6", "fd00:99::/32 via fd00:86::1 mtu 1300", "with mtu 1300, not no mtu"),
        ("-4", "192.0.2.0/24 dev eth0 scope link advmss 500", "with advmss 500, not no mtu"),
    ],
)
def test_a_route_whose_limits_somebody_changed_is_named_and_corrected(
    lan: Lan, family: str, changed: str, said: str
) -> None:
    make(lan, *ROUTES)
    box = lan.sandbox("box")
    box.run("ip", family, "route", "replace", *changed.split())
    assert said in lan.attempt("check").stdout
    assert "correct the route to" in lan.macvfast("restore")
    assert shown(box) == WANTED
    assert lan.macvfast("check") == lan.macvfast("restore") == ""


def test_a_route_for_packets_with_one_tos_is_neither_the_endpoints_own_nor_in_its_way(lan: Lan) -> None:
    """It has the same destination and metric; the kernel has it beside the one for all packets."""
    make(lan, *ROUTES)
    box = lan.sandbox("box")
    box.run("ip", "route", "add", "192.0.2.0/24", "tos", "0x10", "dev", "eth0", "scope", "link", "mtu", "1300")
    beside = [*shown(box)]
    assert lan.macvfast("check") == ""
    box.run("ip", "route", "del", "192.0.2.0/24", "tos", "0")
    assert "has lost the route to 192.0.2.0/24" in lan.attempt("check").stdout
    lan.macvfast("restore")
    assert sorted(map(str, shown(box))) == sorted(map(str, beside))
    assert lan.macvfast("check") == lan.macvfast("restore") == ""


def test_an_mtu_that_the_kernel_lowers_with_the_links_is_left_to_it(lan: Lan) -> None:
    make(lan, Route.of("fd00:99::/32", "fd00:86::1", mtu=1400))
    box = lan.sandbox("box")
    box.run("ip", "link", "set", "eth0", "mtu", "1300")
    (route,) = shown(box)
    assert route["metrics"] == [{"mtu": 1300}]
    assert lan.macvfast("check") == ""


@pytest.mark.parametrize(
    ("route", "fits"),
    [("10.7.0.0/24", False), ("10.7.0.0/25", True), ("fd00:7::/64 metric 256", False), ("fd00:7::/64", True)],
)
def test_a_network_to_whose_subnet_another_link_has_a_route_is_connected_neither_before_nor_after(
    lan: Lan, route: str, fits: bool
) -> None:
    """Wrong: after it the kernel puts its own route to the subnet behind that one, and the subnet is not reached."""
    destination, *metric = route.split()
    there = Route.of(destination, metric=int(metric[1]) if metric else None)
    lan.macvfast("network", "update", "-o", "share_parent=true", "pub_net")
    lan.macvfast(
        "network", "create", "--subnet=10.7.0.0/24", "--subnet=fd00:7::/64", "--internal", "-o", "parent=eth0",
        "-o", "share_parent=true", "side",
    )  # fmt: skip
    ours, theirs = EndpointRequest(network="pub_net", routes=(there,)), EndpointRequest(network="side")

    def refusal(host: Host, first: EndpointRequest, second: EndpointRequest) -> str:
        host.create_sandbox("box", endpoints=[first])
        return str(host.connect_many(second.network, [replace(second, sandbox="box")])[0].error)

    for order in ((ours, theirs), (theirs, ours)):
        said = lan.api(partial(refusal, first=order[0], second=order[1]))
        assert ("has a route to" in said) is not fits, said
        assert (said == "None") is fits
        lan.macvfast("rm", "box")


@pytest.mark.parametrize("how", ["link del eth0", "link set eth0 down"])
def test_routes_come_back_with_a_link_that_was_deleted_or_set_down(lan: Lan, how: str) -> None:
    make(lan, *ROUTES)
    box = lan.sandbox("box")
    box.run("ip", *how.split())
    lan.macvfast("restore")
    assert shown(box) == WANTED
    assert box.can_ping(BEHIND, timeout_s=5)
    assert lan.macvfast("check") == ""


def test_routes_come_back_after_a_reboot(lan: Lan, tmp_path: Path) -> None:
    make(lan, *ROUTES)
    lose_everything(lan)
    with another_boot(tmp_path):
        lan.macvfast("restore")
        assert shown(lan.sandbox("box")) == WANTED
        assert lan.sandbox("box").can_ping(BEHIND, timeout_s=5)
        assert lan.macvfast("check") == ""
        lan.macvfast("rm", "box")


def test_a_gateway_beyond_a_subnet_of_one_address_is_reached_by_a_route_to_the_link(lan: Lan) -> None:
    lan.macvfast("network", "rm", "pub_net")
    lan.macvfast("network", "create", "--subnet=172.16.86.40/32", "-o", "parent=eth0", "single")
    # In whatever order they are given.
    make(lan, Route.of("0.0.0.0/0", "172.16.86.1"), Route.of("172.16.86.1/32"), network="single")
    box = lan.sandbox("box")
    assert default_routes(lan, "box") == [("172.16.86.1", "eth0")]
    assert box.can_ping(BEHIND, timeout_s=5)
    box.run("ip", "link", "del", "eth0")
    lan.macvfast("restore")
    assert box.can_ping(BEHIND, timeout_s=5)
    assert lan.macvfast("check") == ""


def test_default_routes_of_an_endpoints_own_are_in_the_place_of_the_networks(lan: Lan) -> None:
    lan.macvfast("network", "rm", "pub_net")
    lan.macvfast(
        "network", "create", "--subnet=172.16.86.0/24", "--gateway=172.16.86.9", "--subnet=fd00:86::/64",
        "--gateway=fd00:86::9", "--aux-address=router=172.16.86.1", "--aux-address=router6=fd00:86::1",
        "-o", "parent=eth0", "-o", "ipv6_ra=off", "pub_net",
    )  # fmt: skip
    (router,) = lan.router.ip_json("-6", "address", "show", "dev", "lan0")
    (near,) = [one["local"] for one in router["addr_info"] if one["scope"] == "link"]
    backup = Route.of("0.0.0.0/0", "172.16.86.9", metric=50)
    make(lan, Route.of("0.0.0.0/0", "172.16.86.1"), backup, Route.of("::/0", near, metric=5))
    box = lan.sandbox("box")
    assert default_routes(lan, "box") == [("172.16.86.1", "eth0"), ("172.16.86.9", "eth0")]
    assert default_routes(lan, "box", "-6") == [(near, "eth0")]
    assert box.can_ping(BEHIND, timeout_s=5)
    assert box.can_ping(BEHIND6, timeout_s=5)
    for family in ("-4", "-6"):
        box.run("ip", family, "route", "del", "default")
    assert "has lost the IPv4 default route" in lan.attempt("check").stdout
    lan.macvfast("restore")
    assert default_routes(lan, "box") == [("172.16.86.1", "eth0"), ("172.16.86.9", "eth0")]
    assert default_routes(lan, "box", "-6") == [(near, "eth0")]
    assert lan.macvfast("check") == ""


def test_in_a_given_namespace_a_route_that_is_there_already_refuses_and_leaves_nothing(
    lan: Lan, foreign: Netns
) -> None:
    foreign.ip_batch("link set lo up", "route add 10.99.0.0/16 dev lo metric 7")
    before = foreign.ip_json("-4", "route", "show"), foreign.link_names()
    request = EndpointRequest(network="pub_net", sandbox="box", routes=ROUTES)
    said = lan.api(lambda host: str(host.connect_many("pub_net", [request], netns=str(foreign.path))[0].error))
    assert "one of its routes exists already" in said
    assert (foreign.ip_json("-4", "route", "show"), foreign.link_names()) == before
    assert lan.macvfast("ps", "-aq") == ""
    foreign.ip_batch("route del 10.99.0.0/16 dev lo metric 7")
    lan.api(lambda host: host.connect_many("pub_net", [request], netns=str(foreign.path)).raise_if_any())
    assert shown(foreign) == WANTED
    assert foreign.can_ping(BEHIND, timeout_s=5)
    assert lan.macvfast("check") == ""
