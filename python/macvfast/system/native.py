"""The native program `macvfast`, and its copies, which container runtimes call as plugins."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from macvfast.system import configured

_NAME = "macvfast"

# Longer than any release of it.
_LONGEST = 1 << 26

# Every release of it reads a file in this directory.
_MARK = os.fsencode(configured.FILE.parent)


def program() -> Path | None:
    """The program that is installed with this Python; None: there is none."""
    for directory in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if os.access(directory / _NAME, os.X_OK):
            return directory / _NAME
    return None


def is_a_copy(content: bytes) -> bool:
    """Whether a file is this program, of whatever release."""
    return content.startswith(b"\x7fELF") and _MARK in content


def read(path: Path) -> bytes:
    """What is in the file of a program; b"" where it is none. A link is followed. Raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        if not os.path.isfile(file.fileno()):
            return b""
        return file.read(_LONGEST) or b""
