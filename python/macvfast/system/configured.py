"""Where Python, state and sockets are: the environment says so, or root's file, or they are in their default places."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from macvfast.system import trusted

# Written by `macvfast service install`; read by `rust/client`, too.
FILE = Path("/etc/macvfast/client.conf")
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
        text = os.fsdecode(trusted.read(FILE, _LONGEST))
    except OSError:
        return None
    found = dict(line.split("=", 1) for line in text.split("\n") if "=" in line and not line.startswith("#"))
    return found.get(name) or None
