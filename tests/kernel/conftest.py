"""What the tests of the native program share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernel.init_bed import Bed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """A sandbox to run commands in."""
    made = Bed(tmp_path)
    try:
        yield made
    finally:
        made.close()
