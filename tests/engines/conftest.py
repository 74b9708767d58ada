"""What will run, and that these tests run only where they are asked for: they take minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines.roots import SUITES, shown

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).parent


def pytest_report_header() -> list[str]:
    """The engines, with their versions."""
    return [shown(suite) for suite in SUITES]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """A run of all tests leaves these out."""
    return None if any("engines" in argument for argument in config.args) else True
