"""Man pages from the table of commands, one for each command and group, for `man macvfast-network-create`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast import __version__
from macvfast.cli import commands
from macvfast.cli.arguments import HELP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from macvfast.cli.arguments import Command, Option

SECTION = "1"

EXIT_STATUS = """\
0 done; 1 refused or failed, and nothing changed; 2 usage; 3 partly done, or something remains: each item is named, with
the command that mends it; 70 a bug in macvfast; 130 interrupted. run and exec end with the command's own status, 125
where macvfast refused or failed, 126 where the command cannot be started, 127 where it is not there."""


def pages() -> dict[str, str]:
    """Every page by its file name."""
    found = {f"macvfast.{SECTION}": _group_page((), commands.ABOUT)}
    for path, about in commands.GROUPS.items():
        found[f"{'-'.join(('macvfast', *path))}.{SECTION}"] = _group_page(path, about)
    for command in commands.COMMANDS:
        for name in (command.path[-1], *command.aliases):
            file = f"{'-'.join(('macvfast', *command.path[:-1], name))}.{SECTION}"
            found[file] = (
                _page(command) if name == command.path[-1] else f".so man{SECTION}/{_title(command.path)}.{SECTION}\n"
            )
    return found


def _title(path: tuple[str, ...]) -> str:
    return "-".join(("macvfast", *path))


def _page(command: Command) -> str:
    title = _title(command.path)
    words = " ".join(("[OPTIONS]", *(argument.metavar for argument in command.arguments)))
    lines = [*_head(title, command.about), ".SH SYNOPSIS", f".B {escaped(command.name)}", escaped(words)]
    lines += [".SH DESCRIPTION", *_paragraphs(command.about), *_paragraphs(command.details)]
    lines.append(".SH OPTIONS")
    for argument in command.arguments:
        lines += [".TP", rf"\fI{escaped(argument.metavar)}\fR", escaped(argument.help)]
    for option in (*command.options, *commands.COMMON, HELP):
        lines += _option(option, taken={name for one in command.options for name in one.names})
    lines += [".SH EXAMPLE", ".nf", *(escaped(line) for line in command.example.splitlines()), ".fi"]
    return _ended(lines, [_title(command.path[:-1])])


def _group_page(path: tuple[str, ...], about: str) -> str:
    name = " ".join(("macvfast", *path))
    lines = [*_head(_title(path), about), ".SH SYNOPSIS", f".B {escaped(name)}", "[OPTIONS] COMMAND [ARGS]..."]
    lines += [".SH DESCRIPTION", *_paragraphs(about)]
    if not path:
        lines += [*_paragraphs(commands.DETAILS), ".SH OPTIONS"]
        for option in (*commands.COMMON, commands.VERSION, HELP):
            lines += _option(option, taken=set())
    lines.append(".SH COMMANDS")
    below = [_title((*path, word)) for word in commands.below(path)]
    for word in commands.below(path):
        command = commands.find((*path, word))
        said = commands.GROUPS[(*path, word)] if command is None else command.about
        lines += [".TP", rf"\fB{escaped(f'{name} {word}')}\fR", escaped(said)]
    if not path:
        lines += [".SH EXIT STATUS", escaped(EXIT_STATUS.replace("\n", " "))]
        lines += [".SH FILES", ".TP", ".I /var/lib/macvfast", "Networks and sandboxes as they are recorded."]
        lines += [".TP", ".I /run/netns/NAME", "The namespace of sandbox NAME."]
        about = "A link to its files of /etc, for ip netns exec; only with state and pins in these places."
        lines += [".TP", ".I /etc/netns/NAME", about]
    return _ended(lines, below if not path else [_title(path[:-1]), *below])


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


def _option(option: Option, taken: set[str]) -> Iterator[str]:
    names = [name for name in (*option.names, option.off) if name and (option is not HELP or name not in taken)]
    value = f" {option.metavar}" if option.metavar else ""
    yield ".TP"
    yield ", ".join(rf"\fB{escaped(name)}\fR{escaped(value)}" for name in names)
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
