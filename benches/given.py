"""Endpoints that share one namespace which is there: to look at them, to restore them, to free them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benches.floor import TARGET
from benches.measure import timed_sample
from benches.ours import NETWORK, connect_timed, make_sure, open_host
from benches.world import Clock, World, must, run
from tests.netns import settle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benches.measure import Sample
    from macvfast import Host


def making(world: World, count: int) -> Sample:
    """Make them."""
    with _shared(world, count) as (_, clock):
        pass
    return timed_sample(clock.seconds, count)


def check(world: World, count: int) -> Sample:
    """Look at all of them, where nothing differs."""
    clock = Clock()
    with _shared(world, count) as (host, _):
        with clock.running():
            found = host.check()
        must(found == [], f"{len(found)} differences: {found[:1]}")
    return timed_sample(clock.seconds, count)


def restore(world: World, count: int, *, missing: bool = False) -> Sample:
    """Restore them, where nothing is missing, or all links are."""
    clock = Clock()
    with _shared(world, count) as (host, _):
        if missing:
            _delete_links(world)
        with clock.running():
            plan = host.restore()
        must(len(plan.steps) == (count if missing else 0), f"{len(plan.steps)} steps")
        must(not plan.failed and not plan.remaining, f"not all is restored: {[*plan.failed, *plan.remaining][:1]}")
        world.check_one(TARGET, count)
    return timed_sample(clock.seconds, count)


def gc(world: World, count: int) -> Sample:
    """Free them, their namespace being gone."""
    clock = Clock()
    with _shared(world, count) as (host, _):
        run("ip", "netns", "delete", TARGET)
        settle()
        world.check_gone([TARGET])
        with clock.running():
            freed = host.gc()
        must(len(freed) == count, f"{len(freed)} are freed, not {count}")
        must(not [*host.sandboxes()], "sandboxes are left")
    return timed_sample(clock.seconds, count)


@contextmanager
def _shared(world: World, count: int) -> Iterator[tuple[Host, Clock]]:
    """So many endpoints in one namespace, and the time that they took, in a process that has done all of this once."""
    target, other = str(world.namespace(TARGET)), str(world.namespace("other"))
    with open_host(world) as host:
        make_sure(host.connect_many(NETWORK, ["first"], netns=other), 1)
        must(host.check() == [] and host.gc() == [], "the first one is not as recorded")
        make_sure(host.remove_many(["first"]), 1)
        clock = connect_timed(host, [f"s-{number}" for number in range(count)], target)
        world.check_one(TARGET, count)
        yield host, clock


def _delete_links(world: World) -> None:
    """Delete all macvlans of the namespace, group by group: one by one they take 20 ms each."""
    links = json.loads(run("ip", "-n", TARGET, "-json", "link", "show", "type", "macvlan"))
    for group in {link["group"] for link in links}:
        run("ip", "-n", TARGET, "link", "delete", "group", group)
    world.check_empty(TARGET)
