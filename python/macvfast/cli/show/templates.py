"""The part of Go's templates that Docker's users type after `--format`.

    {{.Name}}  {{json .Labels}}  {{(index .IPAM.Config 0).Subnet}}  {{.Label "tier"}}  {{len .Containers}}
    {{range .Containers}}{{.Name}} {{end}}  {{range $id, $c := .Containers}}{{$id}} {{$c.IPv4Address}}{{println}}{{end}}
    {{if .Internal}}inside{{else}}outside{{end}}  {{with index .Options "parent"}}{{.}}{{end}}  {{.Name | upper}}

Read here, evaluated in `expressions`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from macvfast.cli.show.expressions import (
    FUNCTIONS,
    Constant,
    Expression,
    Field,
    FunctionCall,
    Safe,
    Scope,
    TemplateFailed,
    shown,
    truth,
)
from macvfast.cli.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# `{{- ` and ` -}}` take the white space on their side away. Tried once per stretch of white space, however long.
_TRIM_BEFORE = re.compile(r"(?<!\s)\s*\{\{-\s")
_TRIM_AFTER = re.compile(r"\s-\}\}\s*")
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>-?\d+)|(?P<mark>:=|[|(),])"""
    r"""|(?P<variable>\$\w*)|(?P<field>(?:\.[A-Za-z_]\w*)+|\.)|(?P<word>[A-Za-z_]\w*))""",
    re.ASCII,
)
_TOO_DEEP = "it is nested too deeply"
# Characters of a template that a message shows.
_SHOWN = 200
_INT64_DIGITS = 20
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


class _Text(NamedTuple):
    """Text as it stands."""

    text: str


class _Show(NamedTuple):
    """A value to be shown."""

    value: Expression


class _Set(NamedTuple):
    """A value to be kept under a name."""

    variable: str
    value: Expression


class _Block(NamedTuple):
    """`if`, `with` or `range`: a part that depends on a value, and what stands in its place otherwise."""

    word: str
    value: Expression
    variables: tuple[str, ...]
    body: tuple[_Node, ...]
    otherwise: tuple[_Node, ...]


_Node = _Text | _Show | _Set | _Block


class Template:
    """A template that was understood.

    Args:
        text: as typed; a typed backslash with `t` or `n` is a tab or line end, as in Docker.
        fields: what can be asked for at the top.

    Raises:
        Usage: it asks for something else.
    """

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        self._text = text
        self._fields = fields
        text = text.replace("\\t", "\t").replace("\\n", "\n")
        self._pieces = list(_pieces(_TRIM_BEFORE.sub("{{", _TRIM_AFTER.sub("}}", text))))
        if any(not is_action and ("{{" in piece or "}}" in piece) for is_action, piece in self._pieces):
            raise self._refuse("a `{{` or `}}` stands alone")
        self._position = 0
        try:
            self._nodes, ended = self._read(depth=0)
        except RecursionError:
            raise self._refuse(_TOO_DEEP) from None
        if ended:
            raise self._refuse(f"`{ended}` stands alone")

    def render(self, value: Mapping[str, object], extra: Mapping[str, object] | None = None) -> str:
        """The template with a value's fields; text of others is shown escaped.

        Args:
            value: what `.` is.
            extra: what may be asked for by name besides.

        Raises:
            Usage: the value has not what the template asks of it, such as a sixth subnet.
        """
        try:
            return _rendered(self._nodes, Scope(value, value, extra or {}, {}))
        except TemplateFailed as failed:
            raise self._refuse(str(failed)) from None
        except RecursionError:
            raise self._refuse(_TOO_DEEP) from None

    def _read(self, depth: int) -> tuple[tuple[_Node, ...], str]:
        """The pieces up to an `end` or `else`, and that action; nothing where the text ends first."""
        nodes: list[_Node] = []
        while self._position < len(self._pieces):
            is_action, piece = self._pieces[self._position]
            self._position += 1
            action = piece.strip()
            if not is_action:
                nodes.append(_Text(piece))
            elif action == "end" or re.match(r"else\b", action):
                return tuple(nodes), action
            elif not (action.startswith("/*") and action.endswith("*/")):
                nodes.append(self._action(action, depth))
        return tuple(nodes), ""

    def _action(self, action: str, depth: int) -> _Node:
        found = re.match(r"(if|with|range)\b", action)
        if found:
            return self._block(found[1], action[found.end() :], depth)
        variables, value = self._assignment(action, depth)
        if len(variables) > 1:
            raise self._refuse(f"`{{{{{action}}}}}` is not understood")
        return _Set(variables[0], value) if variables else _Show(value)

    def _block(self, word: str, rest: str, depth: int) -> _Block:
        variables, value = self._assignment(rest, depth)
        # In `if`, the dot stays what it is.
        body, ended = self._read(depth if word == "if" else depth + 1)
        otherwise: tuple[_Node, ...] = ()
        if ended == "else":
            otherwise, ended = self._read(depth)
        elif found := re.match(r"else\s+(if)\b", ended):
            return _Block(word, value, variables, body, (self._block(found[1], ended[found.end() :], depth),))
        if ended != "end":
            raise self._refuse(f"`{word}` has no `end`")
        return _Block(word, value, variables, body, otherwise)

    def _assignment(self, text: str, depth: int) -> tuple[tuple[str, ...], Expression]:
        """`$key, $value := PIPELINE`, or a pipeline alone."""
        variables: tuple[str, ...] = ()
        if found := re.match(r"\s*(\$\w+)\s*(?:,\s*(\$\w+)\s*)?:?=", text):
            variables, text = tuple(name for name in found.groups() if name), text[found.end() :]
        try:
            return variables, _Reader(text, self._fields, depth).whole()
        except TemplateFailed as failed:
            raise self._refuse(str(failed)) from None

    def _refuse(self, why: str) -> Usage:
        known = " ".join(f"{{{{.{name}}}}}" for name in self._fields if name != "Label")
        return Usage(
            f"`--format` cannot be `{_cut(self._text)}`",
            causes=[_cut(why)],
            hints=[
                f"fields: {known}",
                "forms: {{.Field}} {{json .}} {{index .Field 0}} {{range .Field}}…{{end}} {{if .Field}}…{{end}} json",
            ],
        )


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
        self._next = 0

    def whole(self) -> Expression:
        """The one pipeline that all of it is."""
        value = self._pipeline()
        if self._next < len(self._tokens):
            raise self._not_understood()
        return value

    def _pipeline(self) -> Expression:
        value = self._command(None)
        while self._take("|"):
            value = self._command(value)
        return value

    def _command(self, piped: Expression | None) -> Expression:
        """A function with its arguments, the piped value being the last; or a single value."""
        kind, said = self._peek()
        if kind == "word" and said not in ("true", "false", "nil"):
            self._next += 1
            if said not in FUNCTIONS:
                raise TemplateFailed(f"there is no function `{said}`: there are {', '.join(sorted(FUNCTIONS))}")
            values = self._values()
            return self._call(said, [*values, piped] if piped is not None else values)
        value = self._value()
        values = self._values()
        # `.Label "tier"` is a method of Docker's lists.
        if values and isinstance(value, Field) and value.names == ("Label",) and self._depth == 0:
            return self._call("index", [value, *values])
        if values or piped is not None:
            raise self._not_understood()
        return value

    def _call(self, function: str, values: list[Expression]) -> Expression:
        least, most = FUNCTIONS[function].takes
        if not least <= len(values) <= most:
            raise TemplateFailed(f"`{function}` takes {least if least == most else f'{least} or more'} values")
        return FunctionCall(function, tuple(values))

    def _values(self) -> list[Expression]:
        values = []
        while self._peek()[0] in ("text", "number", "variable", "field", "word") or self._peek()[1] == "(":
            values.append(self._value())
        return values

    def _value(self) -> Expression:
        kind, said = self._peek()
        self._next += 1
        if kind == "number":
            return Constant(_number(said))
        if kind == "text":
            return Constant(Safe(said[1:-1] if said[0] == "`" else _unescaped(said[1:-1])))
        if kind == "word" and said in ("true", "false", "nil"):
            return Constant({"true": True, "false": False, "nil": None}[said])
        if kind == "field":
            return self._field(None, said)
        if kind == "variable":
            return self._following(Field(said, ()))
        if said == "(":
            value = self._pipeline()
            if not self._take(")"):
                raise self._not_understood()
            return self._following(value)
        raise self._not_understood()

    def _following(self, base: Expression) -> Expression:
        """The fields right behind a variable or a bracket: `$c.Name`, `(index .A 0).B`."""
        kind, said = self._peek()
        if kind != "field" or said == ".":
            return base
        self._next += 1
        return self._field(base, said)

    def _field(self, base: Expression | None, said: str) -> Expression:
        names = tuple(name for name in said.split(".") if name)
        of_top = (base is None and self._depth == 0) or base == Field("$", ())
        if of_top and names and names[0] not in self._fields:
            raise TemplateFailed(f"`{{{{.{names[0]}}}}}` is not there")
        if isinstance(base, Field):
            return Field(base.of, (*base.names, *names))
        return Field(base or ".", names)

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("", "")

    def _take(self, mark: str) -> bool:
        if self._peek() == ("mark", mark):
            self._next += 1
            return True
        return False

    def _not_understood(self) -> TemplateFailed:
        return TemplateFailed(f"`{{{{{self._text}}}}}` is not understood")


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """What stands between `{{` and `}}`, and what does not."""
    position = 0
    while (begin := text.find("{{", position)) >= 0 and (end := text.find("}}", begin + 2)) >= 0:
        yield False, text[position:begin]
        yield True, text[begin + 2 : end]
        position = end + 2
    yield False, text[position:]


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


def _rendered(nodes: Sequence[_Node], scope: Scope) -> str:
    parts = []
    for node in nodes:
        match node:
            case _Text(text):
                parts.append(text)
            case _Show(value):
                parts.append(shown(value.evaluate(scope)))
            case _Set(variable, value):
                scope.variables[variable] = value.evaluate(scope)
            case _Block():
                parts.append(_block(node, scope))
    return "".join(parts)


def _block(block: _Block, scope: Scope) -> str:
    value = block.value.evaluate(scope)
    if not truth(value):
        return _rendered(block.otherwise, scope.inner(scope.dot))
    if block.word == "range":
        return "".join(_rendered(block.body, inner) for inner in scope.each(value, block.variables))
    inner = scope.inner(scope.dot if block.word == "if" else value)
    if block.variables:
        inner.variables[block.variables[0]] = value
    return _rendered(block.body, inner)
