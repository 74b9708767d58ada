"""Standard input of a worker where it is the terminal of its caller."""

from __future__ import annotations

import io
import os
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# How often to look whether the caller is in the background.
_LOOK_S = 0.1

# /dev/tty: the controlling terminal, whichever that is.
_OWN = os.makedev(5, 0)


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
        """Wait for input, and read it."""
        while True:
            can_read = bool(select.select([0], [], [], _LOOK_S)[0])
            group = _in_the_background(self._caller)
            if group is not None:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGTTIN)
                time.sleep(_LOOK_S)
            elif can_read:
                return os.readv(0, [buffer])


def _in_the_background(pid: int) -> int | None:
    """The process group of a process that is in the background of the terminal at standard input; None: it is not, or
    has another terminal.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            # proc_pid_stat(5); a program's name may have anything in it.
            _, _, group, _, terminal, foreground, *_ = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    device = os.fstat(0).st_rdev
    number = int(terminal) & 0xFFFFFFFF
    own = os.makedev(number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)
    return int(group) if device in (own, _OWN) and group != foreground else None
