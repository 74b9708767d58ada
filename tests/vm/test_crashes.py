"""Processes that are killed while they make or remove a sub-interface, and what the next command makes of it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NoReturn

import pytest

from macvfast.kernel.netlink import Kernel
from tests.acceptance.support import record
from tests.vm.support import create, link, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.errors import MacvfastError
    from macvfast.host import Host
    from macvfast.model import MadeParent
    from macvfast.plan import LinkFacts
    from tests.netns import Lan

pytestmark = pytest.mark.needs("vlan", "macvlan")


def killed(lan: Lan, act: Callable[[Host], object], *, at: str, done: bool) -> None:
    """A process does something, and is killed when it comes to what it asks of the kernel, before or after it is
    `done`.
    """
    pid = os.fork()
    if pid == 0:
        really = getattr(Kernel, at)

        def last(*arguments: object) -> NoReturn:
            if done:
                really(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

        setattr(Kernel, at, last)
        try:
            lan.api(act)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def making(host: Host) -> object:
    return host.create_network("lab", subnets=["10.1.0.0/24"], parent="eth0.50")


def removing(host: Host) -> object:
    return host.remove_networks(["lab"])


def look_after(lan: Lan) -> None:
    """Whatever changes something looks first after what the dead left; here, nothing else is asked for."""
    remove(lan)


def test_the_index_is_recorded_before_the_link_is_asked_for_and_is_the_one_it_gets(lan: Lan) -> None:
    killed(lan, making, at="add_parents", done=False)
    (intent,) = record(lan)["made_parent"]
    assert (intent["link"], intent["vid"], intent["intent"]) == ("eth0.50", 50, True)
    assert lan.host.link_names() == ["eth0", "lo"]
    look_after(lan)
    assert record(lan) == {}
    killed(lan, making, at="add_parents", done=True)
    (intent,) = record(lan)["made_parent"]
    assert link(lan.host, "eth0.50")["ifindex"] == intent["ifindex"]
    assert int(str(intent["ifindex"])) > 1 << 20, "not one that the kernel comes to by itself"
    look_after(lan)
    assert (record(lan), lan.host.link_names()) == ({}, ["eth0", "lo"])


def test_a_strangers_sub_interface_is_not_taken_for_the_one_that_a_dead_process_wanted(lan: Lan) -> None:
    killed(lan, making, at="add_parents", done=False)
    lan.run("ip", "link", "add", "link", "eth0", "name", "eth0.50", "type", "vlan", "id", "50")
    theirs = link(lan.host, "eth0.50")["ifindex"]
    look_after(lan)
    assert record(lan) == {}
    create(lan, "lab", "10.1.0.0/24", parent="eth0.50")
    remove(lan, "lab")
    assert link(lan.host, "eth0.50")["ifindex"] == theirs


@pytest.mark.parametrize("done", [False, True])
def test_a_removal_that_died_is_finished_by_the_next_command(lan: Lan, done: bool) -> None:
    lan.api(making)
    killed(lan, removing, at="delete_parents", done=done)
    assert [row["intent"] for row in record(lan)["network"]] == [True]
    assert ("eth0.50" in lan.host.link_names()) == (not done)
    look_after(lan)
    assert (record(lan), lan.host.link_names()) == ({}, ["eth0", "lo"])


def test_a_removal_that_died_takes_no_stranger_for_the_link_that_it_had_removed(lan: Lan) -> None:
    lan.api(making)
    killed(lan, removing, at="delete_parents", done=True)
    lan.run("ip", "link", "add", "link", "eth0", "name", "eth0.50", "type", "vlan", "id", "50")
    look_after(lan)
    assert (record(lan), lan.host.link_names()) == ({}, ["eth0", "eth0.50", "lo"])


def test_a_stranger_that_comes_first_is_not_overwritten(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link is asked for with NLM_F_EXCL: who appears between the look and the request stays what it is."""
    really = Kernel.add_parents

    def late(kernel: Kernel, wanted: Sequence[tuple[MadeParent, LinkFacts | None]]) -> list[MacvfastError | None]:
        lan.run("ip", "link", "add", "link", "eth0", "name", "eth0.50", "mtu", "1400", "type", "vlan", "id", "50")
        return really(kernel, wanted)

    monkeypatch.setattr(Kernel, "add_parents", late)
    with pytest.raises(Exception, match="has just appeared, and macvfast did not make it"):
        lan.api(making)
    shown = link(lan.host, "eth0.50")
    assert (shown["mtu"], "UP" in shown["flags"]) == (1400, False)
    assert record(lan) == {}


def test_an_index_that_is_some_other_links_is_replaced_by_another(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    lan.run("ip", "link", "add", "name", "other", "index", "2000000", "type", "veth", "peer", "name", "end")
    indexes = iter([2000000, 2000001])
    monkeypatch.setattr("macvfast.engine.parents.new_ifindex", lambda *_: next(indexes))
    lan.api(making)
    assert link(lan.host, "eth0.50")["ifindex"] == 2000001
    remove(lan, "lab")
    assert lan.host.link_names() == ["end", "eth0", "lo", "other"]
