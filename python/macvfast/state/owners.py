"""Who is at work on a state: a locked file per operation, which its intents name.

The lock says whether the operation goes on; what stands in the file says, to people, who it is.
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
    """What an operation is known by: its token, and the file whose lock says that it goes on."""

    def __init__(self) -> None:
        self.token = ""
        self.locked = False
        self.file: io.FileIO | None = None

    def forget(self) -> None:
        """Close the file. Its lock stays with whoever else has it open, by a fork."""
        self.locked = False
        if self.file is not None:
            self.file.close()


class Owners:
    """The files of the operations that go on in a state directory.

    Raises (all methods):
        OSError
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, token: str) -> Path:
        """Where an operation's file lies; a token that leads out of their folder has none."""
        if "/" in token:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), token)
        return self._folder / token

    def take(self, held: Held) -> None:
        """Give an operation a new token, and lock its file. What the dead left is taken away first.

        Args:
            held: nothing yet. Whoever is interrupted here gives it up, however far it has come.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for name in os.listdir(self._folder):
            self._sweep(name)
        while not held.locked:
            held.token = os.urandom(8).hex()
            held.file = io.FileIO(self.path(held.token), "x+", opener=_private)
            try:
                fcntl.flock(held.file, fcntl.LOCK_EX)
                # Between the two calls another process may have taken it for a dead one's, and away.
                if os.fstat(held.file.fileno()).st_nlink:
                    # Who it is, is for people: the lock counts, also where the disk is full.
                    with suppress(OSError):
                        held.file.write("\n".join(map(str, _myself())).encode(errors="replace"))
                    held.locked = True
                else:
                    held.file.close()
            except BaseException:
                self.give_up(held)
                raise

    def _sweep(self, name: str) -> None:
        """Take away the file of an operation that is dead; under a lock that keeps its maker from having it meanwhile,
        and that nobody else takes for an owner's.
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
        """End an operation, also one that has been ended in part."""
        if held.file is None or held.file.closed:
            return
        # The lock alone says who lives: the file may stay where it cannot be deleted.
        with suppress(OSError):
            self.path(held.token).unlink(missing_ok=True)
        # Closing would leave it with a forked child that has the descriptor, too.
        fcntl.flock(held.file, fcntl.LOCK_UN)
        held.forget()

    def lives(self, token: str) -> bool:
        """Whether the operation still goes on, in this process or another."""
        try:
            descriptor = os.open(self.path(token), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two who ask at once do not take each other for the owner.
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
            names = sorted(os.listdir(self._folder))
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
        """Who writes to the state now, with SQLite's lock; where that cannot be seen, all who are at work."""
        at_work = [found for token in self.living() if (found := self.owner(token)) is not None]
        pids = set(_holding(shared_memory))
        if not pids:
            return at_work
        known = {one.pid: one for one in at_work}
        return [known.get(pid) or _running(pid) for pid in sorted(pids)]


def _private(path: str, flags: int) -> int:
    """Open a new file that is this user's alone."""
    return os.open(path, flags, 0o600)


def _myself() -> Owner:
    first, *rest = sys.argv or [""]
    name = "macvfast" if first.endswith("macvfast/__main__.py") else os.path.basename(first)
    return Owner(os.getpid(), shlex.join([name, *rest])[:_COMMAND_CHARS].replace("\n", " "), _clock(None))


def _running(pid: int) -> Owner:
    """A process of whom no file of ours tells: since when it has been running."""
    command, started = "?", 0.0
    with suppress(OSError, ValueError, IndexError, OverflowError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        command = shlex.join([os.path.basename(words[0]), *words[1:]])[:_COMMAND_CHARS]
        ticks = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()[19])
        started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    return Owner(pid, command, _clock(started) if started else "a time unknown")


def _holding(shared_memory: Path) -> Iterator[int]:
    """The processes that have SQLite's lock for writing; nothing is opened, see `place`."""
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
    """A time as people read it; None: now, which `time.time` does not give for every clock (not past 2262)."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
