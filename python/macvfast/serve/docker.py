"""The socket on which Docker finds its plugin: HTTP, one call on each connection, done as other requests are.

dockerd waits for an answer for ever: each call is answered within a time, whatever becomes of it.
"""

from __future__ import annotations

import io
import json
import os
import select
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from macvfast import __version__
from macvfast.plugins.docker import calls
from macvfast.plugins.docker.answers import Call, Peer, line_of
from macvfast.plugins.request import CONNECT, Request
from macvfast.serve.peer import caller_of, may_ask
from macvfast.system.machine import boot_id
from macvfast.system.processes import process_of

if TYPE_CHECKING:
    import socket

    from macvfast.plugins.request import Answer, Said
    from macvfast.serve.work import Work

# What Docker sends and takes.
_TYPE = "application/vnd.docker.plugins.v1.2+json"

# Connections at a time, and bytes of a request.
_MOST = 128
_LONGEST = 1 << 20

# How long a request may take to arrive, and to be done, and an answer to be taken: less than 10 s in all.
_ARRIVES_S = 3.0
_DONE_S = 5.0
_TAKEN_S = 1.5
# How long an answer may be on its way once what it says is kept; and what is noted where there is none.
_SAID_S = 0.4

# How long to wait where no descriptor or thread is left for a connection.
_AGAIN_S = 0.05

_TOO_LATE = "macvfast has not done it in time, and takes back what it makes of it later: do it again"
_GOES_ON = "macvfast has not done it in time, and goes on with it"
_NOT_HERE = (
    "dockerd has another user or network namespace than macvfast: rootless Docker cannot have macvlan networks of this "
    "host, since its containers are not on links of this host's namespace"
)
_NOT_SEEN = "macvfast cannot see the process of dockerd in its /proc: it cannot tell one run of dockerd from another"
_BUSY = f"more than {_MOST} calls at a time, or more than there are threads for"
_INCOMPLETE = "the call has not arrived in time"
_FAILED = "macvfast has failed: `journalctl -u macvfast` says how"


class Front:
    """Answers Docker until it is told to stop.

    Args:
        listener: where dockerd connects.
        lifeline: readable when this process is to stop.
        work: does what is asked for.
    """

    def __init__(self, listener: socket.socket, lifeline: int, work: Work) -> None:
        self._listener = listener
        self._lifeline = lifeline
        self._work = work
        self._changed = threading.Condition()
        self._open = 0
        self._thread = threading.Thread(target=self._serve, name="macvfast-docker")

    def start(self) -> None:
        """Serve, on a thread of its own."""
        self._listener.setblocking(False)
        self._thread.start()

    def wait(self) -> None:
        """Wait until what was asked for has been answered."""
        self._thread.join()
        with self._changed:
            self._changed.wait_for(lambda: not self._open)

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._lifeline, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._lifeline in ready:
                break
            try:
                opened, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError:
                time.sleep(_AGAIN_S)
                continue
            self._begin(opened)
        self._listener.close()

    def _begin(self, opened: socket.socket) -> None:
        with self._changed:
            full = self._open >= _MOST
            self._open += not full
        if full:
            _refuse(opened)
            return
        try:
            threading.Thread(target=self._handle, args=(opened,), name="macvfast-docker-call").start()
        except RuntimeError:
            # No further thread can be started: one that ends makes room.
            _refuse(opened)
            self._end()
            time.sleep(_AGAIN_S)

    def _handle(self, opened: socket.socket) -> None:
        try:
            with opened, suppress(OSError):
                _Handler(opened, self._work)
        except Exception:  # noqa: BLE001 - shown, and others are served
            sys.excepthook(*sys.exc_info())
        finally:
            self._end()

    def _end(self) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify_all()


class _Timed(io.RawIOBase):
    """What comes from a socket, all of it before one time.

    Raises:
        TimeoutError: it is past.
    """

    def __init__(self, opened: socket.socket, until: float) -> None:
        self._socket = opened
        self._until = until

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """What comes next."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket.recv_into(buffer)


class _Patience:
    """Whether a call is still waited for, or its answer is kept: whichever comes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: bool | None = None

    def lasts(self) -> bool:
        """Whether it is waited for."""
        return self._kept is not False

    def keep(self) -> bool:
        """Have the answer kept; False: nobody waits for it any more."""
        with self._lock:
            self._kept = self._kept is not False
            return self._kept

    def end(self) -> bool:
        """Wait no longer; False: the answer is kept, and comes."""
        with self._lock:
            self._kept = self._kept is True
            return not self._kept


class _Handler(BaseHTTPRequestHandler):
    """Answers the one call of a connection. Lines and headers are bounded by the base class."""

    protocol_version = "HTTP/1.1"
    server_version = f"macvfast/{__version__}"

    def __init__(self, opened: socket.socket, work: Work) -> None:
        self._work = work
        super().__init__(opened, ("", 0), None)  # type: ignore[arg-type]

    def setup(self) -> None:
        """Read with one time for all that comes."""
        self.connection = self.request
        self.rfile = io.BufferedReader(_Timed(self.connection, time.monotonic() + _ARRIVES_S))
        self.wfile = io.BytesIO()

    def handle(self) -> None:
        """Read and answer one request. What is not answered, dockerd would repeat."""
        self.close_connection = True
        status, why = HTTPStatus.REQUEST_TIMEOUT, _INCOMPLETE
        try:
            self.handle_one_request()
        except ConnectionError:
            return
        except Exception:  # noqa: BLE001 - shown, and the caller is told
            sys.excepthook(*sys.exc_info())
            status, why = HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED
        # Whoever has sent nothing, and is gone, wants no answer.
        if not self.wfile.tell() and getattr(self, "raw_requestline", None) != b"":
            self.wfile.write(_plain(status, calls.refusal("", why)))

    def finish(self) -> None:
        """Send the answer."""
        self.connection.settimeout(_TAKEN_S)
        self.connection.sendall(self.wfile.getvalue())  # type: ignore[attr-defined]
        self.rfile.close()

    def do_POST(self) -> None:
        """Do a call."""
        method = self.path.removeprefix("/")
        body = self._body()
        if isinstance(body, HTTPStatus):
            self._say(body, calls.refusal(method, body.description))
        elif not may_ask(self.connection):
            self._say(HTTPStatus.FORBIDDEN, calls.refusal(method, _NOT_HERE))
        else:
            process = process_of(caller_of(self.connection))
            if not process.start_time:
                self._say(HTTPStatus.FORBIDDEN, calls.refusal(method, _NOT_SEEN))
                return
            peer = Peer(process.pid, process.start_time, boot_id())
            patience = _Patience()
            call = Call(os.urandom(16).hex(), method, body, peer)
            found = calls.read(call, patience.keep)
            if isinstance(found, Request):
                self._say(HTTPStatus.OK, self._done(found, call, patience))
            else:
                self._say(found.status, found.said)

    def _body(self) -> bytes | HTTPStatus:
        """What comes with the request; or why it is not read."""
        length = self.headers.get("Content-Length", "0" if "Transfer-Encoding" not in self.headers else "")
        if not (length.isascii() and length.isdigit()):
            return HTTPStatus.LENGTH_REQUIRED
        if len(length) > 10 or int(length) > _LONGEST:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else HTTPStatus.BAD_REQUEST

    def _done(self, request: Request, call: Call, patience: _Patience) -> Said:
        """What becomes of a request, or that it takes too long."""
        ended = threading.Event()
        answers: list[Said] = []

        def done(answer: Answer) -> None:
            answers.append(answer.said)
            ended.set()

        # Docker takes what it gives back for gone, whatever is answered: that is done in any case.
        makes = request.kind == CONNECT
        self._work.begin(request, done, patience.lasts if makes else lambda: True)
        if not ended.wait(_DONE_S) and (patience.end() or not ended.wait(_SAID_S)):
            self._is_late(call)
            return calls.refusal(call.method, _TOO_LATE if makes else _GOES_ON)
        (said,) = answers
        # What the server itself has to say has other words.
        error = said.get("error")
        return calls.refusal(call.method, line_of(error)) if isinstance(error, dict) else said

    def _is_late(self, call: Call) -> None:
        """Have done what is to be done before a call is answered that is not done in time."""
        request = calls.late(call)
        if request is not None:
            ended = threading.Event()
            self._work.begin(request, lambda _: ended.set())
            ended.wait(_SAID_S)

    def _say(self, status: int, said: Said) -> None:
        body = json.dumps(said, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Type", _TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing of each call."""


def _refuse(opened: socket.socket) -> None:
    """Answer a call that is not read, since too many are."""
    with opened, suppress(OSError):
        opened.setblocking(False)
        opened.send(_plain(HTTPStatus.SERVICE_UNAVAILABLE, calls.refusal("", _BUSY)))


def _plain(status: HTTPStatus, said: Said) -> bytes:
    """A whole answer, for a call that is not read."""
    body = json.dumps(said).encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {_TYPE}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
