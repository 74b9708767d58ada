"""The test bed itself: what it promises to the tests that stand on it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests import netns

if TYPE_CHECKING:
    from tests.netns import Lan


def test_host_and_router_reach_each_other(lan: Lan) -> None:
    assert lan.host.can_ping("172.16.86.1")
    assert lan.router.can_ping("172.16.86.250")
    assert not lan.host.can_ping("172.16.86.99", timeout_s=1)


def test_the_host_has_the_parent_of_the_guide(lan: Lan) -> None:
    (parent,) = lan.host.ip_json("address", "show", "eth0")
    (address,) = [a for a in parent["addr_info"] if a["family"] == "inet"]
    assert (address["local"], address["prefixlen"], address["broadcast"]) == ("172.16.86.250", 24, "172.16.86.255")
    assert parent["linkinfo"]["info_kind"] == "veth"
    assert {"UP", "LOWER_UP"} <= set(parent["flags"])
    assert lan.host.link_names() == ["eth0", "lo"]


def test_a_call_runs_in_the_namespace_and_the_caller_stays_where_it_is(lan: Lan) -> None:
    def here() -> int:
        return os.stat("/proc/thread-self/ns/net").st_ino

    before = here()
    assert lan.host.call(here) == lan.host.inode
    assert here() == before != lan.host.inode


def test_what_a_call_raises_comes_to_its_caller(lan: Lan) -> None:
    with pytest.raises(ZeroDivisionError):
        lan.host.call(lambda: 1 // 0)


def test_frames_hold_what_left_the_host_and_nothing_else(lan: Lan) -> None:
    with lan.frames_at_router("icmp") as frames:
        assert frames.so_far() == []
        assert lan.host.can_ping("172.16.86.1")
        (request,) = frames.so_far()
        assert "172.16.86.250 > 172.16.86.1: ICMP echo request" in request
        assert frames.wait_for("echo request") == request


def test_frames_of_every_kind_leave_the_sentinels_out(lan: Lan) -> None:
    with lan.frames_at_router() as frames:
        frames.so_far()
        assert not [line for line in frames.so_far() if "0x88b5" in line]


def test_removing_a_bed_ends_what_still_runs_in_it(lan: Lan) -> None:
    process = lan.host.start(
        sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    )
    netns.wait_until(lambda: netns.processes_in({lan.host.inode}))
    netns.kill_all_in({lan.host.inode})
    assert process.wait() != 0
    process.communicate()


def test_processes_of_this_run_are_found_by_their_environment() -> None:
    if netns.SESSION_VARIABLE not in os.environ:
        pytest.skip("the run is not isolated: not root")
    assert netns.processes_of_this_run() == {}


def test_waiting_for_what_never_comes_ends() -> None:
    with pytest.raises(TimeoutError, match="the moon"):
        netns.wait_until(lambda: False, timeout_s=0.02, what="the moon")
