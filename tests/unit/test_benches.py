"""The benchmarks' own arithmetic: a figure that is wrongly put together is worse than none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from benches import groups, report
from benches.allocator import tables
from benches.measure import Goal, compare, number, timed_sample
from benches.profiling import part_of

if TYPE_CHECKING:
    from pathlib import Path


def sides(ours: list[float], theirs: list[float]) -> dict[str, dict[str, object]]:
    return {"a": {"values": ours, "steps": []}, "b": {"values": theirs, "steps": []}}


def test_a_cost_is_that_of_one_item() -> None:
    assert timed_sample(2.0, 1_000).value == pytest.approx(2_000)
    assert timed_sample(2.0, 1_000, unit_s=1e-3).value == pytest.approx(2)


def test_steps_are_cut_out_of_marks_that_lie_elsewhere() -> None:
    # 1 ms each up to 300, then 3 ms each; the third quarter is the one in which it changes.
    marks = [(100, 0.1), (300, 0.3), (400, 0.6)]
    assert timed_sample(0.6, 400, marks, steps=4).steps == pytest.approx([1_000, 1_000, 1_000, 3_000])
    assert timed_sample(0.6, 400, marks, steps=2).steps == pytest.approx([1_000, 2_000])


def test_a_ratio_is_that_of_the_runs_of_one_round() -> None:
    # The second round was slow for both: medians of each side alone would give 3.
    found = compare(Goal("work", "a", "b", at_most=1.1), sides([1, 6, 2], [1, 6, 4]))
    assert found == {"ratio": {"median": 1, "low": 0.5, "high": 1}, "met": True}


def test_faster_means_that_the_other_takes_longer() -> None:
    found = compare(Goal("work", "a", "b", times_faster=80), sides([2], [100]))
    assert found == {"ratio": {"median": 50, "low": 50, "high": 50}, "met": False}


def test_of_several_steps_the_worst_one_counts() -> None:
    both: dict[str, dict[str, object]] = {
        "a": {"values": [1], "steps": [[1.0, 1.0, 3.0, 1.0]]},
        "b": {"values": [1], "steps": [[1.0, 1.0, 2.0, 1.0]]},
    }
    found = compare(Goal("work", "a", "b", at_most=1.1, by_steps=True), both)
    assert (found["ratio"]["median"], found["met"]) == (1.5, False)


def test_a_side_that_is_not_there_gives_its_reason_and_no_ratio() -> None:
    both: dict[str, dict[str, object]] = {**sides([1], [1]), "b": {"missing": "no such package"}}
    assert compare(Goal("work", "a", "b", at_most=1), both) == {"missing": "no such package"}


def test_figures_have_about_three_digits() -> None:
    assert [number(value) for value in (0.0971, 1.044, 12.55, 1_408.4)] == ["0.097", "1.04", "12.6", "1,408"]


def test_printed_tables_are_read_back() -> None:
    text = "words\n| a, ns | b |\n| --- | ---: |\n| x | 1.5 |\n\n| c | d |\n| --- | --- |\n| – | 2 |\n"
    assert tables(text) == [
        {"columns": ["a, ns", "b"], "rows": [["x", "1.5"]]},
        {"columns": ["c", "d"], "rows": [["–", "2"]]},
    ]


@pytest.mark.parametrize(
    ("frames", "part"),
    [
        ([("macvlan_open", "[kernel.kallsyms]"), ("__x64_sys_sendto", "[kernel.kallsyms]")], "kernel: netlink"),
        ([("copy_net_ns", "[kernel.kallsyms]"), ("ksys_unshare", "[kernel.kallsyms]")], "kernel: namespaces"),
        ([("ext4_sync_file", "[kernel.kallsyms]"), ("__do_sys_fdatasync", "[kernel.kallsyms]")], "kernel: the state"),
        ([("clear_page_rep", "[kernel.kallsyms]"), ("asm_exc_page_fault", "[kernel.kallsyms]")], "kernel: the rest"),
        ([("[unknown]", "/x/macvfast/_core.abi3.so")], "encoding"),
        ([("sqlite3VdbeExec", "/usr/lib/libsqlite3.so.0.8.6"), ("__x64_sys_sendto", "[kernel.kallsyms]")], "SQLite"),
        ([("malloc", "/usr/lib/x86_64-linux-gnu/libc.so.6")], "C library"),
        ([("_PyEval_EvalFrameDefault", "/usr/bin/python3.11")], "Python"),
    ],
)
def test_a_sample_belongs_to_the_call_or_the_file_that_it_was_taken_in(
    frames: list[tuple[str, str]], part: str
) -> None:
    assert part_of(frames).startswith(part)


@pytest.mark.parametrize("size", [groups.FULL, groups.QUICK], ids=["full", "quick"])
def test_every_goal_compares_sides_that_its_group_runs(size: groups.Size) -> None:
    found = groups.groups(size)
    assert len({group.name for group in found}) == len(found)
    for group in found:
        labels = {side.label for side in group.sides}
        assert {label for goal in group.goals for label in (goal.ours, goal.against)} <= labels


def test_a_quick_run_holds_every_kind_of_side_and_goal_of_a_full_one() -> None:
    def kinds(size: groups.Size) -> set[str]:
        found = groups.groups(size)
        by = {f"{side.run.__module__}.{side.run.__name__}" for group in found for side in group.sides}
        goals = {f"{goal.ours} against {goal.against}" for group in found for goal in group.goals}
        # Some speak of how many, which is what a quick run has less of.
        return by | {re.sub(r"\d[\d,]*", "N", goal) for goal in goals}

    assert kinds(groups.FULL) <= kinds(groups.QUICK)


def test_the_page_keeps_what_stands_between_its_sections(tmp_path: Path) -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    once = report.fill_in(page, {}, tmp_path)
    assert report.NOT_YET in once
    assert "## How it is measured" in once
    assert report.fill_in(once, {}, tmp_path) == once
