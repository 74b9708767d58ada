"""macvfast as the IPAM driver of an Engine: every answer is that of the Engine's own."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.parity import compare
from tests.parity.engine import RELEASE
from tests.parity.operations import Chance, Connect, Create, Place, SubnetWanted
from tests.parity.plugin import ONE_SUBNET, PluginSide
from tests.probe import IN_CI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.parity.engine import Engine
    from tests.parity.sides import EngineSide

OPERATIONS = 60
NEXT = SubnetWanted(Place(4, 1, 0), 24)

pytestmark = pytest.mark.needs("docker-engine", "macvlan")


@pytest.fixture
def plugin(engine: Engine) -> Iterator[PluginSide]:
    """The Engine's networks whose IPAM driver is macvfast."""
    side = PluginSide(engine)
    side.start()
    yield side
    side.clear()
    side.stop()


def test_what_the_engine_does_not_have_is_freed_and_nothing_else(plugin: PluginSide) -> None:
    """It is asked on its own socket; gateways, aux addresses and containers are what it has."""
    subnet = SubnetWanted(Place(4, 0, 0), 24, aux=(("printer", Place(4, 0, 9)),))
    six = SubnetWanted(Place(6, 0, 0), 64, gateway=Place(6, 0, 1))
    for operation in (Create("n0", "p0", (subnet, six)), Connect("n0", "c0"), Create("n1", "p1", (NEXT,))):
        assert plugin.do(operation, 0).refused == ""
    assert sorted(plugin.left_over()) == [
        "10.0.0.3 of docker:macvfast", "10.1.0.2 of docker:macvfast", "fd00::3 of docker:macvfast",
        "pool 192.0.2.0/24 of docker:left",
    ]  # fmt: skip


def test_every_address_and_refusal_of_the_ipam_driver_is_that_of_dockers_own(
    docker: EngineSide, plugin: PluginSide
) -> None:
    """Another seed each time, save in CI; the failure names it. `make parity` is the long form."""
    seed = 1 if IN_CI else int(os.environ.get("MACVFAST_PARITY_SEED") or random.SystemRandom().randrange(10**9))
    dice = random.Random(seed)
    bench = compare.Bench(docker, plugin, RELEASE)
    while bench.operations < OPERATIONS:
        wrong = bench.run(Chance(dice, ONE_SUBNET).case(25))
        assert wrong is None, f"MACVFAST_PARITY_SEED={seed} shows it:\n{wrong}"
    assert bench.counts["connect"] > OPERATIONS // 8
