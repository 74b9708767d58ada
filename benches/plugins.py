"""The comparisons of plugins: macvfast's, with a server and without one, the reference plugins, and netavark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benches import runtime
from benches.measure import Goal, Group, Side

if TYPE_CHECKING:
    from benches.groups import Size

SERVED, ALONE, REFERENCE = "macvfast, served", "macvfast, no server", "macvlan + host-local"
NETAVARK, FLOOR = "netavark", "a program in C, no record"
NOTHING = "/bin/true"

# That call a plugin at once.
PROCESSES = 16


def groups(size: Size) -> list[Group]:
    """All of them."""
    calls = [_calls(size, action, fill) for action in ("ADD", "DEL", "CHECK") for fill in size.held]
    return [*calls, *(_status(size, fill) for fill in size.held), _crowd(size)]


def _calls(size: Size, action: str, fill: int) -> Group:
    sides = [
        Side(label, runtime.one_by_one, {"action": action, "fill": fill, "items": items, "served": served})
        for label, items, served in (
            (SERVED, size.plugin_calls, True),
            # Each starts Python.
            (ALONE, size.calls, False),
            (REFERENCE, size.slow, None),
        )
    ]
    work = f"one CNI {action}{_beside(fill)}"
    goals = [
        Goal(f"{work}, with a server", SERVED, REFERENCE, times_faster={"ADD": 3, "DEL": 5, "CHECK": 0}[action]),
        Goal(work, ALONE, REFERENCE),
    ]
    if action != "CHECK":
        sides.append(
            Side(NETAVARK, runtime.netavark, {"action": action, "fill": fill, "items": size.slow},
                 "set-up and teardown, as podman calls it")
        )  # fmt: skip
        goals.append(Goal(f"{work}, with a server", SERVED, NETAVARK, times_faster=0))
    if action == "ADD":
        sides.append(
            Side(FLOOR, runtime.bare, {"fill": fill, "items": size.plugin_calls}, "a process for each link")
        )  # fmt: skip
        goals.append(Goal(f"{work}, with a server", SERVED, FLOOR))
    name = f"cni-{action.lower()}-{fill}"
    return Group(name, work, sides, size.slow_rounds, unit="ms", goals=goals, warm_up=False)


def _beside(fill: int) -> str:
    return f", {fill:,} attachments there" if fill else ""


def _status(size: Size, fill: int) -> Group:
    sides = [
        Side(SERVED, runtime.status, {"fill": fill, "items": size.plugin_calls}),
        Side(NOTHING, runtime.nothing, {"items": size.plugin_calls}, "what starting a process costs the caller"),
    ]
    work = f"one CNI STATUS{_beside(fill)}"
    goals = [Goal(f"{work}, with a server", SERVED, NOTHING)]
    return Group(f"cni-status-{fill}", work, sides, size.slow_rounds, unit="ms", goals=goals, warm_up=False)


def _crowd(size: Size) -> Group:
    crowd = {"processes": PROCESSES, "each": size.crowd}
    sides = [
        Side(SERVED, runtime.at_once, crowd | {"served": True}),
        Side(REFERENCE, runtime.at_once, crowd | {"served": None}),
        Side(NOTHING, runtime.nothing_at_once, crowd, "what starting a process costs the callers"),
    ]
    total = PROCESSES * size.crowd
    goals = [
        Goal(f"one of {total:,} CNI ADDs by {PROCESSES} processes at once, with a server", SERVED, REFERENCE,
             times_faster=12),
        Goal(f"one of {total:,} CNI ADDs by {PROCESSES} processes at once, with a server", SERVED, NOTHING),
    ]  # fmt: skip
    title = f"{total:,} CNI ADDs by {PROCESSES} processes at once"
    return Group("cni-crowd", title, sides, size.slow_rounds, unit="ms", goals=goals, warm_up=False)
