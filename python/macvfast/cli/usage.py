"""Mistakes on the command line, and the hints that they end with."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    """The command line is not one that macvfast takes; nothing was done."""

    def __init__(self, message: str, *, causes: Sequence[str], hints: Sequence[str]) -> None:
        super().__init__("usage", message, causes, hints)


def did_you_mean(word: str, known: Iterable[str]) -> list[str]:
    """A hint at what is spelled nearly like `word`, if anything is."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    # Of a word of two or three letters, one is a large part. Another number is hardly an error in typing.
    cutoff, letters = 0.5 if len(word) < 4 else 0.6, _letters(word)
    found = get_close_matches(word, [one for one in known if _letters(one) != letters], n=2, cutoff=cutoff)
    return [f"did you mean {' or '.join(f'`{one}`' for one in found)}?"] if found else []


def _letters(word: str) -> str:
    return "".join(one for one in word if not one.isdecimal())
