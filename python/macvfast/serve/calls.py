"""What the server counts: command lines that workers have taken and done, requests, and how long these took."""

from __future__ import annotations

import json
import mmap
import os
import struct
import threading
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from macvfast import __version__
from macvfast.cli.commands import ALIASES, COMMANDS
from macvfast.plugins.request import CHECK, COLLECT, CONNECT, DISCONNECT, STATUS

if TYPE_CHECKING:
    from collections.abc import Sequence

# Commands are counted by how long they took: up to 5 ms, and so on; what takes longer than all is counted, too.
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# What a worker says on the pipe that it shares with others, at once: its pid, and TAKEN or the number of a command.
_WORD = struct.Struct("<II")
WORD_SIZE = _WORD.size
TAKEN = 0

# No command has more words.
_DEPTH = 3

# Of the options that may stand before it, the one that has its value as the next word.
_WITH_VALUE = "--state-dir"

# What has no name of its own: help, completion, what is no command. And calls of plugins that are no requests.
_OTHER, _PLUGIN = "other", "plugin"
_KINDS = (_OTHER, _PLUGIN, *COMMANDS)
# The number of such a call.
PLUGIN = 1 + _KINDS.index(_PLUGIN)


_REQUESTS = (CONNECT, DISCONNECT, CHECK, STATUS, COLLECT)
_OUTCOMES = OK, FAILED = "ok", "failed"


class Requests:
    """The counts of requests: an engine counts, and its parent, which forked it, reads. They end with the parent; the
    next engine counts on. A reading beside a request may lack a part of it.
    """

    # In a row: the seconds of all, how many there were within each bound, and how many took longer.
    _ROW = 1 + len(BOUNDS_S) + 1

    def __init__(self) -> None:
        rows = len(_REQUESTS) * len(_OUTCOMES)
        size = struct.calcsize("d")
        self._numbers = memoryview(mmap.mmap(-1, size * (1 + rows * self._ROW))).cast("d")
        self._lock = threading.Lock()

    def start(self) -> None:
        """In a new engine: what the last one had begun is over."""
        self._numbers[0] = 0

    def begin(self) -> float:
        """Count a request as begun; when that was."""
        with self._lock:
            self._numbers[0] += 1
        return time.monotonic()

    def end(self, kind: str, outcome: str, begun: float) -> None:
        """Count it as done: OK or FAILED."""
        took = time.monotonic() - begun
        row = self._row(kind, outcome)
        with self._lock:
            self._numbers[0] -= 1
            self._numbers[row] += took
            self._numbers[row + 1 + bisect_left(BOUNDS_S, took)] += 1

    def _row(self, kind: str, outcome: str) -> int:
        return 1 + (_REQUESTS.index(kind) * len(_OUTCOMES) + _OUTCOMES.index(outcome)) * self._ROW

    @property
    def running(self) -> int:
        """How many have begun, and have not ended."""
        return int(self._numbers[0])

    def shown(self) -> list[dict[str, object]]:
        """Those that there were, as `macvfast.system.server` reads them."""
        found = []
        for kind in _REQUESTS:
            for outcome in _OUTCOMES:
                row = self._row(kind, outcome)
                seconds, *counts = self._numbers[row : row + self._ROW].tolist()
                if any(counts):
                    found.append(_shown(kind, outcome, seconds, list(map(int, counts))))
        return found


def _shown(kind: str, outcome: str, seconds: float, counts: Sequence[int]) -> dict[str, object]:
    return {"kind": kind, "outcome": outcome, "seconds": seconds, "counts": counts}


class _Call(NamedTuple):
    """A command line that was taken: when, and of which kind where it has begun."""

    at: float
    kind: str | None


def said(kind: int) -> bytes:
    """What this worker says."""
    return _WORD.pack(os.getpid(), kind)


def kind_of(words: Sequence[str]) -> int:
    """The number of the command that a line is of."""
    first = words[: 2 * _DEPTH + 2]
    plain = [word for word in first if not word.startswith("-")]
    for rest in (plain, plain[1:] if _WITH_VALUE in first else []):
        for length in range(_DEPTH, 0, -1):
            path = " ".join(rest[:length])
            path = ALIASES.get(path, path)
            if path in COMMANDS:
                return 1 + _KINDS.index(path)
    return 1 + _KINDS.index(_OTHER)


class Calls:
    """The counts of one server. They end with it.

    Args:
        requests: those of its engines.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._since = time.time()
        self._open: dict[int, _Call] = {}
        # By kind and outcome: the seconds of all, and how many there were within each bound.
        self._seconds: dict[tuple[str, str], float] = {}
        self._counts: dict[tuple[str, str], list[int]] = {}

    def hear(self, word: bytes) -> int | None:
        """Note what a worker said; its pid where it has taken a command line."""
        pid, kind = _WORD.unpack(word)
        if kind == TAKEN:
            self._open[pid] = _Call(time.monotonic(), None)
            return int(pid)
        if pid in self._open:
            self._open[pid] = self._open[pid]._replace(kind=_KINDS[kind - 1])
        return None

    def ended(self, pid: int, wait_status: int) -> None:
        """A worker has ended: it is counted if its command had begun."""
        call = self._open.pop(pid, None)
        if call is None or call.kind is None:
            return
        outcome = "killed" if os.WIFSIGNALED(wait_status) else "failed" if wait_status else "ok"
        took = time.monotonic() - call.at
        key = call.kind, outcome
        counts = self._counts.setdefault(key, [0] * (len(BOUNDS_S) + 1))
        counts[bisect_left(BOUNDS_S, took)] += 1
        self._seconds[key] = self._seconds.get(key, 0.0) + took

    def shown(self) -> bytes:
        """All of it, as `macvfast.system.server` reads it."""
        calls = [
            _shown(kind, outcome, self._seconds[kind, outcome], counts)
            for (kind, outcome), counts in self._counts.items()
        ]
        running = sum(call.kind is not None for call in self._open.values())
        about = {"pid": os.getpid(), "version": __version__, "since": self._since, "running": running}
        requests = {"requests": self._requests.shown(), "requests_running": self._requests.running}
        return json.dumps({**about, "bounds": BOUNDS_S, "calls": calls, **requests}).encode()
