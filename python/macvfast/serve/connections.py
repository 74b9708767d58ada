"""The connections of `request.sock`: what is sent there is read, done by other threads, and answered; one thread for
all connections, which waits for none of them.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from fcntl import ioctl
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from termios import TIOCOUTQ
from typing import TYPE_CHECKING

from macvfast.cli.show.output import problem_fields
from macvfast.errors import MacvfastError, PermissionNeeded, RequestInvalid, ServerBusy
from macvfast.plugins.request import Answer, Request
from macvfast.serve.peer import may_ask
from macvfast.serve.request import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from macvfast.serve.work import Work

# Connections at a time, and bytes of a request.
_MOST = 1024
_LONGEST = 1 << 20

# How much is thrown away at once of what nobody reads any more.
_DROPPED = 1 << 16

# How long a request may take to arrive, and an answer to be read.
_ARRIVES_S = 5.0
_READ_S = 60.0

# How often connections are looked at that are late.
_LOOK_S = 1.0

# How long to wait where no descriptor is left for a connection.
_AGAIN_S = 0.05

_LENGTH = struct.Struct("<I")


class Connection:
    """One caller, whose requests are answered one after the other.

    Attributes:
        until: when it is late.
        busy: its request is being done.
        made: what its last answer says was made, until that has been read.
        last: it is closed once it has its answer.
        silent: nothing more comes from it.
    """

    def __init__(self, opened: socket.socket) -> None:
        opened.setblocking(False)
        self.socket = opened
        self.until = time.monotonic() + _ARRIVES_S
        self.busy = False
        self.made: Request | None = None
        self.last = self.silent = False
        self.sending = b""
        self._wanted: int | None = None
        self._body = bytearray()
        self._descriptors: list[int] = []

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has come, and nothing is to be said or read."""
        return self.told and not (self.busy or self.sending or self._body or self._wanted)

    @property
    def told(self) -> bool:
        """Whether it knows of what was made for it, if something was."""
        return self.made is None or not (self.sending or self.unread())

    def receive(self) -> tuple[bytes, list[int]] | None:
        """The next request, whose descriptors are the caller's to close; None: it has not all come yet.

        Raises:
            RequestInvalid: it cannot be one.
            EOFError: nothing more comes.
            OSError: the other side has gone.
        """
        while True:
            size = _LENGTH.size if self._wanted is None else self._wanted
            left = size - len(self._body)
            data, descriptors, flags, _ = socket.recv_fds(self.socket, left, 1, socket.MSG_CMSG_CLOEXEC)
            self._descriptors += descriptors
            if not data:
                raise EOFError
            if self._wanted is None and not self._body:
                if self.unread():
                    raise RequestInvalid("it was sent before the last answer was read")
                if self.made is not None and self.was_reset():
                    # What was not read is thrown away by then.
                    raise ConnectionResetError
                self.made = None
                self.until = time.monotonic() + _ARRIVES_S
            if flags & socket.MSG_CTRUNC or len(self._descriptors) > 1:
                raise RequestInvalid("more than one descriptor came with it")
            self._body += data
            if len(data) < left:
                continue
            body = bytes(self._body)
            self._body.clear()
            if self._wanted is not None:
                self._wanted, descriptors, self._descriptors = None, self._descriptors, []
                return body, descriptors
            (self._wanted,) = _LENGTH.unpack(body)
            if not 0 < self._wanted <= _LONGEST:
                raise RequestInvalid(f"it has {self._wanted} bytes, and may have 1 to {_LONGEST}")

    def drop(self) -> None:
        """Receive something that nobody wants any more. Raises as `receive`."""
        data, descriptors, _, _ = socket.recv_fds(self.socket, _DROPPED, 1, socket.MSG_CMSG_CLOEXEC)
        for descriptor in descriptors:
            os.close(descriptor)
        if not data:
            raise EOFError

    def answer(self, answer: Answer) -> None:
        """Have an answer to send."""
        body = json.dumps(answer.said, separators=(",", ":")).encode()
        self.sending = _LENGTH.pack(len(body)) + body
        self.made = answer.made
        self.until = time.monotonic() + _READ_S

    def send(self) -> bool:
        """Send what can be sent now of the answer; whether that is all.

        Raises:
            OSError: the other side has gone.
        """
        if not self.sending:
            # Nothing is sent even so to one that has gone, which may well have read all.
            return True
        with suppress(BlockingIOError):
            self.sending = self.sending[self.socket.send(self.sending, socket.MSG_NOSIGNAL) :]
        return not self.sending

    def unread(self) -> bool:
        """Whether something that was sent has not been read."""
        return ioctl(self.socket, TIOCOUTQ, bytes(4)) != bytes(4)

    def was_reset(self) -> bool:
        """Whether the other side has gone without having read all."""
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def has_gone(self) -> bool:
        """Whether the other side has closed the connection, and not only its own half of it: nobody hears an answer."""
        poll = select.poll()
        poll.register(self.socket, 0)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close it, and what came with it."""
        self.socket.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []


class Connections:
    """Serves callers until it is told to stop.

    Args:
        listener: where they connect.
        lifeline: readable when this process is to stop.
        work: does their requests.
    """

    def __init__(self, listener: socket.socket, lifeline: int, work: Work) -> None:
        self._listener = listener
        self._lifeline = lifeline
        self._work = work
        self._open: set[Connection] = set()
        self._stopping = False
        self._done: deque[Connection] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = DefaultSelector()
        listener.setblocking(False)
        for file, call in ((listener, self._accept), (lifeline, self._stop), (self._wake, self._answer)):
            self._selector.register(file, EVENT_READ, call)

    def serve(self) -> None:
        """Serve until the lifeline says to stop, and then until what was asked for is answered."""
        look = time.monotonic() + _LOOK_S
        while not (self._stopping and not self._open):
            for key, _ in self._selector.select(_LOOK_S if self._open else None):
                now = self._selector.get_map().get(key.fd)
                # What was done about another may have ended it.
                if now is not None and now.fileobj == key.fileobj:
                    now.data()
            if time.monotonic() >= look:
                self._end_late()
                look = time.monotonic() + _LOOK_S

    def _stop(self) -> None:
        """Take nothing more; what was asked for is done and answered."""
        self._stopping = True
        self._selector.unregister(self._lifeline)
        self._selector.unregister(self._listener)
        self._listener.close()
        self._end_late()

    def _accept(self) -> None:
        try:
            opened, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:
            time.sleep(_AGAIN_S)
            return
        one = Connection(opened)
        self._open.add(one)
        self._selector.register(opened, EVENT_READ, partial(self._read, one))
        if len(self._open) > _MOST:
            self._refuse(one, ServerBusy(_MOST))
        elif not may_ask(opened):
            needed = "the server's user, in its user and network namespaces,"
            self._refuse(one, PermissionNeeded("ask the server", needed))

    def _read(self, one: Connection) -> None:
        try:
            if one.last:
                one.drop()
                return
            received = one.receive()
        except BlockingIOError:
            return
        except RequestInvalid as error:
            self._refuse(one, error)
            return
        except EOFError:
            if one.made is not None and one.unread():
                # It may have closed only its own side.
                self._selector.unregister(one.socket)
                one.silent = True
            else:
                self._end(one)
            return
        except OSError:
            self._take_back(one)
            return
        if received is not None:
            self._ask(one, *received)

    def _ask(self, one: Connection, body: bytes, descriptors: list[int]) -> None:
        def end() -> None:
            for descriptor in descriptors:
                os.close(descriptor)

        try:
            request = read(body, descriptors)
        except MacvfastError as error:
            request = problem_fields(error)
        if not isinstance(request, Request):
            end()
            self._say(one, Answer(request))
            return
        one.busy = True
        self._selector.unregister(one.socket)
        self._work.begin(request, lambda answer: self._hear(one, answer, end), lambda: not one.has_gone())

    def _hear(self, one: Connection, answer: Answer, end: Callable[[], None]) -> None:
        """On another thread: answer it. Nobody else uses the connection until this thread says that it has."""
        end()
        one.answer(answer)
        with suppress(OSError):
            one.send()
        self._done.append(one)
        os.eventfd_write(self._wake, 1)

    def _answer(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._done:
            one = self._done.popleft()
            one.busy = False
            one.last = self._stopping
            self._selector.register(one.socket, EVENT_READ, partial(self._read, one))
            self._send(one)

    def _refuse(self, one: Connection, error: MacvfastError) -> None:
        one.last = True
        # What was made before may be unread: it is not known to be told.
        self._say(one, Answer(problem_fields(error), one.made))

    def _say(self, one: Connection, answer: Answer) -> None:
        one.answer(answer)
        self._send(one)

    def _send(self, one: Connection) -> None:
        try:
            if not one.send():
                self._selector.modify(one.socket, EVENT_WRITE, partial(self._send, one))
                return
        except OSError:
            self._take_back(one)
            return
        if one.last and one.told:
            self._end(one)
            return
        self._selector.modify(one.socket, EVENT_READ, partial(self._read, one))

    def _end_late(self) -> None:
        """Part from those that take too long, and from those that have what they asked for, where that is to be."""
        now = time.monotonic()
        for one in [one for one in self._open if not one.busy]:
            late = one.until <= now
            if (late and not one.told) or (one.silent and one.was_reset()):
                self._take_back(one)
            elif late or ((one.silent or one.last or self._stopping) and one.idle):
                self._end(one)

    def _take_back(self, one: Connection) -> None:
        """It has gone, or is late, without its answer: nobody knows of what was made."""
        made = one.made
        self._end(one)
        if made is not None:
            self._work.take_back(made)

    def _end(self, one: Connection) -> None:
        with suppress(KeyError):
            self._selector.unregister(one.socket)
        self._open.discard(one)
        one.close()
