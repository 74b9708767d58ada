"""End a sandbox's command: find it by what its keeper has recorded or, where nothing is, by the keeper's lock."""

from __future__ import annotations

import os
import select
import signal
import time
from errno import ETIMEDOUT
from typing import TYPE_CHECKING

from macvfast.errors import KernelRefused, MacvfastError, StateUnusable
from macvfast.process import given
from macvfast.process.keeper import KILL_S, is_locked, read_status, retire
from macvfast.system import durable, trusted
from macvfast.system.processes import Process, children_of, has_open, named, process_of, send

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from macvfast.process.keeper import Status

# What the kernel calls the program around a command.
_NAME = "macvfast-init"

# The file that notes a stop; `rust/init/src/status.rs` reads it.
STOPPED = "stopped"
_STOPPED_MAX = 64

# How often commands that have been asked to end are looked at: at first, and after some time.
_LOOK_S, _MOST_S = 0.002, 0.05


def kill(directory: Path, boot_id: str, inode: int, *, last: bool = False) -> None:
    """End a sandbox's command with all that it started; returns when pid 1 is dead and the keeper has recorded it.

    Where the status is gone, or names a process that is not the sandbox's, the keeper is found by the lock that it
    holds, and pid 1 as its child. Cost of that: reading the name of every process of the host.

    Args:
        directory: the sandbox's directory.
        boot_id: the current one.
        inode: of its network namespace.
        last: it is the last one: the removal of the sandbox is recorded.

    Raises:
        KernelRefused: it, or its keeper, does not end.
        StateUnusable: its status is damaged, and its keeper cannot be found.
    """
    deadline = time.monotonic() + KILL_S
    search = _Search(directory, inode)
    lets_go = signal.SIGCONT
    while True:
        locked = retire(directory) if last else is_locked(directory)
        status, damage = _status_of(directory, boot_id)
        if status is not None and status.restarts is not None and locked:
            _refuse_restart(directory, status)
        if status is not None:
            _kill(status.init, inode)
        if not locked:
            # No keeper has it, or it is no keeper's lock.
            return
        for keeper in search.keepers(status):
            if keeper.stopped():
                # It records nothing while it is stopped. A terminal that is not its own may stop it again: then kill.
                send(keeper, lets_go)
                lets_go = signal.SIGKILL
        # A keeper is about to start its command, or to record its end.
        if time.monotonic() > deadline:
            raise damage or KernelRefused("end the command", ETIMEDOUT, reason="its keeper does not end")
        time.sleep(0.002)


def _refuse_restart(directory: Path, status: Status) -> None:
    """Have a keeper not run its command again. One that cannot be told so, because the disk is full, is killed: its
    command dies with it.
    """
    try:
        mark(directory, status.boot_id)
    except StateUnusable:
        send(status.keeper, signal.SIGKILL)
    if status.state == "restarting":
        send(status.keeper, signal.SIGTERM)


class Stop:
    """Ends one sandbox's command as it wants to end, and by force when it takes too long.

    Attributes:
        error: why the command could not be ended.

    Args:
        directory: the sandbox's directory.
        boot_id: the current one.
        inode: of its network namespace.
        wait_s: how long it may take; None: as long as it wants.
    """

    def __init__(self, directory: Path, boot_id: str, inode: int, wait_s: float | None) -> None:
        self._place = (directory, boot_id, inode)
        self._deadline = None if wait_s is None else time.monotonic() + wait_s
        self._asked: Process | None = None
        self.error: MacvfastError | None = None

    def look(self) -> bool:
        """Do what is to be done now; whether the command has ended and its keeper has recorded that."""
        directory, boot_id, inode = self._place
        status, _ = _status_of(directory, boot_id)
        try:
            if not is_locked(directory):
                if _has_policy(directory):
                    # `restore` shall not start it either.
                    mark(directory, boot_id)
                return True
            self._mark(status)
            if self._deadline is not None and time.monotonic() >= self._deadline:
                kill(directory, boot_id, inode)
                return True
        except MacvfastError as error:
            self.error = error
            return True
        # A keeper that is about to start its command is looked at again.
        if status is not None and status.state == "restarting":
            send(status.keeper, signal.SIGTERM)
        elif status is not None and status.init != self._asked and status.init.is_in(inode):
            self._asked = status.init
            send(status.init, signal.SIGTERM)
        return False

    def _mark(self, status: Status | None) -> None:
        """Note the stop, again where a keeper that started a command has forgotten an earlier one. On a full disk only
        a command without a restart policy is ended: a keeper would run another one again.
        """
        try:
            mark(*self._place[:2])
        except StateUnusable:
            if status is not None and status.restarts is not None:
                raise


def _has_policy(directory: Path) -> bool:
    try:
        kept = given.kept_in(directory)
    except StateUnusable:
        return False
    return kept is not None and kept[0].restart != "no"


def mark(directory: Path, boot_id: str) -> None:
    """Note durably that somebody asked, in this boot, that a sandbox's command ends and is not run again.

    Raises:
        StateUnusable
    """
    if stopped_in(directory) == boot_id:
        return
    try:
        durable.replace(directory / STOPPED, f"{boot_id}\n".encode())
    except OSError as error:
        raise StateUnusable(str(directory), f"cannot note the stop: {error.strerror or error}") from None


def stop_all(stops: Sequence[Stop]) -> None:
    """Carry out all, at the same time."""
    left = list(stops)
    pause_s = _LOOK_S
    while left := [one for one in left if not one.look()]:
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _MOST_S)


def stopped_in(directory: Path) -> str | None:
    """The boot in which somebody asked that a sandbox's command ends; None: nobody did since it was started."""
    try:
        return trusted.read(directory / STOPPED, _STOPPED_MAX).decode("ascii", errors="replace").strip()
    except OSError:
        return None


def _status_of(directory: Path, boot_id: str) -> tuple[Status | None, StateUnusable | None]:
    """The status that is recorded in this boot, or why it cannot be read."""
    try:
        status = read_status(directory)
    except StateUnusable as error:
        return None, error
    return (status if status is not None and status.boot_id == boot_id else None), None


class _Search:
    """Finds the processes that hold the lock of a directory; searches again after a pause that doubles."""

    def __init__(self, directory: Path, inode: int) -> None:
        self._lock = directory / "lock"
        self._inode = inode
        self._next = 0.0
        self._pause_s = 0.05

    def keepers(self, status: Status | None) -> list[Process]:
        """The keepers: the recorded one, or else those that are found. The pid 1 of each is killed at once, whatever is
        recorded of it.
        """
        try:
            lock = os.stat(self._lock)
        except OSError:
            return []
        if status is not None and has_open(status.keeper.pid, lock):
            found = [status.keeper]
        elif time.monotonic() < self._next:
            return []
        else:
            self._next = time.monotonic() + self._pause_s
            self._pause_s *= 2
            found = [process_of(pid) for pid in named(_NAME) if has_open(pid, lock)]
        for keeper in found:
            for child in children_of(keeper):
                _kill(child, self._inode)
        return found


def _kill(process: Process, inode: int) -> None:
    """Kill a process and wait until it is dead. One in another network namespace is not the sandbox's, and is left."""
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
