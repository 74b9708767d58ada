"""What several acceptance tests start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support

if TYPE_CHECKING:
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
