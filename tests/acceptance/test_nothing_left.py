"""After everything is removed, namespaces, links, pins, files and record are as before."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import wait_until_idle, workers
from tests.acceptance.support import at_terminal, wait_for_process
from tests.netns import Netns

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "ping")


def use_everything(lan: Lan, foreign: Netns) -> None:
    """Make networks of several modes, sandboxes with and without commands, and further endpoints."""
    support.create_pub_net(lan, "--subnet=fd00:86::/64", "--aux-address=exclude_host=172.16.86.250")
    lan.macvfast("network", "create", "--subnet=10.1.0.0/24", "-o", "parent=eth1", "-o", "macvlan_mode=vepa", "second")
    lan.macvfast(
        "network", "create", "--subnet=10.2.0.0/24", "-o", "parent=eth2", "-o", "macvlan_mode=passthru", "third"
    )
    lan.macvfast("create", "--net=pub_net", "--net=second", "--name=idle")
    lan.macvfast("run", "-d", "--net=pub_net", "--name=busy", "sleep", "1000")
    lan.macvfast("run", "-itd", "--net=third", "--name=shell", "/bin/sh")
    lan.macvfast("run", "--net=pub_net", "--name=done", "true")
    lan.macvfast("run", "--rm", "--net=second", "true")
    lan.macvfast("exec", "busy", "true")
    lan.macvfast("network", "connect", "second", "busy")
    lan.macvfast("network", "connect", "--netns", str(foreign.path), "pub_net", "guest")
    with at_terminal(lan, "run", "--rm", "-it", "--net=second", "/bin/sh") as terminal:
        terminal.wait_for("# ")
        terminal.type("exit\n")
        assert terminal.wait() == 0
    assert len(lan.sandbox_names()) == 4


def everything(lan: Lan) -> dict[str, object]:
    """The world, and what else could be left: the processes that this run started, and the mounts."""
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        mounts = sorted(line.split()[4] for line in table)
    return {
        **support.world(lan),
        "processes": processes(lan),
        "mounts": [mount for mount in mounts if mount != str(lan.netns_dir)],
    }


def processes(lan: Lan) -> dict[int, str]:
    """Those that this run started, but for a server and its children, of which others wait after each command."""
    if lan.server is None:
        return netns.processes_of_this_run()
    wait_until_idle(lan)
    theirs = {lan.server.pid, *workers(lan)}
    return {pid: line for pid, line in netns.processes_of_this_run().items() if pid not in theirs}


@pytest.mark.parametrize("way", ["one by one", "all at once", "disconnected first"])
def test_after_everything_is_removed_all_is_as_before(lan: Lan, way: str) -> None:
    foreign = Netns.make("foreign")
    for number in (1, 2):
        lan.add_parent(f"eth{number}", f"lan{number}")
    try:
        before = everything(lan)
        use_everything(lan, foreign)
        assert everything(lan) != before
        sandboxes = [one["Names"] for one in support.listed(lan, "ps", "-a")]
        networks = [one["Name"] for one in support.listed(lan, "network", "ls")]
        assert (len(sandboxes), len(networks)) == (5, 3)
        if way == "one by one":
            for name in sandboxes:
                lan.macvfast("rm", "-f", name)
            for name in networks:
                lan.macvfast("network", "rm", name)
        else:
            if way == "disconnected first":
                for name in ("idle", "busy"):
                    lan.macvfast("network", "disconnect", "pub_net", name)
                    lan.macvfast("network", "disconnect", "second", name)
            lan.macvfast("rm", "-f", *sandboxes)
            lan.macvfast("network", "prune", "-f")
        assert everything(lan) == before
        assert foreign.link_names() == ["lo"]
    finally:
        foreign.remove()


def test_the_emptied_state_holds_facts_of_the_host_and_nothing_else(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("run", "--net=pub_net", "--name=box", "true")
    lan.macvfast("rm", "box")
    lan.macvfast("network", "rm", "pub_net")
    with closing(sqlite3.connect(lan.state_dir / "state.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    assert {name for name, count in counts.items() if count} <= {"host", "sqlite_sequence"}
    assert {path.name for path in lan.state_dir.iterdir() if not path.name.startswith("state.db")} <= {
        "owners",
        "sandboxes",
    }
    for directory in ("owners", "sandboxes"):
        assert not (lan.state_dir / directory).exists() or not list((lan.state_dir / directory).iterdir())


def test_a_refused_run_leaves_nothing_on_an_empty_state(lan: Lan) -> None:
    before = everything(lan)
    support.refused(lan, "run", "--net=missing", "true", status=125)
    support.refused(lan, "run", "alpine", "true", status=127)
    assert everything(lan) == before


def test_a_run_that_is_killed_before_its_command_starts_is_undone_by_the_next_command(lan: Lan) -> None:
    """Wherever the kill falls, either the sandbox is recorded whole or nothing is left once another command has run."""
    support.create_pub_net(lan)
    before = everything(lan)
    with lan.host.start(netns.MACVFAST, "create", "--net=pub_net", "--name=box") as process:
        netns.wait_until(lambda: "sandbox" in support.record(lan) or process.poll() is not None, what="the intent")
        process.send_signal(signal.SIGKILL)
        process.wait()
    # Any command that changes something first finishes what the dead left.
    lan.macvfast("rm", "-f", "box")
    assert everything(lan) == before
    lan.macvfast("create", "--net=pub_net", "--name=box", "--ip=172.16.86.2")
    lan.macvfast("rm", "box")


def test_removing_twice_a_day_for_a_year_grows_nothing(lan: Lan) -> None:
    """Not quite so often; but each round ends where it began."""
    support.create_pub_net(lan)
    before = everything(lan)
    for _ in range(3):
        lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
        wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
        assert support.address_of(lan, "box") == "172.16.86.2"
        lan.macvfast("rm", "-f", "box")
        assert everything(lan) == before
