"""`network create`, `ls`, `inspect`, `rm` and `prune`, and who may have which parent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests import netns, probe
from tests.acceptance import support
from tests.acceptance.support import check_error, listed, refused, unchanged

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def create(lan: Lan, name: str, subnet: str, *arguments: str, parent: str = "eth0") -> str:
    """Make a network; its id."""
    return lan.macvfast("network", "create", f"--subnet={subnet}", "-o", f"parent={parent}", *arguments, name)


def names(lan: Lan) -> list[str]:
    """The networks that `ls` lists."""
    return [one["Name"] for one in listed(lan, "network", "ls")]


def inspect(lan: Lan, *keys: str) -> list[dict[str, Any]]:
    """What `network inspect` prints."""
    shown = json.loads(lan.macvfast("network", "inspect", *keys))
    assert isinstance(shown, list)
    return shown


# Removing.


@pytest.mark.parametrize("key", ["name", "id", "prefix", "one letter of the id"])
def test_a_network_is_removed_by_name_id_or_prefix(lan: Lan, key: str) -> None:
    id_ = support.create_pub_net(lan)
    keys = {"name": "pub_net", "id": id_, "prefix": id_[:12], "one letter of the id": id_[0]}
    lan.macvfast("network", "rm", keys[key])
    assert names(lan) == []
    assert support.record(lan) == {}


def test_a_name_goes_before_a_prefix(lan: Lan) -> None:
    """A network may be named like the beginning of another one's id."""
    first = support.create_pub_net(lan)
    lan.add_parent("eth1", "lan1")
    create(lan, first[:8], "10.1.0.0/24", parent="eth1")
    lan.macvfast("network", "rm", first[:8])
    assert names(lan) == ["pub_net"]


def test_a_network_with_endpoints_is_not_removed_and_they_are_named(lan: Lan) -> None:
    support.create_pub_net(lan)
    for name in ("web", "db"):
        lan.macvfast("create", "--net=pub_net", "--name", name)
    said = refused(lan, "network", "rm", "pub_net")
    assert "`web`" in said
    assert "`db`" in said
    lan.macvfast("rm", "web", "db")
    lan.macvfast("network", "rm", "pub_net")
    assert names(lan) == []


def test_removing_several_goes_on_after_an_error(lan: Lan) -> None:
    lan.add_parent("eth1", "lan1")
    support.create_pub_net(lan)
    create(lan, "other", "10.1.0.0/24", parent="eth1")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    done = lan.attempt("network", "rm", "missing", "pub_net", "other")
    said = check_error(done, 3, errors=2)
    assert "missing" in said
    assert "pub_net" in said
    assert done.stdout.split() == ["other"]
    assert names(lan) == ["pub_net"]


def test_removing_several_of_which_none_can_be_changes_nothing(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=box")
    refused(lan, "network", "rm", "missing", "pub_net", errors=2)


def test_pruning_takes_the_networks_without_endpoints(lan: Lan) -> None:
    lan.add_parent("eth1", "lan1")
    support.create_pub_net(lan)
    create(lan, "unused", "10.1.0.0/24", parent="eth1")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert lan.macvfast("network", "prune", "-f") == "Deleted Networks:\nunused"
    assert lan.macvfast("network", "prune", "-f") == ""
    assert names(lan) == ["pub_net"]


# Parents.


def test_a_second_network_on_a_parent_is_refused_naming_the_first(lan: Lan) -> None:
    support.create_pub_net(lan)
    said = refused(lan, "network", "create", "--subnet=10.1.0.0/24", "-o", "parent=eth0", "second")
    assert "error: network `second` cannot use parent `eth0`\n  caused by: network `pub_net` holds it\n" in said
    assert "-o share_parent=true" in said
    # Both have to say it.
    refused(lan, "network", "create", "--subnet=10.1.0.0/24", "-o", "parent=eth0", "-o", "share_parent=true", "second")


@pytest.mark.needs("ping")
def test_networks_that_both_share_the_parent_are_one_segment(lan: Lan) -> None:
    create(lan, "first", "172.16.86.0/25", "-o", "share_parent=true")
    create(lan, "second", "172.16.86.128/25", "--gateway=none", "-o", "share_parent=true")
    said = refused(
        lan, "network", "create", "--subnet=172.16.86.64/26", "-o", "parent=eth0", "-o", "share_parent=true", "third"
    )
    assert "172.16.86.0/25" in said
    assert "`first`" in said
    lan.macvfast("create", "--net=first", "--name=a")
    lan.macvfast("create", "--net=second", "--name=b")
    lan.sandbox_run("a", "ip", "route", "add", "172.16.86.128/25", "dev", "eth0")
    lan.sandbox_run("b", "ip", "route", "add", "172.16.86.0/25", "dev", "eth0")
    assert lan.sandbox("a").can_ping("172.16.86.129")


@pytest.mark.parametrize(("first", "second"), [("passthru", "bridge"), ("bridge", "passthru")])
def test_a_passthru_network_shares_with_nobody(lan: Lan, first: str, second: str) -> None:
    create(lan, "first", "10.1.0.0/24", "-o", f"macvlan_mode={first}")
    said = refused(
        lan, "network", "create", "--subnet=10.2.0.0/24", "-o", "parent=eth0", "-o", f"macvlan_mode={second}", "second"
    )
    assert "passthru shares with nobody" in said


def test_the_parent_is_left_as_it_was_found(lan: Lan) -> None:
    before = support.world(lan)["host"]
    support.create_pub_net(lan)
    assert support.world(lan)["host"] == before
    lan.macvfast("network", "rm", "pub_net")
    assert support.world(lan)["host"] == before


def test_a_parent_may_be_named_by_an_alternative_name(lan: Lan) -> None:
    lan.run("ip", "link", "property", "add", "dev", "eth0", "altname", "uplink-to-the-switch")
    create(lan, "first", "10.1.0.0/24", parent="uplink-to-the-switch")
    # Docker takes the two names for two parents.
    said = refused(lan, "network", "create", "--subnet=10.2.0.0/24", "-o", "parent=eth0", "second")
    assert "`first` holds it" in said


def test_a_parent_that_is_down_is_used_as_it_is(lan: Lan) -> None:
    lan.run("ip", "link", "set", "eth0", "down")
    support.create_pub_net(lan)
    (parent,) = lan.host.ip_json("link", "show", "dev", "eth0")
    assert "UP" not in parent["flags"]


@pytest.mark.needs("ipv6")
def test_an_endpoint_on_a_parent_that_is_down_has_its_addresses_and_works_when_it_comes_up(lan: Lan) -> None:
    lan.run("ip", "link", "set", "eth0", "down")
    support.create_pub_net(lan, "--subnet=2001:db8:86::/64", "--gateway=2001:db8:86::1")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert support.addresses_of(lan, "box") == ["172.16.86.2/24"]
    assert support.addresses_of(lan, "box", family="inet6") == ["2001:db8:86::2/64"]
    lan.run("ip", "link", "set", "eth0", "up")
    netns.wait_until(lambda: lan.sandbox("box").can_ping("172.16.86.1"), what="the way to the router")


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
def test_a_shared_parent_that_was_there_stays_when_its_last_network_goes(lan: Lan, order: tuple[str, str]) -> None:
    before = support.world(lan)["host"]
    for number, name in enumerate(("first", "second"), 1):
        create(lan, name, f"10.{number}.0.0/24", "-o", "share_parent=true")
    for name in order:
        lan.macvfast("network", "rm", name)
        assert support.world(lan)["host"] == before


def test_no_subnet_with_a_parent_is_refused_with_the_parents_own_as_the_hint(lan: Lan) -> None:
    said = refused(lan, "network", "create", "-o", "parent=eth0", "lab")
    assert "eth0 is on 172.16.86.0/24: --subnet=172.16.86.0/24" in said


def test_no_parent_on_a_kernel_without_dummy_links_names_the_module(lan: Lan) -> None:
    if probe.features()["dummy"].present:
        pytest.skip("this kernel has dummy links")
    said = refused(lan, "network", "create", "--subnet=10.1.0.0/24", "lab")
    assert "module `dummy`" in said
    assert names(lan) == []


def test_a_missing_sub_interface_on_a_kernel_without_vlans_names_the_module(lan: Lan) -> None:
    if probe.features()["vlan"].present:
        pytest.skip("this kernel has 802.1Q links")
    said = refused(lan, "network", "create", "--subnet=10.1.0.0/24", "-o", "parent=eth0.50", "lab")
    assert "module `8021q`" in said
    assert names(lan) == []


@pytest.mark.needs("dummy", "ping")
def test_a_network_without_a_parent_is_local_to_the_host(lan: Lan) -> None:
    id_ = lan.macvfast("network", "create", "lab")
    assert f"dm-{id_[:12]}" in lan.host.link_names()
    for name in ("a", "b"):
        lan.macvfast("create", "--net=lab", "--name", name)
    assert lan.sandbox("a").can_ping(support.address_of(lan, "b"))
    assert support.default_routes(lan, "a") == []
    lan.macvfast("rm", "a", "b")
    lan.macvfast("network", "rm", "lab")
    assert lan.host.link_names() == ["eth0", "lo"]


@pytest.mark.needs("vlan")
def test_a_sub_interface_is_made_with_its_network_and_goes_with_it(lan: Lan) -> None:
    create(lan, "macvlan50", "192.168.50.0/24", parent="eth0.50")
    (link,) = lan.host.ip_json("link", "show", "dev", "eth0.50")
    assert (link["linkinfo"]["info_kind"], link["linkinfo"]["info_data"]["id"]) == ("vlan", 50)
    assert "UP" in link["flags"]
    lan.macvfast("network", "rm", "macvlan50")
    assert lan.host.link_names() == ["eth0", "lo"]


# Showing.


def test_inspect_prints_the_shape_of_docker(lan: Lan) -> None:
    id_ = support.create_pub_net(
        lan, "--label=team=net", "--aux-address=exclude_host=172.16.86.250", "--ip-range=172.16.86.128/25"
    )
    lan.macvfast("create", "--net=pub_net", "--name=box", "--ip=172.16.86.10")
    (shown,) = inspect(lan, "pub_net")
    assert (shown["Name"], shown["Id"], shown["Driver"], shown["Scope"]) == ("pub_net", id_, "macvlan", "local")
    assert (shown["EnableIPv6"], shown["Internal"], shown["Labels"]) == (False, False, {"team": "net"})
    assert shown["Options"] == {"parent": "eth0"}
    (config,) = shown["IPAM"]["Config"]
    assert config == {
        "Subnet": "172.16.86.0/24",
        "IPRange": "172.16.86.128/25",
        "Gateway": "172.16.86.1",
        "AuxiliaryAddresses": {"exclude_host": "172.16.86.250"},
    }
    ((sandbox, container),) = shown["Containers"].items()
    assert sandbox == support.ps(lan, "box")["ID"]
    assert (container["Name"], container["MacAddress"]) == ("box", "02:42:ac:10:56:0a")
    assert (container["IPv4Address"], container["IPv6Address"]) == ("172.16.86.10/24", "")


def test_inspecting_several_prints_what_there_is_and_ends_with_1(lan: Lan) -> None:
    support.create_pub_net(lan)
    with unchanged(lan):
        done = lan.attempt("network", "inspect", "missing", "pub_net")
    check_error(done, 1)
    assert [one["Name"] for one in json.loads(done.stdout)] == ["pub_net"]


def test_inspecting_what_is_not_there_prints_an_empty_array(lan: Lan) -> None:
    done = lan.attempt("network", "inspect", "missing")
    assert "missing" in check_error(done, 1)
    assert json.loads(done.stdout) == []


def test_ls_lists_by_name_and_filters(lan: Lan) -> None:
    lan.add_parent("eth1", "lan1")
    lan.add_parent("eth2", "lan2")
    create(lan, "b", "10.1.0.0/24", "--label=site=north")
    id_ = create(lan, "a", "10.2.0.0/24", parent="eth1")
    create(lan, "ab", "10.3.0.0/24", parent="eth2")
    assert names(lan) == ["a", "ab", "b"]
    (shown,) = listed(lan, "network", "ls", "-f", f"id={id_[:12]}")
    assert (shown["Name"], shown["Driver"], shown["Scope"]) == ("a", "macvlan", "local")
    assert id_.startswith(shown["ID"])
    assert lan.macvfast("network", "ls", "-q", "--no-trunc", "-f", "name=^a$") == id_
    assert [one["Name"] for one in listed(lan, "network", "ls", "-f", "label=site=north")] == ["b"]
    assert listed(lan, "network", "ls", "-f", "driver=ipvlan") == []
    refused(lan, "network", "ls", "-f", "colour=red")


def test_ls_prints_a_plain_table_where_nobody_looks(lan: Lan) -> None:
    support.create_pub_net(lan)
    heading, row = lan.macvfast("network", "ls").splitlines()
    assert heading.split()[:5] == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert row.split()[1:4] == ["pub_net", "macvlan", "local"]
    assert "\x1b" not in heading + row


def test_the_state_belongs_to_the_namespace_with_the_parents(lan: Lan) -> None:
    """The router's namespace has no `eth0`, and what is recorded is not its business."""
    support.create_pub_net(lan)
    elsewhere = netns.Netns(lan.router.path, lan.host.environment)
    with unchanged(lan):
        done = elsewhere.attempt(netns.MACVFAST, "create", "--net=pub_net", "--name=box")
        assert "belongs to another network namespace" in check_error(done, 1)
