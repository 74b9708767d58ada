"""No cost grows with the product of two counts: work is counted, not timed, at one count, at two and at four times it.

What a transaction reads once, such as what the networks of a pool keep, is read once here, too: all is in one chunk,
but where chunks themselves are looked at.
"""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.engine import network_removal, sandboxes
from macvfast.errors import AddressTaken, PoolExhausted, SubnetMissing
from macvfast.requests import EndpointRequest, NetworkRequest
from macvfast.system import limits
from tests.unit.fake_kernel import Crash, FakeLink
from tests.unit.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

pytestmark = pytest.mark.usefixtures("hasty")

COUNTS = (64, 128, 256)

# Twice, where all is linear; a look at each other network, one call of Python's alone, makes it 2.2 and more.
AT_MOST = 2.1
# What is the same at all counts is not quite so: which rows a search passes, names of one digit more.
SLACK = 64


class Work:
    """Counts what SQLite and Python do: statements, steps through rows, and calls of functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        connect = sqlite3.connect

        def watched(*args: Any, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **options)
            connection.set_trace_callback(lambda _: self.done.update(["statements"]))
            connection.set_progress_handler(lambda: self.done.update(["steps"]), 1)
            return connection

        monkeypatch.setattr(sqlite3, "connect", watched)

    def of(self, act: Callable[[], object]) -> Counter[str]:
        """What it takes to do something."""
        self.done.clear()
        calls = 0

        def count(frame: FrameType, _event: str, _argument: object) -> None:
            nonlocal calls
            # The kernel in memory looks at all its links where the real one does not.
            calls += "/tests/" not in frame.f_code.co_filename

        sys.setprofile(count)
        try:
            act()
        finally:
            sys.setprofile(None)
        return self.done + Counter(calls=calls)


def requests(count: int, *, shared: bool) -> list[NetworkRequest]:
    """Networks on one parent, all with one subnet or each with its own."""
    return [
        NetworkRequest(
            name=f"n{at}", subnets=("10.0.0.0/8" if shared else f"10.{at >> 8}.{at & 255}.0/24",),
            aux=(("printer", f"10.{at >> 8}.{at & 255}.9"),), parent="eth0", share_parent=True,
        )
        for at in range(count)
    ]  # fmt: skip


def made(machine: Machine, count: int, *, shared: bool = True) -> list[str]:
    """Networks that are there: their names."""
    wanted = requests(count, shared=shared)
    machine.host.create_networks(wanted).raise_if_any()
    return [one.name for one in wanted]


def create(machine: Machine, count: int, *, shared: bool) -> Callable[[], object]:
    wanted = requests(count, shared=shared)
    return lambda: machine.host.create_networks(wanted).raise_if_any()


def remove(machine: Machine, count: int, *, shared: bool) -> Callable[[], object]:
    there = made(machine, count, shared=shared)
    return lambda: machine.host.remove_networks(there).raise_if_any()


def create_on_own_parents(machine: Machine, count: int) -> Callable[[], object]:
    """Networks on a sub-interface each."""
    wanted = [
        NetworkRequest(name=f"v{at}", subnets=(f"10.{at >> 8}.{at & 255}.0/24",), parent=f"eth0.{at + 100}")
        for at in range(count)
    ]
    return lambda: machine.host.create_networks(wanted).raise_if_any()


def remove_with_parents(machine: Machine, count: int) -> Callable[[], object]:
    create_on_own_parents(machine, count)()
    return lambda: machine.host.remove_networks([f"v{at}" for at in range(count)]).raise_if_any()


def finish(machine: Machine, count: int) -> Callable[[], object]:
    """The removal of networks that a process began which died."""
    there = made(machine, count)
    # In one transaction they are begun; the next is never reached.
    machine.faults.arm(crash_at=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_removal, "CHUNK", count)
        with pytest.raises(Crash):
            machine.host.remove_networks(there)
    machine.restart()

    def act() -> None:
        machine.host.gc()
        assert not [*machine.host.networks()]

    return act


def refused_without_a_default_subnet(machine: Machine, count: int) -> Callable[[], object]:
    """As many as there are subnets on the host, none of which leaves a default one."""
    every = ("172.16.0.0/12", "192.168.0.0/16")
    taken = NetworkRequest(name="taken", subnets=every, parent="eth0", share_parent=True)
    machine.host.create_networks([taken]).raise_if_any()
    made(machine, count, shared=False)
    wanted = [NetworkRequest(name=f"d{at}") for at in range(count)]

    def act() -> None:
        outcomes = machine.host.create_networks(wanted)
        assert {type(one.error) for one in outcomes} == {SubnetMissing}

    return act


def connect_each(machine: Machine, count: int) -> Callable[[], object]:
    """A sandbox on each of the networks of one pool."""
    there = made(machine, count)
    return lambda: [machine.host.create_sandbox(f"s-{name}", endpoints=[EndpointRequest.of(name)]) for name in there]


def refused_for_held_addresses(machine: Machine, count: int) -> Callable[[], object]:
    """As many sandboxes as there are in one call, each of which wants an address that another has."""
    made(machine, 2)
    there = machine.host.connect_many("n0", [f"s{at}" for at in range(count)])
    held = [str(one.value.addresses[0].ip) for one in there if one.value is not None]
    wanted = [EndpointRequest.of("n1", f"t{at}", ip=ip) for at, ip in enumerate(held)]

    def act() -> None:
        outcomes = machine.host.connect_many("n1", wanted)
        assert {type(one.error) for one in outcomes} == {AddressTaken}

    return act


def refused_for_kept_addresses(machine: Machine, count: int) -> Callable[[], object]:
    """Each wants an address that another network keeps."""
    made(machine, count)
    wanted = [EndpointRequest.of("n0", f"t{at}", ip=f"10.{at >> 8}.{at & 255}.9") for at in range(count)]

    def act() -> None:
        outcomes = machine.host.connect_many("n0", wanted)
        assert {type(one.error) for one in outcomes} == {AddressTaken}

    return act


def refused_by_a_full_range(machine: Machine, count: int) -> Callable[[], object]:
    """Beside many networks of the pool."""
    made(machine, count)
    machine.host.update_network("n0", ip_ranges=["10.0.0.9/32"])
    names = [f"t{at}" for at in range(count)]

    def act() -> None:
        outcomes = machine.host.connect_many("n0", names)
        assert {type(one.error) for one in outcomes} == {PoolExhausted}

    return act


def passing_over_the_macs_of_strangers(machine: Machine, count: int) -> Callable[[], object]:
    """As many sandboxes as there are addresses that others' MACs speak of."""
    (name,) = made(machine, 1)
    netns = machine.world.give("/run/theirs")
    for at in range(2, count):
        mac = bytes([2, 0x42, 10, 0, at >> 8, at & 255])
        netns.links[at] = FakeLink(at, f"mv{at}", "macvlan", mac, parent=2, mode="bridge")
    names = [f"t{at}" for at in range(count)]
    return lambda: machine.host.connect_many(name, names).raise_if_any()


def shown(machine: Machine, count: int) -> Callable[[], object]:
    """How full a network with many ip-ranges and many endpoints is."""
    made(machine, 2)
    machine.host.connect_many("n0", [f"s{at}" for at in range(count)]).raise_if_any()
    machine.host.update_network("n0", ip_ranges=[f"10.1.{at >> 6}.{4 * (at & 63)}/31" for at in range(count)])
    # What is loaded when it is first needed is not counted.
    machine.host.usage("n0")
    return lambda: machine.host.usage("n0")


@pytest.mark.parametrize(
    ("prepare", "options"),
    [
        (create, {"shared": True}),
        (create, {"shared": False}),
        (create_on_own_parents, {}),
        (remove, {"shared": True}),
        (remove, {"shared": False}),
        (remove_with_parents, {}),
        (finish, {}),
        (refused_without_a_default_subnet, {}),
        (connect_each, {}),
        (refused_for_held_addresses, {}),
        (refused_for_kept_addresses, {}),
        (refused_by_a_full_range, {}),
        (passing_over_the_macs_of_strangers, {}),
        (shown, {}),
    ],
)
def test_work_grows_with_the_count_and_not_with_its_square(
    prepare: Callable[..., Callable[[], object]],
    options: dict[str, bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (network_removal, sandboxes):
        monkeypatch.setattr(module, "CHUNK", COUNTS[-1])
    monkeypatch.setattr(sandboxes, "FIRST_CHUNK", COUNTS[-1])
    monkeypatch.setattr(limits, "at_once", lambda wanted, _each: wanted)
    assert_linear(prepare, options, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("prepare", "options"),
    [
        (create, {"shared": True}),
        (remove, {"shared": True}),
        (remove_with_parents, {}),
        (finish, {}),
        (refused_without_a_default_subnet, {}),
    ],
)
def test_work_on_networks_grows_with_the_count_however_few_are_in_a_chunk(
    prepare: Callable[..., Callable[[], object]],
    options: dict[str, bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wrong: each chunk reads what all networks of its pools keep, and the number of chunks grows with the count."""
    monkeypatch.setattr(network_removal, "CHUNK", 1)
    assert_linear(prepare, options, tmp_path, monkeypatch)


def assert_linear(
    prepare: Callable[..., Callable[[], object]],
    options: dict[str, bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = Work(monkeypatch)
    done: list[Counter[str]] = []
    for count in COUNTS:
        (tmp_path / str(count)).mkdir()
        machine = Machine(tmp_path / str(count))
        done.append(work.of(prepare(machine, count, **options)))
        machine.host.close()
    once, twice, four_times = done
    for what in once:
        first, second = twice[what] - once[what], four_times[what] - twice[what]
        assert second <= AT_MOST * first + SLACK, (what, [each[what] for each in done])
