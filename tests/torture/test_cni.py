"""Containers that are attached and detached by CNI, whatever is killed meanwhile, and many at once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import COMMAND, engine_of, server_of
from tests.acceptance.test_cni import Runtime, recorded
from tests.acceptance.test_state import small  # noqa: F401 - a fixture
from tests.torture import SEED, sized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.netns import Lan

pytestmark = [pytest.mark.needs("macvlan", "strace"), pytest.mark.timeout(3600)]

# A kill comes at most so long after the callers' start; and of those that are killed by themselves, before one of their
# first so many system calls: a native program makes some 60, and Python some thousands.
LATEST_S = 0.1
CALLS = {True: 70, False: 4000}


class Container(Runtime):
    """A container with a namespace, and what its runtime was told of its link."""

    def __init__(self, lan: Lan, name: str) -> None:
        self.namespace = netns.Netns.make(name)
        super().__init__(lan, self.namespace)
        self.variables["CNI_CONTAINERID"] = name
        self.result: dict[str, Any] | None = None

    def start(self, command: str, *before: str) -> subprocess.Popen[str]:
        """Start a call that nobody waits for yet."""
        caller = self.lan.host.start(*self.line(command, *before))
        assert caller.stdin is not None
        # It may have been killed before it has read that.
        with contextlib.suppress(BrokenPipeError):
            caller.stdin.write(json.dumps(self.conf))
            caller.stdin.close()
        caller.stdin = None
        return caller


@pytest.fixture
def containers(told: Lan) -> Iterator[list[Container]]:
    """Containers, and a network with room for 13 of them."""
    told.macvfast("network", "create", "--subnet=172.16.86.0/28", "-o", "parent=eth0", "pub_net")
    made: list[Container] = []
    try:
        made += (Container(told, f"box{number}") for number in range(32))
        yield made
    finally:
        for one in made:
            one.namespace.remove()


def assert_free(lan: Lan, containers: Sequence[Container]) -> None:
    """Nothing is attached, and nothing is left of what was."""
    assert {
        one.namespace.name: one.namespace.link_names() for one in containers if one.namespace.link_names() != ["lo"]
    } == {}
    assert recorded(lan) == []
    assert lan.macvfast("check") == ""
    assert used(lan) == 0


def used(lan: Lan) -> int:
    """The addresses of the network that endpoints have."""
    in_use: int = lan.api(lambda host: sum(pool.in_use for one in host.pools() for pool in one.pools))
    return in_use


def addresses(results: Sequence[dict[str, Any]]) -> list[str]:
    return [ip["address"] for result in results for ip in result["ips"]]


@pytest.mark.parametrize("served", [True, False], ids=["with a server", "without"])
def test_whatever_is_killed_a_runtime_that_goes_on_leaves_nothing(containers: list[Container], *, served: bool) -> None:
    """A runtime calls DEL for each ADD that failed, until that ends with 0."""
    print(f"seed {SEED}")
    chance, some, lan = random.Random(SEED), containers[:4], containers[0].lan
    if served:
        lan.be_served()
    elif lan.server is not None:
        pytest.skip("the bed has a server")
    for _ in range(sized(8, 500)):
        chosen = chance.sample(some, chance.randrange(1, 4))
        callers = [one.start("ADD" if one.result is None else "DEL", *killed(chance, served=served)) for one in chosen]
        if served and chance.random() < 0.5:
            select.select([], [], [], chance.uniform(0, LATEST_S))
            kill(lan, chance.choice((server_of, engine_of)))
        for one, caller in zip(chosen, callers, strict=True):
            hear(one, *caller.communicate(timeout=120), caller.returncode)
        if lan.server is not None and lan.server.returncode is not None:
            lan.be_served()
        there = [one.result for one in some if one.result is not None]
        assert len(set(addresses(there))) == len(there)
        assert [one.namespace.link_names() for one in some] == [
            ["lo"] if one.result is None else ["lo", "net1"] for one in some
        ]
        for one in some:
            if one.result is not None:
                one.ok("CHECK", prevResult=one.result)
    for one in some:
        one.ok("DEL")
    netns.wait_until(lambda: used(lan) == 0, what="the end of all removals")
    assert_free(lan, containers)


def kill(lan: Lan, which: Callable[[Lan], int]) -> None:
    """Kill the server, or its engine, and wait for the end of a server."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(which(lan), signal.SIGKILL)
    if which is server_of and lan.server is not None:
        lan.server.communicate()


def killed(chance: random.Random, *, served: bool) -> tuple[str, ...]:
    """What has a caller killed before one of its system calls, or lets it live."""
    if chance.random() < 0.3:
        return ()
    when = chance.randrange(1, CALLS[served])
    return ("strace", "-qq", "-f", "-o", "/dev/null", "-e", f"inject=all:signal=KILL:when={when}")


def hear(one: Container, out: str, err: str, status: int) -> None:
    """Learn what a runtime was told, and do what it does then."""
    assert "Traceback" not in err
    if one.result is not None:
        # It is done again until it is done.
        if status != 0:
            one.ok("DEL")
        one.result = None
    elif status == 0:
        one.result = json.loads(out)
    else:
        one.ok("DEL")


@pytest.mark.parametrize("served", [True, False], ids=["with a server", "without"])
def test_of_many_at_once_each_has_an_address_of_its_own_until_none_is_left(
    containers: list[Container], *, served: bool
) -> None:
    lan = containers[0].lan
    if served:
        lan.serve()
    elif lan.server is not None:
        pytest.skip("the bed has a server")
    for _ in range(sized(2, 20) if served else sized(1, 4)):
        callers = [one.start("ADD") for one in containers]
        answers = [(caller.communicate(timeout=120)[0], caller.returncode) for caller in callers]
        made = [json.loads(out) for out, status in answers if status == 0]
        refused = [json.loads(out)["code"] for out, status in answers if status != 0]
        assert (len(made), set(refused)) == (13, {102})
        assert len(set(addresses(made))) == 13
        # A runtime detaches what failed, too.
        callers = [one.start("DEL") for one in containers]
        assert [(caller.communicate(timeout=120), caller.returncode) for caller in callers] == [(("", ""), 0)] * 32
        assert [one.namespace.link_names() for one in containers] == [["lo"]] * 32
        # The kernel is not done with all of them: who comes now waits for that, and is not refused.
        containers[0].ok("ADD")
        containers[0].ok("DEL")
    netns.wait_until(lambda: used(lan) == 0, what="the end of all removals")
    assert_free(lan, containers)


# A bad machine.


@pytest.fixture(params=[True, False], ids=["with a server", "without"])
def cramped(
    request: pytest.FixtureRequest,
    small: Path,  # noqa: F811
    told: Lan,
) -> Iterator[tuple[Container, Path]]:
    """A container, and the file system of the state, which is full or read-only before long."""
    support.create_pub_net(told)
    if request.param and told.server is None:
        told.serve()
    one = Container(told, "box")
    one.conf = one.conf | {"cniVersion": "1.1.0"}
    yield one, small
    one.namespace.remove()


def test_on_a_full_disk_nothing_is_half_attached_and_the_room_that_comes_is_enough(
    cramped: tuple[Container, Path],
) -> None:
    one, disk = cramped
    result = one.ok("ADD")
    support.fill(disk / "filler")
    assert one.ok("CHECK", prevResult=result) == {}
    one.variables["CNI_IFNAME"] = "net2"
    assert one.code("ADD") == 5
    assert one.namespace.link_names() == ["lo", "net1"]
    one.variables["CNI_IFNAME"] = "net1"
    done = one.call("DEL")
    assert (done.returncode, done.stdout) == (0, "")
    (disk / "filler").unlink()
    one.ok("GC", **{"cni.dev/valid-attachments": None})
    netns.wait_until(lambda: used(one.lan) == 0, what="the end of the removal")
    assert_free(one.lan, [one])
    one.ok("ADD")
    one.ok("DEL")


@pytest.mark.parametrize(
    "cramped", [False], ids=["without a server, for which the disk cannot become so"], indirect=True
)
def test_on_a_read_only_disk_it_says_that_it_is_not_available(cramped: tuple[Container, Path]) -> None:
    one, disk = cramped
    assert one.ok("STATUS") == {}
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        assert one.code("STATUS") == 50
        assert one.code("ADD") == 5
        assert one.call("DEL").returncode == 0
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert one.ok("STATUS") == {}
    one.ok("ADD")
    one.ok("DEL")


def test_where_run_is_read_only_it_is_done_without_a_server(containers: list[Container]) -> None:
    one = containers[0]
    one.lan.run_dir.mkdir(mode=0o700, exist_ok=True)
    read_only = "; ".join(
        f"mount --rbind {path} {path}; mount -o remount,bind,ro {path}" for path in ("/run", one.lan.run_dir)
    )
    line = one.line("ADD", "unshare", "--mount", "sh", "-ec", f"{read_only}; exec {COMMAND}")[:-1]
    done = one.lan.host.attempt(*line, stdin=json.dumps(one.conf))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert one.namespace.link_names() == ["lo", "net1"]
    one.ok("DEL")
    assert_free(one.lan, containers)
