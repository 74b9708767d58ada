"""The Python examples that people copy first, from the README and the package's own words, run as they stand."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import macvfast
from tests.acceptance import support

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "ping")

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def run_python(lan: Lan, example: str) -> None:
    """Run a program on the host; a comment behind an expression is what the expression gives."""
    program = re.sub(r"(?m)^(\S.*?)  # (.*)$", lambda line: f"assert repr({line[1]}) == {line[2]!r}", example)
    lan.run(sys.executable, "-c", program)
    assert support.addresses_of(lan, "web") == ["172.16.86.10/24"]
    assert support.default_routes(lan, "web") == [("172.16.86.1", "eth0")]


def test_the_python_example_of_the_readme(lan: Lan) -> None:
    (example,) = re.findall(r"(?ms)^```python\n(.*?)^```$", README)
    assert "pool.allocate()  # " in example
    run_python(lan, example)


def test_the_example_of_the_package(lan: Lan) -> None:
    (example,) = re.findall(r"(?m)(?:^    .*\n|^\n(?=    ))+", str(macvfast.__doc__))
    run_python(lan, textwrap.dedent(example))
