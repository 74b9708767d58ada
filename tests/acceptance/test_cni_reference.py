"""The plugin beside the reference plugins of CNI: the same stories, and the same results, refusals and end states."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cni import sides
from tests.cni.chance import Chance
from tests.cni.compare import Bench
from tests.cni.differences import DIFFERENCES
from tests.cni.stories import TAMPERING, Step, Story
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


STATIC: Conf = {
    "type": "static", "addresses": [{"address": "10.1.0.9/24", "gateway": "10.1.0.1"}],
    "routes": [{"dst": "0.0.0.0/0"}],
}  # fmt: skip
WITHOUT = Step("DEL", variables={"CNI_NETNS": None})
# Which links may be called so, and what comes of it, the kernel says.
LINKS = ("all", "default", "-x", "é", "$(x)", "*", "a'b", "x" * 15)

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
        (Step("ADD", variables={"CNI_ARGS": "IgnoreUnknown=1;IP=10.1.0.200"}, named="outside of the range"), DEL),
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
    **{version: Story(CONF | {"cniVersion": version}, (ADD, CHECK, DEL)) for version in sides.supported()},
    **{tampering: Story(CONF | {"mtu": 1400}, (ADD, Step(tampering))) for tampering in TAMPERING},
    "the first of several ranges is full": Story(
        ipam(
            ranges=[
                [
                    {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.4", "rangeEnd": "10.1.0.4"},
                    {"subnet": "10.2.0.0/24", "rangeStart": "10.2.0.9"},
                ]
            ]
        ),
        (ADD, Step("ADD", (1, "net1")), Step("CHECK", (1, "net1")), DEL),
    ),
    "a range that is full": Story(
        ipam(ranges=[[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.4", "rangeEnd": "10.1.0.5"}]]),
        (ADD, Step("ADD", (1, "net1")), Step("ADD", (2, "net1")), DEL, Step("ADD", (2, "net1"))),
    ),
    "a subnet in the words of old": Story(
        CONF | {"ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9"}}, (ADD, CHECK, DEL)
    ),
    "IPv6 alone": Story(ipam(ranges=BOTH["ranges"][1:], routes=[{"dst": "::/0"}]), (ADD, CHECK, DEL), True),
    "ranges of the runtime": Story(
        CONF | {"ipam": {"type": "host-local"}, "capabilities": {"ipRanges": True}},
        tuple(
            Step(verb, fields={"runtimeConfig": {"ipRanges": [[{"subnet": "10.1.0.0/24"}]]}})
            for verb in ("ADD", "CHECK", "DEL")
        ),
    ),
    "an address of the runtime's": Story(
        CONF, (Step("ADD", fields={"runtimeConfig": {"ips": ["10.1.0.9/24"]}}), CHECK)
    ),
    "an address in args": Story(CONF, (Step("ADD", fields={"args": {"cni": {"ips": ["10.1.0.9"]}}}), CHECK, DEL)),
    "a MAC of the runtime's": Story(
        CONF, (Step("ADD", fields={"runtimeConfig": {"mac": "02:00:5e:00:00:02"}}), CHECK)
    ),
    "a MAC in CNI_ARGS": Story(
        CONF, (Step("ADD", variables={"CNI_ARGS": "IgnoreUnknown=1;MAC=02:00:5e:00:00:02"}), CHECK, DEL)
    ),
    "CNI_ARGS with what nobody knows": Story(CONF, (Step("ADD", variables={"CNI_ARGS": "K8S_POD_NAME=web"}), DEL)),
    "CNI_ARGS without IgnoreUnknown": Story(
        CONF, (Step("ADD", variables={"CNI_ARGS": "IP=10.1.0.9"}, named="without IgnoreUnknown"), DEL)
    ),
    "CNI_ARGS of no form": Story(CONF, tuple(Step(verb, variables={"CNI_ARGS": "IP"}) for verb in ("ADD", "DEL"))),
    "layer 2 only with all there is": Story(
        CONF | {"ipam": {}, "mtu": 1400, "mac": "02:00:5e:00:00:01", "mode": "vepa", "dns": {"domain": "example.com"}},
        (ADD, CHECK, DEL),
    ),
    "DNS": Story(
        CONF | {"dns": {"nameservers": ["192.0.2.53"], "search": ["example.com"], "options": ["ndots:1"]}}, (ADD, CHECK)
    ),
    "passthru in company": Story(CONF | {"mode": "passthru"}, (ADD, Step("ADD", (1, "net1")), DEL)),
    "checked without a result": Story(CONF, (ADD, Step("CHECK", fields={"prevResult": None}), DEL)),
    "checked with a result of another": Story(
        CONF,
        (
            ADD,
            Step(
                "CHECK",
                fields={"prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "net1", "sandbox": "/other"}]}},
            ),
        ),
    ),
    "static": Story(CONF | {"ipam": STATIC}, (ADD, CHECK, DEL)),
    "static twice": Story(CONF | {"ipam": STATIC}, (ADD, Step("ADD", (1, "net1"), named="of one address twice"), DEL)),
    "detached without a namespace": Story(CONF, (ADD, WITHOUT, DEL, ADD)),
    "detached by a path that is gone": Story(CONF, (ADD, Step("DEL", variables={"CNI_NETNS": "/run/netns/gone"}), DEL)),
    "no namespace": Story(CONF, (Step("ADD", variables={"CNI_NETNS": "/run/netns/gone"}), DEL)),
    "no namespace, but a file": Story(CONF, (Step("ADD", variables={"CNI_NETNS": "/etc/passwd"}), DEL)),
    "links with names of their own": Story(
        CONF, tuple(Step(verb, (0, name)) for name in LINKS for verb in ("ADD", "CHECK", "DEL"))
    ),
    "a link whose name the kernel would complete": Story(CONF, (Step("ADD", (0, "net%d")),)),
    "a name and an id that are long": Story(CONF | {"name": "x" * 120}, (ADD, CHECK, DEL), ids="x" * 120 + "{}"),
    "a name that is too long": Story(CONF | {"name": "x" * 200}, (Step("ADD", named="by a long name"), DEL)),
}  # fmt: skip


def later() -> dict[str, Story]:
    """What is of version 1.1.0 alone."""
    newest = CONF | {"cniVersion": "1.1.0"}
    valid = [{"containerID": f"container-{number}", "ifname": "net1"} for number in range(2)]
    both = Step("GC", fields={"cni.dev/valid-attachments": valid})
    return {
        "asked whether it is ready": Story(newest, (Step("STATUS"), ADD, Step("STATUS"))),
        "asked whether it is ready, without a parent": Story(
            newest | {"master": "eth9"}, (Step("STATUS", named="without a parent"),)
        ),
        "all that is there is collected": Story(newest, (ADD, Step("ADD", (1, "net1")), both, CHECK)),
        "collected without a list": Story(newest, (ADD, Step("GC"), CHECK)),
        "nothing is left": Story(newest, (ADD, Step("GC", fields={"cni.dev/valid-attachments": None}, named="of all"))),
        "collected by an older version": Story(CONF, (ADD, Step("GC"), Step("STATUS"), CHECK)),
    }


def inside() -> dict[str, Story]:
    """On a link of the container, which release 1.1.1 does not know; each of two containers has one of that name."""
    both = (ADD, CHECK, ADD, Step("ADD", (1, "net1")), Step("CHECK", (1, "net1")), DEL, DEL, Step("DEL", (1, "net1")))
    changes: tuple[Conf, ...] = (
        {}, {"mode": "private"}, {"mode": "vepa"}, {"mode": "passthru"}, {"mtu": 1400}, {"mtu": 9000}, {"ipam": {}},
        {"master": "none"}, {"mac": "02:00:5e:00:00:01"},
    )  # fmt: skip
    of = CONF | {"master": "up0", "linkInContainer": True}
    return {f"on a link of the container: {change}": Story(of | change, both, has_link=True) for change in changes}


if "1.1.0" in sides.supported():
    STORIES |= later() | inside()


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
    chance = Chance(random.Random(seed), sides.supported())
    for _ in range(3):
        wrong = bench.run(chance.story(8))
        assert not wrong, f"python -m tests.cni --seed {seed} goes on from it:\n{wrong}"
    assert bench.counts["ADD ok"] > 0


def test_the_page_lists_each_difference_with_its_reason() -> None:
    _, _, table = PAGE.read_text(encoding="utf-8").partition(
        "| what is otherwise | than in | why |\n| --- | --- | --- |\n"
    )
    rows = [f"| {one.what} | {one.of[0] if len(one.of) == 1 else 'both'} | {one.why} |" for one in DIFFERENCES]
    assert table.partition("\n\n")[0].splitlines() == rows


def test_each_difference_is_met(bench: Bench) -> None:
    """What no story shows any more is no difference, or is not looked at."""
    for story in STORIES.values() if not bench.counts else ():
        bench.run(story)
    assert {one.what for one in DIFFERENCES if sides.release() in one.of} <= bench.met.keys()
