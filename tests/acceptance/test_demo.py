"""`make demo`, from the first line to the last."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).parent / "demo.sh"


@pytest.mark.needs("root", "netns", "veth", "macvlan", "ip", "ping")
def test_the_first_example_is_as_the_guide_says_and_leaves_nothing() -> None:
    done = subprocess.run(
        [DEMO], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("# All as the guide says.\n")
