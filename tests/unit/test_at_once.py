"""Two processes on one state, one in the middle of what the other begins and ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.engine import networks, parents
from macvfast.engine.networks import Networks
from macvfast.errors import NetworkExists
from macvfast.state.records import REMOVED, Records
from tests.unit.fake_kernel import FakeKernel, FakeLink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from macvfast.host import Host
    from tests.unit.machine import Machine

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture
def other(machine: Machine) -> Iterator[Host]:
    """Another process on the machine's state."""
    host = machine.start()
    yield host
    host.close()


def meanwhile(monkeypatch: pytest.MonkeyPatch, where: type, what: str, act: Callable[[], object]) -> None:
    """Once, after the method has been called for the first time, something else happens, on another thread."""
    really = getattr(where, what)
    happened: list[bool] = []

    def then(*arguments: Any, **named: Any) -> Any:
        result = really(*arguments, **named)
        if not happened:
            happened.append(True)
            thread = threading.Thread(target=act)
            thread.start()
            thread.join()
        return result

    monkeypatch.setattr(where, what, then)


# What is done, and how many networks, sandboxes and endpoints there are more afterwards.
ACTS: dict[str, tuple[Callable[[Host], object], int]] = {
    "create": (lambda host: host.connect_many("lan", ["new"]).raise_if_any(), 2),
    "connect": (lambda host: host.connect("other", "there"), 1),
    "create a network": (lambda host: host.create_network("vlan", subnets=["10.8.0.0/24"], parent="eth0.8"), 1),
}


@pytest.mark.parametrize(("act", "more"), ACTS.values(), ids=ACTS.keys())
def test_who_settles_and_ends_between_two_looks_of_another_is_not_taken_for_dead(
    machine: Machine, other: Host, monkeypatch: pytest.MonkeyPatch, act: Callable[[Host], object], more: int
) -> None:
    """Otherwise what was acknowledged to it would be taken away again."""
    machine.host.create_sandbox("there")
    begun, seen = threading.Event(), threading.Event()
    settle = Records.settle

    def late(records: Records, intent: int) -> None:
        begun.set()
        assert seen.wait(30)
        settle(records, intent)

    monkeypatch.setattr(Records, "settle", late)
    thread = threading.Thread(target=act, args=(machine.host,))
    thread.start()
    assert begun.wait(30)

    def end() -> None:
        seen.set()
        thread.join()

    meanwhile(monkeypatch, Records, "intents", end)
    other.disconnect_many("lan", [])
    thread.join()
    monkeypatch.undo()
    machine.assert_record_is_true()
    made = [*machine.host.networks(), *machine.host.sandboxes()]
    assert len(made) + sum(len(box.endpoints) for box in machine.host.sandboxes()) == 3 + more


def test_of_two_networks_on_our_parent_that_go_at_once_one_takes_it_along(
    machine: Machine, other: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, subnet in (("one", "10.1.0.0/24"), ("two", "10.2.0.0/24")):
        machine.host.create_network(name, subnets=[subnet], parent="eth0.50", share_parent=True)
    meanwhile(monkeypatch, Records, "stays", lambda: other.remove_networks(["two"]).raise_if_any())
    machine.host.remove_networks(["one"]).raise_if_any()
    machine.assert_record_is_true()
    assert "eth0.50" not in [link.ifname for link in machine.world.home.links.values()]


def test_two_networks_that_are_made_at_once_without_a_subnet_never_get_the_same_one(
    machine: Machine, other: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is free is decided where nobody else decides, not when it is looked at beforehand."""
    meanwhile(monkeypatch, Networks, "_check", lambda: other.create_network("one"))
    two = machine.host.create_network("two")
    assert [str(one.subnets[0].cidr) for one in (other.network("one"), two)] == ["172.17.0.0/16", "172.18.0.0/16"]
    machine.assert_record_is_true()


def test_a_parent_that_is_tried_again_is_not_made_for_a_network_that_was_refused_meanwhile(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its index was taken; before it is tried with another one, somebody makes a network of that name."""
    indexes = iter([4, 5])
    monkeypatch.setattr(parents, "new_ifindex", lambda: next(indexes))
    machine.world.add_home(FakeLink(4, "other", mac=b"\x52\x54\x00\x00\x00\x04"))
    look = networks._refuse_name
    looks = 0

    def refuse_name(records: Records, name: str) -> None:
        nonlocal looks
        looks += 1
        # When it is checked, noted, and checked again, it is free.
        if looks == 4:
            raise NetworkExists(name)
        look(records, name)

    monkeypatch.setattr(networks, "_refuse_name", refuse_name)
    with pytest.raises(NetworkExists):
        machine.host.create_network("v", subnets=["10.1.0.0/24"], parent="eth0.50")
    assert machine.world.home.named("eth0.50") is None
    machine.assert_record_is_true()


def test_a_network_is_made_beside_one_that_goes_from_a_parent_that_stays(machine: Machine, other: Host) -> None:
    machine.world.add_home(FakeLink(4, "eth2", mac=b"\x52\x54\x00\x00\x00\x04"))
    machine.host.create_network("one", subnets=["10.1.0.0/24"], parent="eth2", share_parent=True)
    store = machine.host._store
    with store.operation():
        with store.writing() as records:
            records.begin_network_removal(records.network("one")[0].id, records.begin(store.owner(), REMOVED))
        other.create_network("two", subnets=["10.2.0.0/24"], parent="eth2", share_parent=True)


@pytest.mark.parametrize("what", ["add_links", "delete_links"])
def test_what_a_living_process_is_doing_about_a_request_is_waited_for(
    machine: Machine, other: Host, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Catches one that looks once: what a server is still doing would be done by its caller, too, or be refused."""
    machine.host.create_sandbox("box")
    begun, may_go_on = threading.Event(), threading.Event()
    really = getattr(FakeKernel, what)

    def slowly(*arguments: Any) -> Any:
        begun.set()
        assert may_go_on.wait(60)
        return really(*arguments)

    def act() -> None:
        machine.host.connect("lan", "box", request_id="a" * 32)
        machine.host.disconnect("lan", "box")

    monkeypatch.setattr(FakeKernel, what, slowly)
    acting, found = threading.Thread(target=act), []
    asking = threading.Thread(target=lambda: found.append(other.made_for("a" * 32)))
    acting.start()
    assert begun.wait(60)
    asking.start()
    asking.join(0.2)
    waited = asking.is_alive()
    may_go_on.set()
    for one in (asking, acting):
        one.join(60)
    assert (waited, len(found)) == (True, 1)
    assert what == "add_links" or found == [None]
