"""Every example of docs/guide.md, and README.md's first one, is what is seen at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.support import unchanged
from tests.guide.page import GUIDE, README, sections
from tests.guide.reader import NotAsOnThePage, Reader, surroundings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.guide.page import Section
    from tests.netns import Lan

pytestmark = [pytest.mark.needs("macvlan"), pytest.mark.timeout(600)]


def parts(page: Path) -> list[object]:
    """The sections of a page as parameters; what each needs says where it runs."""
    found = sections(page.read_text(encoding="utf-8"))
    return [pytest.param(section, marks=pytest.mark.needs(*section.needs), id=section.slug) for section in found]


@pytest.mark.parametrize("section", parts(GUIDE))
def test_a_section_of_the_guide_shows_what_is_seen_and_ends_as_it_began(
    lan: Lan, tmp_path: Path, section: Section
) -> None:
    with surroundings(lan, section, tmp_path), unchanged(lan), Reader(lan, tmp_path) as reader:
        reader.check(section)


@pytest.mark.parametrize("section", parts(README))
def test_the_first_page_shows_what_is_seen(lan: Lan, tmp_path: Path, section: Section) -> None:
    with surroundings(lan, section, tmp_path), Reader(lan, tmp_path) as reader:
        reader.check(section)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("$ echo one\none\n$ echo two\ntwo", "$ echo one\none\n$ echo two\nthree"),
        ("$ sh\n# echo one\none\n# exit", "$ sh\n$ echo one\none\n$ exit"),
        ("$ macvfast network ls -q", "$ macvfast network ls -q\n49d0c39bb3b2"),
    ],
    ids=["output", "prompt", "missing"],
)
def test_a_page_that_is_wrong_is_told(lan: Lan, tmp_path: Path, right: str, wrong: str) -> None:
    with Reader(lan, tmp_path) as reader:
        reader.check(*sections(f"## A section\n```console\n{right}\n```\n"))
        with pytest.raises(NotAsOnThePage, match="A section"):
            reader.check(*sections(f"## A section\n```console\n{wrong}\n```\n"))


def test_only_what_differs_is_written_anew(lan: Lan, tmp_path: Path) -> None:
    with Reader(lan, tmp_path) as reader:
        (right,) = sections("## A section\n```console\n$ echo 49d0c39bb3b2\n49d0c39bb3b2\n```\n")
        assert reader.record(right) == {}
        (wrong,) = sections("## A section\n```console\n$ echo one; echo two\none\n```\n")
        assert reader.record(wrong) == {2: "$ echo one; echo two\none\ntwo"}
