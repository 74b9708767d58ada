"""The commands of a Typer application, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from macvfast.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator


def contexts(command: Any = None, name: str = "macvfast", parent: Any = None) -> Iterator[Any]:
    """The context of a command or group, then those of all below it; by default of the whole of macvfast."""
    command = app.application() if command is None else command
    context = command.context_class(command, info_name=name, parent=parent, **command.context_settings)
    yield context
    if hasattr(command, "list_commands"):
        for word in command.list_commands(context):
            below = command.get_command(context, word)
            if not below.hidden:
                yield from contexts(below, word, context)


def commands() -> dict[str, Any]:
    """Every command of macvfast by its path: `network create`."""
    found = {context.command_path.partition(" ")[2]: context.command for context in contexts()}
    return {path: command for path, command in found.items() if not hasattr(command, "list_commands")}


def groups() -> list[str]:
    """The paths of the groups: `network`, `network import`."""
    found = (context for context in contexts() if hasattr(context.command, "list_commands"))
    return [context.command_path.partition(" ")[2] for context in found if context.parent is not None]


def options_of(command: Any) -> list[Any]:
    """The options of a command."""
    return [one for one in command.params if one.param_type_name == "option"]


def spellings_of(option: Any) -> list[str]:
    """All spellings of an option, also those that say no."""
    return [*option.opts, *option.secondary_opts]
