"""One side, once, in this process: `python -m benches.side MODULE FUNCTION ARGUMENTS`, started by `measure.run_side`.

The process leaves the machine's mount and network namespaces before anything else; what it makes ends with it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benches.measure import SCRATCH_VARIABLE, NotThere, Sample
from benches.world import World


def main(module: str, function: str, arguments: str) -> None:
    """Run the side and print its sample as the last line."""
    run = getattr(importlib.import_module(module), function)
    with tempfile.TemporaryDirectory(prefix="side-", dir=os.environ[SCRATCH_VARIABLE]) as directory:
        world = World.enter(Path(directory))
        try:
            sample: Sample = run(world, **json.loads(arguments))
        except NotThere as reason:
            print(json.dumps({"not_there": str(reason)}))
        else:
            print(json.dumps(asdict(sample)))


if __name__ == "__main__":
    main(*sys.argv[1:])
