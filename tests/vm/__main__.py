"""`tests/vm/run`: see there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.vm import machine
from tests.vm.kernel import CannotRun

CANNOT_RUN = 125


def main(arguments: list[str]) -> int:
    """Run the command that was typed; its exit status."""
    parser = argparse.ArgumentParser(
        prog="tests/vm/run", usage="tests/vm/run [--keep DIR] [--timeout S] COMMAND [ARG...]"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--timeout", type=float, metavar="S", default=machine.Run.timeout_s)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    if not given.command:
        parser.error("no command")
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        given.keep = given.keep.resolve()
    try:
        return machine.run(machine.Run(given.command, given.keep, given.timeout))
    except CannotRun as reason:
        print(f"error: the virtual machine cannot run\n  caused by: {reason}", file=sys.stderr)
        return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
