"""What a sandbox's own command was given, kept in the sandbox's directory so that it can be started again: its words,
options, environment and working directory. Environments hold secrets: the file is root's alone.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from macvfast.errors import MacvfastError, StateUnusable
from macvfast.process import users
from macvfast.requests import CommandRequest
from macvfast.system import durable, trusted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "command.json"

# The kernel takes 6 MiB of words and variables at most (execve(2)); JSON needs six bytes for some.
_MAX = 40 << 20

# What is not kept: a command is started again without anybody who waits for it, and is the sandbox's own.
_NOT_KEPT = ("detach", "auto_remove", "join")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command has of the process that asked for it.

    Attributes:
        environment: its variables.
        directory: its working directory, which the command gets if it exists where the command runs; None: it had none.
        kept: whether they were read back from a file, and are no longer those of any process.
    """

    environment: Mapping[str, str]
    directory: str | None
    kept: bool = False


def here(environment: Mapping[str, str]) -> Surroundings:
    """The surroundings of this process, which has that environment."""
    directory = None
    with suppress(OSError):
        directory = os.getcwd()
    return Surroundings(environment, directory)


def keep(directory: Path, request: CommandRequest, around: Surroundings) -> None:
    """Keep what a command was given. This waits for the disk only where the command is started again by itself: if the
    host crashes within seconds, the file of another may be damaged.

    Raises:
        StateUnusable: it cannot be written.
    """
    kept = {one.name: getattr(request, one.name) for one in fields(request) if one.name not in _NOT_KEPT}
    if request.rootfs is not None:
        kept["rootfs"] = os.path.abspath(request.rootfs)
    environment = around.environment if request.user is None else users.of_caller(around.environment)
    kept |= {"environment": list(environment.items()), "directory": around.directory}
    try:
        durable.replace(directory / NAME, json.dumps(kept).encode(), wait=request.restart != "no")
    except OSError as error:
        raise StateUnusable(str(directory), f"cannot keep its command: {error.strerror or error}") from None


def kept_in(directory: Path) -> tuple[CommandRequest, Surroundings] | None:
    """What the command of a sandbox was given; None: it has none that can be started again.

    Raises:
        StateUnusable: it cannot be read, or is damaged.
    """
    try:
        text = trusted.read(directory / NAME, _MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateUnusable(str(directory), f"cannot read its command: {error.strerror or error}") from None
    try:
        return _checked(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError, MacvfastError):
        raise StateUnusable(str(directory), f"its file {NAME} is damaged") from None


def _checked(kept: Any) -> tuple[CommandRequest, Surroundings]:
    """What was kept, each value of its type; anything else is an error of one kind or another."""
    request = CommandRequest(
        argv=tuple(kept["argv"]), interactive=_is(kept["interactive"], bool), tty=_is(kept["tty"], bool), detach=True,
        rootfs=_path(kept["rootfs"]), env=tuple(map(tuple, kept["env"])), workdir=_path(kept["workdir"]),
        user=_path(kept["user"]), log_max=None if kept["log_max"] is None else _is(kept["log_max"], int),
        restart=_is(kept.get("restart", "no"), str),
    )  # fmt: skip
    # Variables have one form, wherever they come from.
    variables = CommandRequest(argv=request.argv, env=tuple(map(tuple, kept["environment"]))).env
    return request, Surroundings(dict(variables), _path(kept["directory"]), kept=True)


def _is(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _path(value: Any) -> str | None:
    """A text without NUL, or None."""
    if value is not None and "\0" in _is(value, str):
        raise ValueError
    return value  # type: ignore[no-any-return]
