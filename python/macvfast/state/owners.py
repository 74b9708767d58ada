"""Which operations are at work on a state: a locked file for each, whose name is the token that its intents carry.

The lock says whether the operation goes on; the file's content says, to people, which process it is.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shlex
import sys
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# SQLite's lock of the one who writes, in the file of shared memory (`WAL_WRITE_LOCK`, os_unix.c and wal.c).
_WRITE_LOCK_AT = "120"

_COMMAND_CHARS = 200


class Owner(NamedTuple):
    """A process, what was typed to start it, and since when it has been at it (UTC)."""

    pid: int
    command: str
    since: str

    def __str__(self) -> str:
        """As a person reads it."""
        return f"process {self.pid} (`{self.command}`), since {self.since}"


class Held:
    """The token of an operation, and the file whose lock says that it goes on."""

    def __init__(self) -> None:
        self.token = ""
        self.locked = False
        self.file: io.FileIO | None = None

    def forget(self) -> None:
        """Close the file. Where a fork has it open too, the lock stays."""
        self.locked = False
        if self.file is not None:
            self.file.close()


class Owners:
    """The files of the operations that go on in a state directory.

    Raises (all methods):
        OSError
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, token: str) -> Path:
        """The file of a token; one that leads out of the directory has none."""
        if "/" in token:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), token)
        return self._directory / token

    def take(self, held: Held) -> None:
        """Give an operation a new token and lock its file. Files of dead operations are deleted first.

        Args:
            held: filled step by step, so that `give_up` can end what an interruption leaves.
        """
        for name in self._names():
            self._sweep(name)
        while not held.locked:
            held.token = os.urandom(8).hex()
            held.file = io.FileIO(self.path(held.token), "x+", opener=_private)
            try:
                fcntl.flock(held.file, fcntl.LOCK_EX)
                # Between the two calls another process may have deleted it as a dead operation's.
                if os.fstat(held.file.fileno()).st_nlink:
                    # The content is for people only: on a full disk, the lock still counts.
                    with suppress(OSError):
                        held.file.write(f"{os.getpid()}\n{_typed()}\n{_clock(None)}".encode(errors="replace"))
                    held.locked = True
                else:
                    held.file.close()
            except BaseException:
                self.give_up(held)
                raise

    def _names(self) -> list[str]:
        """The names of all files; the directory is made where it is missing."""
        try:
            return os.listdir(self._directory)
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            return []

    def _sweep(self, name: str) -> None:
        """Delete the file of a dead operation. Under a shared lock, which keeps an owner from locking the file, and
        which nobody takes for an owner's lock.
        """
        try:
            descriptor = os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self.path(name).unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)

    def give_up(self, held: Held) -> None:
        """End an operation, even one that has been ended in part."""
        if held.file is None or held.file.closed:
            return
        # Only the lock counts: where the file cannot be deleted, it may stay.
        with suppress(OSError):
            self.path(held.token).unlink(missing_ok=True)
        # Closing alone would leave the lock with a forked child, which has the descriptor too.
        fcntl.flock(held.file, fcntl.LOCK_UN)
        held.forget()

    def lives(self, token: str) -> bool:
        """Whether the operation still goes on, in this process or another."""
        try:
            descriptor = os.open(self.path(token), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared: two processes that ask at once must not take each other for the owner.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def living(self) -> list[str]:
        """The tokens of all operations that go on, sorted."""
        try:
            names = sorted(os.listdir(self._directory))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [name for name in names if self.lives(name)]

    def owner(self, token: str) -> Owner | None:
        """Who an operation's owner is, as far as its file says."""
        try:
            lines = self.path(token).read_text(encoding="utf-8", errors="replace").split("\n")
            return Owner(int(lines[0]), lines[1], lines[2])
        except (OSError, ValueError, IndexError):
            return None

    def writers(self, shared_memory: Path) -> list[Owner]:
        """The processes that hold SQLite's lock for writing; where that cannot be seen, all that are at work."""
        at_work = [found for token in self.living() if (found := self.owner(token)) is not None]
        pids = set(_holding(shared_memory))
        if not pids:
            return at_work
        known = {one.pid: one for one in at_work}
        return [known.get(pid) or _running(pid) for pid in sorted(pids)]


def _private(path: str, flags: int) -> int:
    """Open a new file with the mode 0600."""
    return os.open(path, flags, 0o600)


def _typed() -> str:
    """What was typed to start this process."""
    return _line(tuple(sys.argv) or ("",))


@lru_cache(1)
def _line(words: tuple[str, ...]) -> str:
    first, *rest = words
    name = "macvfast" if first.endswith("macvfast/__main__.py") else os.path.basename(first)
    return shlex.join([name, *rest])[:_COMMAND_CHARS].replace("\n", " ")


def _running(pid: int) -> Owner:
    """A process that has no file here, with the time when it was started."""
    command, started = "?", 0.0
    with suppress(OSError, ValueError, IndexError, OverflowError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        command = shlex.join([os.path.basename(words[0]), *words[1:]])[:_COMMAND_CHARS]
        ticks = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()[19])
        started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    return Owner(pid, command, _clock(started) if started else "a time unknown")


def _holding(shared_memory: Path) -> Iterator[int]:
    """The processes that have SQLite's lock for writing. The file is not opened: see `directory`."""
    try:
        inode = str(shared_memory.stat().st_ino)
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return
    for line in locks.splitlines():
        words = line.split()
        if words[1:2] == ["POSIX"] and words[5].endswith(f":{inode}") and words[6:] == [_WRITE_LOCK_AT] * 2:
            yield int(words[4])


def _clock(seconds: float | None) -> str:
    """A time as people read it; None: now. `time.time` fails on clocks past 2262."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
