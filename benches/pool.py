"""What the allocator costs from Python: `python benches/pool.py`. Medians of interleaved rounds, as Markdown tables.

The peers are named: making one `ipaddress` object with its own constructor is the floor of a pool written in Python,
and the lowest integer that a set does not hold, found upward from the last one, is such a pool at its simplest.
"""

from __future__ import annotations

import gc
import statistics
import time
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from macvfast._core import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROUNDS = 11
CALLS = 20_000
MANY = 65_534


class SetPool:
    """The lowest integer from `first` on that is in no set, as an `ipaddress` object."""

    def __init__(self, first: int, size: int) -> None:
        self.used: set[int] = set()
        self.lowest = first
        self.end = first + size

    def allocate(self) -> IPv4Address:
        """One address."""
        for value in range(self.lowest, self.end):
            if value not in self.used:
                self.used.add(value)
                self.lowest = value + 1
                return IPv4Address(value)
        raise LookupError


def pool_with(subnet: str, taken: int = 0) -> Pool:
    """A pool in which the first addresses are in use."""
    pool = Pool(subnet)
    pool.allocate_many(taken)
    return pool


def half_full(subnet: str) -> Pool:
    """A pool of which every other address is in use."""
    pool = Pool(subnet)
    for address in list(pool.allocate_many(2 * CALLS))[::2]:
        pool.release(address)
    return pool


def timed(make: Callable[[], Callable[[], Any]], calls: int) -> float:
    """Seconds of one call of what `make` gives anew; the loop itself is part of it."""
    work = make()
    turns = range(calls)
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in turns:
            work()
        return (time.perf_counter() - start) / calls
    finally:
        gc.enable()


def table(title: str, unit_s: float, calls: int, works: Mapping[str, Callable[[], Callable[[], Any]]]) -> None:
    """Print the median of each work, the rounds of all of them interleaved."""
    figures: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, make in works.items():
            figures[name].append(timed(make, calls) / unit_s)
    print(f"\n| {title} | median | least |\n| --- | ---: | ---: |")
    for name, values in figures.items():
        print(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} |")


def main() -> None:
    """Print the tables."""
    first = int(IPv4Address("10.0.0.1"))
    table(
        "one call, µs (goal: 0.3)",
        1e-6,
        CALLS,
        {
            "`Pool.allocate`, empty /16": lambda: pool_with("10.0.0.0/16").allocate,
            "`Pool.allocate`, empty /8": lambda: pool_with("10.0.0.0/8").allocate,
            "`Pool.allocate`, /8, every other one taken": lambda: half_full("10.0.0.0/8").allocate,
            "`Pool.allocate`, /8, a million taken": lambda: pool_with("10.0.0.0/8", 1_000_000).allocate,
            "`Pool.allocate`, empty IPv6 /64": lambda: pool_with("fd00::/64").allocate,
            "peer: a set in Python": lambda: SetPool(first, 2**16).allocate,
            "floor of any Python pool: `IPv4Address(int)`": lambda: lambda: IPv4Address(first),
            "the same: `IPv6Address(int)`": lambda: lambda: IPv6Address(first),
        },
    )
    many = pool_with("10.0.0.0/16").allocate_many(MANY)
    many6 = pool_with("fd00::/64").allocate_many(MANY)

    def bulk(subnet: str) -> Callable[[], Any]:
        return partial(Pool(subnet).allocate_many, MANY)

    def by_set() -> Callable[[], Any]:
        pool = SetPool(first, 2**16)
        return lambda: [pool.allocate() for _ in range(MANY)]

    def by_str() -> Callable[[], Any]:
        objects = list(many)
        return lambda: [str(one) for one in objects]

    table(
        f"{MANY:,} addresses at once, ms (goal: 1)",
        1e-3,
        1,
        {
            "`Pool.allocate_many`, /16": lambda: bulk("10.0.0.0/16"),
            "`Pool.allocate_many`, /8": lambda: bulk("10.0.0.0/8"),
            "`Pool.allocate_many`, IPv6 /64": lambda: bulk("fd00::/64"),
            "text of them, IPv4": lambda: many.texts,
            "text of them, IPv6": lambda: many6.texts,
            "objects of them, IPv4": lambda: lambda: list(many),
            "peer: a set in Python, objects": by_set,
            "peer: `str` of objects that are there": by_str,
        },
    )


if __name__ == "__main__":
    main()
