"""The part of Go's templates that Docker's users type after `--format`.

    {{.Name}}  {{json .Labels}}  {{(index .IPAM.Config 0).Subnet}}  {{.Label "tier"}}  {{len .Containers}}
    {{range .Containers}}{{.Name}} {{end}}  {{range $id, $c := .Containers}}{{$id}} {{$c.IPv4Address}}{{println}}{{end}}
    {{if .Internal}}inside{{else}}outside{{end}}  {{with index .Options "parent"}}{{.}}{{end}}  {{.Name | upper}}

Reading makes functions of it: of each action one that gives its text, of each expression one that gives its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from macvfast.cli.show.functions import FUNCTIONS, Safe, TemplateFailed, field_of, shown
from macvfast.cli.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

# What names mean at a place in a template: `.`, `$`, and variables as they are typed, `$name`.
Scope = dict[str, object]
Text = Callable[[Scope], str]
Value = Callable[[Scope], object]

# `{{- ` and ` -}}` take the white space on their side away. Tried once per stretch of white space, however long.
_TRIM_BEFORE = re.compile(r"(?<!\s)\s*\{\{-\s")
_TRIM_AFTER = re.compile(r"\s-\}\}\s*")
# An action: `range $key, $value := PIPELINE`, of which all but the last may be left out.
_ACTION = re.compile(r"\A(?:(if|with|range)\b)?\s*(?:(\$\w+)\s*(?:,\s*(\$\w+)\s*)?:?=)?(.*)", re.DOTALL)
# A dot or `$` that no field follows; in the text around the actions it does no harm.
_WHOLE = re.compile(r"(?:^|[^\w)])\.(?!\w)|\$(?![\w.])")
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>-?\d+)|(?P<mark>:=|[|(),])"""
    r"""|(?P<variable>\$\w*)|(?P<field>(?:\.[A-Za-z_]\w*)+|\.)|(?P<word>[A-Za-z_]\w*))""",
    re.ASCII,
)
_FORMS = "forms: {{.Field}} {{json .}} {{index .Field 0}} {{range .Field}}…{{end}} {{if .Field}}…{{end}} json"
_CONSTANTS = {"true": True, "false": False, "nil": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
# Characters of a template that a message shows, and of a text that a function may give.
_SHOWN = 200
_LONGEST = 1 << 20
_INT64_DIGITS = 20


class Template:
    """A template that was understood.

    Args:
        text: as typed; a typed backslash with `t` or `n` is a tab or line end, as in Docker.
        fields: what can be asked for at the top.

    Raises:
        Usage: it asks for something else.
    """

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        self._typed = text
        self._fields = fields
        text = text.replace("\\t", "\t").replace("\\n", "\n")
        self._pieces = _pieces(_TRIM_BEFORE.sub("{{", _TRIM_AFTER.sub("}}", text)))
        with self._refusing():
            self._text, ended = self._read(depth=0)
            if ended:
                raise TemplateFailed(f"`{ended}` stands alone")

    def may_name(self, field: str) -> bool:
        """Whether it may show a field of the top: it names it, or all of what a dot or `$` is."""
        return field in self._typed or _WHOLE.search(self._typed) is not None

    def render(self, value: Mapping[str, object]) -> str:
        """The template with the fields of a value, which `.` is; text of others is shown escaped.

        Raises:
            Usage: the value does not have what the template asks for, such as a sixth subnet.
        """
        with self._refusing():
            return self._text({".": value, "$": value})

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (TemplateFailed, RecursionError) as failed:
            why, hint = "it is nested too deeply", ""
            if isinstance(failed, TemplateFailed):
                why, hint = str(failed), failed.hint
            known = " ".join(f"{{{{.{name}}}}}" for name in self._fields if name != "Label")
            hints = [hint] if hint else [f"fields: {known}", _FORMS]
            raise Usage(f"`--format` cannot be `{_cut(self._typed)}`", causes=[_cut(why)], hints=hints) from None

    def _read(self, depth: int) -> tuple[Text, str]:
        """The pieces up to an `end` or `else`, and that action; nothing where the text ends first."""
        texts: list[Text] = []
        ended = ""
        for is_action, piece in self._pieces:
            action = piece.strip()
            if not is_action:
                texts.append(_always(piece))
            elif action == "end" or re.match(r"else\b", action):
                ended = action
                break
            elif not (action.startswith("/*") and action.endswith("*/")):
                texts.append(self._action(action, depth))
        return (lambda scope: "".join(text(scope) for text in texts)), ended

    def _action(self, action: str, depth: int) -> Text:
        """A block, a variable that is set, or a value that is shown."""
        ((word, *variables, pipeline),) = _ACTION.findall(action)
        names = [name for name in variables if name]
        value = _Reader(pipeline, self._fields, depth).whole()
        if word:
            return self._block(word, names, value, depth)
        if len(names) > 1:
            raise TemplateFailed(f"`{{{{{action}}}}}` is not understood")

        def keep(scope: Scope) -> str:
            scope[names[0]] = value(scope)
            return ""

        return keep if names else lambda scope: shown(value(scope))

    def _block(self, word: str, names: Sequence[str], value: Value, depth: int) -> Text:
        """`if`, `with` or `range`, up to its `end`. In `if`, the dot stays what it is."""
        body, ended = self._read(depth if word == "if" else depth + 1)
        otherwise = _always("")
        if ended == "else":
            otherwise, ended = self._read(depth)
        elif found := re.match(r"else\s+(?=if\b)", ended):
            otherwise, ended = self._action(ended[found.end() :], depth), "end"
        if ended != "end":
            raise TemplateFailed(f"`{word}` has no `end`")

        def show(scope: Scope) -> str:
            given = value(scope)
            if not given:
                return otherwise(dict(scope))
            if word == "range":
                return "".join(body(inner) for inner in _each(scope, given, names))
            return body({**scope, ".": scope["."] if word == "if" else given, **dict.fromkeys(names[:1], given)})

        return show


class _Reader:
    """Reads the pipeline of one action: `index .Labels "tier" | upper`."""

    def __init__(self, text: str, fields: Sequence[str], depth: int) -> None:
        self._text = text.strip()
        self._fields = fields
        self._depth = depth
        self._tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(self._text):
            found = _TOKEN.match(self._text, position)
            if found is None:
                raise self._not_understood()
            self._tokens.append((str(found.lastgroup), found[0].strip()))
            position = found.end()
        self._tokens.append(("", ""))
        self._next = 0

    def whole(self) -> Value:
        """The one pipeline that all of it is."""
        value = self._pipeline()
        self._expect("")
        return value

    def _pipeline(self) -> Value:
        value = self._command(())
        while self._tokens[self._next] == ("mark", "|"):
            self._next += 1
            value = self._command((value,))
        return value

    def _command(self, piped: tuple[Value, ...]) -> Value:
        """A function with its arguments, the piped value being the last; or a single value."""
        kind, said = self._tokens[self._next]
        if kind == "word" and said not in _CONSTANTS:
            self._next += 1
            if said not in FUNCTIONS:
                raise TemplateFailed(f"there is no function `{said}`: there are {', '.join(sorted(FUNCTIONS))}")
            return _call(said, (*self._values(), *piped))
        value = self._value()
        # `.Label "tier"` is a method of Docker's lists.
        is_label = self._depth == 0 and self._tokens[self._next - 1] == ("field", ".Label")
        values = self._values()
        if values and is_label:
            return _call("index", (value, *values))
        if values or piped:
            raise self._not_understood()
        return value

    def _values(self) -> list[Value]:
        values = []
        while self._tokens[self._next][0] not in ("", "mark") or self._tokens[self._next][1] == "(":
            values.append(self._value())
        return values

    def _value(self) -> Value:
        kind, said = self._tokens[self._next]
        self._next += 1
        if kind == "number":
            return _always(_number(said))
        if kind == "text":
            return _always(Safe(said[1:-1] if said[0] == "`" else _unescaped(said[1:-1])))
        if kind == "word" and said in _CONSTANTS:
            return _always(_CONSTANTS[said])
        if kind == "field":
            return self._field(_variable("."), said, of_top=self._depth == 0)
        if kind == "variable":
            value = _variable(said)
        elif said == "(":
            value = self._pipeline()
            self._expect(")")
        else:
            raise self._not_understood()
        # The fields right behind a variable or a bracket: `$c.Name`, `(index .A 0).B`.
        following, names = self._tokens[self._next]
        if following != "field" or names == ".":
            return value
        self._next += 1
        return self._field(value, names, of_top=said == "$")

    def _field(self, base: Value, said: str, *, of_top: bool) -> Value:
        """`.A.B` of a value; at the top, a field that is not there is refused before anything is shown."""
        names = [name for name in said.split(".") if name]
        if of_top and names and names[0] not in self._fields:
            raise TemplateFailed(f"`{{{{.{names[0]}}}}}` is not there")

        def value(scope: Scope) -> object:
            found = base(scope)
            for name in names:
                found = field_of(found, name)
            return found

        return value

    def _expect(self, mark: str) -> None:
        if self._tokens[self._next][1] != mark:
            raise self._not_understood()
        self._next += 1

    def _not_understood(self) -> TemplateFailed:
        return TemplateFailed(f"`{{{{{self._text}}}}}` is not understood")


def _always(constant: T) -> Callable[[Scope], T]:
    return lambda _: constant


def _variable(name: str) -> Value:
    """`.`, `$`, or a variable that was set."""

    def value(scope: Scope) -> object:
        if name not in scope:
            raise TemplateFailed(f"there is no variable `{name}`")
        return scope[name]

    return value


def _call(function: str, values: Sequence[Value]) -> Value:
    """A function of values; a text may be doubled again and again, but not beyond what a screen can show."""
    act, least, most = FUNCTIONS[function]
    if not least <= len(values) <= most:
        raise TemplateFailed(f"`{function}` takes {least if least == most else f'{least} or more'} values")

    def value(scope: Scope) -> object:
        given = act(*(one(scope) for one in values))
        if isinstance(given, str) and len(given) > _LONGEST:
            raise TemplateFailed(f"`{function}` makes a text of more than {_LONGEST} characters")
        return given

    return value


def _each(scope: Scope, value: object, names: Sequence[str]) -> Iterator[Scope]:
    """The scope of every element; of a map, by its keys, sorted, as in Go."""
    if not isinstance(value, (Mapping, list)):
        raise TemplateFailed(f"`range` cannot go over {shown(value)}")
    for key in sorted(value) if isinstance(value, Mapping) else range(len(value)):
        element = value[key]
        # Of one name, the element; of two, the key comes before it.
        yield {**scope, ".": element, **dict(zip(reversed(names), (element, key), strict=False))}


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """What stands between `{{` and `}}`, and what does not."""
    for position, piece in enumerate(re.split(r"\{\{(.*?)\}\}", text, flags=re.DOTALL)):
        is_action = position % 2 == 1
        if not is_action and ("{{" in piece or "}}" in piece):
            raise TemplateFailed("a `{{` or `}}` has no partner")
        yield is_action, piece


def _number(said: str) -> int:
    # Digits first: int() refuses very many.
    number = int(said) if len(said) <= _INT64_DIGITS else None
    if number is None or not -(1 << 63) <= number < 1 << 63:
        raise TemplateFailed(f"{said} is larger than a number can be")
    return number


def _cut(text: str) -> str:
    """A text as far as a message shows it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text)
