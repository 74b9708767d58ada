"""The lines of Podman and of `ip netns` in docs/docker.md: taken as they are, or with a hint at what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.unit.cli_bed import FakeHost, network, sandbox, typed

PAGE = (Path(__file__).parents[2] / "docs/docker.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| `(podman|ip) (.*?)` \| `macvfast (.*?)` \|$", PAGE, re.MULTILINE)


def path_of(line: str) -> str:
    """The command of a line of macvfast's, without its arguments."""
    words = line.split()
    return " ".join(words[: 2 if words[0] == "network" else 1])


def test_the_page_has_ten_lines_of_each() -> None:
    programs = [program for program, _, _ in LINES]
    assert min(programs.count("podman"), programs.count("ip")) >= 10


@pytest.mark.parametrize(("program", "there", "here"), LINES, ids=[f"{one} {line}" for one, line, _ in LINES])
def test_a_line_of_another_program_is_taken_or_has_the_hint_of_the_page(program: str, there: str, here: str) -> None:
    host = FakeHost(networks=[network("lab")], sandboxes=[sandbox("web"), sandbox("db")])
    said = typed(there, host)
    if [word for word in shlex.split(there) if word != "alpine"] == shlex.split(here):
        # An image is refused once the command is looked for.
        assert said.status == 0, said.err
        assert program == "podman"
    else:
        assert said.status == 2
        hint = next(line for line in said.err.splitlines() if line.startswith("hint: "))
        assert f"`macvfast {path_of(here)}" in hint
