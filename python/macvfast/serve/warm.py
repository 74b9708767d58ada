"""Everything that a command may need, loaded before there is one."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from macvfast.cli import app
from macvfast.cli.commands import COMMANDS
from macvfast.cli.line import Line
from macvfast.plugins.__main__ import main as call
from macvfast.serve import engine
from macvfast.serve.directory import RunDirectory
from macvfast.serve.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

# Loaded where they are first used, and by most of the commands that change something.
_LATER = ("engine.engine", "engine.parts", "engine.restore", "host", "kernel.netlink", "process.launch")


def serve(main: Callable[[], int], docker: str | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit status.

    Args:
        main: does the command line of `sys.argv`; its exit status.
        docker: the path of Docker's socket; None: Docker is not served.

    Raises:
        ServerRunning, RunDirectoryUnusable
    """
    _begin_anew_where_told()
    with RunDirectory() as directory:
        for path in COMMANDS:
            Line(app.application()).find(path.split())
        for name in _LATER:
            import_module(f"macvfast.{name}")
        Server(directory, partial(_done, main), engine.serve, docker).serve()
    return 0


def _done(main: Callable[[], int], is_call: bool) -> int:
    """Do the command line of `sys.argv`, or the call of a plugin; the exit status."""
    return call(*sys.argv[1:]) if is_call else main()


def _begin_anew_where_told() -> None:
    """Execute Python again where the environment or the locale makes it another one than a client expects."""
    wanted = {name: value for name, value in os.environ.items() if name and not name.startswith("PYTHON")}
    if sys.getfilesystemencoding() != "utf-8":
        wanted["LC_ALL"] = "C.UTF-8"
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, "-P", "-m", "macvfast", *sys.argv[1:]], wanted)
