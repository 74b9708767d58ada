"""Ctrl-C: when it ends the process, and when it is an exception."""

from __future__ import annotations

# Exit status, as a shell has it for what Ctrl-C ended.
INTERRUPTED = 130


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
