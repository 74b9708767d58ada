"""The command `macvfast`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from macvfast.cli.interrupts import INTERRUPTED, interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def main(argv: Sequence[str] | None = None, serve: Callable[[str | None], int] | None = None) -> int:
    """Run a command line, and return its exit status.

    Args:
        argv: its words. None: the command line of this process.
        serve: does `macvfast serve`, of which the command line knows nothing else.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        if words[:1] == ["__remove-ended"]:
            return _remove_ended(words[1], int(words[2]))
        from macvfast.cli.app import run  # noqa: PLC0415 - Ctrl-C may come while it is loaded

        return run(words, serve=serve)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if interrupted(error):
            return INTERRUPTED
        raise


def _remove_ended(state_dir: str, lock: int) -> int:
    """Remove the sandboxes of `run --rm` whose commands have ended. `rust/init` starts it, one for all of them.

    It is not a command of the application, because it needs nothing of Typer.
    """
    from macvfast.cli.show.output import problem_text  # noqa: PLC0415
    from macvfast.host import Host  # noqa: PLC0415

    Host.use_all_descriptors()
    Host.remove_ended(state_dir, lock, lambda error: f"{problem_text(error)}\n")
    return 0
