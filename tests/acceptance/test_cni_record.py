"""What is recorded of the attachments of CNI, after containers, plugins and servers have ended in any way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import COMMAND, engine_of
from tests.acceptance.test_cni import CONF, Runtime, end_of_all, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan", "strace")


@pytest.fixture
def either(either_way: Lan, container: Netns) -> Runtime:
    """What calls the plugin for a container that the test ends, with a server and without one."""
    return begun(either_way, container)


@pytest.fixture
def container() -> Iterator[Netns]:
    made = netns.Netns.make("mortal")
    yield made
    if made.path.exists():
        made.remove()


def begun(lan: Lan, container: Netns) -> Runtime:
    support.create_pub_net(lan)
    runtime = Runtime(lan, container)
    runtime.conf = CONF | {"cniVersion": "1.1.0"}
    return runtime


def on_parent(lan: Lan) -> list[str]:
    """The MACs that the parent carries for links on it."""
    shown = lan.host.run("bridge", "fdb", "show", "dev", "eth0").splitlines()
    return sorted(line.split()[0] for line in shown if line.startswith("02:42:"))


def collect(either: Runtime) -> None:
    """What a runtime asks for that has no container any more."""
    before = either.variables
    either.variables = {"CNI_PATH": before["CNI_PATH"]}
    either.ok("GC", **{"cni.dev/valid-attachments": None})
    either.variables = before


def test_a_path_that_is_used_again_is_another_container(either: Runtime, container: Netns) -> None:
    """Its inode may be the same, too: the cookie says what it is."""
    either.ok("ADD")
    container.remove()
    subprocess.run(["ip", "netns", "add", container.name], check=True)
    result = either.ok("ADD")
    assert container.link_names() == ["lo", "net1"]
    assert either.ok("CHECK", prevResult=result) == {}
    assert either.code("ADD") == 107
    assert len(recorded(either.lan)) == 1
    either.ok("DEL")
    assert container.link_names() == ["lo"]


def test_an_attachment_that_is_given_another_namespace_leaves_the_first(
    either: Runtime,
    container: Netns,
    foreign: Netns,
) -> None:
    either.ok("ADD")
    either.variables["CNI_NETNS"] = str(foreign.path)
    either.ok("ADD")
    assert (container.link_names(), foreign.link_names()) == (["lo"], ["lo", "net1"])
    either.ok("DEL")


def test_gc_frees_what_a_container_had_that_ended_untold_and_nothing_that_lives(
    either: Runtime,
    container: Netns,
    foreign: Netns,
) -> None:
    either.ok("ADD")
    either.variables |= {"CNI_NETNS": str(foreign.path), "CNI_CONTAINERID": "living"}
    either.ok("ADD")
    foreign.run("ip", "link", "set", "net1", "down")
    assert either.lan.macvfast("gc") == ""
    container.remove()
    netns.wait_until(lambda: on_parent(either.lan) == [])
    assert "net1 of container 0123456789abcdef in pods" in either.lan.macvfast("gc")
    assert len(recorded(either.lan)) == 1
    assert foreign.link_names() == ["lo", "net1"]
    either.ok("DEL")


def test_who_does_not_see_the_processes_of_the_host_frees_nothing_that_may_live(told: Lan, foreign: Netns) -> None:
    """Wrong: in a container's pid namespace nothing leads to the namespace of a process outside, and its parent lists
    no MAC of a link that is down.
    """
    runtime = begun(told, foreign)
    inside = foreign.start("sleep", "1000")
    netns.wait_until(lambda: os.stat(f"/proc/{inside.pid}/ns/net").st_ino == foreign.inode)
    runtime.variables["CNI_NETNS"] = f"/proc/{inside.pid}/ns/net"
    runtime.ok("ADD")
    foreign.run("ip", "link", "set", "net1", "down")
    hidden = ("unshare", "--pid", "--fork", "--mount-proc", "sh", "-ec", f'umount {foreign.path}; exec "$0" gc')
    assert told.host.run(*hidden, COMMAND) == ""
    assert (len(recorded(told)), foreign.link_names()) == (1, ["lo", "net1"])
    runtime.ok("DEL")
    inside.kill()
    inside.communicate()


def test_what_ended_untold_is_freed_before_a_pool_is_exhausted(
    either: Runtime,
    container: Netns,
    foreign: Netns,
) -> None:
    lan = either.lan
    lan.macvfast("network", "update", "-o", "share_parent=true", "pub_net")
    shared = ("-o", "parent=eth0", "-o", "share_parent=true", "--gateway=10.50.0.1")
    lan.macvfast("network", "create", *shared, "--subnet=10.50.0.0/30", "small")
    first = either.ok("ADD", network="small")
    either.variables |= {"CNI_NETNS": str(foreign.path), "CNI_CONTAINERID": "second"}
    assert either.code("ADD", network="small") == 102
    container.remove()
    netns.wait_until(lambda: on_parent(lan) == [])
    assert either.ok("ADD", network="small")["ips"] == first["ips"]
    either.ok("DEL")


def test_a_server_that_is_killed_behind_its_answer_leaves_the_rest_to_the_next_change(
    told: Lan,
    foreign: Netns,
) -> None:
    """DEL is answered before the kernel is done: wherever the server dies then, nothing stays."""
    lan, seed, runtime = told, random.randrange(1 << 32), begun(told, foreign)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(8):
        if lan.server is None:
            lan.serve()
        result = runtime.ok("ADD")
        engine = engine_of(lan)
        runtime.ok("DEL")
        time.sleep(chance.random() * 0.03)
        os.kill(engine, signal.SIGKILL)
        assert foreign.link_names() == ["lo"]
        again = runtime.ok("ADD")
        assert again["interfaces"] == result["interfaces"] or again["ips"] != result["ips"]
        runtime.ok("DEL")
    lan.macvfast("gc")
    end_of_all(lan)
    netns.wait_until(lambda: on_parent(lan) == [])
    assert [one["InUse"] for one in json.loads(lan.macvfast("ipam", "show", "pub_net", "--format=json"))] == [0]
    assert lan.macvfast("check") == ""


def test_plugins_that_are_killed_anywhere_leave_nothing_that_gc_does_not_free(
    either: Runtime,
    container: Netns,
) -> None:
    lan, seed = either.lan, random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for turn in range(12):
        either.variables |= {"CNI_CONTAINERID": f"c{turn}", "CNI_IFNAME": f"net{turn}"}
        for command in ("ADD", "DEL")[: chance.choice((1, 2))]:
            typed = lan.host.start(*either.line(command))
            assert typed.stdin is not None
            typed.stdin.write(json.dumps(either.conf))
            typed.stdin.close()
            typed.stdin = None
            time.sleep(chance.random() * 0.15)
            typed.kill()
            typed.communicate(timeout=60)

    def is_all_collected() -> bool:
        collect(either)
        return recorded(lan) == []

    # What a server was still doing for who was killed, it takes back itself.
    netns.wait_until(is_all_collected)
    netns.wait_until(lambda: container.link_names() == ["lo"])
    assert lan.macvfast("check") == ""
