"""What a template's expressions are worth: Go's rules for values that came from JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from macvfast.cli.show.text import as_json
from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator


class TemplateFailed(Exception):
    """A template cannot be read, or asks of a value what it has not; the text says what."""


class Safe(str):
    """Text that a terminal may have as it is: typed by the user, or escaped already."""

    __slots__ = ()


class Scope(NamedTuple):
    """What names mean at a place in a template: `.`, `$`, what may be asked for besides, and variables."""

    dot: object
    root: object
    extra: Mapping[str, object]
    variables: dict[str, object]

    def inner(self, dot: object) -> Scope:
        """The scope of a block."""
        return Scope(dot, self.root, self.extra, dict(self.variables))

    def each(self, value: object, names: tuple[str, ...]) -> Iterator[Scope]:
        """The scope of every element; of a map, by its keys, sorted, as in Go."""
        if isinstance(value, Mapping):
            pairs: list[tuple[object, object]] = [(key, value[key]) for key in sorted(value)]
        elif isinstance(value, list):
            pairs = list(enumerate(value))
        else:
            raise TemplateFailed(f"`range` cannot go over {shown(value)}")
        for key, element in pairs:
            inner = self.inner(element)
            if names:
                inner.variables[names[-1]] = element
            if len(names) == 2:
                inner.variables[names[0]] = key
            yield inner


class Constant(NamedTuple):
    """A text, a number, true, false or nil."""

    value: object

    def evaluate(self, scope: Scope) -> object:  # noqa: ARG002 - as the others
        """Itself."""
        return self.value


class Field(NamedTuple):
    """`.A.B`, `$.A`, `$name.A` or `(…).A`; `of` is `.`, a variable, or an expression."""

    of: str | Expression
    names: tuple[str, ...]

    def evaluate(self, scope: Scope) -> object:
        """What is there; nothing where the way leads nowhere, as with a Gateway that a subnet does not have."""
        names = self.names
        if not isinstance(self.of, str):
            value = self.of.evaluate(scope)
        elif self.of in (".", "$"):
            value = scope.dot if self.of == "." else scope.root
            if value is scope.root and names and names[0] in scope.extra:
                value = scope.extra
        elif self.of in scope.variables:
            value = scope.variables[self.of]
        else:
            raise TemplateFailed(f"there is no variable `{self.of}`")
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


class FunctionCall(NamedTuple):
    """A function of values."""

    function: str
    values: tuple[Expression, ...]

    def evaluate(self, scope: Scope) -> object:
        """What the function gives; a text may be doubled again and again, but not beyond what a screen can show."""
        given = FUNCTIONS[self.function].act([value.evaluate(scope) for value in self.values])
        if isinstance(given, str) and len(given) > _LONGEST:
            raise TemplateFailed(f"`{self.function}` makes a text of more than {_LONGEST} characters")
        return given


Expression = Constant | Field | FunctionCall


class Function(NamedTuple):
    """A function, with how many values it takes, at least and at most."""

    act: Callable[[list[object]], object]
    takes: tuple[int, int]


def truth(value: object) -> bool:
    """Go's rule: false, 0, nil and what is empty are false."""
    return bool(value)


def shown(value: object) -> str:
    """As Go prints it: `true`, `[a b]`, `map[key:value]`; nothing for nil. Text that is not safe is escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{escape(str(key))}:{shown(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(shown, value))}]"
    return escape(value) if isinstance(value, str) and not isinstance(value, Safe) else str(value)


def _length(values: list[object]) -> int:
    (value,) = values
    if isinstance(value, (str, list, Mapping)):
        return len(value)
    if value is None:
        return 0
    raise TemplateFailed(f"`len` of {shown(value)}")


def _index(values: list[object]) -> object:
    value, *keys = values
    for key in keys:
        if isinstance(value, Mapping) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and _is_number(key) and 0 <= key < len(value):
            value = value[key]
        elif value is None:
            return None
        else:
            raise TemplateFailed(f"index {shown(key)} is out of range")
    return value


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _and(values: list[object]) -> object:
    return next((value for value in values if not truth(value)), values[-1])


def _or(values: list[object]) -> object:
    return next((value for value in values if truth(value)), values[-1])


def _printed(values: list[object]) -> str:
    """Go's rule: a space between two values of which neither is text."""
    parts: list[str] = []
    for before, value in zip([None, *values], values, strict=False):
        apart = parts and not isinstance(before, str) and not isinstance(value, str)
        parts.append(f" {shown(value)}" if apart else shown(value))
    return Safe("".join(parts))


_VERB = re.compile(r"%(?P<left>-?)(?P<zero>0?)(?P<width>\d*)(?:\.(?P<most>\d*))?(?P<verb>.?)", re.ASCII | re.DOTALL)
_WIDEST = 3


def _formatted(values: list[object]) -> str:
    """Go's Printf, as far as it is typed after --format: %v %s %q %d %x %t with a width, a precision, `-` and `0`."""
    form, *rest = values
    rest.reverse()

    def one(found: re.Match[str]) -> str:
        verb = found["verb"]
        if verb == "%":
            return verb
        if verb not in ("v", "s", "q", "d", "x", "t"):
            raise TemplateFailed(f"`printf` knows no %{verb}")
        if not rest:
            raise TemplateFailed(f"`printf`: a value is missing for %{verb}")
        for digits in (found["width"], found["most"] or ""):
            if len(digits) > _WIDEST:
                raise TemplateFailed(f"`printf`: {digits} is wider than a line")
        text = _verb(verb, rest.pop(), None if found["most"] is None else int(found["most"] or 0))
        width = int(found["width"] or 0)
        if found["left"]:
            return text.ljust(width)
        return text.zfill(width) if found["zero"] and verb in ("d", "x") else text.rjust(width)

    made = _VERB.sub(one, shown(form))
    if rest:
        raise TemplateFailed(f"`printf`: {len(rest)} value{'s are' if len(rest) > 1 else ' is'} left over")
    return Safe(made)


def _verb(verb: str, value: object, most: int | None) -> str:
    if verb in ("d", "x") and _is_number(value):
        return f"{value:{verb}}"
    if verb == "d":
        raise TemplateFailed("`printf`: %d wants a number")
    if verb == "t" and not isinstance(value, bool):
        raise TemplateFailed("`printf`: %t wants true or false")
    text = shown(value)[:most]
    if verb == "x":
        return text.encode("utf-8", "surrogatepass").hex()
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"' if verb == "q" else text


def _joined(values: list[object]) -> str:
    parts, separator = values
    if not isinstance(parts, list):
        raise TemplateFailed("`join` joins a list")
    return Safe(shown(separator).join(map(shown, parts)))


def _text(value: object) -> str:
    """Text for a function that gives text to be escaped."""
    return value if isinstance(value, str) else shown(value)


def _truncated(values: list[object]) -> str:
    text, length = values
    if not _is_number(length) or length < 0:
        raise TemplateFailed("`truncate` wants a number from 0 on")
    return _text(text)[:length]


def _split(values: list[object]) -> list[str]:
    text, separator = map(_text, values)
    # Without a separator, between all characters, as in Go.
    return text.split(separator) if separator else list(text)


def _lower_than(values: list[object]) -> bool:
    left, right = values
    if isinstance(left, int) and isinstance(right, int):
        return left < right
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    raise TemplateFailed("only numbers with numbers, and text with text, are greater or less")


_MANY = 99
_LONGEST = 1 << 20

FUNCTIONS: Mapping[str, Function] = {
    "json": Function(lambda values: Safe(as_json(values[0])), (1, 1)),
    "len": Function(_length, (1, 1)),
    "index": Function(_index, (2, _MANY)),
    "eq": Function(lambda values: values[0] in values[1:], (2, _MANY)),
    "ne": Function(lambda values: values[0] != values[1], (2, 2)),
    "lt": Function(_lower_than, (2, 2)),
    "gt": Function(lambda values: _lower_than(values[::-1]), (2, 2)),
    "le": Function(lambda values: not _lower_than(values[::-1]), (2, 2)),
    "ge": Function(lambda values: not _lower_than(values), (2, 2)),
    "and": Function(_and, (1, _MANY)),
    "or": Function(_or, (1, _MANY)),
    "not": Function(lambda values: not truth(values[0]), (1, 1)),
    "print": Function(_printed, (0, _MANY)),
    "println": Function(lambda values: Safe(f"{' '.join(map(shown, values))}\n"), (0, _MANY)),
    "printf": Function(_formatted, (1, _MANY)),
    "join": Function(_joined, (2, 2)),
    "split": Function(_split, (2, 2)),
    "lower": Function(lambda values: _text(values[0]).lower(), (1, 1)),
    "upper": Function(lambda values: _text(values[0]).upper(), (1, 1)),
    "title": Function(lambda values: _text(values[0])[:1].upper() + _text(values[0])[1:], (1, 1)),
    "truncate": Function(_truncated, (2, 2)),
}
