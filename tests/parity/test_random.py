"""Random networks and operations, the same on both sides: every address, gateway, MAC and refusal is the same.

`make parity` is the long form.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.parity import compare
from tests.parity.engine import RELEASE
from tests.parity.operations import Chance, Connect, Create, Disconnect, Place, Remove, SubnetWanted
from tests.parity.sides import Answer, Side
from tests.probe import IN_CI

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.parity.operations import Operation
    from tests.parity.sides import EngineSide, MacvfastSide

OPERATIONS = 200
SUBNET = SubnetWanted(Place(4, 0, 0), 24)


@pytest.mark.needs("docker-engine", "macvlan")
def test_every_answer_is_dockers(docker: EngineSide, macvfast: MacvfastSide) -> None:
    """Another seed each time, save in CI; the failure names it."""
    seed = 1 if IN_CI else int(os.environ.get("MACVFAST_PARITY_SEED") or random.SystemRandom().randrange(10**9))
    dice = random.Random(seed)
    bench = compare.Bench(docker, macvfast, RELEASE)
    while bench.operations < OPERATIONS:
        wrong = bench.run(Chance(dice).case(25))
        assert wrong is None, f"python -m tests.parity --seed {seed} shows and shrinks it:\n{wrong}"
    # The cases were about something: addresses were given, and refused.
    assert bench.counts["connect"] > OPERATIONS // 8
    assert bench.counts.get("taken", 0) + bench.counts.get("full", 0) > 0


class Scripted(Side):
    """A side that connects as it is told, and refuses nothing."""

    name = "scripted"

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._given = 0

    def create(self, words: Sequence[str]) -> Answer:  # noqa: ARG002
        self._given = 0
        return Answer()

    def connect(self, network: str, box: str, ip: str | None = None, ip6: str | None = None) -> Answer:  # noqa: ARG002
        self._given += 1
        return Answer(addresses=(ip or self._addresses[self._given - 1],))

    def disconnect(self, network: str, box: str) -> Answer:  # noqa: ARG002
        return Answer()

    def remove(self, network: str) -> Answer:  # noqa: ARG002
        return Answer()

    def clear(self) -> None:
        self._given = 0


def test_a_wrong_address_is_found_and_its_case_made_as_short_as_it_can_be() -> None:
    """The second automatic address differs, whatever happens around it."""
    bench = compare.Bench(
        Scripted(["10.0.0.2", "10.0.0.3", "10.0.0.4"]), Scripted(["10.0.0.2", "10.0.0.9", "10.0.0.4"])
    )
    case: tuple[Operation, ...] = (
        Create("n0", "p0", (SUBNET,)),
        Remove("n0"),
        Create("n1", "p1", (SubnetWanted(Place(4, 1, 0), 24, aux=(("a", Place(4, 1, 9)),)),)),
        Disconnect("n1", "c5"),
        Connect("n1", "c0"),
        Disconnect("n1", "c0"),
        Connect("n1", "c1"),
        Connect("n1", "c2"),
    )
    wrong = bench.run(case)
    assert wrong is not None
    assert wrong.number == 7
    short = compare.shrink(case, bench.fails_like(wrong))
    assert [type(operation) for operation in short] == [Connect, Connect]


def test_a_script_has_both_command_lines_of_a_case() -> None:
    case = (Create("n0", "p1", (SUBNET,)), Connect("n0", "c3", Place(4, 0, 7)))
    assert compare.script(case, base=2).splitlines() == [
        "# both: as root, in a network namespace of its own",
        "ip link add p1 type veth peer name far-p1; ip link set p1 up",
        "# docker",
        "docker run -d --name c3 --net none alpine sleep 9999; docker network disconnect none c3",
        "docker network create -d macvlan --subnet=10.2.0.0/24 -o parent=p1 n0",
        "docker network connect --ip=10.2.0.7 n0 c3",
        "docker inspect -f '{{json .NetworkSettings.Networks}}' c3",
        "# macvfast",
        "macvfast create --name c3",
        "macvfast network create -d macvlan --subnet=10.2.0.0/24 -o parent=p1 n0",
        "macvfast network connect --ip=10.2.0.7 n0 c3",
        "macvfast ps -a",
    ]
