"""The pictures of the guide: the ones it shows, legible on a light and on a dark page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from docs import pictures

if TYPE_CHECKING:
    from docs.pictures import Picture

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"

# Pixels of a letter at 13 pixels, in a font of one width; at 14 and bold, of the widest letters.
LETTER = 8
# WCAG 2.1, 1.4.6 and 1.4.3: for text, and for what is said by the way.
ENHANCED, MINIMUM = 7, 4.5

LIGHT, DARK = pictures.STYLE.split("@media (prefers-color-scheme: dark)")


def fill(style: str, what: str) -> str:
    found = re.search(rf"(?<![\w.]){re.escape(what)} {{ fill: #(\w{{6}})", style)
    assert found is not None, what
    return found[1]


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.1 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_guide_shows_every_picture() -> None:
    shown = re.findall(r"^!\[.+\]\(images/(.+)\.svg\)$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert shown == list(pictures.PICTURES)


@pytest.mark.parametrize("style", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(style: str) -> None:
    for ground in (".ground", ".host", ".box", ".blue", ".orange"):
        assert contrast(fill(style, "text"), fill(style, ground)) >= ENHANCED, ground
    for ground in (".ground", ".host"):
        assert contrast(fill(style, "text.note"), fill(style, ground)) >= MINIMUM, ground


@pytest.mark.parametrize("picture", pictures.PICTURES.values(), ids=pictures.PICTURES.keys())
def test_a_picture_is_well_formed_and_its_text_fits(picture: Picture) -> None:
    drawn = ET.fromstring(pictures.drawn(picture))
    said = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    for row, below in zip(picture.rows, [*picture.rows[1:], ()], strict=True):
        for box in row:
            assert {box.name, *box.lines} <= said
            assert max(map(len, (box.name, *box.lines))) * LETTER <= box.right - box.left, box.name
        # No box floats: something leads on from each but the last.
        assert not below or all(any(b.left < box.right and box.left < b.right for b in below) for box in row)


def test_a_stale_picture_is_named_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pictures, "IMAGES", tmp_path)
    assert pictures.main([]) == 0
    assert pictures.main(["--check"]) == 0
    (tmp_path / "trunk.svg").write_text("old\n", encoding="utf-8")
    assert pictures.main(["--check"]) == 1
    assert capsys.readouterr().err == "error: not current: docs/images/trunk.svg; type: make docs\n"
    assert (tmp_path / "trunk.svg").read_text(encoding="utf-8") == "old\n"
