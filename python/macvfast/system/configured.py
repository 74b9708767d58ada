"""Where Python, state and sockets are: the environment says so, or root's file, or they are in their default places."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

from macvfast.system import trusted

# Written by `macvfast service install`; read by `rust/client`, too.
FILE = Path("/etc/macvfast/client.conf")
# A file that is longer is not read.
_LONGEST = 1 << 16


class Places(NamedTuple):
    """What the file says: the interpreter, and the directories of the state, the sockets and the pins."""

    python: str
    state_dir: str
    run_dir: str
    netns_dir: str


def directory(name: str, default: str) -> str:
    """The directory that is called `state_dir`, `run_dir` or `netns_dir`."""
    return os.environ.get(f"MACVFAST_{name.upper()}") or _in_file(name) or default


def _in_file(name: str) -> str | None:
    """What the file says of it; None: nothing, or there is no file that only root can change."""
    try:
        text = os.fsdecode(_text())
    except OSError:
        return None
    found = dict(line.split("=", 1) for line in text.split("\n") if "=" in line and not line.startswith("#"))
    return found.get(name) or None


def _text() -> bytes:
    """What is in the file.

    Raises:
        OSError: it is missing or too long, or others than root may change it or put another one there.
    """
    directory = trusted.open_directory(FILE.parent)
    try:
        file = trusted.open_file(FILE.name, dir_fd=directory)
        try:
            if os.fstat(directory).st_uid or os.fstat(file).st_uid:
                raise PermissionError
            text = os.read(file, _LONGEST + 1)
        finally:
            os.close(file)
    finally:
        os.close(directory)
    if len(text) > _LONGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return text
