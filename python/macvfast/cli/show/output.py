"""The output of a command: results on standard output, everything else on standard error.

Commands print only through it. Tables fit the width of a terminal, and are plain in a pipe.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, TextIO

from macvfast.cli.show.tables import table
from macvfast.cli.show.text import as_json
from macvfast.cli.usage import Failure, Usage
from macvfast.errors import MacvfastError, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from macvfast.cli.show.tables import Column


class Output:
    """The two streams of one command.

    A reader that ends early (`| head -1`) is no error. Any other failure to write is kept in `failed`: the work
    continues, and the exit status reports the failure at the end.
    """

    def __init__(self, stdout: TextIO | None, stderr: TextIO | None, stdin: TextIO | None) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._stdin = stdin
        self._shown_problems = False
        self.problems_as_json = False
        # What may have been meant, for an error; to be set.
        self.advice: Callable[[MacvfastError | Failure], MacvfastError | Failure] | None = None
        self.failed: OSError | None = None

    # Results.

    def text(self, text: str) -> None:
        """A text that ends with its own line end."""
        if self._stdout is None or self.failed is not None:
            return
        try:
            self._stdout.write(text)
        except OSError as error:
            self._lost(error)

    def line(self, text: str) -> None:
        """One line of the result, as it is."""
        self.text(f"{text}\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Several lines at once."""
        self.text("".join(f"{text}\n" for text in texts))

    def data(self, data: bytes) -> bool:
        """Bytes as they are, at once; False: nobody reads them any more."""
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
        self.text(table(columns, rows, self.width))

    @property
    def width(self) -> int | None:
        """The columns of the terminal that shows the result; None: there is none."""
        if self._stdout is None or not self._stdout.isatty():
            return None
        from shutil import get_terminal_size  # noqa: PLC0415 - only for a terminal

        return get_terminal_size().columns

    def can_show(self, text: str) -> bool:
        """Whether standard output has these characters."""
        try:
            text.encode(getattr(self._stdout, "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            return False
        return True

    def flush(self) -> None:
        """Write what is buffered; afterwards `failed` is final."""
        if self._stdout is not None and self.failed is None:
            try:
                self._stdout.flush()
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

    def problem(self, problem: MacvfastError | Failure) -> None:
        """One error with its causes and hints, or the same as JSON; several are kept apart by an empty line."""
        if self.advice is not None:
            problem = self.advice(problem)
        shown = problem_json(problem) if self.problems_as_json else problem_text(problem)
        before = "\n" if self._shown_problems and not self.problems_as_json else ""
        self._shown_problems = True
        self.aside(f"{before}{shown}\n")

    def note(self, about: object) -> None:
        """One line that the user should know about what succeeded."""
        self.aside(f"note: {escape(str(about))}\n")

    def aside(self, text: str) -> None:
        """A text that is no result, on standard error, as it is."""
        if self._stderr is None:
            return
        try:
            self._stderr.write(text)
            self._stderr.flush()
        except OSError:
            # There is no stream left to report it.
            self._stderr = None

    def trace(self) -> None:
        """The traceback of the exception that is being handled."""
        import traceback  # noqa: PLC0415 - only for a bug

        self.aside(traceback.format_exc())

    def agrees(self, warning: str, forced: str) -> bool:
        """Whether the user, asked on standard error, answers yes; `forced` is the same command without a question.

        Raises:
            Usage: standard input has no answer.
        """
        self.aside(f"{warning} Are you sure? [y/N] ")
        answer, why = "", "standard input ended without an answer"
        try:
            answer = self._stdin.readline() if self._stdin is not None else ""
        except OSError as error:
            # A directory; a terminal that another process group has.
            why = f"standard input cannot be read: {error.strerror}"
        if not answer.endswith("\n"):
            self.aside("\n")
        if not answer:
            raise Usage(f"`{forced.partition(' -f')[0]}` was not confirmed", causes=[why], hints=[forced])
        return answer.strip().lower() in ("y", "yes")


def of_this_process() -> Output:
    """The streams that the process was started with. What they cannot encode is shown escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return Output(sys.stdout, sys.stderr, sys.stdin)


def problem_text(problem: MacvfastError | Failure) -> str:
    """An error as people read it: what failed, why, and after an empty line what to do."""
    lines = [f"error: {escape(problem.message)}"]
    lines += [f"  caused by: {escape(cause)}" for cause in problem.causes]
    if problem.hints:
        lines += ["", *(f"hint: {escape(hint)}" for hint in problem.hints)]
    return "\n".join(lines)


def problem_json(problem: MacvfastError | Failure) -> str:
    """An error as programs read it, on one line."""
    return as_json(problem_fields(problem))


def problem_fields(problem: MacvfastError | Failure) -> dict[str, object]:
    """An error as programs read it: a JSON object."""
    return {"error": {key: getattr(problem, key) for key in ("code", "message", "causes", "hints")}}
