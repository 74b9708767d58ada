"""One command line, done by a forked warm interpreter, which then ends."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from macvfast.process import programs
from macvfast.serve import messages
from macvfast.serve.messages import Hello, Malformed, Message
from macvfast.serve.peer import Standing, caller_of
from macvfast.serve.starting import Caller
from macvfast.serve.takeover import take_over

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

# How long a caller may take for its hello, and to say GO.
_WITHIN_S = 5


class Installation(NamedTuple):
    """A macvfast, which its clients have in common.

    Attributes:
        version: its version.
        directory: of its Python: that of the environment it is installed into.
        python: its Python itself, whatever links lead there.
    """

    version: str
    directory: str
    python: str

    @classmethod
    def of(cls, version: str, python: str) -> Installation:
        """That of a version, by the path of its Python."""
        return cls(version, os.path.realpath(os.path.dirname(python)), os.path.realpath(python))


def serve(connection: socket.socket, standing: Standing, own: Installation, main: Callable[[bool], int]) -> None:
    """Do a caller's command line, or the call of a plugin, where it may be served; else leave it to the caller.

    Args:
        connection: to the caller.
        standing: of this server.
        own: that of this server.
        main: does the command line of `sys.argv`, or (True) the call of a plugin whose words are there.
    """
    # It ends a worker whose caller says too little.
    signal.alarm(_WITHIN_S)
    taken_at = time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        # Until then the caller sends nothing: what is sent to a socket that nobody reads keeps the caller's streams
        # open, even when the caller has ended.
        messages.send(connection, Message(messages.LISTENS, b""))
        message = messages.receive(connection)
        if message is None:
            return
        hello = Hello.of(message)
        is_own = Installation.of(hello.version, hello.python) == own
        reason = _why_not(connection, standing, taken_at) if is_own else "the server is another macvfast"
        if reason:
            messages.send(connection, Message(messages.REFUSED, reason.encode()))
            return
        # It changes nothing outside, and may fail: then the caller does without.
        take_over(hello, caller_of(connection))
        pid = os.getpid()
        mine = os.pidfd_open(pid)
        messages.send(connection, Message(messages.READY, str(pid).encode(), [mine]))
        os.close(mine)
        go = messages.receive(connection)
        if go is None or go.kind != messages.GO:
            return
    except (Malformed, OSError):
        return
    signal.alarm(0)
    caller = Caller(connection)
    programs.start_by(caller)
    caller.end(_status(partial(main, hello.is_call)))


def _why_not(connection: socket.socket, standing: Standing, taken_at: float) -> str | None:
    """Why a caller of this macvfast is not served; None: it is."""
    try:
        caller = Standing.of_caller(connection, taken_at)
    except OSError:
        return "the caller cannot be looked at"
    return None if standing.may_serve(caller) else "the caller is not where the server is, or may do other things"


def _status(main: Callable[[], int]) -> int:
    """What a process of Python's own would end with."""
    try:
        status = main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - as Python shows what nobody has caught
        sys.excepthook(*sys.exc_info())
        status = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            # As Python says that its last output was lost.
            status = 120
    return status & 0xFF
