"""The long form: `python -m tests.parity [--operations N] [--seed N]`; what `make parity` runs."""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests import netns, probe
from tests.parity.compare import Bench, script, shrink
from tests.parity.engine import RELEASE, Engine
from tests.parity.operations import BLOCKS, BOXES, PARENTS, VERSIONS, Chance, blocks_of
from tests.parity.plugin import ONE_SUBNET, PLUGIN_BOXES, PLUGIN_PARENTS, PluginSide
from tests.parity.sides import EngineSide, MacvfastSide

# Operations of one case, on average: afterwards both sides are emptied.
LENGTH = 40


def main() -> int:
    """Compare until enough was compared, or the first unexplained difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description="macvfast beside a Docker Engine")
    parser.add_argument("--operations", type=int, default=10_000, help="how many at least (10000)")
    parser.add_argument("--seed", type=int, help="of the random cases; without it, another each time")
    parser.add_argument("--plugin", action="store_true", help="the Engine itself, with macvfast as its IPAM driver")
    wanted = parser.parse_args()
    seed = secrets.randbelow(10**9) if wanted.seed is None else wanted.seed
    print(f"seed {seed}: python -m tests.parity --operations {wanted.operations} --seed {seed}", flush=True)
    if not (needed := probe.features()["docker-engine"]).present:
        print(f"error: no Docker Engine to compare with: {needed.detail}", file=sys.stderr)
        return 1
    netns.isolate()
    if wanted.plugin:
        return compare_plugin(seed, wanted.operations)
    with tempfile.TemporaryDirectory() as directory, Engine(Path(directory) / "engine", PARENTS, BOXES) as engine:
        macvfast = MacvfastSide(Path(directory) / "macvfast", PARENTS, BOXES)
        try:
            return compare(Bench(EngineSide(engine), macvfast, RELEASE), seed, wanted.operations)
        finally:
            macvfast.close()


def compare_plugin(seed: int, operations: int) -> int:
    """The same, of the Engine with its own IPAM and with macvfast's."""
    parents, boxes = (*PARENTS, *PLUGIN_PARENTS), (*BOXES, *PLUGIN_BOXES)
    with tempfile.TemporaryDirectory() as directory, Engine(Path(directory) / "engine", parents, boxes) as engine:
        plugin = PluginSide(engine)
        plugin.start()
        try:
            return compare(Bench(EngineSide(engine), plugin, RELEASE), seed, operations, ONE_SUBNET)
        finally:
            plugin.stop()


def compare(bench: Bench, seed: int, operations: int, versions: tuple[tuple[int, ...], ...] = VERSIONS) -> int:
    """Random cases until that many operations; the exit status. `versions`: as of Chance."""
    dice = random.Random(seed)
    begun = time.monotonic()
    while bench.operations < operations and bench.base < BLOCKS - 1000:
        case = Chance(dice, versions).case(dice.randint(LENGTH // 2, LENGTH * 3 // 2))
        wrong = bench.run(case)
        if wrong is not None:
            print(f"a difference that docs/docker.md does not list:\n{wrong}\nshrinking ...", flush=True)
            short = shrink(case, bench.fails_like(wrong))
            print(f"{bench.run(short)}\n\n{script(short, bench.base - blocks_of(short))}")
            return 1
        if sys.stdout.isatty():
            print(f"\r{bench.operations} operations", end="", flush=True)
    print(f"\r{bench.operations} operations in {time.monotonic() - begun:.0f} s, every answer the same")
    for title, counts in (("answers", bench.counts), ("listed differences", bench.differences)):
        print(f"{title}: {', '.join(f'{name} {count}' for name, count in sorted(counts.items())) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
