"""The mistakes of docs/errors.md, typed at both: each says what the page says that it says."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from docs.mistakes import MISTAKES, Mistake
from docs.mistyped import MISTYPED, WEB
from tests.netns import MACVFAST, Netns
from tests.parity.engine import RELEASE
from tests.parity.releases import RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from tests.parity.engine import Engine
    from tests.parity.sides import MacvfastSide

pytestmark = pytest.mark.needs("macvlan", "bridge")

mistakes = pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.title for mistake in MISTAKES])
all_mistakes = pytest.mark.parametrize(
    "mistake", [*MISTAKES, *MISTYPED], ids=[mistake.title for mistake in (*MISTAKES, *MISTYPED)]
)


def add_links(namespace: Netns) -> None:
    """eth0 (172.16.86.250/24) and eth1 free, eth2 a port of br0, eth3 down."""
    for number in range(4):
        pair = ("link", "add", f"eth{number}", "type", "veth", "peer", "name", f"lan{number}")
        namespace.run("ip", *pair)
        for end in (f"eth{number}", f"lan{number}"):
            namespace.run("ip", "link", "set", end, "up")
    namespace.run("ip", "address", "add", "172.16.86.250/24", "dev", "eth0")
    namespace.run("ip", "link", "add", "br0", "type", "bridge")
    namespace.run("ip", "link", "set", "eth2", "master", "br0")
    namespace.run("ip", "link", "set", "eth3", "down")


def remove_links(namespace: Netns) -> None:
    for name in ("br0", "eth0", "eth1", "eth2", "eth3"):
        namespace.run("ip", "link", "delete", name)


@pytest.fixture(scope="module")
def _engine_links(engine: Engine) -> Iterator[None]:
    add_links(engine.namespace)
    yield
    remove_links(engine.namespace)


@pytest.fixture(scope="module")
def _macvfast_links(macvfast_side: MacvfastSide) -> Iterator[None]:
    add_links(macvfast_side.namespace)
    yield
    remove_links(macvfast_side.namespace)


@pytest.mark.needs("docker-engine")
@pytest.mark.usefixtures("_engine_links", "docker")
@mistakes
def test_docker_says_what_the_page_says(engine: Engine, mistake: Mistake) -> None:
    says = mistake.docker
    for one in mistake.later:
        if RELEASES.index(one.release) <= RELEASES.index(RELEASE):
            says = one.docker
    for line in mistake.before:
        assert engine.docker(*shlex.split(line)).returncode == 0
    done = engine.docker(*shlex.split(mistake.line))
    assert (done.returncode == 0) == (not says)
    pattern = re.escape(says).replace("…", r"\w+")
    assert re.search(pattern, done.stderr), done.stderr


@pytest.mark.usefixtures("_macvfast_links")
@all_mistakes
def test_macvfast_says_what_the_page_says_and_what_to_do(macvfast: MacvfastSide, mistake: Mistake) -> None:
    def type_(line: str) -> CompletedProcess[str]:
        words = ("--state-dir", macvfast.state_dir, *shlex.split(line))
        return macvfast.namespace.attempt(MACVFAST, *words)

    for line in mistake.before:
        assert type_(line).returncode == 0
    done = type_(mistake.line)
    if WEB in mistake.before:
        assert type_("rm web").returncode == 0
    assert (done.returncode, done.stderr) == (mistake.status, f"{mistake.macvfast}\n")
    assert re.search(r"^(hint|  caused by): ", mistake.macvfast, re.MULTILINE)


def test_there_are_twenty_at_least_and_each_says_what_to_do() -> None:
    assert len(MISTAKES) >= 20
    for mistake in MISTAKES:
        assert mistake.macvfast.startswith("error: ")
        assert "\nhint: " in mistake.macvfast, mistake.title
        assert bool(mistake.docker) != bool(mistake.unnoticed), mistake.title
    for mistake in MISTYPED:
        assert "\nhint: " in mistake.macvfast, mistake.title
        assert (mistake.docker, mistake.unnoticed) == ("", ""), "Docker is not asked for these"
