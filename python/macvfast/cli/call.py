"""The call of a command: where its results go, and the host that it works on."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import typer

from macvfast.cli.interrupts import be_careful
from macvfast.cli.usage import Usage
from macvfast.errors import CommandNotFound, CommandNotStarted, Incomplete, MacvfastError, StateMissing, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from macvfast.cli.show.output import Output
    from macvfast.host import Host
    from macvfast.outcomes import Outcomes

    class Opener(Protocol):
        """Opens the host of a state directory; `make`: whether it may make that."""

        def __call__(self, state_dir: str | None, *, make: bool) -> Host:
            """Open it."""


# Exit statuses.
USAGE = 2
PARTLY = Incomplete.exit_status
BUG = 70
RUN_REFUSED = 125


class Session:
    """What belongs to one command line: its streams, its host, and its common options.

    Attributes:
        out: where results and errors go.
        opener: opens the host of a state directory; None: `Host.open`.
        serve: does `macvfast serve`.
        spelled: how each option was typed, by the name of its parameter, for messages.
        state_dir, verbose: the options that all commands have.
    """

    def __init__(
        self, out: Output, opener: Opener | None = None, serve: Callable[[str | None], int] | None = None
    ) -> None:
        self.out = out
        self.opener = opener
        self.serve = serve
        self.spelled: Mapping[str, str] = {}
        self.state_dir: str | None = None
        self.verbose = False


class Call(typer.Context):
    """The context of a command, which Typer gives to its function, with what the command needs: results and a host."""

    @property
    def session(self) -> Session:
        """What the whole command line is done with."""
        session: Session = self.obj
        return session

    @property
    def out(self) -> Output:
        """Where results and errors go."""
        return self.session.out

    def wrong(self, message: str, cause: str, *hints: str) -> Usage:
        """A mistake in the words of this command; the last hint is its help."""
        help_ = f"`{self.command_path} --help` shows the usage"
        return Usage(message, causes=[cause], hints=[*filter(None, hints), help_])

    def make_formatter(self) -> Any:
        """What writes the help: as wide as the terminal, between 30 and 78 columns. Typer takes 50 at least."""
        from shutil import get_terminal_size  # noqa: PLC0415 - only help needs it

        return self.formatter_class(width=min(max(get_terminal_size().columns, 32), 80) - 2)

    def host(self, *, dry_run: bool = False, origin: str | None = None) -> Host:
        """Open the host of `--state-dir`, for an engine or none, whose notes are shown; to be used with `with`.

        Raises:
            StateMissing: the named directory does not exist, and the command reads what is recorded. It would find
                nothing, and a typing error would look like a total loss.
        """
        # Completion only reads.
        declared: Any = None if self.resilient_parsing else getattr(self.command, "declared", None)
        changes = declared is not None and declared.changes
        opener, state_dir = self.session.opener, self.session.state_dir
        if opener is None:
            # Loaded here: usage errors and help need no state.
            from macvfast.host import Host  # noqa: PLC0415

            opener = Host.open
            if changes:
                Host.use_all_descriptors()
            if declared is None or not declared.begins:
                _refuse_missing(state_dir or os.environ.get("MACVFAST_STATE_DIR"))
        if changes:
            be_careful()
        # A command that only reads creates no state.
        engine: dict[str, Any] = {} if origin is None else {"origin": origin}
        host = opener(state_dir, make=changes and not dry_run, **engine)
        host.on_note = self.out.note
        if self.session.verbose:
            host.log()
        return host

    def report(
        self,
        outcomes: Outcomes[str],
        *,
        forgiven: type[MacvfastError] | None = None,
        absent: Collection[str] = (),
        header: str | None = None,
    ) -> int:
        """Print each item that was done as it was typed, and an error for each other; return the exit status.

        Args:
            outcomes: of the items.
            forgiven: an error that does not count.
            absent: items that are not printed, because there was nothing to do.
            header: a line above those that are printed, if any are.
        """
        done = [outcome.name for outcome in outcomes if outcome.ok and outcome.name not in absent]
        self.out.lines([*([header] if header and done else []), *map(escape, done)])
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        if forgiven is not None:
            errors = [error for error in errors if not isinstance(error, forgiven)]
        for error in errors:
            self.out.problem(error)
        if not errors:
            return 0
        partly = done or any(isinstance(error, Incomplete) for error in errors)
        if partly:
            return PARTLY
        # 126 and 127 say of a command line that it runs what cannot be run; these only name sandboxes.
        return 1 if isinstance(errors[0], (CommandNotFound, CommandNotStarted)) else errors[0].exit_status


def _refuse_missing(state_dir: str | None) -> None:
    """Refuse a state directory that was named and is not there. Any other fault is reported when it is opened."""
    try:
        if state_dir:
            os.stat(state_dir)
    except (FileNotFoundError, NotADirectoryError):
        # Without a current directory there is no absolute path; that is such a fault.
        with suppress(FileNotFoundError):
            raise StateMissing(os.path.abspath(state_dir or "")) from None
    except (OSError, ValueError):
        return
