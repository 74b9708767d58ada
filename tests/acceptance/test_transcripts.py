"""What the pages show as typed is typed, and says what the page says; `…` stands for anything."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "ping")

DOCS = Path(__file__).parents[2] / "docs"


def transcripts(page: str) -> list[tuple[str, str]]:
    """The lines that are typed on a page, each with what is printed below it; blocks without a `$` are none."""
    found = []
    for block in re.findall(r"^```\n(\$ .*?)^```$", page, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            typed, _, printed = part.partition("\n")
            found.append((typed, printed))
    return found


def fits(printed: str, expected: str) -> bool:
    """Whether a command printed what is expected: a line `…` is any lines, `…` within a line is anything."""
    lines = [
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in expected.splitlines()
    ]
    return re.fullmatch("".join(lines), printed) is not None


def test_the_lines_of_the_docker_page_run_as_they_stand(lan: Lan) -> None:
    lines = transcripts((DOCS / "docker.md").read_text(encoding="utf-8"))
    assert sum(typed.startswith("macvfast ") for typed, _ in lines) >= 10
    for typed, expected in lines:
        word, *rest = shlex.split(typed)
        assert word == "macvfast"
        done = lan.attempt(*rest)
        printed = done.stdout + done.stderr
        assert fits(printed, expected), f"$ {typed}\nexpected:\n{expected}\nprinted:\n{printed}"
        assert (done.returncode == 0) == (not done.stderr)


def test_what_is_typed_in_place_of_other_programs_lines_works(lan: Lan) -> None:
    page = (DOCS / "docker.md").read_text(encoding="utf-8").partition("\n## Coming from Podman")[2]
    podman, ip = (
        [shlex.split(line) for line in re.findall(rf"^\| `{program} .*` \| `macvfast (.*)` \|$", page, re.MULTILINE)]
        for program in ("podman", "ip")
    )
    for words in (*podman, *ip):
        done = lan.attempt(*words)
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"


def test_what_does_not_fit_is_noticed() -> None:
    assert fits("a\nb 1 c\nd\n", "a\nb … c\nd\n")
    assert fits("x\ny\nlast\n", "…\nlast\n")
    assert not fits("a\nb\n", "a\n")
    assert not fits("a\n", "a\nb\n")
    assert not fits("ab\n", "a\n")
    assert transcripts("```\nno\n```\n```\n$ one\ntwo\n$ three\n```\n") == [("one", "two\n"), ("three", "")]
