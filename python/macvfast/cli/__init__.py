"""The command `macvfast`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Do what a command line says; its exit status. None: this process's own command line."""
    try:
        from macvfast.cli.app import run  # noqa: PLC0415 - Ctrl-C may come while it is loaded

        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if interrupted(error):
            return 130
        raise


def be_careful() -> None:
    """From here on, Ctrl-C is an exception: something is begun that must be undone.

    Where it ends the process until then (`__main__`); what a program that calls this has set up stays.
    """
    from signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal  # noqa: PLC0415

    if getsignal(SIGINT) == SIG_DFL:
        signal(SIGINT, default_int_handler)


def interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C lies behind an exception: some of Python's own code wraps it, as in the making of a class."""
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if isinstance(one, KeyboardInterrupt):
            return True
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            todo += [one.__cause__, one.__context__]
    return False
