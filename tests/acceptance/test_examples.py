"""The examples that people copy first, from the README and the package's own words, typed as they stand."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import macvfast
from tests import netns
from tests.acceptance import support
from tests.terminal import Terminal

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "ping")

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

# What differs from run to run: ids, link indexes and groups, how `ip` calls the host's namespace, times.
VARYING = re.compile(
    r"[0-9a-f]{64}|^\d+(?=: eth0)|(?<=@if)\d+|(?<=group )\d+|(?<=link-)netns\w* \S+"
    r"|(?<=time[= ])[\d.]+|\d+\.\d{3}(?=[/ ])",
    re.MULTILINE,
)


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


def test_the_first_example_of_the_readme_shows_what_it_says(lan: Lan, tmp_path: Path) -> None:
    (example,) = re.findall(r"(?s)## The first example\n.*?\n((?:    [^\n]*\n|\n)+)", README)
    expected = textwrap.dedent(example).strip("\n")
    # Not exported: the sandbox's own shell has root's.
    (tmp_path / "rc").write_text(f"PS1='$ ' PATH={netns.MACVFAST.parent}:$PATH\n", encoding="utf-8")
    shell = lan.host.command("bash", "--noprofile", "--rcfile", tmp_path / "rc", "--noediting", "-i")
    with Terminal(shell, environment=lan.host.environment) as terminal:
        for prompt, line in re.findall(r"(?m)^([$#] )(.*)$", expected):
            terminal.wait_for(rf"(?m)^{re.escape(prompt)}$")
            terminal.type(f"{line}\n")
        terminal.wait_for(r"(?m)^# $")
        shown = [line.rstrip() for line in terminal.screen.splitlines()]
    assert VARYING.sub("…", "\n".join(shown[:-1])) == VARYING.sub("…", expected)
