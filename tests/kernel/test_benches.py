"""A benchmark whose end state is wrong fails; it prints no figure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from benches import floor
from benches.measure import CACHE, SCRATCH_VARIABLE, BenchFailed, NotThere, Sample, Side, run_side
from benches.world import World, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.needs("root", "netns", "veth", "macvlan")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    floor.build()
    monkeypatch.setenv(SCRATCH_VARIABLE, str(tmp_path))
    yield
    assert os.listdir(tmp_path) == []


# Sides: called in a process and a world of their own.


def one_link_too_few(world: World) -> Sample:
    floor.fill_one(world, 3)
    run("ip", "-n", floor.TARGET, "link", "delete", "eth1")
    world.check_one(floor.TARGET, 3)
    return Sample(1)


def one_link_down(world: World) -> Sample:
    floor.fill_one(world, 3)
    run("ip", "-n", floor.TARGET, "link", "set", "eth1", "down")
    world.check_one(floor.TARGET, 3)
    return Sample(1)


def one_default_route_missing(world: World) -> Sample:
    names = floor.fill_each(world, 3)
    run("ip", "-n", names[1], "route", "delete", "default")
    world.check_each(names)
    return Sample(1)


def one_link_left(world: World) -> Sample:
    names = floor.fill_each(world, 3)
    for name in names[:2]:
        run("ip", "netns", "delete", name)
    world.check_gone(names[:2])
    return Sample(1)


def nothing_wrong(world: World) -> Sample:
    floor.fill_one(world, 3)
    world.check_one(floor.TARGET, 3)
    return Sample(2, [1, 3])


def not_there(world: World) -> Sample:
    raise NotThere(f"no such thing in {world.pins}")


@pytest.mark.parametrize(
    ("side", "complaint"),
    [
        (one_link_too_few, "2 macvlans in target, not 3"),
        (one_link_down, "not all links are UP"),
        (one_default_route_missing, "f-1 has no default route"),
        (one_link_left, "the parent still holds"),
    ],
)
def test_a_wrong_end_state_fails_the_run(side: Callable[[World], Sample], complaint: str) -> None:
    with pytest.raises(BenchFailed, match=f"wrong end state: .*{complaint}"):
        run_side(Side("side", side))


def test_a_right_end_state_gives_the_sample() -> None:
    assert run_side(Side("side", nothing_wrong)) == Sample(2, [1, 3])


def test_a_side_that_cannot_run_here_says_why() -> None:
    with pytest.raises(NotThere, match="no such thing in /run/netns"):
        run_side(Side("side", not_there))
