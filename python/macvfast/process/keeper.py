"""What the native program around a sandbox's command has recorded; `launch` starts it, `stopping` ends it.

The program (`rust/init`) runs as two processes: pid 1 inside the sandbox, and a keeper outside. It records in the
sandbox's directory of the state directory. A pid counts only together with its start time.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from macvfast.errors import RootfsInvalid, StateUnusable
from macvfast.model import SandboxState
from macvfast.process.rootfs import Root
from macvfast.system import trusted
from macvfast.system.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# How long a killed pid 1, and then its keeper, may take to end. SIGKILL cannot be refused: only a stuck kernel takes
# longer.
KILL_S = 10.0

# How long `is_locked` of another process may have a lock.
_LOOKING_S = 0.02

# A pid is below PID_MAX_LIMIT (linux/threads.h).
PID_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Status:
    """What the keeper recorded of a command."""

    boot_id: str
    keeper: Process
    init: Process
    state: str
    exit_code: int | None
    # How often a command with a restart policy was run again; None: it has none.
    restarts: int | None = None


# More than two statuses take, of which one waits for the end of a guest.
_STATUS_MAX = 4096

# Between the status of a command that is a guest (`exec` where nothing ran) and the one that counts again after it.
_BEFORE = "\nbefore\n"


def read_status(directory: Path) -> Status | None:
    """The recorded status of the last command started in a sandbox; None: nothing was started, or only guests, which
    have ended.
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
        # The status of a running command is not synced: a crash can leave this of it.
        raise StateUnusable(str(directory), "its status file is empty")
    return text


def _parse(directory: Path, text: str) -> Status:
    fields = {key: rest.split() for key, _, rest in (line.partition(" ") for line in text.splitlines())}
    try:
        ended = fields["state"][0] in ("exited", "restarting")
        return Status(
            boot_id=fields["boot"][0],
            keeper=_process(fields["keeper"]),
            init=_process(fields["init"]),
            state=fields["state"][0],
            exit_code=int(fields["exit"][0]) if ended else None,
            restarts=int(fields["restarts"][0]) if "restarts" in fields else None,
        )
    except (KeyError, IndexError, ValueError):
        raise StateUnusable(str(directory), "its status file is damaged") from None


def _process(words: Sequence[str]) -> Process:
    """A pid and a start time, as recorded.

    Raises:
        IndexError, ValueError: they are invalid.
    """
    pid, start_time = int(words[0]), int(words[1])
    if not 0 <= pid <= PID_MAX or start_time < 0:
        raise ValueError
    return Process(pid, start_time)


def root_of_command(directory: Path, inode: int) -> Root | None:
    """The root of the command that runs in a sandbox, which the caller closes; None where none runs.

    Args:
        directory: the sandbox's directory.
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
    # Only now is it known whose root it is.
    if status.init.is_in(inode) and status.init.alive():
        return root
    root.close()
    return None


class Patience:
    """How long to wait, in total, for keepers that are about to record how their commands ended."""

    def __init__(self, seconds: float = KILL_S) -> None:
        self._left_s = seconds

    def wait(self, keeper: Process, until: Callable[[], bool]) -> None:
        """Wait until a condition holds, the keeper is dead or stopped, or no time is left."""
        begun = time.monotonic()
        while keeper.alive() and not keeper.stopped() and not until():
            if time.monotonic() - begun >= self._left_s:
                break
            time.sleep(0.002)
        self._left_s -= time.monotonic() - begun


def state(directory: Path, boot_id: str, patience: Patience | None = None) -> tuple[SandboxState, int | None]:
    """What a sandbox's command does now, and its exit status if its keeper recorded one; lost: its status is damaged,
    or its keeper did not record how it ended.
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
            # Until its keeper has recorded the end, it may still write output to the log.
            patience.wait(status.keeper, lambda: _BEFORE not in _read(directory))
        text = before
    if not text:
        return SandboxState.IDLE, None
    status = _parse(directory, text)
    if (ended := _ended(status, boot_id)) is not None:
        return ended
    running = status.state == "running" and status.boot_id == boot_id
    if running and status.init.alive():
        return SandboxState.RUNNING, None
    if running and status.keeper.alive():
        # pid 1 has just ended, and the keeper is about to record how.
        patience.wait(status.keeper, lambda: read_status(directory) != status)
        fresh = read_status(directory)
        if fresh is not None and fresh.init != status.init and fresh.init.alive():
            # It is run again by now.
            return SandboxState.RUNNING, None
        if fresh is not None and (ended := _ended(fresh, boot_id)) is not None:
            return ended
    return SandboxState.LOST, None


def _ended(status: Status, boot_id: str) -> tuple[SandboxState, int | None] | None:
    """What a status says of a command that has ended; None: it does not say how."""
    if status.state == "exited":
        return SandboxState.EXITED, status.exit_code
    if status.state == "restarting" and status.boot_id == boot_id and status.keeper.alive():
        return SandboxState.RESTARTING, status.exit_code
    return None


def own_command_runs(directory: Path, boot_id: str) -> bool:
    """Whether a sandbox's own command runs; a guest is not that."""
    try:
        status = _parse(directory, _read(directory).rpartition(_BEFORE)[2])
    except StateUnusable:
        return False
    return status.state == "running" and status.boot_id == boot_id and status.init.alive()


def hold(directory: Path) -> int | None:
    """Take the lock of a keeper that is about to start; a descriptor of it. None: another keeper has it.

    Raises:
        StateUnusable
    """
    try:
        descriptor = trusted.open_file(directory / "lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StateUnusable(str(directory), f"cannot open its lock: {error.strerror or error}") from None
    deadline = time.monotonic() + _LOOKING_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(0.001)
        except OSError as error:
            os.close(descriptor)
            raise StateUnusable(str(directory), f"cannot lock it: {error.strerror or error}") from None
        else:
            return descriptor


def is_absent(directory: Path) -> bool:
    """Whether a sandbox's keeper neither runs nor is about to start. False where its lock cannot be trusted: one such
    sandbox keeps nobody from treating the others.
    """
    return is_locked(directory) is False


def lacks_status(directory: Path) -> bool:
    """Whether a keeper has no usable status: it is starting its command, or its status is gone or damaged."""
    try:
        if read_status(directory) is not None:
            return False
    except StateUnusable:
        pass
    return is_locked(directory) is True


def has_run(directory: Path) -> bool:
    """Whether a command was ever started in a sandbox, by its directory."""
    return os.path.exists(directory / "lock")


def remove(directory: Path) -> None:
    """Delete a sandbox's directory with its status, log and files. One that is gone is no error, and one that others
    may have put there stays.
    """
    with suppress(OSError), ExitStack() as stack:
        above = trusted.open_directory(directory.parent.parent)
        stack.callback(os.close, above)
        home = trusted.open_directory(directory.parent.name, dir_fd=above)
        stack.callback(os.close, home)
        shutil.rmtree(directory.name, ignore_errors=True, dir_fd=home)


def is_locked(directory: Path) -> bool | None:
    """Whether there is a keeper: one holds the lock until it has recorded how its command ended. None where the file
    cannot be trusted, and so is no keeper's.
    """
    return _locked(directory, lambda: None)


def retire(directory: Path) -> bool | None:
    """The same. Where there is no keeper, there will be none: the lock is deleted while nobody else has it, and a
    command that was to join another one finds that.
    """
    return _locked(directory, lambda: (directory / "lock").unlink(missing_ok=True))


def _locked(directory: Path, when_free: Callable[[], object]) -> bool | None:
    """Whether there is a keeper; otherwise something is done while there cannot be one."""
    try:
        descriptor = trusted.open_file(directory / "lock")
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        with suppress(OSError):
            when_free()
        return False
    finally:
        os.close(descriptor)
