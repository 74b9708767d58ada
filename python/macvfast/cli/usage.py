"""Mistakes on the command line, and the hints that they end with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors import nearly

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Failure(Exception):
    """A problem that is shown like a MacvfastError and is none, such as a bug or an interruption."""

    def __init__(self, code: str, message: str, causes: Sequence[str], hints: Sequence[str]) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.causes = tuple(causes)
        self.hints = tuple(hints)


class Usage(Failure):
    """The command line is not one that macvfast takes; nothing was done.

    Attributes:
        unknown: the word that is no command of the group before it, where nobody has said yet what may be meant.
    """

    unknown = ""

    def __init__(self, message: str, *, causes: Sequence[str], hints: Sequence[str]) -> None:
        super().__init__("usage", message, causes, hints)


def did_you_mean(word: str, known: Iterable[str]) -> list[str]:
    """A hint at what is spelled nearly like `word`, if anything is."""
    found = nearly(word, known, most=2)
    return [f"did you mean {' or '.join(f'`{one}`' for one in found)}?"] if found else []
