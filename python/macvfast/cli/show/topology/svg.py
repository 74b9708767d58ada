"""The topology as an SVG picture: parents on the left, then networks with bars of how full they are, then sandboxes.

A picture has a ground of its own and two sets of colours, of which the reader's browser chooses: it is legible on a
light page and on a dark one.
"""

from __future__ import annotations

from html import escape as escaped
from typing import TYPE_CHECKING, NamedTuple

from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.cli.show.topology.tree import Node

# Pixels; letters are at most that wide.
_LETTER, _NAME_LETTER = 8, 10
_LINE = 18
_PADDING = 10
_BAR = 160
_GAP = 16
_WIRE = 56
_MARGIN = 20

STYLE = """
  .ground { fill: #ffffff } .box { fill: #ffffff; stroke: #57606a } .link { fill: #f6f8fa; stroke: #8c959f }
  .network { fill: #ddf4ff; stroke: #0969da } .wire { stroke: #57606a; fill: none }
  .track { fill: #ffffff; stroke: #0969da } .used { fill: #0969da } .used.full { fill: #cf222e }
  text { fill: #1f2328; font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
  text.name { font: bold 14px system-ui, -apple-system, "Segoe UI", sans-serif }
  rect { stroke-width: 1.5 } path { stroke-width: 1.5 } .track { stroke-width: 1 } .used { stroke: none }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } .box { fill: #0d1117; stroke: #8b949e } .link { fill: #161b22; stroke: #6e7681 }
    .network { fill: #0c2d6b; stroke: #58a6ff } .wire { stroke: #8b949e }
    .track { fill: #0d1117; stroke: #58a6ff } .used { fill: #58a6ff } .used.full { fill: #ff7b72 }
    text { fill: #e6edf3 }
  }
"""


class _Row(NamedTuple):
    """A line of a box: a name, a note, or with a share a bar."""

    text: str
    kind: str = "note"
    share: float | None = None

    @property
    def width(self) -> int:
        return _BAR if self.share is not None else len(self.text) * (_NAME_LETTER if self.kind == "name" else _LETTER)


class _Box(NamedTuple):
    """What is drawn of a thing, and the boxes on its right that hang on it."""

    kind: str
    rows: tuple[_Row, ...]
    level: int
    right: tuple[_Box, ...] = ()

    @property
    def width(self) -> int:
        return 2 * _PADDING + max(row.width for row in self.rows)

    @property
    def height(self) -> int:
        return 2 * _PADDING + _LINE * len(self.rows)

    @property
    def span(self) -> int:
        """The height that it takes with all on its right."""
        return max(self.height, _together(self.right))


def svg(nodes: Sequence[Node]) -> str:
    """The picture."""
    links = max(map(_depth, nodes), default=0)
    boxes = [_box(node, 0, links) for node in nodes] or [_Box("box", (_Row("no networks"),), 0)]
    everything = list(_all(boxes))
    levels = [max((box.width for box in everything if box.level == level), default=0) for level in range(links + 2)]
    lefts = [_MARGIN]
    for width in levels:
        lefts.append(lefts[-1] + width + (_WIRE if width else 0))
    right = max(lefts[box.level] + levels[box.level] for box in everything) + _MARGIN
    height = _together(boxes) + 2 * _MARGIN
    size = f'viewBox="0 0 {right} {height}" width="{right}" height="{height}"'
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        "<title>Parents, networks and sandboxes of a host</title>",
        f"<style>{STYLE}</style>",
        _rectangle("ground", 0, 0, right, height, 12),
    ]
    top = _MARGIN
    for box in boxes:
        shapes += _drawn(box, top, lefts, levels)
        top += box.span + _GAP
    return "\n".join([*shapes, "</svg>", ""])


def _depth(node: Node) -> int:
    """How many links stand on each other at the most."""
    return (node.kind == "link") + max((_depth(child) for child in node.children if child.kind == "link"), default=0)


def _box(node: Node, level: int, links: int) -> _Box:
    """A thing with what hangs on it; networks are on the right of all links."""
    rows = [_Row(escape(node.title), "name"), *(_Row(escape(note)) for note in node.notes)]
    if node.kind in ("link", "more") and not any(child.kind == "sandbox" for child in node.children):
        right = tuple(_box(child, level + 1 if child.kind == "link" else links, links) for child in node.children)
        return _Box("link" if node.kind == "link" else "box", tuple(rows), level, right)
    for pool in (child for child in node.children if child.kind == "pool"):
        rows += [_Row(escape(pool.title)), _Row("", share=pool.share), *(_Row(escape(note)) for note in pool.notes)]
    boxes = [child for child in node.children if child.kind in ("sandbox", "more")]
    lines = _aligned([[escape(one.title), escape(", ".join(one.notes))] for one in boxes])
    sandboxes = (_Box("box", tuple(map(_Row, lines)), links + 1),) if boxes else ()
    return _Box("network" if node.kind == "network" else "box", tuple(rows), links, sandboxes)


def _aligned(pairs: Sequence[Sequence[str]]) -> list[str]:
    width = max((len(title) for title, _ in pairs), default=0)
    return [f"{title.ljust(width)}  {notes}".rstrip() for title, notes in pairs]


def _all(boxes: Sequence[_Box]) -> Iterator[_Box]:
    for box in boxes:
        yield box
        yield from _all(box.right)


def _together(boxes: Sequence[_Box]) -> int:
    """The height of boxes below each other."""
    return sum(box.span for box in boxes) + _GAP * max(len(boxes) - 1, 0)


def _drawn(box: _Box, top: int, lefts: Sequence[int], widths: Sequence[int]) -> Iterator[str]:
    """A box, what hangs on it, and the wires to that."""
    left, width = lefts[box.level], widths[box.level]
    below, middle = top, top + _PADDING + _LINE // 2
    for other in box.right:
        end, turn = lefts[other.level], left + width + _WIRE // 2
        at = below + _PADDING + _LINE // 2
        yield f'<path class="wire" d="M {left + width} {middle} H {turn} V {at} H {end}"/>'
        yield from _drawn(other, below, lefts, widths)
        below += other.span + _GAP
    yield _rectangle(box.kind, left, top, width, box.height, 6)
    for number, row in enumerate(box.rows, 1):
        yield from _row(row, left + _PADDING, top + _PADDING + number * _LINE - 5)


def _row(row: _Row, left: int, base: int) -> Iterator[str]:
    if row.share is None:
        text = escaped(row.text, quote=False)
        yield f'<text class="{row.kind}" x="{left}" y="{base}" xml:space="preserve">{text}</text>'
        return
    yield _rectangle("track", left, base - 9, _BAR, 10, 3)
    if row.share > 0:
        yield _rectangle(
            "used full" if row.share >= 1 else "used", left, base - 9, max(2, int(row.share * _BAR)), 10, 3
        )


def _rectangle(kind: str, left: int, top: int, width: int, height: int, radius: int) -> str:
    return f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{height}" rx="{radius}"/>'
