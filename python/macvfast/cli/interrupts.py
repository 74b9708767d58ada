"""Ctrl-C: when it ends the process, and when it is an exception."""

from __future__ import annotations

# Exit status, as a shell has it for what Ctrl-C ended.
INTERRUPTED = 130


def be_careful() -> None:
    """From here on, Ctrl-C raises an exception, because something begins that must be undone if it is interrupted.

    This replaces only the default of `__main__`, which ends the process; a handler of a calling program stays.
    """
    from signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal  # noqa: PLC0415

    if getsignal(SIGINT) == SIG_DFL:
        signal(SIGINT, default_int_handler)


def interrupted(error: BaseException) -> bool:
    """Whether an exception was caused by Ctrl-C: some of Python's code wraps it, such as the creation of a class."""
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
