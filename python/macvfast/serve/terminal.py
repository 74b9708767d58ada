"""Standard input of a worker where it is the terminal of its caller."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

from macvfast.system.processes import is_orphaned, stat_of, status_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# How often to look whether the caller is in the background.
_LOOK_S = 0.1

# How often to look whether a signal has arrived.
_SOON_S = 0.002

# /dev/tty: the controlling terminal, whichever that is.
_OWN = os.makedev(5, 0)


class _State(NamedTuple):
    """A process, and what is to stop it in the background: SIGTTIN.

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
            group = _in_the_background(self._caller)
            if group is not None:
                _have_it_stopped(self._caller, group)
            elif can_read:
                return os.readv(0, [buffer])


def _have_it_stopped(caller: int, group: int) -> None:
    """Have the kernel stop the caller's process group, and wait until the caller goes on.

    Raises:
        OSError: it ignores or blocks the signal, or nobody could let its group go on (EIO, as read(2) has it).
    """
    try:
        # The kernel drops the signal where the group is orphaned.
        if _state_of(caller).refuses or is_orphaned(group):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.killpg(group, signal.SIGTTIN)
        while _state_of(caller).pending:
            time.sleep(_SOON_S)
        # It may have taken the signal without being stopped yet. If it is stopped only after this look, the next
        # look finds it in the background again.
        while _state_of(caller).stopped:
            time.sleep(_LOOK_S)
    except (FileNotFoundError, ProcessLookupError):
        # It has ended, and this process ends with it.
        return


def _state_of(pid: int) -> _State:
    """How a process is.

    Raises:
        FileNotFoundError: it has ended.
    """
    fields = status_of(pid)

    def has(*names: str) -> bool:
        return any(int(fields[name], 16) >> (signal.SIGTTIN - 1) & 1 for name in names)

    stopped = fields["State"].split()[0] in ("T", "t")
    return _State(stopped, pending=has("SigPnd", "ShdPnd") and not stopped, refuses=has("SigIgn", "SigBlk"))


def _in_the_background(pid: int) -> int | None:
    """The process group of a process that is in the background of the terminal at standard input; None: it is not, or
    has another terminal.
    """
    fields = stat_of(pid)
    if fields is None:
        return None
    _, _, group, _, terminal, foreground, *_ = fields
    device = os.fstat(0).st_rdev
    number = int(terminal) & 0xFFFFFFFF
    own = os.makedev(number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)
    return int(group) if device in (own, _OWN) and group != foreground else None
