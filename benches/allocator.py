"""The allocator's figures: what `cargo bench` and benches/pool.py print, read back from their Markdown tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

from benches.measure import ROOT, BenchFailed

RUST = ("cargo", "bench", "--quiet", "--locked", "-p")

# What is promised: a table's first column title, a row, a column, the limit. The unit is the one in the title.
LIMITS: tuple[tuple[str, str, str, str, float], ...] = (
    ("one address, Rust, empty /16", "one allocation, ns", "empty", "/16 lowest", 10),
    ("the same, half full at random", "one allocation, ns", "half full at random", "/16 lowest", 10),
    ("the same, nearly full", "one allocation, ns", "all but 1,000 taken, at random", "/16 lowest", 10),
    ("one address, Rust, empty /8", "one allocation, ns", "empty", "/8 lowest", 20),
    ("the same, half full at random", "one allocation, ns", "half full at random", "/8 lowest", 20),
    ("the same, nearly full", "one allocation, ns", "all but 1,000 taken, at random", "/8 lowest", 20),
    ("one address, Python", "one call, µs", "`Pool.allocate`, empty /16", "median", 0.3),
    ("65,534 addresses in one call, Python", "65,534 addresses at once, ms", "`Pool.allocate_many`, /16", "median", 1),
)
MEMORY = ("pool", "full 10.0.0.0/16", "bytes held", 2 * 8192)


def _printed(*command: str) -> str:
    # Cargo may be where rustup put it.
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{os.path.expanduser('~')}/.cargo/bin"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise BenchFailed(f"`{' '.join(command)}` ended with {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def tables(text: str) -> list[dict[str, Any]]:
    r"""The Markdown tables in a text: columns, and rows of texts.

    >>> tables("| a, ns | b |\\n| --- | ---: |\\n| x | 1.5 |\\n")
    [{'columns': ['a, ns', 'b'], 'rows': [['x', '1.5']]}]
    """
    found: list[dict[str, Any]] = []
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    for at, cells in enumerate(lines):
        if at + 1 < len(lines) and set("".join(lines[at + 1])) <= set("-: "):
            found.append({"columns": cells, "rows": []})
        elif set("".join(cells)) - set("-: "):
            found[-1]["rows"].append(cells)
    return found


def _cell(found: list[dict[str, Any]], title: str, row: str, column: str) -> float:
    for table in found:
        if table["columns"][0].startswith(title) and column in table["columns"]:
            for cells in table["rows"]:
                if cells[0] == row:
                    return float(cells[table["columns"].index(column)])
    raise BenchFailed(f"no figure for {row}, {column} in the table of {title}")


def measure(*, quick: bool) -> dict[str, Any]:
    """Run the allocator's benchmarks, and in full those of the encoder; what they printed, for JSON."""
    found = tables(_printed(*RUST, "macvfast-ipam", "--bench", "ipam"))
    found += tables(_printed(sys.executable, "benches/pool.py"))
    if not quick:
        found += tables(_printed(*RUST, "macvfast-netlink", "--bench", "batch"))
    limits = []
    for work, title, row, column, limit in LIMITS:
        unit = re.sub(r".*, ", "", title)
        limits.append(_limit(work, _cell(found, title, row, column), unit, limit))
    limits.append(_limit("memory of a full /16", _cell(found, *MEMORY[:3]), "bytes", MEMORY[3]))
    return {"group": "allocator", "title": "The allocator", "tables": found, "limits": limits}


def _limit(work: str, figure: float, unit: str, limit: float) -> dict[str, Any]:
    return {"work": work, "figure": figure, "unit": unit, "at_most": limit, "met": figure <= limit}
