"""Networks that are changed while they are in use, and networks that are to be as they are asked for."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from macvfast.engine import attach, engine, sandboxes
from macvfast.engine.networks import Networks
from macvfast.engine.parents import HomeAddresses, Parents
from macvfast.errors import (
    AddressTaken,
    ArgumentInvalid,
    AuxAddressInvalid,
    MacvfastError,
    NetworkDiffers,
    NetworkNotFound,
    ParentTaken,
    PoolExhausted,
    RangeInvalid,
    SandboxBusy,
    SubnetMissing,
)
from macvfast.requests import EndpointRequest, NetworkRequest
from macvfast.state.records import REMOVED
from tests.unit.fake_kernel import Crash
from tests.unit.machine import LAN, LAN6, Machine
from tests.unit.test_at_once import meanwhile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from macvfast.host import Host
    from macvfast.model import Network

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture
def other(machine: Machine) -> Iterator[Host]:
    """Another process on the machine's state."""
    host = machine.start()
    yield host
    host.close()


def address(machine: Machine, name: str, network: str = "lan") -> str:
    """The IPv4 address that a new sandbox gets."""
    made = machine.host.create_sandbox(name, endpoints=[EndpointRequest(network=network)])
    return str(made.endpoints[0].addresses[0].ip)


def subnet(network: Network) -> tuple[tuple[str, ...], str, dict[str, str]]:
    """The ip-ranges, gateway and aux addresses of a network's first subnet."""
    first = network.subnets[0]
    return first.ranges, str(first.gateway), {name: str(one) for name, one in first.aux}


# Ip-ranges.


def test_addresses_come_from_a_new_ip_range_and_those_outside_it_stay(machine: Machine) -> None:
    assert address(machine, "before") == "172.16.86.2"
    network = machine.host.update_network("lan", ip_ranges=["172.16.86.192/26"])
    assert network == machine.host.network("lan")
    # The gateway was chosen automatically, from all of the subnet: it stays.
    assert subnet(network) == (("172.16.86.192/26",), "172.16.86.1", {})
    assert address(machine, "after") == "172.16.86.192"
    assert str(machine.host.sandbox("before").endpoints[0].ip) == "172.16.86.2/24"
    machine.assert_record_is_true()
    machine.host.remove_many(["before"]).raise_if_any()
    machine.host.update_network("lan", ip_ranges=())
    assert address(machine, "again") == "172.16.86.2"
    machine.assert_record_is_true()


def test_a_range_that_is_full_of_addresses_in_use_gives_none(machine: Machine) -> None:
    machine.host.connect_many("lan", [f"w{number}" for number in range(8)]).raise_if_any()
    machine.host.update_network("lan", ip_ranges=["172.16.86.0/29"])
    with pytest.raises(PoolExhausted):
        address(machine, "more")
    machine.host.remove_many(["w3"]).raise_if_any()
    assert address(machine, "more") == "172.16.86.5"
    machine.assert_record_is_true()


def test_each_subnet_has_its_own_ranges(machine: Machine) -> None:
    machine.host.update_network("lan", ip_ranges=["172.16.86.128/25"])
    network = machine.host.update_network("lan", ip_ranges=[f"{LAN6[:-3]}100/120"])
    assert [one.ranges for one in network.subnets] == [("172.16.86.128/25",), ("2001:db8:86::100/120",)]
    made = machine.host.create_sandbox("w", endpoints=[EndpointRequest(network="lan")])
    assert [str(one.ip) for one in made.endpoints[0].addresses] == ["172.16.86.128", "2001:db8:86::100"]


def test_in_the_order_next_allocation_goes_on_where_it_was(machine: Machine) -> None:
    machine.host.create_network("turn", subnets=["10.9.0.0/28"], parent="eth0.4", order="next")
    assert [address(machine, f"w{number}", "turn") for number in range(3)] == ["10.9.0.2", "10.9.0.3", "10.9.0.4"]
    machine.host.remove_many(["w0", "w1"]).raise_if_any()
    machine.host.update_network("turn", aux={"printer": "10.9.0.5"})
    assert address(machine, "x", "turn") == "10.9.0.6"
    machine.host.update_network("turn", order="lowest")
    assert address(machine, "y", "turn") == "10.9.0.2"
    assert dict(machine.host.network("turn").options)["ipam_order"] == "lowest"


# Aux addresses.


def test_an_aux_address_is_given_to_nobody_until_it_is_taken_away(machine: Machine) -> None:
    machine.host.update_network("lan", aux={"printer": "172.16.86.2"})
    assert address(machine, "one") == "172.16.86.3"
    with pytest.raises(AddressTaken, match="printer"):
        machine.host.create_sandbox("two", endpoints=[EndpointRequest.of("lan", ip="172.16.86.2")])
    machine.host.update_network("lan", aux={"printer": None})
    assert address(machine, "two") == "172.16.86.2"
    machine.assert_record_is_true()


def test_an_aux_address_that_an_endpoint_has_is_refused_and_the_endpoint_is_named(machine: Machine) -> None:
    address(machine, "web")
    before = machine.everything()
    with pytest.raises(AddressTaken) as refused:
        machine.host.update_network("lan", aux={"printer": "172.16.86.2"}, ip_ranges=["172.16.86.128/25"])
    assert refused.value.causes == ("it is held by sandbox `web` on network `lan`",)
    assert machine.everything() == before
    assert machine.host.network("lan").subnets[0].ranges == ()


def only_what_update_takes(refused: MacvfastError) -> bool:
    """Whether its hints speak of no option that `network create` alone has."""
    return bool(refused.hints) and not any("--subnet" in hint or "--gateway" in hint for hint in refused.hints)


def test_the_gateway_is_no_aux_address_however_it_came_to_be(machine: Machine) -> None:
    with pytest.raises(AuxAddressInvalid, match="chosen automatically when the network was made") as refused:
        machine.host.update_network("lan", aux={"router": "172.16.86.1"})
    assert only_what_update_takes(refused.value)
    with pytest.raises(AuxAddressInvalid, match="gateway"):
        machine.host.update_network("lan", aux={"router": "2001:db8:86::1"})


# What is refused is refused as when the network is made.


@pytest.mark.parametrize(
    "asked",
    [
        {"ip_ranges": ["10.0.0.0/24"]},
        {"ip_ranges": ["172.16.0.0/16"]},
        {"ip_ranges": ["172.16.86.9-172.16.86.4"]},
        {"ip_ranges": ["nonsense"]},
        {"aux": {"a": "10.0.0.1"}},
        {"aux": {"a": "nonsense"}},
        {"aux": {"a": "172.16.86.0"}},
        {"aux": {"a": "172.16.86.255"}},
        {"aux": [("a", "172.16.86.9"), ("a", "172.16.86.10")]},
        {"aux": {"a": "172.16.86.9", "b": "172.16.86.9"}},
        {"aux": {"": "172.16.86.9"}},
        {"order": "random"},
    ],
    ids=str,
)
def test_an_update_is_refused_in_the_words_of_create(machine: Machine, asked: dict[str, Any]) -> None:
    machine.host.create_network("here", subnets=[LAN], parent="eth0.3")
    with pytest.raises(MacvfastError) as of_create:
        machine.host.create_network("there", subnets=[LAN], parent="eth0.4", **asked)
    before = machine.everything(), machine.host.network("here")
    with pytest.raises(type(of_create.value)) as of_update:
        machine.host.update_network("here", **asked)
    assert str(of_update.value) == str(of_create.value)
    assert only_what_update_takes(of_update.value)
    assert (machine.everything(), machine.host.network("here")) == before


@pytest.mark.parametrize("ip_range", ["10.0.0.0/24", "172.16.0.0/16", "nonsense", "fd00::/120"])
def test_the_ip_range_that_is_hinted_at_is_taken(machine: Machine, ip_range: str) -> None:
    with pytest.raises(RangeInvalid) as refused:
        machine.host.update_network("lan", ip_ranges=[ip_range])
    option, _, hinted = refused.value.hints[0].partition("=")
    assert option == "--ip-range"
    subnets = machine.host.update_network("lan", ip_ranges=[hinted]).subnets
    assert hinted in [ip_range for subnet in subnets for ip_range in subnet.ranges]


def test_a_parent_is_not_taken_back_from_those_that_share_it(machine: Machine) -> None:
    machine.host.create_network("one", subnets=["10.1.0.0/24"], parent="eth0.9", share_parent=True)
    machine.host.create_network("two", subnets=["10.2.0.0/24"], parent="eth0.9", share_parent=True)
    with pytest.raises(ParentTaken, match="network `two` holds it"):
        machine.host.update_network("one", share_parent=False)
    machine.host.remove_networks(["two"]).raise_if_any()
    machine.host.update_network("one", share_parent=False)
    with pytest.raises(ParentTaken):
        machine.host.create_network("two", subnets=["10.2.0.0/24"], parent="eth0.9", share_parent=True)
    machine.host.update_network("one", share_parent=True)
    machine.host.create_network("two", subnets=["10.2.0.0/24"], parent="eth0.9", share_parent=True)


def test_a_network_that_goes_or_is_not_there_is_not_changed(machine: Machine) -> None:
    with pytest.raises(NetworkNotFound):
        machine.host.update_network("nowhere", order="next")
    store = machine.host._store
    with store.operation(), store.writing() as records:
        records.begin_network_removal(machine.host.network("lan").id, records.begin(store.owner(), REMOVED))
    machine.restart()
    # Its remover has died: it is removed first, as by any other command.
    with pytest.raises(NetworkNotFound):
        machine.host.update_network("lan", order="next")


def test_a_network_that_another_process_removes_is_busy(
    machine: Machine, other: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = other._store
    with store.operation():
        with store.writing() as records:
            records.begin_network_removal(other.network("lan").id, records.begin(store.owner(), REMOVED))
        with pytest.raises(SandboxBusy, match="network `lan` is being removed"):
            machine.host.update_network("lan", order="next")
        monkeypatch.setattr(engine, "ENSURE_WAIT_S", 0.03)
        with pytest.raises(SandboxBusy, match="network `lan` is being removed"):
            machine.host.ensure_network(NetworkRequest(name="lan", parent="eth0", subnets=(LAN, LAN6)))


# Nothing else changes.


def test_labels_are_changed_one_by_one(machine: Machine) -> None:
    machine.host.create_network("l", subnets=["10.1.0.0/24"], parent="eth0.9", labels={"a": "1", "b": "2"})
    assert dict(machine.host.update_network("l", labels={"a": None, "c": "3"}).labels) == {"b": "2", "c": "3"}
    assert dict(machine.host.update_network("l", labels={"a": None, "b": "4"}).labels) == {"b": "4", "c": "3"}


def test_no_endpoint_is_touched_and_the_kernel_is_asked_to_change_nothing(machine: Machine) -> None:
    machine.host.connect_many("lan", [f"w{number}" for number in range(5)]).raise_if_any()
    before = machine.world.picture()
    machine.faults.arm()
    machine.host.update_network(
        "lan", ip_ranges=["172.16.86.192/26"], aux={"a": "172.16.86.9"}, labels={"x": "y"}, order="next",
        share_parent=True,
    )  # fmt: skip
    assert [step for step in machine.faults.seen if not step.startswith("store")] == []
    assert machine.world.picture() == before
    assert machine.host.check() == []


def test_nothing_to_change_is_success_and_writes_nothing(machine: Machine) -> None:
    before = machine.host.network("lan")
    for asked in ({}, {"order": "lowest"}, {"ip_ranges": ()}, {"aux": {"nobody": None}}, {"labels": {"no": None}}):
        assert machine.host.update_network("lan", **asked) == before


def test_an_update_that_dies_at_any_step_is_done_or_never_was(machine: Machine) -> None:
    machine.host.connect_many("lan", [f"w{number}" for number in range(5)]).raise_if_any()
    for step in range(1, 30):
        machine.faults.arm(crash_at=step)
        try:
            machine.host.update_network("lan", ip_ranges=["172.16.86.192/26"], labels={"x": "y"})
        except Crash:
            machine.restart()
        else:
            break
        machine.assert_record_is_true()
        after = machine.host.network("lan")
        assert (after.subnets[0].ranges, after.labels) in (((), ()), (("172.16.86.192/26",), (("x", "y"),)))
        machine.faults.arm()
        machine.host.update_network("lan", ip_ranges=(), labels={"x": None})
    else:
        pytest.fail("it never ended")
    assert step > 1
    machine.assert_record_is_true()


# As it is asked for.

ASKED = NetworkRequest(
    name="net", parent="eth0.7", subnets=("10.7.0.0/24",), ip_ranges=("10.7.0.128/25",), labels=(("a", "1"),),
    aux=(("printer", "10.7.0.9"),),
)  # fmt: skip


def asked(**changed: Any) -> NetworkRequest:
    return NetworkRequest(**{
        key: getattr(ASKED, key) for key in ("name", "parent", "subnets", "ip_ranges", "labels", "aux")
    } | changed)  # fmt: skip


def test_what_is_missing_is_made_and_what_is_as_asked_is_left_alone(machine: Machine) -> None:
    made = machine.host.ensure_network(ASKED)
    assert machine.world.home.named("eth0.7") is not None
    before = machine.everything()
    assert machine.host.ensure_network(ASKED) == made
    assert machine.everything() == before
    assert machine.host.network("net") == made


def test_what_may_change_is_changed_and_the_network_stays_the_same_one(machine: Machine) -> None:
    made = machine.host.ensure_network(ASKED)
    assert address(machine, "w", "net") == "10.7.0.129"
    wanted = asked(ip_ranges=("10.7.0.64/26",), aux=(("camera", "10.7.0.64"),), labels=(), order="next")
    after = machine.host.ensure_network(wanted)
    assert (after.id, after.created_at) == (made.id, made.created_at)
    # The gateway that was chosen with the first ip-range stays.
    assert subnet(after) == (("10.7.0.64/26",), "10.7.0.128", {"camera": "10.7.0.64"})
    assert address(machine, "x", "net") == "10.7.0.65" or after.order == "next"
    assert machine.host.ensure_network(wanted) == after
    machine.assert_record_is_true()


def test_what_cannot_change_is_a_conflict_and_nothing_is_changed(machine: Machine) -> None:
    made = machine.host.ensure_network(ASKED)
    with pytest.raises(NetworkDiffers) as refused:
        machine.host.ensure_network(asked(parent="eth1", mode="vepa", gateways=("10.7.0.1",), labels=()))
    assert refused.value.differences == (
        "mode: bridge is recorded, vepa is asked for",
        "parent: eth0.7 is recorded, eth1 is asked for",
        "gateway of 10.7.0.0/24: 10.7.0.128 is recorded, 10.7.0.1 is asked for",
    )
    assert machine.host.network("net") == made


def test_a_parent_is_known_by_each_of_its_names(machine: Machine) -> None:
    nic = machine.world.home.named("eth1")
    assert nic is not None
    nic.altnames.append("lan-port")
    machine.host.remove_networks(["other"]).raise_if_any()
    made = machine.host.ensure_network(asked(parent="lan-port"))
    assert machine.host.ensure_network(asked(parent="eth1")) == made
    assert machine.host.ensure_network(asked(parent="lan-port")) == made
    with pytest.raises(NetworkDiffers, match="parent: eth1 is recorded, eth0 is asked for"):
        machine.host.ensure_network(asked(parent="eth0"))


def test_a_parent_that_is_away_makes_no_other_network_of_it(machine: Machine) -> None:
    made = machine.host.ensure_network(ASKED)
    link = machine.world.home.named("eth0.7")
    assert link is not None
    machine.world.take_parent(link.ifindex)
    assert machine.host.ensure_network(ASKED) == made


def test_a_default_subnet_is_kept_and_no_subnet_on_a_parent_is_refused_there_or_not(machine: Machine) -> None:
    local = machine.host.ensure_network(NetworkRequest(name="local"))
    assert machine.host.ensure_network(NetworkRequest(name="local")) == local
    machine.host.ensure_network(ASKED)
    for name in ("net", "new"):
        with pytest.raises(SubnetMissing):
            machine.host.ensure_network(asked(name=name, subnets=(), ip_ranges=(), aux=()))


def test_an_automatic_gateway_is_asked_for_again_where_this_host_has_the_first_address(machine: Machine) -> None:
    nic = machine.world.home.named("eth1")
    assert nic is not None
    machine.host.remove_networks(["other"]).raise_if_any()
    nic.addresses.append((ip_address("10.7.0.1").packed, 24))
    given = machine.host.ensure_network(asked(parent="eth1", ip_ranges=(), gateways=("10.7.0.2",)))
    # What would be chosen is what it has.
    assert machine.host.ensure_network(asked(parent="eth1", ip_ranges=())) == given


def test_a_request_of_another_type_is_refused(machine: Machine) -> None:
    with pytest.raises(ArgumentInvalid):
        machine.host.ensure_network("lan")  # type: ignore[arg-type]


def test_who_asks_for_a_network_that_another_makes_meanwhile_gets_that_one(
    machine: Machine, other: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, Networks, "_match", lambda: other.create_network(asked(labels=())))
    made = machine.host.ensure_network(ASKED)
    assert made == other.network("net")
    assert dict(made.labels) == {"a": "1"}


def test_who_asks_for_a_network_that_another_removes_meanwhile_makes_it(
    machine: Machine, other: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine.host.ensure_network(ASKED)
    meanwhile(monkeypatch, HomeAddresses, "on", lambda: other.remove_networks(["net"]).raise_if_any())
    assert machine.host.ensure_network(ASKED).id != first.id
    machine.assert_record_is_true()


def test_who_asks_for_a_network_that_another_is_making_waits_for_it(
    machine: Machine, other: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each asks for the same sub-interface; the one that comes second sees it recorded and not yet made."""
    begun, seen = threading.Event(), threading.Event()
    really = Parents.make

    def make(parents: Parents, wanted: Any) -> Any:
        begun.set()
        assert seen.wait(60)
        return really(parents, wanted)

    class Clock:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def sleep(_: float) -> None:
            seen.set()
            first.join(60)

    monkeypatch.setattr(Parents, "make", make)
    monkeypatch.setattr(engine, "time", Clock)
    first = threading.Thread(target=other.ensure_network, args=(ASKED,))
    first.start()
    assert begun.wait(60)
    assert machine.host.ensure_network(ASKED) == other.network("net")
    assert seen.is_set()
    machine.assert_record_is_true()


def test_two_updates_of_two_processes_are_both_there(machine: Machine, other: Host) -> None:
    machine.host.update_network("lan", labels={"one": "1"})
    other.update_network("lan", labels={"two": "2"})
    assert dict(machine.host.network("lan").labels) == {"one": "1", "two": "2"}


def test_of_updates_of_several_threads_of_one_host_none_is_lost(machine: Machine) -> None:
    def change(name: str) -> None:
        for step in range(10):
            machine.host.update_network("lan", labels={name: str(step)})

    threads = [threading.Thread(target=change, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(machine.host.network("lan").labels) == dict.fromkeys("abcd", "9")


def test_what_a_bulk_gives_after_an_update_is_of_the_new_range(
    machine: Machine, other: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process changes the network between two chunks of one that connects."""
    for name in ("FIRST_CHUNK", "CHUNK"):
        monkeypatch.setattr(sandboxes, name, 2)
    meanwhile(
        monkeypatch, attach.Attacher, "_settle", lambda: other.update_network("lan", ip_ranges=["172.16.86.128/25"])
    )
    outcomes = machine.host.connect_many("lan", [f"w{number}" for number in range(8)])
    given = [str(one.value.ip) for one in outcomes if one.value is not None]
    assert given[:2] == ["172.16.86.2/24", "172.16.86.3/24"]
    assert given[-1].startswith("172.16.86.13")
    machine.assert_record_is_true()


# Against a slow, obvious twin.

CIDR = ip_network("10.5.0.0/28")
numbers = st.integers(0, 15)
pairs = st.tuples(numbers, numbers).map(sorted)


class Updates(RuleBasedStateMachine):
    """A small network whose rules change while sandboxes come and go."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.machine = Machine(self.directory)
        self.machine.host.create_network("n", subnets=[str(CIDR)], parent="eth0")
        self.ranges: list[list[int]] = []
        self.aux: dict[str, int] = {}
        self.boxes: dict[str, int] = {}

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.machine.host.close()
            shutil.rmtree(self.directory)

    def kept(self) -> set[int]:
        return {0, 1, 15, *self.aux.values()}

    @rule(name=st.sampled_from("xyzuvw"), wanted=st.none() | numbers)
    def connect(self, name: str, wanted: int | None) -> None:
        if name in self.boxes:
            return
        taken = self.kept() | set(self.boxes.values())
        inside = [n for n in range(16) if not self.ranges or any(low <= n <= high for low, high in self.ranges)]
        free = [n for n in inside if n not in taken] if wanted is None else [wanted][: wanted not in taken]
        request = EndpointRequest.of("n", ip=None if wanted is None else str(CIDR[wanted]))
        try:
            made = self.machine.host.create_sandbox(name, endpoints=[request])
        except (PoolExhausted, AddressTaken):
            assert free == []
        else:
            assert str(made.endpoints[0].addresses[0].ip) == str(CIDR[free[0]])
            self.boxes[name] = free[0]

    @rule(name=st.sampled_from("xyzuvw"))
    def remove(self, name: str) -> None:
        if self.boxes.pop(name, None) is not None:
            self.machine.host.remove_many([name]).raise_if_any()

    @rule(ranges=st.lists(pairs, max_size=2))
    def change_ranges(self, ranges: list[list[int]]) -> None:
        self.machine.host.update_network("n", ip_ranges=[f"{CIDR[low]}-{CIDR[high]}" for low, high in ranges])
        self.ranges = ranges

    @rule(name=st.sampled_from("ab"), number=st.none() | numbers)
    def change_an_aux_address(self, name: str, number: int | None) -> None:
        others = {other: one for other, one in self.aux.items() if other != name}
        try:
            self.machine.host.update_network("n", aux={name: None if number is None else str(CIDR[number])})
        except AuxAddressInvalid:
            assert number in {0, 1, 15, *others.values()}
        except AddressTaken:
            assert number in self.boxes.values()
        else:
            assert number not in {0, 1, 15, *others.values(), *self.boxes.values()}
            self.aux = others if number is None else others | {name: number}

    @invariant()
    def the_record_is_true(self) -> None:
        if hasattr(self, "machine"):
            self.machine.assert_record_is_true()


def test_whatever_changes_each_address_is_the_lowest_that_a_slow_twin_would_give(
    hasty: object,  # noqa: ARG001 - asked for before it is made
) -> None:
    run_state_machine_as_test(Updates, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))


def test_a_range_in_no_subnet_is_named(machine: Machine) -> None:
    with pytest.raises(RangeInvalid, match=r"no subnet of the network contains it \(172.16.86.0/24"):
        machine.host.update_network("lan", ip_ranges=["10.0.0.0/24"])
