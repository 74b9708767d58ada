"""Callers of `request.sock`: what becomes of what was made for those that do not read their answers."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from fcntl import ioctl
from termios import FIONREAD
from typing import TYPE_CHECKING

import pytest

from macvfast.plugins.request import Answer
from macvfast.serve import connections
from macvfast.serve.connections import Connections
from macvfast.serve.work import Work
from tests.asking import Caller, request
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from macvfast.plugins.request import Request

# More than a socket takes that nobody reads.
LONG = "x" * (4 << 20)


class Maker(Work):
    """Says that it has made something for each request; nothing is."""

    def __init__(self) -> None:
        self.says = ""
        self.takes_back = threading.Event()
        self.taken_back: list[str] = []
        self.begins = threading.Event()
        self.may_begin = threading.Event()
        self.may_begin.set()

    def begin(
        self, request: Request, done: Callable[[Answer], None], is_wanted: Callable[[], bool] = lambda: True
    ) -> None:
        self.is_wanted = is_wanted
        self.begins.set()
        assert self.may_begin.wait(60)
        done(Answer({"endpoint": self.says}, request))

    def take_back(self, request: Request) -> None:
        self.taken_back.append(request.id)
        self.takes_back.set()


@pytest.fixture
def maker() -> Maker:
    return Maker()


class Clock:
    """Goes on by a little with each look at it, and further where it is set."""

    def __init__(self) -> None:
        self.now = 0.0
        # Apart from it: two threads change them.
        self._looks = 0

    def monotonic(self) -> float:
        self._looks += 1
        return self.now + self._looks / 100


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(connections, "time", made)
    return made


def end(lifeline: list[int]) -> None:
    """Have the server stop, if it was not told yet."""
    while len(lifeline) > 1:
        os.close(lifeline.pop())


@pytest.fixture
def lifeline() -> Iterator[list[int]]:
    """A pipe whose second end keeps the server going."""
    ends = [*os.pipe()]
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def path(
    tmp_path: Path,
    maker: Maker,
    clock: Clock,  # noqa: ARG001
    lifeline: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A socket that is served."""
    monkeypatch.setattr(connections, "_LOOK_S", 0.02)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    thread = threading.Thread(target=Connections(listener, lifeline[0], maker).serve)
    thread.start()
    yield str(tmp_path / "s")
    end(lifeline)
    thread.join()


def unread(caller: Caller) -> int:
    """How many bytes of answers a caller has not read."""
    return int.from_bytes(ioctl(caller.socket, FIONREAD, bytes(4)), sys.byteorder)


def test_a_request_is_wanted_until_its_caller_has_closed_the_connection(path: str, maker: Maker) -> None:
    """One that only says that it will ask for nothing more hears the answer."""
    maker.may_begin.clear()
    with Caller(path) as caller:
        caller.send(request("connect", "box"))
        assert maker.begins.wait(60)
        assert maker.is_wanted()
        caller.socket.shutdown(socket.SHUT_WR)
        assert maker.is_wanted()
    assert not maker.is_wanted()
    maker.may_begin.set()


@pytest.mark.parametrize("says", ["", LONG], ids=["unread", "unsent"])
def test_what_was_made_is_taken_back_where_its_answer_is_not_read_in_time(
    path: str, maker: Maker, clock: Clock, says: str
) -> None:
    maker.says = says
    said = request("connect", "box")
    with Caller(path) as caller:
        caller.send(said)
        assert select.select([caller.socket], [], [], 60)[0]
        clock.now += 100
        assert maker.takes_back.wait(60)
    assert maker.taken_back == [said["id"]]


@pytest.mark.parametrize("reads", [True, False], ids=["then reads", "and leaves"])
def test_whoever_asks_again_before_it_has_read_its_answer_is_refused(
    path: str, maker: Maker, clock: Clock, *, reads: bool
) -> None:
    """Catches one that takes the second request for a sign that the first was answered: what it made would stay."""
    said = request("connect", "box")
    with Caller(path) as caller:
        caller.send(said)
        assert select.select([caller.socket], [], [], 60)[0]
        maker.begins.clear()
        answer = unread(caller)
        for _ in range(100):
            caller.send(request("connect", "box"))
        if reads:
            wait_until(lambda: unread(caller) > answer, timeout_s=60, what="the refusal")
            assert caller.receive() == {"endpoint": ""}
            refused = caller.receive()
            assert refused is not None
            assert refused["error"]["code"] == "request-invalid"
            clock.now += 1
            assert caller.receive() is None
    if not reads:
        assert maker.takes_back.wait(60)
    assert maker.taken_back == ([] if reads else [said["id"]])
    assert not maker.begins.is_set()


def test_whoever_has_read_its_answer_and_asks_no_more_keeps_what_was_made(
    path: str, maker: Maker, clock: Clock
) -> None:
    with Caller(path) as caller:
        caller.send(request("connect", "box"))
        assert caller.receive() == {"endpoint": ""}
        clock.now += 100
        # The server has parted from it.
        assert caller.receive() is None
    assert maker.taken_back == []


def test_whoever_asks_while_the_server_stops_is_parted_from_and_what_was_begun_is_answered(
    path: str, maker: Maker, lifeline: list[int]
) -> None:
    """All of it is seen in one look: that it is to stop, and that idle callers ask, whom it has parted from then."""
    with Caller(path) as first, Caller(path) as second, Caller(path) as third:
        for caller in (second, third):
            caller.send(request("check", "box"))
            assert caller.receive() == {"endpoint": ""}
        maker.begins.clear()
        maker.may_begin.clear()
        first.send(request("connect", "box"))
        assert maker.begins.wait(60)
        end(lifeline)
        for caller in (second, third):
            caller.send(request("check", "box"))
        maker.may_begin.set()
        assert first.receive() == {"endpoint": ""}
        assert [caller.receive() for caller in (second, third)] == [None, None]
