"""Run the benchmarks: `python -m benches [--quick] [--only NAME]...`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from benches import allocator, floor, groups, machine, profiling, report
from benches.measure import CACHE, SCRATCH_VARIABLE, BenchFailed, NotThere, number, ratio_text, run_group
from tests.netns import isolate, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from pathlib import Path


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small counts, one round: does everything still run?")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="that group, or all whose names begin so; see --list"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="instead of each group's own number")
    parser.add_argument("--list", action="store_true", help="print the groups' names")
    return parser.parse_args(given)


def _say(text: str) -> None:
    print(text, flush=True)


def _works(asked: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """What there is to run, by name."""
    works: dict[str, Callable[[], dict[str, Any]]] = {}
    for group in groups.groups(groups.QUICK if asked.quick else groups.FULL):
        group = replace(group, rounds=asked.rounds or group.rounds)
        works[group.name] = partial(run_group, group, settle, _say)
    works["allocator"] = partial(allocator.measure, quick=asked.quick)
    works["profile"] = partial(profiling.measure, settle, quick=asked.quick)
    return works


def _is_asked_for(name: str, only: Sequence[str] | None, names: Container[str]) -> bool:
    """Whether a name, or the beginning of names that is none itself, is this one's."""
    return only is None or any(name == one or (one not in names and name.startswith(one)) for one in only)


def main(given: Sequence[str]) -> int:
    """Run what is asked for; 1 where an end state was wrong."""
    asked = _arguments(given)
    works = _works(asked)
    names = [name for name in works if _is_asked_for(name, asked.only, works)]
    if asked.list:
        _say("\n".join(names))
        return 0
    if os.geteuid() != 0:
        _say("error: namespaces and links are made: run this as root")
        return 1
    results = CACHE / "quick" if asked.quick else report.RESULTS
    begun = time.monotonic()
    _prepare(results, fresh=asked.quick)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=CACHE) as scratch:
        os.environ[SCRATCH_VARIABLE] = scratch
        here = machine.describe()
        failed = [name for name in names if not _run(works[name], results / f"{name}.json", here)]
    _draw(results, quick=asked.quick)
    _say(f"{time.monotonic() - begun:.0f} s; figures in {results}")
    if failed:
        _say(f"error: failed: {', '.join(failed)}")
    return 1 if failed else 0


def _run(work: Callable[[], dict[str, Any]], file: Path, here: dict[str, Any]) -> bool:
    """Do one piece of work, keep what came out, and show it; False where it failed, which leaves no figures."""
    file.unlink(missing_ok=True)
    try:
        result = work()
    except NotThere as reason:
        _say(f"{file.stem}: not there: {reason}")
        return True
    except BenchFailed as failure:
        _say(f"error: {file.stem}: {failure}")
        return False
    when = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({**result, "machine": here, "when": when}, indent=1, ensure_ascii=False)
    file.write_text(f"{text}\n", encoding="utf-8")
    _show(result)
    return True


def _draw(results: Path, *, quick: bool) -> None:
    """The plots and the page; those of a quick run beside its figures."""
    from benches import plot

    found = report.load(results)
    plots, page = (results / "plots", results / "README.md") if quick else (plot.PLOTS, report.PAGE)
    plot.draw(found, plots)
    page.write_text(report.fill_in(report.PAGE.read_text(encoding="utf-8"), found, plots), encoding="utf-8")


def _prepare(results: Path, *, fresh: bool) -> None:
    """Leave the machine's namespaces, and compile what is needed."""
    if fresh:
        shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True, exist_ok=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    floor.build()
    isolate()


def _show(result: dict[str, Any]) -> None:
    """A group's figures on the terminal."""
    _say(result["title"])
    for label, side in result.get("sides", {}).items():
        if "missing" not in side:
            spread = f"({number(side['low'])} to {number(side['high'])})"
            _say(f"  {label:<36}{number(side['median']):>9} {result['unit']:<4} {spread}")
    for goal in result.get("goals", ()):
        _say(f"  -> {goal['work']}, against {goal['against']}: {ratio_text(goal)}")
    for limit in result.get("limits", ()):
        _say(f"  {limit['work']:<44}{number(limit['figure']):>9} {limit['unit']}")
    for what, shares in result.get("shares", {}).items():
        _say(f"  {what}: {', '.join(f'{part} {share:g} %' for part, share in shares.items())}")


if __name__ == "__main__":
    # Ended from outside, it still takes its children with it.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda got, _: sys.exit(128 + got))
    sys.exit(main(sys.argv[1:]))
