"""What differs and what changes: of record and kernel as JSON, of two states as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.outcomes import Difference, Replacement, Step

# Names on one line.
_SHOWN = 10


def difference_json(one: Difference) -> dict[str, object]:
    """A difference between record and kernel as `check --format json` prints it."""
    return {
        "Kind": one.kind,
        "Network": one.network,
        "Sandbox": one.sandbox,
        "Found": one.found,
        "Obstacle": one.obstacle,
    }


def step_json(step: Step, *, dry_run: bool) -> dict[str, object]:
    """A step of `restore`, planned or tried."""
    status = "planned" if dry_run else "failed" if step.error is not None else "done"
    error = None if step.error is None else {"Code": step.error.code, "Message": step.error.line}
    return difference_json(step.mends) | {"Action": step.action, "Status": status, "Error": error}


def replacement_text(change: Replacement) -> Iterator[str]:
    """What a copy of the state changes: how many of each kind there are, and the names that only one side has."""
    for kind in ("network", "sandbox"):
        before, after = (sum(one == kind for one, _ in all_) for all_ in (change.now, change.then))
        word = "networks" if kind == "network" else "sandboxes"
        yield f"{word}: {before} now, {after} in {escape(change.file)}"
        for words, names in (("only now", change.only_now), ("only in the copy", change.only_then)):
            if found := [name for one, name in names if one == kind]:
                yield f"  {words}: {_listed(found)}"
    if change.foreign:
        yield "it is another machine's state: `macvfast state adopt` takes it over afterwards"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(map(escape, names[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
