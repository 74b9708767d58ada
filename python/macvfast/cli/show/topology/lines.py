"""The topology as a tree of lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from macvfast.cli.show.text import bar
from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.cli.show.topology.tree import Node

# A bar, and a narrow one for terminals of less than so many columns.
_BAR, _NARROW, _WIDE_FROM = 20, 10, 100
# Titles are aligned up to that length.
_ALIGNED = 40


class Branches(NamedTuple):
    """What a tree is drawn with: before a thing and below it, where others follow, and where it is the last."""

    fork: str
    past: str
    last: str
    none: str = "   "


LINES = Branches("├─ ", "│  ", "└─ ")
ASCII = Branches("|- ", "|  ", "`- ")


class Style(NamedTuple):
    """How a tree is drawn.

    Attributes:
        width: of the terminal, in columns, which lines do not pass as far as names allow; None: there is none.
        branches: what it is drawn with.
    """

    width: int | None
    branches: Branches

    def bar(self, node: Node) -> list[str]:
        """The bar of a pool; of all else, none."""
        if node.share is None:
            return []
        return [bar(node.share, _NARROW if self.width is not None and self.width < _WIDE_FROM else _BAR)]


def text(nodes: Sequence[Node], style: Style) -> str:
    """The tree."""
    return "".join(f"{line}\n" for node in nodes for line in _block(node, 0, ("", ""), style))


def _block(node: Node, title_width: int, margins: tuple[str, str], style: Style) -> Iterator[str]:
    """A thing and what stands on it; `margins` are those of its first line, and of the others."""
    branches = style.branches
    title = f"network {escape(node.title)}" if node.kind == "network" else escape(node.title)
    inside = f"{margins[1]}{branches.past if node.children else branches.none}  "
    begin = f"{margins[0]}{'  '.join([title.ljust(title_width), *style.bar(node)])}"
    yield from _wrapped(begin, [escape(note) for note in node.notes], inside, style.width)
    widths = {kind: _aligned([one for one in node.children if one.kind == kind]) for kind in ("pool", "sandbox")}
    for at, child in enumerate(node.children, 1):
        last = at == len(node.children)
        first, others = (branches.last, branches.none) if last else (branches.fork, branches.past)
        yield from _block(child, widths.get(child.kind, 0), (margins[1] + first, margins[1] + others), style)


def _aligned(nodes: Sequence[Node]) -> int:
    """How wide the titles of things below each other are; 0 where that would be too wide."""
    longest = max((len(node.title) for node in nodes), default=0)
    return longest if longest <= _ALIGNED else 0


def _wrapped(line: str, notes: Sequence[str], inside: str, width: int | None) -> Iterator[str]:
    """A line with its notes, or several, which begin with `inside`, where these do not fit beside the title."""
    for number, note in enumerate(notes, 1):
        piece = note if number == len(notes) else f"{note},"
        between = "  " if number == 1 else " "
        if width is not None and len(line) + len(between) + len(piece) > width:
            yield line.rstrip()
            line, between = inside, ""
        line += f"{between}{piece}"
    yield line.rstrip()
