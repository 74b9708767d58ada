"""The native program `macvfast`, and its copies, which container runtimes call as plugins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from macvfast.system import configured

_NAME = "macvfast"

# Longer than any release of it.
_LONGEST = 1 << 26

# The kernel reads no longer first line of a script.
_LONGEST_LINE = 256

# Every release of it reads a file in this directory.
_MARK = os.fsencode(configured.FILE.parent)


def program() -> Path | None:
    """The program that is installed with this Python, beside it or where its programs are; None: there is none."""
    beside = Path(sys.executable).with_name(_NAME)
    if os.access(beside, os.X_OK):
        return beside
    import sysconfig  # noqa: PLC0415 - seldom needed

    for scheme in (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")):
        found = Path(sysconfig.get_path("scripts", scheme), _NAME)
        # Another Python's programs may be in the same directory.
        if os.access(found, os.X_OK) and _executes_this_python(found):
            return found
    return None


def _executes_this_python(program: Path) -> bool:
    """Whether the program executes this Python (`rust/client/src/python.rs`)."""
    try:
        with open(program.with_name("macvfast-python"), "rb") as script:
            line = script.readline(_LONGEST_LINE)
    except OSError:
        return False
    return os.path.realpath(line.removeprefix(b"#!").strip()) == os.fsencode(os.path.realpath(sys.executable))


def is_a_copy(content: bytes) -> bool:
    """Whether a file is this program, of whatever release."""
    return content.startswith(b"\x7fELF") and _MARK in content


def read(path: Path) -> bytes:
    """What is in the file of a program; b"" where it is none. A link is followed. Raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        if not os.path.isfile(file.fileno()):
            return b""
        return file.read(_LONGEST) or b""
