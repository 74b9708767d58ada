"""The tables of benches/README.md, from the figures in benches/results: `python -m benches.report [--check]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benches import groups
from benches.machine import in_words
from benches.measure import number, ratio_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DIRECTORY = Path(__file__).parent
RESULTS = DIRECTORY / "results"
PAGE = DIRECTORY / "README.md"
BEGIN, END = "<!-- {}: written by benches/report.py -->\n", "<!-- end of {} -->"
NOT_YET = "No full run yet: `make bench`.\n"

# One group as it was written: what measure.run_group and allocator.measure give, with the machine and the time.
Result = dict[str, Any]


def load(directory: Path = RESULTS) -> dict[str, Result]:
    """All results by group, in the order they are run; what is no group comes last."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in directory.glob("*.json")}
    names = [group.name for size in (groups.FULL, groups.QUICK) for group in groups.groups(size)]
    known = [name for name in dict.fromkeys(names) if name in found]
    return {name: found[name] for name in [*known, *sorted(found.keys() - {*known})]}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; flush right are the columns after the second that have a name."""
    ruler = ["---:" if at > 1 and name else "---" for at, name in enumerate(head)]
    lines = [head, ruler, *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |\n" for line in lines)


def goals(results: Mapping[str, Result]) -> str:
    """Every goal with its figures."""
    rows = []
    for result in results.values():
        for goal in result.get("goals", ()):
            sides = result["sides"]
            ours, theirs = (_median(sides[goal[key]], result["unit"]) for key in ("ours", "against"))
            rows.append([goal["work"], goal["against"], ours, theirs, ratio_text(goal), _wanted(goal), _met(goal)])
        for limit in result.get("limits", ()):
            figure, wanted = (
                f"{number(limit['figure'])} {limit['unit']}",
                f"at most {limit['at_most']:,g} {limit['unit']}",
            )
            rows.append([limit["work"], "", figure, "", "", wanted, _met(limit)])
    head = ["work", "against", "macvfast", "the other", "ratio (lowest to highest round)", "goal", "met"]
    return table(head, rows) if rows else NOT_YET


def _median(side: Mapping[str, Any], unit: str) -> str:
    return "–" if "missing" in side else f"{number(side['median'])} {unit}"


def _wanted(goal: Mapping[str, Any]) -> str:
    if goal["times_faster"]:
        return f"at least {goal['times_faster']:g}x faster"
    return "" if goal["at_most"] is None else f"at most {goal['at_most']:.2f}x"


def _met(goal: Mapping[str, Any]) -> str:
    return {True: "yes", False: "**no**", None: ""}[goal.get("met")]


def all_sides(results: Mapping[str, Result]) -> str:
    """Every side of every group."""
    rows = []
    for result in results.values():
        sides = result.get("sides", {})
        if sides and all("missing" in side for side in sides.values()):
            reasons = dict.fromkeys(side["missing"] for side in sides.values())
            rows.append([result["title"], "all", "–", "–", "", "; ".join(reasons)])
            continue
        for label, side in sides.items():
            shown = ["–", "–"]
            if "missing" not in side:
                shown = [
                    f"{number(side['median'])} {result['unit']}",
                    f"{number(side['low'])} to {number(side['high'])}",
                ]
            note = "; ".join(text for text in (side["note"], side.get("missing", "")) if text)
            rows.append([result["title"], label, *shown, str(result["rounds"]), note])
    return table(["work", "by", "median", "rounds' spread", "rounds", ""], rows) if rows else NOT_YET


def printed(results: Mapping[str, Result]) -> str:
    """The allocator's own tables."""
    found = results.get("allocator", {}).get("tables", ())
    return "\n".join(table(one["columns"], one["rows"]) for one in found) or NOT_YET


def profile(results: Mapping[str, Result]) -> str:
    """Where the time goes."""
    if "profile" not in results:
        return NOT_YET
    result = results["profile"]
    runs = result["shares"]
    parts = list(dict.fromkeys(part for shares in runs.values() for part in shares))
    rows = [[part, what, *(f"{shares.get(part, 0):.1f} %" for shares in runs.values())] for part in parts
            for what in [result["meaning"].get(part, "")]]  # fmt: skip
    return table(["part", "what", *runs], rows)


def machines(results: Mapping[str, Result]) -> str:
    """The machines, the times and the load."""
    said: dict[str, list[str]] = {}
    for result in results.values():
        load_ = result.get("load")
        shown = f" (load {load_[0]:g} to {load_[1]:g})" if load_ else ""
        said.setdefault(f"{result['when'][:10]}, {in_words(result['machine'])}", []).append(result["group"] + shown)
    return "\n".join(f"- {machine}: {', '.join(groups)}.\n" for machine, groups in said.items()) or NOT_YET


PLOTS = {
    "creation": "Cost of one sandbox against the number made at once",
    "links": "Cost of one link in one namespace against the number made at once",
    "removal": "Cost of one removal against the number removed at once",
    "given": "Cost of one endpoint that shares its namespace against their number",
    "attachments": "Cost of one call of a CNI plugin against the number of attachments there",
    "growth": "Cost of the n-th link and of the n-th sandbox",
    "allocator": "Cost of one address at several fills of the pool",
}


def plots(directory: Path) -> str:
    """The plots that have been drawn."""
    drawn = [f"![{title}](plots/{name}.svg)\n" for name, title in PLOTS.items() if (directory / f"{name}.svg").exists()]
    return "\n".join(drawn) or NOT_YET


SECTIONS = {
    "goals": goals, "every side": all_sides, "allocator": printed, "profile": profile, "machine": machines,
}  # fmt: skip


def fill_in(page: str, results: Mapping[str, Result], plots_directory: Path) -> str:
    """The page with each section between its markers written anew."""
    sections = {**{name: write(results) for name, write in SECTIONS.items()}, "plots": plots(plots_directory)}
    for name, text in sections.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"error: {PAGE} has no section `{name}`: {begin}{end}")
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with `--check` compare it."""
    now = PAGE.read_text(encoding="utf-8")
    wanted = fill_in(now, load(), DIRECTORY / "plots")
    if "--check" not in arguments:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != now:
        print("error: not current: benches/README.md; type: .venv/bin/python -m benches.report", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
