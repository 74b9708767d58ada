"""Attachments whose addresses a program of others keeps: when it is asked for them, and told to free them."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.errors import AlreadyConnected, StateBusy
from macvfast.host import Host
from macvfast.model import Attachment
from macvfast.plugins import alone
from macvfast.plugins.cni import calls
from macvfast.plugins.cni.delegates import Delegate
from macvfast.plugins.doing import answered
from macvfast.plugins.request import Request
from tests.unit.fake_kernel import FakeKernel, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    def call(_: Delegate, command: str) -> dict[str, Any]:
        commands.append(command)
        return {"cniVersion": "1.0.0", "ips": [{"address": "172.16.86.50/24"}]} if command == "ADD" else {}

    monkeypatch.setattr(Delegate, "call", call)
    return commands


def request(command: str, netns: int, ipam: str = "others") -> Request:
    conf = {"cniVersion": "1.0.0", "name": "pods", "type": "macvfast", "master": "eth1", "ipam": {"type": ipam}}
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

    def look(delegate: Delegate, command: str) -> dict[str, Any]:
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
