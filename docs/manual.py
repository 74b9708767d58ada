"""Man pages from the Typer application, one for each command and group, for `man macvfast-network-create`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docs.application import contexts, spellings_of
from macvfast import __version__
from macvfast.cli.commands import ALIASES

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTION = "1"

EXIT_STATUS = """\
0 done; 1 refused or failed, and nothing changed; 2 usage; 3 partly done, or something remains: each item is named, with
the command that mends it; 70 a bug in macvfast; 130 interrupted. run and exec end with the command's own status, 125
where macvfast refused or failed, 126 where the command cannot be started, 127 where it is not there."""


def pages() -> dict[str, str]:
    """Every page by its file name."""
    found: dict[str, str] = {}
    for context in contexts():
        command = context.command
        file = f"{_title(context)}.{SECTION}"
        if hasattr(command, "list_commands"):
            found[file] = _group_page(context)
            continue
        found[file] = _page(context)
    for alias, path in ALIASES.items():
        files = [f"macvfast-{one.replace(' ', '-')}.{SECTION}" for one in (alias, path)]
        found[files[0]] = f".so man{SECTION}/{files[1]}\n"
    return found


def _title(context: Any) -> str:
    return str(context.command_path).replace(" ", "-")


def _about(command: Any) -> str:
    """The first paragraph of a help."""
    return str(command.help).partition("\n\n")[0]


def _page(context: Any) -> str:
    command, title = context.command, _title(context)
    words = " ".join(command.collect_usage_pieces(context))
    lines = [*_head(title, _about(command)), ".SH SYNOPSIS", f".B {escaped(context.command_path)}", escaped(words)]
    lines += [".SH DESCRIPTION", *_paragraphs(command.help), ".SH OPTIONS"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            lines += [".TP", rf"\fI{escaped(parameter.metavar)}\fR", escaped(parameter.help)]
    common = [one for one in context.find_root().command.params if not one.is_eager]
    lines += _options([*command.params, *common, command.get_help_option(context)])
    example = command.declared.example.splitlines()
    lines += [".SH EXAMPLE", ".nf", *(escaped(line) for line in example), ".fi"]
    return _ended(lines, [_title(context.parent)])


def _group_page(context: Any) -> str:
    group, name, is_root = context.command, context.command_path, context.parent is None
    lines = [*_head(_title(context), _about(group)), ".SH SYNOPSIS", f".B {escaped(name)}"]
    lines += ["[OPTIONS] COMMAND [ARGS]...", ".SH DESCRIPTION", *_paragraphs(group.help)]
    if is_root:
        lines += [".SH OPTIONS", *_options([*group.params, group.get_help_option(context)])]
    lines.append(".SH COMMANDS")
    below = [one for one in contexts() if one.command_path.rpartition(" ")[0] == name]
    for one in below:
        lines += [".TP", rf"\fB{escaped(one.command_path)}\fR", escaped(_about(one.command))]
    if is_root:
        lines += [".SH EXIT STATUS", escaped(EXIT_STATUS.replace("\n", " "))]
        lines += [".SH FILES", ".TP", ".I /var/lib/macvfast", "Recorded networks and sandboxes."]
        lines += [".TP", ".I /run/netns/NAME", "The namespace of sandbox NAME."]
        about = "A link to its files of /etc, for ip netns exec; only with state and pins in these places."
        lines += [".TP", ".I /etc/netns/NAME", about]
    above = [] if is_root else [_title(context.parent)]
    return _ended(lines, [*above, *map(_title, below)])


def _head(title: str, about: str) -> list[str]:
    head = rf'.TH {escaped(title.upper())} {SECTION} "" "macvfast {__version__}" "macvfast"'
    return [
        '.\\" Written by docs/generate.py; `make docs` writes it anew.',
        head,
        ".SH NAME",
        rf"{escaped(title)} \- {escaped(about.rstrip('.'))}",
    ]


def _ended(lines: list[str], others: list[str]) -> str:
    see = ", ".join(rf"\fB{escaped(other)}\fR({SECTION})" for other in others)
    return "\n".join([*lines, ".SH SEE ALSO", see, ""])


def _options(parameters: list[Any]) -> Iterator[str]:
    """Options as list items; a spelling belongs to the first that has it."""
    taken: set[str] = set()
    for option in parameters:
        if option.param_type_name != "option":
            continue
        names = [name for name in spellings_of(option) if name not in taken or not option.is_eager]
        taken.update(names)
        value = "" if option.is_flag else f" {option.metavar}"
        yield ".TP"
        yield ", ".join(rf"\fB{escaped(name)}\fR{escaped(value)}" for name in sorted(names, key=len))
        yield escaped(option.help + (f" Also: {option.envvar}." if option.envvar else ""))


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs; one that begins with a line of backspace keeps its lines."""
    for paragraph in filter(None, text.split("\n\n")):
        yield ".PP"
        if paragraph.startswith("\b\n"):
            yield ".nf"
            yield from (escaped(line) for line in paragraph.splitlines()[1:])
            yield ".fi"
        else:
            yield escaped(" ".join(paragraph.split()))


def escaped(text: str) -> str:
    """Text that roff does not take for its own: `-o` stays what can be typed."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
