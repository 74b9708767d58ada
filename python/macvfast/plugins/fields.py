"""Values of other programs' JSON, taken field by field: each is of the type that is meant, or is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KINDS = {
    str: "a text", bool: "true or false", dict: "an object", list: "a list", int: "a number", float: "a number",
    type(None): "null",
}  # fmt: skip


class Unfit(Exception):
    """A field is missing, or not what is meant; the text says which, and how."""


class Fields:
    """One JSON object. What is missing and what is null are the same: neither says anything.

    Args:
        value: the object.
        where: what leads to it, such as `IPAM.Config[0]`.

    Raises (the constructor and all methods):
        Unfit
    """

    def __init__(self, value: object, where: str = "") -> None:
        self._where = where
        self._values: Mapping[str, object] = _of_type(value, dict, where or "it")

    def text(self, key: str) -> str:
        """A text; empty where there is none."""
        return _text(self._get(key, str, ""), self.name(key))

    def flag(self, key: str, *, absent: bool = False) -> bool:
        """True or false; `absent` where it is missing."""
        return bool(self._get(key, bool, absent))

    def number(self, key: str, *, most: int) -> int:
        """A whole number, 0 to `most`; 0 where there is none."""
        value = self._get(key, int, 0)
        # True is a number in Python.
        if isinstance(value, bool) or not 0 <= value <= most:
            raise Unfit(f"{self.name(key)} is {json.dumps(value)} where a number of 0 to {most} is meant")
        return int(value)

    def fields(self, key: str) -> Fields:
        """An object; an empty one where there is none."""
        return Fields(self._get(key, dict, {}), self.name(key))

    def several(self, key: str) -> list[Fields]:
        """A list of objects."""
        return _several(self._get(key, list, []), self.name(key))

    def listed(self, key: str) -> list[str]:
        """A list of texts."""
        return [_text(one, f"{self.name(key)}[{index}]") for index, one in enumerate(self._get(key, list, []))]

    def nested(self, key: str) -> list[list[Fields]]:
        """A list of lists of objects."""
        named = [(one, f"{self.name(key)}[{index}]") for index, one in enumerate(self._get(key, list, []))]
        return [_several(_of_type(one, list, name), name) for one, name in named]

    def _get(self, key: str, kind: type, absent: object) -> Any:
        value = self._values.get(key)
        return absent if value is None else _of_type(value, kind, self.name(key))

    def texts(self) -> Iterator[tuple[str, str]]:
        """All of it, where every value is a text."""
        for key, value in self._values.items():
            yield _text(key, f"a name in {self._where}"), _text(value, self.name(key))

    def values(self) -> dict[str, object]:
        """All of it, as it is."""
        return {**self._values}

    def names(self) -> list[str]:
        """The names of its fields."""
        return [_text(key, f"a name in {self._where}") for key in self._values]

    def name(self, key: str) -> str:
        """How a field is called in a message: `IPAM.Config[0].Subnet`."""
        return f"{self._where}.{key}" if self._where else key


def _several(values: list[object], name: str) -> list[Fields]:
    return [Fields(one, f"{name}[{index}]") for index, one in enumerate(values)]


def _of_type(value: object, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise Unfit(f"{name} is {_KINDS[type(value)]} where {_KINDS[kind]} is meant")
    return value


def _text(value: object, name: str) -> str:
    """A text that can be an argument of a command."""
    text = str(_of_type(value, str, name))
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Unfit(f"{name} has a character that no command line can have")
    return text
