"""A worker becomes, for one command line, what its caller is: words, variables, directory, umask, standard streams."""

from __future__ import annotations

import io
import os
import sys
import time
from typing import TYPE_CHECKING, BinaryIO, TextIO

from macvfast.serve.messages import OTHER
from macvfast.serve.terminal import CallersScreen, CallersTerminal

if TYPE_CHECKING:
    from macvfast.serve.messages import Hello

_STREAMS = ("stdin", "stdout", "stderr")


def take_over(hello: Hello, caller: int) -> None:
    """Take over all of it; the descriptors are closed, or have become this process's own. The last word of a
    command with another descriptor is its number, which is another one here.

    Args:
        hello: what the caller has said.
        caller: its pid.
    """
    os.umask(hello.umask)
    os.fchdir(hello.directory)
    os.close(hello.directory)
    os.environ.clear()
    for variable in hello.environment:
        name, _, value = variable.partition(b"=")
        # The kernel takes what has no name, too, which Python ignores; of two with one name Python has the first.
        if name and name not in os.environb:
            os.environb[name] = value
    time.tzset()
    given = dict(zip(hello.streams, hello.fds, strict=True))
    other = given.pop(OTHER, None)
    _streams({int(digit): fd for digit, fd in given.items()}, caller)
    sys.argv = ["macvfast", *map(os.fsdecode, hello.words)]
    if other is not None:
        sys.argv[-1] = str(other)


def _streams(given: dict[int, int], caller: int) -> None:
    """Make descriptors the standard streams, as Python does when it starts; one that is not given is closed."""
    for number, name in enumerate(_STREAMS):
        if number in given:
            os.dup2(given[number], number)
            os.close(given[number])
        else:
            os.close(number)
        opened = _opened(number, caller) if number in given else None
        setattr(sys, name, opened)
        setattr(sys, f"__{name}__", opened)


def _opened(number: int, caller: int) -> TextIO:
    """Standard input, output or error as text (Python/pylifecycle.c, create_stdio)."""
    terminal = os.isatty(number)
    binary: BinaryIO | io.BufferedReader | io.BufferedWriter
    if number == 0 and terminal:
        binary = io.BufferedReader(CallersTerminal(caller))
    elif terminal:
        binary = io.BufferedWriter(CallersScreen(number, caller))
    else:
        # What is closed here must not close the caller's stream while another one is at work.
        binary = io.open(number, "wb" if number else "rb", closefd=False)  # noqa: SIM115, UP020
    errors = "backslashreplace" if number == 2 else _errors()
    return io.TextIOWrapper(
        binary, "utf-8", errors, newline="\n", line_buffering=terminal or number == 2,
        write_through=bool(os.environ.get("PYTHONUNBUFFERED")),
    )  # fmt: skip


def _errors() -> str:
    """How Python has what is no UTF-8 on standard streams: where the locale is C or POSIX, as it is (PEP 538)."""
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    return "surrogateescape" if locale in ("C", "POSIX") else "strict"
