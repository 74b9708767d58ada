"""Write docs/errors.md from macvfast.errors, docs/cli.md from the command itself, docs/python.md (`reference`),
docs/topology.md from what commands show (`screens`), and what the wheel installs beside it: man pages (`manual`) and
completion scripts, under macvfast.data.

`python docs/generate.py --check` writes nothing and ends with 1 where a page is not what would be written.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs import reference, screens
from docs.mistakes import MISTAKES
from docs.mistyped import MISTYPED
from macvfast import errors
from macvfast.errors import MacvfastError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docs.mistakes import Mistake

DOCS = Path(__file__).parent
# What is here, an installed wheel has under its prefix's share.
SHARE = DOCS.parent / "macvfast.data/data/share"
NOTICE = "<!-- Written by docs/generate.py; `make docs` writes it anew. -->\n"

ERRORS_INTRODUCTION = f"""{NOTICE}
# Errors

Every failure that macvfast foresees is an exception of `macvfast.errors`, below `MacvfastError`. It has a stable code,
says what failed (`message`), why (`causes`) and what to type next (`hints`), and carries the values it speaks of as
attributes. The command shows it on standard error and ends with the exit status in the table; `run` and `exec` end with
125 in place of 1. The code is what `--format json` prints.
"""

CLI_INTRODUCTION = f"""{NOTICE}
# The command

What `--help` says of each command, on one page.
"""


def first_paragraph(text: str | None) -> str:
    """The first paragraph of a docstring as one line."""
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())


def kinds() -> list[type[MacvfastError]]:
    """The classes straight below the root, in the order they are written."""
    return MacvfastError.__subclasses__()


def family(kind: type[MacvfastError]) -> Iterator[type[MacvfastError]]:
    """A class, then everything below it, in the order written."""
    yield kind
    for below in kind.__subclasses__():
        yield from family(below)


def meaning(cls: type[MacvfastError]) -> str:
    """What a class says of itself, or else what its errors say, with the names of their values: network *name*."""
    if cls.__doc__:
        return first_paragraph(cls.__doc__)
    text, cause = (one if isinstance(one, str) else one[0] for one in (cls._text, cls._cause))
    said = re.sub(r"`?\{(\w+)[^}]*\}`?", r"*\1*", f"{text}: {cause}".replace("\n", "; "))
    return f"{said[0].upper()}{said[1:]}."


def error_row(cls: type[MacvfastError]) -> str:
    """One class as a row of the table."""
    return f"| `{cls.code}` | `{cls.__name__}` | {cls.exit_status} | {meaning(cls)} |"


MISTAKES_INTRODUCTION = """## Beside Docker

The mistakes that people make most, as Docker and as macvfast answers them. Docker's words are those of Engine 20.10
and, where 26.1 or 28.5 says something else, of that one too.
"""

MISTYPED_INTRODUCTION = """## In typing

Lines that are typed wrong in the first minutes, and what macvfast says of them.
"""


def mistake_lines(mistake: Mistake) -> list[str]:
    """One mistake: the line, and both answers."""
    before = [f"$ macvfast {line}" for line in mistake.before]
    theirs: list[str] = []
    if mistake.docker or mistake.unnoticed:
        first = "Docker 20.10" if mistake.later else "Docker"
        for whose, docker, unnoticed in ((first, mistake.docker, mistake.unnoticed), *mistake.later):
            named = whose if whose == first else f"Docker {whose}"
            theirs += [f"{named}: `{docker}`" if docker else f"{named}: {unnoticed}.", ""]
    typed = ["```", *before, f"$ macvfast {mistake.line}", mistake.macvfast, "```"]
    return [f"### {mistake.title}", "", *theirs, *typed, ""]


def errors_page() -> str:
    """docs/errors.md."""
    lines = [ERRORS_INTRODUCTION]
    for kind in kinds():
        lines += [f"## {kind.__name__}", "", "| code | class | exit status | meaning |", "| --- | --- | --- | --- |"]
        lines += [error_row(cls) for cls in family(kind) if cls.__module__ == errors.__name__]
        lines.append("")
    lines += [MISTAKES_INTRODUCTION, *(line for mistake in MISTAKES for line in mistake_lines(mistake))]
    lines += [MISTYPED_INTRODUCTION, *(line for mistake in MISTYPED for line in mistake_lines(mistake))]
    return "\n".join(lines)


def as_markdown(text: str | None) -> list[str]:
    """Help text as Markdown lines: paragraphs that are typed, or indented, become code blocks."""
    lines: list[str] = []
    # Click's \b, which keeps the lines of a paragraph apart, is for terminals.
    for paragraph in textwrap.dedent((text or "").replace("\b\n", "")).split("\n\n"):
        rows = textwrap.dedent(paragraph.strip("\n")).splitlines()
        if not rows:
            continue
        if all(re.match(r"  |\$ |macvfast ", row) for row in paragraph.strip("\n").splitlines()):
            rows = ["```", *rows, "```"]
        lines += [*rows, ""]
    return lines


def option_text(parameter: Any) -> str:
    """How an option or argument is typed: `-d`, `--detach`, `--subnet CIDR`."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.type.name.upper()}"
    return ", ".join(f"`{name}{value}`" for name in (*parameter.opts, *parameter.secondary_opts))


def option_rows(parameters: list[Any]) -> list[str]:
    """The options and arguments of one command as a table; hidden ones are left out."""
    rows = []
    for parameter in parameters:
        said = getattr(parameter, "help", None)
        if getattr(parameter, "hidden", False) or (not said and parameter.param_type_name == "argument"):
            continue
        variable = getattr(parameter, "envvar", None)
        meaning = " ".join((said or "").split()).replace("|", "\\|") + (f" Also: `{variable}`." if variable else "")
        rows.append(f"| {option_text(parameter)} | {meaning} |")
    return ["| option | meaning |", "| --- | --- |", *rows, ""] if rows else []


def command_section(context: Any) -> list[str]:
    """One command or group as Markdown lines."""
    command, path = context.command, context.command_path
    depth = min(2 + path.count(" "), 4)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    lines = [f"{'#' * depth} {path}", "", "```", usage, "```", ""]
    lines += as_markdown(command.help)
    lines += option_rows(command.params)
    lines += as_markdown(getattr(command, "epilog", None))
    return lines


def cli_page(app: Any = None) -> str:
    """docs/cli.md; `app` is a Typer application, by default macvfast's own."""
    import typer.main

    from docs.application import contexts

    shown = contexts(None if app is None else typer.main.get_command(app))
    return "\n".join([CLI_INTRODUCTION, *(line for context in shown for line in command_section(context))])


def installed() -> dict[Path, str]:
    """What the wheel installs into share: man pages, and completion where the shells look for it."""
    from docs.manual import SECTION, pages
    from macvfast.cli.completing import BASH, FISH, ZSH

    found = {SHARE / f"man/man{SECTION}" / name: text for name, text in pages().items()}
    found[SHARE / "bash-completion/completions/macvfast"] = BASH
    found[SHARE / "zsh/site-functions/_macvfast"] = ZSH
    found[SHARE / "fish/vendor_completions.d/macvfast.fish"] = FISH
    return found


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` compare them."""
    written = {
        DOCS / "errors.md": errors_page(),
        DOCS / "cli.md": cli_page(),
        DOCS / "python.md": f"{NOTICE}\n{reference.page()}",
        DOCS / "topology.md": screens.page(),
        DOCS / "images/topology.svg": screens.picture(),
        **installed(),
    }
    stale = []
    for page, text in written.items():
        wanted = text.rstrip("\n") + "\n"
        if page.exists() and page.read_text(encoding="utf-8") == wanted:
            continue
        stale.append(page)
        if "--check" not in arguments:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(wanted, encoding="utf-8")
    for page in SHARE.rglob("*") if SHARE.is_dir() else ():
        if page.is_file() and page not in written:
            stale.append(page)
            if "--check" not in arguments:
                page.unlink()
    if "--check" not in arguments:
        return 0
    if stale:
        names = ", ".join(str(page.relative_to(DOCS.parent)) for page in stale)
        print(f"error: not current: {names}; type: make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
