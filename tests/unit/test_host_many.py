"""Many at once: what becomes of each, of the others, and of all when something ends it half-way."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from macvfast.cli.show.networks import inspected
from macvfast.engine import detach, network_removal, sandboxes
from macvfast.engine.scale import Numbered, plan_scale
from macvfast.errors import (
    AlreadyConnected,
    EndpointAmbiguous,
    EndpointNotFound,
    MacTaken,
    MacvfastError,
    OptionInvalid,
    ParentUnusable,
    PoolExhausted,
    RemovalUnfinished,
)
from macvfast.requests import EndpointRequest, NetworkRequest
from tests.unit.fake_kernel import Crash, FakeKernel, FakeLink
from tests.unit.machine import Machine, make_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Endpoint
    from macvfast.outcomes import Outcome

GIVEN = "/proc/7/ns/net"
ON_LAN = (EndpointRequest(network="lan"),)


def test_a_full_pool_refuses_the_rest_without_a_namespace_for_each(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asks for something else, or can be had by then, is not among them."""
    host = machine.host
    made: list[int] = []
    make = FakeKernel.make_namespaces

    def counted(kernel: FakeKernel, count: int, sysctls: Sequence[tuple[str, str]]) -> list[Namespace]:
        made.append(count)
        return make(kernel, count, sysctls)

    monkeypatch.setattr(FakeKernel, "make_namespaces", counted)
    host.create_network("tiny", subnets=["10.5.0.0/28"], ip_ranges=["10.5.0.0/29"])

    asked: list[str | EndpointRequest] = [f"w-{number}" for number in range(2000)]
    asked += [EndpointRequest.of("tiny", sandbox="other", ip="10.5.0.9"), EndpointRequest.of("tiny", sandbox="w-0")]
    asked += [f"y-{number}" for number in range(2000)]

    def release(done: int, _: int) -> None:
        if done > 3000 and any(box.name == "w-1" for box in host.sandboxes()):
            host.remove_many(["w-1"], force=True).raise_if_any()

    outcomes = host.connect_many("tiny", asked, progress=release)
    assert len(outcomes) == 4002
    good = [one.name for one in outcomes if one.ok]
    assert good[:-1] == [*(f"w-{number}" for number in range(len(good) - 2)), "other"]
    assert good[-1].startswith("y-")
    refused = {type(one.error) for one in outcomes if not one.ok and one.name != "w-0"}
    assert refused == {PoolExhausted}
    assert any(isinstance(one.error, AlreadyConnected) for one in outcomes if one.name == "w-0")
    assert sum(made) < 1200


# What a request may ask for beside addresses.


@pytest.mark.parametrize("ifname", ["", "lo", "all", "default", "a/b", "sixteen-bytes-ab", "eth%d", "a b"])
def test_a_name_that_no_link_can_have_is_refused_at_once(ifname: str) -> None:
    with pytest.raises(OptionInvalid):
        EndpointRequest(network="lan", ifname=ifname)


@pytest.mark.parametrize("mtu", [0, 67, 65536])
def test_an_mtu_that_no_link_can_have_is_refused_at_once(mtu: int) -> None:
    with pytest.raises(OptionInvalid):
        EndpointRequest(network="lan", mtu=mtu)


@pytest.mark.parametrize(
    ("network", "mtu", "why"), [("other", 1501, "parent `eth1` has an MTU of 1500"), ("lan", 1279, "at least 1280")]
)
def test_an_mtu_that_the_endpoint_cannot_have_changes_nothing(
    machine: Machine, network: str, mtu: int, why: str
) -> None:
    before = machine.everything()
    with pytest.raises(OptionInvalid) as refused:
        machine.host.create_sandbox("x", endpoints=[EndpointRequest(network=network, mtu=mtu)])
    assert why in "".join(refused.value.causes)
    assert machine.everything() == before


def test_a_sandbox_is_on_one_network_twice_only_where_the_link_is_named(machine: Machine) -> None:
    twice = [*ON_LAN, EndpointRequest(network="lan", ifname="lan1")]
    with pytest.raises(AlreadyConnected):
        machine.host.create_sandbox("x", endpoints=[*ON_LAN, *ON_LAN])
    box = machine.host.create_sandbox("x", endpoints=twice)
    assert [one.ifname for one in box.endpoints] == ["eth0", "lan1"]
    assert len({one.ip for one in box.endpoints}) == len({one.mac for one in box.endpoints}) == 2
    machine.assert_record_is_true()
    with pytest.raises(AlreadyConnected):
        machine.host.connect("lan", "x")
    (again,) = machine.host.connect_many("lan", [EndpointRequest(network="lan", sandbox="x", ifname="lan1")])
    assert isinstance(again.error, AlreadyConnected)
    machine.assert_record_is_true()
    machine.host.remove_many(["x"]).raise_if_any()
    assert machine.host.endpoints("lan") == []
    machine.assert_record_is_true()


def test_which_link_leaves_a_network_is_said_where_a_sandbox_has_several_there(machine: Machine) -> None:
    """Wrong: the first goes, whichever was meant."""
    links = [EndpointRequest(network="lan", ifname=f"lan{number}") for number in range(3)]
    machine.host.create_sandbox("x", endpoints=links)
    before = machine.everything()
    with pytest.raises(EndpointAmbiguous) as refused:
        machine.host.disconnect("lan", "x")
    assert "`lan0`, `lan1`, `lan2`" in str(refused.value)
    (outcome,) = machine.host.disconnect_many("lan", ["x"])
    assert isinstance(outcome.error, EndpointAmbiguous)
    with pytest.raises(EndpointNotFound, match="no link `lan3`"):
        machine.host.disconnect("lan", "x", ifname="lan3")
    assert machine.everything() == before
    machine.host.disconnect("lan", "x", ifname="lan1")
    assert [one.ifname for one in machine.host.sandbox("x").endpoints] == ["lan0", "lan2"]
    machine.host.disconnect("lan", "x", ifname="lan0")
    machine.assert_record_is_true()
    # Of one, nothing need be said.
    machine.host.disconnect("lan", "x")
    assert machine.host.sandbox("x").endpoints == ()
    machine.assert_record_is_true()


def test_each_link_of_a_sandbox_on_a_network_is_shown(machine: Machine) -> None:
    """Wrong: the last one alone, as all have the key of their sandbox."""
    links = [EndpointRequest(network="lan", ifname=f"lan{number}") for number in range(3)]
    box = machine.host.create_sandbox("x", endpoints=links)
    shown = inspected(machine.host.network("lan"), machine.host.endpoints("lan"), [])["Containers"]
    assert isinstance(shown, dict)
    assert [*shown] == [box.id, *(f"ep-{one.id}" for one in box.endpoints[1:])]
    assert [one["IPv4Address"] for one in shown.values()] == [str(one.ip) for one in box.endpoints]


def test_of_several_links_on_one_network_the_first_has_the_default_route_and_nothing_differs(machine: Machine) -> None:
    """Wrong: each is the one that is to have it, as they are on the same network."""
    links = [EndpointRequest(network="lan", ifname=f"lan{number}") for number in range(2)]
    box = machine.host.create_sandbox("x", endpoints=links)
    assert machine.host.check() == []
    netns = machine.world.pins[box.path]
    for link in list(netns.links):
        netns.remove(link)
    machine.host.restore()
    assert set(netns.routes.values()) == {box.endpoints[0].ifindex}
    assert machine.host.check() == []
    machine.host.disconnect("lan", "x", ifname="lan0")
    assert set(netns.routes.values()) == {box.endpoints[1].ifindex}
    assert machine.host.check() == []


def test_a_link_that_could_not_leave_is_gone_on_with_by_a_command_that_does_so(machine: Machine) -> None:
    """Wrong: `network disconnect`, which then cannot know which of two is meant."""
    links = [EndpointRequest(network="lan", ifname=f"lan{number}") for number in range(2)]
    machine.host.create_sandbox("x", endpoints=links)
    machine.faults.arm(fail_at=1, only="delete links")
    with pytest.raises(RemovalUnfinished) as caught:
        machine.host.disconnect("lan", "x", ifname="lan1")
    assert caught.value.hints == ("run `macvfast restore` again",)
    machine.faults.arm()
    machine.host.restore()
    assert [one.ifname for one in machine.host.sandbox("x").endpoints] == ["lan0"]
    machine.assert_record_is_true()


# Bulk equals one by one.


@st.composite
def items(draw: st.DrawFn) -> list[EndpointRequest]:
    """Plain items, explicit addresses and MACs, and names that come twice."""
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=10))
    made = []
    for name in names:
        ip = draw(st.none() | st.integers(0, 15).map(lambda n: f"10.0.0.{n}"))
        ip6 = draw(st.none() | st.integers(0, 15).map(lambda n: f"fd00::{n + 1:x}"))
        mac = draw(st.none() | st.sampled_from(["02:42:0a:00:00:03", "02:42:0a:00:00:05", "02:00:00:00:00:77"]))
        made.append(EndpointRequest.of("dual", name, ip=ip, ip6=ip6, mac=mac))
    return made


def outcome_of(outcome: Outcome[Endpoint]) -> object:
    if outcome.error is not None:
        return type(outcome.error)
    assert outcome.value is not None
    return outcome.value.sandbox, outcome.value.addresses, outcome.value.mac, outcome.value.ifname


@given(asked=items(), chunk=st.integers(1, 5), order=st.sampled_from(["lowest", "next"]))
@settings(max_examples=60)
def test_many_at_once_end_as_one_after_the_other(asked: list[EndpointRequest], chunk: int, order: str) -> None:
    ends = []
    for together in (True, False):
        with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sandboxes, "CHUNK", chunk)
            machine = Machine(Path(directory))
            machine.host.create_network(
                "dual", subnets=["10.0.0.0/28", "fd00::/124"], aux={"x": "10.0.0.4"}, parent="eth0", order=order
            )
            machine.host.create_sandbox("c")
            if together:
                outcomes = [*machine.host.connect_many("dual", iter(asked))]
            else:
                outcomes = [machine.host.connect_many("dual", [one])[0] for one in asked]
            machine.assert_record_is_true()
            record = machine.record()
            ends.append(([outcome_of(one) for one in outcomes], record["sandboxes"], record["addresses"]))
            machine.host.close()
    assert ends[0] == ends[1]


# Chunks.


@pytest.mark.parametrize("crash", [False, True])
def test_a_fault_at_any_step_of_several_chunks_leaves_the_record_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: bool
) -> None:
    monkeypatch.setattr(sandboxes, "CHUNK", 2)
    names = [f"x{number}" for number in range(6)]

    def prepared(directory: Path) -> Machine:
        directory.mkdir()
        machine = Machine(directory)
        make_networks(machine)
        machine.faults.arm()
        return machine

    dry = prepared(tmp_path / "dry")
    dry.host.connect_many("lan", names).raise_if_any()
    steps = dry.faults.count
    dry.host.close()
    for step in range(1, steps + 1):
        machine = prepared(tmp_path / str(step))
        machine.faults.arm(crash_at=step if crash else None, fail_at=None if crash else step)
        done: list[str] = []
        with contextlib.suppress(MacvfastError, Crash):
            done = [one.value.sandbox for one in machine.host.connect_many("lan", names) if one.value is not None]
        if crash:
            machine.restart()
        machine.faults.arm()
        machine.mend()
        machine.assert_record_is_true()
        there = {box.name for box in machine.host.sandboxes()}
        assert set(done) <= there, "what was acknowledged is there"
        if not crash:
            assert there == set(done), "what was refused is not"
        machine.host.close()


def test_an_interruption_between_chunks_leaves_those_that_were_made(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandboxes, "CHUNK", 2)

    told: list[int] = []

    def interrupt(done: int, _: int) -> None:
        told.append(done)
        if len(told) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        machine.host.connect_many("lan", [f"x{number}" for number in range(100)], progress=interrupt)
    machine.assert_record_is_true()
    assert len([*machine.host.sandboxes()]) in range(2, 9, 2)


# Progress.


def test_progress_has_one_form_for_all_that_is_done_to_many(machine: Machine) -> None:
    """Catches one that counts only what succeeds, or a name that comes twice only once, or tells what is new."""
    seen: list[tuple[int, int]] = []

    def tell(done: int, of: int) -> None:
        seen.append((done, of))

    host, names = machine.host, [f"x{number}" for number in range(200)]
    asked = [NetworkRequest(name=f"n{number}", subnets=(f"10.1.{number}.0/24",)) for number in range(40)]
    asked += [asked[0], NetworkRequest(name="bad", parent="missing0")]
    calls: list[tuple[int, Callable[[], object]]] = [
        (42, lambda: host.create_networks(asked, progress=tell)),
        (202, lambda: host.connect_many("lan", [*names, names[0], "not valid"], progress=tell)),
        (42, lambda: host.disconnect_many("lan", [*names[:40], names[0], "missing"], progress=tell)),
        (202, lambda: host.remove_many([*names, names[0], "missing"], progress=tell)),
        (1, lambda: host.remove_many(["missing"], progress=tell)),
        (0, lambda: host.remove_many([], progress=tell)),
        (42, lambda: host.remove_networks([*(one.name for one in asked[:40]), "n0", "missing"], progress=tell)),
        (0, lambda: host.prune_networks(lambda one: one.name == "missing", progress=tell)),
        (7, lambda: host.scale("lan", "w", 7, progress=tell)),
        (7, lambda: host.scale("lan", "w", 0, progress=tell)),
    ]
    for total, call in calls:
        seen.clear()
        call()
        assert (seen[0], seen[-1]) == ((0, total), (total, total))
        assert seen == sorted(set(seen))
        assert {of for _, of in seen} == {total}
        assert len(seen) > 2 or total < 42, "it is told only when all is over"
    machine.assert_record_is_true()


# MACs that something else has.


def test_an_address_whose_mac_was_given_to_another_is_passed_over(machine: Machine) -> None:
    taken = EndpointRequest.of("lan", ip="172.16.86.50", mac="02:42:ac:10:56:02")
    machine.host.create_sandbox("first", endpoints=[taken])
    for number in (3, 4):
        box = machine.host.create_sandbox(endpoints=ON_LAN)
        assert box.endpoints[0].addresses[0].ip == ip_address(f"172.16.86.{number}")
    with pytest.raises(MacTaken):
        machine.host.create_sandbox(endpoints=[EndpointRequest.of("lan", ip="172.16.86.2")])
    machine.assert_record_is_true()


def test_an_address_whose_mac_a_stranger_has_is_passed_over(machine: Machine) -> None:
    netns = machine.world.give(GIVEN)
    for number in (2, 3):
        mac = bytes([2, 0x42, 172, 16, 86, number])
        netns.links[number] = FakeLink(number, f"mv{number}", "macvlan", mac, parent=2, mode="bridge")
    outcomes = machine.host.connect_many("lan", ["a", "b"])
    outcomes.raise_if_any()
    assert [str(one.value and one.value.ip) for one in outcomes] == ["172.16.86.4/24", "172.16.86.5/24"]
    with pytest.raises(MacTaken):
        machine.host.create_sandbox(endpoints=[EndpointRequest.of("lan", ip="172.16.86.2")])


def test_what_is_passed_over_for_its_mac_is_there_for_an_endpoint_with_a_mac_of_its_own(machine: Machine) -> None:
    """In one call, as one after the other: wrong is what counts as in use until the end of it."""
    for at in (2, 3, 4):
        taken = EndpointRequest.of("lan", ip=f"172.16.86.5{at}", ip6=f"2001:db8:86::5{at}", mac=f"02:42:ac:10:56:0{at}")
        machine.host.create_sandbox(f"first-{at}", endpoints=[taken])
    other = "02:42:00:00:00:0"
    asked = [
        EndpointRequest.of("lan", "a"),
        EndpointRequest.of("lan", "b", ip="172.16.86.4", mac=f"{other}1"),
        EndpointRequest.of("lan", "c", ip6="2001:db8:86::40"),
        EndpointRequest.of("lan", "d", mac=f"{other}2"),
        EndpointRequest.of("lan", "e", ip="172.16.86.3"),
        EndpointRequest.of("lan", "f"),
    ]
    outcomes = machine.host.connect_many("lan", asked)
    got = [None if one.value is None else [str(address.ip) for address in one.value.addresses] for one in outcomes]
    assert got == [
        ["172.16.86.5", "2001:db8:86::2"],
        ["172.16.86.4", "2001:db8:86::3"],
        ["172.16.86.6", "2001:db8:86::40"],
        ["172.16.86.2", "2001:db8:86::4"],
        None,
        ["172.16.86.7", "2001:db8:86::5"],
    ]
    assert isinstance(outcomes[4].error, MacTaken)
    machine.assert_record_is_true()
    # And where nothing else is left.
    machine.host.update_network("lan", ip_ranges=["172.16.86.3/32"])
    refused = machine.host.connect_many("lan", ["x", "y"])
    assert [type(one.error) for one in refused] == [MacTaken, MacTaken]
    machine.assert_record_is_true()


def test_a_parent_whose_mtu_has_shrunk_is_named(machine: Machine) -> None:
    machine.host.create_network("narrow", subnets=["10.8.0.0/24"], parent="eth0.8", mtu=1400)
    parent = machine.world.home.named("eth0.8")
    assert parent is not None
    parent.mtu = 1300
    with pytest.raises(ParentUnusable, match="its MTU of 1300 is less than the 1400 of network `narrow`"):
        machine.host.create_sandbox(endpoints=[EndpointRequest(network="narrow")])


# Scaling.


def test_scaling_is_planned_from_numbers_alone() -> None:
    there = [Numbered(number, str(number), f"w-{number}", number != 4, 1) for number in (0, 2, 4, 7, 9)]
    plan = plan_scale(there, 5)
    assert (list(plan.make), [one.number for one in plan.remove], [one.number for one in plan.refused], plan.kept) == (
        [1, 3], [9, 7], [4], 2,
    )  # fmt: skip
    plan = plan_scale(there, 0)
    assert ([one.number for one in plan.remove], [one.number for one in plan.refused]) == ([9, 7, 2, 0], [4])


def test_scaling_speaks_of_names_that_it_would_give_and_of_no_others(machine: Machine) -> None:
    for name in ("w-01", "w-x", "w-", "w.1", "w-1-2", "ww-1"):
        machine.host.create_sandbox(name)
    done = machine.host.scale("lan", "w", 3)
    assert (done.count, done.errors) == (3, [])
    seen: list[tuple[int, int]] = []
    done = machine.host.scale("lan", "w", 1, progress=lambda *step: seen.append(step))
    assert [one.value for one in done.removed] == ["w-2", "w-1"]
    assert (seen[0], seen[-1]) == ((0, 2), (2, 2))
    machine.assert_record_is_true()


# Networks.


def vlans(vids: range | list[int], **options: object) -> list[NetworkRequest]:
    return [
        NetworkRequest(name=f"v{vid}", subnets=("10.0.0.0/24",), parent=f"eth0.{vid}", **options)  # type: ignore[arg-type]
        for vid in vids
    ]


def test_networks_on_many_vlans_are_made_and_removed_in_few_steps(machine: Machine) -> None:
    before = machine.everything()
    machine.faults.arm()
    outcomes = machine.host.create_networks(vlans(range(1, 301)))
    outcomes.raise_if_any()
    assert [one.value and one.value.link for one in outcomes] == [f"eth0.{vid}" for vid in range(1, 301)]
    assert sum(step.startswith("store") for step in machine.faults.seen) == 2 * 2 * 3, "two transactions per 128"
    machine.assert_record_is_true()
    machine.faults.arm()
    removed = machine.host.remove_networks([f"v{vid}" for vid in range(1, 301)])
    removed.raise_if_any()
    assert machine.faults.seen.count("delete parents") == 3
    assert machine.everything() == before


def test_a_refused_network_takes_no_other_with_it(machine: Machine) -> None:
    machine.host.create_network("v3", subnets=["10.3.0.0/24"], parent="eth1.3")
    asked = [
        *vlans([1, 2, 3, 4095]),
        NetworkRequest(name="v1", subnets=("10.9.0.0/24",), parent="eth1.9"),
        NetworkRequest(name="w", subnets=("10.9.0.0/24",), parent="eth0.2"),
        NetworkRequest(name="x", subnets=("10.9.0.1/24",), parent="eth0.5"),
        NetworkRequest(name="y", subnets=("10.9.0.0/24",), parent="eth9.5"),
        *vlans([6]),
    ]
    codes = [one.error and one.error.code for one in machine.host.create_networks(iter(asked))]
    assert codes == [
        None, None, "network-exists", "option-invalid", "network-exists", "parent-taken", "subnet-invalid",
        "parent-not-found", None,
    ]  # fmt: skip
    assert sorted(network.name for network in machine.host.networks()) == ["lan", "other", "v1", "v2", "v3", "v6"]
    machine.assert_record_is_true()


def test_networks_that_share_a_parent_are_made_and_removed_in_one_call(machine: Machine) -> None:
    shared = [
        NetworkRequest(name=f"s{number}", subnets=(f"10.{number}.0.0/24",), parent="eth0.7", share_parent=True)
        for number in range(3)
    ]
    machine.host.create_networks(shared).raise_if_any()
    assert machine.world.home.named("eth0.7") is not None
    machine.assert_record_is_true()
    machine.host.remove_networks(["s0", "s1", "s2"]).raise_if_any()
    assert machine.world.home.named("eth0.7") is None
    machine.assert_record_is_true()


def test_networks_on_one_parent_are_made_and_removed_in_few_steps(machine: Machine) -> None:
    """Not one round of transactions for each: what postpones all but the first of a parent."""
    machine.world.add_home(FakeLink(4, "eth2"))
    before = machine.everything()
    for parent, rounds in (("eth2", 2), ("eth0.7", 4)):
        asked = [
            NetworkRequest(name=f"s{number}", subnets=(f"10.{number}.0.0/24",), parent=parent, share_parent=True)
            for number in range(200)
        ]
        machine.faults.arm()
        machine.host.create_networks(asked).raise_if_any()
        assert machine.faults.seen.count("store: commit") == rounds, parent
        machine.faults.arm()
        machine.host.remove_networks([one.name for one in asked]).raise_if_any()
        assert machine.faults.seen.count("store: commit") == 2 * 2, "two transactions per 128"
        assert machine.everything() == before


def test_a_new_sandbox_is_not_told_to_leave_a_network_that_is_named_twice(machine: Machine) -> None:
    """There is nothing to disconnect: it was never made."""
    twice = [EndpointRequest(network="lan"), EndpointRequest(network=machine.host.network("lan").id)]
    with pytest.raises(AlreadyConnected, match="the network is named twice") as refusal:
        machine.host.create_sandbox("box", endpoints=twice)
    assert "disconnect" not in " ".join(refusal.value.hints)
    assert list(machine.host.sandboxes()) == []


def test_a_network_named_twice_is_removed_once(machine: Machine) -> None:
    made = machine.host.create_network("m", subnets=["10.1.0.0/24"], parent="eth0.50")
    outcomes = machine.host.remove_networks(["m", made.id, "m", "n", "n"])
    assert [(one.name, one.value) for one in outcomes[:3]] == [("m", "m"), (made.id, "m"), ("m", "m")]
    assert [one.error and one.error.code for one in outcomes] == [None, None, None, *["network-not-found"] * 2]
    machine.assert_record_is_true()


def test_a_sandbox_named_twice_is_taken_off_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detach, "CHUNK", 1)
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="lan")])
    outcomes = machine.host.disconnect_many("lan", ["x", "x"])
    assert [one.value for one in outcomes] == ["x", "x"]


def test_networks_without_subnets_get_different_ones(machine: Machine) -> None:
    outcomes = machine.host.create_networks([NetworkRequest(name=name) for name in "abc"])
    outcomes.raise_if_any()
    assert len({one.value.subnets[0].cidr for one in outcomes if one.value}) == 3


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("removing", [False, True])
def test_a_fault_at_any_step_of_several_networks_leaves_the_record_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: bool, removing: bool
) -> None:
    monkeypatch.setattr(network_removal, "CHUNK", 2)
    names = [f"v{vid}" for vid in range(1, 6)]

    def prepared(directory: Path) -> Machine:
        directory.mkdir()
        machine = Machine(directory)
        if removing:
            machine.host.create_networks(vlans(range(1, 6))).raise_if_any()
        machine.faults.arm()
        return machine

    def act(machine: Machine) -> list[str]:
        if removing:
            return [one.name for one in machine.host.remove_networks(names) if one.ok]
        return [one.name for one in machine.host.create_networks(vlans(range(1, 6))) if one.ok]

    dry = prepared(tmp_path / "dry")
    assert act(dry) == names
    steps = dry.faults.count
    dry.host.close()
    for step in range(1, steps + 1):
        machine = prepared(tmp_path / str(step))
        machine.faults.arm(crash_at=step if crash else None, fail_at=None if crash else step)
        done: list[str] = []
        with contextlib.suppress(MacvfastError, Crash):
            done = act(machine)
        if crash:
            machine.restart()
        machine.faults.arm()
        machine.mend()
        machine.assert_record_is_true()
        there = {network.name for network in machine.host.networks()}
        assert there.isdisjoint(done) if removing else set(done) <= there
        if not crash and not removing:
            assert there == set(done)
        machine.host.close()


def test_many_are_made_where_no_thread_can_be_started(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a limit on processes Python raises RuntimeError, which was a bug of macvfast's."""

    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    machine.host.connect_many("lan", [f"w{number}" for number in range(70)]).raise_if_any()
    machine.host.remove_many([f"w{number}" for number in range(70)]).raise_if_any()
