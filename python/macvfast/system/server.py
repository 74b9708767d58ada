"""What the server says of itself: only it knows, and it is asked on its own socket."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from macvfast.system import configured, trusted

if TYPE_CHECKING:
    from macvfast.outcomes import Calls, ServerStatus

DEFAULT_DIRECTORY = "/run/macvfast"

# The sockets in it: for command lines, and for whoever asks how the server is.
COMMANDS, STATUS = "command.sock", "status.sock"

_ANSWER_WITHIN_S = 2
_LONGEST = 1 << 20

# How /proc/net/unix shows a connection that was not taken yet (SS_CONNECTING of <linux/net.h>).
_NOT_TAKEN = "02"


def directory() -> Path:
    """The directory with the server's sockets."""
    return Path(configured.directory("run_dir", DEFAULT_DIRECTORY)).absolute()


def ask() -> ServerStatus | None:
    """What the server says of itself; None where there is none that can be asked."""
    try:
        return _status(json.loads(_answer()))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _answer() -> bytes:
    """All that the server sends to who connects. The directory is one that no other user can change."""
    held = trusted.open_directory(directory())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_WITHIN_S)
            # However long the directory's path is.
            connection.connect(f"/proc/self/fd/{held}/{STATUS}")
            with connection.makefile("rb") as said:
                return said.read(_LONGEST)
    finally:
        os.close(held)


def _status(said: dict[str, Any]) -> ServerStatus:
    from macvfast.outcomes import ServerStatus  # noqa: PLC0415 - only where there is a server

    bounds = tuple(map(float, said["bounds"]))
    return ServerStatus(
        pid=int(said["pid"]), version=str(said["version"]), since=datetime.fromtimestamp(float(said["since"]), UTC),
        running=int(said["running"]), waiting=_waiting(),
        calls=_sorted(said["calls"], bounds), requests=_sorted(said["requests"], bounds),
        requests_running=int(said["requests_running"]),
    )  # fmt: skip


def _sorted(said: list[dict[str, Any]], bounds: tuple[float, ...]) -> tuple[Calls, ...]:
    return tuple(sorted((_calls(one, bounds) for one in said), key=lambda one: (one.kind, one.outcome)))


def _calls(said: dict[str, Any], bounds: tuple[float, ...]) -> Calls:
    from macvfast.outcomes import Calls  # noqa: PLC0415 - as above

    # The last is of those that took longer than all bounds.
    counts = [int(one) for one in said["counts"]]
    if len(counts) != len(bounds) + 1:
        raise ValueError("there are not as many counts as bounds")
    within = tuple(accumulate(counts[:-1]))
    return Calls(str(said["kind"]), str(said["outcome"]), sum(counts), float(said["seconds"]), bounds, within)


def _waiting() -> int:
    """How many commands no worker has taken yet: connections that were made and not accepted."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
        rows = [line.split(maxsplit=7) for line in table]
    path = str(directory() / COMMANDS)
    return sum(len(row) == 8 and row[5] == _NOT_TAKEN and row[7].rstrip("\n") == path for row in rows)
