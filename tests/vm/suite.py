"""Runs, in one virtual machine, the tests that the last run of pytest left to it: `python -m tests.vm.suite`."""

from __future__ import annotations

import json
import sys
import tempfile

from tests import probe
from tests.vm.kernel import CannotRun
from tests.vm.machine import TREE, Run, run

# One boot for all of them.
TIMEOUT_S = 1500
# What takes 2 minutes on the machine itself is stuck; here everything takes up to 10 times as long.
TIMEOUT_OF_A_TEST_S = 600


def main() -> int:
    """Run them; pytest's exit status there, or 1 where nothing can be run and that is a failure."""
    left: list[str] = json.loads((TREE / ".pytest_cache" / "v" / probe.LEFT_TO_THE_VM).read_text(encoding="utf-8"))
    if not left:
        print("none of the tests asked for needs the virtual machine")
        return 0
    with tempfile.NamedTemporaryFile("w", prefix="macvfast-tests-", suffix=".args") as ids:
        ids.write("".join(f"{node}\n" for node in left))
        ids.flush()
        options = ["--verbose", "-o", f"timeout={TIMEOUT_OF_A_TEST_S}", f"@{ids.name}"]
        try:
            return run(Run([sys.executable, "-m", "pytest", *options], timeout_s=TIMEOUT_S))
        except CannotRun as reason:
            return _not_run(len(left), str(reason))


def _not_run(count: int, reason: str) -> int:
    """Say that the tests ran nowhere: in CI, where all that they need can be had, a failure."""
    print(
        f"{'error: ' if probe.IN_CI else ''}{count} tests ran nowhere: the virtual machine cannot run", file=sys.stderr
    )
    print(f"  caused by: {reason}", file=sys.stderr)
    return 1 if probe.IN_CI else 0


if __name__ == "__main__":
    sys.exit(main())
