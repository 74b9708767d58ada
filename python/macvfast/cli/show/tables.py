"""Tables: columns as wide as their cells; on a terminal, fitted to its width."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

# Docker's distance between columns.
_GAP = "   "


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        fold: on a narrow terminal, its cells are folded after these characters; empty: they stay whole.
        rare: it is left out where all its cells are empty.
        goes: its turn to be left out on a terminal that is too narrow even for folded cells; 0: it stays.
    """

    header: str
    fold: str = ""
    rare: bool = False
    goes: int = 0


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

    If that is not enough, columns are left out; on a terminal too narrow for the others, each row is a block of lines.
    """
    headers = [column.header for column in columns]
    widths = [max(map(len, (column.header, *cells))) for column, *cells in zip(columns, *rows, strict=True)]
    if _together(widths) <= width or not rows:
        return _aligned(headers, rows)
    least = [
        max(len(column.header), *(_least(cell, column.fold) for cell in cells))
        for column, *cells in zip(columns, *rows, strict=True)
    ]
    if _together(least) > width:
        stay = _columns_that_stay(columns, least, width)
        if not stay:
            return "\n".join(_block(headers, row) for row in rows)
        return _fitted([columns[at] for at in stay], [[row[at] for at in stay] for row in rows], width)
    while _together(widths) > width:
        # The widest gives way first, and never below what it needs.
        giving = max((w, index) for index, w in enumerate(widths) if w > least[index])[1]
        widths[giving] -= 1
    return "".join(_lines(columns, row, widths) for row in (headers, *rows))


def _together(widths: Sequence[int]) -> int:
    """How wide a table with such columns is."""
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _columns_that_stay(columns: Sequence[Column], least: Sequence[int], width: int) -> list[int]:
    """Which columns stay so that they fit, as many as possible; none where they do not fit even then."""
    stay = [at for at, column in enumerate(columns) if not column.goes]
    if _together([least[at] for at in stay]) > width:
        return []
    for at in sorted(set(range(len(columns))).difference(stay), key=lambda at: -columns[at].goes):
        if _together([least[one] for one in (*stay, at)]) <= width:
            stay.append(at)
    return sorted(stay)


def _lines(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> str:
    """One row as lines, with what is folded below each other."""
    parts = [_folded(cell, w, column.fold) for cell, w, column in zip(row, widths, columns, strict=True)]
    lines = []
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


# A folded text has at most about that many lines, unless these would be shorter than that.
_LINES = 3
_LEAST = 12


def _least(cell: str, fold: str) -> int:
    """How narrow a cell may become."""
    if not fold:
        return len(cell)
    longest = max(len(piece) for piece in cell.replace(fold, f"{fold}\n").split("\n"))
    # A text has spaces anywhere, or none where it should; an item of a list stays whole.
    return longest if fold == "," else max(min(_LEAST, longest), -(-len(cell) // _LINES))


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
