"""Draw the guide's topologies, which are told of here in words, as docs/images/*.svg.

`python docs/pictures.py --check` writes nothing and ends with 1 where a picture is not what would be drawn.

A picture has a ground of its own and two sets of colours, of which the reader's browser chooses: it is legible on a
light page and on a dark one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = Path(__file__).parent / "images"

# Pixels, save the columns.
COLUMNS = 12
COLUMN = 60
GAP = 20
MARGIN = 20
LINE = 18
PADDING = 10
WIRE = 34
TITLE = 28

STYLE = """
  .ground { fill: #ffffff } .host { fill: #f6f8fa; stroke: #8c959f } .box { fill: #ffffff; stroke: #57606a }
  .blue { fill: #ddf4ff; stroke: #0969da } .orange { fill: #fff1e5; stroke: #bc4c00 }
  .wire { stroke: #57606a } .wire.blue { stroke: #0969da } .wire.orange { stroke: #bc4c00 }
  text { fill: #1f2328; font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; text-anchor: middle }
  text.name { font: bold 14px system-ui, -apple-system, "Segoe UI", sans-serif }
  text.note { fill: #57606a; font: 13px system-ui, -apple-system, "Segoe UI", sans-serif }
  rect { stroke-width: 1.5 } line { stroke-width: 2 } text.left { text-anchor: start }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } .host { fill: #161b22; stroke: #6e7681 } .box { fill: #0d1117; stroke: #8b949e }
    .blue { fill: #0c2d6b; stroke: #58a6ff } .orange { fill: #5a1e02; stroke: #f0883e }
    .wire { stroke: #8b949e } .wire.blue { stroke: #58a6ff } .wire.orange { stroke: #f0883e }
    text { fill: #e6edf3 } text.note { fill: #9da7b1 }
  }
"""


@dataclass(frozen=True)
class Box:
    """Something with a name, from one column to another of twelve; a box of the next row that it stands over hangs on
    it by a wire.
    """

    first: int
    last: int
    name: str
    lines: tuple[str, ...] = ()
    hue: str = "box"

    @property
    def left(self) -> int:
        return 2 * MARGIN + self.first * COLUMN + GAP // 2

    @property
    def right(self) -> int:
        return 2 * MARGIN + self.last * COLUMN - GAP // 2

    @property
    def height(self) -> int:
        return 2 * PADDING + (1 + len(self.lines)) * LINE


@dataclass(frozen=True)
class Picture:
    """Rows of boxes from the sandboxes down to the router, of which the first `inside` are the host's."""

    title: str
    inside: int
    rows: tuple[tuple[Box, ...], ...]
    notes: tuple[tuple[int, str] | None, ...]
    """Below each row but the last: the column on whose right it begins, and the note."""


PICTURES = {
    "bridge": Picture(
        "Bridge mode: two sandboxes on the NIC of their host, on one LAN with its router",
        inside=3,
        rows=(
            (
                Box(0, 6, "a sandbox", ("eth0  172.16.86.10", "02:42:ac:10:56:0a")),
                Box(6, 12, "another sandbox", ("eth0  172.16.86.2", "02:42:ac:10:56:02")),
            ),
            (Box(0, 12, "network pub_net", ("macvlan, bridge mode, 172.16.86.0/24",), "blue"),),
            (Box(2, 10, "eth0, the parent", ("172.16.86.250",)),),
            (Box(2, 10, "router", ("172.16.86.1, the gateway",)),),
        ),
        notes=(
            (3, "from one to the other directly"),
            (6, "to the cable, but not to the host itself"),
            (6, "one cable, three MACs"),
        ),
    ),
    "trunk": Picture(
        "802.1Q trunk: two networks on one NIC, each on a VLAN of its own",
        inside=4,
        rows=(
            (
                Box(0, 3, "macvlan_test5", ("192.168.50.2",)),
                Box(3, 6, "macvlan_test6", ("192.168.50.3",)),
                Box(6, 9, "macvlan_test7", ("192.168.60.2",)),
                Box(9, 12, "macvlan_test8", ("192.168.60.3",)),
            ),
            (
                Box(0, 6, "network macvlan50", ("192.168.50.0/24",), "blue"),
                Box(6, 12, "network macvlan60", ("192.168.60.0/24",), "orange"),
            ),
            (
                Box(1, 5, "eth0.50", ("VLAN 50",), "blue"),
                Box(7, 11, "eth0.60", ("VLAN 60",), "orange"),
            ),
            (Box(1, 11, "eth0", ("no address needed",)),),
            (Box(1, 11, "router", ("192.168.50.1 on VLAN 50 · 192.168.60.1 on VLAN 60",)),),
        ),
        notes=(None, (5, "kept apart"), None, (6, "one cable, frames tagged 50 and 60")),
    ),
    "dual-stack": Picture(
        "Dual stack: one network on VLAN 218 with two IPv4 subnets and one of IPv6",
        inside=4,
        rows=(
            (
                Box(0, 6, "macnet216_test", ("192.168.216.10", "2001:db8:abc8::1", "2001:db8:abc4:…  (advertised)")),
                Box(6, 12, "macnet218_test", ("192.168.218.10", "2001:db8:abc8::2", "2001:db8:abc4:…  (advertised)")),
            ),
            (
                Box(
                    0, 12, "network macvlan216",
                    ("192.168.216.0/24 · 192.168.218.0/24 · 2001:db8:abc8::/64",), "blue",
                ),
            ),
            (Box(3, 9, "eth0.218", ("VLAN 218",), "blue"),),
            (Box(3, 9, "eth0"),),
            (
                Box(
                    1, 11, "router on VLAN 218",
                    ("192.168.216.1 · 192.168.218.1 · 2001:db8:abc8::10", "advertises 2001:db8:abc4::/64"),
                ),
            ),
        ),
        notes=(None, None, None, (6, "frames tagged 218")),
    ),
}  # fmt: skip


def drawn(picture: Picture) -> str:
    """A picture as SVG."""
    tops = _tops(picture)
    width = 4 * MARGIN + COLUMNS * COLUMN
    height = tops[-1] + _height(picture.rows[-1]) + MARGIN
    frame = tops[picture.inside - 1] + _height(picture.rows[picture.inside - 1]) + PADDING - MARGIN
    title = escape(picture.title)
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{title}</title>",
        "<!-- Drawn by docs/pictures.py; `make docs` draws it anew. -->",
        f"<style>{STYLE}</style>",
        _rectangle("ground", 0, 0, width, height, 12),
        _rectangle("host", MARGIN, MARGIN, width - 2 * MARGIN, frame, 10),
        _text("name left", 2 * MARGIN, MARGIN + TITLE - 6, "host"),
    ]
    for number, row in enumerate(picture.rows[:-1]):
        shapes += _wires(row, picture.rows[number + 1], tops[number] + _height(row), tops[number + 1])
        if note := picture.notes[number]:
            middle = (tops[number] + _height(row) + tops[number + 1]) // 2 + 5
            shapes.append(_text("note left", 2 * MARGIN + note[0] * COLUMN + 12, middle, note[1]))
    for top, row in zip(tops, picture.rows, strict=True):
        for box in row:
            shapes += _box(box, top)
    return "\n".join([*shapes, "</svg>", ""])


def _height(row: tuple[Box, ...]) -> int:
    return max(box.height for box in row)


def _tops(picture: Picture) -> list[int]:
    """Where each row begins; the way out of the host is longer, for its frame lies there."""
    tops = [MARGIN + TITLE]
    for number, row in enumerate(picture.rows[:-1], 1):
        tops.append(tops[-1] + _height(row) + WIRE + (MARGIN if number == picture.inside else 0))
    return tops


def _wires(upper: tuple[Box, ...], lower: tuple[Box, ...], begin: int, end: int) -> Iterator[str]:
    for above in upper:
        for below in lower:
            left, right = max(above.left, below.left), min(above.right, below.right)
            if left < right:
                at = (left + right) // 2
                hue = below.hue if below.hue != "box" else above.hue
                yield f'<line class="wire {hue}" x1="{at}" y1="{begin}" x2="{at}" y2="{end}"/>'


def _box(box: Box, top: int) -> Iterator[str]:
    yield _rectangle(box.hue, box.left, top, box.right - box.left, box.height, 6)
    middle = (box.left + box.right) // 2
    for number, text in enumerate((box.name, *box.lines), 1):
        yield _text("line" if number > 1 else "name", middle, top + PADDING + number * LINE - 5, text)


def _rectangle(kind: str, left: int, top: int, width: int, height: int, radius: int) -> str:
    return f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{height}" rx="{radius}"/>'


def _text(kind: str, x: int, y: int, text: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" xml:space="preserve">{escape(text)}</text>'


def main(arguments: list[str]) -> int:
    """Draw the pictures, or with `--check` compare them."""
    stale = []
    for name, picture in PICTURES.items():
        path, wanted = IMAGES / f"{name}.svg", drawn(picture)
        if path.exists() and path.read_text(encoding="utf-8") == wanted:
            continue
        if "--check" in arguments:
            stale.append(f"docs/images/{name}.svg")
        else:
            path.write_text(wanted, encoding="utf-8")
    if stale:
        print(f"error: not current: {', '.join(stale)}; type: make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
