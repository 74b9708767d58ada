"""Attachments whose addresses a program of others keeps: when it is asked for them, and told to free them."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.errors import AlreadyConnected, Incomplete, LinkEscaped, StateBusy, UndoFailed
from macvfast.host import Host
from macvfast.model import Attachment
from macvfast.plugins import alone
from macvfast.plugins.cni import calls
from macvfast.plugins.cni.delegates import Delegate
from macvfast.plugins.cni.refusals import TRY_AGAIN
from macvfast.plugins.doing import answered
from macvfast.plugins.request import Request
from tests.unit.fake_kernel import FakeKernel, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.fake_kernel import FakeNetns
    from tests.unit.machine import Machine

pytestmark = pytest.mark.usefixtures("hasty")

NET1 = Attachment("pods", "0123456789abcdef", "net1")


@pytest.fixture
def netns(machine: Machine) -> Iterator[int]:
    """A container's namespace: the machine takes the descriptor for one."""
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
    machine.world.give(f"/proc/self/fd/{descriptor}")
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def cni(machine: Machine) -> Iterator[Host]:
    """A host that is open for CNI, beside a parent that nothing has."""
    store = FaultyStore(machine.state_dir, machine.faults)
    store.origin = "cni"
    machine.host.remove_networks(["other"]).raise_if_any()
    with Host(store, FakeKernel(machine.world, machine.faults), str(machine.world.pins_dir)) as host:
        yield host


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the program is called for."""
    commands: list[str] = []

    def call(_: Delegate, command: str, about: dict[str, str] | None = None) -> dict[str, Any]:
        commands.append(command if not about else f"{command} {about['CNI_CONTAINERID']} {about['CNI_IFNAME']}")
        if command == "VERSION":
            return {"supportedVersions": ["1.0.0"]}
        return {"cniVersion": "1.0.0", "ips": [{"address": "172.16.86.50/24"}]} if command == "ADD" else {}

    monkeypatch.setattr(Delegate, "call", call)
    return commands


def request(command: str, netns: int, ipam: str = "others") -> Request:
    conf: dict[str, object] = {
        "cniVersion": "1.0.0",
        "name": "pods",
        "type": "macvfast",
        "master": "eth1",
        "ipam": {"type": ipam},
    }
    if command == "GC":
        conf |= {"cniVersion": "1.1.0", "cni.dev/valid-attachments": []}
    environment = {
        "CNI_COMMAND": command, "CNI_CONTAINERID": NET1.container, "CNI_IFNAME": NET1.ifname, "CNI_PATH": "/opt",
        "CNI_NETNS": "/run/netns/pod", "CNI_NETNS_OVERRIDE": "1",
    }  # fmt: skip
    read = calls.read(calls.Call("b" * 32, environment, json.dumps(conf), netns))
    assert isinstance(read, Request)
    return read


def test_an_attachment_that_is_there_is_refused_before_its_program_is_asked(
    cni: Host, netns: int, asked: list[str]
) -> None:
    """Catches one that asks first, and then has freed what the container has."""
    answered(cni, request("ADD", netns))
    with pytest.raises(AlreadyConnected):
        answered(cni, request("ADD", netns))
    assert asked == ["ADD"]
    answered(cni, request("DEL", netns))
    assert asked == ["ADD", "DEL"]


def test_an_attachment_whose_namespace_is_another_by_now_is_asked_for_once_more(
    machine: Machine, cni: Host, netns: int, asked: list[str]
) -> None:
    answered(cni, request("ADD", netns))
    machine.world.give(f"/proc/self/fd/{netns}")
    answered(cni, request("ADD", netns))
    assert asked == ["ADD", "ADD"]


def test_a_program_is_told_to_free_what_the_record_does_not_have_any_more(
    cni: Host, netns: int, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may give it to the next container at once, which would be refused."""
    answered(cni, request("ADD", netns))
    delete, call, left = FakeKernel.delete_links, Delegate.call, list[int]()

    def slowly(kernel: FakeKernel, wanted: Any) -> Any:
        outcome = delete(kernel, wanted)
        time.sleep(0.1)
        return outcome

    def look(delegate: Delegate, command: str, _: object = None) -> dict[str, Any]:
        with cni._store.reading() as records:
            left.append(len(records.intents()))
        return call(delegate, command)

    monkeypatch.setattr(FakeKernel, "delete_links", slowly)
    monkeypatch.setattr(Delegate, "call", look)
    answered(cni, request("DEL", netns))
    assert (asked, left) == (["ADD", "DEL"], [0])


@pytest.mark.parametrize(("ipam", "status"), [("others", 1), ("static", 0), ("host-local", 0)])
@pytest.mark.parametrize("opening", [True, False], ids=["opening", "removing"])
def test_a_removal_that_fails_is_told_where_a_program_of_others_still_has_the_address(
    cni: Host, netns: int, asked: list[str], monkeypatch: pytest.MonkeyPatch, ipam: str, status: int, opening: bool
) -> None:
    """The runtime tries again; of our own addresses the record knows."""

    def fail(*_: object, **__: object) -> Host:
        raise StateBusy("/var/lib/macvfast", 30.0)

    monkeypatch.setattr(Host, "open", fail if opening else lambda *_, **__: cni)
    monkeypatch.setattr(Host, "detach", fail)
    assert alone._said(request("DEL", netns, ipam))["status"] == status
    assert asked == []


def moved_away(machine: Machine, netns: int) -> FakeNetns:
    """A container's owner has moved its link to another namespace of theirs."""
    there = machine.world.give("/run/netns/theirs")
    there.trusted = False
    here = machine.world.given[f"/proc/self/fd/{netns}"]
    there.links.update(here.links)
    here.links.clear()
    here.moved_to.append(there)
    return there


def test_a_program_keeps_the_address_of_a_link_that_was_moved_away(
    machine: Machine, cni: Host, netns: int, asked: list[str]
) -> None:
    """Catches one that frees an address which a container goes on to use: the next one would get it."""
    answered(cni, request("ADD", netns))
    there = moved_away(machine, netns)
    for _ in range(2):
        going = request("DEL", netns)
        with pytest.raises(LinkEscaped) as failed:
            answered(cni, going)
        said = going.words.failed(failed.value)
        assert (said["status"], said["result"]["code"]) == (1, TRY_AGAIN)  # type: ignore[index]
    assert asked == ["ADD"]
    there.links.clear()
    assert answered(cni, request("DEL", netns)).said["status"] == 0
    assert asked == ["ADD", "DEL"]


@pytest.mark.parametrize(("failure", "freed"), [(True, ["ADD"]), (False, ["ADD", "DEL"])], ids=["undo fails", "undone"])
def test_a_program_keeps_the_address_of_a_link_whose_undo_failed(
    cni: Host, netns: int, asked: list[str], monkeypatch: pytest.MonkeyPatch, failure: bool, freed: list[str]
) -> None:
    first = StateBusy("/var/lib/macvfast", 30.0)

    def fail(*_: object, **__: object) -> None:
        raise UndoFailed(first, ["its link is there"]) if failure else first

    monkeypatch.setattr(Host, "connect", fail)
    with pytest.raises(UndoFailed if failure else StateBusy):
        answered(cni, request("ADD", netns))
    assert asked == freed


def test_what_the_runtime_no_longer_has_is_freed_by_a_program_that_has_no_gc(
    machine: Machine, cni: Host, netns: int, asked: list[str]
) -> None:
    answered(cni, request("ADD", netns))
    answered(cni, request("GC", netns))
    assert asked == ["ADD", "VERSION", f"DEL {NET1.container} {NET1.ifname}"]
    assert cni.attachments() == []
    answered(cni, request("ADD", netns))
    there = moved_away(machine, netns)
    asked.clear()
    with pytest.raises(Incomplete):
        answered(cni, request("GC", netns))
    assert "DEL" not in " ".join(asked)
    there.links.clear()
