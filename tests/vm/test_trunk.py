"""802.1Q sub-interfaces as parents: what leaves the NIC, whose they are, and what cannot be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from macvfast.errors import OptionInvalid, ParentNotFound, ParentUnusable
from tests.acceptance.support import check_error, unchanged, world
from tests.vm.support import addresses, create, defaults, kind, link, reach, refused, remove, router_vlan, sandbox

if TYPE_CHECKING:
    from macvfast.errors import MacvfastError
    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("vlan", "macvlan")


def add_vlan(lan: Lan, ifname: str, vid: int, base: str = "eth0") -> None:
    """Somebody makes a sub-interface."""
    lan.run("ip", "link", "add", "link", base, "name", ifname, "type", "vlan", "id", str(vid))


# Made, used and removed.


def test_the_frames_of_the_guides_two_tenants_leave_eth0_with_their_tags(lan: Lan) -> None:
    """Vlan ID 50 and 60 of the guide, typed."""
    tenants = {50: ("macvlan_test5", "macvlan_test6"), 60: ("macvlan_test7", "macvlan_test8")}
    for vid, names in tenants.items():
        router_vlan(lan, vid, f"192.168.{vid}.1/24")
        lan.macvfast(
            "network", "create", "-d", "macvlan", f"--subnet=192.168.{vid}.0/24", f"--gateway=192.168.{vid}.1",
            "-o", f"parent=eth0.{vid}", *(["-o", "macvlan_mode=bridge"] if vid == 60 else []), f"macvlan{vid}",
        )  # fmt: skip
        for name in names:
            sandbox(lan, name, f"macvlan{vid}")
        base = link(lan.host, "eth0")
        shown = link(lan.host, f"eth0.{vid}")
        assert kind(shown)[1] | {"flags": []} == {"protocol": "802.1Q", "id": vid, "flags": []}
        assert (shown["link"], shown["mtu"], shown["address"]) == ("eth0", base["mtu"], base["address"])
        assert "UP" in shown["flags"]
    with lan.frames_at_router() as frames:
        for vid, (one, other) in tenants.items():
            inside, outside = f"192.168.{vid}.3", f"192.168.{vid}.1"
            assert addresses(lan.sandbox(other)) == [f"{inside}/24"]
            assert reach(lan.sandbox(one), [inside, outside]) == [inside, outside]
        requests = [line for line in frames.so_far() if "ICMP echo request" in line]
        assert len(requests) == 2, "neighbours reach each other inside the host"
        for vid, request in zip(tenants, requests, strict=True):
            assert f"vlan {vid}, p 0" in request
            assert f"192.168.{vid}.2 > 192.168.{vid}.1" in request
    assert not lan.sandbox("macvlan_test5").can_ping("192.168.60.2", timeout_s=1), "nobody routes between the tenants"


def test_the_first_and_the_last_vlan_are_made_and_go_with_their_networks(lan: Lan) -> None:
    for vid in (1, 4094):
        create(lan, f"v{vid}", "10.1.0.0/24", parent=f"eth0.{vid}")
        assert kind(link(lan.host, f"eth0.{vid}"))[1]["id"] == vid
    assert remove(lan, "v1", "v4094") == []
    assert lan.host.link_names() == ["eth0", "lo"]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_shared_sub_interface_goes_with_the_last_network_whichever_that_is(lan: Lan, order: tuple[str, str]) -> None:
    create(lan, "a", "10.1.0.0/24", parent="eth0.50", share_parent=True)
    create(lan, "b", "10.2.0.0/24", parent="eth0.50", share_parent=True)
    remove(lan, order[0])
    assert lan.host.link_names() == ["eth0", "eth0.50", "lo"]
    remove(lan, order[1])
    assert lan.host.link_names() == ["eth0", "lo"]


def test_each_vlan_is_an_address_space_of_its_own(lan: Lan, foreign: Netns) -> None:
    router_vlan(lan, 10, "10.1.0.1/24")
    router_vlan(lan, 20)
    # The other tenant's router, with the same address.
    lan.router.run("ip", "link", "set", "lan0.20", "netns", foreign.name)
    foreign.run("ip", "address", "add", "10.1.0.1/24", "dev", "lan0.20")
    foreign.run("ip", "link", "set", "lan0.20", "up")
    for vid in (10, 20):
        create(lan, f"v{vid}", "10.1.0.0/24", gateways=["10.1.0.1"], parent=f"eth0.{vid}")
        sandbox(lan, f"box{vid}", f"v{vid}", ip="10.1.0.2")
    with lan.frames_at_router() as frames:
        for vid in (10, 20):
            assert lan.sandbox(f"box{vid}").can_ping("10.1.0.1")
        vlans = [line.partition("vlan ")[2].partition(",")[0] for line in frames.so_far() if "echo request" in line]
    assert vlans == ["10", "20"]
    with pytest.raises(Exception, match=r"overlaps 10\.1\.0\.0/24 of network `v10`, which it is on"):
        lan.api(lambda host: host.connect("v20", "box10"))


def test_a_sandbox_on_two_vlans_has_two_links_and_the_default_route_of_the_first(lan: Lan) -> None:
    for vid in (10, 20, 30):
        router_vlan(lan, vid, f"10.{vid}.0.1/24")
        create(lan, f"v{vid}", f"10.{vid}.0.0/24", gateways=[f"10.{vid}.0.1"], parent=f"eth0.{vid}")
    box = sandbox(lan, "box", "v10", "v20")
    lan.api(lambda host: host.connect("v30", "box"))
    assert box.link_names() == ["eth0", "eth1", "eth2", "lo"]
    assert [addresses(box, f"eth{number}") for number in range(3)] == [
        ["10.10.0.2/24"], ["10.20.0.2/24"], ["10.30.0.2/24"],
    ]  # fmt: skip
    assert reach(box, ["10.10.0.1", "10.20.0.1", "10.30.0.1"]) == ["10.10.0.1", "10.20.0.1", "10.30.0.1"]
    assert defaults(box)[4] == [("10.10.0.1", "eth0")]
    lan.api(lambda host: host.disconnect("v10", "box"))
    assert defaults(box)[4] == [("10.20.0.1", "eth1")]
    lan.api(lambda host: host.disconnect("v30", "box"))
    assert defaults(box)[4] == [("10.20.0.1", "eth1")]
    lan.api(lambda host: host.connect("v10", "box"))
    assert box.link_names() == ["eth0", "eth1", "lo"]
    assert defaults(box)[4] == [("10.20.0.1", "eth1")]


# Whose it is.


@pytest.mark.parametrize("ifname", ["eth0.50", "tenant-blue"])
def test_a_sub_interface_that_is_there_is_used_as_it_is_and_stays(lan: Lan, ifname: str) -> None:
    router_vlan(lan, 70, "10.7.0.1/24")
    add_vlan(lan, ifname, 70)
    lan.run("ip", "link", "set", ifname, "mtu", "1400", "up")
    before = world(lan)
    create(lan, "blue", "10.7.0.0/24", gateways=["10.7.0.1"], parent=ifname)
    box = sandbox(lan, "box", "blue")
    assert (link(box, "eth0")["mtu"], box.can_ping("10.7.0.1")) == (1400, True)
    lan.api(lambda host: host.remove_many(["box"]).raise_if_any())
    assert remove(lan, "blue") == []
    assert world(lan) == {**before, "record": {}}


def test_a_sub_interface_that_is_down_is_not_brought_up(lan: Lan) -> None:
    add_vlan(lan, "tenant", 70)
    create(lan, "blue", "10.7.0.0/24", parent="tenant")
    assert "UP" not in link(lan.host, "tenant")["flags"]


def test_a_link_of_any_kind_that_has_the_name_of_a_sub_interface_is_the_parent(lan: Lan) -> None:
    lan.add_parent("eth0.50", "far50", far_address="10.5.0.1/24")
    create(lan, "lab", "10.5.0.0/24", gateways=["10.5.0.1"], parent="eth0.50")
    assert kind(link(lan.host, "eth0.50"))[0] == "veth"
    assert sandbox(lan, "box", "lab").can_ping("10.5.0.1")
    lan.api(lambda host: host.remove_many(["box"]).raise_if_any())
    remove(lan, "lab")
    assert "eth0.50" in lan.host.link_names()


def test_a_sub_interface_with_a_strangers_macvlan_on_it_is_kept_and_that_is_said(lan: Lan, foreign: Netns) -> None:
    lan.macvfast("network", "create", "--subnet=10.5.0.0/24", "-o", "parent=eth0.50", "lab")
    lan.run(
        "ip", "link", "add", "link", "eth0.50", "name", "theirs", "address", "02:00:5e:00:53:01",
        "netns", foreign.name, "type", "macvlan",
    )  # fmt: skip
    foreign.run("ip", "link", "set", "theirs", "up")
    done = lan.attempt("network", "rm", "lab")
    assert (done.returncode, done.stdout) == (0, "lab\n")
    assert done.stderr == (
        "note: link `eth0.50` is kept: MAC 02:00:5e:00:53:01 on it is not macvfast's;"
        " `ip link del eth0.50` removes it\n"
    )
    assert foreign.link_names() == ["lo", "theirs"]
    # From now on it is a link that was there: the next network does not take it away either.
    create(lan, "next", "10.5.0.0/24", parent="eth0.50")
    foreign.run("ip", "link", "del", "theirs")
    assert remove(lan, "next") == []
    assert lan.host.link_names() == ["eth0", "eth0.50", "lo"]


def test_a_sub_interface_with_a_vlan_on_it_is_kept(lan: Lan) -> None:
    create(lan, "lab", "10.5.0.0/24", parent="eth0.50")
    add_vlan(lan, "qinq", 7, base="eth0.50")
    (note,) = remove(lan, "lab")
    assert (note.link, note.uppers, note.macs) == ("eth0.50", ("qinq",), ())
    assert lan.host.link_names() == ["eth0", "eth0.50", "lo", "qinq"]


def test_a_strangers_link_in_the_place_of_ours_is_never_removed(lan: Lan) -> None:
    create(lan, "lab", "10.5.0.0/24", parent="eth0.50")
    lan.run("ip", "link", "del", "eth0.50")
    add_vlan(lan, "eth0.50", 50)
    theirs = link(lan.host, "eth0.50")["ifindex"]
    assert remove(lan, "lab") == []
    assert link(lan.host, "eth0.50")["ifindex"] == theirs


@pytest.mark.parametrize("order", [("below", "above"), ("above", "below")])
@pytest.mark.parametrize("together", [False, True])
def test_a_vlan_in_a_vlan_comes_back_after_the_one_below_and_goes_before_it(
    lan: Lan, order: tuple[str, str], together: bool
) -> None:
    # By name, the network above comes first.
    create(lan, "below", "10.1.0.0/24", parent="eth0.7")
    create(lan, "above", "10.2.0.0/24", parent="eth0.7.8")
    sandbox(lan, "box", "above")
    lan.run("ip", "link", "del", "eth0.7")
    plan = lan.api(lambda host: host.restore())
    assert [str(step) for step in plan.steps] == [
        "network below: make sub-interface eth0.7, VLAN 7 on eth0",
        "network above: make sub-interface eth0.7.8, VLAN 8 on eth0.7",
        "sandbox box: make link eth0 on network above",
    ]
    assert (plan.failed, plan.remaining) == ([], ())
    assert lan.api(lambda host: host.check()) == []
    lan.api(lambda host: host.remove_many(["box"]).raise_if_any())
    if together:
        assert remove(lan, *order) == []
    elif order[0] == "above":
        assert remove(lan, "above") == []
        assert lan.host.link_names() == ["eth0", "eth0.7", "lo"]
        assert remove(lan, "below") == []
    else:
        (note,) = map(str, remove(lan, "below"))
        assert note == "link `eth0.7` is kept: network `above` needs it, and it goes with that"
        lan.run("ip", "link", "set", "eth0.7", "down")
        assert [one.found for one in lan.api(lambda host: host.check())][:1] == ["link eth0.7 below its parent is down"]
        lan.api(lambda host: host.restore())
        assert {"UP", "LOWER_UP"} <= set(link(lan.host, "eth0.7.8")["flags"])
        assert remove(lan, "above") == []
    assert lan.host.link_names() == ["eth0", "lo"]


def test_a_sub_interface_on_an_alternative_name_comes_back_with_it(lan: Lan) -> None:
    lan.run("ip", "link", "property", "add", "dev", "eth0", "altname", "uplink0")
    create(lan, "a", "10.1.0.0/24", parent="uplink0.40")
    sandbox(lan, "box", "a")
    lan.run("ip", "link", "del", "uplink0.40")
    plan = lan.api(lambda host: host.restore())
    assert (plan.failed, plan.remaining) == ([], ())
    assert kind(link(lan.host, "uplink0.40"))[1]["id"] == 40
    lan.api(lambda host: host.remove_many(["box"]).raise_if_any())
    assert remove(lan, "a") == []
    assert lan.host.link_names() == ["eth0", "lo"]


# What cannot be.

IMPOSSIBLE: dict[str, tuple[type[MacvfastError], str]] = {
    "eth0.0": (OptionInvalid, "`0` is not a VLAN id: 1 to 4094"),
    "eth0.4095": (OptionInvalid, "`4095` is not a VLAN id: 1 to 4094"),
    "eth0.x": (OptionInvalid, "`x` is not a VLAN id: 1 to 4094"),
    "eth0.050": (OptionInvalid, "`050` is not a VLAN id: 1 to 4094, without leading zeros"),
    "eth0.": (OptionInvalid, "`` is not a VLAN id: 1 to 4094"),
    ".50": (ParentNotFound, "no link has that name, and it is not of the form NAME.VID"),
    "eth9.50": (ParentNotFound, "neither it nor `eth9` exists"),
    "a-long-name-of-a-nic.50": (OptionInvalid, "a link's name has at most 15 bytes"),
    "lo.50": (ParentUnusable, "it is the loopback link: no frame leaves by it"),
    "eth0.70": (ParentUnusable, "link `blue` is VLAN 70 on it already"),
}


def test_what_cannot_be_a_sub_interface_is_refused_with_the_reason(lan: Lan) -> None:
    add_vlan(lan, "blue", 70)
    with unchanged(lan):
        for parent, (expected, reason) in IMPOSSIBLE.items():
            error = refused(lan, "lab", "10.1.0.0/24", parent=parent)
            assert type(error) is expected, parent
            assert error.causes[0].startswith(reason), parent
            if parent == "eth0.70":
                assert error.hints == ("-o parent=blue",)


def test_a_sub_interface_of_a_nic_that_is_down_is_refused_with_the_command_that_mends_it(lan: Lan) -> None:
    lan.run("ip", "link", "set", "eth0", "down")
    with unchanged(lan):
        done = lan.attempt("network", "create", "--subnet=10.1.0.0/24", "-o", "parent=eth0.50", "lab")
        said = check_error(done, 1)
    assert "link `eth0` cannot be a parent" in said
    assert "it is down" in said
    lan.run(*said.rpartition("hint: ")[2].split())
    create(lan, "lab", "10.1.0.0/24", parent="eth0.50")
    assert {"UP", "LOWER_UP"} <= set(link(lan.host, "eth0.50")["flags"])


def test_a_missing_subnet_is_not_taken_from_the_nic_below_a_vlan(lan: Lan) -> None:
    error = refused(lan, "lab", parent="eth0.50")
    assert error.code == "subnet-missing"
    assert error.hints == ("--subnet=192.0.2.0/24, or what the LAN has",)
    assert "eth0 is on 172.16.86.0/24: --subnet=172.16.86.0/24" in refused(lan, "lab", parent="eth0").hints


def test_a_sub_interface_that_followed_its_base_down_gets_its_mtu_back(lan: Lan) -> None:
    """The kernel lowers the MTU of a VLAN with that of its base, and does not raise it with it."""
    wide = ("ip", "link", "set", "eth0", "mtu", "9000")
    lan.run(*wide)
    create(lan, "jumbo", "10.7.0.0/24", parent="eth0.7", mtu=9000)
    box = sandbox(lan, "box", "jumbo")
    before = link(box, "eth0")
    lan.run("ip", "link", "set", "eth0", "mtu", "1500")
    assert (link(lan.host, "eth0.7")["mtu"], link(box, "eth0")["mtu"]) == (1500, 1500)
    (difference,) = lan.api(lambda host: host.restore()).remaining
    assert "(eth0 has an MTU of 1500: `ip link set eth0 mtu 9000`, or more)" in str(difference)
    assert link(box, "eth0")["ifindex"] == before["ifindex"], "what works is left alone"
    lan.run(*wide)
    assert link(lan.host, "eth0.7")["mtu"] == 1500
    done = lan.api(lambda host: host.restore())
    assert [str(step) for step in done.steps] == [
        "network jumbo: give eth0.7 an MTU of 9000",
        "sandbox box: make link eth0 on network jumbo anew",
    ]
    assert (link(lan.host, "eth0.7")["mtu"], link(box, "eth0")["mtu"]) == (9000, 9000)
    assert lan.api(lambda host: host.check()) == []
    lan.api(lambda host: host.remove_many(["box"]).raise_if_any())
    remove(lan, "jumbo")
