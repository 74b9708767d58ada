"""Runs, in one virtual machine, the tests that the last run of pytest left to it.

python -m tests.vm.suite prepare    see to all that it needs, while there is a network
python -m tests.vm.suite            run them
"""

from __future__ import annotations

import json
import sys
import tempfile

from tests import probe
from tests.vm.kernel import CannotRun
from tests.vm.machine import TREE, Run, prepare, run

# One boot for all of them.
TIMEOUT_S = 1500
# What takes 2 minutes on the machine itself is stuck; here everything takes up to 10 times as long.
TIMEOUT_OF_A_TEST_S = 600


def left() -> list[str]:
    """The ids of the tests that the last run of pytest left to the virtual machine."""
    ids: list[str] = json.loads((TREE / ".pytest_cache" / "v" / probe.LEFT_TO_THE_VM).read_text(encoding="utf-8"))
    return ids


def main(arguments: list[str]) -> int:
    """Run them; pytest's exit status there. Where nothing can be run: 1 in CI, which can have all that is needed."""
    what = "the tests that need the virtual machine would run nowhere"
    try:
        if arguments == ["prepare"]:
            prepare()
            return 0
        ids = left()
        if not ids:
            print("none of the tests asked for needs the virtual machine")
            return 0
        what = f"{len(ids)} tests ran nowhere"
        with tempfile.NamedTemporaryFile("w", prefix="macvfast-tests-", suffix=".args") as names:
            names.write("".join(f"{name}\n" for name in ids))
            names.flush()
            options = ["--verbose", "--durations=10", "-o", f"timeout={TIMEOUT_OF_A_TEST_S}", f"@{names.name}"]
            return run(Run([sys.executable, "-m", "pytest", *options], timeout_s=TIMEOUT_S))
    except CannotRun as reason:
        print(f"{'error: ' if probe.IN_CI else ''}{what}: the virtual machine cannot run", file=sys.stderr)
        print(f"  caused by: {reason}", file=sys.stderr)
        return 1 if probe.IN_CI else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
