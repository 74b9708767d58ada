"""The two sides, started once for all tests of this directory; each test begins and ends with no network on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.parity.engine import Engine, EngineUnusable
from tests.parity.operations import BOXES, PARENTS
from tests.parity.plugin import PLUGIN_BOXES, PLUGIN_PARENTS
from tests.parity.sides import EngineSide, MacvfastSide
from tests.probe import IN_CI

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Docker Engine with idle containers."""
    made = Engine(
        tmp_path_factory.mktemp("engine", numbered=True), (*PARENTS, *PLUGIN_PARENTS), (*BOXES, *PLUGIN_BOXES)
    )
    try:
        made.__enter__()
    except EngineUnusable as error:
        if IN_CI:
            raise
        pytest.skip(f"the Docker Engine does not come up here: {str(error)[-200:]}")
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def docker(engine: Engine) -> Iterator[EngineSide]:
    """The Engine as a side."""
    side = EngineSide(engine)
    yield side
    side.clear()


@pytest.fixture(scope="package")
def macvfast_side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MacvfastSide]:
    """The side of macvfast, with what a test left on it."""
    made = MacvfastSide(tmp_path_factory.mktemp("macvfast"), PARENTS, BOXES)
    yield made
    made.close()


@pytest.fixture
def macvfast(macvfast_side: MacvfastSide) -> Iterator[MacvfastSide]:
    """The side of macvfast."""
    yield macvfast_side
    macvfast_side.clear()
