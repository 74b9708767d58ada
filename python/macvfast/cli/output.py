"""What a person or a program gets to see: results on standard output, everything else on standard error.

Commands never print by themselves. Tables are fitted to a terminal, and plain when piped.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, NamedTuple, Protocol, TextIO

from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Docker's distance between columns.
_GAP = "   "


class Problem(Protocol):
    """What can be shown as an error: a MacvfastError, a Usage, a Bug."""

    @property
    def code(self) -> str:
        """Which kind of problem, for programs."""

    @property
    def message(self) -> str:
        """What failed."""

    @property
    def causes(self) -> tuple[str, ...]:
        """Why, outermost first."""

    @property
    def hints(self) -> tuple[str, ...]:
        """What to type next."""


class Failure:
    """A problem that is no exception of ours: an interruption, a bug, a standard output that cannot be written."""

    def __init__(self, code: str, message: str, causes: Sequence[str], hints: Sequence[str]) -> None:
        self.code = code
        self.message = message
        self.causes = tuple(causes)
        self.hints = tuple(hints)


class Column(NamedTuple):
    """A column of a table; on a narrow terminal its cells are folded after `fold`, or stay whole without one."""

    header: str
    fold: str = ""


class Output:
    """The two streams of one command.

    A reader who leaves early (`| head -1`) is no error; any other failure to write is kept in `failed`, so that work
    which is done goes on and the exit status tells in the end.
    """

    def __init__(self, stdout: TextIO | None, stderr: TextIO | None, stdin: TextIO | None) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._stdin = stdin
        self._shown_problems = False
        self.problems_as_json = False
        self.failed: OSError | None = None

    # Results.

    def line(self, text: str) -> None:
        """One line of the result, as it is."""
        self._write(f"{text}\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Several lines at once."""
        self._write("".join(f"{text}\n" for text in texts))

    def text(self, text: str) -> None:
        """A text that ends with its own line end."""
        self._write(text)

    def data(self, data: bytes) -> bool:
        """Bytes as they are, at once; False: there is nobody to read them any more."""
        self.flush()
        if self._stdout is None or self.failed is not None:
            return False
        try:
            self._stdout.buffer.write(data)
            self._stdout.buffer.flush()
        except OSError as error:
            self._lost(error)
            return False
        return True

    def json_lines(self, values: Iterable[object]) -> None:
        """One object per line, as Docker's `--format json`."""
        self.lines(as_json(value) for value in values)

    def json_document(self, value: object) -> None:
        """One indented document, as Docker's `inspect`."""
        self.line(as_json(value, indent=4))

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Columns under their headers."""
        safe = [[escape(cell) for cell in row] for row in rows]
        if self._stdout is not None and self._stdout.isatty():
            self._write(_fitted(columns, safe, _screen_width()))
        else:
            self._write(_aligned([column.header for column in columns], safe))

    def flush(self) -> None:
        """Write what is held back; afterwards `failed` is final."""
        if self._stdout is not None and self.failed is None:
            try:
                self._stdout.flush()
            except OSError as error:
                self._lost(error)

    def _write(self, text: str) -> None:
        if self._stdout is None or self.failed is not None:
            return
        try:
            self._stdout.write(text)
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        """Write nothing more, and keep Python from trying again when it ends."""
        if not isinstance(error, BrokenPipeError):
            self.failed = error
        stream, self._stdout = self._stdout, None
        try:
            descriptor = stream.fileno() if stream is not None else -1
        except (OSError, ValueError):
            return
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)

    # Everything else.

    @property
    def on_terminal(self) -> bool:
        """Whether a person sees both results and errors as they come."""
        return all(stream is not None and stream.isatty() for stream in (self._stdout, self._stderr))

    def problem(self, problem: Problem) -> None:
        """One error with its causes and hints, or the same as JSON; several are kept apart by an empty line."""
        shown = problem_json(problem) if self.problems_as_json else problem_text(problem)
        before = "\n" if self._shown_problems and not self.problems_as_json else ""
        self._shown_problems = True
        self._tell(f"{before}{shown}\n")

    def note(self, about: object) -> None:
        """One line on what succeeded, with something that should be known."""
        self._tell(f"note: {escape(str(about))}\n")

    def aside(self, text: str) -> None:
        """A text that is no result, and ends with its own line end."""
        self._tell(text)

    def trace(self) -> None:
        """The traceback of the exception that is being handled."""
        import traceback  # noqa: PLC0415 - only for a bug

        self._tell(traceback.format_exc())

    def ask(self, question: str) -> str | None:
        """Ask on standard error, read a line of standard input; None: there is nothing more to be read."""
        self._tell(question)
        answer = self._stdin.readline() if self._stdin is not None else ""
        if not answer.endswith("\n"):
            self._tell("\n")
        return answer.strip() if answer else None

    def _tell(self, text: str) -> None:
        if self._stderr is None:
            return
        try:
            self._stderr.write(text)
            self._stderr.flush()
        except OSError:
            # There is nowhere left to say so.
            self._stderr = None


def of_this_process() -> Output:
    """The streams that the process was started with. What they cannot encode is shown escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return Output(sys.stdout, sys.stderr, sys.stdin)


def problem_text(problem: Problem) -> str:
    """An error as people read it: what failed, why, and after an empty line what to do."""
    lines = [f"error: {escape(problem.message)}"]
    lines += [f"  caused by: {escape(cause)}" for cause in problem.causes]
    if problem.hints:
        lines += ["", *(f"hint: {escape(hint)}" for hint in problem.hints)]
    return "\n".join(lines)


def problem_json(problem: Problem) -> str:
    """An error as programs read it, on one line."""
    return as_json(
        {
            "error": {
                "code": problem.code,
                "message": problem.message,
                "causes": list(problem.causes),
                "hints": list(problem.hints),
            }
        }
    )


def as_json(value: object, indent: int | None = None) -> str:
    """JSON in ASCII, so that no label can send a terminal a control character; without spaces where not indented."""
    import json  # noqa: PLC0415 - most commands print none

    text = json.dumps(value, indent=indent, separators=None if indent else (",", ":"))
    return text.replace("\x7f", "\\u007f")


def _screen_width() -> int:
    from shutil import get_terminal_size  # noqa: PLC0415 - only for a terminal

    return get_terminal_size().columns


def _aligned(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell; nothing is ever cut."""
    table = [headers, *rows]
    widths = [max(len(row[index]) for row in table) for index in range(len(headers))]
    lines = (_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
    return "".join(f"{line}\n" for line in lines)


def _fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> str:
    """The same within the terminal's width: what does not fit goes on below, lists at their commas, text at spaces.

    On a terminal too narrow even for that, each row is a block of lines.
    """
    headers = [column.header for column in columns]
    widths = [max(map(len, (column.header, *cells))) for column, *cells in zip(columns, *rows, strict=True)]
    least = [
        max(len(column.header), *(_least(cell, column.fold) for cell in cells), 0)
        for column, *cells in zip(columns, *rows, strict=True)
    ]
    room = width - len(_GAP) * (len(columns) - 1)
    if sum(widths) <= room or not rows:
        return _aligned(headers, rows)
    if sum(least) > room:
        return "\n".join(_block(headers, row) for row in rows)
    while sum(widths) > room:
        # The widest gives way first, and never below what it needs.
        giving = max((w, index) for index, w in enumerate(widths) if w > least[index])[1]
        widths[giving] -= 1
    lines = []
    for row in (headers, *rows):
        parts = [_folded(cell, w, column.fold) for cell, w, column in zip(row, widths, columns, strict=True)]
        for index in range(max(map(len, parts))):
            cells = [(part[index] if index < len(part) else "").ljust(w) for part, w in zip(parts, widths, strict=True)]
            lines.append(_GAP.join(cells).rstrip())
    return "".join(f"{line}\n" for line in lines)


def _block(headers: Sequence[str], row: Sequence[str]) -> str:
    """One row as lines of header and cell; what is longer than the terminal is broken by the terminal."""
    width = max(map(len, headers))
    return "".join(
        f"{f'{header.ljust(width)}{_GAP}{cell}'.rstrip()}\n" for header, cell in zip(headers, row, strict=True)
    )


# What a folded text is allowed to be broken into at least, when it has no space where it should.
_LEAST = 12


def _least(cell: str, fold: str) -> int:
    """How narrow a cell may become."""
    if not fold:
        return len(cell)
    pieces = [len(piece) for piece in cell.replace(fold, f"{fold}\n").split("\n")]
    return max(pieces) if fold == "," else min(_LEAST, max(pieces))


def _folded(cell: str, width: int, fold: str) -> list[str]:
    """A cell as lines of at most `width` characters."""
    if len(cell) <= width or not fold:
        return [cell]
    lines = [""]
    for piece in cell.replace(fold, f"{fold}\n").split("\n"):
        if len(lines[-1]) + len(piece.rstrip(" ")) > width and lines[-1]:
            lines.append("")
        rest = lines[-1] + piece
        while len(rest.rstrip(" ")) > width:
            lines[-1], rest = rest[:width], rest[width:]
            lines.append("")
        lines[-1] = rest
    return [line.rstrip(" ") for line in lines if line]
