"""A command line as a whole: it is read, its command is called, and what failed is shown."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer

from macvfast.cli.call import BUG, PARTLY, RUN_REFUSED, USAGE, Call, Session
from macvfast.cli.commands import Command, Group, group
from macvfast.cli.interrupts import INTERRUPTED, interrupted
from macvfast.cli.line import Line
from macvfast.cli.parameters import check_some, option
from macvfast.cli.show.output import Output, of_this_process
from macvfast.cli.usage import Failure, Usage
from macvfast.errors import MacvfastError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.cli.call import Opener
    from macvfast.cli.meant import Meant

ABOUT = "Docker's macvlan networking for a Linux host, without Docker, at the kernel's own speed."

DETAILS = "--state-dir and --verbose may be given before a command or among its options."


def _show_version(call: Call, value: bool) -> None:
    if value:
        from macvfast import __version__  # noqa: PLC0415

        call.out.line(f"macvfast {__version__}")
        raise typer.Exit


def _common(
    call: Call,
    *,
    state_dir: Annotated[
        str | None,
        option(
            "--state-dir DIR",
            "Directory of the recorded state (default: /var/lib/macvfast).",
            envvar="MACVFAST_STATE_DIR",
            callback=check_some,
        ),
    ] = None,
    verbose: Annotated[
        bool,
        option(
            "--verbose",
            "Show each change as the `ip` command that does it, and log all requests; also MACVFAST_LOG=text|json.",
        ),
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback has shown it
        bool, option("--version", "Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    call.session.state_dir, call.session.verbose = state_dir, verbose


@cache
def application() -> Group:
    """The whole command as an application of Typer's; to be called by way of `run`, which reads Docker's spellings."""
    return group("", f"{ABOUT}\n\n{DETAILS}", _common)


def run(
    words: Sequence[str],
    opener: Opener | None = None,
    out: Output | None = None,
    serve: Callable[[str | None], int] | None = None,
) -> int:
    """Run a command line, and return its exit status.

    Args:
        words: without the program's name.
        opener: opens the host of a state directory; None: `Host.open`.
        out: None: the streams of this process.
        serve: does `macvfast serve`, of which the command line knows nothing else.
    """
    out = out or of_this_process()
    session = Session(out, opener, serve)
    if words[:1] == ["__complete"]:
        return _complete(words[1:], session)
    line = Line(application())
    try:
        status = perform(line, words, session)
    except Usage as error:
        out.problem(error)
        status = RUN_REFUSED if _runs(line) else USAGE
    except MacvfastError as error:
        out.problem(error)
        status = RUN_REFUSED if _runs(line) and error.exit_status == 1 else error.exit_status
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - the one place where everything ends
        status = _interruption(out) if interrupted(error) else _bug(out, error)
    return _finished(out, status, changes=isinstance(line.command, Command) and line.command.declared.changes)


def perform(line: Line, words: Sequence[str], session: Session) -> int:
    """Read the words and call the command, or show help or the version; return the exit status.

    Raises:
        Usage, MacvfastError
    """
    out = session.out
    out.advice = _Advice(line, session)
    line.find(words)
    out.problems_as_json = line.asks_for_json()
    line.read()
    if line.help:
        out.text(f"{line.context.get_help()}\n")
        return 0
    if isinstance(line.command, Group) and not line.version:
        out.aside(f"{line.context.get_help()}\n")
        return USAGE
    session.spelled = line.spelled
    try:
        with line.root.make_context("macvfast", line.words(), obj=session) as context:
            status: int = line.root.invoke(context)
            return status
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException:
        # Everything else that Typer refuses has been refused by the line or by the checks of the parameters.
        raise line.wrong_count() from None


class _Advice:
    """Each error of a command line as it is shown, with what may have been meant; loaded for the first."""

    def __init__(self, line: Line, session: Session) -> None:
        self._of = line, session
        self._meant: Meant | None = None

    def __call__(self, problem: MacvfastError | Failure) -> MacvfastError | Failure:
        if self._meant is None:
            from macvfast.cli.meant import Meant  # noqa: PLC0415 - only a mistake needs it

            self._meant = Meant(*self._of)
        return self._meant.shown(problem)


def _runs(line: Line) -> bool:
    return isinstance(line.command, Command) and line.command.declared.runs


def _complete(words: Sequence[str], session: Session) -> int:
    """Print what the last word may become, for a shell's completion; never an error."""
    from macvfast.cli.completing import complete  # noqa: PLC0415

    session.out.lines(complete(Line(application()), words[1:] if words[:1] == ["--"] else words, session))
    session.out.flush()
    return 0


def _interruption(out: Output) -> int:
    hints = ["`macvfast network ls` and `macvfast ps -a` show what is there"]
    out.problem(Failure("interrupted", "interrupted", causes=["Ctrl-C, or SIGINT from elsewhere"], hints=hints))
    return INTERRUPTED


def _bug(out: Output, error: BaseException) -> int:
    """Show an unexpected exception on one line; with MACVFAST_DEBUG=1, with its traceback."""
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    hint = "please report the output above"
    if os.environ.get("MACVFAST_DEBUG") == "1":
        out.trace()
    else:
        hint = "run it again with MACVFAST_DEBUG=1 in the environment, and report what it shows"
    out.problem(Failure("bug", "a bug in macvfast", causes=[said], hints=[hint]))
    return BUG


def _finished(out: Output, status: int, *, changes: bool) -> int:
    """Write out what is buffered; lost output is a failure, too."""
    out.flush()
    if out.failed is None:
        return status
    done = changes and status == 0
    hint = "the command succeeded; only its output was lost" if done else "write the output somewhere else"
    cause = out.failed.strerror or str(out.failed)
    out.problem(Failure("output-lost", "standard output cannot be written", causes=[cause], hints=[hint]))
    return status or (PARTLY if changes else 1)
