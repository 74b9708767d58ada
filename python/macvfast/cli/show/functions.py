"""The functions of templates, and how a template shows a value: Go's rules for values that came from JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeGuard

from macvfast.cli.show.text import Object, as_json
from macvfast.errors import escape


class TemplateFailed(Exception):
    """A template cannot be read, or asks for something that a value does not have.

    Attributes:
        hint: what to type instead; empty where the fields of the top and the forms of templates say it.
    """

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint


class Safe(str):
    """Text that a terminal may show as it is: typed by the user, or escaped already."""

    __slots__ = ()


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


# What Docker's NetworkSettings say of the first bridge: here, and in Docker on other networks, each network says it.
_ONCE_THERE = {
    "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway",
    "MacAddress",
}  # fmt: skip
_OF_EACH_NETWORK = "{{range .NetworkSettings.Networks}}{{.FIELD}}{{end}}"


def field_of(value: object, name: str) -> object:
    """A field of an object, or what a map has for a key, which may be nothing; of anything else there is no field."""
    if isinstance(value, Object):
        for fields in (value, value.hidden):
            if name in fields:
                return fields[name]
        hint = _OF_EACH_NETWORK.replace("FIELD", name) if "Networks" in value and name in _ONCE_THERE else ""
        raise TemplateFailed(f"`{name}` is not one of the fields there: {', '.join(value)}", hint)
    if isinstance(value, Mapping):
        return value.get(name)
    raise TemplateFailed(f"`{name}` is not a field of {shown(value) or 'nothing'}")


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: object) -> str:
    """Text for a function whose result is escaped when it is shown."""
    return value if isinstance(value, str) else shown(value)


def _length(value: object) -> int:
    if value is None or isinstance(value, (str, list, Mapping)):
        return len(value or ())
    raise TemplateFailed(f"`len` of {shown(value)}")


def _index(value: object, *keys: object) -> object:
    """The element of a map or list at a key, of that one at the next key, and so on."""
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


def _less(left: object, right: object) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        return left < right
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    raise TemplateFailed("only numbers with numbers, and text with text, are greater or less")


def _printed(*values: object) -> str:
    """Go's rule: a space between two values of which neither is text."""
    parts: list[str] = []
    for before, value in zip((None, *values), values, strict=False):
        apart = parts and not isinstance(before, str) and not isinstance(value, str)
        parts.append(f" {shown(value)}" if apart else shown(value))
    return Safe("".join(parts))


_VERB = re.compile(r"%(?P<left>-?)(?P<zero>0?)(?P<width>\d*)(?:\.(?P<most>\d*))?(?P<verb>.?)", re.ASCII | re.DOTALL)
_MOST_DIGITS = 3


def _formatted(form: object, *values: object) -> str:
    """Go's Printf, as far as it is typed after --format: %v %s %q %d %x %t with a width, a precision, `-` and `0`."""
    rest = list(values)

    def one(found: re.Match[str]) -> str:
        verb = found["verb"]
        if verb == "%":
            return verb
        if verb not in ("v", "s", "q", "d", "x", "t"):
            raise TemplateFailed(f"`printf` knows no %{verb}")
        if not rest:
            raise TemplateFailed(f"`printf`: a value is missing for %{verb}")
        for digits in (found["width"], found["most"] or ""):
            if len(digits) > _MOST_DIGITS:
                raise TemplateFailed(f"`printf`: {digits} is wider than a line")
        text = _verb(verb, rest.pop(0), None if found["most"] is None else int(found["most"] or 0))
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


def _joined(parts: object, separator: object) -> str:
    if not isinstance(parts, list):
        raise TemplateFailed("`join` joins a list")
    return Safe(shown(separator).join(map(shown, parts)))


def _split(text: object, separator: object) -> list[str]:
    # Without a separator, between all characters, as in Go.
    return _text(text).split(_text(separator)) if separator else list(_text(text))


def _padded(text: object, before: object, after: object) -> str:
    if not (_is_number(before) and _is_number(after) and min(before, after) >= 0):
        raise TemplateFailed("`pad` wants two numbers from 0 on")
    if max(before, after) >= 10**_MOST_DIGITS:
        raise TemplateFailed(f"`pad`: {max(before, after)} is wider than a line")
    source = _text(text)
    return f"{' ' * before}{source}{' ' * after}" if source else ""


def _truncated(text: object, length: object) -> str:
    if not _is_number(length) or length < 0:
        raise TemplateFailed("`truncate` wants a number from 0 on")
    return _text(text)[:length]


class Function(NamedTuple):
    """A function of a template, and how many values it takes."""

    act: Callable[..., object]
    least: int = 1
    most: int = 1


_MANY = 99

FUNCTIONS: Mapping[str, Function] = {
    "json": Function(lambda value: Safe(as_json(value))),
    "len": Function(_length),
    "index": Function(_index, 2, _MANY),
    "eq": Function(lambda value, *others: value in others, 2, _MANY),
    "ne": Function(lambda left, right: left != right, 2, 2),
    "lt": Function(_less, 2, 2),
    "gt": Function(lambda left, right: _less(right, left), 2, 2),
    "le": Function(lambda left, right: not _less(right, left), 2, 2),
    "ge": Function(lambda left, right: not _less(left, right), 2, 2),
    "and": Function(lambda *values: next((one for one in values if not one), values[-1]), 1, _MANY),
    "or": Function(lambda *values: next((one for one in values if one), values[-1]), 1, _MANY),
    "not": Function(lambda value: not value),
    "print": Function(_printed, 0, _MANY),
    "println": Function(lambda *values: Safe(f"{' '.join(map(shown, values))}\n"), 0, _MANY),
    "printf": Function(_formatted, 1, _MANY),
    "join": Function(_joined, 2, 2),
    "split": Function(_split, 2, 2),
    "lower": Function(lambda text: _text(text).lower()),
    "upper": Function(lambda text: _text(text).upper()),
    "title": Function(lambda text: _text(text)[:1].upper() + _text(text)[1:]),
    "pad": Function(_padded, 3, 3),
    "truncate": Function(_truncated, 2, 2),
}
