"""The command that keeps warm interpreters ready for other commands."""

from __future__ import annotations

import os
from typing import Annotated

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import option

# Where a Docker Engine looks for plugins.
DOCKER = "/run/docker/plugins/macvfast.sock"


def _socket(value: str | None) -> str | None:
    return value if value is None else os.path.abspath(value or DOCKER)


@command(
    "serve",
    changes=False,
    details="""\
Other commands find it by its socket, /run/macvfast/command.sock (MACVFAST_RUN_DIR names another directory), and take a
few milliseconds each then. Nothing needs it, and nothing is lost when it ends. With SIGTERM or Ctrl-C it takes no more
commands, and ends when those that it does have ended; the second time, it kills them. MACVFAST_SERVER=off has a command
do without it.

With --docker, it also is Docker's plugin `macvfast`: `docker network create -d macvfast` finds it by its socket.""",
    example="macvfast serve",
)
def serve(
    call: Call,
    *,
    docker: Annotated[
        str | None, option("--docker [=SOCKET]", f"Serve Docker, too (default: {DOCKER}).", callback=_socket)
    ] = None,
) -> int:
    """Serve commands, in the foreground, so that each starts at once."""
    if call.session.state_dir is not None:
        # Where requests are done; each command names its own.
        os.environ["MACVFAST_STATE_DIR"] = call.session.state_dir
    assert call.session.serve is not None  # noqa: S101 - only `macvfast.__main__` can do it
    return call.session.serve(docker)
