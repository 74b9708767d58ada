"""What is measured, and against what: sides that do the same work, run in turns, each in a world of its own."""

from __future__ import annotations

import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


ROOT = Path(__file__).resolve().parent.parent
# Built, fetched and written here is nothing that git knows.
CACHE = ROOT / "target" / "bench"
# In the environment: this run's own directory. It is on a disk, for what is durable has to be paid for.
SCRATCH_VARIABLE = "MACVFAST_BENCH_SCRATCH"


class BenchFailed(Exception):
    """A side could not do its work, or its end state was not the one it should have made."""


class NotThere(Exception):
    """A side cannot run on this machine or with this version of macvfast; the message says what is missing."""


@dataclass(frozen=True)
class Sample:
    """What one run of a side gave."""

    value: float
    """In the group's unit, per item."""
    steps: Sequence[float] = ()
    """The same for each equal step of the way, where the side can tell them apart."""


@dataclass(frozen=True)
class Side:
    """One way to do a group's work."""

    label: str
    run: Callable[..., Sample]
    """Called with a World and the arguments, in a process of its own."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    """What of it is not as with the others."""
    optional: bool = False
    """Whether a failure is told in the table and does not end the run: what needs more than a kernel and packages."""


@dataclass(frozen=True)
class Goal:
    """How one side is to compare with another."""

    work: str
    ours: str
    against: str
    at_most: float | None = None
    """Our cost as a part of theirs, at most."""
    times_faster: float | None = None
    """Their cost as a multiple of ours, at least; 0: told so, without a goal."""
    by_steps: bool = False
    """Whether each step is compared, and the worst one counts."""


@dataclass(frozen=True)
class Group:
    """Sides that are compared, their rounds interleaved."""

    name: str
    title: str
    sides: Sequence[Side]
    rounds: int
    count: int = 1
    """Items of a run."""
    unit: str = "µs"
    goals: Sequence[Goal] = ()
    warm_up: bool = True
    prepare: Sequence[Side] = ()
    """Run once, first, for what they leave on the disk."""


def run_side(side: Side) -> Sample:
    """Run a side once, in a process that makes a world for it and takes that world with it.

    Raises:
        NotThere, BenchFailed
    """
    command = [sys.executable, "-m", "benches.side", side.run.__module__, side.run.__name__, json.dumps(side.arguments)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        process_group=0,
    )  # fmt: skip
    try:
        said, complaints = process.communicate()
    finally:
        # What it started goes with it, also when this is interrupted.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lines = said.splitlines()
    if process.returncode != 0 or not lines:
        raise BenchFailed(f"{side.label}: exit status {process.returncode}\n{said}{complaints}")
    answer = json.loads(lines[-1])
    if "not_there" in answer:
        raise NotThere(answer["not_there"])
    return Sample(answer["value"], answer["steps"])


def run_group(group: Group, settle: Callable[[], None], say: Callable[[str], None]) -> dict[str, Any]:
    """Run all sides of a group in turns, A-B-A-B, after a round that does not count; what came out, for JSON.

    Args:
        group: what to run.
        settle: called after every run, to wait until the kernel has let go of it.
        say: shows progress.

    Raises:
        BenchFailed
    """
    samples: dict[str, list[Sample]] = {side.label: [] for side in group.sides}
    missing: dict[str, str] = {}
    for side in group.prepare:
        run_side(side)
        settle()
    load = [os.getloadavg()[0]]
    for turn in range(-1 if group.warm_up else 0, group.rounds):
        for side in group.sides:
            if side.label in missing:
                continue
            try:
                sample = run_side(side)
            except NotThere as reason:
                missing[side.label] = str(reason)
                say(f"  {side.label}: not there: {reason}")
                continue
            except BenchFailed as failure:
                if not side.optional:
                    raise
                missing[side.label] = _last_line(str(failure))
                say(f"  {side.label}: did not run: {missing[side.label]}")
                continue
            finally:
                settle()
            if turn >= 0:
                samples[side.label].append(sample)
    load.append(os.getloadavg()[0])
    sides = {
        side.label: {
            "note": side.note,
            **({"missing": missing[side.label]} if side.label in missing else _figures(samples[side.label])),
        }
        for side in group.sides
    }
    return {
        "group": group.name, "title": group.title, "count": group.count, "unit": group.unit, "rounds": group.rounds,
        "load": [round(value, 2) for value in load], "sides": sides,
        "goals": [{**asdict(goal), **compare(goal, sides)} for goal in group.goals],
    }  # fmt: skip


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def _figures(samples: Sequence[Sample]) -> dict[str, Any]:
    values = [sample.value for sample in samples]
    return {
        "median": _short(statistics.median(values)),
        "low": _short(min(values)),
        "high": _short(max(values)),
        "values": [_short(value) for value in values],
        "steps": [[_short(value) for value in sample.steps] for sample in samples],
    }


def _short(value: float) -> float:
    """Four digits are more than any of this is good for."""
    return float(f"{value:.4g}")


def compare(goal: Goal, sides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The ratio of each round, paired: median, lowest, highest; `missing` where a side has no figures."""
    ours, theirs = sides[goal.ours], sides[goal.against]
    for side in (ours, theirs):
        if "missing" in side:
            return {"missing": side["missing"]}

    def ratio(mine: float, other: float) -> float:
        return other / mine if goal.times_faster is not None else mine / other

    if not goal.by_steps:
        ratios = [ratio(*pair) for pair in zip(ours["values"], theirs["values"], strict=True)]
        return {"ratio": _spread(ratios), "met": _met(goal, statistics.median(ratios))}
    steps = [
        _spread([ratio(*pair) for pair in zip(mine, other, strict=True)])
        for mine, other in zip(zip(*ours["steps"], strict=True), zip(*theirs["steps"], strict=True), strict=True)
    ]
    medians = [step["median"] for step in steps]
    worst = steps[medians.index(min(medians) if goal.times_faster is not None else max(medians))]
    return {"ratio": worst, "steps": steps, "met": _met(goal, worst["median"])}


def _met(goal: Goal, ratio: float) -> bool | None:
    if goal.times_faster:
        return ratio >= goal.times_faster
    return None if goal.at_most is None else ratio <= goal.at_most


def _spread(ratios: Sequence[float]) -> dict[str, float]:
    return {"median": _short(statistics.median(ratios)), "low": _short(min(ratios)), "high": _short(max(ratios))}


def ratio_text(goal: Mapping[str, Any]) -> str:
    """A comparison as people read it: `1.04x (1.01 to 1.09)`, or what is missing."""
    if "missing" in goal:
        return f"– ({goal['missing']})"
    ratio = goal["ratio"]
    times = goal["times_faster"] is not None
    text = f"{number(ratio['median'])}x{' faster' if times else ''}"
    return f"{text} ({number(ratio['low'])} to {number(ratio['high'])})"


def number(value: float) -> str:
    """A figure with about three digits: 0.097, 1.04, 12.6, 1,408."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def timed_sample(
    seconds: float, count: int, marks: Sequence[tuple[int, float]] = (), *, unit_s: float = 1e-6, steps: int = 1
) -> Sample:
    """The cost of one of `count` items.

    Args:
        seconds: of all of them together.
        marks: how many were done at which time; may be coarser or finer than the steps.
        unit_s: seconds of the group's unit.
        steps: into how many equal steps the way is cut; 1: none.
    """
    if steps == 1:
        return Sample(seconds / count / unit_s)
    ends = [(0, 0.0), *marks]
    at = [_time_at(count * step / steps, ends) for step in range(steps + 1)]
    each = [(end - begin) / (count / steps) / unit_s for begin, end in itertools.pairwise(at)]
    return Sample(seconds / count / unit_s, each)


def _time_at(done: float, marks: Sequence[tuple[int, float]]) -> float:
    """When so many were done, on a straight line between the marks beside it."""
    for (before, begin), (after, end) in itertools.pairwise(marks):
        if done <= after:
            return begin + (end - begin) * (done - before) / (after - before)
    return marks[-1][1]
