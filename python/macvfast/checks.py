"""Checks of the types of what a Python caller gives, before anything is done with it.

In Python, a string is also a sequence of strings: `remove_many("12")` would remove `1` and `2`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Protocol, TypeAlias, TypeVar

from macvfast.errors import ArgumentInvalid

T = TypeVar("T")
Item_co = TypeVar("Item_co", covariant=True)


class _Collection(Protocol[Item_co]):
    """A list, tuple, set or the like; no text and no bytes, which may only be asked for parts of themselves."""

    def __iter__(self) -> Iterator[Item_co]: ...
    def __contains__(self, value: object, /) -> bool: ...


Several: TypeAlias = _Collection[Item_co] | Iterator[Item_co]
"""Any iterable of items, text and bytes excepted."""

Pairs: TypeAlias = Mapping[str, Item_co] | Several[tuple[str, Item_co]]
"""A mapping, or its items."""


def several(name: str, values: Iterable[T], *kinds: type) -> tuple[T, ...]:
    """The items of an argument; an iterator is read to its end.

    Args:
        name: the argument's.
        values: what was given for it.
        kinds: what each item is an instance of.

    Raises:
        ArgumentInvalid: it is a text, or nothing that has items, or has others.
    """
    found = _items(name, values)
    for position, item in enumerate(found):
        if not isinstance(item, kinds):
            reason = f"each item is of type {_named(kinds)}"
            raise ArgumentInvalid(name, item, reason, position, _hints(name, item, kinds))
    return found


def texts(name: str, values: Iterable[object], *kinds: type) -> tuple[str, ...]:
    """The same, where an item is a text, or an object of those kinds that stands for its text."""
    return tuple(map(str, several(name, values, str, *kinds)))


def pairs(name: str, values: Mapping[str, object] | Iterable[object], *kinds: type) -> tuple[tuple[str, str], ...]:
    """A mapping, or pairs, as pairs of texts in their order; a value may be an object of those kinds.

    Raises:
        ArgumentInvalid
    """
    return tuple((key, str(value)) for key, value in _pairs(name, values, *kinds))


def pairs_or_none(
    name: str, values: Mapping[str, object] | Iterable[object], *kinds: type
) -> tuple[tuple[str, str | None], ...]:
    """The same, where a value may be None: what has that name is to be taken away."""
    found = _pairs(name, values, *kinds, NoneType)
    return tuple((key, None if value is None else str(value)) for key, value in found)


def _pairs(name: str, values: Mapping[str, object] | Iterable[object], *kinds: type) -> Iterator[tuple[str, object]]:
    for position, item in enumerate(_items(name, values.items() if isinstance(values, Mapping) else values)):
        if not (isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str)):
            raise ArgumentInvalid(name, item, "each item is a pair of texts", position)
        if not isinstance(item[1], (str, *kinds)):
            raise ArgumentInvalid(name, item[1], f"the value of each item is of type {_named((str, *kinds))}", position)
        yield item[0], item[1]


def named(name: str, values: Mapping[str, object] | Iterable[object], *kinds: type) -> tuple[tuple[str, str], ...]:
    """The same for what has one value per name, as labels have: the last of a name counts."""
    return tuple(dict(pairs(name, values, *kinds)).items())


def plain(name: str, value: object, *kinds: type) -> None:
    """Refuse a value that is of none of the kinds; True and False are no numbers here.

    Raises:
        ArgumentInvalid
    """
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ArgumentInvalid(name, value, f"it is of type {_named(kinds)}", hints=_hints(name, value, kinds))


def _items(name: str, values: Iterable[T]) -> tuple[T, ...]:
    if isinstance(values, tuple):
        return values
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ArgumentInvalid(name, values, "a list is meant, even of a single item")
    return tuple(values)


def _hints(name: str, value: object, kinds: tuple[type, ...]) -> list[str]:
    """What makes a value of the kind from a text, where something does; or else what says more."""
    kind = kinds[0]
    if isinstance(value, str) and hasattr(kind, "of"):
        return [f"{kind.__name__}.of({value!r})"]
    return [f"`help(macvfast.Host)` says what `{name}` takes"]


def _named(kinds: tuple[type, ...]) -> str:
    """`str or None`."""
    return " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
