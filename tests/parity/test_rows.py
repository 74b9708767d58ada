"""Every worked example on both sides, and that each difference is listed in docs/docker.md and shown by an example."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.ipam import DefaultSubnets, Pool
from tests.parity.engine import RELEASE
from tests.parity.releases import RELEASES, SINCE, answer_of
from tests.parity.rows import BESIDES, ELSEWHERE, ROWS, Line, lines
from tests.parity.sides import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.model import Cidr
    from tests.parity.engine import Engine
    from tests.parity.sides import EngineSide, MacvfastSide, Side

ROOT = Path(__file__).parents[2]
EXAMPLES = {**ROWS, **BESIDES}

examples = pytest.mark.parametrize("example", EXAMPLES)


def do(side: Side, words: Sequence[str], parents: dict[str, str]) -> Answer:
    """Do what a line says."""
    what, network, *rest = words
    if what == "create":
        parent = [] if any("parent=" in word for word in rest) else [f"-oparent={parents[network]}"]
        return side.create(["-d", "macvlan", *rest, *parent, network])
    if what == "connect":
        given = dict(word.removeprefix("--").split("=", 1) for word in rest[1:])
        return side.connect(network, rest[0], given.get("ip"), given.get("ip6"))
    return side.disconnect(network, rest[0]) if what == "disconnect" else side.remove(network)


def check(side: Side, example: str) -> None:
    """Do an example on one side, answer against answer."""
    parents = {network: f"p{number}" for number, network in enumerate(("n", "m", "o"))}
    for line in lines(EXAMPLES[example]):
        answer = do(side, line.words, parents)
        expected = line.macvfast
        if side.name == "docker":
            expected = answer_of(RELEASE, example, line.typed, line.docker)
        assert fnmatchcase(answer.shown, expected), f"{line.typed}\n  expected {expected}\n  {side.name}: {answer}"


@pytest.mark.needs("docker-engine", "macvlan")
@examples
def test_the_engine_does_as_the_example_says(docker: EngineSide, example: str) -> None:
    check(docker, example)


@pytest.mark.needs("root", "netns", "veth", "macvlan")
@examples
def test_macvfast_does_as_the_example_says(macvfast: MacvfastSide, example: str) -> None:
    check(macvfast, example)


def all_lines() -> list[Line]:
    return [line for text in EXAMPLES.values() for line in lines(text)]


def test_where_the_sides_differ_a_difference_is_named() -> None:
    for line in all_lines():
        assert (line.docker != line.macvfast) == bool(line.difference), line


def test_a_later_release_is_listed_only_where_it_answers_otherwise_than_the_one_before() -> None:
    for one in SINCE:
        there = {line.typed: line.docker for line in lines(EXAMPLES[one.example])}
        before = RELEASES[RELEASES.index(one.release) - 1]
        assert one.answers.keys() <= there.keys(), one
        assert one.reason
        for typed, answer in one.answers.items():
            assert answer != answer_of(before, one.example, typed, there[typed]), (one.example, typed)


# Shown by tests of their own.
BY_A_TEST = {"refused-network-keeps-subnet", "address-kept", "order-of-subnets", "host-address", "host-router"}


def test_docs_list_exactly_the_differences_that_tests_show() -> None:
    page = (ROOT / "docs/docker.md").read_text(encoding="utf-8")
    section = page.partition("\n## Addresses\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w[\w-]*)` \|", section, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == {line.difference for line in all_lines() if line.difference} | BY_A_TEST


def test_every_number_is_an_example_or_a_test_elsewhere() -> None:
    """From 1 to 80, save for the numbers that no example has."""
    numbers = [int(number) for keys in (*ROWS, *ELSEWHERE) for number in keys.split(", ")]
    assert len(numbers) == len(set(numbers))
    assert set(range(1, 81)) - set(numbers) == {5, 6, 7, 12, 14, 16, 18, 22, 24, 25, 38, 58, 60, 61, 62, 65}
    for file in ELSEWHERE.values():
        assert (ROOT / file).exists()


# Differences that no line shows.


@pytest.mark.needs("docker-engine", "macvlan")
def test_the_engine_keeps_the_subnet_of_a_network_that_it_refused_and_macvfast_does_not(
    docker: EngineSide, macvfast: MacvfastSide
) -> None:
    """For an aux address outside of it, which the docker command refuses by itself and other clients do not."""
    subnet = "10.80.0.0/24"
    wrong = {"Subnet": subnet, "AuxiliaryAddresses": {"x": "10.81.0.1"}}
    assert docker.create_by_api("n", "p0", [wrong]).refused == "aux"
    assert docker.create([f"--subnet={subnet}", "-d", "macvlan", "-oparent=p0", "n"]).refused == "overlap"
    assert macvfast.create([f"--subnet={subnet}", "--aux-address=x=10.81.0.1", "-oparent=p0", "n"]).refused == "aux"
    assert macvfast.create([f"--subnet={subnet}", "-oparent=p0", "n"]) == Answer()


@pytest.mark.needs("docker-engine", "macvlan")
def test_a_stopped_container_loses_its_address_and_a_sandbox_keeps_it(
    engine: Engine, docker: EngineSide, macvfast: MacvfastSide
) -> None:
    engine.start_container("stopped")
    try:
        for side, box in ((docker, "stopped"), (macvfast, "c0")):
            side.create(["--subnet=10.82.0.0/24", "-d", "macvlan", "-oparent=p0", "n"])
            assert side.connect("n", box).shown == "10.82.0.2/24 via 10.82.0.1"
        # The sandbox runs nothing, which is as if it had ended.
        assert macvfast.connect("n", "c1").shown == "10.82.0.3/24 via 10.82.0.1"
        assert engine.docker("stop", "stopped").returncode == 0
        assert docker.connect("n", "c1").shown == "10.82.0.2/24 via 10.82.0.1"
    finally:
        engine.docker("rm", "--force", "stopped")


@pytest.mark.needs("docker-engine", "macvlan")
def test_the_docker_command_sends_subnets_in_random_order_and_macvfast_keeps_theirs(
    engine: Engine, docker: EngineSide, macvfast: MacvfastSide
) -> None:
    """74: through the API, the order is that of the request on both sides."""
    subnets = [f"10.83.{number}.0/30" for number in range(6)]
    assert docker.create_by_api("n", "p0", [{"Subnet": subnet} for subnet in subnets]) == Answer()
    flags = [f"--subnet={subnet}" for subnet in subnets]
    assert macvfast.create([*flags, "-oparent=p0", "n"]) == Answer()
    for number in range(6):
        expected = f"10.83.{number}.2/30 via 10.83.{number}.1"
        assert docker.connect("n", f"c{number}").shown == expected
        assert macvfast.connect("n", f"c{number}").shown == expected
    docker.clear()

    def order() -> list[str]:
        assert engine.docker("network", "create", "-d", "macvlan", *flags, "-oparent=p0", "n").returncode == 0
        (shown,) = json.loads(engine.docker("network", "inspect", "n").stdout)
        docker.clear()
        return [config["Subnet"] for config in shown["IPAM"]["Config"]]

    assert any(order() != subnets for _ in range(20))


@pytest.mark.needs("docker-engine", "macvlan")
def test_a_container_gets_the_host_s_own_address_and_its_router_is_no_gateway_and_a_sandbox_does_not(
    engine: Engine, docker: EngineSide, macvfast: MacvfastSide
) -> None:
    for namespace in (engine.namespace, macvfast.namespace):
        namespace.ip_batch("address add 10.84.0.2/24 dev p0", "route add default via 10.84.0.254 dev p0")
    try:
        for side, first, gateway in ((docker, "10.84.0.2", "10.84.0.1"), (macvfast, "10.84.0.1", "10.84.0.254")):
            assert side.create(["--subnet=10.84.0.0/24", "-d", "macvlan", "-oparent=p0", "n"]) == Answer()
            assert side.connect("n", "c0").shown == f"{first}/24 via {gateway}"
            side.disconnect("n", "c0")
        assert docker.connect("n", "c0", "10.84.0.2").shown == "10.84.0.2/24 via 10.84.0.1"
        assert macvfast.connect("n", "c0", "10.84.0.2").refused == "taken"
    finally:
        for namespace in (engine.namespace, macvfast.namespace):
            namespace.ip_batch("address flush dev p0")


# Examples of a pool alone.


def test_15_in_next_order_a_freed_address_is_given_after_all_others() -> None:
    pool = Pool("10.2.0.0/16", ip_range="10.2.2.0/24", gateway="10.2.0.1", order="next")
    pool.reserve("10.2.2.1")
    assert [str(pool.allocate()) for _ in range(2)] == ["10.2.2.0", "10.2.2.2"]
    pool.release("10.2.2.0")
    assert str(pool.allocate()) == "10.2.2.3"
    pool.release("10.2.2.1")
    assert str(pool.allocate()) == "10.2.2.4"


def test_64_the_free_addresses_of_a_huge_subnet_are_counted_exactly() -> None:
    """The Engine's counter stops at 2**64 - 1."""
    assert Pool("2001:db8::/56", gateway="2001:db8::1").free == 2**72 - 2


def test_70_to_72_the_first_default_subnet_that_overlaps_nothing_is_taken() -> None:
    taken: list[Cidr] = [ip_network("172.17.0.0/16")]
    assert DefaultSubnets(taken).first() == "172.18.0.0/16"
    taken += [ip_network("172.18.0.0/17"), ip_network("172.19.255.255/32")]
    assert DefaultSubnets(taken).first() == "172.20.0.0/16"
    assert DefaultSubnets([ip_network("172.16.0.0/12")]).first() == "192.168.0.0/20"
    assert DefaultSubnets([ip_network("172.16.0.0/12"), ip_network("192.168.0.0/16")]).first() is None


def test_79_releasing_a_free_address_changes_nothing() -> None:
    pool = Pool("10.2.0.0/24")
    assert pool.release("10.2.0.9") is False
    assert str(pool.allocate()) == "10.2.0.1"
