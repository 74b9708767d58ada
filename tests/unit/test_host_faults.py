"""Every operation of a host, failing or dying at every one of its steps: what remains agrees with the record."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from macvfast.engine import network_removal
from macvfast.engine.network_removal import NetworkRemover
from macvfast.errors import (
    Incomplete,
    KernelRefused,
    MacvfastError,
    PermissionNeeded,
    RemovalUnfinished,
    StateBusy,
    StateUnusable,
    UndoFailed,
)
from macvfast.requests import EndpointRequest, NetworkRequest, OwnFiles
from macvfast.state.records import REMOVED as GOING
from tests.unit.fake_kernel import Crash
from tests.unit.machine import LAN, Machine, make_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from macvfast.host import Host
    from macvfast.model import Network

pytestmark = pytest.mark.usefixtures("hasty")


@dataclass(frozen=True)
class Case:
    """An operation: what must be there first, and what is done."""

    name: str
    prepare: Callable[[Machine], object]
    act: Callable[[Host], object]

    def __str__(self) -> str:
        return self.name


def a_sandbox(machine: Machine) -> None:
    make_networks(machine)
    machine.host.create_sandbox("a", endpoints=[EndpointRequest(network="lan")])


def two_endpoints(machine: Machine) -> None:
    make_networks(machine)
    machine.host.create_sandbox("a", endpoints=[EndpointRequest(network=one) for one in ("lan", "other")])
    machine.host.create_sandbox("b", endpoints=[EndpointRequest(network="lan")])


def given(machine: Machine) -> None:
    make_networks(machine)
    machine.world.give("/proc/7/ns/net")


def given_with_endpoint(machine: Machine) -> None:
    given(machine)
    machine.host.connect("lan", "guest", netns="/proc/7/ns/net")


def a_sub_interface(machine: Machine) -> None:
    machine.host.create_network("vlan", subnets=[LAN], parent="eth0.50")


def all_of(host: Host, outcomes: Callable[[Host], object]) -> object:
    result = outcomes(host)
    result.raise_if_any()  # type: ignore[attr-defined]
    return result


MADE = [
    Case("network", lambda _: None, lambda h: h.create_network("n", subnets=[LAN], parent="eth0")),
    Case("network on a sub-interface", lambda _: None, lambda h: h.create_network("n", subnets=[LAN], parent="eth0.9")),
    Case("network without a parent", lambda _: None, lambda h: h.create_network("n")),
    Case("sandbox", make_networks, lambda h: h.create_sandbox("x")),
    Case("sandbox with an endpoint", make_networks, lambda h: h.create_sandbox(
        "x", endpoints=[EndpointRequest(network="lan")])),
    Case("sandbox with two endpoints", make_networks, lambda h: h.create_sandbox(
        "x", endpoints=[EndpointRequest(network="lan"), EndpointRequest(network="other")])),
    Case("sandbox with files of its own", make_networks, lambda h: h.create_sandbox(
        "x", endpoints=[EndpointRequest(network="lan")], own_files=OwnFiles(hosts=(("printer", "172.16.86.9"),)))),
    Case("connect", a_sandbox, lambda h: h.connect("other", "a")),
    Case("connect a given namespace", given, lambda h: h.connect("lan", "guest", netns="/proc/7/ns/net")),
    Case("connect a given namespace again", given_with_endpoint, lambda h: h.connect("other", "guest")),
]  # fmt: skip

REMOVED = [
    Case("remove a network", make_networks, lambda h: all_of(h, lambda h: h.remove_networks(["other"]))),
    Case("remove a sub-interface", a_sub_interface, lambda h: all_of(h, lambda h: h.remove_networks(["vlan"]))),
    Case("disconnect", two_endpoints, lambda h: h.disconnect("other", "a")),
    Case("disconnect the default route", two_endpoints, lambda h: h.disconnect("lan", "a")),
    Case("disconnect a given namespace", given_with_endpoint, lambda h: h.disconnect("lan", "guest")),
    Case("remove sandboxes", two_endpoints, lambda h: all_of(h, lambda h: h.remove_many(["a", "b"]))),
    Case("remove from a given namespace", given_with_endpoint, lambda h: all_of(h, lambda h: h.remove_many(["guest"]))),
]  # fmt: skip


def steps_of(case: Case, directory: Path) -> list[str]:
    """The steps that the operation takes when nothing fails."""
    (directory / "dry").mkdir()
    machine = Machine(directory / "dry")
    case.prepare(machine)
    machine.faults.arm()
    case.act(machine.host)
    steps = list(machine.faults.seen)
    machine.host.close()
    return steps


@contextmanager
def machine_for(case: Case, directory: Path, number: int) -> Iterator[Machine]:
    (directory / str(number)).mkdir()
    machine = Machine(directory / str(number))
    case.prepare(machine)
    try:
        yield machine
    finally:
        machine.faults.arm()
        machine.host.close()


@pytest.mark.parametrize("case", MADE, ids=str)
def test_what_fails_at_any_step_is_undone_and_can_be_done_again(case: Case, tmp_path: Path) -> None:
    steps = steps_of(case, tmp_path)
    for number, step in enumerate(steps, 1):
        with machine_for(case, tmp_path, number) as machine:
            before = machine.everything()
            machine.faults.arm(fail_at=number)
            with pytest.raises(MacvfastError) as caught:
                case.act(machine.host)
            assert f"injected at step {number}, {step}" in str(caught.value), "the first error is the one that is told"
            assert not isinstance(caught.value, UndoFailed)
            machine.faults.arm()
            assert machine.everything() == before, f"after {step} failed"
            first = case.act(machine.host)
            machine.assert_record_is_true()
            second = clean_run(case, tmp_path, number)
            assert addresses_of(first) == addresses_of(second), "the lowest address was free again"


def clean_run(case: Case, directory: Path, number: int) -> object:
    with machine_for(case, directory, 1000 + number) as machine:
        return case.act(machine.host)


def addresses_of(made: object) -> object:
    endpoints = getattr(made, "endpoints", None)
    if endpoints is not None:
        return [endpoint.addresses for endpoint in endpoints]
    return getattr(made, "addresses", None) or getattr(made, "subnets", None)


@pytest.mark.parametrize("case", REMOVED, ids=str)
def test_a_removal_that_fails_at_any_step_is_finished_by_the_next(case: Case, tmp_path: Path) -> None:
    steps = steps_of(case, tmp_path)
    for number, step in enumerate(steps, 1):
        with machine_for(case, tmp_path, number) as machine:
            machine.faults.arm(fail_at=number)
            with pytest.raises(MacvfastError) as caught:
                case.act(machine.host)
            assert f"injected at step {number}, {step}" in str(caught.value)
            machine.faults.arm()
            # Whatever changes something finishes, first, what was given up: in the same process too.
            machine.mend()
            machine.assert_record_is_true()
            if not isinstance(caught.value, Incomplete):
                case.act(machine.host)
            machine.assert_record_is_true()
            with machine_for(case, tmp_path, 1000 + number) as other:
                case.act(other.host)
                assert machine.record()["sandboxes"] == other.record()["sandboxes"]
                assert machine.record()["networks"] == other.record()["networks"]


@pytest.mark.parametrize("only", ["", "store"])
@pytest.mark.parametrize("case", [*MADE, *REMOVED], ids=str)
def test_where_undoing_fails_too_the_first_error_is_told_and_the_next_operation_mends_it(
    case: Case, only: str, tmp_path: Path
) -> None:
    steps = [step for step in steps_of(case, tmp_path) if step.startswith(only)]
    for number, step in enumerate(steps, 1):
        with machine_for(case, tmp_path, number) as machine:
            machine.faults.arm(fail_at=number, onwards=True, only=only)
            with pytest.raises(MacvfastError) as caught:
                case.act(machine.host)
            first = caught.value.first if isinstance(caught.value, UndoFailed) else caught.value
            assert f"injected at step {number}, {step}" in str(first)
            machine.faults.arm()
            machine.mend()
            machine.assert_record_is_true()


@pytest.mark.parametrize("case", [*MADE, *REMOVED], ids=str)
def test_what_dies_at_any_step_leaves_nothing_once_another_process_has_begun(case: Case, tmp_path: Path) -> None:
    steps = steps_of(case, tmp_path)
    for number, step in enumerate(steps, 1):
        with machine_for(case, tmp_path, number) as machine:
            machine.faults.arm(crash_at=number)
            with pytest.raises(Crash):
                case.act(machine.host)
            machine.restart()
            machine.mend()
            machine.assert_record_is_true()
            machine.host.create_sandbox("afterwards")
            assert machine.owners() == [], f"after dying at {step}"


@pytest.mark.parametrize("case", [*MADE, *REMOVED], ids=str)
def test_what_was_left_by_a_process_that_died_before_a_reboot_is_forgotten_after_it(case: Case, tmp_path: Path) -> None:
    steps = steps_of(case, tmp_path)
    for number in range(1, len(steps) + 1):
        with machine_for(case, tmp_path, number) as machine:
            machine.faults.arm(crash_at=number)
            with pytest.raises(Crash):
                case.act(machine.host)
            machine.world.reboot()
            machine.restart()
            machine.mend()
            with machine.host._store.reading() as records:
                assert records.intents() == {}


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (StateBusy("/state", 30, ()), 1),
        (StateUnusable("/state", "the file system is full"), 1),
        (PermissionNeeded("delete links", "CAP_NET_ADMIN"), 1),
        # All of a chunk, both halves three times, and the other chunk.
        (KernelRefused("delete a link", errno.EBUSY), 1 + 3 * 2 + 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_was_left_half_removed_is_tried_apart_only_for_what_one_link_refuses(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, error: MacvfastError, tries: int
) -> None:
    """A state that is busy would be waited for once for each network."""
    monkeypatch.setattr(network_removal, "CHUNK", 8)
    machine.host.create_networks(
        [NetworkRequest(name=f"n{at}", subnets=(f"10.{at}.0.0/24",), parent=f"eth0.{at + 10}") for at in range(12)]
    ).raise_if_any()
    with machine.host._store.writing() as records:
        intent = records.begin(machine.host._store.owner(), GOING)
        going = [one for one in records.networks() if one.name.startswith("n")]
        network_removal.begin_removal(records, going, intent)
    take_away, tried = NetworkRemover.take_away, []

    def refused(self: NetworkRemover, going: Sequence[tuple[Network, int]]) -> None:
        tried.append(len(going))
        if "n0" in {network.name for network, _ in going}:
            raise error
        take_away(self, going)

    monkeypatch.setattr(NetworkRemover, "take_away", refused)
    remover = NetworkRemover(machine.host._store, machine.host._parts.kernel, lambda _: None)
    remover.finish([intent])
    assert len(tried) == tries, tried
    with machine.host._store.reading() as records:
        left = [one.name for one in records.networks() if one.name.startswith("n")]
    assert left == ["n0"] if tries > 1 else len(left) == 12


@pytest.mark.parametrize("force", [False, True])
def test_what_is_removed_keeps_its_name_though_the_id_of_one_that_was_finished_begins_so(
    machine: Machine, force: bool
) -> None:
    left = machine.host.create_sandbox("left", endpoints=[EndpointRequest(network="lan")])
    beginning, gone = left.id[:12], left.id[:11]
    machine.host.create_sandbox(beginning)
    machine.faults.arm(crash_at=1, only="unpin")
    with pytest.raises(Crash):
        machine.host.remove_many(["left"])
    machine.restart()
    outcomes = machine.host.remove_many([beginning, gone, "none"], force=force)
    assert [one.value for one in outcomes] == [beginning, "left", "none" if force else None]
    machine.assert_record_is_true()


def test_what_fails_while_others_are_waited_for_is_not_told_of_what_is_gone(machine: Machine) -> None:
    """Catches a sandbox that is gone, and is said to be there still because of another one."""
    machine.host.create_sandbox("bare")
    machine.host.create_sandbox("w", endpoints=[EndpointRequest(network="lan")])
    # The first look is before anything goes.
    machine.faults.arm(fail_at=2, onwards=True, only="list the MACs")
    outcomes = machine.host.remove_many(["bare", "w"])
    assert [(one.name, None if one.error is None else type(one.error)) for one in outcomes] == [
        ("bare", None),
        ("w", RemovalUnfinished),
    ]
    machine.faults.arm()
    machine.mend()
    machine.assert_record_is_true()
