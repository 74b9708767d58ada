"""What the server counts, and how `macvfast status` reads it."""

from __future__ import annotations

import json
import os
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest

from macvfast.cli.commands import COMMANDS
from macvfast.serve import calls
from macvfast.serve.calls import BOUNDS_S, OK, TAKEN, Calls, Requests, kind_of
from macvfast.serve.calls import FAILED as FAILED_REQUEST
from macvfast.system import server

if TYPE_CHECKING:
    from macvfast.outcomes import ServerStatus

FAILED = 1 << 8
KILLED = 9


def word(pid: int, kind: int) -> bytes:
    return struct.pack("<II", pid, kind)


def begin(counts: Calls, pid: int, *words: str) -> None:
    assert counts.hear(word(pid, TAKEN)) == pid
    assert counts.hear(word(pid, kind_of(words))) is None


def read(counts: Calls) -> dict[tuple[str, str], int]:
    return {(one.kind, one.outcome): one.count for one in server._status(json.loads(counts.shown())).calls}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("network ls", "network ls"), ("network list -q", "network ls"), ("--state-dir x network ls", "network ls"),
        ("--state-dir=x --verbose run -d sh", "run"), ("network import docker -", "network import docker"),
        ("network --help", "other"), ("", "other"), ("bogus ps", "other"), ("exec box network ls", "exec"),
    ],
)  # fmt: skip
def test_a_command_is_known_by_its_first_words(line: str, kind: str) -> None:
    assert calls._KINDS[kind_of(line.split()) - 1] == kind


@pytest.mark.parametrize("path", COMMANDS)
def test_each_command_has_a_number_of_its_own(path: str) -> None:
    assert calls._KINDS[kind_of(path.split()) - 1] == path
    assert kind_of(path.split()) != TAKEN


def test_what_has_begun_is_counted_by_command_and_outcome_when_it_ends() -> None:
    counts = Calls(Requests())
    for pid, status in ((1, 0), (2, 0), (3, FAILED), (4, KILLED)):
        begin(counts, pid, "ps")
        counts.ended(pid, status)
    begin(counts, 5, "network", "ls")
    counts.ended(5, 0)
    assert read(counts) == {("network ls", "ok"): 1, ("ps", "failed"): 1, ("ps", "killed"): 1, ("ps", "ok"): 2}


def test_a_caller_that_was_not_served_and_a_worker_that_never_had_one_are_not_counted() -> None:
    counts = Calls(Requests())
    counts.hear(word(1, TAKEN))
    counts.ended(1, 0)
    counts.ended(2, KILLED)
    assert read(counts) == {}
    begin(counts, 3, "ps")
    counts.hear(word(4, TAKEN))
    assert server._status(json.loads(counts.shown())).running == 1


def test_each_call_is_within_the_first_bound_that_it_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, now = Calls(Requests()), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    took = [0.001, 0.005, 0.0051, 61.0]
    for pid, seconds in enumerate(took):
        now[0] = 100.0
        begin(counts, pid, "ps")
        now[0] += seconds
        counts.ended(pid, 0)
    (one,) = server._status(json.loads(counts.shown())).calls
    slow = [sum(round(seconds, 6) <= bound for seconds in took) for bound in BOUNDS_S]
    assert list(one.within) == slow
    assert one.count == 4
    assert one.seconds == pytest.approx(sum(took))


def test_the_answer_stays_small_whatever_was_called() -> None:
    """It is sent at once to who may not read it: a socket takes some 200 KiB."""
    counts = Calls(Requests())
    for path in (*COMMANDS, "bogus"):
        for status in (0, FAILED, KILLED):
            begin(counts, 1, *path.split())
            counts.ended(1, status)
    assert len(counts.shown()) < 32 << 10
    assert server._status(json.loads(counts.shown())).pid == os.getpid()


# Requests.


def test_what_an_engine_counts_its_parent_reads_and_the_next_engine_counts_on() -> None:
    requests = Requests()

    def shown() -> ServerStatus:
        return server._status(json.loads(Calls(requests).shown()))

    for _ in range(2):
        child = os.fork()
        if child == 0:
            requests.start()
            requests.begin()
            for kind, outcome in (("connect", OK), ("connect", OK), ("check", FAILED_REQUEST)):
                requests.end(kind, outcome, requests.begin())
            # As one that is killed.
            os._exit(0)
        os.waitpid(child, 0)
        assert shown().requests_running == 1
    found = {(one.kind, one.outcome): one.count for one in shown().requests}
    assert found == {("connect", "ok"): 4, ("check", "failed"): 2}
    assert shown().calls == ()


def test_each_request_is_within_the_bounds_that_it_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    requests, now = Requests(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    took = [0.001, 0.005, 0.0051, 61.0]
    for seconds in took:
        now[0] = 100.0
        begun = requests.begin()
        now[0] += seconds
        requests.end("disconnect", OK, begun)
    (one,) = server._status(json.loads(Calls(requests).shown())).requests
    assert list(one.within) == [sum(round(seconds, 6) <= bound for seconds in took) for bound in BOUNDS_S]
    assert one.count == 4
    assert one.seconds == pytest.approx(sum(took))


def test_threads_lose_no_request() -> None:
    requests = Requests()

    def count() -> None:
        for _ in range(2000):
            requests.end("connect", OK, requests.begin())

    threads = [threading.Thread(target=count) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    (found,) = server._status(json.loads(Calls(requests).shown())).requests
    assert (found.count, requests.running) == (8000, 0)
