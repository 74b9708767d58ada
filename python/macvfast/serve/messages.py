"""What client and worker say to each other: a kind, a length, and fields that end with a zero byte.

`rust/client/src/message.rs` has the same.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# Client and worker have the same.
PROTOCOL = "1"

# From the client: its command line; a plugin's call; go on; the program could not be started (errno); it has ended
# (wait status).
HELLO, CALL, GO, FAILED, ENDED = b"H", b"C", b"G", b"F", b"X"
# From the worker: it listens; it waits for GO; it does not serve this caller (why); the command has ended (exit
# status); become a program; start a program.
LISTENS, READY, REFUSED, STATUS, BECOME, START = b"L", b"R", b"N", b"E", b"B", b"S"

# What stands for one more descriptor among the digits of streams: the lock of the command that has one, or the
# namespace of a plugin's call, where that could be opened.
OTHER = "L"
_LOCKED = b"__remove-ended"

_HEADER = struct.Struct("<cI")
# The kernel takes no longer command line (execve(2), 6 MiB at the most).
_LONGEST = 8 << 20
_MOST_FDS = 8


class Malformed(Exception):
    """What was received is no message of this protocol."""


class Message(NamedTuple):
    """One message. The descriptors are the receiver's to close."""

    kind: bytes
    body: bytes
    fds: Sequence[int] = ()


def send(connection: socket.socket, message: Message) -> None:
    """Send a message.

    Raises:
        OSError: the other side is gone.
    """
    whole = _HEADER.pack(message.kind, len(message.body)) + message.body
    sent = socket.send_fds(connection, [whole], list(message.fds)) if message.fds else 0
    # Nothing more is said to who has got all of it, and may be gone.
    if sent < len(whole):
        connection.sendall(whole[sent:])


def receive(connection: socket.socket) -> Message | None:
    """Receive the next message; None where the other side is gone.

    Raises:
        Malformed, OSError
    """
    fds: list[int] = []
    try:
        header = _exactly(connection, _HEADER.size, fds)
        if header is None:
            return None
        kind, length = _HEADER.unpack(header)
        if length > _LONGEST:
            raise Malformed(f"a message of {length} bytes")
        body = _exactly(connection, length, fds)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return None if body is None else Message(kind, body, fds)


def _exactly(connection: socket.socket, size: int, fds: list[int]) -> bytes | None:
    parts: list[bytes] = []
    while size:
        data, received, _, _ = socket.recv_fds(connection, size, _MOST_FDS)
        fds += received
        if not data:
            return None
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


class Hello(NamedTuple):
    """A caller's command line, and what a worker takes over of the caller.

    Attributes:
        version: of the client.
        python: the Python that the client would execute.
        umask: of the caller.
        streams: which of its standard streams are open, as the digits of their numbers. OTHER after them: there is
            another descriptor, which the worker alone holds from GO on; the last word stands for its number.
        words: the command line, without the program's name.
        environment: the variables, `NAME=value` each.
        directory: a descriptor of the working directory.
        fds: descriptors of the open streams, in order, and the other one.
        is_call: the words are those of a plugin's call (`macvfast.plugins.__main__`).
    """

    version: str
    python: str
    umask: int
    streams: str
    words: Sequence[bytes]
    environment: Sequence[bytes]
    directory: int
    fds: Sequence[int]
    is_call: bool = False

    @classmethod
    def of(cls, message: Message) -> Hello:
        """Read it from a message.

        Raises:
            Malformed
        """
        if message.kind not in (HELLO, CALL) or not message.body.endswith(b"\0"):
            raise Malformed("no hello")
        protocol, version, python, umask, streams, count, *rest = message.body[:-1].split(b"\0")
        try:
            if os.fsdecode(protocol) != PROTOCOL:
                raise Malformed("another protocol")
            number, mode, shown = int(count), int(umask, 8), os.fsdecode(streams)
        except ValueError as error:
            raise Malformed(str(error)) from None
        directory, *fds = message.fds or (-1,)
        is_call = message.kind == CALL
        wanted = f"{OTHER}?" if is_call else OTHER if rest[:number][:1] == [_LOCKED] else ""
        fitting = re.fullmatch(f"0?1?2?{wanted}", shown) and len(fds) == len(shown) and number <= len(rest)
        if directory < 0 or not fitting:
            raise Malformed("its parts do not fit together")
        words, variables = rest[:number], rest[number:]
        return cls(
            os.fsdecode(version), os.fsdecode(python), mode, shown, words, variables, directory, fds, is_call
        )  # fmt: skip
