"""The floor's sides: the bare program floor.c, and what is there beforehand where others are measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benches.measure import timed_sample
from benches.world import FLOOR, run

if TYPE_CHECKING:
    from benches.measure import Sample
    from benches.world import World

# The namespace that is there.
TARGET = "target"


def build() -> None:
    """Compile floor.c where it is newer than what was compiled."""
    source = Path(__file__).parent / "floor.c"
    if FLOOR.exists() and FLOOR.stat().st_mtime >= source.stat().st_mtime:
        return
    FLOOR.parent.mkdir(parents=True, exist_ok=True)
    run("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", FLOOR, source)


def fill_one(world: World, count: int) -> None:
    """Links in one namespace."""
    world.floor("links", world.namespace(TARGET), world.parent_index, 0, count)
    world.check_one(TARGET, count)


def fill_each(world: World, count: int) -> list[str]:
    """Sandboxes, with the first addresses; their names."""
    names = [f"f-{n}" for n in range(count)]
    if count:
        world.floor("sandboxes", world.pins, world.parent_index, 0, count)
        world.check_each(names)
    return names


def links(world: World, count: int, steps: int = 1) -> Sample:
    """Links in one namespace, from a bare send loop."""
    target = world.namespace(TARGET)
    timing = world.floor("links", target, world.parent_index, 0, count)
    world.check_one(TARGET, count)
    return timed_sample(timing.seconds, count, timing.marks, steps=steps)


def delete(world: World, count: int) -> Sample:
    """Links of one namespace, by one message."""
    fill_one(world, count)
    timing = world.floor("delete", world.pins / TARGET)
    world.check_empty(TARGET)
    return timed_sample(timing.seconds, count)


def sandboxes(world: World, count: int, steps: int = 1) -> Sample:
    """Whole sandboxes, from a bare loop."""
    timing = world.floor("sandboxes", world.pins, world.parent_index, 0, count)
    world.check_each([f"f-{n}" for n in range(count)])
    return timed_sample(timing.seconds, count, timing.marks, steps=steps)


def removal(world: World, count: int) -> Sample:
    """Whole sandboxes removed, until the parent holds none of their links."""
    names = fill_each(world, count)
    timing = world.floor("remove", world.pins, world.parent_index)
    world.check_gone(names)
    return timed_sample(timing.seconds, count)
