"""A worker and the process that it works for."""

from __future__ import annotations

import os
import signal
import socket

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
