"""The guide's page on bridge mode, example by example, with `macvfast` for `docker` and without the image name."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support
from tests.acceptance.support import address_of, addresses_of, at_terminal, default_routes, link_of, refused

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "ping")


def create(lan: Lan, name: str, *arguments: str, net: str = "pub_net") -> str:
    """Make a sandbox without a command; its only IPv4 address."""
    lan.macvfast("create", f"--net={net}", "--name", name, *arguments)
    return address_of(lan, name)


@pytest.mark.needs("ping")
def test_the_first_example_works_as_it_is_typed_in_the_guide(lan: Lan) -> None:
    network = lan.macvfast(
        "network",
        "create",
        "-d",
        "macvlan",
        "--subnet=172.16.86.0/24",
        "--gateway=172.16.86.1",
        "-o",
        "parent=eth0",
        "pub_net",
    )
    assert re.fullmatch(r"[0-9a-f]{64}", network)
    first = lan.macvfast("run", "--net=pub_net", "--ip=172.16.86.10", "-itd", "/bin/sh")
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    assert lan.sandbox_names() == [first[:12]]
    assert addresses_of(lan, first[:12]) == ["172.16.86.10/24"]
    with at_terminal(lan, "run", "--net=pub_net", "-it", "--rm", "/bin/sh") as terminal:
        terminal.wait_for("# ")
        assert "4 packets transmitted, 4 received" in terminal.ask("ping -c 4 -i 0.1 172.16.86.10")
        shown = terminal.ask("ip a show eth0")
        assert re.search(r"eth0@if\d+: <BROADCAST,MULTICAST,UP,LOWER_UP(,M-DOWN)?> mtu 1500 qdisc noqueue ", shown)
        assert re.search(r"^ *inet 172\.16\.86\.2/24 scope global eth0 *$", shown, re.MULTILINE)
        assert "inet6" not in shown
        default, connected = terminal.ask("ip route").splitlines()
        assert re.fullmatch(r"default via 172\.16\.86\.1 dev eth0( proto static)? *", default)
        assert re.fullmatch(r"172\.16\.86\.0/24 dev eth0 .*src 172\.16\.86\.2 *", connected)
        terminal.type("exit\n")
        assert terminal.wait() == 0
    assert lan.sandbox_names() == [first[:12]]
    assert support.filter_macs(lan) == {"02:42:ac:10:56:0a"}


@pytest.mark.usefixtures("pub_net")
def test_an_endpoint_is_the_link_that_the_guide_prints(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    link = link_of(lan, "box")
    assert set(link["flags"]) - {"M-DOWN"} == {"BROADCAST", "MULTICAST", "UP", "LOWER_UP"}
    assert (link["mtu"], link["address"]) == (1500, "02:42:ac:10:56:02")
    assert (link["linkinfo"]["info_kind"], link["linkinfo"]["info_data"]["mode"]) == ("macvlan", "bridge")
    (address,) = link["addr_info"]
    assert (address["local"], address["prefixlen"], address["scope"]) == ("172.16.86.2", 24, "global")
    assert "broadcast" not in address
    assert lan.sandbox("box").link_names() == ["eth0", "lo"]
    (loopback,) = lan.sandbox("box").ip_json("link", "show", "dev", "lo")
    assert "UP" in loopback["flags"]


@pytest.mark.usefixtures("pub_net")
def test_a_sandbox_has_the_two_routes_of_the_guide_and_no_other(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    connected, default = sorted(lan.sandbox("box").ip_json("-4", "route", "show"), key=lambda route: route["dst"])
    assert (connected["dst"], connected["dev"], connected["prefsrc"]) == ("172.16.86.0/24", "eth0", "172.16.86.2")
    assert connected["scope"] == "link"
    assert (default["dst"], default["gateway"], default["dev"]) == ("default", "172.16.86.1", "eth0")


@pytest.mark.usefixtures("pub_net")
def test_sandboxes_reach_each_other_and_the_router_but_never_the_host(lan: Lan) -> None:
    create(lan, "first", "--ip=172.16.86.10")
    create(lan, "second")
    assert lan.sandbox("second").can_ping("172.16.86.10")
    assert lan.sandbox("first").can_ping("172.16.86.2")
    assert lan.sandbox("second").can_ping("172.16.86.1")
    assert lan.router.can_ping("172.16.86.2")
    assert not lan.sandbox("second").can_ping("172.16.86.250", timeout_s=1)
    assert not lan.host.can_ping("172.16.86.2", timeout_s=1)
    # Not because the host would not answer.
    assert lan.router.can_ping("172.16.86.250")


def test_the_default_route_leads_out_by_the_router(lan: Lan) -> None:
    lan.router.run("ip", "addr", "add", "198.51.100.7/32", "dev", "lo")
    support.create_pub_net(lan)
    create(lan, "box")
    assert lan.sandbox("box").can_ping("198.51.100.7")


@pytest.mark.parametrize(
    "said", [(), ("-o", "macvlan_mode=bridge"), ("-o", "macvlan_mode=")], ids=["not", "so", "empty"]
)
def test_bridge_mode_is_the_default_and_can_be_said(lan: Lan, said: tuple[str, ...]) -> None:
    support.create_pub_net(lan, *said)
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert link_of(lan, "box")["linkinfo"]["info_data"]["mode"] == "bridge"


def test_an_aux_address_is_never_given_out(lan: Lan) -> None:
    support.create_pub_net(lan, "--aux-address=exclude_host=172.16.86.250", "--ip-range=172.16.86.249-172.16.86.251")
    assert [create(lan, "a"), create(lan, "b")] == ["172.16.86.249", "172.16.86.251"]
    assert "exclude_host" in refused(lan, "create", "--net=pub_net", "--ip=172.16.86.250")
    assert "no free IPv4 address" in refused(lan, "create", "--net=pub_net")


def test_an_aux_address_needs_no_name(lan: Lan) -> None:
    """The guide's prose has it so: `--aux-address=x.x.x.x`."""
    support.create_pub_net(lan, "--aux-address=172.16.86.2")
    assert create(lan, "a") == "172.16.86.3"


def test_an_aux_address_is_skipped_from_below(lan: Lan) -> None:
    support.create_pub_net(lan, "--aux-address", "printer=172.16.86.2", "--aux-address", "camera=172.16.86.4")
    assert [create(lan, "a"), create(lan, "b")] == ["172.16.86.3", "172.16.86.5"]


def test_an_ip_range_is_given_out_from_its_first_address_upwards(lan: Lan) -> None:
    lan.router.run("ip", "addr", "add", "192.168.32.254/24", "dev", "lan0")
    lan.macvfast(
        "network", "create", "-d", "macvlan", "--subnet=192.168.32.0/24", "--ip-range=192.168.32.128/25",
        "--gateway=192.168.32.254", "-o", "parent=eth0", "macnet32",
    )  # fmt: skip
    found = [create(lan, name, net="macnet32") for name in ("a", "b", "c")]
    assert found == ["192.168.32.128", "192.168.32.129", "192.168.32.130"]
    # The prefix length is the subnet's, not the range's.
    assert addresses_of(lan, "a") == ["192.168.32.128/24"]
    assert default_routes(lan, "a") == [("192.168.32.254", "eth0")]
    assert lan.sandbox("a").can_ping("192.168.32.254")


def test_several_ip_ranges_of_a_subnet_unite(lan: Lan) -> None:
    support.create_pub_net(lan, "--ip-range=172.16.86.64/31", "--ip-range=172.16.86.200-172.16.86.201")
    found = [create(lan, name) for name in ("a", "b", "c")]
    assert found == ["172.16.86.64", "172.16.86.65", "172.16.86.200"]


def test_without_a_gateway_the_first_address_becomes_it(lan: Lan) -> None:
    lan.macvfast("network", "create", "--subnet=172.16.86.0/24", "-o", "parent=eth0", "pub_net")
    assert create(lan, "box") == "172.16.86.2"
    assert default_routes(lan, "box") == [("172.16.86.1", "eth0")]
    (shown,) = json.loads(lan.macvfast("network", "inspect", "pub_net"))
    assert shown["IPAM"]["Config"][0]["Gateway"] == "172.16.86.1"


@pytest.mark.parametrize("argument", ["--gateway=none", "--internal"])
def test_no_gateway_and_no_default_route_where_none_is_wanted(lan: Lan, argument: str) -> None:
    lan.macvfast("network", "create", "--subnet=172.16.86.0/24", argument, "-o", "parent=eth0", "pub_net")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert addresses_of(lan, "box") == ["172.16.86.1/24"]
    assert default_routes(lan, "box") == []


def test_an_internal_network_has_no_default_route_though_a_gateway_is_given(lan: Lan) -> None:
    support.create_pub_net(lan, "--internal")
    assert create(lan, "box") == "172.16.86.2"
    assert default_routes(lan, "box") == []


def test_the_mtu_is_the_parents_or_the_one_given(lan: Lan) -> None:
    lan.run("ip", "link", "set", "eth0", "mtu", "1400")
    support.create_pub_net(lan, "-o", "mtu=1280")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert link_of(lan, "box")["mtu"] == 1280
    lan.macvfast("rm", "box")
    lan.macvfast("network", "rm", "pub_net")
    support.create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert link_of(lan, "box")["mtu"] == 1400


@pytest.mark.usefixtures("pub_net")
def test_a_mac_is_made_of_the_address_or_the_one_given(lan: Lan) -> None:
    create(lan, "box", "--ip=172.16.86.10")
    create(lan, "other", "--mac-address=02:00:5e:00:53:01")
    assert link_of(lan, "box")["address"] == "02:42:ac:10:56:0a"
    assert link_of(lan, "other")["address"] == "02:00:5e:00:53:01"
    assert support.filter_macs(lan) == {"02:42:ac:10:56:0a", "02:00:5e:00:53:01"}


def test_a_mac_that_another_sandbox_has_is_refused_by_name(lan: Lan) -> None:
    support.create_pub_net(lan)
    create(lan, "box", "--mac-address=02:00:5e:00:53:01")
    said = refused(lan, "create", "--net=pub_net", "--name=other", "--mac-address=02-00-5E-00-53-01")
    assert "`box`" in said
    assert "02:00:5e:00:53:01" in said
