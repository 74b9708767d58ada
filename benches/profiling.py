"""Where the time of the bulk path goes: `perf record -e cpu-clock` around what the benchmarks time, and nothing else.

Samples in the kernel are told apart by the system call they were taken in, those outside by the file that the code is
from. perf counts what runs: waiting for the disk, or for other processors, is in no sample, so each profile also says
how much of a processor was in use.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from benches import groups, ours
from benches.measure import NotThere, Sample, Side, run_side
from benches.world import World, run
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

# Parts in the order they are shown: a name, what is in it, and which system calls or files make a sample part of it.
NETLINK, NAMESPACES, DISK, OTHER = (
    "kernel: netlink", "kernel: namespaces, pins, sysctls", "kernel: the state's file", "kernel: the rest",
)  # fmt: skip
NATIVE, SQLITE, PYTHON, C_LIBRARY = "encoding and native code", "SQLite", "Python", "C library"
MEANING = {
    NETLINK: "links, addresses, routes made and removed; replies read",
    NAMESPACES: "`unshare`, `mount`, threads begun to be inside, files opened and written",
    DISK: "reads, writes, syncs (not the waiting for them)",
    OTHER: "page faults, memory, interrupts",
    NATIVE: "`_core`: messages, replies, addresses",
    SQLITE: "statements and pages",
    PYTHON: "the interpreter and its own modules",
    C_LIBRARY: "memory and copies, for all of these",
}
SYSTEM_CALLS = (
    (NETLINK, r"send(to|msg|mmsg)|recv(from|msg|mmsg)|socket|[gs]etsockopt|bind|connect"),
    (DISK, r"f(data)?sync|p(read|write)(64|v2?)|ftruncate|fcntl|flock"),
    (
        NAMESPACES,
        r"unshare|setns|clone3?|u?mount2?|fs(open|config|mount)|open(at2?)?|write|close|unlink(at)?|(new)?fstat(at)?|f?statfs",
    ),
)
FILES = ((NATIVE, r"/_core[^/]*\.so"), (SQLITE, r"/(libsqlite3|_sqlite3)[^/]*"), (C_LIBRARY, r"/(libc|ld-linux)[^/]*"))

_CALL = re.compile(r"(?:__(?:x64|arm64|se|do)_|k)sys_(\w+)")
_FRAME = re.compile(r"\s+[0-9a-f]+ (.*) \((.*)\)$")


class Perf:
    """perf on this process, at rest until it is told to look."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "perf.data"
        pipes = (directory / "perf.orders", directory / "perf.answers")
        for path in pipes:
            os.mkfifo(path)
        # Both ends of each, for as long as this lives: what is written before perf listens is not lost.
        self._orders, self._answers = (os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in pipes)
        try:
            self._process = subprocess.Popen(
                [
                    "perf", "record", "--event=cpu-clock", "--freq=2000", "-g", f"--pid={os.getpid()}", "--delay=-1",
                    f"--control=fifo:{pipes[0]},{pipes[1]}", f"--output={self.data}",
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        except FileNotFoundError:
            raise NotThere("Debian package linux-perf is not installed") from None
        self.wall = self.busy = 0.0

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Samples are taken."""
        self._tell("enable")
        wall, busy = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - wall
        self.busy += time.process_time() - busy
        self._tell("disable")

    def _tell(self, order: str) -> None:
        os.write(self._orders, f"{order}\n".encode())
        wait_until(self._has_answered, what="perf's answer")

    def _has_answered(self) -> bool:
        if self._process.poll() is not None:
            raise NotThere(f"perf does not run here: {self._said()}")
        with contextlib.suppress(BlockingIOError):
            return b"ack" in os.read(self._answers, 64)
        return False

    def _said(self) -> str:
        assert self._process.stderr is not None
        return " ".join(self._process.stderr.read().split())[:200]

    def shares(self) -> dict[str, float]:
        """Parts in per cent of all samples, once perf has ended."""
        self._process.terminate()
        self._process.wait()
        counts = Counter(map(part_of, _stacks(run("perf", "script", f"--input={self.data}", "--fields=ip,sym,dso"))))
        total = sum(counts.values())
        return {part: round(100 * counts[part] / total, 1) for part in MEANING if counts[part]}


def _stacks(text: str) -> Iterator[list[tuple[str, str]]]:
    """Each sample's frames, the innermost first: symbol and file."""
    for block in text.split("\n\n"):
        frames = [match.groups() for match in map(_FRAME.match, block.splitlines()) if match]
        if frames:
            yield [(str(symbol), str(file)) for symbol, file in frames]


def part_of(frames: Sequence[tuple[str, str]]) -> str:
    """Which part a sample belongs to.

    >>> part_of([("macvlan_open", "[kernel.kallsyms]"), ("__x64_sys_sendto", "[kernel.kallsyms]")])
    'kernel: netlink'
    >>> part_of([("_PyEval_EvalFrameDefault", "/usr/bin/python3.11")])
    'Python'
    """
    if "kernel" not in frames[0][1] and frames[0][1] != "[vdso]":
        file = frames[0][1]
        return next((part for part, pattern in FILES if re.search(f"{pattern}$", file)), PYTHON)
    for symbol, _ in frames:
        if call := _CALL.match(symbol):
            return next((part for part, pattern in SYSTEM_CALLS if re.fullmatch(pattern, call[1])), OTHER)
    return OTHER


def look(world: World, what: str, count: int) -> Sample:
    """Profile one way of the bulk path: the processors in use, and as steps the shares in MEANING's order."""
    names = [f"s-{number}" for number in range(count)]
    netns = str(world.namespace("target")) if what == "links" else None
    with ours.open_host(world) as host:
        ours.warm_up(host)
        perf = Perf(world.directory)
        act: Callable[[], Any] = lambda: host.connect_many(ours.NETWORK, names, netns=netns)  # noqa: E731
        if what == "removal":
            ours.make_sure(act(), count)
            act = lambda: host.remove_many(names)  # noqa: E731
        with perf.looking():
            outcomes = act()
        ours.make_sure(outcomes, count)
    shares = perf.shares()
    return Sample(perf.busy / perf.wall, [shares.get(part, 0.0) for part in MEANING])


def measure(settle: Callable[[], None], *, quick: bool) -> dict[str, Any]:
    """Profile all ways; what came out, for JSON.

    Raises:
        NotThere, BenchFailed
    """
    size = groups.QUICK if quick else groups.FULL
    count = max(one for one in size.links if one <= groups.SLOW)
    shares = {}
    for what, title in (("links", "links of one namespace"), ("sandboxes", "sandboxes"), ("removal", "their removal")):
        sample = run_side(Side(title, look, {"what": what, "count": count}))
        settle()
        parts = {part: share for part, share in zip(MEANING, sample.steps, strict=True) if share}
        shares[f"{count:,} {title}"] = {"processors in use": round(100 * sample.value, 1), **parts}
    return {"group": "profile", "title": "Where the time goes", "shares": shares, "meaning": MEANING}
