"""Tables: columns as wide as their cells; on a terminal, fitted to its width."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

# Docker's distance between columns.
_GAP = "   "


class Column(NamedTuple):
    """A column of a table; on a narrow terminal its cells are folded after `fold`, or stay whole without one. One that
    is `rare` is left out where all its cells are empty.
    """

    header: str
    fold: str = ""
    rare: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """Rows under headers, without control characters; fitted to a terminal of that width, or to none."""
    there = [at for at, column in enumerate(columns) if not column.rare or any(row[at] for row in rows)]
    columns = [columns[at] for at in there]
    safe = [[escape(row[at]) for at in there] for row in rows]
    if width is None:
        return _aligned([column.header for column in columns], safe)
    return _fitted(columns, safe, width)


def _aligned(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell; nothing is ever cut."""
    table = [headers, *rows]
    widths = [max(len(row[index]) for row in table) for index in range(len(headers))]
    lines = (_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
    return "".join(f"{line}\n" for line in lines)


def _fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> str:
    """The same within the terminal's width: what does not fit goes on below, lists at their commas, text at spaces.

    On a terminal too narrow even for that, each row is a block of lines.
    """
    headers = [column.header for column in columns]
    widths = [max(map(len, (column.header, *cells))) for column, *cells in zip(columns, *rows, strict=True)]
    least = [
        max(len(column.header), *(_least(cell, column.fold) for cell in cells), 0)
        for column, *cells in zip(columns, *rows, strict=True)
    ]
    room = width - len(_GAP) * (len(columns) - 1)
    if sum(widths) <= room or not rows:
        return _aligned(headers, rows)
    if sum(least) > room:
        return "\n".join(_block(headers, row) for row in rows)
    while sum(widths) > room:
        # The widest gives way first, and never below what it needs.
        giving = max((w, index) for index, w in enumerate(widths) if w > least[index])[1]
        widths[giving] -= 1
    lines = []
    for row in (headers, *rows):
        parts = [_folded(cell, w, column.fold) for cell, w, column in zip(row, widths, columns, strict=True)]
        for index in range(max(map(len, parts))):
            cells = [(part[index] if index < len(part) else "").ljust(w) for part, w in zip(parts, widths, strict=True)]
            lines.append(_GAP.join(cells).rstrip())
    return "".join(f"{line}\n" for line in lines)


def _block(headers: Sequence[str], row: Sequence[str]) -> str:
    """One row as lines of header and cell; what is longer than the terminal is broken by the terminal."""
    width = max(map(len, headers))
    return "".join(
        f"{f'{header.ljust(width)}{_GAP}{cell}'.rstrip()}\n" for header, cell in zip(headers, row, strict=True)
    )


# What a folded text is allowed to be broken into at least, when it has no space where it should.
_LEAST = 12


def _least(cell: str, fold: str) -> int:
    """How narrow a cell may become."""
    if not fold:
        return len(cell)
    pieces = [len(piece) for piece in cell.replace(fold, f"{fold}\n").split("\n")]
    return max(pieces) if fold == "," else min(_LEAST, max(pieces))


def _folded(cell: str, width: int, fold: str) -> list[str]:
    """A cell as lines of at most `width` characters."""
    if len(cell) <= width or not fold:
        return [cell]
    lines = [""]
    for piece in cell.replace(fold, f"{fold}\n").split("\n"):
        if len(lines[-1]) + len(piece.rstrip(" ")) > width and lines[-1]:
            lines.append("")
        rest = lines[-1] + piece
        while len(rest.rstrip(" ")) > width:
            lines[-1], rest = rest[:width], rest[width:]
            lines.append("")
        lines[-1] = rest
    return [line.rstrip(" ") for line in lines if line]
