"""`rm` and `--rm`: what ran is dead, and the kernel has let go of the link, when they are done."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast import plan
from tests import netns
from tests.acceptance import support
from tests.acceptance.support import at_terminal, check_error, filter_macs, ps, refused, wait_for_process
from tests.netns import Netns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")

# Ignores SIGTERM and SIGHUP, and starts the same again in a session of its own.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def _network(lan: Lan) -> None:
    support.create_pub_net(lan)


def assert_empty(lan: Lan) -> None:
    """Nothing of any sandbox is left, neither in the kernel nor in the record nor on the disk."""
    assert filter_macs(lan) == set()
    assert lan.sandbox_names() == []
    assert support.programs(lan) == []
    world = support.world(lan)
    assert {"sandbox", "endpoint"}.isdisjoint(world["record"])
    assert world["files"] == []


def test_when_rm_is_done_the_parent_has_let_go_of_the_link(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert filter_macs(lan) == {"02:42:ac:10:56:02"}
    lan.macvfast("rm", "box")
    assert filter_macs(lan) == set()
    # So the address with its MAC can be had again at once.
    lan.macvfast("create", "--net=pub_net", "--name=box", "--ip=172.16.86.2")
    assert filter_macs(lan) == {"02:42:ac:10:56:02"}


def test_rm_takes_several_by_name_id_and_prefix_and_prints_them(lan: Lan) -> None:
    ids = [lan.macvfast("create", "--net=pub_net", "--name", name) for name in ("a", "b", "c")]
    assert lan.macvfast("rm", "a", ids[1], ids[2][:12]).split() == ["a", ids[1], ids[2][:12]]
    assert_empty(lan)


def test_rm_refuses_a_running_one(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    said = refused(lan, "rm", "box")
    assert "`macvfast rm -f box`" in said
    lan.macvfast("rm", "-f", "box")
    assert_empty(lan)


def test_rm_of_several_goes_on_after_an_error(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--net=pub_net", "--name=busy", "sleep", "1000")
    lan.macvfast("create", "--net=pub_net", "--name=idle")
    done = lan.attempt("rm", "missing", "busy", "idle")
    said = check_error(done, 3, errors=2)
    assert "missing" in said
    assert "busy" in said
    assert done.stdout.split() == ["idle"]
    assert lan.sandbox_names() == ["busy"]


def test_rm_of_what_is_not_there_is_refused_and_by_force_done_already(lan: Lan) -> None:
    refused(lan, "rm", "missing")
    with support.unchanged(lan):
        lan.macvfast("rm", "-f", "missing")


def test_force_ends_what_ignores_signals_and_has_sessions_of_its_own(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--net=pub_net", "--name=box", sys.executable, "-c", STUBBORN)
    inode = lan.sandbox("box").inode

    def all_three() -> bool:
        return sum(line[1:] == ["-c", STUBBORN] for line in support.command_lines(inode).values()) == 3

    netns.wait_until(all_three, what="the three processes")
    lan.macvfast("rm", "-f", "box")
    assert support.command_lines(inode) == {}
    assert_empty(lan)


def test_force_ends_a_stopped_command(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    os.kill(wait_for_process(lan.sandbox("box").inode, "sleep", "1000"), signal.SIGSTOP)
    lan.macvfast("rm", "-f", "box")
    assert_empty(lan)


def test_force_ends_what_exec_started_in_an_idle_sandbox(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    lan.macvfast("exec", "-d", "box", "sleep", "1000")
    lan.macvfast("rm", "-f", "box")
    assert_empty(lan)


def test_force_on_the_sandbox_of_an_open_terminal_ends_that_too(lan: Lan) -> None:
    with at_terminal(lan, "run", "--net=pub_net", "--name=box", "-it", "/bin/sh") as terminal:
        terminal.wait_for("# ")
        lan.macvfast("rm", "-f", "box")
        assert terminal.wait() == 137
    assert_empty(lan)


def ping_is_answered(lan: Lan, address: str) -> bool:
    """Whether something on the LAN has an address: what a neighbour asks for anew."""
    lan.router.attempt("ip", "neigh", "flush", "all")
    return lan.router.can_ping(address, timeout_s=2)


def test_a_link_is_deleted_though_a_process_from_outside_holds_its_namespace_and_is_named(lan: Lan) -> None:
    """Who waits for the namespace to die waits for ever, and who does not gives the address of a living link away."""
    lan.macvfast("create", "--net=pub_net", "--name=box")
    box = lan.sandbox("box")
    inode = box.inode
    with box.start("sleep", "1000") as intruder:
        try:
            wait_for_process(inode, "sleep", "1000")
            done = lan.attempt("rm", "-f", "box")
            assert (done.returncode, done.stdout) == (0, "box\n")
            assert done.stderr.startswith("note: the namespace of sandbox `box` is still held by ")
            assert f"process {intruder.pid} (sleep)" in done.stderr
            assert filter_macs(lan) == set()
            lan.macvfast("create", "--net=pub_net", "--name=other", "--ip=172.16.86.2")
            lan.macvfast("rm", "other")
            assert not ping_is_answered(lan, "172.16.86.2")
        finally:
            intruder.kill()
    assert_empty(lan)


# Holds a namespace by what is nowhere to be seen: a socket of it, in a process that is elsewhere.
BY_A_SOCKET = """
import ctypes, os, socket, sys, time
home = os.open("/proc/self/ns/net", os.O_RDONLY)
inside = os.open(sys.argv[1], os.O_RDONLY)
libc = ctypes.CDLL(None)
assert libc.setns(inside, 0x40000000) == 0
kept = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
assert libc.setns(home, 0x40000000) == 0
os.close(inside)
print("ready", flush=True)
time.sleep(1000)
"""


def test_three_commands_of_which_something_keeps_a_socket_do_not_use_a_small_subnet_up(lan: Lan) -> None:
    lan.macvfast("network", "rm", "pub_net")
    lan.macvfast("network", "create", "--subnet=10.0.0.0/29", "--gateway=10.0.0.1", "-o", "parent=eth0", "pub_net")
    lan.router.run("ip", "address", "add", "10.0.0.1/29", "dev", "lan0")
    with contextlib.ExitStack() as held:
        for _ in range(3):
            with lan.host.start(
                netns.MACVFAST, "run", "-i", "--rm", "--net=pub_net", "--name=box", "-u", "nobody", "cat"
            ) as run:
                netns.wait_until(lambda: [one["State"] for one in support.listed(lan, "ps")] == ["running"], what="it")
                address = support.address_of(lan, "box")
                assert address == "10.0.0.2"
                keeper = subprocess.Popen(
                    [sys.executable, "-c", BY_A_SOCKET, lan.netns_dir / "box"], stdout=subprocess.PIPE
                )
                held.callback(keeper.wait)
                held.callback(keeper.kill)
                assert keeper.stdout is not None
                held.callback(keeper.stdout.close)
                assert keeper.stdout.readline() == b"ready\n"
                _, said = run.communicate(timeout=60)
                assert run.returncode == 0, said
            assert filter_macs(lan) == set()
            assert not ping_is_answered(lan, address)
    assert_empty(lan)


def test_a_removal_that_is_killed_after_it_let_go_is_finished_by_the_next_command(lan: Lan) -> None:
    """Nothing leads to the namespace then but its id."""
    lan.macvfast("create", "--net=pub_net", "--name=box")
    with subprocess.Popen([sys.executable, "-c", BY_A_SOCKET, lan.netns_dir / "box"], stdout=subprocess.PIPE) as keeper:
        try:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == b"ready\n"
            # A worker would not be traced.
            killed = ["env", "MACVFAST_SERVER=off", "strace", "-f", "-o", "/dev/null"]
            killed += ["-e", "trace=umount2", "-e", "inject=umount2:signal=KILL"]
            done = lan.host.attempt(*killed, netns.MACVFAST, "rm", "box")
            assert done.returncode != 0
            assert filter_macs(lan) == {"02:42:ac:10:56:02"}
            lan.macvfast("create", "--net=pub_net", "--name=other", "--ip=172.16.86.9")
            assert filter_macs(lan) == {"02:42:ac:10:56:09"}
            lan.macvfast("rm", "other")
        finally:
            keeper.kill()
    assert_empty(lan)


# Links that are not where they were made.


def move(lan: Lan, *, to: str, mac: str | None = None, down: bool = False) -> None:
    """Move the link of `box`, as whoever is root in its namespace can."""
    if mac is not None:
        lan.sandbox("box").run("ip", "link", "set", "eth0", "address", mac)
    lan.sandbox("box").run("ip", "link", "set", "eth0", "netns", to)
    lan.run("ip", "netns", "exec", to, "ip", "link", "set", "eth0", "down" if down else "up")


@pytest.mark.parametrize(
    ("mac", "down"),
    [(None, False), ("02:42:0a:00:00:99", False), ("02:42:0a:00:00:99", True)],
    ids=["its MAC", "another MAC", "another MAC, and down"],
)
def test_a_link_that_was_moved_keeps_its_address_until_it_is_gone(lan: Lan, mac: str | None, *, down: bool) -> None:
    """What is not found where it was recorded is not gone: the next sandbox must not get its address. One that is down
    is on no list of its parent, and can be brought up again.
    """
    theirs = Netns.make("theirs")
    try:
        lan.macvfast("create", "--net=pub_net", "--name=box")
        move(lan, to=theirs.name, mac=mac, down=down)
        assert theirs.link_names() == ["eth0", "lo"]
        said = ""
        for _ in range(2):
            said = check_error(lan.attempt("rm", "-f", "box"), 3)
            assert "the removal of it is not finished" in check_error(lan.attempt("gc"), 3)
            assert f"link `eth0` with MAC {mac or '02:42:ac:10:56:02'} of the namespace at" in said
            assert "taken" in refused(lan, "create", "--net=pub_net", "--name=other", "--ip=172.16.86.2")
        (delete,) = [line.split("`")[1] for line in said.splitlines() if "deletes that" in line]
        lan.run("bash", "-c", delete)
        lan.macvfast("rm", "-f", "box")
        lan.macvfast("create", "--net=pub_net", "--name=other", "--ip=172.16.86.2")
        lan.macvfast("rm", "other")
    finally:
        theirs.remove()
    assert_empty(lan)


def test_no_link_is_made_in_the_place_of_one_that_was_moved(lan: Lan) -> None:
    """Both would have the address."""
    theirs = Netns.make("theirs")
    try:
        lan.macvfast("create", "--net=pub_net", "--name=box")
        move(lan, to=theirs.name, mac="02:42:0a:00:00:99")
        found = lan.attempt("check")
        assert found.returncode == 7
        assert "link eth0 with MAC 02:42:0a:00:00:99 of the namespace at" in found.stdout
        assert lan.attempt("restore").returncode == 3
        assert lan.sandbox("box").link_names() == ["lo"]
        theirs.run("ip", "link", "del", "eth0")
        lan.macvfast("restore")
        assert lan.sandbox("box").link_names() == ["eth0", "lo"]
    finally:
        theirs.remove()
    lan.macvfast("rm", "box")
    assert_empty(lan)


def test_a_link_that_was_moved_where_nothing_leads_keeps_its_address(lan: Lan) -> None:
    """Also when its own namespace is gone, and with another MAC: what the parent carries is not explained."""
    theirs = Netns.make("theirs")
    with subprocess.Popen([sys.executable, "-c", BY_A_SOCKET, theirs.path], stdout=subprocess.PIPE) as keeper:
        try:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == b"ready\n"
            lan.macvfast("create", "--net=pub_net", "--name=box")
            move(lan, to=theirs.name, mac="02:42:0a:00:00:99")
            theirs.unpin()
            for _ in range(2):
                said = check_error(lan.attempt("rm", "-f", "box"), 3)
                assert "02:42:0a:00:00:99" in said
            assert "taken" in refused(lan, "create", "--net=pub_net", "--name=other", "--ip=172.16.86.2")
        finally:
            keeper.kill()
    netns.wait_until(lambda: filter_macs(lan) == set(), what="the end of the link")
    lan.macvfast("rm", "-f", "box")
    assert_empty(lan)


@pytest.mark.parametrize("network", ["pub_net", "second"], ids=["gone", "on another parent"])
def test_a_link_that_was_moved_twice_and_has_the_mac_of_a_sandbox_keeps_its_address(lan: Lan, network: str) -> None:
    """One whose own link is gone, or on another parent: who believes the record takes the moved link for that."""
    lan.add_parent("eth1", "lan1")
    lan.macvfast("network", "create", "--subnet=10.7.0.0/24", "-o", "parent=eth1", "second")
    between, theirs = Netns.make("between"), Netns.make("theirs")
    try:
        lan.macvfast("create", "--net=pub_net", "--name=box")
        lan.macvfast("create", f"--net={network}", "--name=other")
        (link,) = json.loads(lan.sandbox("other").run("ip", "-json", "link", "show", "eth0"))
        if network == "pub_net":
            lan.sandbox("other").run("ip", "link", "del", "eth0")
        lan.sandbox("box").run("ip", "link", "set", "eth0", "netns", between.name)
        between.run("ip", "link", "set", "eth0", "netns", theirs.name)
        theirs.run("ip", "link", "set", "eth0", "address", link["address"])
        theirs.run("ip", "link", "set", "eth0", "up")
        assert filter_macs(lan) == {link["address"]}
        check_error(lan.attempt("rm", "-f", "box"), 3)
        assert "taken" in refused(lan, "create", "--net=pub_net", "--name=third", "--ip=172.16.86.2")
    finally:
        theirs.remove()
        between.remove()
    netns.wait_until(lambda: filter_macs(lan) == set(), what="the end of the link")
    lan.macvfast("rm", "-f", "box", "other")
    assert_empty(lan)


def test_a_link_that_its_owner_deleted_frees_its_address_beside_those_of_others(lan: Lan) -> None:
    """Who takes each MAC that is not recorded for an escaped link of ours never frees it."""
    theirs = Netns.make("theirs")
    try:
        lan.run("ip", "link", "add", "m0", "link", "eth0", "netns", theirs.name, "type", "macvlan", "mode", "bridge")
        theirs.run("ip", "link", "set", "m0", "up")
        lan.macvfast("create", "--net=pub_net", "--name=box")
        lan.macvfast("create", "--net=pub_net", "--name=other")
        lan.sandbox("other").run("ip", "link", "set", "eth0", "address", "02:42:0a:00:00:99")
        lan.sandbox("box").run("ip", "link", "del", "eth0")
        lan.macvfast("rm", "box", "other")
        assert theirs.link_names() == ["lo", "m0"]
    finally:
        theirs.remove()


ANOTHER_MAC = "02:42:0a:00:00:99"


def test_a_link_with_another_mac_is_deleted_though_its_namespace_is_held(lan: Lan) -> None:
    """The owner of a namespace can give our link any MAC: who looks for the recorded one finds nothing, and gives the
    address of a living link away.
    """
    lan.macvfast("create", "--net=pub_net", "--name=box")
    with lan.sandbox("box").start("sleep", "1000") as intruder:
        try:
            wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
            lan.sandbox("box").run("ip", "link", "set", "eth0", "address", ANOTHER_MAC)
            assert filter_macs(lan) == {ANOTHER_MAC}
            lan.macvfast("rm", "box")
            assert filter_macs(lan) == set()
            links = lan.run("nsenter", f"--net=/proc/{intruder.pid}/ns/net", "ip", "-brief", "link")
            assert [line.split()[0] for line in links.splitlines()] == ["lo"]
        finally:
            intruder.kill()
    assert_empty(lan)


@pytest.mark.parametrize("given", [False, True], ids=["held", "given"])
def test_links_are_deleted_whose_group_their_owner_changes_at_that_moment(
    lan: Lan, monkeypatch: pytest.MonkeyPatch, *, given: bool
) -> None:
    """Who deletes by a group that was just read deletes nothing, and takes "no such link" for gone."""
    theirs = Netns.make("theirs")
    names = ["a", "b"] if given else ["a"]
    if given:
        lan.api(lambda host: host.connect_many("pub_net", names, netns=str(theirs.path)).raise_if_any())
    else:
        lan.macvfast("create", "--net=pub_net", "--name=a")
    place = theirs if given else lan.sandbox("a")
    read = plan.group_removal

    def change(links: Iterable[plan.LinkFacts], expected: Iterable[plan.ExpectedLink]) -> plan.GroupRemoval:
        found = read(links, expected)
        if found.ifindexes:
            subprocess.run([*inside, "ip", "link", "set", "eth0", "group", "7"], check=True)
        return found

    with place.start("sleep", "1000") as holder:
        try:
            inside = ("nsenter", f"--net=/proc/{holder.pid}/ns/net")
            wait_for_process(place.inode, "sleep", "1000")
            monkeypatch.setattr(plan, "group_removal", change)
            lan.api(lambda host: host.remove_many(names).raise_if_any())
            assert filter_macs(lan) == set()
        finally:
            holder.kill()
            theirs.remove()
    assert_empty(lan)


def test_endpoints_with_other_macs_are_disconnected_from_a_namespace_that_stays(lan: Lan) -> None:
    """One is deleted by its index, several by a group that is set on exactly them."""
    lan.add_parent("eth1", "lan1")
    lan.macvfast("network", "create", "--subnet=10.7.0.0/24", "-o", "parent=eth1", "second")
    lan.macvfast("create", "--net=pub_net", "--net=second", "--name=stays")
    lan.sandbox("stays").run("ip", "link", "set", "eth1", "address", ANOTHER_MAC)
    lan.macvfast("network", "disconnect", "second", "stays")
    assert filter_macs(lan, "eth1") == set()
    theirs = Netns.make("theirs")
    try:
        for name in ("a", "b", "c"):
            lan.macvfast("network", "connect", f"--netns={theirs.path}", "pub_net", name)
        for number, ifname in enumerate(("eth0", "eth1")):
            theirs.run("ip", "link", "set", ifname, "address", f"02:42:0a:00:00:{number:02x}", "group", "0")
        lan.macvfast("rm", "a", "b", "c")
        assert theirs.link_names() == ["lo"]
    finally:
        theirs.remove()


def test_a_link_on_a_parent_that_was_moved_is_deleted_where_it_is(lan: Lan) -> None:
    """The parent cannot be looked at: who takes that for "holds no MAC" gives the address of a living link away."""
    lan.macvfast("create", "--net=pub_net", "--name=box")
    with lan.sandbox("box").start("sleep", "1000") as intruder:
        try:
            wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
            lan.run("ip", "link", "set", "eth0", "netns", lan.router.name)
            lan.macvfast("rm", "-f", "box")
            links = lan.run("nsenter", f"--net=/proc/{intruder.pid}/ns/net", "ip", "-brief", "link")
            assert [line.split()[0] for line in links.splitlines()] == ["lo"]
        finally:
            intruder.kill()


def test_an_address_is_kept_while_its_parent_is_elsewhere_and_no_pin_leads_to_its_namespace(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    with lan.sandbox("box").start("sleep", "1000") as intruder:
        try:
            wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
            subprocess.run(["umount", lan.netns_dir / "box"], check=True)
            lan.run("ip", "link", "set", "eth0", "netns", lan.router.name)
            said = check_error(lan.attempt("rm", "-f", "box"), 3)
            assert "its parent `eth0` is in another network namespace" in said
            (back,) = [line.split("`")[1] for line in said.splitlines() if "brings that back" in line]
            lan.run("bash", "-c", f"{back}; ip link set eth0 up")
            # The kernel has emptied its list: the link lives on all the same.
            assert filter_macs(lan) == set()
            lan.macvfast("rm", "-f", "box")
            links = lan.run("nsenter", f"--net=/proc/{intruder.pid}/ns/net", "ip", "-brief", "link")
            assert [line.split()[0] for line in links.splitlines()] == ["lo"]
        finally:
            intruder.kill()
    lan.macvfast("create", "--net=pub_net", "--name=other", "--ip=172.16.86.2")


def test_a_renamed_parent_is_looked_at_under_its_new_name(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    with lan.sandbox("box").start("sleep", "1000") as intruder:
        try:
            wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
            for step in ("down", "name uplink", "up"):
                lan.run("ip", "link", "set", "uplink" if step == "up" else "eth0", *step.split())
            said = check_error(lan.attempt("create", "--net=pub_net", "--name=other"), 1)
            assert "it is called `uplink` now" in said
            assert filter_macs(lan, "uplink") == {"02:42:ac:10:56:02"}
            lan.macvfast("rm", "-f", "box")
            assert filter_macs(lan, "uplink") == set()
        finally:
            intruder.kill()


def test_an_intruder_that_leaves_soon_is_waited_for(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    box = lan.sandbox("box")
    inode = box.inode
    with box.start("sleep", "0.3"):
        wait_for_process(inode, "sleep", "0.3")
        lan.macvfast("rm", "box")
    assert_empty(lan)


# --rm.


def test_a_foreground_command_with_rm_is_removed_when_it_returns(lan: Lan) -> None:
    assert lan.attempt("run", "--rm", "--net=pub_net", "sh", "-c", "exit 3").returncode == 3
    assert_empty(lan)


def test_a_detached_command_with_rm_is_removed_when_it_ends(lan: Lan) -> None:
    lan.macvfast("run", "--rm", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    os.kill(wait_for_process(lan.sandbox("box").inode, "sleep", "1000"), signal.SIGTERM)
    netns.wait_until(lambda: not lan.sandbox_names() and not support.programs(lan), what="the removal")
    netns.wait_until(lambda: "sandbox" not in support.record(lan), what="the removal from the record")
    assert_empty(lan)


@pytest.mark.parametrize("detach", [False, True], ids=["attached", "detached"])
def test_a_command_with_rm_is_removed_though_its_pid_1_is_killed(lan: Lan, *, detach: bool) -> None:
    arguments = ["run", "--rm", "--net=pub_net", "--name=box", *(["-d"] if detach else []), "sleep", "1000"]
    with lan.host.start(netns.MACVFAST, *arguments) as process:
        netns.wait_until(lambda: "box" in lan.sandbox_names(), what="the sandbox")
        wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
        if detach:
            assert process.wait(30) == 0
        os.kill(support.pid_one(lan), signal.SIGKILL)
        assert process.wait(30) == (0 if detach else 137)
    netns.wait_until(lambda: not lan.sandbox_names() and not support.programs(lan), what="the removal")
    netns.wait_until(lambda: "sandbox" not in support.record(lan), what="the removal from the record")
    assert_empty(lan)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=["TERM", "INT", "HUP"])
def test_a_signal_to_run_reaches_the_command(lan: Lan, number: signal.Signals) -> None:
    with lan.host.start(netns.MACVFAST, "run", "--rm", "--net=pub_net", "--name=box", "sleep", "1000") as process:
        netns.wait_until(lambda: "box" in lan.sandbox_names(), what="the sandbox")
        wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    assert_empty(lan)


def test_closing_the_window_of_a_command_with_rm_removes_its_sandbox(lan: Lan) -> None:
    with at_terminal(lan, "run", "--rm", "--net=pub_net", "-it", "/bin/sh") as terminal:
        terminal.wait_for("# ")
        terminal.hang_up()
        terminal.wait()
    netns.wait_until(lambda: not lan.sandbox_names() and not support.programs(lan), what="the removal")
    assert_empty(lan)


# What stands in the way.


def test_a_pin_that_something_else_replaced_is_left_alone(lan: Lan) -> None:
    """Identity is the namespace's cookie, not the name it was pinned under."""
    lan.macvfast("create", "--net=pub_net", "--name=box")
    path = lan.netns_dir / "box"
    subprocess.run(["umount", path], check=True)
    subprocess.run(["mount", "--bind", lan.router.path, path], check=True)
    assert lan.macvfast("rm", "box") == "box"
    assert lan.macvfast("ps", "-a", "-q") == ""
    assert netns.Netns(path).inode == lan.router.inode
    assert lan.router.link_names() == ["lan0", "lo"]
    subprocess.run(["umount", path], check=True)
    Path(path).unlink()


def lose_the_namespace(lan: Lan) -> None:
    """As `ip netns del` does, until the kernel has let go of it."""
    lan.sandbox("box").unpin()
    netns.wait_until(lambda: filter_macs(lan) == set(), what="the end of the link")


def test_a_mac_that_a_strangers_link_has_by_then_is_not_waited_for(lan: Lan) -> None:
    """What waits for the MAC itself waits for ever."""
    lan.macvfast("create", "--net=pub_net", "--name=box")
    lose_the_namespace(lan)
    theirs = ["address", "02:42:ac:10:56:02", "type", "macvlan", "mode", "bridge"]
    lan.run("ip", "link", "add", "theirs", "link", "eth0", "up", *theirs)
    assert lan.macvfast("rm", "-f", "box") == "box"
    lan.macvfast("create", "--net=pub_net", "--name=other")
    assert support.address_of(lan, "other") == "172.16.86.3", "that of the stranger's MAC is passed over"
    assert "theirs" in lan.host.link_names()


def test_our_own_link_that_somebody_moved_is_named_and_keeps_its_address(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    lan.sandbox("box").run("ip", "link", "set", "eth0", "netns", str(os.getpid()), "name", "moved")
    subprocess.run(["ip", "link", "set", "moved", "netns", lan.host.name], check=True)
    lan.run("ip", "link", "set", "moved", "up")
    lan.sandbox("box").unpin()
    said = check_error(lan.attempt("rm", "-f", "box"), 3)
    assert "link `moved` of this namespace has it" in said
    lan.run("ip", "link", "del", "moved")
    lan.macvfast("rm", "-f", "box")
    assert_empty(lan)


def test_two_removals_at_once_both_find_it_gone(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    started = [lan.host.start(netns.MACVFAST, "rm", "-f", "box") for _ in range(2)]
    for process in started:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert_empty(lan)


def test_a_lost_status_file_does_not_keep_a_sandbox_from_being_removed(lan: Lan) -> None:
    lan.macvfast("run", "--net=pub_net", "--name=box", "true")
    (lan.state_dir / "sandboxes" / ps(lan, "box")["ID"] / "status").unlink()
    assert ps(lan, "box")["State"] == "idle"
    lan.macvfast("rm", "box")
    assert_empty(lan)
