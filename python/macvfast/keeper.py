"""What the native program around a sandbox's command recorded, and how it is ended; `launch` starts it.

The program (`rust/init`) runs as two processes, pid 1 inside the sandbox and a keeper outside; what it records lies
in the sandbox's folder of the state directory. A pid is believed only with its start time.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from errno import ETIMEDOUT
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast import trusted
from macvfast.errors import KernelRefused, RootfsInvalid, StateUnusable
from macvfast.model import SandboxState
from macvfast.roots import Root

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# How long a killed pid 1, and then its keeper, may take to be gone. SIGKILL is not refused: only a stuck kernel is
# slower.
KILL_S = 10.0

# A pid is below PID_MAX_LIMIT (linux/threads.h).
PID_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Process:
    """A process, named so that its pid cannot mean another: pid and start time (clock ticks since boot, proc(5))."""

    pid: int
    start_time: int

    def alive(self) -> bool:
        """Whether it is there and no zombie."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] not in ("Z", "X") and int(fields[19]) == self.start_time

    def stopped(self) -> bool:
        """Whether it is there and does nothing until somebody lets it go on: Ctrl-Z, SIGSTOP, a debugger."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] in ("T", "t") and int(fields[19]) == self.start_time

    def is_in(self, inode: int) -> bool:
        """Whether it is in the network namespace of that number. Where that may not be seen, whether it is all root's
        or this user's.
        """
        try:
            return os.stat(f"/proc/{self.pid}/ns/net").st_ino == inode
        except PermissionError:
            lines = [line.split() for line in _lines(f"/proc/{self.pid}/status")]
            uids = next((words[1:] for words in lines if words[:1] == ["Uid:"]), [])
            return bool(uids) and {int(uid) for uid in uids} <= {0, os.geteuid()}
        except OSError:
            return False

    def open(self) -> int | None:
        """A pidfd of it; None if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive():
            return descriptor
        os.close(descriptor)
        return None


@dataclass(frozen=True, slots=True)
class Status:
    """What the keeper recorded of a command."""

    boot_id: str
    keeper: Process
    init: Process
    state: str
    exit_code: int | None


# More than two statuses take, of which one waits for the end of a guest.
_STATUS_MAX = 4096

# What the kernel calls the program (comm has 15 characters).
_NAME = "macvfast-init"


# Between the status of a command that is a guest (`exec` where nothing ran) and the one that counts again after it.
_BEFORE = "\nbefore\n"


def read_status(directory: Path) -> Status | None:
    """The recorded status of what was last started in a sandbox; None where nothing was, or only guests that have
    ended.
    """
    text = _read(directory)
    return _parse(directory, text.partition(_BEFORE)[0]) if text else None


def _read(directory: Path) -> str:
    try:
        text = trusted.read(directory / "status", _STATUS_MAX).decode("ascii", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StateUnusable(str(directory), f"cannot read its status: {error.strerror or error}") from None
    if not text:
        # That a command runs is not synced: this is what a crash can leave of it.
        raise StateUnusable(str(directory), "its status file is empty")
    return text


def _parse(directory: Path, text: str) -> Status:
    fields = {key: rest.split() for key, _, rest in (line.partition(" ") for line in text.splitlines())}
    try:
        ended = fields["state"][0] == "exited"
        return Status(
            boot_id=fields["boot"][0],
            keeper=_process(fields["keeper"]),
            init=_process(fields["init"]),
            state=fields["state"][0],
            exit_code=int(fields["exit"][0]) if ended else None,
        )
    except (KeyError, IndexError, ValueError):
        raise StateUnusable(str(directory), "its status file is damaged") from None


def _process(words: Sequence[str]) -> Process:
    """A pid and a start time, as recorded.

    Raises:
        IndexError, ValueError: they are none.
    """
    pid, start_time = int(words[0]), int(words[1])
    if not 0 <= pid <= PID_MAX or start_time < 0:
        raise ValueError
    return Process(pid, start_time)


def root_of_command(directory: Path, inode: int) -> Root | None:
    """The root of the command that runs in a sandbox, to be closed; None where none does.

    Args:
        directory: the sandbox's folder.
        inode: of its network namespace.

    Raises:
        StateUnusable, RootfsInvalid
    """
    status = read_status(directory)
    if status is None or not status.init.alive():
        return None
    try:
        root = Root(f"/proc/{status.init.pid}/root")
    except RootfsInvalid:
        if status.init.alive():
            raise
        return None
    # Only now it is known whose it is.
    if status.init.is_in(inode) and status.init.alive():
        return root
    root.close()
    return None


class Patience:
    """How long to wait, all in all, for keepers that are about to say how their commands ended; one for a list."""

    def __init__(self, seconds: float = KILL_S) -> None:
        self._left_s = seconds

    def wait(self, keeper: Process, until: Callable[[], bool]) -> None:
        """Wait until it is so, or the keeper is dead, or stopped, or patience is at its end."""
        begun = time.monotonic()
        while keeper.alive() and not keeper.stopped() and not until():
            if time.monotonic() - begun >= self._left_s:
                break
            time.sleep(0.002)
        self._left_s -= time.monotonic() - begun


def state(directory: Path, boot_id: str, patience: Patience | None = None) -> tuple[SandboxState, int | None]:
    """What a sandbox's command does now, and its exit status where it has ended by itself; lost, where its status is
    damaged, or its keeper does not say how it ended.
    """
    try:
        return _state(directory, boot_id, patience or Patience())
    except StateUnusable:
        return SandboxState.LOST, None


def _state(directory: Path, boot_id: str, patience: Patience) -> tuple[SandboxState, int | None]:
    text, guest, before = _read(directory).partition(_BEFORE)
    if guest:
        status = _parse(directory, text)
        if status.boot_id == boot_id and status.init.alive():
            return SandboxState.RUNNING, None
        if status.boot_id == boot_id:
            # Until its keeper has said so, it may still write what the command has shown.
            patience.wait(status.keeper, lambda: _BEFORE not in _read(directory))
        text = before
    if not text:
        return SandboxState.IDLE, None
    status = _parse(directory, text)
    if status.state == "exited":
        return SandboxState.EXITED, status.exit_code
    if status.state == "running" and status.boot_id == boot_id and status.init.alive():
        return SandboxState.RUNNING, None
    if status.state == "running" and status.boot_id == boot_id and status.keeper.alive():
        # pid 1 has just ended and the keeper is about to say how: look again.
        patience.wait(status.keeper, lambda: _state_of(directory) != "running")
        fresh = read_status(directory)
        if fresh is not None and fresh.state == "exited":
            return SandboxState.EXITED, fresh.exit_code
    return SandboxState.LOST, None


def own_command_runs(directory: Path, boot_id: str) -> bool:
    """Whether the sandbox's own command runs, which a guest is not."""
    try:
        status = _parse(directory, _read(directory).rpartition(_BEFORE)[2])
    except StateUnusable:
        return False
    return status.state == "running" and status.boot_id == boot_id and status.init.alive()


def hold(directory: Path) -> int:
    """Take the lock of a keeper that is yet to come; a descriptor of it.

    Raises:
        StateUnusable
    """
    try:
        descriptor = trusted.open_file(directory / "lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StateUnusable(str(directory), f"cannot open its lock: {error.strerror or error}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StateUnusable(str(directory), f"cannot lock it: {error.strerror or error}") from None
    return descriptor


def will_not_come(directory: Path) -> bool:
    """Whether nobody is about to start a sandbox's command, or waits for its end any more."""
    return _is_unlocked(directory)


def is_hidden(directory: Path) -> bool:
    """Whether a keeper is there of which no status says anything: it starts its command, or its status is gone or
    damaged.
    """
    try:
        if read_status(directory) is not None:
            return False
    except StateUnusable:
        pass
    try:
        return not _is_unlocked(directory)
    except StateUnusable:
        return False


def has_run(directory: Path) -> bool:
    """Whether a command was ever started in a sandbox, by its folder."""
    return os.path.exists(directory / "lock")


def kill(directory: Path, boot_id: str, inode: int) -> None:
    """End a sandbox's command with all that it started: done when pid 1 is dead and the keeper has recorded it.

    Where the status is gone, or names what is not the sandbox's, the keeper is known by the lock that it holds, and
    pid 1 by the keeper. Cost of that: a look at the name of every process of the host.

    Args:
        directory: the sandbox's folder.
        boot_id: of now.
        inode: of its network namespace.

    Raises:
        KernelRefused: it would not die.
        StateUnusable: its status is damaged, and a keeper is there that cannot be found.
    """
    deadline = time.monotonic() + KILL_S
    search = _Search(directory, inode)
    lets_go = signal.SIGCONT
    while True:
        unlocked = _is_unlocked(directory)
        status, damage = _status_of(directory, boot_id)
        if status is not None:
            _kill(status.init, inode)
        if unlocked:
            return
        for keeper in search.keepers(status):
            if keeper.stopped():
                # It would not say so until it goes on; stopped once more, by a terminal in other hands, not at all.
                _send(keeper, lets_go)
                lets_go = signal.SIGKILL
        # Otherwise a keeper is about to start its command, or to record its end.
        if time.monotonic() > deadline:
            if damage is not None:
                raise damage
            return
        time.sleep(0.002)


def _status_of(directory: Path, boot_id: str) -> tuple[Status | None, StateUnusable | None]:
    """What is recorded of this boot, or why that cannot be read."""
    try:
        status = read_status(directory)
    except StateUnusable as error:
        return None, error
    return (status if status is not None and status.boot_id == boot_id else None), None


class _Search:
    """Finds whoever holds the lock of a folder, now and then: it may be about to take it, or to let go of it."""

    def __init__(self, directory: Path, inode: int) -> None:
        self._lock = directory / "lock"
        self._inode = inode
        self._next = 0.0
        self._pause_s = 0.05

    def keepers(self, status: Status | None) -> list[Process]:
        """The keepers: the one that is recorded, or else those that are found, whose pid 1 is killed at once."""
        try:
            lock = os.stat(self._lock)
        except OSError:
            return []
        if status is not None and _has_open(status.keeper.pid, lock):
            return [status.keeper]
        if time.monotonic() < self._next:
            return []
        self._next = time.monotonic() + self._pause_s
        self._pause_s *= 2
        found = [_process_of(pid) for pid in _keepers() if _has_open(pid, lock)]
        for keeper in found:
            for child in _words(f"/proc/{keeper.pid}/task/{keeper.pid}/children"):
                _kill(_process_of(int(child)), self._inode)
        return found


def _keepers() -> list[int]:
    """The pids of all that may be keepers, by their names."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _words(f"/proc/{pid}/comm") == [_NAME]]


def _process_of(pid: int) -> Process:
    """A process as it is now; one that is gone is no process that ever lives."""
    fields = _stat(pid)
    return Process(pid, 0 if fields is None else int(fields[19]))


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Whether a process has a file open."""
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{descriptor}"), file):
                    return True
    except OSError:
        pass
    return False


def _words(path: str) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _send(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process, if it is there."""
    descriptor = process.open()
    if descriptor is not None:
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)


def _kill(process: Process, inode: int) -> None:
    """Kill a process and wait until it is dead, if it is in that network namespace: nobody else's is a sandbox's."""
    descriptor = process.open()
    if descriptor is None:
        return
    try:
        if not process.is_in(inode):
            return
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        # poll, which has no limit of 1,024 descriptors.
        death = select.poll()
        death.register(descriptor, select.POLLIN)
        if not death.poll(KILL_S * 1000):
            raise KernelRefused(f"end process {process.pid}", ETIMEDOUT, reason="it does not die")
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def remove(directory: Path) -> None:
    """Delete a sandbox's folder with its status, log and files; one that is gone already stays so, and so does one
    where others may have put it.
    """
    with suppress(OSError), ExitStack() as stack:
        above = trusted.open_folder(directory.parent.parent)
        stack.callback(os.close, above)
        home = trusted.open_folder(directory.parent.name, dir_fd=above)
        stack.callback(os.close, home)
        shutil.rmtree(directory.name, ignore_errors=True, dir_fd=home)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may hold spaces and parentheses; the state comes first."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(") ")[2].split()


def _state_of(directory: Path) -> str:
    status = read_status(directory)
    return "" if status is None else status.state


def _is_unlocked(directory: Path) -> bool:
    """Whether no keeper is there: it holds the lock until it has recorded how its command ended."""
    try:
        descriptor = trusted.open_file(directory / "lock")
    except FileNotFoundError:
        return True
    except OSError as error:
        raise StateUnusable(str(directory), f"cannot open its lock: {error.strerror or error}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
