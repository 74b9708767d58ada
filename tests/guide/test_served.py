"""What the pages show is the same with a server and without it: output, statuses, record, files and the kernel."""

from __future__ import annotations

import contextlib
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support
from tests.acceptance.test_transcripts import DOCS, transcripts
from tests.guide.page import GUIDE, masked, sections
from tests.guide.reader import Reader, surroundings
from tests.netns import Lan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.guide.page import Section

pytestmark = [pytest.mark.needs("macvlan", "root", "netns", "veth", "ip"), pytest.mark.timeout(600)]

# What of a world is another one in each run: numbers of the kernel, and times.
_NUMBERS = re.compile(r"'(?:ifindex|group|created|parent_ifindex|cookie|inode)': [^,}]+")


def parts() -> list[object]:
    """The sections of the guide as parameters; what each needs says where it runs."""
    found = sections(GUIDE.read_text(encoding="utf-8"))
    return [pytest.param(section, marks=pytest.mark.needs(*section.needs), id=section.slug) for section in found]


@contextlib.contextmanager
def bed(directory: Path, *, served: bool) -> Iterator[Lan]:
    directory.mkdir()
    lan = Lan(directory)
    try:
        if served:
            lan.serve()
        yield lan
    finally:
        lan.remove()


def shown(lan: Lan, directory: Path) -> str:
    """The world, with a word in the place of what varies."""
    found = support.world(lan)
    found["programs"] = len(found["programs"])
    found["namespaces"] = []
    return masked(_NUMBERS.sub("", repr(found).replace(str(directory), "<directory>")))


def followed(section: Section, directory: Path, *, served: bool) -> list[tuple[str, str]]:
    """What a section's commands show, and what the world is after each; a shell shows statuses only where asked."""
    with bed(directory, served=served) as lan, surroundings(lan, section, directory), Reader(lan, directory) as reader:
        seen = []
        for step in section.steps:
            for page, exchange in reader.follow(step):
                reader.ids.learn(page.text, exchange.text)
                seen.append((masked(exchange.text), shown(lan, directory)))
        return seen


@pytest.mark.parametrize("section", parts())
def test_a_section_of_the_guide_does_the_same_with_a_server(tmp_path: Path, section: Section) -> None:
    plain = followed(section, tmp_path / "plain", served=False)
    served = followed(section, tmp_path / "served", served=True)
    assert served == plain


def test_the_lines_of_the_docker_page_do_the_same_with_a_server(tmp_path: Path) -> None:
    lines = [shlex.split(typed)[1:] for typed, _ in transcripts((DOCS / "docker.md").read_text(encoding="utf-8"))]
    ways = []
    for served in (False, True):
        directory = tmp_path / str(served)
        with bed(directory, served=served) as lan:
            done = ((lan.attempt(*words), shown(lan, directory)) for words in lines)
            ways.append([(one.returncode, masked(one.stdout), masked(one.stderr), then) for one, then in done])
    assert ways[0] == ways[1]
