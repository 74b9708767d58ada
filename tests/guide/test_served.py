"""What the pages show is the same with a server and without it: output, statuses, record, files and the kernel."""

from __future__ import annotations

import contextlib
import difflib
import pprint
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from tests import probe
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

# What of a world is another one in each run: MACs that the kernel has chosen, its numbers, and times.
_VARYING = (
    (re.compile(r"'(?!02:42:|00:00:|ff:ff:)[0-9a-f]{2}(?::[0-9a-f]{2}){5}'"), "<mac>"),
    (re.compile(r"'(\w*(?:index|group|created|cookie|inode|boot))': [^,}]+"), r"'\1': <number>"),
)


def parts() -> list[object]:
    """The sections of the guide as parameters, but for those that need the virtual machine: that is too slow for a
    worker to be ready in time, so commands would do without the server there.
    """
    found = [one for one in sections(GUIDE.read_text(encoding="utf-8")) if probe.OF_THE_VM.isdisjoint(one.needs)]
    return [pytest.param(section, marks=pytest.mark.needs(*section.needs), id=section.slug) for section in found]


@contextlib.contextmanager
def bed(directory: Path, *, served: bool) -> Iterator[Lan]:
    directory.mkdir()
    lan = Lan(directory)
    try:
        if served:
            lan.be_served()
        yield lan
    finally:
        lan.remove()


def shown(lan: Lan, directory: Path) -> str:
    """The world, with a word in the place of what varies."""
    found = support.world(lan)
    found["programs"] = len(found["programs"])
    found["namespaces"] = []
    # In an order that is not that of the ids.
    found["pins"] = sorted(_masked(name, directory) for name in found["pins"])
    found["files"] = sorted(_masked(path, directory) for path in found["files"])
    filters = found["filters"].items()
    found["filters"] = {link: sorted(_masked(repr(mac), directory) for mac in macs) for link, macs in filters}
    record = found["record"].items()
    found["record"] = {table: sorted(_masked(repr(row), directory) for row in rows) for table, rows in record}
    return _masked(pprint.pformat(found, width=160), directory)


def _masked(text: str, directory: Path) -> str:
    # Before lines are broken, by their length.
    text = text.replace(str(directory), "<directory>")
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return masked(text)


def the_same(plain: list[str], served: list[str]) -> None:
    """Hold what was seen with a server against what was seen without it."""
    assert len(plain) == len(served)
    for before, after in zip(plain, served, strict=True):
        said = difflib.unified_diff(before.split("\n"), after.split("\n"), "without", "with a server", lineterm="")
        assert before == after, "\n".join(said)


def followed(section: Section, directory: Path, *, served: bool) -> list[str]:
    """What a section's commands show, and what the world is after each; a shell shows statuses only where asked."""
    with bed(directory, served=served) as lan, surroundings(lan, section, directory), Reader(lan, directory) as reader:
        seen, typed = [], 0
        for step in section.steps:
            for page, exchange in reader.follow(step):
                typed += exchange.typed.startswith("macvfast ")
                reader.ids.learn(page.text, exchange.text)
                seen.append(f"{masked(exchange.text)}\n{shown(lan, directory)}")
        if served:
            were_served(lan, typed)
        return seen


def were_served(lan: Lan, typed: int) -> None:
    """Hold how many commands the server has done against how many were typed: on a busy machine some do without it."""
    done = lan.calls_served()
    assert done > typed / 2, f"the server has done {done} of {typed} commands"


@pytest.mark.parametrize("section", parts())
def test_a_section_of_the_guide_does_the_same_with_a_server(tmp_path: Path, section: Section) -> None:
    plain = followed(section, tmp_path / "plain", served=False)
    served = followed(section, tmp_path / "served", served=True)
    the_same(plain, served)


def test_the_lines_of_the_docker_page_do_the_same_with_a_server(tmp_path: Path) -> None:
    lines = [shlex.split(typed)[1:] for typed, _ in transcripts((DOCS / "docker.md").read_text(encoding="utf-8"))]
    ways: list[list[str]] = []
    for served in (False, True):
        directory = tmp_path / str(served)
        with bed(directory, served=served) as lan:
            ways.append([])
            for words in lines:
                done = lan.attempt(*words)
                said = f"{shlex.join(words)}\n{done.returncode}\n{done.stdout}{done.stderr}"
                ways[-1].append(f"{masked(said)}\n{shown(lan, directory)}")
            if served:
                were_served(lan, len(lines))
    the_same(*ways)
