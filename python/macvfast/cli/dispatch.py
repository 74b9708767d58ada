"""From the words of the command line to an exit status: find the command, read its words, do it, show what failed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from macvfast.cli import be_careful, commands, interrupted
from macvfast.cli.arguments import Given, Parser, parse
from macvfast.cli.show.output import Failure, Output, of_this_process, problem_text
from macvfast.cli.usage import Usage, did_you_mean, given_nothing, see_help
from macvfast.errors import Incomplete, MacvfastError, StateMissing, escape

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from macvfast.cli.arguments import Command
    from macvfast.host import Host
    from macvfast.outcomes import Outcomes

    class Opener(Protocol):
        """Opens the host of a state directory; `make`: whether it may make that."""

        def __call__(self, state_dir: str | None, *, make: bool) -> Host:
            """Open it."""


USAGE = 2
PARTLY = 3
BUG = 70
RUN_REFUSED = 125
INTERRUPTED = 130


def _refuse_missing(state_dir: str | None) -> None:
    """Refuse a state directory that was named and is not there."""
    try:
        if state_dir:
            os.stat(state_dir)
    except (FileNotFoundError, NotADirectoryError):
        raise StateMissing(os.path.abspath(state_dir or "")) from None
    except (OSError, ValueError):
        # What else is wrong with it is said when it is opened.
        return


class Call:
    """One call of a command: what was given, where to show results, and the host."""

    def __init__(self, given: Given, out: Output, opener: Opener | None = None, command: Command | None = None) -> None:
        self.given = given
        self._changes = command is not None and command.changes
        self._begins = command is not None and command.begins
        self.out = out
        self._opener = opener

    def host(self) -> Host:
        """Open the host of `--state-dir`, whose notes are shown; to be used as a context manager.

        Raises:
            StateMissing: a directory was named that is not there, and the command is about what there is. It would find
                nothing, and a typing error would look like a total loss.
        """
        opener = self._opener
        if opener is None:
            # Only here: usage errors and help need no state.
            from macvfast.host import Host  # noqa: PLC0415

            opener = Host.open
            if self._changes:
                Host.use_all_descriptors()
            if not self._begins:
                _refuse_missing(self.given.text("state-dir") or os.environ.get("MACVFAST_STATE_DIR"))
        if self._changes:
            be_careful()
        # Who only looks makes no state.
        make = self._changes and not self.given.flag("dry-run")
        host = opener(self.given.text("state-dir"), make=make)
        host.on_note = self.out.note
        if self.given.flag("verbose"):
            host.log()
        return host

    def report(
        self, outcomes: Outcomes[str], *, forgiven: type[MacvfastError] | None = None, absent: Collection[str] = ()
    ) -> int:
        """Print what was done as it was typed, and an error for each that was not; the exit status of all together.

        Args:
            outcomes: of the items.
            forgiven: an error that is none here.
            absent: items of which nothing is said, since nothing was to be done.
        """
        done = [outcome.name for outcome in outcomes if outcome.ok and outcome.name not in absent]
        self.out.lines(map(escape, done))
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        if forgiven is not None:
            errors = [error for error in errors if not isinstance(error, forgiven)]
        for error in errors:
            self.out.problem(error)
        if not errors:
            return 0
        partly = done or any(isinstance(error, Incomplete) for error in errors)
        return PARTLY if partly else errors[0].exit_status


def dispatch(words: Sequence[str], opener: Opener | None = None, out: Output | None = None) -> int:
    """Do what the command line says; its exit status.

    Args:
        words: without the program's name.
        opener: opens the host of a state directory; None: `Host.open`.
        out: None: the streams of this process.
    """
    out = out or of_this_process()
    given = Given()
    command: Command | None = None
    if words[:1] == ["__complete"]:
        return _complete(words[1:], Call(given, out, opener))
    if words[:1] == ["__remove-ended"]:
        return _remove_ended(words[1])
    try:
        path, rest = _path(words, given)
        command = commands.find(path)
        out.problems_as_json = command is not None and command.listing and _asks_for_json(command, rest)
        status = _do(command, path, rest, Call(given, out, opener, command))
    except Usage as error:
        out.problem(error)
        status = RUN_REFUSED if command is not None and command.runs else USAGE
    except MacvfastError as error:
        out.problem(error)
        status = RUN_REFUSED if command is not None and command.runs and error.exit_status == 1 else error.exit_status
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - the one place where everything ends
        status = _interruption(out) if interrupted(error) else _bug(out, error)
    return _finished(out, status, changes=command is not None and command.changes)


def _complete(words: Sequence[str], call: Call) -> int:
    """Print what the last word may become, for a shell's completion; never an error."""
    from macvfast.cli.completing import complete  # noqa: PLC0415

    call.out.lines(complete(words[1:] if words[:1] == ["--"] else words, call))
    call.out.flush()
    return 0


def _remove_ended(state_dir: str) -> int:
    """Remove the sandboxes of `run --rm` whose commands have ended: started by `rust/init`, once for all."""
    from macvfast.host import Host  # noqa: PLC0415

    Host.use_all_descriptors()
    Host.remove_ended(state_dir, lambda error: f"{problem_text(error)}\n")
    return 0


def _path(words: Sequence[str], given: Given) -> tuple[tuple[str, ...], list[str]]:
    """The command as it was typed, and the words after it; the options of all commands may stand before and between.

    Raises:
        Usage
    """
    path: tuple[str, ...] = ()
    rest = list(words)
    while True:
        options = (*commands.COMMON, commands.VERSION)
        rest = Parser(" ".join(("macvfast", *path)), options).parse(rest, given, interspersed=False)
        if not rest or given.help or given.flag("version"):
            return path, rest
        path, rest = (*path, rest[0]), rest[1:]
        if commands.find(path) is not None:
            return path, rest
        if path not in commands.GROUPS:
            raise _unknown(path)


def _unknown(path: tuple[str, ...]) -> Usage:
    group = " ".join(("macvfast", *path[:-1]))
    known = commands.below(path[:-1])
    from macvfast.cli.docker import instead  # noqa: PLC0415 - only for a command that is none

    dockers = instead(path[0]) if len(path) == 1 else None
    return Usage(
        f"`{path[-1]}` is not a command of `{group}`",
        causes=[f"its commands are {', '.join(known)}"],
        hints=[*([dockers] if dockers else did_you_mean(path[-1], known)), see_help(group)],
    )


def _do(command: Command | None, path: tuple[str, ...], rest: list[str], call: Call) -> int:
    """Call a command's function, or show help or the version."""
    given, out = call.given, call.out
    if given.flag("version"):
        from macvfast import __version__  # noqa: PLC0415

        out.line(f"macvfast {__version__}")
        return 0
    if command is not None and not given.help:
        parse(command, rest, commands.COMMON, given)
    if command is None or given.help:
        from macvfast.cli.app import help_text  # noqa: PLC0415 - Typer takes longer than most commands

        text = help_text(path if command is None else command.path)
        if given.help:
            out.text(text)
            return 0
        out.aside(text)
        return USAGE
    if given.text("state-dir") == "":
        raise given_nothing("--state-dir", command.name, "DIR")
    from importlib import import_module  # noqa: PLC0415

    module, _, name = command.function.partition(":")
    status: int = getattr(import_module(f"macvfast.cli.{module}"), name)(call)
    return status


def _asks_for_json(command: Command, rest: Sequence[str]) -> bool:
    """Whether the words, understood or not, ask for JSON: then errors are JSON too."""
    names = [name for option in command.options if option.key == "format" for name in option.names]
    return any(f"{name} json" in " ".join(rest) or f"{name}=json" in rest for name in names)


def _interruption(out: Output) -> int:
    hints = ["`macvfast network ls` and `macvfast ps -a` show what is there"]
    out.problem(Failure("interrupted", "interrupted", causes=["Ctrl-C, or SIGINT from elsewhere"], hints=hints))
    return INTERRUPTED


def _bug(out: Output, error: BaseException) -> int:
    """Show an exception that nothing foresaw, as one line; with MACVFAST_DEBUG=1 with its traceback."""
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    hint = "please report what stands above"
    if os.environ.get("MACVFAST_DEBUG") == "1":
        out.trace()
    else:
        hint = "with MACVFAST_DEBUG=1 in the environment, the same command shows where; please report that"
    out.problem(Failure("bug", "a bug in macvfast", causes=[said], hints=[hint]))
    return BUG


def _finished(out: Output, status: int, *, changes: bool) -> int:
    """Write out what is held back; a result that was lost is a failure too."""
    out.flush()
    if out.failed is None:
        return status
    done = changes and status == 0
    hint = "what was asked for is done; only its result was not shown" if done else "let it write to something else"
    cause = out.failed.strerror or str(out.failed)
    out.problem(Failure("output-lost", "standard output cannot be written", causes=[cause], hints=[hint]))
    return status or (PARTLY if changes else 1)
