"""A person at a terminal: start a command on a pseudo-terminal, wait for what it shows, type lines into it.

    python -m tests.terminal COMMAND [ARG...] <<'LINES'

starts COMMAND so, types each line of standard input when a shell's prompt (`# ` or `$ `) stands there, shows the
session as the screen would, and ends with the command's exit status.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

PROMPT = re.compile(r"(?:^|[\r\n])[^\r\n]*[#$] $")

_numbers = itertools.count(1)


class Terminal:
    """A command whose standard streams and controlling terminal are one pseudo-terminal.

    A context manager: it ends by hanging up. `screen` is all that was shown, `process` the command.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        size: tuple[int, int] = (24, 120),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._fd, far_end = os.openpty()
        try:
            self.resize(*size)
            # `setsid --ctty` makes the terminal the command's own, so that Ctrl-C and window changes reach it.
            self.process = subprocess.Popen(
                ["setsid", "--ctty", "--wait", *command],
                stdin=far_end,
                stdout=far_end,
                stderr=far_end,
                env={**os.environ, "TERM": "dumb", **(environment or {})},
                pass_fds=pass_fds,
            )
        except BaseException:
            os.close(self._fd)
            raise
        finally:
            os.close(far_end)
        self.screen = ""
        self._read_to = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Hang up, and end the command if that did not."""
        self.hang_up()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def hang_up(self) -> None:
        """Close the window. Closing twice is closing once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size, as dragging its corner does."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self) -> list[object]:
        """Everything that can be set on the terminal (termios(3))."""
        return termios.tcgetattr(self._fd)

    def set_modes(self, modes: list[object]) -> None:
        """Set it all."""
        termios.tcsetattr(self._fd, termios.TCSANOW, modes)  # type: ignore[arg-type]

    def is_raw(self) -> bool:
        """Whether keys are neither echoed, nor gathered to lines, nor made into signals."""
        return not termios.tcgetattr(self._fd)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)

    def type(self, text: str) -> None:
        r"""Type characters as they are: `"ls\n"`, `"\x03"` for Ctrl-C."""
        os.write(self._fd, text.encode())

    def _read(self, timeout_s: float) -> bool:
        """Take what the command shows next; False when it has let go of the terminal, or the window is closed."""
        if self._fd < 0:
            return False
        if not select.select([self._fd], [], [], max(0.0, timeout_s))[0]:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        self.screen += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, pattern: str | re.Pattern[str], timeout_s: float = 60) -> re.Match[str]:
        """Wait until what came since the last match matches `pattern`, and go on after it. `^` is where that begins.

        Raises:
            TimeoutError: it did not come.
            EOFError: the command ended without it.
        """
        end = time.monotonic() + timeout_s
        while True:
            unread = self.screen[self._read_to :]
            if match := re.search(pattern, unread):
                self._read_to += match.end()
                return match
            if time.monotonic() > end:
                raise TimeoutError(f"{pattern!r} did not come; on the screen:\n{self.screen}")
            if not self._read(end - time.monotonic()):
                raise EOFError(f"the command ended before {pattern!r}; on the screen:\n{self.screen}")

    def ask(self, command: str) -> str:
        """Type a command at a shell's prompt; what it prints."""
        number = next(_numbers)
        # The mark is not in what is typed, and so not in its echo.
        self.type(f"{command}; echo end-$(({number}+0))-\n")
        self.wait_for(r"\n")
        start = self._read_to
        end = start + self.wait_for(f"end-{number}-").start()
        self.wait_for("# ")
        return self.screen[start:end].replace("\r\n", "\n")

    def wait(self, timeout_s: float = 60) -> int:
        """Wait for the command's end, as long as it shows something within `timeout_s`; its exit status. What it still
        shows is on `screen`.
        """
        shown, end = -1, 0.0
        while self._read(0.05):
            if len(self.screen) != shown:
                shown, end = len(self.screen), time.monotonic() + timeout_s
            if self.process.poll() is not None and not select.select([self._fd], [], [], 0)[0]:
                break
            if time.monotonic() > end:
                raise TimeoutError(f"the command goes on; on the screen:\n{self.screen}")
        return self.process.wait(timeout_s)


def main() -> int:
    """Type standard input's lines into the command of the arguments, each at a prompt."""
    with Terminal(sys.argv[1:], environment={"PS1": "# "}) as terminal:
        with contextlib.suppress(EOFError):
            for line in sys.stdin:
                terminal.wait_for(PROMPT, timeout_s=30)
                terminal.type(line)
        status = terminal.wait(timeout_s=60)
        sys.stdout.write(terminal.screen.replace("\r\n", "\n"))
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
