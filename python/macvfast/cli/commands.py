"""Which commands there are, and how one becomes Typer's: an annotated function, loaded and made when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from macvfast.cli.call import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = TypeVar("Function", bound=Callable[..., int])

# Every command in the order of the help, and the module below macvfast.cli that declares it.
COMMANDS = {
    "run": "running",
    "create": "running",
    "exec": "running",
    "start": "stopping",
    "stop": "stopping",
    "restart": "stopping",
    "logs": "sandbox",
    "inspect": "inspecting",
    "ps": "sandbox",
    "rm": "sandbox",
    "scale": "scale",
    "network create": "network_change",
    "network ls": "network",
    "network inspect": "network",
    "network update": "network_change",
    "network rm": "network",
    "network prune": "network",
    "network connect": "connecting",
    "network disconnect": "connecting",
    "network import cni": "importing.cni",
    "network import docker": "importing.command",
    "ipam show": "ipam",
    "topology": "topology",
    "restore": "maintain",
    "check": "maintain",
    "gc": "maintain",
    "status": "status",
    "metrics": "status",
    "serve": "serve",
    "service install": "service",
    "service uninstall": "service",
    "completion": "completing",
    "state backup": "state",
    "state load": "state",
    "state adopt": "state",
}

# Other last words of commands.
ALIASES = {"network list": "network ls", "network remove": "network rm"}

GROUPS = {
    "network": "Create, list, show and remove networks; connect sandboxes to them.",
    "network import": "Import networks of other programs.",
    "ipam": "Show the addresses of networks.",
    "service": "Install what systemd runs: the restore at boot, and the server.",
    "state": "Back up, load and adopt the recorded state.",
}

_CONTEXT = {"help_option_names": ["-h", "--help"]}
SETTINGS: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "add_completion": False,
    "context_settings": _CONTEXT,
}


class Declared(NamedTuple):
    r"""The declaration of a command; its parameters are those of its function.

    Attributes:
        path: `network create`.
        function: its docstring is the first paragraph of the help; `details` are the rest.
        example: can be typed as is. In it and in `details`, a paragraph that begins with the line `\b` keeps its lines.
        changes: whether it changes anything when it succeeds.
        begins: whether it may be the first on a state directory, which it then makes.
        runs: whether it ends with the status of a command that it runs, whose words end its own options; macvfast's own
            refusals then end with 125.
        listing: whether it takes `--format json`, and then shows errors as JSON too.
        instead: the hint if it is given too many arguments, with `{}` for the first of these.
    """

    path: str
    function: Callable[..., int]
    example: str
    details: str = ""
    changes: bool = True
    begins: bool = False
    runs: bool = False
    listing: bool = False
    instead: str = ""


_DECLARED: dict[str, Declared] = {}


def command(path: str, *, example: str, **others: Any) -> Callable[[Function], Function]:
    """Declare a function as the command `path`; the other arguments are those of Declared."""

    def declare(function: Function) -> Function:
        _DECLARED[path] = Declared(path, function, example, **others)
        return function

    return declare


class Command(TyperCommand):
    """A command of Typer's that knows how it was declared."""

    context_class = Call
    declared: Declared

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """The arguments as Docker shows them: `NETWORK`, where Typer has `{NETWORK}`."""
        return ["[OPTIONS]", *(str(one.metavar) for one in self.params if one.param_type_name == "argument")]


class Group(TyperGroup):
    """A group of Typer's whose commands are loaded and made when they are asked for."""

    context_class = Call

    def list_commands(self, ctx: Any) -> list[str]:
        """The words that may follow, in the order of the help; aliases are left out."""
        above = _path(ctx).split()
        paths = [path.split() for path in COMMANDS]
        return list(dict.fromkeys(path[len(above)] for path in paths if path[: len(above)] == above))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command or group that is called so, also by an alias; None where there is none."""
        if cmd_name not in self.commands:
            made = _made(f"{_path(ctx)} {cmd_name}".lstrip())
            if made is None:
                return None
            self.commands[cmd_name] = made
        return self.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every command with its whole first sentence, which Typer would cut at the end of the line."""
        names = self.list_commands(ctx)
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.get_command(ctx, name).get_short_help_str(limit=1000)) for name in names])


def _made(path: str) -> TyperCommand | TyperGroup | None:
    if path in GROUPS:
        return group(path, GROUPS[path], _nothing)
    path = ALIASES.get(path, path)
    return _command(_declared(path)) if path in COMMANDS else None


def _path(context: Any) -> str:
    """The path of a context's command, without the program's name."""
    return str(context.command_path).partition(" ")[2]


def _declared(path: str) -> Declared:
    if path not in _DECLARED:
        import_module(f"macvfast.cli.{COMMANDS[path]}")
    return _DECLARED[path]


def _command(declared: Declared) -> Command:
    app = typer.Typer(**SETTINGS)
    example = "\n".join(f"  {line}" for line in declared.example.splitlines())
    app.command(
        declared.path.rpartition(" ")[2],
        cls=Command,
        help="\n\n".join(filter(None, (declared.function.__doc__, declared.details))),
        epilog=f"Example:\n\n\b\n{example}",
        context_settings={**_CONTEXT, "allow_interspersed_args": not declared.runs},
    )(declared.function)
    made = typer.main.get_command(app)
    assert isinstance(made, Command)  # noqa: S101 - one function makes a command of the class that was said
    made.declared = declared
    return made


def group(path: str, about: str, callback: Callable[..., None]) -> Group:
    """A group of Typer's; the parameters of `callback` are its options."""
    app = typer.Typer(name=path.rpartition(" ")[2] or "macvfast", cls=Group, help=about, **SETTINGS)
    app.callback()(callback)
    made = typer.main.get_command(app)
    assert isinstance(made, Group)  # noqa: S101 - of the class that was said
    return made


def _nothing() -> None:
    """A group that has no options."""


def every_command() -> list[Declared]:
    """All commands in the order of the help; loads every module that declares one."""
    return [_declared(path) for path in COMMANDS]
