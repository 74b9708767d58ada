"""The program around a sandbox's command, started by the process of the caller: its terminal, process group, parent,
cgroup and limits are the command's.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from macvfast.process import programs
from macvfast.process.programs import PASSED_ON
from macvfast.serve import messages
from macvfast.serve.messages import Message

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from macvfast.process.programs import Program

# Above all descriptors that a process may have (fs.nr_open is 2^20 unless it was changed); close_range(2) takes it.
_FDS_MAX = 1 << 30

# `F_SETSIG` of <linux/fcntl.h>.
_F_SETSIG = 10


class Caller:
    """The process that a worker does a command line for.

    While the worker waits for nothing from it, its end is the worker's: what became of a process that was killed is
    what becomes of the two.
    """

    # There is one connection.
    at_once = 1

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
        # No other signal ends a process that is stopped.
        fcntl.fcntl(connection, _F_SETSIG, signal.SIGKILL)
        self._end_with_it(True)

    def become(self, program: Program, lock: list[int]) -> NoReturn:
        """Have it become a program, and end.

        Raises:
            OSError: it cannot; it goes on waiting.
        """
        # What has arrived by now is acted upon here, and nothing is sent. What arrives later is the program's: the
        # caller has it, and passes it on.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        try:
            self._end_with_it(False)
            self._send(messages.BECOME, program, [])
            # The caller has it now; a keeper that ends lets go of it.
            while lock:
                os.close(lock.pop())
            answer = messages.receive(self._connection)
            if answer is None:
                # It is the program now.
                os._exit(0)
        finally:
            self._end_with_it(True)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise _error_of(answer)

    def start(self, program: Program, lock: list[int]) -> tuple[int, str]:
        """Have it start a program, and wait until that ends; its exit status, and what it wrote to standard error.

        Raises:
            OSError: it cannot.
        """
        self._end_with_it(False)
        # An answer that is left unread ends this process: an interruption waits until it is read.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            reader, writer = os.pipe()
            with open(reader, encoding="utf-8", errors="replace") as pipe:
                try:
                    self._send(messages.START, program, [writer])
                finally:
                    os.close(writer)
                while lock:
                    os.close(lock.pop())
                try:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
                    said = programs.report_of(pipe)
                finally:
                    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
                    answer = messages.receive(self._connection)
            if answer is None:
                # It was killed, and nobody waits for the outcome.
                os._exit(1)
        finally:
            self._end_with_it(True)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if answer.kind != messages.ENDED:
            raise _error_of(answer)
        return os.waitstatus_to_exitcode(int(answer.body)), said

    def environment(self) -> dict[str, str]:
        """Its environment, which this worker has taken over."""
        return dict(os.environ)

    def end(self, status: int) -> NoReturn:
        """Have it end with an exit status, and end."""
        # Whoever waits for a lock or a pipe of this command finds it free once the command has ended.
        mine = self._connection.fileno()
        os.closerange(0, mine)
        os.closerange(mine + 1, _FDS_MAX)
        # It ends with that, and this worker with its own exit status, which the server counts.
        self._end_with_it(False)
        # It may have been killed.
        with suppress(OSError):
            messages.send(self._connection, Message(messages.STATUS, bytes([status])))
        os._exit(status)

    def _send(self, kind: bytes, program: Program, others: Sequence[int]) -> None:
        """Send a program: which of its words are descriptors (`3=0`: the word after the third is the first one), and
        the words. The numbers of descriptors are other ones there.
        """
        places = " ".join(f"{word}={number}" for number, word in enumerate(program.descriptors))
        body = b"".join(os.fsencode(field) + b"\0" for field in (places, *program.argv))
        given = [int(program.argv[word]) for word in program.descriptors]
        messages.send(self._connection, Message(kind, body, [*given, *others]))

    def _end_with_it(self, wanted: bool) -> None:
        flags = fcntl.fcntl(self._connection, fcntl.F_GETFL)
        fcntl.fcntl(self._connection, fcntl.F_SETFL, flags | os.O_ASYNC if wanted else flags & ~os.O_ASYNC)
        if wanted:
            # There is no signal of what went before it was asked for.
            poll = select.poll()
            poll.register(self._connection, 0)
            if poll.poll(0):
                os.kill(os.getpid(), signal.SIGKILL)


def _error_of(answer: Message) -> OSError:
    number = int(answer.body)
    return OSError(number, os.strerror(number))
