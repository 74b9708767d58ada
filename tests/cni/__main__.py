"""The long form: `python -m tests.cni [--stories N] [--seed N]`; what `make parity` runs after the Docker Engine."""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests import netns
from tests.cni import sides
from tests.cni.chance import Chance
from tests.cni.compare import Bench


def main() -> int:
    """Compare until enough was compared, or the first difference that is not listed; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.cni", description="macvfast beside the plugins of CNI")
    parser.add_argument("--stories", type=int, default=100, help="how many (100)")
    parser.add_argument("--seed", type=int, help="of the stories; without it, another each time")
    wanted = parser.parse_args()
    seed = secrets.randbelow(10**9) if wanted.seed is None else wanted.seed
    print(f"seed {seed}: python -m tests.cni --stories {wanted.stories} --seed {seed}", flush=True)
    if not (sides.REFERENCE / "macvlan").exists():
        print(
            f"error: no plugins in {sides.REFERENCE}: Debian has them in containernetworking-plugins", file=sys.stderr
        )
        return 1
    netns.isolate()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, sides.both(Path(directory)) as both:
        bench, chance = Bench(*both), Chance(random.Random(seed), sides.supported())
        for _ in range(wanted.stories):
            if wrong := bench.run(chance.story(12)):
                print(f"a difference that docs/cni.md does not list:\n{wrong}")
                return 1
    print(f"{sum(bench.counts.values())} steps in {time.monotonic() - begun:.0f} s, each the same")
    for title, counts in (("steps", bench.counts), ("listed differences", bench.met)):
        print(f"{title}: {', '.join(f'{name} {count}' for name, count in sorted(counts.items())) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
