"""`network connect` and `disconnect`: further links, the default route's way, and namespaces that others made."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.support import addresses_of, default_routes, link_of, refused
from tests.netns import Netns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "ping")


@pytest.fixture
def two_networks(lan: Lan) -> None:
    """`pub_net` on eth0 and `other` on eth1, each with a gateway that answers."""
    lan.add_parent("eth1", "lan1", far_address="10.1.0.1/24")
    support.create_pub_net(lan)
    lan.macvfast("network", "create", "--subnet=10.1.0.0/24", "--gateway=10.1.0.1", "-o", "parent=eth1", "other")


def settings(namespace: Netns) -> str:
    """What `conf.default` and `conf.all` of a namespace are, both families; some of them cannot be read."""
    directories = [f"/proc/sys/net/ipv{version}/conf/{which}" for version in (4, 6) for which in ("all", "default")]
    return namespace.attempt("grep", "-rs", "", *directories).stdout


@pytest.mark.usefixtures("two_networks")
def test_a_second_network_is_eth1_and_leaves_the_default_route_alone(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    lan.macvfast("network", "connect", "other", "box")
    assert addresses_of(lan, "box", "eth1") == ["10.1.0.2/24"]
    assert default_routes(lan, "box") == [("172.16.86.1", "eth0")]
    assert lan.sandbox("box").can_ping("10.1.0.1")
    assert lan.sandbox("box").can_ping("172.16.86.1")


@pytest.mark.usefixtures("two_networks")
def test_the_default_route_goes_to_the_next_network_when_its_own_is_disconnected(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    lan.macvfast("network", "connect", "other", "box")
    lan.macvfast("network", "disconnect", "pub_net", "box")
    assert lan.sandbox("box").link_names() == ["eth1", "lo"]
    assert default_routes(lan, "box") == [("10.1.0.1", "eth1")]
    assert support.filter_macs(lan, "eth0") == set()
    # It comes back as the second: the other one keeps the default route.
    lan.macvfast("network", "connect", "pub_net", "box", "--ip=172.16.86.2")
    assert addresses_of(lan, "box", "eth0") == ["172.16.86.2/24"]
    assert default_routes(lan, "box") == [("10.1.0.1", "eth1")]


@pytest.mark.usefixtures("two_networks")
def test_the_network_with_the_highest_gw_priority_has_the_default_route(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    lan.macvfast("network", "connect", "--gw-priority=1", "other", "box")
    assert default_routes(lan, "box") == [("10.1.0.1", "eth1")]
    assert lan.sandbox("box").can_ping("172.16.86.1")
    assert (
        json.loads(lan.macvfast("network", "inspect", "-f", "{{json .Containers}}", "other"))[
            lan.macvfast("ps", "-q", "--no-trunc")
        ]["GwPriority"]
        == 1
    )
    assert lan.macvfast("inspect", "-f", "{{.NetworkSettings.Networks.other.GwPriority}}", "box") == "1"
    lan.macvfast("network", "disconnect", "other", "box")
    assert default_routes(lan, "box") == [("172.16.86.1", "eth0")]
    lan.macvfast("network", "connect", "--gw-priority=none", "other", "box")
    lan.macvfast("network", "disconnect", "pub_net", "box")
    assert default_routes(lan, "box") == []
    lan.macvfast("network", "connect", "--gw-priority=-3", "pub_net", "box")
    assert default_routes(lan, "box") == [("172.16.86.1", "eth0")]
    assert lan.macvfast("check") == ""
    up0 = "name=other,gw-priority=7,driver-opt=com.docker.network.endpoint.ifname=up0"
    lan.macvfast("create", "--net=pub_net", "--net", up0, "--name=two")
    assert default_routes(lan, "two") == [("10.1.0.1", "up0")]


def test_the_ipv6_default_route_goes_to_the_highest_gw_priority_too(lan: Lan) -> None:
    lan.add_parent("eth1", "lan1")
    for number, parent in ((8, "eth0"), (9, "eth1")):
        options = (f"--subnet=fd00:{number}::/64", f"--gateway=fd00:{number}::1", "-o", f"parent={parent}")
        lan.macvfast("network", "create", *options, "-o", "ipv6_ra=off", f"n{number}")
    lan.macvfast("create", "--net=n8", "--name=box")
    lan.macvfast("network", "connect", "--gw-priority=1", "n9", "box")
    assert default_routes(lan, "box", "-6") == [("fd00:9::1", "eth1")]
    lan.macvfast("network", "disconnect", "n9", "box")
    assert default_routes(lan, "box", "-6") == [("fd00:8::1", "eth0")]


@pytest.mark.usefixtures("two_networks")
def test_disconnecting_the_second_network_leaves_the_first_alone(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--net=pub_net", "--net=other", "--name=box", "sleep", "1000")
    assert (addresses_of(lan, "box"), addresses_of(lan, "box", "eth1")) == (["172.16.86.2/24"], ["10.1.0.2/24"])
    lan.macvfast("network", "disconnect", "other", "box")
    assert lan.sandbox("box").link_names() == ["eth0", "lo"]
    assert default_routes(lan, "box") == [("172.16.86.1", "eth0")]
    assert support.filter_macs(lan, "eth1") == set()
    lan.macvfast("network", "rm", "other")
    assert lan.sandbox("box").can_ping("172.16.86.1")


def test_a_link_given_all_it_can_be_given(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("create", "--name=box")
    assert lan.sandbox("box").link_names() == ["lo"]
    lan.macvfast("network", "connect", "--ip", "172.16.86.10", "--mac-address", "02:00:5e:00:53:07", "pub_net", "box")
    assert addresses_of(lan, "box") == ["172.16.86.10/24"]
    assert link_of(lan, "box")["address"] == "02:00:5e:00:53:07"


def test_a_sandbox_is_on_a_network_once(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert "connected already" in refused(lan, "network", "connect", "pub_net", "box")


def test_a_sandbox_is_not_on_two_networks_with_one_subnet(lan: Lan) -> None:
    lan.add_parent("eth1", "lan1")
    support.create_pub_net(lan)
    lan.macvfast("network", "create", "--subnet=172.16.86.0/25", "-o", "parent=eth1", "other")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert "overlaps" in refused(lan, "network", "connect", "other", "box")
    assert "overlaps" in refused(lan, "create", "--net=pub_net", "--net=other")


def test_connecting_makes_no_sandbox_and_no_network_by_the_way(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("create", "--name=box")
    assert "`missing` not found" in refused(lan, "network", "connect", "pub_net", "missing")
    assert "`missing` not found" in refused(lan, "network", "connect", "missing", "box")
    assert "not connected" in refused(lan, "network", "disconnect", "pub_net", "box")


# Namespaces that others made.


def test_a_given_namespace_gets_a_link_and_nothing_else(lan: Lan, foreign: Netns) -> None:
    support.create_pub_net(lan)
    before = settings(foreign)
    lan.macvfast("network", "connect", "--netns", str(foreign.path), "pub_net", "guest")
    (link,) = foreign.ip_json("address", "show", "dev", "eth0")
    assert "UP" in link["flags"]
    assert [(address["local"], address["prefixlen"]) for address in link["addr_info"]] == [("172.16.86.2", 24)]
    assert foreign.run("cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6").strip() == "1"
    assert foreign.can_ping("172.16.86.1")
    assert settings(foreign) == before
    assert lan.sandbox_names() == []
    inode = foreign.inode
    lan.macvfast("rm", "guest")
    assert foreign.link_names() == ["lo"]
    assert foreign.inode == inode
    assert settings(foreign) == before
    assert support.filter_macs(lan) == set()


def test_an_ipv6_link_in_a_given_namespace_has_ipv6_on_whatever_that_has_by_default(lan: Lan, foreign: Netns) -> None:
    foreign.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
    support.create_pub_net(lan, "--subnet=fd00:86::/64", "-o", "ipv6_ra=off")
    before = settings(foreign)
    lan.macvfast("network", "connect", "--netns", str(foreign.path), "pub_net", "guest")
    (link,) = foreign.ip_json("-6", "address", "show", "dev", "eth0")
    assert "fd00:86::1" in [address["local"] for address in link["addr_info"]]
    assert foreign.run("cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").strip() == "0"
    assert settings(foreign) == before


@pytest.mark.usefixtures("two_networks")
def test_what_a_given_namespace_has_already_is_gone_round(lan: Lan, foreign: Netns) -> None:
    foreign.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth2")
    foreign.run("ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
    foreign.run("ip", "link", "set", "eth2", "up")
    foreign.run("ip", "link", "set", "eth0", "up")
    foreign.run("ip", "route", "add", "default", "via", "192.0.2.1")
    links = foreign.ip_json("-4", "address", "show", "dev", "eth0")
    lan.macvfast("network", "connect", "--netns", str(foreign.path), "pub_net", "guest")
    lan.macvfast("network", "connect", "--netns", str(foreign.path), "other", "guest")
    assert foreign.link_names() == ["eth0", "eth1", "eth2", "eth3", "lo"]
    (default,) = foreign.ip_json("route", "show", "default")
    assert default["gateway"] == "192.0.2.1"
    lan.macvfast("rm", "guest")
    assert foreign.link_names() == ["eth0", "eth2", "lo"]
    assert foreign.ip_json("-4", "address", "show", "dev", "eth0") == links


def test_several_sandboxes_stand_for_one_given_namespace(lan: Lan, foreign: Netns) -> None:
    support.create_pub_net(lan)
    for name in ("one", "two"):
        lan.macvfast("network", "connect", "--netns", str(foreign.path), "pub_net", name)
    assert foreign.link_names() == ["eth0", "eth1", "lo"]
    lan.macvfast("rm", "one")
    assert foreign.link_names() == ["eth1", "lo"]


def test_a_sandbox_stands_for_one_given_namespace_only(lan: Lan, foreign: Netns) -> None:
    support.create_pub_net(lan)
    lan.macvfast("network", "connect", "--netns", str(foreign.path), "pub_net", "guest")
    lan.macvfast("network", "disconnect", "pub_net", "guest")
    said = refused(lan, "network", "connect", "--netns", str(lan.router.path), "pub_net", "guest")
    assert "another namespace" in said


def test_a_process_names_a_namespace_too(lan: Lan) -> None:
    support.create_pub_net(lan)
    with subprocess.Popen(["unshare", "--net", "sleep", "1000"]) as process:
        path = f"/proc/{process.pid}/ns/net"
        own = Netns("/proc/self/ns/net").inode
        try:
            netns.wait_until(lambda: Netns(path).inode != own, what="a namespace of its own")
            lan.macvfast("network", "connect", "--pid", str(process.pid), "pub_net", "guest")
            assert Netns(path).link_names() == ["eth0", "lo"]
            lan.macvfast("rm", "guest")
            assert Netns(path).link_names() == ["lo"]
            assert process.poll() is None
        finally:
            process.kill()


def given_by_a_process(lan: Lan, foreign: Netns, _: Path) -> None:
    """A container that is started again in the namespace of its pod."""
    process = foreign.start("sleep", "1000")
    try:
        support.wait_for_process(foreign.inode, "sleep", "1000")
        lan.macvfast("network", "connect", "--pid", str(process.pid), "pub_net", "app")
    finally:
        process.kill()
        process.communicate()


def given_by_a_path_that_leads_elsewhere_then(lan: Lan, foreign: Netns, directory: Path) -> None:
    place = directory / "place"
    place.touch()
    subprocess.run(["mount", "--bind", foreign.path, place], check=True)
    lan.macvfast("network", "connect", "--netns", str(place), "pub_net", "app")
    subprocess.run(["umount", place], check=True)
    subprocess.run(["mount", "--bind", lan.router.path, place], check=True)


@pytest.mark.usefixtures("two_networks")
@pytest.mark.parametrize("give", [given_by_a_process, given_by_a_path_that_leads_elsewhere_then])
def test_a_namespace_outlives_what_it_was_given_by(
    lan: Lan, foreign: Netns, tmp_path: Path, give: Callable[[Lan, Netns, Path], None]
) -> None:
    give(lan, foreign, tmp_path)
    with support.unchanged(lan):
        assert lan.macvfast("check") == ""
        assert lan.macvfast("restore") == ""
        assert lan.macvfast("gc") == ""
    lan.macvfast("exec", "app", "ping", "-c1", "172.16.86.1")
    lan.macvfast("network", "connect", "other", "app")
    foreign.run("ip", "address", "flush", "dev", "eth0")
    assert "has no address 172.16.86.2/24" in lan.attempt("check").stdout
    lan.macvfast("restore")
    assert foreign.can_ping("172.16.86.1", timeout_s=5)
    lan.macvfast("network", "disconnect", "pub_net", "app")
    assert foreign.link_names() == ["eth1", "lo"]
    lan.macvfast("rm", "-f", "app")
    assert foreign.link_names() == ["lo"]
    lan.macvfast("network", "rm", "pub_net", "other")
    assert lan.macvfast("check") == ""
    assert "eth0" not in lan.router.link_names()
    if (tmp_path / "place").exists():
        subprocess.run(["umount", tmp_path / "place"], check=True)


@pytest.mark.parametrize("first", [["s1"], ["s1", "s2"]], ids=["one", "two at once"])
def test_the_default_route_of_a_shared_namespace_goes_to_the_next_sandbox_in_it(
    lan: Lan, foreign: Netns, first: list[str]
) -> None:
    """As those of several attachments of one pod do."""
    support.create_pub_net(lan)
    for name in ("s1", "s2", "s3"):
        lan.macvfast("network", "connect", f"--netns={foreign.path}", "pub_net", name)
    lan.macvfast("rm", *first)
    assert len(foreign.ip_json("-4", "route", "show", "default")) == 1
    assert foreign.can_ping("172.16.86.1")
    assert lan.macvfast("check") == ""
    lan.macvfast("network", "disconnect", "pub_net", f"s{len(first) + 1}")
    assert lan.macvfast("check") == ""
    lan.macvfast("rm", "s3")
    assert foreign.ip_json("-4", "route", "show", "default") == []
