"""What several acceptance tests start from."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from macvfast.system.configured import FILE, Places
from macvfast.system.units import client
from tests.acceptance import support

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan


@pytest.fixture
def pub_net(lan: Lan) -> str:
    """The network of the guide's first example; its id."""
    return support.create_pub_net(lan)


@pytest.fixture
def served(lan: Lan) -> Lan:
    """A bed whose commands a server does."""
    if lan.server is None:
        lan.serve()
    return lan


@pytest.fixture
def told(lan: Lan) -> Iterator[Lan]:
    """A bed of which only root's file says where everything is."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(
        client(Places(sys.executable, str(lan.state_dir), str(lan.run_dir), str(lan.netns_dir))), encoding="utf-8"
    )
    kept = lan.host.environment
    lan.host.environment = {}
    yield lan
    lan.host.environment = kept
    shutil.rmtree(FILE.parent)
