"""What restore brings back, what it leaves alone, and what check and gc say: on a kernel in memory."""

from __future__ import annotations

import errno
import os
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.errors import (
    HomeNamespaceOther,
    KernelFeatureMissing,
    KernelRefused,
    MacTaken,
    MacvfastError,
    NetworkNotFound,
)
from macvfast.model import mac_text
from macvfast.requests import EndpointRequest
from macvfast.state.records import RESTORED
from macvfast.state.store import Store
from tests.unit.fake_kernel import Crash, FakeKernel, FakeLink, FakeNetns, Faults
from tests.unit.machine import LAN, Machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from macvfast.model import Sandbox
    from macvfast.outcomes import Plan

GIVEN = "/run/netns/theirs"
ON_LAN = (EndpointRequest(network="lan"),)
ON_BOTH = (EndpointRequest(network="lan"), EndpointRequest(network="other"))


def kinds(machine: Machine) -> list[str]:
    return [difference.kind for difference in machine.host.check()]


def actions(plan: Plan) -> list[str]:
    assert plan.failed == []
    return [str(step) for step in plan.steps]


def assert_nothing_to_do(machine: Machine) -> None:
    before = machine.everything()
    assert machine.host.check() == []
    again = machine.host.restore()
    assert again.steps == ()
    assert again.remaining == ()
    assert machine.everything() == before


def netns_of(machine: Machine, name: str) -> FakeNetns:
    return machine.world.pins[machine.host.sandbox(name).path]


# A reboot.


def test_after_a_reboot_everything_is_made_again_with_its_addresses_and_macs(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.host.create_network("local")
    asked = [EndpointRequest(network=name) for name in ("lan", "other", "vlan", "local")]
    before = machine.host.create_sandbox("x", endpoints=asked)
    machine.host.create_sandbox("bare")
    machine.world.reboot()
    machine.restart()
    assert set(kinds(machine)) == {"parent-missing", "namespace-missing", "link-missing"}
    plan = machine.host.restore()
    assert actions(plan)[:2] == [
        f"network local: make dummy link {machine.host.network('local').link}",
        "network vlan: make sub-interface eth0.50, VLAN 50 on eth0",
    ]
    assert "sandbox bare: make its namespace" in actions(plan)
    assert plan.remaining == ()
    machine.assert_record_is_true()
    after = machine.host.sandbox("x")
    assert [(e.ifname, e.mac, e.addresses) for e in after.endpoints] == [
        (e.ifname, e.mac, e.addresses) for e in before.endpoints
    ]
    assert set(netns_of(machine, "x").routes) == {4, 6}
    assert netns_of(machine, "x").routes[4] == after.endpoints[0].ifindex
    assert_nothing_to_do(machine)


def test_a_plan_is_only_shown_with_dry_run_and_is_then_what_is_done(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="vlan"), *ON_LAN])
    machine.world.reboot()
    machine.restart()
    before = machine.everything()
    planned = machine.host.restore(dry_run=True)
    assert machine.everything() == before
    assert machine.host.restore().steps == planned.steps


def test_differences_are_listed_as_people_count(machine: Machine) -> None:
    """Catches an order in which net-10 comes before net-9."""
    for vid in (100, 10, 9):
        machine.host.create_network(f"net-{vid}", subnets=[f"10.0.{vid}.0/24"], parent=f"eth0.{vid}")
        machine.host.connect_many(f"net-{vid}", [f"w{vid}-10", f"w{vid}-9"]).raise_if_any()
    machine.world.reboot()
    machine.restart()
    found = machine.host.check()
    networks = [one.network for one in found if one.kind == "parent-missing"]
    assert networks == ["net-9", "net-10", "net-100"]
    sandboxes = [one.sandbox for one in found if one.kind == "namespace-missing"]
    assert sandboxes == [f"w{vid}-{number}" for vid in (9, 10, 100) for number in (9, 10)]


def test_check_notes_nothing_not_even_the_new_boot(machine: Machine) -> None:
    machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.reboot()
    machine.restart()
    database = machine.host._store.path
    with machine.host._store.reading() as records:
        before = records.host("boot_id")
    assert kinds(machine) == ["namespace-missing", "link-missing"]
    with machine.host._store.reading() as records:
        assert records.host("boot_id") == before
    assert database.exists()
    assert machine.owners() == []


def test_many_sandboxes_come_back_in_several_chunks(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from macvfast.engine import observe, restore

    for module in (observe, restore):
        monkeypatch.setattr(module, "CHUNK", 3)
    machine.host.connect_many("lan", [f"x{number}" for number in range(8)]).raise_if_any()
    machine.world.reboot()
    machine.restart()
    plan = machine.host.restore()
    assert len(plan.steps) == 16
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


def test_a_passthru_endpoint_learns_the_mac_that_its_parent_has_after_the_reboot(machine: Machine) -> None:
    machine.host.create_network("through", subnets=["10.3.0.0/24"], parent="eth0.7", mode="passthru")
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="through")])
    machine.world.reboot()
    machine.restart()
    really = FakeKernel._add_home

    def with_another_mac(kernel: FakeKernel, link: FakeLink) -> None:
        link.mac = b"\x02\x00\x00\x00\x00\x77"
        really(kernel, link)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeKernel, "_add_home", with_another_mac)
        machine.host.restore()
    assert machine.host.sandbox("x").endpoints[0].mac == b"\x02\x00\x00\x00\x00\x77"
    assert_nothing_to_do(machine)


def test_in_the_same_boot_another_home_namespace_is_refused(machine: Machine) -> None:
    machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.home.cookie += 1000
    for act in (machine.host.restore, machine.host.check, machine.host.gc):
        with pytest.raises(HomeNamespaceOther):
            act()


# Tampering hands.


def lose_a_link(machine: Machine, box: Sandbox) -> None:
    machine.world.pins[box.path].remove(box.endpoints[0].ifindex)


def lose_an_address(machine: Machine, box: Sandbox) -> None:
    machine.world.pins[box.path].links[box.endpoints[0].ifindex].addresses.pop()


def lose_a_route(machine: Machine, box: Sandbox) -> None:
    del machine.world.pins[box.path].routes[6]


def set_a_link_down(machine: Machine, box: Sandbox) -> None:
    netns = machine.world.pins[box.path]
    link = netns.links[box.endpoints[0].ifindex]
    link.up = False
    link.addresses = [one for one in link.addresses if len(one[0]) == 4]
    netns.routes.clear()


def rename_a_link(machine: Machine, box: Sandbox) -> None:
    machine.world.pins[box.path].links[box.endpoints[0].ifindex].ifname = "lan0"


def change_the_mode(machine: Machine, box: Sandbox) -> None:
    machine.world.pins[box.path].links[box.endpoints[0].ifindex].mode = "private"


def exchange_the_parent(machine: Machine, _: Sandbox) -> None:
    """eth0 is called otherwise, links on it included, and another link is called eth0."""
    machine.world.home.links[2].ifname = "old"
    machine.world.add_home(FakeLink(44, "eth0", mac=b"\x52\x54\x00\x00\x00\x44"))


def take_the_parent(machine: Machine, _: Sandbox) -> None:
    """eth0 goes, with all on it, and comes again with another index."""
    machine.world.take_parent(2)
    machine.world.add_home(FakeLink(44, "eth0", mac=b"\x52\x54\x00\x00\x00\x02"))


def take_the_pin(machine: Machine, box: Sandbox) -> None:
    machine.world.take_pin(box.path)


def unmount_the_pin(machine: Machine, box: Sandbox) -> None:
    machine.world.take_pin(box.path, leave_file=True)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lose_a_link, ["link-missing"]),
        (lose_an_address, ["address-missing"]),
        (lose_a_route, ["route-missing"]),
        (set_a_link_down, ["link-down"]),
        (rename_a_link, ["link-wrong"]),
        (change_the_mode, ["link-wrong"]),
        (exchange_the_parent, ["link-wrong"]),
        (take_the_parent, ["link-missing"]),
        (take_the_pin, ["namespace-missing", "link-missing", "link-missing"]),
        (unmount_the_pin, ["namespace-missing", "link-missing", "link-missing"]),
    ],
)
def test_what_a_hand_took_away_is_said_and_comes_back_and_nothing_else_is_touched(
    machine: Machine, tamper: Callable[[Machine, Sandbox], None], said: list[str]
) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_BOTH)
    other = machine.host.create_sandbox("y", endpoints=[EndpointRequest(network="other")])
    untouched = machine.world.pins[other.path]
    tamper(machine, box)
    assert kinds(machine) == said
    machine.host.restore()
    machine.assert_record_is_true()
    netns = netns_of(machine, "x")
    routes = netns.routes
    assert routes == {family: machine.host.sandbox("x").endpoints[0].ifindex for family in (4, 6)}
    assert {link.parent for link in netns.links.values()} == {
        machine.world.home.named(name).ifindex  # type: ignore[union-attr]
        for name in ("eth0", "eth1")
    }
    assert {link.mode for link in netns.links.values()} == {"bridge"}
    assert netns_of(machine, "y") is untouched
    assert machine.host.sandbox("y") == other
    assert_nothing_to_do(machine)


def test_a_living_namespace_whose_pin_is_gone_is_pinned_again_and_not_made_anew(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = machine.world.pins[box.path]
    machine.world.enter(netns)
    machine.world.take_pin(box.path)
    assert kinds(machine) == ["pin-missing"]
    assert actions(machine.host.restore()) == ["sandbox x: pin its namespace again"]
    assert machine.world.pins[box.path] is netns
    assert machine.host.sandbox("x") == box
    machine.world.leave(netns)
    assert_nothing_to_do(machine)


def test_another_namespace_with_the_inode_of_ours_is_not_taken_for_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    inode = machine.world.pins[box.path].inode
    machine.world.take_pin(box.path)
    stranger = machine.world.new_netns()
    machine.world.enter(stranger)
    monkeypatch.setattr(FakeNetns, "inode", property(lambda _: inode))
    machine.host.restore()
    assert machine.world.pins[box.path] is not stranger


def test_a_sub_interface_that_was_deleted_comes_back_with_the_links_on_it(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="vlan")])
    old = machine.world.home.named("eth0.50")
    assert old is not None
    machine.world.take_parent(old.ifindex)
    assert kinds(machine) == ["parent-missing", "link-missing"]
    machine.host.restore()
    new = machine.world.home.named("eth0.50")
    assert new is not None
    assert new.ifindex != old.ifindex
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)
    machine.host.remove_many(["x"]).raise_if_any()
    machine.host.remove_networks(["vlan"]).raise_if_any()
    assert machine.world.home.named("eth0.50") is None, "the new one is known as ours, too"


def test_a_sub_interface_of_ours_that_was_set_down_is_brought_up(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    link = machine.world.home.named("eth0.50")
    assert link is not None
    link.up = False
    assert actions(machine.host.restore()) == ["network vlan: bring up eth0.50"]
    assert link.up
    assert_nothing_to_do(machine)


# Strangers.


def test_a_stranger_under_the_name_of_our_sub_interface_is_reported_and_left_alone(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="vlan"), *ON_LAN])
    machine.world.reboot()
    machine.restart()
    theirs = machine.world.add_home(FakeLink(50, "eth0.50", "vlan", parent=2, vid=50))
    plan = machine.host.restore()
    assert [difference.kind for difference in plan.remaining] == ["parent-other", "link-missing"]
    assert "macvfast did not make" in str(plan.remaining[0])
    assert "ip link del eth0.50" in str(plan.remaining[0])
    assert machine.world.home.named("eth0.50") is theirs
    assert machine.world.uppers(50) == []
    assert [link.ifname for link in netns_of(machine, "x").links.values()] == ["eth1"], "the rest is there"
    del machine.world.home.links[50]
    machine.host.restore()
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


def test_a_stranger_that_has_our_vlan_under_another_name_is_reported(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.world.reboot()
    machine.restart()
    machine.world.add_home(FakeLink(50, "vlan50", "vlan", parent=2, vid=50))
    (difference,) = machine.host.restore().remaining
    assert "vlan50" in str(difference)


def test_our_sub_interface_under_another_name_is_reported_and_left_alone(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    link = machine.world.home.named("eth0.50")
    assert link is not None
    link.ifname = "renamed"
    (difference,) = machine.host.restore().remaining
    assert "`ip link set renamed name eth0.50`" in str(difference)


@pytest.mark.parametrize("what", ["a namespace", "a file", "a directory"])
def test_what_strangers_put_in_the_place_of_a_pin_is_reported_and_left_alone(machine: Machine, what: str) -> None:
    from pathlib import Path

    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.take_pin(box.path)
    path = Path(box.path)
    if what == "a namespace":
        kernel = FakeKernel(machine.world, Faults())
        (stranger,) = kernel.make_namespaces(1, ())
        assert kernel.pin([(stranger, box.path)]) == [None]
        stranger.close()
    elif what == "a file":
        path.write_text("theirs")
    else:
        path.mkdir()
    before = machine.everything()
    plan = machine.host.restore()
    assert [difference.kind for difference in plan.remaining] == ["pin-other"]
    assert plan.steps == ()
    assert machine.everything() == before


def test_a_stranger_with_the_name_or_the_index_of_our_link_is_reported_and_left_alone(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_BOTH)
    netns = machine.world.pins[box.path]
    first, second = (endpoint.ifindex for endpoint in box.endpoints)
    netns.remove(first)
    netns.links[9] = FakeLink(9, "eth0", "dummy")
    netns.links[second].kind = "dummy"
    before = machine.everything()
    plan = machine.host.restore()
    assert [difference.kind for difference in plan.remaining] == ["link-missing", "link-other"]
    assert machine.everything() == before


def test_a_link_with_another_mac_is_ours_and_is_made_anew_where_its_own_mac_is_free(machine: Machine) -> None:
    """Who takes it for a stranger's makes a second link beside it."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = machine.world.pins[box.path]
    (endpoint,) = box.endpoints
    before = machine.everything()
    netns.links[endpoint.ifindex].mac = b"\x02\x00\x00\x00\x00\x99"
    (difference,) = machine.host.check()
    assert (difference.kind, difference.found) == (
        "link-wrong",
        f"link eth0 on network lan has MAC 02:00:00:00:00:99, not {mac_text(endpoint.mac)}",
    )
    machine.world.add_home(FakeLink(77, "theirs", "macvlan", endpoint.mac, parent=2, mode="bridge"))
    (step,) = machine.host.restore().steps
    assert isinstance(step.error, MacTaken)
    assert netns.links[endpoint.ifindex].mac == b"\x02\x00\x00\x00\x00\x99"
    del machine.world.home.links[77]
    machine.host.restore()
    assert machine.everything() == before


def test_a_default_route_that_is_not_ours_stays(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = machine.world.pins[box.path]
    netns.gateways[4] = b"\x0a\x00\x00\x01"
    plan = machine.host.restore()
    assert [difference.kind for difference in plan.remaining] == ["route-other"]
    assert netns.gateways[4] == b"\x0a\x00\x00\x01"


@pytest.mark.parametrize("made", [True, False])
def test_a_default_route_that_a_router_advertises_on_our_link_is_not_in_the_way_of_ours(
    machine: Machine, *, made: bool
) -> None:
    if made:
        box = machine.host.create_sandbox("x", endpoints=ON_LAN)
        netns = machine.world.pins[box.path]
    else:
        netns = machine.world.give(GIVEN)
        machine.host.connect("lan", "x", netns=GIVEN)
    (ifindex,) = netns.links
    netns.advertised = {ifindex}
    assert machine.host.check() == []
    del netns.routes[6]
    netns.gateways[6] = None
    assert kinds(machine) == ["route-missing"]
    machine.host.restore()
    assert (netns.routes[6], netns.gateways[6]) == (ifindex, ip_address("2001:db8:86::1").packed)
    assert_nothing_to_do(machine)


@pytest.mark.parametrize("made", [True, False])
def test_what_a_router_advertises_on_a_link_of_others_holds_the_default_route_in_their_namespace_alone(
    machine: Machine, *, made: bool
) -> None:
    if made:
        machine.host.create_sandbox("x", endpoints=ON_LAN)
        netns = netns_of(machine, "x")
    else:
        netns = machine.world.give(GIVEN)
    netns.links[7] = FakeLink(7, "theirs")
    netns.advertised = {7}
    if not made:
        machine.host.connect("lan", "x", netns=GIVEN)
    assert (6 in netns.routes) is made
    assert machine.host.check() == []
    netns.remove(machine.host.sandbox("x").endpoints[0].ifindex)
    machine.host.restore()
    assert (6 in netns.routes) is made, "as it was made"
    assert_nothing_to_do(machine)


# Nothing that works is deleted before its replacement is known to be possible.


def one_that_needs(machine: Machine, **options: object) -> tuple[FakeNetns, FakeLink]:
    machine.host.create_network("needs", subnets=["10.9.0.0/24"], parent="eth2", **options)  # type: ignore[arg-type]
    box = machine.host.create_sandbox("j1", endpoints=[EndpointRequest(network="needs")])
    netns = machine.world.pins[box.path]
    return netns, netns.links[box.endpoints[0].ifindex]


@pytest.fixture
def jumbo(machine: Machine) -> tuple[FakeNetns, FakeLink]:
    """An endpoint whose network says an MTU of 9000."""
    machine.world.add_home(FakeLink(9, "eth2", mac=b"\x52\x54\x00\x00\x00\x09", mtu=9000))
    return one_that_needs(machine, mtu=9000)


def test_a_link_that_cannot_be_made_anew_is_left_as_it_is(machine: Machine, jumbo: tuple[FakeNetns, FakeLink]) -> None:
    netns, link = jumbo
    machine.world.set_mtu(9, 1500)
    (difference,) = machine.host.restore().remaining
    assert difference.kind == "link-wrong"
    assert str(difference) == (
        "sandbox j1: link eth0 on network needs has an MTU of 1500, not 9000"
        " (eth2 has an MTU of 1500: `ip link set eth2 mtu 9000`, or more)"
    )
    assert list(netns.links.values()) == [link]
    assert machine.host.check() == [difference]
    machine.world.set_mtu(9, 9000)
    assert actions(machine.host.restore()) == ["sandbox j1: make link eth0 on network needs anew"]
    assert [one.mtu for one in netns.links.values()] == [9000]
    assert_nothing_to_do(machine)


def test_what_else_such_a_link_lacks_it_gets(machine: Machine, jumbo: tuple[FakeNetns, FakeLink]) -> None:
    netns, link = jumbo
    machine.world.set_mtu(9, 1500)
    before = link.addresses.copy()
    link.addresses.clear()
    netns.routes.clear()
    machine.host.restore()
    assert list(netns.links.values()) == [link]
    assert (link.addresses, set(netns.routes)) == (before, {4})
    assert kinds(machine) == ["link-wrong"]


def become_a_port(machine: Machine, _: FakeNetns) -> None:
    machine.world.home.links[44].controller, machine.world.home.links[44].port_kind = 2, "bridge"


def become_a_macvlan(machine: Machine, _: FakeNetns) -> None:
    machine.world.home.links[44].kind, machine.world.home.links[44].parent = "macvlan", 9


def become_a_tunnel(machine: Machine, _: FakeNetns) -> None:
    machine.world.home.links[44].mac = b""


def have_its_mac(machine: Machine, netns: FakeNetns) -> None:
    (link,) = netns.links.values()
    machine.world.home.links[44].mac = link.mac


def carry_its_mac(machine: Machine, netns: FakeNetns) -> None:
    (link,) = netns.links.values()
    machine.world.add_home(FakeLink(45, "theirs", "macvlan", link.mac, parent=44, mode="bridge"))


@pytest.mark.parametrize(
    ("become", "said"),
    [
        (become_a_port, "it is a port of bridge `eth0`"),
        (become_a_macvlan, "it is itself a macvlan"),
        (become_a_tunnel, "it is no Ethernet link"),
        (have_its_mac, "parent `eth2` itself has it"),
        (carry_its_mac, "another link on `eth2` has it"),
    ],
)
def test_a_link_stays_on_its_old_parent_while_the_new_one_cannot_carry_it(
    machine: Machine, jumbo: tuple[FakeNetns, FakeLink], become: Callable[[Machine, FakeNetns], None], said: str
) -> None:
    netns, link = jumbo
    machine.world.home.links[9].ifname = "old"
    machine.world.add_home(FakeLink(44, "eth2", mac=b"\x52\x54\x00\x00\x00\x44", mtu=9000))
    become(machine, netns)
    plan = machine.host.restore()
    assert said in " ".join([*(str(step.error) for step in plan.failed), *map(str, plan.remaining)])
    assert list(netns.links.values()) == [link]


@pytest.mark.parametrize("depth", [1, 2])
def test_a_sub_interface_of_ours_that_followed_its_base_down_comes_up_with_it_again(
    machine: Machine, depth: int
) -> None:
    machine.world.home.links[2].mtu = 9000
    parent = ["eth0.7", "eth0.7.8"][depth - 1]
    if depth == 2:
        machine.host.create_network("below", subnets=["10.8.0.0/24"], parent="eth0.7")
    machine.host.create_network("needs", subnets=["10.9.0.0/24"], parent=parent, mtu=9000)
    machine.host.create_sandbox("j1", endpoints=[EndpointRequest(network="needs")])
    machine.world.set_mtu(2, 1500)
    (difference,) = machine.host.restore().remaining
    assert "(eth0 has an MTU of 1500: `ip link set eth0 mtu 9000`, or more)" in str(difference)
    machine.world.set_mtu(2, 9000)
    assert kinds(machine) == ["parent-mtu"] * depth + ["link-wrong"]
    assert actions(machine.host.restore())[depth - 1 :] == [
        f"network needs: give {parent} an MTU of 9000",
        "sandbox j1: make link eth0 on network needs anew",
    ]
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


def test_a_sub_interface_of_ours_with_less_than_its_base_is_left_so_where_nothing_needs_more(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    link = machine.world.home.named("eth0.50")
    assert link is not None
    machine.world.set_mtu(link.ifindex, 1400)
    assert_nothing_to_do(machine)
    assert link.mtu == 1400


# IPv6 that the kernel took.


def test_ipv6_that_a_small_mtu_took_for_good_comes_back(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = netns_of(machine, "x")
    machine.world.set_mtu(2, 1200)
    (difference,) = machine.host.restore().remaining
    assert "has an MTU of 1200, too small for IPv6 (eth0 has an MTU of 1200: `ip link set eth0 mtu 1280`" in str(
        difference
    )
    assert set(netns.routes) == {4}, "what works goes on working"
    with pytest.raises(MacvfastError, match="its MTU of 1200 is too small for IPv6, which needs 1280"):
        machine.host.create_sandbox("y", endpoints=ON_LAN)
    with pytest.raises(MacvfastError, match="its MTU of 1200 is too small for IPv6, which needs 1280"):
        machine.host.create_network("vlan", subnets=["fd00::/64"], parent="eth0.50")
    machine.world.set_mtu(2, 1500)
    machine.host.restore()
    assert set(netns.routes) == {4, 6}
    assert machine.host.sandbox("x").endpoints == box.endpoints
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


def test_ipv6_that_somebody_switched_off_is_switched_on_again(machine: Machine) -> None:
    machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = netns_of(machine, "x")
    (link,) = netns.links.values()
    link.has_ipv6 = False
    link.addresses.pop()
    del netns.routes[6]
    machine.host.restore()
    assert set(netns.routes) == {4, 6}
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


def test_a_kernel_without_ipv6_is_named_beforehand(machine: Machine) -> None:
    machine.world.has_ipv6 = False
    before = machine.everything()
    said = "this kernel has no IPv6"
    with pytest.raises(KernelFeatureMissing, match=said):
        machine.host.create_network("new", subnets=["fd00::/64"], parent="eth0.50")
    with pytest.raises(KernelFeatureMissing, match=said):
        machine.host.create_sandbox("x", endpoints=ON_LAN)
    assert machine.everything() == before
    machine.host.create_sandbox("y", endpoints=[EndpointRequest(network="other")])


# Waiting.


def without_eth0(machine: Machine) -> FakeLink:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="vlan"), EndpointRequest(network="other")])
    machine.host.create_sandbox("y", endpoints=ON_LAN)
    machine.world.reboot()
    machine.restart()
    return machine.world.home.links.pop(2)


def test_what_has_no_parent_yet_waits_and_the_rest_is_made_at_once(machine: Machine) -> None:
    eth0 = without_eth0(machine)
    plan = machine.host.restore()
    assert [link.ifname for link in netns_of(machine, "x").links.values()] == ["eth1"]
    assert [difference.kind for difference in plan.remaining] == ["parent-missing"] * 2 + ["link-missing"] * 2
    machine.world.add_home(eth0)
    machine.host.restore()
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


def test_with_wait_each_network_is_restored_as_its_parent_comes_up(machine: Machine) -> None:
    eth0 = without_eth0(machine)
    seen = []

    def comes_down() -> None:
        seen.append([link.ifname for link in netns_of(machine, "x").links.values()])
        eth0.up = False
        machine.world.add_home(eth0)

    def comes_up() -> None:
        # A macvlan stands on a link that is down; an 802.1Q link does not.
        seen.append([link.ifname for link in netns_of(machine, "y").links.values()])
        eth0.up = True

    machine.world.to_come = [comes_down, lambda: None, comes_up]
    plan = machine.host.restore(wait_s=60)
    assert seen == [["eth1"], ["eth0"]]
    assert plan.remaining == ()
    assert plan.failed == []
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


def test_the_mtu_that_is_missing_is_waited_for(machine: Machine, jumbo: tuple[FakeNetns, FakeLink]) -> None:
    netns, _ = jumbo
    machine.world.set_mtu(9, 1500)
    machine.world.to_come = [
        lambda: machine.world.set_mtu(9, 4000),
        lambda: machine.world.set_mtu(9, 9000),
    ]
    plan = machine.host.restore(wait_s=60)
    assert (plan.remaining, plan.failed, machine.world.to_come) == ((), [], [])
    assert [one.mtu for one in netns.links.values()] == [9000]
    assert_nothing_to_do(machine)


def test_a_name_that_comes_back_is_waited_for(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="vlan")])
    link = machine.world.home.named("eth0.50")
    assert link is not None
    netns_of(machine, "x").links.clear()
    link.ifname = "renamed"
    machine.world.to_come = [lambda: setattr(link, "ifname", "eth0.50")]
    assert machine.host.restore(wait_s=60).remaining == ()
    machine.assert_record_is_true()


def test_a_parent_that_goes_while_it_is_needed_is_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.reboot()
    machine.restart()
    eth0 = machine.world.home.links[2]
    really = FakeKernel.pin

    def pin(kernel: FakeKernel, pins: Any) -> Any:
        # After it was looked for, and before it is used.
        machine.world.home.links.pop(2)
        return really(kernel, pins)

    monkeypatch.setattr(FakeKernel, "pin", pin)
    machine.world.to_come = [lambda: machine.world.add_home(eth0)]
    plan = machine.host.restore(wait_s=60)
    assert (plan.remaining, plan.failed) == ((), [])
    machine.assert_record_is_true()


def test_the_wait_is_bounded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    without_eth0(machine)
    now = iter([0.0, 1.0, 59.0, 61.0])
    monkeypatch.setattr("macvfast.engine.restore.time.monotonic", lambda: next(now))
    machine.world.to_come = [lambda: None, lambda: None]
    plan = machine.host.restore(wait_s=60)
    assert {difference.kind for difference in plan.remaining} == {"parent-missing", "link-missing"}


def test_nothing_is_waited_for_that_cannot_come_by_itself(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.world.reboot()
    machine.restart()
    machine.world.add_home(FakeLink(50, "eth0.50", "vlan", parent=2, vid=50))
    assert len(machine.host.restore(wait_s=60).remaining) == 1


# Failures.


def test_one_sandbox_that_cannot_be_restored_takes_no_other_with_it(machine: Machine) -> None:
    machine.host.connect_many("lan", ["a", "b", "c"]).raise_if_any()
    machine.world.reboot()
    machine.restart()
    machine.faults.arm(fail_at=2, only="make a link")
    plan = machine.host.restore()
    assert [(step.mends.sandbox, step.mends.kind) for step in plan.failed] == [("b", "link-missing")]
    assert "injected" in str(plan.failed[0].error)
    machine.faults.arm()
    assert kinds(machine) == ["link-missing"]
    assert len(machine.host.restore().steps) == 1
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


def test_one_network_that_cannot_be_restored_leaves_a_sandbox_its_others(machine: Machine) -> None:
    machine.host.create_sandbox("x", endpoints=ON_BOTH)
    machine.world.reboot()
    machine.restart()
    machine.faults.arm(fail_at=1, only="make a link")
    machine.host.restore()
    assert [link.ifname for link in netns_of(machine, "x").links.values()] == ["eth1"]


def prepared(directory: Path, number: int) -> Machine:
    """A host after a reboot, with something of each kind to restore."""
    (directory / str(number)).mkdir()
    machine = Machine(directory / str(number))
    machine.host.create_network("lan", subnets=[LAN, "2001:db8:86::/64"], parent="eth0", share_parent=True)
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.host.create_network("flat", subnets=["10.2.0.0/24"], parent="eth1", driver="ipvlan")
    machine.host.create_sandbox("a", endpoints=[EndpointRequest(network=one) for one in ("lan", "vlan")])
    machine.host.create_sandbox("b", endpoints=[EndpointRequest(network="flat")])
    machine.world.give(GIVEN)
    machine.host.connect("lan", "guest", netns=GIVEN)
    machine.world.reboot()
    machine.restart()
    machine.world.give(GIVEN)
    return machine


def tampered(directory: Path, number: int) -> Machine:
    """A host in the boot in which it was made, with something of each kind to mend."""
    machine = prepared(directory, number)
    machine.host.restore()
    a, b = machine.host.sandbox("a"), machine.host.sandbox("b")
    rename_a_link(machine, a)
    machine.world.enter(machine.world.pins[b.path])
    machine.world.take_pin(b.path)
    lose_an_address_of_guest = machine.world.given[GIVEN].links[machine.host.sandbox("guest").endpoints[0].ifindex]
    lose_an_address_of_guest.addresses.clear()
    return machine


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("prepare", [prepared, tampered])
@pytest.mark.parametrize("how", ["fails", "dies"])
def test_a_restore_that_fails_or_dies_at_any_step_is_finished_by_the_next(
    tmp_path: Path, prepare: Callable[[Path, int], Machine], how: str
) -> None:
    dry = prepare(tmp_path, 0)
    dry.faults.arm()
    dry.host.restore()
    names = [box.name for box in dry.host.sandboxes()]
    steps = list(dry.faults.seen)
    dry.host.close()
    for number, step in enumerate(steps, 1):
        machine = prepare(tmp_path, number)
        before = {box.name: [(e.mac, e.addresses) for e in box.endpoints] for box in machine.host.sandboxes()}
        if how == "fails":
            machine.faults.arm(fail_at=number)
            said = ""
            try:
                plan = machine.host.restore()
                said = " ".join([*(str(one.error) for one in plan.failed), *map(str, plan.remaining)])
            except MacvfastError as error:
                said = str(error)
            # A namespace that others made and that does not open by its path may be found by another.
            assert "injected" in said or step == "open a namespace", step
            machine.faults.arm()
        else:
            machine.faults.arm(crash_at=number)
            with pytest.raises(Crash):
                machine.host.restore()
            machine.restart()
        machine.host.restore()
        machine.assert_record_is_true()
        assert_nothing_to_do(machine)
        assert [box.name for box in machine.host.sandboxes()] == names, f"nothing was lost at {step}"
        after = {box.name: [(e.mac, e.addresses) for e in box.endpoints] for box in machine.host.sandboxes()}
        assert after == before
        machine.host.close()


# Others at the same time.


@pytest.mark.usefixtures("impatient")
def test_what_another_process_is_restoring_is_left_to_it(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.reboot()
    machine.restart()
    other = Store(machine.state_dir)
    try:
        with other.operation():
            with other.writing() as records:
                records.begin_with_sandboxes([box.id], records.begin(other.owner(), RESTORED))
            assert machine.host.restore().steps == ()
            assert machine.host.check() == []
            (outcome,) = machine.host.remove_many(["x"], force=True)
            assert outcome.error is not None
            assert "restored" in str(outcome.error)
    finally:
        other.close()
    assert machine.host.sandbox("x").name == "x", "what the dead were restoring is there"
    machine.host.restore()
    machine.assert_record_is_true()


def test_a_parent_that_another_process_is_making_again_is_not_made_or_taken_away(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=["10.1.0.0/24"], parent="eth0.50", share_parent=True)
    machine.world.reboot()
    machine.restart()
    other = Store(machine.state_dir)
    try:
        with other.operation():
            with other.writing() as records:
                made = records.made_parent("eth0.50")
                assert made is not None
                records.delete_made_parent("eth0.50")
                records.add_made_parent(made, records.begin(other.owner(), RESTORED))
            assert machine.host.restore().steps == ()
            with pytest.raises(MacvfastError, match=r"`eth0\.50` is being restored"):
                machine.host.create_network("too", subnets=["10.2.0.0/24"], parent="eth0.50", share_parent=True)
            (outcome,) = machine.host.remove_networks(["vlan"])
            assert "being restored" in str(outcome.error)
    finally:
        other.close()
    assert len(machine.host.restore().steps) == 1
    assert_nothing_to_do(machine)


def test_a_sandbox_that_changes_after_the_first_look_is_looked_at_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from macvfast.engine.repair import Repairer

    machine.host.create_sandbox("x", endpoints=ON_BOTH)
    machine.world.reboot()
    machine.restart()
    really = Repairer._mark

    def late(repairer: Repairer, *arguments: object) -> object:
        # Between the look and the mark, another restore has been and gone.
        monkeypatch.setattr(Repairer, "_mark", really)
        machine.restore_elsewhere()
        return really(repairer, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Repairer, "_mark", late)
    machine.host.restore()
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


# Links that were asked for otherwise than the network has them.


def test_a_link_comes_back_with_its_own_name_and_mtu(machine: Machine) -> None:
    wanted = EndpointRequest(network="lan", ifname="web0", mtu=1400)
    box = machine.host.create_sandbox("x", endpoints=[wanted, *ON_LAN, EndpointRequest(network="other")][::2])
    assert [(one.ifname, one.mtu) for one in box.endpoints] == [("web0", 1400), ("eth0", None)]
    machine.world.reboot()
    machine.restart()
    machine.host.restore()
    links = machine.world.pins[box.path].links.values()
    assert {link.ifname: link.mtu for link in links} == {"web0": 1400, "eth0": 1500}
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


def test_a_link_whose_own_mtu_was_changed_is_made_anew(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="lan", mtu=1400)])
    (link,) = machine.world.pins[box.path].links.values()
    link.mtu = 1500
    machine.host.restore()
    (link,) = machine.world.pins[box.path].links.values()
    assert link.mtu == 1400
    assert_nothing_to_do(machine)


# What the dead left.


def test_restore_says_what_it_undid_of_the_dead(machine: Machine) -> None:
    machine.faults.arm(crash_at=1, only="make a link")
    with pytest.raises(Crash):
        machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.restart()
    assert kinds(machine) == ["half-made"]
    assert actions(machine.host.restore()) == ["sandbox x: remove what was made of it"]
    assert_nothing_to_do(machine)


def test_a_finished_removal_of_a_sandbox_is_none_of_a_network_of_its_name(machine: Machine) -> None:
    machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.faults.arm(crash_at=1, only="unpin")
    with pytest.raises(Crash):
        machine.host.remove_many(["x"])
    machine.restart()
    (outcome,) = machine.host.remove_networks(["x"])
    assert isinstance(outcome.error, NetworkNotFound)
    assert list(machine.host.sandboxes()) == []


def test_what_cannot_be_finished_yet_is_said_to_remain(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.enter(machine.world.pins[box.path])
    netns = machine.world.pins[box.path]
    with monkeypatch.context() as patch:
        patch.setattr(FakeKernel, "delete_links_by_id", lambda *_: [KernelRefused("delete links", errno.EPERM)])
        machine.host.remove_many(["x"])
        plan = machine.host.restore()
    assert [difference.kind for difference in plan.remaining] == ["half-removed"]
    machine.world.leave(netns)
    machine.mend()
    assert_nothing_to_do(machine)


def test_what_was_half_made_and_cannot_be_undone_yet_is_not_said_to_be_undone(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.faults.arm(crash_at=1, only="configure")
    with pytest.raises(Crash):
        machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.restart()
    with monkeypatch.context() as patch:
        patch.setattr(FakeKernel, "unpin", lambda _, paths: [KernelRefused("unpin", errno.EPERM) for _ in paths])
        plan = machine.host.restore()
        (freed,) = machine.host.gc()
    assert [difference.sandbox for difference in plan.remaining] == ["x"]
    assert plan.steps == ()
    assert freed.error is not None
    machine.mend()
    assert_nothing_to_do(machine)


# Namespaces that others made.


def test_an_endpoint_in_a_given_namespace_waits_for_it_over_a_reboot(machine: Machine) -> None:
    machine.world.give(GIVEN)
    machine.host.connect("lan", "guest", netns=GIVEN)
    machine.world.reboot()
    machine.restart()
    assert [difference.kind for difference in machine.host.restore().remaining] == ["namespace-missing"]
    netns = machine.world.give(GIVEN)
    assert kinds(machine) == ["namespace-missing", "link-missing"]
    machine.host.restore()
    assert [link.ifname for link in netns.links.values()] == ["eth0"]
    assert set(netns.routes) == {4, 6}
    machine.assert_record_is_true()
    assert_nothing_to_do(machine)


def test_a_link_that_waits_for_a_given_namespace_keeps_its_name(machine: Machine) -> None:
    machine.world.give(GIVEN)
    machine.host.connect("lan", "guest", netns=GIVEN)
    machine.world.reboot()
    machine.restart()
    machine.world.give(GIVEN)
    assert machine.host.connect("lan", "newcomer", netns=GIVEN).ifname == "eth1"
    assert machine.host.restore().remaining == ()
    assert machine.host.sandbox("guest").endpoints[0].ifname == "eth0"
    assert_nothing_to_do(machine)


def test_a_pid_of_before_a_reboot_is_nobody_s_after_it(machine: Machine) -> None:
    path = "/proc/7/ns/net"
    machine.world.give(path)
    machine.host.connect("lan", "guest", netns=path)
    machine.world.reboot()
    machine.restart()
    netns = machine.world.give(path)
    assert [difference.kind for difference in machine.host.restore().remaining] == ["namespace-missing"]
    assert netns.links == {}
    assert [(freed.name, freed.error) for freed in machine.host.gc()] == [("guest", None)]
    assert_nothing_to_do(machine)


def test_in_the_same_boot_another_namespace_at_the_given_path_is_another_one(machine: Machine) -> None:
    machine.world.let_go(machine.world.give(GIVEN))
    machine.world.give(GIVEN)
    machine.host.connect("lan", "guest", netns=GIVEN)
    machine.world.let_go(machine.world.given.pop(GIVEN))
    netns = machine.world.give(GIVEN)
    plan = machine.host.restore()
    assert [difference.kind for difference in plan.remaining] == ["namespace-missing"]
    assert netns.links == {}
    assert [freed.name for freed in machine.host.gc()] == ["guest"]
    assert machine.addresses_in_use()[f"eth0 {LAN}"] == 3
    assert_nothing_to_do(machine)


def test_a_given_namespace_is_looked_at_once_for_all_that_stand_for_it(machine: Machine) -> None:
    """More than are mended together elsewhere: a look for each, or for each hundred, grows with the product of two
    counts.
    """
    netns = machine.world.give(GIVEN)
    names = [f"guest-{number}" for number in range(150)]
    machine.host.connect_many("lan", names, netns=GIVEN).raise_if_any()
    machine.host.create_sandbox("a-box", endpoints=ON_LAN)
    machine.host.create_sandbox("z-box", endpoints=ON_LAN)

    def looks() -> int:
        return machine.faults.seen.count("list the links inside")

    before = looks()
    assert machine.host.check() == []
    # One in each namespace of macvfast's own.
    assert looks() - before == 3
    for link in list(netns.links):
        netns.remove(link)
    machine.world.pins[machine.host.sandbox("z-box").path].remove(machine.host.sandbox("z-box").endpoints[0].ifindex)
    missing = [difference.sandbox for difference in machine.host.check()]
    assert missing == ["z-box", *names], "by name, those in given namespaces last"
    plan = machine.host.restore()
    assert (len(plan.steps), plan.remaining) == (151, ())
    assert netns.routes == {family: machine.host.sandbox("guest-0").endpoints[0].ifindex for family in (4, 6)}
    assert_nothing_to_do(machine)


def test_only_the_first_of_several_in_a_given_namespace_gets_the_default_route_back(machine: Machine) -> None:
    netns = machine.world.give(GIVEN)
    machine.host.connect("lan", "first", netns=GIVEN)
    machine.host.connect("other", "second", netns=GIVEN)
    for link in list(netns.links):
        netns.remove(link)
    machine.host.restore()
    assert netns.routes == {family: machine.host.sandbox("first").endpoints[0].ifindex for family in (4, 6)}
    assert_nothing_to_do(machine)


def test_the_default_route_comes_back_by_the_link_that_was_connected_first_whichever_sandbox_is_older(
    machine: Machine,
) -> None:
    netns = machine.world.give(GIVEN)
    machine.host.connect("other", "older", netns=GIVEN)
    newer = machine.host.connect("lan", "newer", netns=GIVEN)
    machine.host.create_network("late", subnets=["fd00::/64"], parent="eth0.4")
    machine.host.connect("late", "older", netns=GIVEN)
    assert netns.routes[6] == newer.ifindex
    netns.links[newer.ifindex].ifname = "renamed"
    machine.host.restore()
    assert netns.routes[6] == newer.ifindex
    assert_nothing_to_do(machine)


def test_a_route_that_goes_with_a_link_that_is_made_anew_is_given_to_whom_it_belongs(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=[EndpointRequest(network=one) for one in ("other", "lan")])
    netns = machine.world.pins[box.path]
    first, second = (endpoint.ifindex for endpoint in box.endpoints)
    # Somebody moved the IPv4 default route to the second link, and renamed that.
    netns.routes[4], netns.gateways[4] = second, b"\xac\x10\x56\x01"
    netns.links[second].ifname = "renamed"
    assert machine.host.restore().remaining == ()
    assert netns.routes == {4: first, 6: second}
    assert_nothing_to_do(machine)


def test_a_default_route_that_others_put_into_their_namespace_is_no_difference(machine: Machine) -> None:
    netns = machine.world.give(GIVEN)
    netns.links[5] = FakeLink(5, "theirs")
    netns.routes, netns.gateways = {4: 5, 6: 5}, {4: b"\x0a\x00\x00\x01", 6: None}
    machine.host.connect("lan", "guest", netns=GIVEN)
    assert machine.host.check() == []
    netns.remove(machine.host.sandbox("guest").endpoints[0].ifindex)
    machine.host.restore()
    assert set(netns.routes.values()) == {5}
    assert_nothing_to_do(machine)


def test_a_link_that_was_born_down_in_a_given_namespace_is_set_before_it_comes_up(machine: Machine) -> None:
    netns = machine.world.give(GIVEN)
    machine.faults.arm(crash_at=1, only="configure")
    with pytest.raises(Crash):
        machine.host.connect("other", "guest", netns=GIVEN)
    machine.restart()
    machine.host.connect("other", "guest", netns=GIVEN)
    netns.remove(machine.host.sandbox("guest").endpoints[0].ifindex)
    machine.faults.arm(crash_at=1, only="configure")
    with pytest.raises(Crash):
        machine.host.restore()
    machine.restart()
    (link,) = netns.links.values()
    assert [link.up for link in netns.links.values()] == [False]
    link.has_ipv6 = True
    machine.host.restore()
    assert [(link.up, link.has_ipv6) for link in netns.links.values()] == [(True, False)]
    assert_nothing_to_do(machine)


# gc.


def test_gc_frees_what_was_to_go_with_a_command_that_has_ended(machine: Machine) -> None:
    boxes = {name: machine.host.create_sandbox(name, endpoints=ON_LAN) for name in ("spent", "kept", "idle", "runs")}
    with machine.host._store.writing() as records:
        for name in ("spent", "idle", "runs"):
            records.set_command(boxes[name].id, ["true"], auto_remove=True)
    # Somebody is about to start the commands of these.
    locks = [machine.host._parts.directories.hold(boxes[name]) for name in ("idle", "runs")]
    for name in ("spent", "kept"):
        directory = machine.host._store.sandbox_dir(boxes[name].id)
        directory.mkdir(parents=True)
        (directory / "status").write_text("boot b\nkeeper 1 1\ninit 1 1\nstate exited\nexit 0\n")
    freed = machine.host.gc()
    assert [(one.kind, one.name, one.error) for one in freed] == [("sandbox", "spent", None)]
    assert "--rm" in freed[0].reason
    assert [box.name for box in machine.host.sandboxes()] == ["idle", "kept", "runs"]
    assert machine.host.gc() == []
    for lock in locks:
        os.close(lock)
    assert [one.name for one in machine.host.gc()] == ["idle", "runs"]


def test_gc_says_what_it_undid_of_the_dead(machine: Machine) -> None:
    machine.faults.arm(crash_at=1, only="make a link")
    with pytest.raises(Crash):
        machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.restart()
    assert [(one.kind, one.name) for one in machine.host.gc()] == [("sandbox", "x")]
    machine.assert_record_is_true()


def test_gc_keeps_what_stands_for_a_namespace_that_lives_on_without_its_path(machine: Machine) -> None:
    netns = machine.world.give(GIVEN)
    machine.host.connect("lan", "guest", netns=GIVEN)
    machine.world.given["/elsewhere"] = machine.world.given.pop(GIVEN)
    assert machine.host.check() == []
    assert machine.host.gc() == []
    assert machine.host.sandbox("guest").name == "guest"
    (link,) = netns.links.values()
    link.addresses.clear()
    assert kinds(machine) == ["address-missing"], "what is said is true there"
    machine.host.restore()
    assert_nothing_to_do(machine)


@pytest.mark.parametrize("in_its_place", ["nothing", "another namespace"])
@pytest.mark.parametrize("remove", ["disconnect", "rm"])
def test_a_namespace_is_known_by_its_cookie_wherever_it_lives(machine: Machine, remove: str, in_its_place: str) -> None:
    netns = machine.world.give(GIVEN)
    machine.host.connect("lan", "guest", netns=GIVEN)
    machine.world.given["/elsewhere"] = machine.world.given.pop(GIVEN)
    other = machine.world.give(GIVEN) if in_its_place == "another namespace" else None
    machine.host.connect("other", "guest")
    assert sorted(link.ifname for link in netns.links.values()) == ["eth0", "eth1"]
    if remove == "disconnect":
        machine.host.disconnect("lan", "guest")
        assert [link.ifname for link in netns.links.values()] == ["eth1"]
    machine.host.remove_many(["guest"], force=True).raise_if_any()
    assert netns.links == {}
    assert other is None or other.links == {}
    machine.host.remove_networks(["lan", "other"]).raise_if_any()
    machine.assert_record_is_true()


# Pins that lost their mount.


@pytest.mark.usefixtures("hasty")
def test_removing_a_sandbox_takes_the_file_that_its_lost_pin_left(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.take_pin(box.path, leave_file=True)
    machine.host.remove_many(["x"]).raise_if_any()
    machine.assert_record_is_true()
    assert machine.world.picture()["files"] == []
    machine.host.create_sandbox("x", endpoints=ON_LAN)


def test_a_link_is_deleted_in_a_namespace_that_lost_its_pin_and_lives(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = machine.world.pins[box.path]
    machine.world.enter(netns)
    machine.world.take_pin(box.path)
    machine.host.remove_many(["x"]).raise_if_any()
    assert netns.links == {}
    machine.world.leave(netns)
    machine.assert_record_is_true()


# A MAC that something else has by now.


def lost_to_a_link(machine: Machine, ifindex: int | None = None) -> FakeLink:
    """A sandbox loses its namespace, and a link of the home namespace has its MAC then."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.take_pin(box.path)
    machine.world.dying.clear()
    (endpoint,) = box.endpoints
    return machine.world.add_home(
        FakeLink(ifindex or endpoint.ifindex, "theirs", "macvlan", endpoint.mac, parent=2, mode="bridge")
    )


@pytest.mark.parametrize("patient", [True, False])
def test_a_mac_that_a_link_of_others_has_is_not_waited_for(machine: Machine, patient: bool) -> None:
    lost_to_a_link(machine, 77)
    if not patient:
        machine.faults.arm(crash_at=1, only="list the MACs")
        with pytest.raises(Crash):
            machine.host.remove_many(["x"])
        machine.restart()
        machine.host.remove_networks([])
    machine.host.remove_many(["x"], force=True).raise_if_any()
    assert machine.host.create_sandbox("y", endpoints=ON_LAN).endpoints[0].addresses[0].ip.packed[3] == 3
    assert machine.host.check() == []


def test_a_mac_that_a_link_of_others_has_does_not_free_what_lives_on(machine: Machine) -> None:
    """The owner of a namespace can give our link another MAC: it keeps its address all the same."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = machine.world.pins[box.path]
    (endpoint,) = box.endpoints
    machine.world.enter(netns)
    netns.links[endpoint.ifindex].mac = b"\x02\x00\x00\x00\x00\x99"
    machine.world.add_home(FakeLink(77, "theirs", "macvlan", endpoint.mac, parent=2, mode="bridge"))
    machine.host.remove_many(["x"]).raise_if_any()
    assert netns.links == {}
    assert machine.addresses_in_use()[f"eth0 {LAN}"] == 3


def test_our_link_in_the_home_namespace_keeps_its_address_and_is_named(machine: Machine) -> None:
    moved = lost_to_a_link(machine)
    for _ in range(2):
        (outcome,) = machine.host.remove_many(["x"])
        assert "still on `eth0`: link `theirs` of this namespace has it" in str(outcome.error)
    del machine.world.home.links[moved.ifindex]
    machine.host.remove_many(["x"]).raise_if_any()
    machine.assert_record_is_true()
