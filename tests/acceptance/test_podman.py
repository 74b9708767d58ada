"""The command as a plugin of Podman's, by way of netavark, with a server and without one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.netavark import Podman, address_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan")

WEB, DB = "3f" * 32, "db" * 32
SUBNET = "172.16.86.0/24"
NETWORKS = Path("/etc/containers/networks")


@pytest.fixture
def podman(told: Lan, tmp_path: Path) -> Podman:
    return Podman(told, tmp_path)


@pytest.fixture(params=["with a server", "without"])
def either(request: pytest.FixtureRequest, podman: Podman) -> Podman:
    """A plugin that is served, and one that is not."""
    if request.param == "without":
        if podman.lan.server is not None:
            pytest.skip("the bed has a server")
    elif podman.lan.server is None:
        podman.lan.serve()
    return podman


@pytest.fixture
def another() -> Iterator[Netns]:
    """The namespace of another container."""
    made = netns.Netns.make("another")
    yield made
    made.remove()


# What is done.


def test_it_says_which_interface_it_has(podman: Podman) -> None:
    for words in (("info",), ()):
        assert podman.ok(*words) == {"version": podman.ok("info")["version"], "api_version": "1.0.0"}


def test_a_container_is_attached_and_detached(either: Podman, foreign: Netns) -> None:
    made = either.create("lan", SUBNET)
    assert made["subnets"] == [{"subnet": SUBNET, "gateway": "172.16.86.1"}]
    assert (made["ipam_options"], made["dns_enabled"]) == ({"driver": "none"}, False)
    eth0 = either.setup(foreign, WEB, "lan")["eth0"]
    (link,) = foreign.ip_json("address", "show", "dev", "eth0")
    assert eth0 == {
        "mac_address": link["address"], "subnets": [{"ipnet": "172.16.86.2/24", "gateway": "172.16.86.1"}],
    }  # fmt: skip
    assert foreign.can_ping("172.16.86.1")
    (listed,) = support.listed(either.lan, "network", "ls")
    assert (listed["Name"], listed["Origin"]) == ("podman-lan", "podman")
    either.teardown(foreign, WEB, "lan")
    assert foreign.link_names() == ["lo"]
    either.teardown(foreign, WEB, "lan")
    netns.wait_until(lambda: not support.listed(either.lan, "ps", "-a", "--all-origins"))


def test_a_command_is_no_call_of_podmans(podman: Podman) -> None:
    """Where a person types it, `create` is a command, as it is from that directory with other words."""
    made = podman.lan.macvfast("create", "--name=box")
    assert [one["Names"] for one in support.listed(podman.lan, "ps", "-a")] == ["box"]
    assert podman.lan.host.run(podman.plugin, "ps", "-aq") == f"{made[:12]}\n"


def test_a_container_that_is_reloaded_has_the_same_address_and_mac_at_once(either: Podman, foreign: Netns) -> None:
    """`network reload` tears down, and sets up at once with what there was, as if it had been asked for."""
    either.create("lan", SUBNET)
    before = either.setup(foreign, WEB, "lan")
    for _ in range(5):
        either.teardown(foreign, WEB, "lan")
        kept = {"static_ips": [address_in(before["eth0"])], "static_mac": before["eth0"]["mac_address"]}
        assert either.setup(foreign, WEB, "lan", **kept) == before
    assert foreign.can_ping("172.16.86.1")


def test_a_container_that_starts_again_has_the_address_that_it_had(
    either: Podman, foreign: Netns, another: Netns
) -> None:
    either.create("lan", SUBNET)
    assert address_in(either.setup(foreign, WEB, "lan")["eth0"]) == "172.16.86.2"
    before = either.setup(another, DB, "lan")
    either.teardown(foreign, WEB, "lan")
    either.teardown(another, DB, "lan")
    # It has another namespace, and nobody says which address it had.
    assert either.setup(foreign, DB, "lan") == before
    # What is made anew has another id, and the same name.
    assert address_in(either.setup(another, "5c" * 32, "lan", name=f"name-of-{WEB[:4]}")["eth0"]) == "172.16.86.2"


def test_what_podman_run_asks_for_is_given(either: Podman, foreign: Netns) -> None:
    either.create("lan", SUBNET, "2001:db8:86::/64", ipv6_enabled=True)
    asked = {
        "interface_name": "net5", "static_ips": ["172.16.86.77", "2001:db8:86::77"], "static_mac": "02:00:00:00:00:77",
    }  # fmt: skip
    assert either.setup(foreign, WEB, "lan", **asked) == {
        "net5": {
            "mac_address": "02:00:00:00:00:77",
            "subnets": [
                {"ipnet": "172.16.86.77/24", "gateway": "172.16.86.1"},
                {"ipnet": "2001:db8:86::77/64", "gateway": "2001:db8:86::1"},
            ],
        }
    }
    (link,) = foreign.ip_json("address", "show", "dev", "net5")
    assert link["address"] == "02:00:00:00:00:77"


def test_an_address_that_podman_has_not_checked_is(podman: Podman, foreign: Netns, another: Netns) -> None:
    podman.create("lan", SUBNET)
    podman.setup(foreign, WEB, "lan")
    for asked, why in (
        ({"static_ips": ["10.9.9.9"]}, "10.9.9.9"),
        ({"static_ips": ["172.16.86.2"]}, "held by sandbox"),
        ({"static_ips": ["172.16.86.1"]}, "the gateway of 172.16.86.0/24"),
        ({"static_ips": ["172.16.86.7", "172.16.86.8"]}, "of one family"),
        ({"static_ips": ["none"]}, "is not an IPv4 address"),
        ({"static_mac": "01:00:00:00:00:01"}, "multicast"),
        ({"options": {"host_interface_name": "x"}}, "host_interface_name"),
    ):
        assert why in podman.refused(another, DB, "lan", **asked)
        assert another.link_names() == ["lo"]
    assert len(support.listed(podman.lan, "ps", "-a", "--all-origins")) == 1


def test_a_container_on_two_networks_has_the_default_route_of_the_one_with_the_lower_metric(
    podman: Podman, foreign: Netns
) -> None:
    podman.create("lan", SUBNET)
    podman.create("near", "172.16.87.0/24", options={"parent": "eth0", "metric": "50"})
    podman.create("mute", "172.16.88.0/24", options={"parent": "eth0", "no_default_route": "1"})
    podman.setup(foreign, WEB, "lan", interface_name="eth0")
    podman.setup(foreign, WEB, "mute", interface_name="eth1")
    assert [one["gateway"] for one in foreign.ip_json("route", "show", "default")] == ["172.16.86.1"]
    podman.setup(foreign, WEB, "near", interface_name="eth2")
    assert [(one["gateway"], one.get("metric")) for one in foreign.ip_json("route", "show", "default")] == [
        ("172.16.87.1", 50)
    ]
    podman.teardown(foreign, WEB, "near", interface_name="eth2")
    assert [one["gateway"] for one in foreign.ip_json("route", "show", "default")] == ["172.16.86.1"]


def test_routes_and_modes_are_those_of_podmans_options(podman: Podman, foreign: Netns) -> None:
    route = {"destination": "10.20.0.0/16", "gateway": "172.16.86.9", "metric": 7}
    podman.create("lan", SUBNET, routes=[route], options={"parent": "eth0", "mode": "private", "mtu": "1400"})
    podman.setup(foreign, WEB, "lan")
    (link,) = foreign.ip_json("-details", "link", "show", "eth0")
    assert (link["mtu"], link["linkinfo"]["info_data"]["mode"]) == (1400, "private")
    assert [(one["gateway"], one["metric"]) for one in foreign.ip_json("route", "show", "10.20.0.0/16")] == [
        ("172.16.86.9", 7)
    ]


def test_a_range_of_leases_limits_what_is_given_and_leaves_the_gateway_where_podman_has_it(
    podman: Podman, foreign: Netns
) -> None:
    lease = {"start_ip": "172.16.86.128", "end_ip": "172.16.86.191"}
    made = podman.create("lan", {"subnet": SUBNET, "lease_range": lease})
    assert made["subnets"] == [{"subnet": SUBNET, "gateway": "172.16.86.1", "lease_range": lease}]
    assert address_in(podman.setup(foreign, WEB, "lan")["eth0"]) == "172.16.86.128"


MISTAKES: list[tuple[dict[str, object], str]] = [
    ({"options": {"parent": "eth0", "macvlan_mode": "fast"}}, "it is one of bridge, private, vepa, passthru"),
    ({"options": {"parent": "eth0", "isolate": "true"}}, "isolate is none of the options"),
    ({"options": {"parent": "eth0", "metric": "low"}}, "metric"),
    ({"options": {"parent": "eth0", "vlan": "5000"}}, "1 to 4094"),
    ({"options": {"vlan": "50"}}, "needs a parent"),
    ({"options": {"parent": "eth9"}}, "parent `eth9` not found"),
    ({"options": {"parent": "eth0", "driver": "bridge"}}, "neither macvlan nor ipvlan"),
    ({"options": {"parent": "eth0", "no_default_route": "perhaps"}}, "true or false"),
    ({"ipam_options": {"driver": "dhcp"}}, "dhcp"),
    ({"routes": [{"destination": "10.0.0.0/8", "route_type": "blackhole"}]}, "blackhole"),
    ({"network_dns_servers": ["172.16.86.1"]}, "no name server"),
    ({"subnets": [{"subnet": "172.16.86.5/24"}]}, "host bits"),
    ({"subnets": [{"subnet": SUBNET, "gateway": "10.0.0.1"}]}, "10.0.0.1"),
    ({"subnets": [{"subnet": SUBNET, "lease_range": {"start_ip": "10.0.0.1", "end_ip": "10.0.0.9"}}]}, "10.0.0.1"),
    ({"subnets": None}, "--subnet=172.16.86.0/24"),
    ({"subnets": "none"}, "subnets is a text where a list is meant"),
    ({"name": ""}, "no name"),
]


def test_what_is_wrong_is_said_and_nothing_is_made(podman: Podman) -> None:
    podman.lan.serve()
    for fields, why in MISTAKES:
        assert why in podman.error("create", stdin=podman.network("lan", SUBNET) | fields)
    assert support.listed(podman.lan, "network", "ls") == []


def test_what_is_no_call_is_refused(podman: Podman, foreign: Netns) -> None:
    for text in ("", "[]", "{", "null", "[" * 100_000, '{"name":'):
        assert "JSON" in podman.error("create", stdin=text)
    assert "container_id is missing" in podman.error("setup", str(foreign.path), stdin={})
    podman.create("lan", SUBNET)
    for path in ("/nowhere", ""):
        words = ["setup", path] if path else ["setup"]
        assert "cannot be opened" in podman.error(*words, stdin=podman.said(WEB, "lan"))
    assert "not a network namespace" in podman.error("setup", "/proc/self/ns/mnt", stdin=podman.said(WEB, "lan"))


def test_a_container_whose_namespace_is_gone_is_torn_down_and_its_address_free(either: Podman) -> None:
    either.create("lan", SUBNET)
    gone = netns.Netns.make("gone")
    either.setup(gone, WEB, "lan")
    path = str(gone.path)
    gone.remove()
    either.teardown(path, WEB, "lan")
    netns.wait_until(lambda: not support.listed(either.lan, "ps", "-a", "--all-origins"))


def test_a_container_that_podman_lost_is_taken_from_its_old_namespace(
    either: Podman, foreign: Netns, another: Netns
) -> None:
    """A Podman that was killed has not torn down, and the container starts in another namespace."""
    either.create("lan", SUBNET)
    before = either.setup(foreign, WEB, "lan")
    assert either.setup(another, WEB, "lan") == before
    assert foreign.link_names() == ["lo"]


def test_a_network_that_is_missing_in_the_record_is_made_again(podman: Podman, foreign: Netns) -> None:
    podman.create("lan", SUBNET)
    podman.lan.macvfast("gc", "--origin=podman", "--force")
    assert support.listed(podman.lan, "network", "ls") == []
    assert address_in(podman.setup(foreign, WEB, "lan")["eth0"]) == "172.16.86.2"


@pytest.fixture
def kept() -> Iterator[Path]:
    """Where Podman keeps its networks."""
    directory = NETWORKS
    directory.mkdir(parents=True)
    yield directory
    shutil.rmtree(directory.parent)


def write(directory: Path, podman: Podman) -> None:
    for file in directory.iterdir():
        file.unlink()
    for name, one in podman.networks.items():
        (directory / f"{name}.json").write_text(json.dumps(one), encoding="utf-8")


def listed_networks(podman: Podman) -> list[str]:
    return [one["Name"] for one in support.listed(podman.lan, "network", "ls")]


def test_gc_removes_what_podman_no_longer_has(podman: Podman, foreign: Netns, kept: Path) -> None:
    for name, subnet in (("lan", SUBNET), ("used", "172.16.87.0/24"), ("gone", "172.16.88.0/24")):
        podman.create(name, subnet)
    podman.setup(foreign, WEB, "used")
    del podman.networks["gone"]
    used = podman.networks.pop("used")
    write(kept, podman)
    (kept / "damaged.json").write_text("{", encoding="utf-8")
    podman.lan.macvfast("gc")
    assert len(listed_networks(podman)) == 3, "nobody can tell what there is"
    (kept / "damaged.json").unlink()
    podman.lan.macvfast("gc")
    assert listed_networks(podman) == ["podman-lan", "podman-used"]
    podman.networks["used"] = used
    podman.teardown(foreign, WEB, "used")
    netns.wait_until(lambda: not support.listed(podman.lan, "ps", "-a", "--all-origins"))
    podman.lan.macvfast("gc")
    assert listed_networks(podman) == ["podman-lan"]


def test_a_network_that_is_removed_and_made_again_is_the_new_one(podman: Podman, foreign: Netns, kept: Path) -> None:
    podman.create("lan", SUBNET)
    del podman.networks["lan"]
    write(kept, podman)
    podman.create("lan", "172.16.87.0/24")
    assert listed_networks(podman) == ["podman-lan"]
    assert address_in(podman.setup(foreign, WEB, "lan")["eth0"]) == "172.16.87.2"


def test_a_network_of_the_same_name_has_another_one_while_the_old_one_is_used(
    podman: Podman, foreign: Netns, another: Netns, kept: Path
) -> None:
    podman.create("lan", SUBNET)
    podman.setup(foreign, WEB, "lan")
    old = podman.networks.pop("lan")
    write(kept, podman)
    new = podman.create("lan", SUBNET)
    assert listed_networks(podman) == ["podman-lan", f"podman-lan-{new['id'][:8]}"]
    # They share the addresses of the parent.
    assert address_in(podman.setup(another, DB, "lan")["eth0"]) == "172.16.86.3"
    podman.networks["lan"] = old
    podman.teardown(foreign, WEB, "lan")


def test_podmans_own_ipam_may_give_the_addresses(podman: Podman, foreign: Netns) -> None:
    made = podman.create("lan", SUBNET, ipam_options={"driver": "host-local"})
    assert made["ipam_options"] == {"driver": "host-local"}
    assert address_in(podman.setup(foreign, WEB, "lan", static_ips=["172.16.86.9"])["eth0"]) == "172.16.86.9"


def test_a_network_without_addresses_has_links_alone(podman: Podman, foreign: Netns) -> None:
    podman.create("bare", ipam_options={"driver": "none"})
    assert podman.setup(foreign, WEB, "bare")["eth0"]["subnets"] == []
    assert foreign.ip_json("-4", "address", "show", "dev", "eth0") in ([], [{}])


def test_an_internal_network_has_no_gateway(podman: Podman, foreign: Netns) -> None:
    made = podman.create("inner", SUBNET, internal=True)
    assert made["subnets"] == [{"subnet": SUBNET}]
    assert address_in(podman.setup(foreign, WEB, "inner")["eth0"])
    assert foreign.ip_json("route", "show", "default") == []
