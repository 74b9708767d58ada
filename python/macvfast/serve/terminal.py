"""Standard streams of a worker where they are the terminal of its caller."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from macvfast.system.processes import is_orphaned, stat_of, status_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# How often to look whether the caller is in the background.
_LOOK_S = 0.1

# How often to look whether a signal has arrived.
_SOON_S = 0.002

# /dev/tty: the controlling terminal, whichever that is.
_OWN = os.makedev(5, 0)


class _State(NamedTuple):
    """A process, and the signal that is to stop it in the background.

    Attributes:
        stopped: it is.
        pending: the signal waits for it.
        refuses: it ignores or blocks the signal.
    """

    stopped: bool
    pending: bool
    refuses: bool


class CallersTerminal(io.RawIOBase):
    """Reads the terminal while the caller is in its foreground.

    The kernel stops a process in the background that reads from its terminal. A worker, which has no terminal, would be
    let read, and take what is typed for a shell: it has its caller stopped instead.

    Args:
        caller: its pid.
    """

    def __init__(self, caller: int) -> None:
        super().__init__()
        self._caller = caller

    def fileno(self) -> int:
        """That of standard input."""
        return 0

    def readable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """It is one."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Wait for input, and read it.

        Raises:
            OSError: the caller is in the background and is not stopped by that (EIO).
        """
        while True:
            can_read = bool(select.select([0], [], [], _LOOK_S)[0])
            group = _in_the_background(self._caller, 0)
            if group is not None:
                # Who cannot be stopped must not read, either.
                if not _have_it_stopped(self._caller, group, signal.SIGTTIN):
                    raise _eio()
            elif can_read:
                return os.readv(0, [buffer])


class CallersScreen(io.FileIO):
    """Writes to the terminal; after `stty tostop`, while the caller is in its foreground: as with reading, the kernel
    would stop the caller, and not a worker.

    Args:
        number: of standard output or standard error.
        caller: its pid.
    """

    def __init__(self, number: int, caller: int) -> None:
        # What is closed here must not close the caller's stream while another one is at work.
        super().__init__(number, "wb", closefd=False)
        self._number = number
        self._caller = caller

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what the terminal takes.

        Raises:
            OSError: nobody could let the caller go on (EIO).
        """
        while _stops_writers(self._number) and (group := _in_the_background(self._caller, self._number)) is not None:
            if not _have_it_stopped(self._caller, group, signal.SIGTTOU):
                break
        return super().write(data)


def _stops_writers(number: int) -> bool:
    """Whether a terminal stops those in the background that write to it."""
    with suppress(termios.error):
        return bool(termios.tcgetattr(number)[3] & termios.TOSTOP)
    return False


def _have_it_stopped(caller: int, group: int, number: signal.Signals) -> bool:
    """Have the kernel stop the caller's process group, and wait until the caller goes on; false: the caller ignores or
    blocks the signal.

    Raises:
        OSError: nobody could let its group go on (EIO, as read(2) and write(2) have it).
    """
    try:
        if _state_of(caller, number).refuses:
            return False
        # The kernel drops the signal where the group is orphaned.
        if is_orphaned(group):
            raise _eio()
        os.killpg(group, number)
        while _state_of(caller, number).pending:
            time.sleep(_SOON_S)
        # It may have taken the signal without being stopped yet. If it is stopped only after this look, the next
        # look finds it in the background again.
        while _state_of(caller, number).stopped:
            time.sleep(_LOOK_S)
    except (FileNotFoundError, ProcessLookupError):
        # It has ended, and this process ends with it.
        pass
    return True


def _eio() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def _state_of(pid: int, number: signal.Signals) -> _State:
    """How a process is, by what becomes of a signal.

    Raises:
        FileNotFoundError: it has ended.
    """
    fields = status_of(pid)

    def has(*names: str) -> bool:
        return any(int(fields[name], 16) >> (number - 1) & 1 for name in names)

    stopped = fields["State"].split()[0] in ("T", "t")
    return _State(stopped, pending=has("SigPnd", "ShdPnd") and not stopped, refuses=has("SigIgn", "SigBlk"))


def _in_the_background(pid: int, stream: int) -> int | None:
    """The process group of a process that is in the background of the terminal at a standard stream; None: it is not,
    or has another terminal.
    """
    fields = stat_of(pid)
    if fields is None:
        return None
    _, _, group, _, terminal, foreground, *_ = fields
    device = os.fstat(stream).st_rdev
    number = int(terminal) & 0xFFFFFFFF
    own = os.makedev(number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)
    return int(group) if device in (own, _OWN) and group != foreground else None
