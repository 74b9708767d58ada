"""The worked examples of docs/python.md run as they stand, and leave nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support
from tests.acceptance.support import listed
from tests.netns import Netns

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


def said_by(lan: Lan, name: str, *arguments: str) -> str:
    """What an example prints; afterwards there is nothing of it."""
    said = lan.run(sys.executable, str(EXAMPLES / f"{name}.py"), "eth0", *arguments)
    assert (listed(lan, "ps", "-a"), listed(lan, "network", "ls")) == ([], [])
    assert support.filter_macs(lan) == set()
    return said


def test_one_sandbox(lan: Lan) -> None:
    path = lan.netns_dir / "web"
    assert said_by(lan, "one_sandbox") == f"web: eth0 has 172.16.86.10/24 and 02:42:ac:10:56:0a, in {path}\n"


def test_many_with_progress_and_failures(lan: Lan) -> None:
    said = said_by(lan, "many", "300")
    assert said == "\nelsewhere: is of another subnet\n300 sandboxes, the last with 10.86.1.45/16\n"


def test_given_namespaces(lan: Lan) -> None:
    given = [Netns.make(f"given-{number}") for number in range(3)]
    try:
        said = said_by(lan, "given_namespaces", *(str(one.path) for one in given))
        assert said.splitlines() == [f"{one.name}: eth0 has 10.86.0.{at}/16" for at, one in enumerate(given, 2)]
        assert [one.link_names() for one in given] == [["lo"]] * 3
    finally:
        for one in given:
            one.remove()


def test_after_a_kill(lan: Lan) -> None:
    steps, whole = said_by(lan, "after_a_kill", "300").splitlines()
    # It is killed when the links of its last chunk are there and none of them is recorded as made.
    assert re.fullmatch(r"[1-9]\d* steps, 0 failed; differences now: 0", steps)
    made = re.fullmatch(r"(\d+) sandboxes are complete, and none is half-made", whole)
    assert made is not None
    assert 100 <= int(made[1]) < 300
