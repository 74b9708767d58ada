"""Another user of the machine, without any rights, who tries what a user can try, and tells what he should not get."""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import signal
import stat
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.torture.owner import NOBODY, taken_descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# How many descriptors he keeps at most, and how long he pauses: root needs the processors, too.
KEEPS = 400
PAUSE_S = 0.002


class User:
    """He knows the paths and pids of macvfast's by name, as if somebody had told him.

    Args:
        directory: his own.
        told: a file that root writes: what there is by now.
        tell: takes what he got and should not have.
    """

    def __init__(self, directory: Path, told: Path, chance: random.Random, tell: Callable[[str], None]) -> None:
        self.directory = directory
        self.told = told
        self.chance = chance
        self.tell = tell
        self.did = Counter[str]()
        self._kept: list[int] = []
        self._made = 0

    def step(self) -> None:
        """Try one thing, at a path or a process of macvfast's."""
        known = json.loads(self.told.read_text(encoding="utf-8"))
        way = self.chance.choice((self._look, self._write, self._lock, self._lock, self._put, self._link))
        of_processes = self.chance.choice((self._hold, self._hold, self._take_a_socket, self._signal))
        with suppress(OSError):
            if known["pids"] and self.chance.random() < 0.5:
                of_processes(self.chance.choice(known["pids"]))
            else:
                way(Path(self.chance.choice(known["paths"])))

    def _keep(self, descriptor: int) -> None:
        self._kept.append(descriptor)
        if len(self._kept) > KEEPS:
            os.close(self._kept.pop(self.chance.randrange(KEEPS)))

    # With paths.

    def _look(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._keep(descriptor)
        self.did["opened"] += 1
        if not is_public(path):
            self.tell(f"could open {path}")

    def _write(self, path: Path) -> None:
        with suppress(IsADirectoryError):
            self._keep(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            self.tell(f"could open {path} for writing")

    def _lock(self, path: Path) -> None:
        """A lock that he keeps: who waits for it waits for him."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._keep(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.did["locked"] += 1

    def _put(self, path: Path) -> None:
        """Something of his own, in a directory or in the place of a file."""
        forged = self.directory / "status"
        forged.write_text(json.dumps({"pid": os.getpid(), "started": 1, "ended": None}), encoding="utf-8")
        where = path / "status" if path.is_dir() else path
        os.rename(forged, where)
        self.tell(f"could put {where} there")

    def _link(self, path: Path) -> None:
        """To it from where he may, and from it to his own."""
        self._made += 1
        (self.directory / f"to{self._made}").symlink_to(path)
        where = path / f"his{self._made}" if path.is_dir() else path
        where.symlink_to(self.directory)
        self.tell(f"could make the link {where}")

    # With processes.

    def _hold(self, pid: int) -> None:
        """The network namespace of a command that runs as the same user: it lives as long as he likes."""
        self._keep(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))
        self.did["held a namespace"] += 1

    def _take_a_socket(self, pid: int) -> None:
        for number in map(int, os.listdir(f"/proc/{pid}/fd")):
            if stat.S_ISSOCK(os.stat(f"/proc/{pid}/fd/{number}").st_mode):
                self._keep(taken_descriptor(pid, number))
                self.did["took a socket"] += 1

    def _signal(self, pid: int) -> None:
        # None that ends it: that would end what root joins to it, too.
        os.kill(pid, self.chance.choice((signal.SIGSTOP, signal.SIGCONT, signal.SIGWINCH)))
        self.did["sent a signal"] += 1
        if os.stat(f"/proc/{pid}").st_uid != NOBODY:
            self.tell(f"could send process {pid} a signal")


def is_public(path: Path) -> bool:
    """Whether every user may read it: a sandbox's own files in /etc, its pin, and where those lie."""
    public = ("/run/netns", "/run/macvfast", "/etc/netns")
    return "etc" in path.parts[3:] or any(path.is_relative_to(one) for one in public)


class Running:
    """The user's process, from its start until it lets go of all that it holds."""

    def __init__(self, directory: Path, told: Path, seed: int) -> None:
        own = directory / "his"
        own.mkdir()
        os.chown(own, NOBODY, NOBODY)
        self._said, says = os.pipe()
        ends, self._end = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(says)
            os.close(ends)
            return
        status = 1
        try:
            os.close(self._said)
            os.close(self._end)
            _become_nobody(keep=(says, ends))
            user = User(own, told, random.Random(seed), lambda line: _write_line(says, line))
            while not select.select([ends], [], [], PAUSE_S)[0]:
                user.step()
            _write_line(says, f"did {json.dumps(user.did)}")
            status = 0
        except BaseException:  # noqa: BLE001 - this process goes no further
            traceback.print_exc()
        finally:
            os._exit(status)

    def stop(self) -> tuple[Counter[str], list[str]]:
        """Have it let go; what it did, and what it got that it should not have."""
        os.close(self._end)
        with os.fdopen(self._said, encoding="utf-8") as said:
            lines = said.read().splitlines()
        assert os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == 0
        did = [line.removeprefix("did ") for line in lines if line.startswith("did ")]
        return Counter(json.loads(did[0])), sorted({line for line in lines if not line.startswith("did ")})


def _become_nobody(keep: Sequence[int]) -> None:
    """Nothing of root's stays open."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            with suppress(OSError):
                os.close(int(name))
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _write_line(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())
