"""What a host does where the kernel, a stranger or another process is in its way: one story each."""

from __future__ import annotations

import errno
import itertools
import time
from ipaddress import IPv6Interface, IPv6Network, ip_address
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.engine import attach, choose, make, settle
from macvfast.engine.removal import RemovalOptions
from macvfast.errors import (
    AddressTaken,
    ArgumentInvalid,
    Conflict,
    GatewayInvalid,
    Incomplete,
    KernelRefused,
    LinkEscaped,
    MacRemains,
    MacTaken,
    MacvfastError,
    NamespaceInvalid,
    NetworkNotFound,
    OptionInvalid,
    ParentAway,
    ParentNotFound,
    ParentUnusable,
    PoolExhausted,
    RemovalUnfinished,
    RouteInvalid,
    SandboxBusy,
    SandboxNotFound,
)
from macvfast.kernel.holders import Found
from macvfast.model import Route, natural
from macvfast.outcomes import NamespaceKept
from macvfast.requests import EndpointRequest, NetworkRequest, OpenNetns
from macvfast.state.records import REMOVED
from macvfast.state.store import Store
from tests.unit.fake_kernel import Crash, FakeKernel, FakeLink, FakeNetns, FakeRefusal, Faults
from tests.unit.machine import LAN

if TYPE_CHECKING:
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Sandbox
    from macvfast.outcomes import Note
    from macvfast.plan import AddLink
    from tests.unit.machine import Machine

GIVEN = "/proc/7/ns/net"
ON_LAN = (EndpointRequest(network="lan"),)
ON_BOTH = (EndpointRequest(network="lan"), EndpointRequest(network="other"))


# Batches.


def test_the_last_address_is_given_again_after_each_refusal(machine: Machine) -> None:
    machine.host.create_network("tiny", subnets=["10.9.0.0/30"], parent="eth0.4")
    tiny = (EndpointRequest(network="tiny"),)
    for number in range(5):
        machine.faults.arm(fail_at=1, only="make a link")
        with pytest.raises(MacvfastError, match="injected"):
            machine.host.create_sandbox(f"x{number}", endpoints=tiny)
    machine.faults.arm()
    made = machine.host.create_sandbox("x", endpoints=tiny)
    assert made.endpoints[0].addresses[0].ip == ip_address("10.9.0.2")


def test_a_batch_goes_on_without_the_items_that_are_refused(machine: Machine) -> None:
    machine.faults.arm(fail_at=3, only="make a link")
    outcomes = machine.host.connect_many("lan", [f"x{number}" for number in range(5)])
    assert [outcome.ok for outcome in outcomes] == [True, True, False, True, True]
    assert "injected at step 3" in str(outcomes[2].error)
    machine.faults.arm()
    machine.assert_record_is_true()
    (freed,) = machine.host.connect_many("lan", ["x2"])
    assert freed.value is not None
    assert freed.value.addresses[0].ip == ip_address("172.16.86.4")


def test_a_batch_names_each_item_that_it_refuses_beforehand(machine: Machine) -> None:
    machine.host.create_sandbox("b", endpoints=ON_LAN)
    asked: list[str | EndpointRequest] = ["a", "a", "b", "-bad", EndpointRequest.of("lan", "far", ip="10.0.0.1"), "c"]
    outcomes = machine.host.connect_many("lan", asked)
    codes = [outcome.error.code if outcome.error else None for outcome in outcomes]
    assert codes == [None, "already-connected", "already-connected", "name-invalid", "address-outside-subnet", None]
    machine.assert_record_is_true()


def test_the_name_of_a_sandbox_to_be_made_is_not_taken_for_another_s_id_prefix(machine: Machine) -> None:
    other = machine.host.create_sandbox("other", endpoints=ON_LAN)
    prefix = other.id[:4]
    (outcome,) = machine.host.connect_many("lan", [prefix])
    assert outcome.value is not None
    assert outcome.value.sandbox == prefix
    assert machine.host.sandbox(prefix).id != other.id


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("sandbox", {"sandbox": "other"}), ("ip", {"ip": "172.16.86.9"}),
        ("ip6", {"ip6": ip_address("2001:db8:86::9")}), ("mac", {"mac": "02:00:00:00:00:01"}),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_given_beside_a_whole_request_is_refused(
    machine: Machine, argument: str, given: dict[str, Any]
) -> None:
    """Catches one that connects, and leaves it out in silence."""
    machine.host.create_sandbox("box")
    with pytest.raises(ArgumentInvalid, match=f"`{argument}` cannot be"):
        machine.host.connect(EndpointRequest(network="lan", sandbox="box"), **given)
    assert machine.host.sandbox("box").endpoints == ()


@pytest.mark.parametrize("network", ["lan", EndpointRequest(network="lan")], ids=lambda value: type(value).__name__)
def test_nothing_is_connected_without_a_sandbox(machine: Machine, network: str | EndpointRequest) -> None:
    machine.world.give("/run/netns/theirs")
    for netns in (None, "/run/netns/theirs"):
        with pytest.raises(ArgumentInvalid, match="`sandbox` cannot be ''"):
            machine.host.connect(network, netns=netns)


def test_an_open_namespace_is_known_by_its_descriptor_and_its_path_is_only_noted(machine: Machine) -> None:
    netns = machine.world.give("/proc/self/fd/70")
    request = EndpointRequest(network="lan", sandbox="guest", ifname="lan0", mtu=1400)
    made = machine.host.connect(request, netns=OpenNetns(70, "/only/there"), request_id="a" * 32)
    assert (made.ifname, made.mtu, netns.links[made.ifindex].ifname) == ("lan0", 1400, "lan0")
    assert machine.host.sandbox("guest").path == "/only/there"
    assert machine.host.made_for("a" * 32) == made
    with pytest.raises(NamespaceInvalid, match="/only/here"):
        machine.host.connect("lan", "other", netns=OpenNetns(71, "/only/here"))


def test_a_request_whose_endpoint_was_not_settled_is_not_known(machine: Machine) -> None:
    """It is undone, and whoever asks again has another one made."""
    machine.host.create_sandbox("box")
    machine.faults.arm(crash_at=1, only="make a link")
    with pytest.raises(Crash):
        machine.host.connect("lan", "box", request_id="a" * 32)
    machine.restart()
    assert machine.host.made_for("a" * 32) is None
    made = machine.host.connect("lan", "box", request_id="a" * 32)
    assert machine.host.made_for("a" * 32) == made
    machine.host.disconnect("lan", "box")
    assert machine.host.made_for("a" * 32) is None


def test_one_sandbox_is_checked_without_the_others(machine: Machine) -> None:
    one, other = (machine.host.create_sandbox(name, endpoints=ON_LAN) for name in ("one", "other"))
    machine.world.take_pin(other.path)
    assert machine.host.check("one") == []
    assert [(found.kind, found.sandbox) for found in machine.host.check(other)] == [
        (found.kind, found.sandbox) for found in machine.host.check()
    ]
    machine.world.take_parent(2)
    assert {"parent-missing"} <= {found.kind for found in machine.host.check(one)}
    with pytest.raises(SandboxNotFound):
        machine.host.check("none")


def test_a_sandbox_is_told_of_each_link_below_it_whichever_network_is_named_for_it(machine: Machine) -> None:
    """Of several networks on one link the first is named, and a link below may be the parent of another network."""
    for number, (name, parent) in enumerate([("a", "eth0.10"), ("b", "eth0.10"), ("above", "eth0.10.20")]):
        machine.host.create_network(name, subnets=[f"10.{number}.0.0/24"], parent=parent, share_parent=True)
    machine.host.create_network("beside", subnets=["10.9.0.0/24"], parent="eth0.30", share_parent=True)
    for name in ("b", "above", "beside"):
        machine.host.create_sandbox(f"on-{name}", endpoints=[EndpointRequest(network=name)])
    link = machine.world.home.named("eth0.10")
    assert link is not None
    link.up = False
    (difference,) = machine.host.check()
    assert (difference.kind, difference.network) == ("parent-down", "a")
    assert [machine.host.check(f"on-{name}") for name in ("b", "above", "beside")] == [[difference], [difference], []]
    # And where it cannot be mended.
    link.up, link.ifname = True, "renamed"
    (difference, *above) = machine.host.check()
    assert (difference.kind, difference.network) == ("parent-other", "a")
    assert above == []
    assert [machine.host.check(f"on-{name}") for name in ("b", "above", "beside")] == [[difference], [difference], []]


def test_many_sandboxes_can_stand_in_one_given_namespace(machine: Machine) -> None:
    netns = machine.world.give(GIVEN)
    netns.links[1] = FakeLink(1, "lo", loopback=True)
    names = [f"x{number}" for number in range(attach.CHUNK + 2)]
    outcomes = machine.host.connect_many("lan", names, netns=GIVEN)
    assert [outcome.error for outcome in outcomes if not outcome.ok] == []
    assert [outcome.value.ifname for outcome in outcomes if outcome.value] == [f"eth{n}" for n in range(len(names))]
    first = outcomes[0].value
    assert first is not None
    assert netns.routes == {4: first.ifindex, 6: first.ifindex}, "the first connected holds the default routes"
    machine.host.remove_many(names).raise_if_any()
    assert [link.ifname for link in netns.links.values()] == ["lo"]


def test_a_refused_item_takes_no_name_and_no_default_route_in_a_given_namespace(machine: Machine) -> None:
    netns = machine.world.give(GIVEN)
    asked: list[str | EndpointRequest] = [EndpointRequest.of("lan", "far", ip="10.0.0.1"), "near"]
    outcomes = machine.host.connect_many("lan", asked, netns=GIVEN)
    assert outcomes[1].value is not None
    assert outcomes[1].value.ifname == "eth0"
    assert set(netns.routes) == {4, 6}


@pytest.mark.parametrize("parent", ["wlan0", "wlan0.7"])
def test_a_wifi_device_is_no_parent_of_links_with_macs_of_their_own(machine: Machine, parent: str) -> None:
    wlan0 = machine.world.home.links[9] = FakeLink(9, "wlan0", mac=b"\x52\x54\x00\x00\x00\x09")
    before = machine.everything()
    for up in (False, True):
        # To say that it is down would send its user the wrong way.
        wlan0.up = up
        with pytest.raises(ParentUnusable, match="it is a Wi-Fi device"):
            machine.host.create_network("air", subnets=["10.3.0.0/24"], parent=parent)
    assert machine.everything() == before
    machine.host.create_network("air", subnets=["10.3.0.0/24"], parent=parent, driver="ipvlan")
    machine.host.remove_networks(["air"]).raise_if_any()
    machine.host.create_network("air", subnets=["10.3.0.0/24"], parent=parent, mode="passthru")


def test_a_vlan_that_is_there_on_a_wifi_device_is_no_parent_either(machine: Machine) -> None:
    machine.world.home.links[9] = FakeLink(9, "wlan0", mac=b"\x52\x54\x00\x00\x00\x09")
    machine.world.home.links[10] = FakeLink(10, "wlan0.7", "vlan", parent=9, vid=7)
    machine.world.home.links[11] = FakeLink(11, "guests", "vlan", parent=10, vid=8)
    for parent in ("wlan0.7", "guests"):
        with pytest.raises(ParentUnusable, match="`wlan0` below it is a Wi-Fi device") as caught:
            machine.host.create_network("air", subnets=["10.3.0.0/24"], parent=parent)
        assert caught.value.parent == parent
    machine.host.create_network("air", subnets=["10.3.0.0/24"], parent="guests", driver="ipvlan")


def test_passthru_takes_one_endpoint_of_a_batch(machine: Machine) -> None:
    machine.host.create_network("through", subnets=["10.3.0.0/24"], parent="eth0.7", mode="passthru")
    outcomes = machine.host.connect_many("through", ["a", "b"])
    assert [outcome.error.code if outcome.error else None for outcome in outcomes] == [None, "passthru-occupied"]
    machine.assert_record_is_true()


# MACs and indexes.


def test_a_mac_that_a_stranger_has_is_refused_and_leaves_nothing(machine: Machine) -> None:
    mac = b"\x02\x42\x00\x00\x00\x77"
    machine.world.give(GIVEN).links[9] = FakeLink(9, "eth0", "macvlan", mac, parent=2, mode="bridge")
    before = machine.everything()
    with pytest.raises(MacTaken) as caught:
        machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="lan", mac=mac)])
    assert caught.value.mac == "02:42:00:00:00:77"
    assert machine.everything() == before
    with pytest.raises(MacTaken):
        machine.host.connect("lan", "y", mac=mac, netns=GIVEN)
    assert machine.everything() == before


def test_the_parents_own_mac_is_refused_at_once(machine: Machine) -> None:
    mac = machine.world.home.links[2].mac
    machine.faults.arm()
    with pytest.raises(MacTaken, match="parent `eth0` itself"):
        machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="lan", mac=mac)])
    assert "make a link" not in machine.faults.seen


def test_two_parents_may_each_have_one_mac(machine: Machine) -> None:
    mac = b"\x02\x42\x00\x00\x00\x77"
    both = [EndpointRequest(network="lan", mac=mac), EndpointRequest(network="other", mac=mac)]
    assert [endpoint.mac for endpoint in machine.host.create_sandbox("x", endpoints=both).endpoints] == [mac, mac]
    machine.host.create_network("too", subnets=["10.8.0.0/24"], parent="eth0.8")
    twice = [EndpointRequest(network="too", mac=mac), EndpointRequest(network="lan", mac=mac)]
    with pytest.raises(MacTaken, match="sandbox `x`"):
        machine.host.create_sandbox("y", endpoints=twice)


@pytest.mark.parametrize("where", ["home", "inside"])
def test_a_clash_of_indexes_is_answered_with_another_index(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    netns = machine.world.give(GIVEN)
    (netns if where == "inside" else machine.world.home).links[77] = FakeLink(77, "stranger")
    really = FakeKernel._add_link

    def add(kernel: FakeKernel, netns: FakeNetns, step: AddLink) -> FakeRefusal | None:
        # Where the request comes from, an index may be looked up too.
        return FakeRefusal(17) if step.ifindex in machine.world.home.links else really(kernel, netns, step)

    monkeypatch.setattr(FakeKernel, "_add_link", add)
    indexes = iter([77, 78])
    for module in (choose, make):
        monkeypatch.setattr(module, "new_ifindex", lambda *_: next(indexes))
    made = machine.host.connect("lan", "guest", netns=GIVEN)
    assert made.ifindex == 78
    assert netns.links[78].ifname == made.ifname


def test_dying_after_a_second_index_leaves_no_link(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    netns = machine.world.give(GIVEN)
    netns.links[77] = FakeLink(77, "stranger")
    indexes = iter([77, 78])
    for module in (choose, make):
        monkeypatch.setattr(module, "new_ifindex", lambda *_: next(indexes))
    machine.faults.arm(crash_at=1, only="configure")
    with pytest.raises(Crash):
        machine.host.connect("lan", "guest", netns=GIVEN)
    assert sorted(netns.links) == [77, 78]
    machine.restart()
    machine.host.remove_networks([])
    assert sorted(netns.links) == [77]
    machine.host.remove_networks(["lan"]).raise_if_any()


# Letting go.


def hold(machine: Machine, box: Sandbox) -> Namespace:
    """Keep a sandbox's namespace alive, as a process does that entered it."""
    (holder,) = FakeKernel(machine.world, Faults()).open_namespaces([box.path])
    assert not isinstance(holder, MacvfastError)
    return holder


@pytest.mark.parametrize(
    ("subnet", "values"),
    [
        ("10.9.0.0/24", {"ip_ranges": ["10.9.0.5/32"], "gateways": ["10.9.0.5"]}),
        ("10.9.0.0/24", {"ip_ranges": ["10.9.0.0/32"], "gateways": None}),
        ("10.9.0.0/24", {"ip_ranges": ["10.9.0.8/31"], "gateways": ["10.9.0.8"], "aux": {"nas": "10.9.0.9"}}),
        ("10.9.0.5/32", {"gateways": ["10.9.0.5"]}),
        ("fd09::5/128", {"gateways": ["fd09::5"]}),
    ],
)
def test_where_all_is_kept_nobody_is_told_to_remove_sandboxes(
    machine: Machine, subnet: str, values: dict[str, Any]
) -> None:
    """Wrong: the first sandbox of a network is told to remove one that is not needed."""
    machine.host.create_network("n", subnets=[subnet], **values)
    with pytest.raises(PoolExhausted) as caught:
        machine.host.create_sandbox("a", endpoints=[EndpointRequest.of("n")])
    assert caught.value.all_kept
    assert "--gateway=none" in caught.value.hints[0]
    assert not any("remove" in hint for hint in caught.value.hints)


def test_where_sandboxes_have_all_they_are_the_hint(machine: Machine) -> None:
    machine.host.create_network("n", subnets=["10.9.0.5/32"])
    machine.host.create_sandbox("a", endpoints=[EndpointRequest.of("n")])
    with pytest.raises(PoolExhausted) as caught:
        machine.host.create_sandbox("b", endpoints=[EndpointRequest.of("n")])
    assert not caught.value.all_kept
    assert "ps -a -f network=n" in caught.value.hints[0]


@pytest.mark.parametrize("subnet", ["10.9.0.5/32", "10.9.0.4/31", "fd09::5/128"])
def test_a_gateway_outside_a_subnet_without_room_has_none_as_the_hint(machine: Machine, subnet: str) -> None:
    """Wrong: the hint speaks of another address of the subnet."""
    with pytest.raises(GatewayInvalid) as caught:
        machine.host.create_network("n", subnets=[subnet], gateways=["10.9.0.1"])
    assert caught.value.hints == ("--gateway=none, or a --subnet that contains the gateway",)


@pytest.mark.parametrize("parent", [None, "eth7"])
def test_restore_is_the_hint_only_for_a_parent_that_macvfast_made(machine: Machine, parent: str | None) -> None:
    """Wrong: `macvfast restore` is to bring back what macvfast never made."""
    if parent is not None:
        machine.world.add_home(FakeLink(77, parent, mac=b"\x52\x54\x00\x00\x00\x77"))
    link = machine.host.create_network("n", subnets=["10.9.0.0/24"], parent=parent).link
    machine.world.take_parent(next(one.ifindex for one in machine.world.home.links.values() if one.ifname == link))
    with pytest.raises(ParentNotFound) as caught:
        machine.host.create_sandbox("a", endpoints=[EndpointRequest.of("n")])
    assert ("restore" in caught.value.hints[0]) is (parent is None)


@pytest.mark.parametrize("length", [8, 16, 27, 28, 31, 64])
def test_any_ipv6_prefix_keeps_its_addresses_over_a_restart(machine: Machine, length: int) -> None:
    """Wrong: pages of a large subnet have numbers that the state cannot hold."""
    subnet = IPv6Network(("fd00::", length))
    last = subnet[-2]
    machine.host.create_network("vast", subnets=[str(subnet)], gateways=None)
    machine.host.create_sandbox("a", endpoints=[EndpointRequest.of("vast", ip6=last)])
    machine.restart()
    with pytest.raises(AddressTaken):
        machine.host.create_sandbox("b", endpoints=[EndpointRequest.of("vast", ip6=last)])
    made = machine.host.create_sandbox("b", endpoints=[EndpointRequest.of("vast")])
    assert made.endpoints[0].ip6 == IPv6Interface((subnet[1], length))
    machine.host.remove_many(["a", "b"]).raise_if_any()
    machine.restart()
    again = machine.host.create_sandbox("c", endpoints=[EndpointRequest.of("vast", ip6=last)])
    assert again.endpoints[0].ip6 == IPv6Interface((last, length))


def test_a_link_is_deleted_in_its_namespace_that_something_holds_and_that_is_named(machine: Machine) -> None:
    notes: list[object] = []
    machine.host.on_note = notes.append
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = machine.world.pins[box.path]
    holder = hold(machine, box)
    machine.host.remove_many(["x"]).raise_if_any()
    assert netns.links == {}
    assert notes == [NamespaceKept(("x",), ("process 7 (sleep)",))]
    other = machine.host.create_sandbox("y", endpoints=ON_LAN)
    assert other.endpoints[0].addresses[0].ip == ip_address("172.16.86.2")
    holder.close()
    machine.assert_record_is_true()


def test_a_link_that_was_not_deleted_keeps_its_address(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    holder = hold(machine, box)
    refuse = [KernelRefused("delete links", errno.EPERM)]
    monkeypatch.setattr(FakeKernel, "delete_links_by_id", lambda *_: refuse)
    (outcome,) = machine.host.remove_many(["x"])
    assert isinstance(outcome.error, RemovalUnfinished)
    other = machine.host.create_sandbox("y", endpoints=ON_LAN)
    assert other.endpoints[0].addresses[0].ip == ip_address("172.16.86.3"), "the first is still taken"
    holder.close()
    (again,) = machine.host.remove_many(["x"], force=True)
    assert again.ok, "in the same process"
    third = machine.host.create_sandbox("z", endpoints=ON_LAN)
    assert third.endpoints[0].addresses[0].ip == ip_address("172.16.86.2")
    machine.assert_record_is_true()


def killed_after_letting_go(machine: Machine) -> FakeNetns:
    """The namespace of a sandbox whose removal died after it let go of that, and which something holds."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = machine.world.pins[box.path]
    machine.world.enter(netns)
    machine.faults.arm(crash_at=2, only="list the MACs")
    with pytest.raises(Crash):
        machine.host.remove_many(["x"])
    machine.restart()
    return netns


def test_a_removal_that_died_after_letting_go_is_finished_by_an_id(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next operation of any kind, which does not search the host for it."""
    netns = killed_after_letting_go(machine)
    monkeypatch.setattr(FakeKernel, "holders", None)
    monkeypatch.setattr(FakeKernel, "namespaces", None)
    machine.host.create_sandbox("afterwards")
    assert netns.links == {}
    assert [one.name for one in machine.host.sandboxes()] == ["afterwards"]
    machine.world.leave(netns)
    machine.assert_record_is_true()


def test_a_link_that_is_deleted_where_no_path_leads_is_told_as_a_comment(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only a socket holds its namespace: `ip` has no command for it."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = machine.world.pins[box.path]
    machine.world.enter(netns)
    monkeypatch.setattr(
        FakeKernel, "holders", lambda _, inodes, **__: Found({one: [] for one in inodes}, complete=True)
    )
    with caplog.at_level("INFO", logger="macvfast"):
        machine.host.remove_many(["x"]).raise_if_any()
    assert netns.links == {}
    told = [getattr(one, "values", {}).get("command") for one in caplog.records]
    assert told[-1] == "# link eth0 of sandbox x: deleted by the id of its namespace, to which no path leads"
    machine.world.leave(netns)


def test_a_process_that_was_stopped_looks_again_before_it_gives_up_a_removal(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches one that takes the time in which it did not run for time in which nothing changed."""
    netns = killed_after_letting_go(machine)
    hours = itertools.count(step=3600)
    monkeypatch.setattr("macvfast.engine.settle.time", SimpleNamespace(monotonic=lambda: next(hours), sleep=time.sleep))
    machine.host.create_sandbox("afterwards")
    assert netns.links == {}
    assert [one.name for one in machine.host.sandboxes()] == ["afterwards"]
    machine.world.leave(netns)


def test_a_removal_is_given_up_in_time_on_a_host_on_which_each_look_takes_long(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches one that counts a look for less than it took: on a loaded host it waits ten times as long."""
    now = 0.0

    def monotonic() -> float:
        return now

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    def living(*_: object) -> set[int]:
        passes(settle.GIVE_UP_S / 5)
        return set()

    box = machine.host.create_sandbox("box", endpoints=ON_LAN)
    macs = {one.mac for one in box.endpoints}
    monkeypatch.setattr("macvfast.engine.settle.time", SimpleNamespace(monotonic=monotonic, sleep=passes))
    monkeypatch.setattr(FakeKernel, "living", living)
    monkeypatch.setattr(FakeKernel, "filter_macs", lambda *_: macs)
    (outcome,) = machine.host.remove_many(["box"])
    assert isinstance(outcome.error, MacRemains)
    assert now < 2 * settle.GIVE_UP_S


ANOTHER_MAC = b"\x02\x00\x00\x00\x00\x99"


def escape(machine: Machine, box: Sandbox, *, mac: bytes = ANOTHER_MAC, trusted: bool = True) -> FakeNetns:
    """A sandbox's link is moved to a namespace that others made, and gets another MAC."""
    there = machine.world.give("/run/netns/theirs")
    there.trusted = trusted
    netns = machine.world.pins[box.path]
    link = netns.links.pop(box.endpoints[0].ifindex)
    link.mac = mac
    there.links[link.ifindex] = link
    netns.moved_to.append(there)
    return there


@pytest.mark.parametrize("mac", [None, ANOTHER_MAC], ids=["its MAC", "another MAC"])
def test_a_link_that_was_moved_keeps_its_address_and_is_named(machine: Machine, mac: bytes | None) -> None:
    """Catches one that takes "not found where it was" for "gone"."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    there = escape(machine, box, mac=mac or box.endpoints[0].mac)
    (outcome,) = machine.host.remove_many(["x"])
    assert isinstance(outcome.error, LinkEscaped)
    assert outcome.error.hints[0] == "`nsenter --net=/run/netns/theirs ip link del eth0` deletes that, if it is the one"
    other = machine.host.create_sandbox("y", endpoints=ON_LAN)
    assert other.endpoints[0].addresses[0].ip == ip_address("172.16.86.3"), "the first is still taken"
    there.links.clear()
    machine.host.remove_many(["x"], force=True).raise_if_any()
    machine.assert_record_is_true()


def test_no_link_is_made_in_the_place_of_one_that_lives_on_elsewhere(machine: Machine) -> None:
    """Catches a restore that puts a second link with the address on the LAN."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    there = escape(machine, box)
    (difference,) = machine.host.check()
    assert difference.kind == "link-escaped"
    assert difference.obstacle == "link eth0 with MAC 02:00:00:00:00:99 of the namespace at /run/netns/theirs may be it"
    assert machine.host.restore().remaining == (difference,)
    assert machine.world.pins[box.path].links == {}
    there.links.clear()
    machine.host.restore()
    machine.assert_record_is_true()


def test_a_link_that_was_moved_and_got_another_index_is_free_only_where_root_alone_could_do_that(
    machine: Machine,
) -> None:
    """Who owns the other namespace could have given it any index and MAC."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    there = escape(machine, box, trusted=False)
    link = there.links.pop(box.endpoints[0].ifindex)
    link.ifindex = 7
    there.links[7] = link
    (outcome,) = machine.host.remove_many(["x"])
    assert isinstance(outcome.error, LinkEscaped)
    assert outcome.error.macs == ("02:00:00:00:00:99",)
    # That of a container, as far as can be told.
    there.trusted = True
    machine.host.remove_many(["x"], force=True).raise_if_any()
    there.links.clear()
    machine.assert_record_is_true()


@pytest.mark.parametrize("whose", ["of a sandbox whose link is gone", "of another parent", "of a link of the host"])
def test_a_mac_explains_nothing_on_a_parent_where_its_own_link_is_not(machine: Machine, whose: str) -> None:
    """Catches one that believes what is recorded, or what is on another parent."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.add_home(FakeLink(7, "eth7", mac=b"\x02\x00\x00\x00\x00\x77"))
    if whose == "of a link of the host":
        mac = b"\x02\x00\x00\x00\x00\x77"
    else:
        network = "lan" if whose == "of a sandbox whose link is gone" else "second"
        if network == "second":
            machine.host.create_network("second", subnets=["10.7.0.0/24"], parent="eth7")
        other = machine.host.create_sandbox("y", endpoints=[EndpointRequest(network=network)])
        mac = other.endpoints[0].mac
        if network == "lan":
            machine.world.pins[other.path].remove(other.endpoints[0].ifindex)
    there = escape(machine, box, mac=mac, trusted=False)
    # Moved once more: the namespace that it came from knows nothing of that.
    machine.world.pins[box.path].moved_to.clear()
    (outcome,) = machine.host.remove_many(["x"])
    assert isinstance(outcome.error, LinkEscaped)
    there.links.clear()
    machine.host.remove_many(["x"], force=True).raise_if_any()


def test_a_link_with_the_index_of_another_one_of_ours_is_no_other_one_of_ours(machine: Machine) -> None:
    """Who moves a link chooses its index there; catches one that takes it for the sandbox's that it is not in."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    other = machine.host.create_sandbox("y", endpoints=ON_LAN)
    there = escape(machine, box, trusted=False)
    machine.world.pins[box.path].moved_to.clear()
    (link,) = there.links.values()
    link.ifindex = other.endpoints[0].ifindex
    there.links = {link.ifindex: link}
    (outcome,) = machine.host.remove_many(["x"])
    assert isinstance(outcome.error, LinkEscaped)
    assert outcome.error.macs == ("02:00:00:00:00:99",)


def test_of_two_links_that_are_missing_the_one_that_has_the_mac_of_the_other_is_not_made_twice(
    machine: Machine,
) -> None:
    """Catches a restore that takes each recorded MAC for that of a link which is just going."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    other = machine.host.create_sandbox("y", endpoints=ON_LAN)
    machine.world.pins[other.path].remove(other.endpoints[0].ifindex)
    there = escape(machine, box, mac=other.endpoints[0].mac, trusted=False)
    machine.world.pins[box.path].moved_to.clear()
    machine.host.restore()
    assert machine.world.pins[box.path].links == {}
    there.links.clear()
    machine.host.restore()
    machine.assert_record_is_true()


def test_a_mac_that_nothing_known_has_keeps_the_address_of_a_link_that_is_missing(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    netns = machine.world.pins[box.path]
    nowhere = machine.world.give("/run/netns/hidden")
    nowhere.links[9] = FakeLink(9, "eth0", "macvlan", ANOTHER_MAC, parent=2, mode="bridge")
    nowhere.trusted = False
    netns.remove(box.endpoints[0].ifindex)
    with pytest.raises(LinkEscaped, match=r"nothing that is known has MAC|may be it"):
        machine.host.disconnect("lan", "x")
    nowhere.links.clear()
    machine.host.remove_networks([])
    assert machine.addresses_in_use()[f"eth0 {LAN}"] == 3


def test_a_link_that_was_deleted_frees_its_address_beside_those_of_others(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    other = machine.host.create_sandbox("y", endpoints=ON_LAN)
    # One whose MAC its owner changed, and a container's.
    machine.world.pins[other.path].links[other.endpoints[0].ifindex].mac = ANOTHER_MAC
    theirs = machine.world.give("/run/netns/theirs")
    theirs.links[9] = FakeLink(9, "eth0", "macvlan", b"\x02\x00\x00\x00\x00\x98", parent=2, mode="bridge")
    machine.world.given[other.path] = machine.world.pins[other.path]
    machine.world.pins[box.path].remove(box.endpoints[0].ifindex)
    machine.host.remove_many(["x"]).raise_if_any()
    assert machine.addresses_in_use()[f"eth0 {LAN}"] == 4


def test_an_endpoint_goes_where_it_lives_though_its_namespace_lost_its_pin(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    holder = hold(machine, box)
    netns = machine.world.pins[box.path]
    FakeKernel(machine.world, Faults()).unpin([box.path])
    machine.host.disconnect("lan", "x")
    assert netns.links == {}
    assert machine.addresses_in_use()[f"eth0 {LAN}"] == 3
    holder.close()


def test_a_disconnected_address_is_kept_while_its_link_lives_on_where_nothing_leads(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    holder = hold(machine, box)
    FakeKernel(machine.world, Faults()).unpin([box.path])
    monkeypatch.setattr(FakeKernel, "holders", lambda *_, **__: Found({}, complete=True))
    with pytest.raises(Incomplete, match=r"still on `eth0`: a link outside this namespace has it"):
        machine.host.disconnect("lan", "x")
    assert machine.addresses_in_use()[f"eth0 {LAN}"] == 4
    holder.close()
    machine.host.remove_networks([])
    machine.host.remove_networks([])
    assert machine.addresses_in_use()[f"eth0 {LAN}"] == 3


def test_an_address_is_released_once_however_many_remove_its_sandbox(machine: Machine) -> None:
    machine.host.create_sandbox("x", endpoints=ON_LAN)
    seen = machine.host.sandbox("x")
    machine.host.remove_many(["x"]).raise_if_any()
    heir = machine.host.create_sandbox("x", endpoints=ON_LAN)
    assert heir.endpoints[0].ip == seen.endpoints[0].ip
    # Another process saw the first sandbox, and comes to it only now.
    with machine.host._store.operation():
        detacher = machine.host._parts.engine._detacher
        names, errors = detacher.remove([seen.id], RemovalOptions())
        assert (names, errors[seen.id].code) == ({}, "sandbox-not-found")
        assert detacher.remove([seen.id], RemovalOptions(force=True)) == ({}, {})
        (late,) = detacher.disconnect([(seen, seen.endpoints[0])], RemovalOptions())
        assert late is not None
        assert late.code == "endpoint-not-found"
    machine.assert_record_is_true()
    second = machine.host.create_sandbox("y", endpoints=ON_LAN)
    assert second.endpoints[0].ip != heir.endpoints[0].ip


@pytest.mark.usefixtures("impatient")
def test_what_another_operation_is_changing_is_left_to_it(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    other = Store(machine.state_dir)
    try:
        with other.operation():
            with other.writing() as records:
                records.begin_endpoint_removal(box.endpoints[0], records.begin(other.owner(), REMOVED))
            (outcome,) = machine.host.remove_many(["x"], force=True)
            assert isinstance(outcome.error, SandboxBusy)
            with pytest.raises(SandboxBusy):
                machine.host.disconnect("lan", "x")
        machine.host.remove_networks([])
        assert machine.host.sandbox("x").endpoints == (), "finished, once the other had ended"
    finally:
        other.close()


# Strangers.


def test_the_pin_of_a_stranger_under_our_name_is_left_alone(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    kernel = FakeKernel(machine.world, Faults())
    kernel.unpin([box.path])
    (stranger,) = kernel.make_namespaces(1, ())
    assert kernel.pin([(stranger, box.path)]) == [None]
    with pytest.raises(Conflict, match="another namespace is there"):
        machine.host.connect("other", "x")
    machine.host.remove_many(["x"]).raise_if_any()
    assert machine.world.pins[box.path].cookie == stranger.cookie
    stranger.close()


def test_a_file_under_our_name_is_left_alone(machine: Machine) -> None:
    path = machine.world.pins_dir / "x"
    path.touch()
    before = machine.everything()
    with pytest.raises(Conflict, match="macvfast did not make it"):
        machine.host.create_sandbox("x", endpoints=ON_LAN)
    assert machine.everything() == before


def test_a_link_of_another_kind_with_our_index_is_left_alone(machine: Machine) -> None:
    netns = machine.world.give(GIVEN)
    made = machine.host.connect("lan", "guest", netns=GIVEN)
    netns.links[made.ifindex] = FakeLink(made.ifindex, "eth0", "vlan", b"\x02\x00\x00\x00\x00\x99", parent=2)
    machine.host.remove_many(["guest"]).raise_if_any()
    assert made.ifindex in netns.links


def test_a_sub_interface_of_ours_stays_while_a_stranger_stands_on_it(machine: Machine) -> None:
    notes: list[Note] = []
    machine.host.on_note = notes.append
    machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50")
    parent = machine.world.home.named("eth0.50")
    assert parent is not None
    machine.world.add_home(FakeLink(99, "theirs", "macvlan", b"\x02\x00\x00\x00\x00\x99", parent=parent.ifindex))
    elsewhere = machine.world.give(GIVEN)
    elsewhere.links[7] = FakeLink(7, "eth0", "macvlan", b"\x02\x00\x00\x00\x00\x98", parent=parent.ifindex)
    machine.host.remove_networks(["v"]).raise_if_any()
    assert machine.world.home.named("eth0.50") is parent
    assert list(map(str, notes)) == [
        "link `eth0.50` is kept: `theirs`, MAC 02:00:00:00:00:98 on it are not macvfast's;"
        " `ip link del eth0.50` removes it"
    ]
    machine.host.create_network("w", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.world.home.remove(99)
    del elsewhere.links[7]
    machine.host.remove_networks(["w"]).raise_if_any()
    assert machine.world.home.named("eth0.50") is parent, "it is nobody's any more"
    assert len(notes) == 1


def test_a_sub_interface_of_ours_that_somebody_renamed_stays(machine: Machine) -> None:
    notes: list[Note] = []
    machine.host.on_note = notes.append
    machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50")
    parent = machine.world.home.named("eth0.50")
    assert parent is not None
    parent.ifname = "tenant"
    machine.host.remove_networks(["v"]).raise_if_any()
    assert machine.world.home.named("tenant") is parent
    assert list(map(str, notes)) == [
        "link `tenant` is kept: somebody renamed it from `eth0.50`; `ip link del tenant` removes it"
    ]


def test_a_stranger_with_the_name_of_a_sub_interface_of_ours_stays(machine: Machine) -> None:
    notes: list[Note] = []
    machine.host.on_note = notes.append
    machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50")
    parent = machine.world.home.named("eth0.50")
    assert parent is not None
    machine.world.home.remove(parent.ifindex)
    theirs = machine.world.add_home(FakeLink(50, "eth0.50", "vlan", parent=2, vid=50))
    machine.host.remove_networks(["v"]).raise_if_any()
    assert machine.world.home.named("eth0.50") is theirs
    assert notes == [], "none of ours is there"


def test_a_removal_that_could_not_be_finished_is_finished_by_the_command_that_it_names(machine: Machine) -> None:
    machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.faults.arm(fail_at=1, only="delete parents")
    (outcome,) = machine.host.remove_networks(["v"])
    assert outcome.error is not None
    assert outcome.error.hints == ("run `macvfast network rm v` again",)
    machine.faults.arm()
    (again, missing) = machine.host.remove_networks(["v", "w"])
    assert (again.ok, again.value) == (True, "v")
    assert isinstance(missing.error, NetworkNotFound)
    assert machine.world.home.named("eth0.50") is None


def test_a_link_of_this_boot_is_not_the_one_that_was_made_in_the_last(machine: Machine) -> None:
    machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50")
    ours = machine.world.home.named("eth0.50")
    assert ours is not None
    machine.world.reboot()
    machine.restart()
    theirs = machine.world.add_home(FakeLink(ours.ifindex, "eth0.50", "vlan", parent=2, vid=50))
    machine.host.remove_networks(["v"]).raise_if_any()
    assert machine.world.home.named("eth0.50") is theirs


def test_a_sub_interface_that_was_there_stays(machine: Machine) -> None:
    machine.world.add_home(FakeLink(50, "eth0.50", "vlan", parent=2, vid=50))
    machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.host.remove_networks(["v"]).raise_if_any()
    assert machine.world.home.named("eth0.50") is not None


@pytest.mark.parametrize(
    ("ifname", "said"), [("eth0.50", "just appeared"), ("vlan50", "`vlan50` is VLAN 50 on it already")]
)
def test_a_sub_interface_that_appears_meanwhile_is_not_taken_for_ours(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, ifname: str, said: str
) -> None:
    really = FakeKernel._add_home

    def late(kernel: FakeKernel, link: FakeLink) -> MacvfastError | None:
        machine.world.add_home(FakeLink(50, ifname, "vlan", parent=2, vid=50))
        return really(kernel, link)

    monkeypatch.setattr(FakeKernel, "_add_home", late)
    with pytest.raises(MacvfastError, match=said):
        machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50")
    assert [network.name for network in machine.host.networks()] == ["lan", "other"]
    assert machine.world.home.named(ifname) is not None


# Parents that are called otherwise, or elsewhere.


def away(machine: Machine) -> FakeNetns:
    """eth0 is moved to a namespace of others; what stands on it lives on."""
    netns = machine.world.give("/run/netns/router")
    netns.links[2] = machine.world.home.links.pop(2)
    return netns


def back(machine: Machine) -> None:
    machine.world.home.links[2] = machine.world.given.pop("/run/netns/router").links[2]


def test_a_renamed_parent_is_looked_at_by_its_index(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another link has got its name."""
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.home.links[2].ifname = "old"
    machine.world.add_home(FakeLink(44, "eth0", mac=b"\x52\x54\x00\x00\x00\x44"))
    (netns,) = machine.world.living()
    machine.world.enter(netns)
    with monkeypatch.context() as patch:
        patch.setattr(FakeKernel, "give_ids", lambda _, those: [None for _ in those])
        patch.setattr(FakeKernel, "holders", lambda *_, **__: Found({}, complete=True))
        (outcome,) = machine.host.remove_many(["x"])
    assert isinstance(outcome.error, MacRemains)
    assert machine.addresses() != {}, "its MAC is still on the link that was eth0"
    machine.world.leave(netns)
    machine.host.remove_many(["x"], force=True).raise_if_any()
    machine.mend()
    machine.assert_record_is_true()
    assert box.path not in machine.world.pins


def test_what_stands_on_a_parent_and_on_its_successor_is_looked_for_on_both(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeKernel, "give_ids", lambda _, those: [None for _ in those])
    monkeypatch.setattr(FakeKernel, "holders", lambda *_, **__: Found({}, complete=True))
    machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.home.links[2].ifname = "old"
    machine.world.add_home(FakeLink(44, "eth0", mac=b"\x52\x54\x00\x00\x00\x44"))
    machine.host.create_sandbox("y", endpoints=ON_LAN)
    for netns in machine.world.living():
        machine.world.enter(netns)
    outcomes = machine.host.remove_many(["x", "y"])
    assert [type(one.error) for one in outcomes] == [MacRemains, MacRemains]


def test_a_link_on_a_parent_that_was_moved_is_deleted_where_it_is(machine: Machine) -> None:
    """What its parent carries cannot be seen: the link does not only die with its namespace, which something holds."""
    machine.host.create_sandbox("x", endpoints=ON_LAN)
    (netns,) = machine.world.living()
    machine.world.enter(netns)
    away(machine)
    machine.host.remove_many(["x"]).raise_if_any()
    assert netns.links == {}
    assert machine.addresses() == {}


def test_an_address_is_kept_while_what_its_parent_carries_cannot_be_seen(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    (netns,) = machine.world.living()
    machine.world.enter(netns)
    machine.world.take_pin(box.path)
    away(machine)
    for _ in range(2):
        (outcome,) = machine.host.remove_many(["x"], force=True)
        assert isinstance(outcome.error, ParentAway)
        assert (outcome.error.path, outcome.error.ifname) == ("/run/netns/router", "eth0")
        assert machine.addresses() != {}
    machine.world.leave(netns)
    back(machine)
    machine.host.remove_many(["x"], force=True).raise_if_any()
    machine.mend()
    machine.assert_record_is_true()


def test_a_parent_that_is_gone_carries_nothing(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.take_pin(box.path)
    machine.world.take_parent(2)
    machine.world.add_home(FakeLink(44, "eth0", mac=b"\x52\x54\x00\x00\x00\x02"))
    machine.host.remove_many(["x"], force=True).raise_if_any()
    machine.assert_record_is_true()


def test_a_parent_that_is_gone_is_looked_for_once(machine: Machine) -> None:
    """Catches a look at every namespace of the host with each removal, for each parent that there once was."""
    names = ["u", "v", "w", "x"]
    for name in names:
        machine.host.create_sandbox(name, endpoints=ON_LAN)
    looks = []
    for at, name in enumerate(names):
        if at % 2 == 0:
            machine.world.take_parent(2 if at == 0 else 42 + at)
            machine.world.add_home(FakeLink(44 + at, "eth0", mac=bytes([2, 0, 0, 0, 0, at])))
            machine.host.restore()
        machine.faults.arm(only="look for namespaces")
        machine.host.remove_many([name]).raise_if_any()
        looks.append(machine.faults.count)
    assert looks == [1, 0, 1, 0]
    machine.assert_record_is_true()


def test_a_link_that_its_parent_does_not_carry_is_deleted_where_it_is(machine: Machine) -> None:
    """Somebody set it down: that its MAC is not there says nothing."""
    machine.host.create_sandbox("x", endpoints=ON_LAN)
    (netns,) = machine.world.living()
    machine.world.enter(netns)
    for link in netns.links.values():
        link.up = False
    machine.host.remove_many(["x"]).raise_if_any()
    assert netns.links == {}


def test_nothing_is_made_on_a_parent_that_was_renamed_and_its_name_is_said(machine: Machine) -> None:
    machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.home.links[2].ifname = "uplink"
    before = machine.everything()
    with pytest.raises(ParentNotFound, match="it is called `uplink` now") as caught:
        machine.host.create_sandbox("y", endpoints=ON_LAN)
    assert caught.value.hints == ("`ip link set uplink name eth0`",)
    assert machine.everything() == before
    (difference,) = machine.host.check()
    assert (difference.kind, difference.obstacle) == (
        "parent-other",
        "it is called uplink: `ip link set uplink name eth0`",
    )


# VLANs in VLANs.


def stack(machine: Machine) -> None:
    """Networks `n` on eth0.7 and `a` on eth0.7.8, of which the latter comes first by name."""
    asked = [
        NetworkRequest(name="n", subnets=("10.1.0.0/24",), parent="eth0.7"),
        NetworkRequest(name="a", subnets=("10.2.0.0/24",), parent="eth0.7.8"),
    ]
    machine.host.create_networks(asked).raise_if_any()
    machine.assert_record_is_true()


def vlans_there(machine: Machine) -> list[str]:
    return sorted(link.ifname for link in machine.world.home.links.values() if link.kind == "vlan")


@pytest.mark.parametrize("names", [["n", "a"], ["a", "n"]])
def test_a_vlan_in_a_vlan_goes_before_the_one_below(machine: Machine, names: list[str]) -> None:
    notes: list[Note] = []
    machine.host.on_note = notes.append
    before = machine.everything()
    stack(machine)
    machine.host.remove_networks(names).raise_if_any()
    assert machine.everything() == before
    assert notes == []


def test_a_sub_interface_without_a_network_stays_for_those_on_it_and_goes_with_the_last(machine: Machine) -> None:
    notes: list[Note] = []
    machine.host.on_note = notes.append
    stack(machine)
    machine.host.create_network("b", subnets=["10.3.0.0/24"], parent="eth0.7.9")
    machine.host.remove_networks(["n"]).raise_if_any()
    assert list(map(str, notes)) == ["link `eth0.7` is kept: networks `a`, `b` need it, and it goes with them"]
    assert vlans_there(machine) == ["eth0.7", "eth0.7.8", "eth0.7.9"]
    machine.host.remove_networks(["a"]).raise_if_any()
    assert list(map(str, notes[1:])) == ["link `eth0.7` is kept: network `b` needs it, and it goes with that"]
    machine.restart()
    machine.host.remove_networks(["b"]).raise_if_any()
    assert vlans_there(machine) == []
    machine.assert_record_is_true()


def test_a_network_comes_back_to_a_sub_interface_that_was_kept_for_another(machine: Machine) -> None:
    stack(machine)
    machine.host.remove_networks(["n"]).raise_if_any()
    machine.host.create_network("n", subnets=["10.1.0.0/24"], parent="eth0.7")
    machine.host.remove_networks(["a"]).raise_if_any()
    assert vlans_there(machine) == ["eth0.7"]
    machine.host.remove_networks(["n"]).raise_if_any()
    assert vlans_there(machine) == []


def test_a_sub_interface_stays_with_a_stranger_on_the_one_above(machine: Machine) -> None:
    notes: list[Note] = []
    machine.host.on_note = notes.append
    stack(machine)
    above = machine.world.home.named("eth0.7.8")
    assert above is not None
    machine.world.add_home(FakeLink(99, "theirs", "vlan", parent=above.ifindex, vid=3))
    machine.host.remove_networks(["n", "a"]).raise_if_any()
    assert sorted(str(one).partition(" is kept")[0] for one in notes) == ["link `eth0.7.8`", "link `eth0.7`"]
    assert vlans_there(machine) == ["eth0.7", "eth0.7.8", "theirs"]
    machine.restart()
    machine.host.remove_networks([])
    assert vlans_there(machine) == ["eth0.7", "eth0.7.8", "theirs"], "from now on they are links like any other"


@pytest.mark.parametrize("gone", [[], ["n"]])
def test_vlans_in_vlans_are_restored_from_below_in_one_run(machine: Machine, gone: list[str]) -> None:
    stack(machine)
    machine.host.remove_networks(gone).raise_if_any()
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="a")])
    machine.world.reboot()
    machine.restart()
    assert [(one.network, one.found) for one in machine.host.check()[:2]] == [
        ("a", "link eth0.7 below its parent is missing") if gone else ("n", "its parent eth0.7 is missing"),
        ("a", "its parent eth0.7.8 is missing"),
    ]
    plan = machine.host.restore()
    assert (plan.failed, plan.remaining) == ([], ())
    assert vlans_there(machine) == ["eth0.7", "eth0.7.8"]
    machine.assert_record_is_true()
    for ifname in vlans_there(machine):
        link = machine.world.home.named(ifname)
        assert link is not None
        link.up = False
    plan = machine.host.restore()
    assert [step.action for step in plan.steps] == ["bring up eth0.7", "bring up eth0.7.8"]
    assert (plan.failed, machine.host.check()) == ([], [])
    machine.host.remove_many(["x"]).raise_if_any()
    machine.host.remove_networks(["a", *({"n"} - set(gone))]).raise_if_any()
    assert vlans_there(machine) == []


def test_what_is_asked_for_on_a_lost_sub_interface_of_ours_is_told_how_it_comes_back(machine: Machine) -> None:
    machine.host.create_network("n", subnets=["10.1.0.0/24"], parent="eth0.7")
    machine.world.reboot()
    machine.restart()
    with pytest.raises(ParentNotFound, match=r"`eth0\.7`, which macvfast made, is missing") as caught:
        machine.host.create_network("a", subnets=["10.2.0.0/24"], parent="eth0.7.8")
    assert caught.value.hints == ("`macvfast restore` brings it back",)


# Names.


def test_an_alternative_name_is_good_wherever_a_name_is(machine: Machine) -> None:
    """When a sub-interface is made on it, made again, and removed."""
    eth0 = machine.world.home.named("eth0")
    assert eth0 is not None
    eth0.altnames.append("uplink0")
    machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="uplink0.40")
    machine.world.reboot()
    machine.restart()
    plan = machine.host.restore()
    assert (plan.failed, plan.remaining) == ([], ())
    link = machine.world.home.named("uplink0.40")
    assert link is not None
    assert link.parent == eth0.ifindex
    # Somebody gives it another name, and it keeps the first as an alternative one.
    link.ifname = "tenant"
    link.altnames.append("uplink0.40")
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="v")])
    assert machine.host.check() == []
    machine.host.remove_many(["x"]).raise_if_any()
    machine.host.remove_networks(["v"]).raise_if_any()
    assert vlans_there(machine) == []


def test_the_name_that_a_nic_has_got_as_an_alternative_one_is_still_its(machine: Machine) -> None:
    eth0 = machine.world.home.named("eth0")
    assert eth0 is not None
    eth0.ifname = "enp3s0"
    eth0.altnames.append("eth0")
    assert machine.host.check() == []
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="lan")])


def test_an_alternative_name_in_a_given_namespace_is_not_given_to_a_link(machine: Machine) -> None:
    netns = machine.world.give(GIVEN)
    netns.links[5] = FakeLink(5, "wan", altnames=["eth0"])
    made = machine.host.connect("lan", "guest", netns=GIVEN)
    assert made.ifname == "eth1"
    netns.remove(made.ifindex)
    netns.links[5].altnames.append("eth1")
    (remaining,) = machine.host.restore().remaining
    assert remaining.obstacle == "a link eth1 that macvfast did not make is there"


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (FakeLink(50, "eth0.50", "veth"), "a veth link, not VLAN 50 on `eth0`"),
        (FakeLink(50, "eth0.50"), "a link of its own, not VLAN 50 on `eth0`"),
        (FakeLink(50, "eth0.50", "vlan", parent=2, vid=7), "VLAN 7 on `eth0`, not VLAN 50 on `eth0`"),
        (FakeLink(50, "eth0.50", "vlan", parent=3, vid=50), "VLAN 50 on `eth1`, not VLAN 50 on `eth0`"),
        (FakeLink(50, "eth0.50", "vlan", parent=2, vid=50), None),
        (FakeLink(50, "eth0.50", "vlan", parent=2, parent_netnsid=0, vid=50), None),
        (FakeLink(50, "lan.x", "veth"), None),
    ],
)
def test_a_link_that_is_not_what_its_name_says_is_used_and_that_is_said(
    machine: Machine, link: FakeLink, said: str | None
) -> None:
    notes: list[Note] = []
    machine.host.on_note = notes.append
    machine.world.add_home(link)
    machine.host.create_network("v", subnets=["10.1.0.0/24"], parent=link.ifname)
    expected = [] if said is None else [f"network `v` uses link `{link.ifname}` as it is: it is {said}"]
    assert list(map(str, notes)) == expected
    machine.host.remove_networks(["v"]).raise_if_any()
    assert machine.world.home.named(link.ifname) is link


# Ports.


@pytest.mark.parametrize(
    ("parent", "said", "hint"),
    [
        ("eth1", "it is a port of bond `bond0`", "bond0"),
        ("eth1.5", "`eth1` below it is a port of bond `bond0`", "bond0.5"),
        ("eth1.5.6", "`eth1` below it is a port of bond `bond0`", "bond0.5.6"),
        # Those are to be made.
        ("eth1.50", "it is a port of bond `bond0`", "bond0.50"),
        ("eth1.5.60", "`eth1` below it is a port of bond `bond0`", "bond0.5.60"),
    ],
)
def test_a_vlan_on_a_port_is_refused_as_the_port_is(machine: Machine, parent: str, said: str, hint: str) -> None:
    machine.host.remove_networks(["other"]).raise_if_any()
    machine.world.add_home(FakeLink(8, "bond0", "bond"))
    eth1 = machine.world.home.links[3]
    eth1.controller, eth1.port_kind = 8, "bond"
    machine.world.add_home(FakeLink(9, "eth1.5", "vlan", parent=3, vid=5))
    machine.world.add_home(FakeLink(10, "eth1.5.6", "vlan", parent=9, vid=6))
    before = machine.everything()
    with pytest.raises(ParentUnusable, match=said) as caught:
        machine.host.create_network("v", subnets=["10.1.0.0/24"], parent=parent)
    assert caught.value.hints == (f"-o parent={hint}",)
    assert machine.everything() == before


# Options.


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"internal": True}, "an internal network has no default route"),
        ({"driver": "ipvlan", "mode": "l3"}, "no router advertisement reaches an endpoint in ipvlan mode l3"),
        ({"driver": "ipvlan", "mode": "l3s"}, "no router advertisement reaches an endpoint in ipvlan mode l3s"),
        ({"subnets": ["10.0.0.0/24"]}, "the network has no IPv6"),
        ({"subnets": ["10.0.0.0/24", "fd00::/64"], "ipv6": False}, "the network has no IPv6"),
    ],
)
def test_a_wish_for_advertisements_that_cannot_be_had_is_refused(
    machine: Machine, asked: dict[str, Any], said: str
) -> None:
    before = machine.everything()
    with pytest.raises(OptionInvalid, match=said):
        machine.host.create_network("n", parent="eth0.50", ipv6_ra=True, **{"subnets": ["fd00::/64"], **asked})
    assert machine.everything() == before


@pytest.mark.parametrize("wish", [None, True, False])
def test_whether_advertisements_are_wished_for_is_recorded(machine: Machine, wish: bool | None) -> None:
    machine.host.create_network("n", subnets=["fd00::/64"], gateways=None, parent="eth0.50", ipv6_ra=wish)
    machine.restart()
    assert machine.host.network("n").ipv6_ra is wish
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="n")])
    (netns,) = machine.world.living()
    assert netns.sysctls["net/ipv6/conf/default/accept_ra"] == ("1" if wish else "0")


# Company.


def test_a_second_network_on_a_lost_sub_interface_is_refused_as_company(machine: Machine) -> None:
    machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.world.reboot()
    machine.restart()
    with pytest.raises(Conflict, match="network `v` holds it"):
        machine.host.create_network("w", subnets=["10.2.0.0/24"], parent="eth0.50")


def test_a_shared_sub_interface_goes_with_the_last_network(machine: Machine) -> None:
    for number in (1, 2):
        machine.host.create_network(f"v{number}", subnets=[f"10.{number}.0.0/24"], parent="eth0.50", share_parent=True)
    machine.host.remove_networks(["v1"]).raise_if_any()
    assert machine.world.home.named("eth0.50") is not None
    machine.host.remove_networks(["v2"]).raise_if_any()
    assert machine.world.home.named("eth0.50") is None


def test_a_parent_that_another_operation_is_about_to_take_away_is_not_shared(machine: Machine) -> None:
    made = machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50", share_parent=True)
    other = Store(machine.state_dir)
    try:
        with other.operation():
            with other.writing() as records:
                records.begin_network_removal(made.id, records.begin(other.owner(), REMOVED))
            with pytest.raises(SandboxBusy, match="`v` is being removed"):
                machine.host.create_network("w", subnets=["10.2.0.0/24"], parent="eth0.50", share_parent=True)
    finally:
        other.close()
    machine.host.create_network("w", subnets=["10.2.0.0/24"], parent="eth0.50", share_parent=True)
    assert machine.world.home.named("eth0.50") is not None
    machine.assert_record_is_true()


def test_a_parent_that_comes_between_the_look_and_the_record_is_used(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    original = FakeKernel.boot_id

    def boot_id(kernel: FakeKernel) -> str:
        # Asked for when what is to be made is written down, just before the record.
        nonlocal looks
        looks += 1
        if looks == 2:
            machine.world.add_home(FakeLink(50, "eth0.50", "vlan", parent=2, vid=50))
        return original(kernel)

    monkeypatch.setattr(FakeKernel, "boot_id", boot_id)
    machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50")
    machine.host.remove_networks(["v"]).raise_if_any()
    assert 50 in machine.world.home.links, "it was not ours"


# What is shown.


def test_lists_can_be_gone_through_while_they_are_emptied(machine: Machine) -> None:
    for network in machine.host.networks():
        machine.host.remove_networks([network.name]).raise_if_any()
    assert list(machine.host.networks()) == []
    machine.host.create_sandbox("x")
    for box in machine.host.sandboxes():
        machine.host.remove_many([box.name]).raise_if_any()
    assert list(machine.host.sandboxes()) == []


def test_an_endpoint_that_is_being_made_is_not_shown(machine: Machine) -> None:
    machine.host.create_sandbox("x")
    machine.faults.arm(crash_at=1, only="configure")
    with pytest.raises(Crash):
        machine.host.connect("lan", "x")
    machine.restart()
    assert machine.host.sandbox("x").endpoints == ()
    assert [box.endpoints for box in machine.host.sandboxes()] == [()]
    assert machine.host.endpoints(machine.host.network("lan")) == []


@pytest.mark.parametrize("key", ["", "nobody", "f" * 64, "\udcff", "a\0b"])
def test_what_names_nothing_is_not_found(machine: Machine, key: str) -> None:
    with pytest.raises(MacvfastError, match="not found"):
        machine.host.network(key)
    with pytest.raises(MacvfastError, match="not found"):
        machine.host.sandbox(key)
    (outcome,) = machine.host.remove_many([key])
    assert outcome.error is not None
    assert machine.host.remove_many([key], force=True)[0].ok


# Default routes.


def test_the_next_network_takes_the_default_route_over_per_family(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_BOTH)
    netns = machine.world.pins[box.path]
    assert netns.routes == {4: box.endpoints[0].ifindex, 6: box.endpoints[0].ifindex}
    machine.host.disconnect("lan", "x")
    assert netns.routes == {4: box.endpoints[1].ifindex}


def test_an_endpoint_goes_even_where_nothing_can_take_over_its_default_route(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_BOTH)
    del machine.world.pins[box.path].links[box.endpoints[1].ifindex]
    with pytest.raises(Incomplete, match="no default route"):
        machine.host.disconnect("lan", "x")
    assert [endpoint.network for endpoint in machine.host.sandbox("x").endpoints] == ["other"]
    assert machine.addresses_in_use()[f"eth0 {LAN}"] == 3


@pytest.mark.parametrize("fault", [{"fail_at": 1}, {"fail_at": 2}, {"crash_at": 1}, {"crash_at": 2}], ids=str)
@pytest.mark.parametrize("given", [False, True], ids=["ours", "given"])
def test_an_endpoint_that_fails_as_it_takes_the_default_route_over_gives_it_back(
    machine: Machine, fault: dict[str, Any], given: bool
) -> None:
    """Whether it fails before it has the route or after that, and even where its process dies of it."""
    if given:
        netns = machine.world.give("/srv/theirs")
        first = machine.host.connect("lan", "x", netns="/srv/theirs")
    else:
        first = machine.host.create_sandbox("x", endpoints=ON_LAN).endpoints[0]
        netns = machine.world.pins[machine.host.sandbox("x").path]
    machine.faults.arm(**fault, only="configure")
    with pytest.raises((Crash, KernelRefused)):
        machine.host.connect(EndpointRequest(network="other", sandbox="x", gw_priority=1))
    if "crash_at" in fault:
        machine.restart()
        machine.host.restore()
    assert netns.routes[4] == first.ifindex
    assert [one.network for one in machine.host.sandbox("x").endpoints] == ["lan"]
    assert machine.host.check() == []


@pytest.mark.parametrize("given", [False, True], ids=["ours", "given"])
def test_the_highest_gw_priority_has_the_default_route_at_once_and_after_a_restart(
    machine: Machine, given: bool
) -> None:
    if given:
        netns = machine.world.give("/srv/theirs")
        machine.host.connect("lan", "x", netns="/srv/theirs")
        # Another sandbox that stands for the same namespace.
        second = machine.host.connect(EndpointRequest(network="other", sandbox="y", gw_priority=1), netns="/srv/theirs")
    else:
        machine.host.create_sandbox("x", endpoints=ON_LAN)
        second = machine.host.connect(EndpointRequest(network="other", sandbox="x", gw_priority=1))
        netns = machine.world.pins[machine.host.sandbox("x").path]
    assert netns.routes[4] == second.ifindex
    assert machine.host.check() == []
    machine.world.reboot()
    if given:
        netns = machine.world.give("/srv/theirs")
    machine.restart()
    assert not machine.host.restore().failed
    if not given:
        netns = machine.world.pins[machine.host.sandbox("x").path]
    (again,) = machine.host.endpoints("other")
    assert netns.routes[4] == again.ifindex
    assert machine.host.check() == []
    assert again.gw_priority == 1


def test_an_endpoint_without_gw_priority_never_has_the_default_route(machine: Machine) -> None:
    never = EndpointRequest(network="lan", gw_priority=None)
    box = machine.host.create_sandbox("x", endpoints=[never, EndpointRequest(network="other")])
    netns = machine.world.pins[box.path]
    assert netns.routes == {4: box.endpoints[1].ifindex}
    machine.host.disconnect("other", "x")
    assert netns.routes == {}
    assert machine.host.check() == []
    with pytest.raises(RouteInvalid, match="without a gw_priority"):
        EndpointRequest(network="lan", gw_priority=None, routes=(Route.of("0.0.0.0/0", "172.16.86.9"),))


def test_from_another_home_namespace_nothing_is_changed(machine: Machine) -> None:
    box = machine.host.create_sandbox("x", endpoints=ON_LAN)
    machine.world.home.cookie += 1000
    with pytest.raises(MacvfastError) as caught:
        machine.host.remove_many(["x"])
    assert caught.value.code == "home-namespace-other"
    assert box.path in machine.world.pins


def test_what_takes_a_network_takes_its_name(machine: Machine) -> None:
    machine.host.connect("lan", machine.host.create_sandbox("web"))
    network = machine.host.network("lan")
    assert machine.host.usage("lan") == machine.host.usage(network.id[:12]) == machine.host.usage(network)
    assert [one.sandbox for one in machine.host.endpoints("lan")] == ["web"]
    with pytest.raises(NetworkNotFound):
        machine.host.endpoints("nosuch")
    with pytest.raises(NetworkNotFound):
        machine.host.usage("nosuch")


def test_names_are_listed_as_people_count_over_pages_and_changes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("macvfast.state.lookup.PAGE", 3)
    monkeypatch.setattr("macvfast.engine.observe.CHUNK", 3)
    machine.host.scale("lan", "w", 12)
    machine.host.connect_many("lan", ["v", "w-02", "x"]).raise_if_any()
    counted = ["v", "w-0", "w-1", "w-2", "w-02", *(f"w-{number}" for number in range(3, 12)), "x"]
    assert [box.name for box in machine.host.sandboxes()] == counted
    assert [one.sandbox for one in machine.host.endpoints("lan")] == counted
    going = iter(machine.host.sandboxes())
    seen = [next(going).name for _ in range(4)]
    machine.host.remove_many(["w-4", "w-10", "v"]).raise_if_any()
    machine.host.create_sandbox("w-6b")
    seen += [box.name for box in going]
    assert seen == [name for name in counted if name not in ("w-4", "w-10")]
    machine.world.reboot()
    there = [box.name for box in machine.host.sandboxes()]
    assert there == sorted({*seen, "w-6b"} - {"v"}, key=natural)
    assert [one.sandbox for one in machine.host.check() if one.kind == "namespace-missing"] == there


def test_networks_are_listed_as_people_count(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("macvfast.state.lookup.PAGE", 2)
    names = [f"v{number}" for number in (1, 2, 10, 20, 100)]
    for at, name in enumerate(reversed(names)):
        machine.host.create_network(name, subnets=[f"10.{at}.0.0/24"], parent=f"eth0.{at + 60}")
    assert [network.name for network in machine.host.networks()] == ["lan", "other", *names]
    assert [outcome.value for outcome in machine.host.prune_networks()] == ["lan", "other", *names]
