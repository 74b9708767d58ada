"""docs/python.md: the worked examples as they are, and a reference made from the docstrings of what is public."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import macvfast

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parent / "examples"
ORDER = ("one_sandbox", "many", "given_namespaces", "after_a_kill")
# What a program begins with; all other names follow in their own order.
FIRST = ("Host", "Pool", "Addresses")
WIDTH = 100
# Classes, and nothing else: a line of a docstring below Raises.
_NAMES = re.compile(r"^[A-Z]\w+(?:, [A-Z]\w+)*$")

INTRODUCTION = """
# Python

    from macvfast import EndpointRequest, Host

`Host` is this host as macvfast sees it; each command of `macvfast` is one call of it. `Pool` gives the addresses of one
subnet, without kernel or file. Every failure is an exception below `macvfast.MacvfastError`; docs/errors.md lists them.
`str` of it says what failed and why, `hints` what to do; Python shows both where nobody catches it. All is typed
(`py.typed`), and importing the package is cheap: each name is loaded when it is first used.

A call on many returns `Outcomes`, one per item in the order asked: a refused item never raises and never stops another.
`progress=` is called with how many have ended and of how many, first with 0: `Tell` is `Callable[[int, int], None]`.
`Several[T]` is a list of `T`, or any other iterable of `T`; a text is refused, for its items are letters. `Pairs[T]` is
a mapping of names to `T`, or its items: pairs of a name and a `T`.

## Logging

The logger `macvfast` of Python's `logging` behaves as a library's: it has no handler that writes, and passes its
records on to yours. Each batch of requests to the kernel is a record of level DEBUG; what is changed, done again or
undone is one of level INFO. The values are in `record.values`; of a change, `command` is the `ip` command that does it.

    logging.basicConfig(level=logging.INFO)
    logging.getLogger("macvfast").setLevel(logging.DEBUG)

`Host.log("text")` and `Host.log("json")` write them on standard error instead, as `MACVFAST_LOG` does.

## Worked examples

They run as tests. Each takes the parent as its first argument.
"""


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION.strip("\n"), ""]
    for name in ORDER:
        source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        title, _, code = source.partition('"""\n')
        lines += [f"### {name}.py", "", title.strip('"'), "", "```python", code.strip("\n"), "```", ""]
    lines += ["## Reference", ""]
    for name in (*FIRST, *sorted({*macvfast.__all__} - {*FIRST, "__version__"})):
        lines += of_class(getattr(macvfast, name))
    return "\n".join(lines)


def of_class(cls: type) -> list[str]:
    """A class with all that is public of it."""
    lines = [f"### {cls.__name__}", ""]
    if dataclasses.is_dataclass(cls):
        lines += [*_code([_field(one) for one in dataclasses.fields(cls) if one.init], cls.__name__), ""]
    elif issubclass(cls, enum.Enum):
        lines += [", ".join(f"`{one.name}`" for one in cls), ""]
    elif not issubclass(cls, Exception) and cls.__init__ is not object.__init__ and cls.__name__ != "Host":
        lines += [*_signature(cls.__name__, cls), ""]
    lines += [*as_markdown(cls.__doc__), ""]
    for name, member in _members(cls):
        lines += _member(f"{cls.__name__}.{name}", member)
    return lines


def _member(name: str, member: object) -> list[str]:
    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    if isinstance(member, property):
        return [f"- `{name}`: {' '.join(inspect.cleandoc(function.__doc__ or '').split())}", ""]
    return [f"#### {name}", "", *_signature(name, function), "", *as_markdown(function.__doc__), ""]


def _members(cls: type) -> Iterator[tuple[str, object]]:
    """Its public methods and properties with a docstring, those of its parents that are ours too, in their order."""
    if issubclass(cls, (Exception, enum.Enum)):
        return
    seen = set()
    for home in cls.__mro__:
        if not home.__module__.startswith("macvfast"):
            continue
        for name, member in vars(home).items():
            plain = getattr(member, "__func__", member)
            is_one = isinstance(member, property) or callable(plain)
            if not name.startswith("_") and name not in seen and is_one and plain.__doc__:
                seen.add(name)
                yield name, member


def _field(field: dataclasses.Field[object]) -> str:
    shown = f"{field.name}: {field.type}"
    if field.default is not dataclasses.MISSING:
        return f"{shown} = {field.default!r}"
    return f"{shown} = …" if field.default_factory is not dataclasses.MISSING else shown


def _signature(name: str, function: object) -> list[str]:
    assert callable(function)
    try:
        signature = inspect.signature(function)
    except ValueError:
        return ["```python", f"{name}(…)", "```"]
    words: list[str] = []
    keywords = False
    for one in signature.parameters.values():
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not keywords:
            keywords = True
            words.append("*")
        if one.name not in ("self", "cls"):
            shown = re.sub(r": '(.*?)'", r": \1", str(one))
            # What a function is by default, no repr says.
            words.append(re.sub(r"<function .*", "…", shown))
    given = signature.return_annotation
    return _code(words, name, "" if given is inspect.Signature.empty else f" -> {given}")


def _code(words: list[str], name: str, given: str = "") -> list[str]:
    line = f"{name}({', '.join(words)}){given}"
    if len(line) <= WIDTH:
        return ["```python", line, "```"]
    return ["```python", f"{name}(", *(f"    {word}," for word in words), f"){given}", "```"]


def as_markdown(text: str | None) -> list[str]:
    """A docstring, its sections as lists."""
    lines: list[str] = []
    section = ""
    for line in inspect.cleandoc(text or "").splitlines():
        if re.fullmatch(r"(Args|Attributes|Returns|Raises)( \(.*\))?:", line):
            section = line
            lines += ["", f"**{line}**", ""] if lines and lines[-1] else [f"**{line}**", ""]
        elif match := re.match(r" {4}(\w[\w, ]*): (.*)", line):
            lines.append(f"- `{match[1]}`: {match[2]}")
        elif section.startswith("Raises") and (match := re.match(r" {4}(\S.*)", line)):
            # Names of which there is nothing to say, or a sentence.
            said = match[1]
            lines.append(f"- `{said}`" if _NAMES.match(said) else f"- {said}")
        elif line.startswith("     "):
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line.strip() if line.startswith("    ") else line)
    return [line for at, line in enumerate(lines) if line or (at and lines[at - 1])]
