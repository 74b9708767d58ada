"""The same commands as a Typer application: for `--help` and the generated docs.

Typer shows; it does not parse: every call of `app` goes to `macvfast.cli.main`, so both ways in behave the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from macvfast.cli import commands, main

if TYPE_CHECKING:
    from macvfast.cli.arguments import Argument, Command, Option

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


class _Root(TyperGroup):
    """The whole application. What Typer would parse goes to `main`."""

    def __init__(self, **attributes: Any) -> None:
        options = [_option(option) for option in (*commands.COMMON, commands.VERSION)]
        super().__init__(**{**attributes, "params": options})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Hand the command line to `main`, and end with its status."""
        raise typer.Exit(main(args))


def _class_of(command: Command) -> type[TyperCommand]:
    """A Typer command with the options and arguments of ours."""

    class Shown(TyperCommand):
        def __init__(self, name: str | None, **attributes: Any) -> None:
            shown = [_option(option) for option in command.options]
            shown_too = [_argument(argument) for argument in command.arguments]
            super().__init__(name, **{**attributes, "params": [*shown_too, *shown]})

    return Shown


def _option(option: Option) -> TyperOption:
    decls = [option.key.replace("-", "_"), *option.names]
    if option.off:
        decls[-1] = f"{decls[-1]}/{option.off}"
    flag = option.kind == "flag"
    return TyperOption(
        param_decls=decls,
        type=None if flag else str,
        is_flag=flag,
        multiple=option.kind not in ("flag", "text", "maybe"),
        metavar=None if flag else option.metavar,
        help=option.help,
        envvar=option.envvar or None,
        show_envvar=bool(option.envvar),
        show_default=False,
    )


class _Positional(TyperArgument):
    def make_metavar(self, ctx: Any, *, usage: bool = False) -> str:  # noqa: ARG002
        """As it is written in the table; Typer's own brackets would say that it may be left out."""
        return str(self.metavar)


def _argument(argument: Argument) -> TyperArgument:
    return _Positional(
        param_decls=[argument.metavar.split()[0].rstrip(".").lower()],
        type=str,
        # They all are; `main` sees to it, and Typer would say so behind each.
        required=False,
        nargs=-1 if argument.many else 1,
        metavar=argument.metavar,
        show_default=False,
        help=argument.help,
    )


def _nothing() -> None:
    """A command of the application does nothing itself; see `_Root`."""


def _build() -> typer.Typer:
    texts = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "add_completion": False}
    settings: dict[str, Any] = {**texts, "context_settings": _SETTINGS, "no_args_is_help": False}
    root = typer.Typer(
        name="macvfast",
        cls=_Root,
        help=f"{commands.ABOUT}\n\n{commands.DETAILS}",
        options_metavar="[OPTIONS]",
        **settings,
    )
    root.callback()(_nothing)
    groups: dict[tuple[str, ...], typer.Typer] = {(): root}
    for path, about in commands.GROUPS.items():
        groups[path] = typer.Typer(name=path[-1], help=about, **settings)
        groups[path[:-1]].add_typer(groups[path])
    for command in commands.COMMANDS:
        example = "\n".join(f"  {line}" for line in command.example.splitlines())
        groups[command.path[:-1]].command(
            command.path[-1],
            cls=_class_of(command),
            help="\n\n".join(filter(None, (command.about, command.details))),
            epilog=f"Example:\n\n\b\n{example}",
            context_settings=_SETTINGS,
        )(_nothing)
    return root


app = _build()


def help_text(path: tuple[str, ...]) -> str:
    """What `--help` says of the command or group at `path`, for a terminal of this width, 80 columns at most."""
    shown: Any = typer.main.get_command(app)
    context = shown.context_class(shown, info_name="macvfast", **_SETTINGS)
    for word in path:
        shown = shown.commands[word]
        context = shown.context_class(shown, info_name=word, parent=context, **_SETTINGS)
    return f"{shown.get_help(context)}\n"
