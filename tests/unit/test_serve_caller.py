"""A worker and the process that it works for."""

from __future__ import annotations

import os
import select
import signal
import socket
import time

import pytest

from macvfast.process.programs import Program
from macvfast.serve import messages
from macvfast.serve.starting import Caller
from tests.netns import ended, started


def test_a_worker_whose_caller_went_before_its_end_was_asked_for_ends_at_once() -> None:
    mine, callers = socket.socketpair()
    callers.close()
    assert ended(started(lambda: Caller(mine))) == -signal.SIGKILL
    mine.close()


def test_a_worker_that_is_stopped_ends_with_its_caller() -> None:
    """A stopped process keeps its locks."""
    mine, callers = socket.socketpair()

    def work() -> None:
        callers.close()
        Caller(mine)
        os.kill(os.getpid(), signal.SIGSTOP)

    worker = started(work)
    assert os.WIFSTOPPED(os.waitpid(worker, os.WUNTRACED)[1])
    callers.close()
    assert ended(worker) == -signal.SIGKILL
    mine.close()


def worker_that_survives(
    mine: socket.socket, callers: socket.socket, program: Program, told: int, *, way: str = "start"
) -> int:
    """A worker that has its caller start or become a program, which fails, and says so."""

    def work() -> None:
        callers.close()
        caller = Caller(mine)
        try:
            getattr(caller, way)(program, [])
        except (OSError, KeyboardInterrupt):
            os.write(told, b"failed")
            # Not `pause`: what has arrived before it would be missed.
            time.sleep(60)

    return started(work)


@pytest.mark.parametrize("way", ["start", "become"])
def test_a_worker_ends_with_its_caller_after_a_program_could_not_be_sent(way: str) -> None:
    mine, callers = socket.socketpair()
    heard, told = os.pipe()
    worker = worker_that_survives(mine, callers, Program(["/bin/true", "1000000"], [1]), told, way=way)
    mine.close()
    assert os.read(heard, 10) == b"failed"
    callers.close()
    assert ended(worker) == -signal.SIGKILL
    os.close(heard)
    os.close(told)


def test_a_worker_that_is_interrupted_while_a_program_starts_lives_as_long_as_its_caller() -> None:
    """Nor does the answer that comes then end it."""
    mine, callers = socket.socketpair()
    heard, told = os.pipe()
    worker = worker_that_survives(mine, callers, Program(["/bin/true"]), told)
    mine.close()
    asked = messages.receive(callers)
    assert asked is not None
    assert asked.kind == messages.START
    messages.send(callers, messages.Message(messages.ENDED, b"0"))
    # Python does not see a signal that comes just before it reads.
    while not select.select([heard], [], [], 1)[0]:
        os.kill(worker, signal.SIGINT)
    assert os.read(heard, 10) == b"failed"
    assert os.waitpid(worker, os.WNOHANG) == (0, 0)
    callers.close()
    assert ended(worker) == -signal.SIGKILL
    for fd in (*asked.fds, heard, told):
        os.close(fd)
