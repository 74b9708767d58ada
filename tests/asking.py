"""Callers of the server's `request.sock`: `python -m tests.asking SOCKET HOW` in the network namespace of the server.

Standard input has a JSON list of requests, standard output gets a JSON list of answers. A field `given` is the path of
a namespace whose descriptor goes with the request. HOW is `in-turn` on one connection, `at-once`, each on a connection
of its own, or `and-leave`, at once and without waiting for an answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from tests.netns import Lan

Said = dict[str, Any]

_LENGTH = struct.Struct("<I")


class Caller:
    """One connection."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, said: Said) -> None:
        """Ask for something."""
        said = dict(said)
        given = said.pop("given", None)
        descriptors = [] if given is None else [os.open(given, os.O_RDONLY)]
        self.send_raw(framed(json.dumps(said).encode()), *descriptors)
        for one in descriptors:
            os.close(one)

    def send_raw(self, data: bytes, *descriptors: int) -> None:
        """Send bytes as they are."""
        sent = socket.send_fds(self.socket, [data], list(descriptors)) if descriptors else 0
        self.socket.sendall(data[sent:])

    def receive(self) -> Said | None:
        """The next answer; None: the server has closed the connection."""
        try:
            head = self._exactly(_LENGTH.size)
            body = head and self._exactly(_LENGTH.unpack(head)[0])
        except ConnectionResetError:
            return None
        return json.loads(body) if body else None

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := self.socket.recv(size - len(data))):
            data += more
        return data if len(data) == size else b""


def framed(body: bytes) -> bytes:
    """A body with its length before it."""
    return _LENGTH.pack(len(body)) + body


def request(kind: str, sandbox: str, *, network: str = "pub_net", **others: Any) -> Said:
    """A request with a new id."""
    said = {"protocol": 1, "id": secrets.token_hex(16), "kind": kind, "network": network, "sandbox": sandbox}
    return said | others


def ask(lan: Lan, *requests: Said, how: str = "in-turn", before: tuple[str, ...] = ()) -> list[Said]:
    """The answers of the server of a bed, asked from the namespace of the host."""
    line = (*before, sys.executable, "-m", "tests.asking", str(lan.run_dir / "request.sock"), how)
    answers: list[Said] = json.loads(lan.host.run(*line, stdin=json.dumps(requests)))
    return answers


def begun(lan: Lan, requests: Sequence[Said], *, how: str = "at-once") -> subprocess.Popen[str]:
    """Callers who have begun to ask; standard output gets their answers."""
    typed = lan.host.start(sys.executable, "-m", "tests.asking", str(lan.run_dir / "request.sock"), how)
    assert typed.stdin is not None
    typed.stdin.write(json.dumps(requests))
    typed.stdin.close()
    typed.stdin = None
    return typed


def _main(path: str, how: str) -> None:
    requests = json.load(sys.stdin)
    answers: list[Said | None] = []
    if how == "in-turn":
        with Caller(path) as caller:
            for one in requests:
                caller.send(one)
                answers.append(caller.receive())
    else:
        callers = [Caller(path) for _ in requests]
        for caller, one in zip(callers, requests, strict=True):
            # A server that stops reads no more: there is no answer then.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                caller.send(one)
        for caller in callers:
            if how == "at-once":
                answers.append(caller.receive())
            caller.socket.close()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    _main(*sys.argv[1:])
