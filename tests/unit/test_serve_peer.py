"""Who is at the other end of a worker's connection."""

from __future__ import annotations

import os
import socket
import time

import pytest

from macvfast.serve import peer
from macvfast.serve.peer import Standing
from tests.netns import ended, started


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.mark.parametrize("known", [True, False])
def test_the_process_that_connected_is_seen(monkeypatch: pytest.MonkeyPatch, *, known: bool) -> None:
    if not known:
        # As in a kernel before 6.5, which has no such option.
        monkeypatch.setattr(peer, "_SO_PEERPIDFD", 9999)
    mine, callers = socket.socketpair()
    with mine, callers:
        assert Standing.of_caller(mine, now()) == Standing.of("self")


def test_a_process_that_was_started_after_the_connection_is_not_the_one_that_connected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has the pid of one that has ended."""
    monkeypatch.setattr(peer, "_SO_PEERPIDFD", 9999)
    mine, callers = socket.socketpair()
    before = len(os.listdir("/proc/self/fd"))
    with mine, callers:
        with pytest.raises(ProcessLookupError):
            Standing.of_caller(mine, 0.0)
        assert len(os.listdir("/proc/self/fd")) == before


def test_labels_of_selinux_count_as_one_only_where_nothing_is_forbidden() -> None:
    login = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\0"
    service = "system_u:system_r:unconfined_service_t:s0"
    assert peer.without_limits(login) == peer.without_limits(service)
    others = ["system_u:system_r:container_t:s0:c1,c2", "staff_u:sysadm_r:sysadm_t:s0", "unconfined_t", "mine", ""]
    assert [peer.without_limits(one) for one in others] == others


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another")
@pytest.mark.parametrize("become", ["setegid", "seteuid"])
def test_who_connected_as_another_and_became_this_user_is_refused(become: str) -> None:
    def work() -> None:
        getattr(os, become)(1)
        mine, _callers = socket.socketpair()
        getattr(os, become)(0)
        with pytest.raises(PermissionError):
            Standing.of_caller(mine, now())

    assert ended(started(work)) == 0
