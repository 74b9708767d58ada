"""Threads of one process that write to one state, each again and again."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from benches.measure import Sample, timed_sample
from benches.world import Clock, must
from macvfast.state.store import Store

if TYPE_CHECKING:
    from benches.world import World


def rate(world: World, threads: int, each: int, *, apart: bool = False) -> Sample:
    """What a write costs. `apart`: each thread has a Store of its own, so that SQLite alone lets them wait."""
    seconds, _ = _write(world, threads, each, apart=apart)
    return timed_sample(seconds, threads * each)


def slowest(world: World, threads: int, each: int, *, apart: bool = False) -> Sample:
    """What the slowest write takes, in ms; `apart` as of `rate`."""
    _, longest = _write(world, threads, each, apart=apart)
    return Sample(longest * 1e3)


def _write(world: World, threads: int, each: int, *, apart: bool) -> tuple[float, float]:
    """The seconds of all writes together, and of the slowest."""
    directory = str(world.directory / "state")
    took: list[float] = []
    clock = Clock()

    def work(store: Store, name: str) -> None:
        for turn in range(each):
            begun = time.perf_counter()
            with store.writing() as records:
                records.set_host(name, str(turn))
            took.append(time.perf_counter() - begun)

    with ExitStack() as stack:
        stores = [stack.enter_context(closing(Store(directory))) for _ in range(threads if apart else 1)]
        workers = [
            threading.Thread(target=work, args=(stores[number % len(stores)], f"thread {number}"))
            for number in range(threads)
        ]
        with clock.running():
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
    must(len(took) == threads * each, f"{len(took)} writes, not {threads * each}")
    return clock.seconds, max(took)
