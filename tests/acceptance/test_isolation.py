"""What sandboxes do not reach, and what IPv4-only and dual-stack endpoints are like inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support
from tests.acceptance.support import address_of, addresses_of, default_routes, link_of
from tests.netns import Netns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "ping", "tcpdump")


@pytest.fixture
def dual_stack(lan: Lan) -> str:
    """The guide's network with an IPv6 subnet beside; its id."""
    lan.router.run("ip", "-6", "address", "add", "2001:db8:86::1/64", "dev", "lan0", "nodad")
    return support.create_pub_net(lan, "--subnet=2001:db8:86::/64", "--gateway=2001:db8:86::1")


@pytest.fixture
def neighbour() -> Iterator[Netns]:
    """A namespace that is not macvfast's, to make ordinary links in."""
    made = Netns.make("neighbour")
    try:
        yield made
    finally:
        made.remove()


def route_between(lan: Lan, *, forward: bool) -> None:
    """Let the router forward between its links, or not: a fresh namespace has it as the machine has."""
    lan.router.run("sh", "-c", f"echo {int(forward)} > /proc/sys/net/ipv4/ip_forward")


def test_networks_on_two_parents_meet_only_at_the_router(lan: Lan) -> None:
    lan.add_parent("eth1", "lan1", far_address="172.16.87.1/24")
    support.create_pub_net(lan)
    lan.macvfast("network", "create", "--subnet=172.16.87.0/24", "--gateway=172.16.87.1", "-o", "parent=eth1", "other")
    lan.macvfast("create", "--net=pub_net", "--name=here")
    lan.macvfast("create", "--net=other", "--name=there")
    assert (address_of(lan, "here"), address_of(lan, "there")) == ("172.16.86.2", "172.16.87.2")
    route_between(lan, forward=False)
    assert not lan.sandbox("here").can_ping("172.16.87.2", timeout_s=1)
    route_between(lan, forward=True)
    assert lan.sandbox("here").can_ping("172.16.87.2")


def test_one_subnet_on_two_parents_is_two_networks(lan: Lan) -> None:
    lan.add_parent("eth1", "lan1")
    for ifname in ("eth0", "eth1"):
        lan.macvfast(
            "network", "create", "--subnet=10.1.0.0/24", "--gateway=none", "-o", f"parent={ifname}", f"on-{ifname}"
        )
        lan.macvfast("create", f"--net=on-{ifname}", f"--name=box-{ifname}")
        lan.macvfast("create", f"--net=on-{ifname}", f"--name=peer-{ifname}", f"--ip=10.1.0.1{ifname[-1]}")
    assert address_of(lan, "box-eth0") == address_of(lan, "box-eth1") == "10.1.0.1"
    assert lan.sandbox("box-eth0").can_ping("10.1.0.10")
    assert not lan.sandbox("box-eth0").can_ping("10.1.0.11", timeout_s=1)
    assert lan.sandbox("box-eth1").can_ping("10.1.0.11")


def test_two_subnets_of_one_network_meet_only_at_the_router(lan: Lan) -> None:
    for address in ("192.168.216.1/24", "192.168.218.1/24"):
        lan.router.run("ip", "address", "add", address, "dev", "lan0")
    lan.macvfast(
        "network", "create", "--subnet=192.168.216.0/24", "--subnet=192.168.218.0/24", "--gateway=192.168.216.1",
        "--gateway=192.168.218.1", "-o", "parent=eth0", "lab",
    )  # fmt: skip
    for name, address in (("a", "192.168.216.10"), ("b", "192.168.216.11"), ("c", "192.168.218.10")):
        lan.macvfast("create", "--net=lab", "--name", name, f"--ip={address}")
    route_between(lan, forward=False)
    assert lan.sandbox("a").can_ping("192.168.216.11")
    assert not lan.sandbox("a").can_ping("192.168.218.10", timeout_s=1)
    route_between(lan, forward=True)
    assert lan.sandbox("a").can_ping("192.168.218.10")


def test_an_ipv4_endpoint_has_no_ipv6_address_and_sends_no_ipv6_frame(lan: Lan, neighbour: Netns) -> None:
    support.create_pub_net(lan)
    with lan.frames_at_router("ip6") as frames:
        lan.macvfast("create", "--net=pub_net", "--name=box")
        assert [address["family"] for address in link_of(lan, "box")["addr_info"]] == ["inet"]
        assert lan.sandbox("box").can_ping("172.16.86.1")
        # An ordinary link is born after the sandbox's. Once it has asked for its own address to be free, whatever the
        # sandbox's link would have sent of the kind has been sent.
        lan.run(
            "ip", "link", "add", "link", "eth0", "name", "eth0", "address", "02:00:5e:00:53:99", "netns",
            str(neighbour.path), "type", "macvlan", "mode", "bridge",
        )  # fmt: skip
        neighbour.run("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
        neighbour.run("ip", "link", "set", "eth0", "up")
        # The parent has just asked for its own.
        frames.wait_for("neighbor solicitation, who has fe80::5eff:fe00:5399")
        assert "02:00:5e:00:53:99 > " in "\n".join(frames.so_far())
        assert not [line for line in frames.so_far() if f"{link_of(lan, 'box')['address']} > " in line]
    assert [address["family"] for address in link_of(lan, "box")["addr_info"]] == ["inet"]
    assert [route["dst"] for route in lan.sandbox("box").ip_json("-6", "route", "show", "dev", "eth0")] == []


@pytest.mark.needs("ipv6")
@pytest.mark.usefixtures("dual_stack")
def test_a_dual_stack_endpoint_has_both_addresses_usable_at_once(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    (address,) = [a for a in link_of(lan, "box")["addr_info"] if a["family"] == "inet6" and a["scope"] == "global"]
    assert (address["local"], address["prefixlen"]) == ("2001:db8:86::2", 64)
    assert not address.get("tentative")
    assert address["nodad"]
    assert addresses_of(lan, "box") == ["172.16.86.2/24"]
    assert default_routes(lan, "box", "-4") == [("172.16.86.1", "eth0")]
    assert default_routes(lan, "box", "-6") == [("2001:db8:86::1", "eth0")]
    assert lan.sandbox("box").can_ping("2001:db8:86::1")
    assert lan.sandbox("box").can_ping("172.16.86.1")


@pytest.mark.needs("ipv6")
@pytest.mark.usefixtures("dual_stack")
def test_dual_stack_sandboxes_reach_each_other_by_both_families(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    lan.macvfast("create", "--net=pub_net", "--name=peer", "--ip=172.16.86.99", "--ip6=2001:db8:86::99")
    assert addresses_of(lan, "peer", family="inet6") == ["2001:db8:86::99/64"]
    assert lan.sandbox("box").can_ping("172.16.86.99")
    assert lan.sandbox("box").can_ping("2001:db8:86::99")


@pytest.mark.needs("ipv6")
def test_ipv6_can_be_switched_off_where_a_subnet_is_given(lan: Lan) -> None:
    support.create_pub_net(lan, "--subnet=2001:db8:86::/64", "--no-ipv6")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert [address["family"] for address in link_of(lan, "box")["addr_info"]] == ["inet"]


@pytest.mark.needs("ipv6")
def test_a_network_may_have_ipv6_alone(lan: Lan) -> None:
    lan.macvfast("network", "create", "--subnet=fd00:86::/64", "-o", "parent=eth0", "six")
    for name in ("a", "b"):
        lan.macvfast("create", "--net=six", "--name", name)
    # No gateway is chosen: routers say who they are.
    assert addresses_of(lan, "a", family="inet6") == ["fd00:86::1/64"]
    assert addresses_of(lan, "a") == []
    assert default_routes(lan, "a", "-6") == []
    macs = [link_of(lan, name)["address"] for name in ("a", "b")]
    assert len(set(macs)) == 2
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)
    assert lan.sandbox("a").can_ping("fd00:86::2")


@pytest.mark.needs("ipv6")
def test_an_ipv6_range_is_given_out_from_its_first_address_upwards(lan: Lan) -> None:
    lan.macvfast(
        "network",
        "create",
        "--subnet=fd00:86::/64",
        "--ip-range=fd00:86::100/120",
        "--gateway=fd00:86::1",
        "-o",
        "parent=eth0",
        "six",
    )
    lan.macvfast("create", "--net=six", "--name=box")
    assert addresses_of(lan, "box", family="inet6") == ["fd00:86::100/64"]


@pytest.mark.needs("ipv6")
def test_router_advertisements_are_taken_or_not_as_the_network_says(lan: Lan) -> None:
    lan.macvfast("network", "create", "--subnet=fd00:1::/64", "-o", "parent=eth0", "-o", "ipv6_ra=off", "off")
    lan.add_parent("eth1", "lan1")
    lan.macvfast("network", "create", "--subnet=fd00:2::/64", "-o", "parent=eth1", "on")
    lan.add_parent("eth2", "lan2")
    wish = ("--gateway=none", "-o", "ipv6_ra=on")
    lan.macvfast("network", "create", "--subnet=fd00:3::/64", "-o", "parent=eth2", *wish, "wish")
    for name in ("off", "on", "wish"):
        lan.macvfast("create", f"--net={name}", f"--name={name}")
    settings = [
        lan.sandbox_run(name, "cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").strip() for name in ("off", "on", "wish")
    ]
    assert settings == ["0", "1", "1"]


def test_an_endpoint_that_gets_no_address_of_one_family_gets_none_at_all(lan: Lan) -> None:
    lan.macvfast(
        "network",
        "create",
        "--subnet=10.0.0.0/24",
        "--gateway=10.0.0.1",
        "--subnet=fd00:86::/127",
        "-o",
        "parent=eth0",
        "lab",
    )
    for name in ("a", "b"):
        lan.macvfast("create", "--net=lab", "--name", name)
    assert "no free IPv6 address" in support.refused(lan, "create", "--net=lab", "--name=c")
    lan.macvfast("rm", "a")
    lan.macvfast("create", "--net=lab", "--name=d")
    assert address_of(lan, "d") == "10.0.0.2"


def test_a_command_has_no_copies_of_the_pins(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("scale", "--no-progress", "pub_net", "w=3")
    lan.macvfast("run", "-d", "--net=pub_net", "--name=web", "sleep", "1000")
    lan.macvfast("create", "--net=pub_net", "--name=later")
    mounts = "grep -c ' - nsfs ' /proc/self/mountinfo || :"
    assert lan.macvfast("exec", "web", "sh", "-c", mounts) == "0"
    assert lan.macvfast("exec", "w-1", "sh", "-c", mounts) == "0"
    assert lan.sandbox("web").can_ping(address_of(lan, "later"))


def test_another_user_pings_where_root_of_the_sandbox_lets_it(lan: Lan) -> None:
    """What a file's capabilities gave is not given any more; docs/reliability.md says what is."""
    support.create_pub_net(lan)
    lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    ping = ["exec", "-u", "nobody", "box", "ping", "-c", "1", "-W", "5", "172.16.86.1"]
    for groups in ("1 0", "0 2147483647"):
        lan.macvfast("exec", "box", "sh", "-c", f"echo {groups} > /proc/sys/net/ipv4/ping_group_range")
        if groups == "1 0":
            assert lan.attempt(*ping).returncode != 0
    assert "1 received" in lan.macvfast(*ping)
