"""The plugin beside the reference plugins of CNI: the same stories, and the same results, refusals and end states."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cni import sides
from tests.cni.compare import Bench
from tests.cni.differences import DIFFERENCES
from tests.cni.stories import TAMPERING, Chance, Step, Story
from tests.probe import IN_CI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cni.sides import Conf

pytestmark = pytest.mark.needs("macvlan", "cni-plugins")

PAGE = Path(__file__).parents[2] / "docs/cni.md"

CONF: Conf = {
    "cniVersion": "1.0.0", "name": "pods", "type": "macvlan", "master": "eth0",
    "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}],
    },
}  # fmt: skip
BOTH = {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "2001:db8:1::/64"}]]}
ADD, CHECK, DEL = (Step(verb) for verb in ("ADD", "CHECK", "DEL"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Both sides; ours with a server."""
    with sides.both(tmp_path_factory.mktemp("cni")) as both:
        yield Bench(*both)


def ipam(**fields: object) -> Conf:
    """The configuration with other fields of `ipam`."""
    return CONF | {"ipam": CONF["ipam"] | fields}


STORIES: dict[str, Story] = {
    "one after another": Story(CONF, (ADD, CHECK, DEL, DEL, ADD, DEL)),
    "added twice": Story(CONF, (ADD, ADD, CHECK, DEL)),
    "nothing there": Story(CONF, (CHECK, DEL)),
    "two links of one container": Story(CONF, (ADD, Step("ADD", (0, "net2")), CHECK, DEL, Step("CHECK", (0, "net2")))),
    "three containers": Story(CONF, (ADD, Step("ADD", (1, "net1")), DEL, Step("ADD", (2, "net1")), ADD)),
    "both families": Story(ipam(**BOTH, routes=[{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]), (ADD, CHECK, DEL), True),
    "no routes": Story(ipam(routes=[]), (ADD, CHECK)),
    "routes by a gateway": Story(ipam(routes=[{"dst": "192.0.2.0/24", "gw": "10.1.0.9"}]), (ADD, CHECK)),
    "a route without gateway": Story(ipam(routes=[{"dst": "198.51.100.0/24"}]), (ADD, CHECK)),
    "an address outside of the range": Story(
        ipam(ranges=[[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.4", "rangeEnd": "10.1.0.6"}]]),
        (Step("ADD", variables={"CNI_ARGS": "IgnoreUnknown=1;IP=10.1.0.200"}), DEL),
    ),
    "an address that is asked for": Story(
        CONF, (Step("ADD", variables={"CNI_ARGS": "IgnoreUnknown=1;IP=10.1.0.9"}), CHECK, DEL)
    ),
    "an address that is taken": Story(
        CONF, (ADD, Step("ADD", (1, "net1"), {"CNI_ARGS": "IgnoreUnknown=1;IP=10.1.0.2"}), Step("ADD", (1, "net1")))
    ),
    "the gateway is asked for": Story(CONF, (Step("ADD", variables={"CNI_ARGS": "IgnoreUnknown=1;IP=10.1.0.1"}), DEL)),
    "layer 2 only": Story(CONF | {"ipam": {}}, (ADD, CHECK, DEL)),
    "an MTU": Story(CONF | {"mtu": 1400}, (ADD, CHECK)),
    "no MTU": Story(CONF | {"mtu": 0}, (ADD, CHECK)),
    "an MTU over the parent's": Story(CONF | {"mtu": 9000}, (ADD, DEL)),
    "a negative MTU": Story(CONF | {"mtu": -1}, (ADD, DEL)),
    "a MAC": Story(CONF | {"mac": "02:00:5e:00:00:01"}, (ADD, CHECK)),
    "a link of that name is there": Story(CONF, (Step("ADD", (0, "lo")), ADD, DEL)),
    "no master": Story(CONF | {"master": "eth9"}, (ADD, DEL)),
    "an unknown mode": Story(CONF | {"mode": "foo"}, (ADD, DEL)),
    **{mode: Story(CONF | {"mode": mode}, (ADD, CHECK, DEL)) for mode in ("bridge", "private", "vepa", "passthru")},
    **{version: Story(CONF | {"cniVersion": version}, (ADD, CHECK, DEL)) for version in ("0.3.1", "0.4.0", "1.0.0")},
    **{tampering: Story(CONF | {"mtu": 1400}, (ADD, Step(tampering))) for tampering in TAMPERING},
}


@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_as_with_the_reference_plugins(bench: Bench, name: str) -> None:
    wrong = bench.run(STORIES[name])
    assert not wrong, wrong


@pytest.mark.parametrize("name", ["one after another", "both families", "layer 2 only"])
def test_without_a_server_it_is_the_same(bench: Bench, name: str) -> None:
    asked = (bench.ours.lan.run_dir / "request.sock").rename(bench.ours.lan.run_dir / "away")
    try:
        wrong = bench.run(STORIES[name])
    finally:
        asked.rename(bench.ours.lan.run_dir / "request.sock")
    assert not wrong, wrong


def test_random_stories_end_as_with_the_reference_plugins(bench: Bench) -> None:
    """Another seed each time, save in CI; the failure names it."""
    seed = 1 if IN_CI else int(os.environ.get("MACVFAST_PARITY_SEED") or random.SystemRandom().randrange(10**9))
    chance = Chance(random.Random(seed))
    for _ in range(3):
        wrong = bench.run(chance.story(8))
        assert not wrong, f"python -m tests.cni --seed {seed} goes on from it:\n{wrong}"
    assert bench.counts["ADD ok"] > 0


def test_the_page_lists_each_difference_with_its_reason() -> None:
    _, _, table = PAGE.read_text(encoding="utf-8").partition("| what is otherwise | why |\n| --- | --- |\n")
    assert table.partition("\n\n")[0].splitlines() == [f"| {one.what} | {one.why} |" for one in DIFFERENCES]


def test_each_difference_is_met(bench: Bench) -> None:
    """What no story shows any more is no difference, or is not looked at."""
    for story in STORIES.values() if not bench.counts else ():
        bench.run(story)
    assert {one.what for one in DIFFERENCES} <= bench.met.keys()
