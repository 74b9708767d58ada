"""The comparisons of whole commands: with a server, without one, and Docker's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benches import docker, served
from benches.measure import Goal, Group, Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from benches.groups import Size
    from benches.measure import Sample

# What a server has done before its memory is first looked at.
BEGUN = 16

# Callers that wait for an answer at a time.
WAITING = (1, 4, 32)


def groups(size: Size) -> list[Group]:
    """All of them."""
    return [_listing(size), _run(size), _changes(size), _requests(size), _memory(size), _growth(size)]


def _both(size: Size, name: str, function: Callable[..., Sample], note: str = "") -> list[Side]:
    """A command with a server, and without."""
    return [
        Side(f"{name}, served", function, {"count": size.calls, "served": True}, note),
        Side(name, function, {"count": size.calls, "served": False}, note),
    ]


def _listing(size: Size) -> Group:
    ours = _both(size, "network ls", served.network_ls)
    theirs = Side("docker network ls", docker.docker_ls, {"count": size.calls}, optional=True)
    work = "`network ls`, whole command"
    goals = [
        Goal(f"{work}, with a server", ours[0].label, theirs.label, at_most=0.6),
        Goal(work, ours[1].label, theirs.label),
    ]
    return Group("served-ls", work, [*ours, theirs], size.slow_rounds, unit="ms", goals=goals, warm_up=False)


def _run(size: Size) -> Group:
    ours = _both(size, "macvfast run", served.run_and_remove, "no image, no cgroup")
    theirs = Side(
        "docker run", docker.docker_run, {"count": size.calls}, "the Engine's own data in memory", optional=True
    )
    without = Side(
        "docker run --net=none", docker.docker_run, {"count": size.calls, "network": "none"},
        "the part of it that is not the network", optional=True,
    )  # fmt: skip
    work = "one sandbox with a command, begun and removed"
    goals = [
        Goal(f"{work}, with a server", ours[0].label, theirs.label, times_faster=4),
        Goal(work, ours[1].label, theirs.label, times_faster=0),
    ]
    title = "`run --rm … true`, whole command"
    return Group("run", title, [*ours, theirs, without], size.slow_rounds, unit="ms", goals=goals, warm_up=False)


def _changes(size: Size) -> Group:
    names = {"run -d": served.run_detached, "network create": served.network_create}
    sides = {name: _both(size, name, function) for name, function in names.items()}
    goals = [
        Goal(f"`{name}`, whole command, with a server", with_.label, without.label, times_faster=0)
        for name, (with_, without) in sides.items()
    ]
    both = [side for pair in sides.values() for side in pair]
    title = "commands that change something"
    return Group("served-changes", title, both, size.slow_rounds, unit="ms", goals=goals, warm_up=False)


def _requests(size: Size) -> Group:
    sides = [
        Side(f"{callers} waiting", served.requests, {"count": size.asked, "callers": callers}) for callers in WAITING
    ]
    work = "one request of a plugin, an endpoint in a namespace that is there"
    goals = [Goal(f"{work}: {many.label}", many.label, sides[0].label, times_faster=0) for many in sides[1:]]
    return Group("requests", "requests of plugins", sides, size.slow_rounds, goals=goals, warm_up=False)


def _growth(size: Size) -> Group:
    sides = [
        Side(f"when it has done {count:,} requests", served.memory, {"requests": count, "commands": 0})
        for count in (size.requests // 20, size.requests)
    ]
    work = f"memory of a server that has done {size.requests:,} requests"
    goals = [Goal(work, sides[1].label, sides[0].label)]
    title = "memory of a server that does requests"
    return Group("requests-memory", title, sides, 1, unit="MiB", goals=goals, warm_up=False)


def _memory(size: Size) -> Group:
    sides = [
        Side(f"when it has done {count:,} of each", served.memory, {"requests": count, "commands": count})
        for count in (BEGUN, size.served)
    ]
    title = "memory of a server that does commands and requests"
    work = f"memory of a server that has done {size.served:,} commands and {size.served:,} requests"
    goals = [Goal(work, sides[1].label, sides[0].label)]
    return Group("served-memory", title, sides, 1, unit="MiB", goals=goals, warm_up=False)
