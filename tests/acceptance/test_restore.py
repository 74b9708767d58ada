"""restore, check and gc on a real kernel: what was lost comes back, judged by `ip` and pings, and strangers stay."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.kernel import holders, namespaces
from macvfast.system.processes import status_of
from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import workers
from tests.acceptance.support import (
    addresses_of,
    another_boot,
    check_error,
    default_routes,
    link_of,
    lose_everything,
    ps,
    wait_for_process,
)
from tests.netns import Netns

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


@pytest.fixture(autouse=True)
def _networks(lan: Lan) -> None:
    lan.add_parent("eth1", "lan1", far_address="172.16.87.1/24")
    support.create_pub_net(lan, "--subnet=fd00:86::/64", "--gateway=fd00:86::1")
    lan.router.run("ip", "address", "add", "fd00:86::1/64", "dev", "lan0", "nodad")
    lan.macvfast("network", "create", "--subnet=172.16.87.0/24", "-o", "parent=eth1", "second")


def shown(lan: Lan, *names: str) -> dict[str, object]:
    """What the kernel has of sandboxes, and what stays the same over a restore."""
    found: dict[str, object] = {}
    for name in names:
        links = [one for one in lan.sandbox(name).link_names() if one != "lo"]
        found[name] = {
            ifname: (
                link_of(lan, name, ifname)["address"],
                link_of(lan, name, ifname)["linkinfo"]["info_data"]["mode"],
                "UP" in link_of(lan, name, ifname)["flags"],
                addresses_of(lan, name, ifname),
                addresses_of(lan, name, ifname, family="inet6"),
            )
            for ifname in links
        }
        found[f"{name} routes"] = [default_routes(lan, name, family) for family in ("-4", "-6")]
    return found


def assert_nothing_differs(lan: Lan) -> None:
    with support.unchanged(lan):
        assert lan.macvfast("check") == ""
        assert lan.macvfast("restore") == ""


def differences(lan: Lan) -> list[str]:
    """What check says, having changed nothing."""
    with support.unchanged(lan):
        done = lan.attempt("check")
        assert done.returncode == 7, done.stderr
        assert done.stderr == ""
    return done.stdout.splitlines()


# A reboot.


def test_after_a_reboot_everything_is_back_but_the_commands(lan: Lan, tmp_path: Path) -> None:
    lan.macvfast("create", "--net=pub_net", "--net=second", "--name=box")
    lan.macvfast("run", "-d", "--net=pub_net", "--name=busy", "sleep", "1000")
    before = shown(lan, "box", "busy")
    lose_everything(lan)
    with another_boot(tmp_path):
        said = differences(lan)
        assert "sandbox box: its namespace is gone" in said
        assert "sandbox busy: link eth0 on network pub_net is missing" in said
        with support.unchanged(lan):
            planned = lan.macvfast("restore", "--dry-run")
        assert lan.macvfast("restore") == planned
        assert planned.splitlines()[0] == "sandbox box: make its namespace"
        assert shown(lan, "box", "busy") == before
        assert lan.sandbox("box").can_ping("172.16.86.1", timeout_s=5)
        assert lan.sandbox("box").can_ping("fd00:86::1", timeout_s=5)
        assert lan.sandbox("box").can_ping("172.16.87.1", timeout_s=5)
        assert ps(lan, "busy")["State"] == "lost"
        assert_nothing_differs(lan)
        assert lan.macvfast("exec", "box", "true") == ""
        lan.macvfast("rm", "box", "busy")
    assert support.filter_macs(lan) == set()


def test_in_the_same_boot_another_home_namespace_is_refused(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    lan.router.environment = lan.host.environment
    for command in ("restore", "check", "gc"):
        with support.unchanged(lan):
            done = lan.router.attempt(netns.MACVFAST, command)
            assert "another network namespace" in check_error(done, 1)


def test_json_says_what_was_done_and_what_remains(lan: Lan, tmp_path: Path) -> None:
    lan.macvfast("create", "--net=pub_net", "--net=second", "--name=box")
    lose_everything(lan)
    lan.run("ip", "link", "del", "eth1")
    with another_boot(tmp_path):
        done = lan.attempt("restore", "--format", "json")
        assert done.returncode == 3
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(line["Kind"], line["Status"]) for line in lines] == [
            ("namespace-missing", "done"),
            ("link-missing", "done"),
            ("parent-missing", "remains"),
            ("link-missing", "remains"),
        ]
        lan.macvfast("rm", "box")


# Tampering hands.


@pytest.mark.parametrize(
    ("hand", "said"),
    [
        ("ip link del eth0", "link eth0 on network pub_net is missing"),
        ("ip address del 172.16.86.2/24 dev eth0", "has no address 172.16.86.2/24"),
        ("ip -6 address del fd00:86::2/64 dev eth0", "has no address fd00:86::2/64"),
        ("ip route del default", "has lost the IPv4 default route"),
        ("ip -6 route del default", "has lost the IPv6 default route"),
        ("echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "has no address fd00:86::2/64"),
        ("ip link set eth0 down", "is down"),
        ("ip link set eth0 down && ip link set eth0 name renamed", "is called renamed"),
        ("ip link set eth0 type macvlan mode private", "has mode private"),
        ("ip link set eth0 address 02:42:0a:00:00:99", "has MAC 02:42:0a:00:00:99, not 02:42:ac:10:56:02"),
    ],
)
def test_what_a_hand_undid_in_a_sandbox_is_done_again(lan: Lan, hand: str, said: str) -> None:
    lan.macvfast("create", "--net=pub_net", "--net=second", "--name=box")
    before = shown(lan, "box")
    lan.sandbox("box").run("sh", "-c", hand)
    (line,) = differences(lan)
    assert said in line
    lan.macvfast("restore")
    assert shown(lan, "box") == before
    assert lan.sandbox("box").can_ping("172.16.86.1", timeout_s=5)
    assert_nothing_differs(lan)


def test_a_default_route_that_a_hand_set_stays(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    lan.sandbox("box").run("ip", "route", "replace", "default", "via", "172.16.86.77")
    done = lan.attempt("restore")
    assert "another IPv4 default route is there" in check_error(done, 3)
    assert default_routes(lan, "box") == [("172.16.86.77", "eth0")]


def advertise(lan: Lan) -> None:
    """The router says once that it is one (RFC 4861, section 4.2): a default route for whoever listens."""

    def send() -> bool:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            to = ("ff02::1", 0, 0, socket.if_nametoindex("lan0"))
            return raw.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), to) > 0

    netns.on_thread_in(lan.router.path, send)


def advertised(lan: Lan) -> bool:
    """Whether `box` has the default route of a router that has just advertised itself."""
    # Until DAD has been done by both, neither sends nor receives.
    with contextlib.suppress(OSError):
        advertise(lan)
    routes = lan.sandbox("box").ip_json("-6", "route", "show", "default")
    return any(route.get("protocol") == "ra" for route in routes)


def test_a_default_route_that_a_router_advertises_is_not_in_the_way_of_ours(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    netns.wait_until(lambda: advertised(lan), what="the router's default route")
    before = shown(lan, "box")
    assert default_routes(lan, "box", "-6") == [("fd00:86::1", "eth0")]
    lan.sandbox("box").run("sh", "-c", "ip link set eth0 down; ip link set eth0 up")
    netns.wait_until(lambda: advertised(lan), what="the router's default route, before ours")
    assert default_routes(lan, "box", "-6") == []
    assert "has lost the IPv4 default route and has lost the IPv6 default route" in differences(lan)[0]
    lan.macvfast("restore")
    assert shown(lan, "box") == before
    assert advertised(lan)
    assert_nothing_differs(lan)


def test_links_come_back_when_their_parent_was_made_anew(lan: Lan) -> None:
    lan.macvfast("create", "--net=second", "--name=box")
    before = shown(lan, "box")
    lan.run("ip", "link", "del", "eth1")
    assert len(differences(lan)) == 2
    said = check_error(lan.attempt("restore"), 3)
    assert "link eth1 is not there" in said
    lan.add_parent("eth1", "lan1", far_address="172.16.87.1/24")
    lan.macvfast("restore")
    assert shown(lan, "box") == before
    assert lan.sandbox("box").can_ping("172.16.87.1", timeout_s=5)
    assert_nothing_differs(lan)


def test_links_are_made_on_a_parent_that_is_down_and_work_once_it_is_up(lan: Lan, tmp_path: Path) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    before = shown(lan, "box")
    lose_everything(lan)
    lan.run("ip", "link", "set", "eth0", "down")
    with another_boot(tmp_path):
        lan.macvfast("restore")
        lan.run("ip", "link", "set", "eth0", "up")
        assert shown(lan, "box") == before
        assert lan.sandbox("box").can_ping("172.16.86.1", timeout_s=5)
        assert_nothing_differs(lan)
        lan.macvfast("rm", "box")


# Nothing that works is deleted before its replacement is known to be possible.


@pytest.fixture
def jumbo(lan: Lan) -> None:
    """A sandbox `j1` on a network with an MTU of 9000, on `eth2`."""
    lan.add_parent("eth2", "lan2", far_address="172.16.88.1/24")
    lan.run("ip", "link", "set", "eth2", "mtu", "9000")
    lan.router.run("ip", "link", "set", "lan2", "mtu", "9000")
    options = ["--subnet=172.16.88.0/24", "--gateway=172.16.88.1", "-o", "parent=eth2", "-o", "mtu=9000"]
    lan.macvfast("network", "create", *options, "jumbo")
    lan.macvfast("create", "--net=jumbo", "--name=j1")


@pytest.mark.usefixtures("jumbo")
def test_a_link_whose_parents_mtu_fell_works_on_and_gets_its_own_back(lan: Lan) -> None:
    """What deletes a link because it is wrong, and only then finds that it cannot be made, breaks what worked."""
    before = link_of(lan, "j1")
    lan.run("ip", "link", "set", "eth2", "mtu", "1500")
    lan.sandbox("j1").run("ip", "route", "del", "default")
    done = lan.attempt("restore")
    said = check_error(done, 3)
    assert "sandbox j1: link eth0 on network jumbo has an MTU of 1500, not 9000 (eth2 has an MTU of 1500" in said
    assert link_of(lan, "j1")["ifindex"] == before["ifindex"]
    assert default_routes(lan, "j1") == [("172.16.88.1", "eth0")], "what could be mended was"
    assert lan.sandbox("j1").can_ping("172.16.88.1", timeout_s=5)
    lan.run("ip", "link", "set", "eth2", "mtu", "9000")
    lan.macvfast("restore")
    assert link_of(lan, "j1")["mtu"] == 9000
    assert lan.sandbox("j1").can_ping("172.16.88.1", timeout_s=5)
    assert_nothing_differs(lan)


@pytest.mark.usefixtures("jumbo")
@pytest.mark.parametrize(
    ("become", "said"),
    [
        ("bridge", "it is a port of bridge `br0`"),
        ("macvlan", "it is itself a macvlan"),
        ("tun", "it is no Ethernet link"),
    ],
)
def test_a_link_stays_on_its_renamed_parent_while_what_has_the_name_cannot_carry_it(
    lan: Lan, become: str, said: str
) -> None:
    before = link_of(lan, "j1")
    lan.run("ip", "link", "set", "eth2", "name", "old")
    makes = {
        "bridge": "ip link add br0 type bridge && ip link add eth2 master br0 type veth peer name far2",
        "macvlan": "ip link add eth2 link old type macvlan mode bridge",
        "tun": "ip tuntap add eth2 mode tun",
    }
    lan.run("sh", "-c", f"{makes[become]} && ip link set eth2 up")
    assert said in check_error(lan.attempt("restore"), 3)
    assert link_of(lan, "j1")["ifindex"] == before["ifindex"]
    assert lan.sandbox("j1").can_ping("172.16.88.1", timeout_s=5)
    lan.run("sh", "-c", "ip link del eth2; ip link set old name eth2")
    assert_nothing_differs(lan)


@pytest.mark.usefixtures("jumbo")
def test_with_wait_an_mtu_that_is_missing_is_waited_for(lan: Lan) -> None:
    lan.run("ip", "link", "set", "eth2", "mtu", "1500")
    with lan.host.start(netns.MACVFAST, "restore", "--wait=60") as process:
        netns.wait_until(lambda: waits(lan, process.pid) or process.poll() is not None, what="the wait")
        lan.run("ip", "link", "set", "eth2", "mtu", "9000")
        said, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert said == "sandbox j1: make link eth0 on network jumbo anew\n"
    assert_nothing_differs(lan)


def test_ipv6_that_a_small_mtu_took_for_good_comes_back(lan: Lan) -> None:
    """The kernel has no IPv6 on a link below an MTU of 1280, and does not raise a macvlan's with its parent's."""
    lan.macvfast("create", "--net=pub_net", "--name=box")
    before = shown(lan, "box")
    lan.run("ip", "link", "set", "eth0", "mtu", "1200")
    assert "too small for IPv6 (eth0 has an MTU of 1200" in check_error(lan.attempt("restore"), 3)
    assert lan.sandbox("box").can_ping("172.16.86.1", timeout_s=5)
    said = support.refused(lan, "create", "--net=pub_net", "--name=other")
    assert "its MTU of 1200 is too small for IPv6, which needs 1280" in said
    assert "ip link set eth0 mtu 1280" in said
    said = support.refused(lan, "network", "create", "--subnet=fd00:99::/64", "-o", "parent=eth0", "new")
    assert "its MTU of 1200 is too small for IPv6, which needs 1280" in said
    lan.run("ip", "link", "set", "eth0", "mtu", "1500")
    lan.macvfast("restore")
    assert shown(lan, "box") == before
    assert lan.sandbox("box").can_ping("fd00:86::1", timeout_s=5)
    assert_nothing_differs(lan)


# Pins.


def test_a_namespace_in_which_a_command_runs_is_pinned_again_and_the_command_goes_on(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    box = lan.sandbox("box")
    inode, pid = box.inode, wait_for_process(box.inode, "sleep", "1000")
    subprocess.run(["umount", box.path], check=True)
    (line,) = differences(lan)
    assert line == f"sandbox box: its namespace is not at {box.path}"
    assert lan.macvfast("restore") == "sandbox box: pin its namespace again"
    assert lan.sandbox("box").inode == inode
    assert wait_for_process(inode, "sleep", "1000") == pid
    assert ps(lan, "box")["State"] == "running"
    assert_nothing_differs(lan)


@pytest.mark.parametrize("file", ["stays", "goes"])
def test_a_namespace_that_died_with_its_pin_is_made_anew(lan: Lan, file: str) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    before = shown(lan, "box")
    path = lan.netns_dir / "box"
    subprocess.run(["umount", path], check=True)
    if file == "goes":
        path.unlink()
    lan.macvfast("restore")
    assert shown(lan, "box") == before
    assert_nothing_differs(lan)


def test_a_file_that_a_lost_pin_left_goes_with_its_sandbox(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    subprocess.run(["umount", lan.netns_dir / "box"], check=True)
    lan.macvfast("rm", "box")
    assert lan.sandbox_names() == []
    lan.macvfast("create", "--net=pub_net", "--name=box", "--ip=172.16.86.2")


def test_what_a_stranger_pinned_in_the_place_of_ours_stays(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    path = lan.netns_dir / "box"
    subprocess.run(["umount", path], check=True)
    subprocess.run(["mount", "--bind", lan.router.path, path], check=True)
    done = lan.attempt("restore")
    assert "another namespace is at" in check_error(done, 3)
    assert Netns(path).inode == lan.router.inode
    assert lan.router.link_names() == ["lan0", "lan1", "lo"]
    subprocess.run(["umount", path], check=True)
    lan.macvfast("restore")
    assert_nothing_differs(lan)


def in_its_place(lan: Lan, name: str) -> Netns:
    """Another namespace, somewhere else, with the inode number that the namespace of a sandbox had, which is gone.

    The lowest free number of the whole machine is given, once that of the dead is free: what somebody else takes first
    is tried again with another.
    """
    for _ in range(8):
        inode = lan.sandbox(name).inode
        lan.sandbox(name).unpin()
        with contextlib.suppress(TimeoutError):
            return _with_number(inode)
        lan.macvfast("restore")
    raise AssertionError("others have taken each number")


def _with_number(inode: int) -> Netns:
    """A new namespace with that inode number, once it is free."""
    others: list[Netns] = []

    def again() -> Netns | None:
        others.append(Netns.make("again"))
        return others.pop() if others[-1].inode == inode else None

    try:
        found = netns.wait_until(again, timeout_s=10, what="that the number is used again")
        assert found is not None
        return found
    finally:
        for other in others:
            other.unpin()


def test_another_namespace_with_the_inode_number_of_ours_is_not_taken_for_it(lan: Lan) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    before = shown(lan, "box")
    other = in_its_place(lan, "box")
    try:
        assert holders.find({other.inode}).holders[other.inode], "who looks for the number finds the other one"
        assert lan.api(lambda host: namespaces.find_again(host._parts.kernel, [host.sandbox("box")]).by_id) == {}
        assert "its namespace is gone" in lan.attempt("check").stdout
        lan.macvfast("restore")
        assert lan.sandbox("box").inode != other.inode
        assert other.link_names() == ["lo"]
    finally:
        other.remove()
    assert shown(lan, "box") == before
    assert_nothing_differs(lan)


# Waiting.


def test_with_wait_the_rest_is_made_at_once_and_each_network_as_its_parent_comes(lan: Lan, tmp_path: Path) -> None:
    lan.macvfast("create", "--net=pub_net", "--net=second", "--name=box")
    before = shown(lan, "box")
    lose_everything(lan)
    lan.run("ip", "link", "del", "eth1")
    with another_boot(tmp_path):
        with lan.host.start(netns.MACVFAST, "restore", "--wait=60") as process:
            netns.wait_until(
                lambda: "box" in lan.sandbox_names() and "eth0" in lan.sandbox("box").link_names(),
                what="the network whose parent is there",
            )
            assert process.poll() is None
            lan.add_parent("eth1", "lan1", far_address="172.16.87.1/24")
            said, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
        assert "sandbox box: make link eth1 on network second" in said.splitlines()
        assert shown(lan, "box") == before
        assert_nothing_differs(lan)
        lan.macvfast("rm", "box")


def test_the_wait_ends_at_its_bound_and_names_what_remains(lan: Lan) -> None:
    lan.run("ip", "link", "del", "eth1")
    done = lan.attempt("restore", "--wait=1")
    assert "its parent eth1 is missing" in check_error(done, 3)


def waits(lan: Lan, typed: int) -> bool:
    """Whether the process that does a command, itself or a worker of a server, waits and expects an interruption."""
    for pid in (typed, *(workers(lan) if lan.server else ())):
        with contextlib.suppress(OSError):
            if "poll" in Path(f"/proc/{pid}/wchan").read_text(encoding="ascii"):
                caught = int(status_of(pid)["SigCgt"], 16)
                if caught >> (signal.SIGINT - 1) & 1:
                    return True
    return False


def test_an_interrupted_wait_ends_at_once(lan: Lan) -> None:
    lan.run("ip", "link", "del", "eth1")
    with lan.host.start(netns.MACVFAST, "restore", "--wait=1000") as process:
        # Before that, the signal ends the process itself.
        netns.wait_until(lambda: waits(lan, process.pid) or process.poll() is not None, what="the wait")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


# kill -9.


def test_a_restore_that_is_killed_is_finished_by_the_next(lan: Lan, tmp_path: Path) -> None:
    names = [f"box{number}" for number in range(40)]
    with lan.host.start(sys.executable, "-c", MANY, str(lan.state_dir), *names) as process:
        assert process.wait(60) == 0
    lose_everything(lan)
    with another_boot(tmp_path):
        for count in (1, 5, 20):
            with lan.host.start(netns.MACVFAST, "restore") as process:
                netns.wait_until(
                    lambda count=count: len(lan.sandbox_names()) >= count or process.poll() is not None,  # type: ignore[misc]
                    what="some sandboxes",
                )
                process.kill()
        lan.macvfast("restore")
        assert_nothing_differs(lan)
        found = {support.address_of(lan, name) for name in names}
        assert found == {f"172.16.86.{number}" for number in range(2, 42)}
        lan.macvfast("rm", *names)
        assert support.filter_macs(lan) == set()


MANY = """
import sys
from macvfast import Host
with Host.open(sys.argv[1]) as host:
    host.connect_many("pub_net", sys.argv[2:]).raise_if_any()
"""


# Who holds a namespace.


HOLD_BY_A_DESCRIPTOR = "import sys, time; file = open(sys.argv[1]); print('ready', flush=True); time.sleep(1000)"
HOLD_BY_A_THREAD = """
import ctypes, os, sys, threading, time
def enter():
    with open(sys.argv[1]) as file:
        assert ctypes.CDLL(None).setns(file.fileno(), 0x40000000) == 0
    print("ready", flush=True)
    time.sleep(1000)
threading.Thread(target=enter).start()
"""


@pytest.mark.parametrize(("program", "said"), [(HOLD_BY_A_DESCRIPTOR, "descriptor "), (HOLD_BY_A_THREAD, "thread ")])
def test_rm_deletes_a_link_in_a_namespace_that_is_held_and_says_by_whom(lan: Lan, program: str, said: str) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    path = str(lan.netns_dir / "box")
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            done = lan.attempt("rm", "box")
            assert done.returncode == 0, done.stderr
            assert f"process {holder.pid} (python" in done.stderr
            assert said in done.stderr
            assert support.filter_macs(lan) == set()
        finally:
            holder.kill()


def test_rm_names_the_mount_that_keeps_a_namespace(lan: Lan, tmp_path: Path) -> None:
    lan.macvfast("create", "--net=pub_net", "--name=box")
    place = tmp_path / "a place"
    place.touch()
    subprocess.run(["mount", "--bind", lan.netns_dir / "box", place], check=True)
    try:
        assert f"mount {place}" in lan.attempt("rm", "box").stderr
        assert support.filter_macs(lan) == set()
    finally:
        subprocess.run(["umount", place], check=True)


# gc.


def test_gc_drops_what_stood_for_a_namespace_that_is_gone(lan: Lan) -> None:
    theirs = Netns.make("theirs")
    lan.macvfast("network", "connect", "--netns", str(theirs.path), "pub_net", "guest")
    lan.macvfast("create", "--net=pub_net", "--name=box")
    assert lan.macvfast("gc") == ""
    theirs.remove()
    # Until the kernel has let go of it, the parent's filter list changes by itself.
    netns.wait_until(lambda: "02:42:ac:10:56:02" not in support.filter_macs(lan), what="the end of the guest's link")
    (line,) = differences(lan)
    assert "is not at" in line
    assert lan.macvfast("gc").startswith("sandbox guest: the namespace at")
    assert_nothing_differs(lan)
    lan.macvfast("create", "--net=pub_net", "--name=heir", "--ip=172.16.86.2")


def test_an_endpoint_waits_for_its_given_namespace_over_a_reboot(lan: Lan, tmp_path: Path) -> None:
    theirs = Netns.make("theirs")
    path = str(theirs.path)
    lan.macvfast("network", "connect", "--netns", path, "pub_net", "guest")
    theirs.remove()
    with another_boot(tmp_path):
        assert "the namespace that it stands for" in check_error(lan.attempt("restore"), 3)
        subprocess.run(["ip", "netns", "add", theirs.name], check=True)
        try:
            lan.macvfast("restore")
            assert theirs.link_names() == ["eth0", "lo"]
            assert_nothing_differs(lan)
            lan.macvfast("rm", "guest")
            assert theirs.link_names() == ["lo"]
        finally:
            theirs.remove()


def test_gc_removes_what_was_to_go_with_a_command_whose_keeper_was_killed(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--rm", "--net=pub_net", "--name=box", "sleep", "1000")
    wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
    assert lan.macvfast("gc") == ""
    os.kill(support.keeper(lan), signal.SIGKILL)
    netns.kill_all(lambda: support.programs(lan))
    netns.wait_until(lambda: ps(lan, "box")["State"] == "lost", what="the end of the command")
    assert "--rm" in lan.macvfast("gc")
    assert lan.sandbox_names() == []
    assert support.filter_macs(lan) == set()


# Parents that macvfast makes.


def lose_parents(lan: Lan, *ifnames: str) -> None:
    for ifname in ifnames:
        lan.run("ip", "link", "del", ifname)


def ifindex(lan: Lan, ifname: str) -> int:
    (link,) = lan.host.ip_json("link", "show", "dev", ifname)
    return int(link["ifindex"])


@pytest.fixture
def tagged(lan: Lan) -> str:
    """Networks on a sub-interface and on a dummy, and a sandbox on both; the dummy's name."""
    lan.router.run("ip", "link", "add", "link", "lan0", "name", "lan0.50", "type", "vlan", "id", "50")
    lan.router.run("ip", "address", "add", "172.16.50.1/24", "dev", "lan0.50")
    lan.router.run("ip", "link", "set", "lan0.50", "up")
    lan.macvfast("network", "create", "--subnet=172.16.50.0/24", "-o", "parent=eth0.50", "tagged")
    id_ = lan.macvfast("network", "create", "--subnet=172.16.51.0/24", "local")
    lan.macvfast("create", "--net=tagged", "--net=local", "--name=box")
    return f"dm-{id_[:12]}"


@pytest.mark.needs("vlan", "dummy")
def test_after_a_reboot_sub_interfaces_and_dummies_are_made_again(lan: Lan, tmp_path: Path, tagged: str) -> None:
    before = shown(lan, "box")
    old = ifindex(lan, "eth0.50")
    lose_everything(lan)
    lose_parents(lan, "eth0.50", tagged)
    with another_boot(tmp_path):
        said = lan.macvfast("restore").splitlines()
        assert said[:2] == [
            f"network local: make dummy link {tagged}",
            "network tagged: make sub-interface eth0.50, VLAN 50 on eth0",
        ]
        (link,) = lan.host.ip_json("link", "show", "dev", "eth0.50")
        assert (link["linkinfo"]["info_data"]["id"], "UP" in link["flags"]) == (50, True)
        assert link["ifindex"] != old
        assert shown(lan, "box") == before
        assert lan.sandbox("box").can_ping("172.16.50.1", timeout_s=5)
        assert_nothing_differs(lan)
        lan.macvfast("rm", "box")
        lan.macvfast("network", "rm", "tagged", "local")
        assert lan.host.link_names() == ["eth0", "eth1", "lo"]


@pytest.mark.needs("vlan", "dummy")
def test_a_stranger_under_the_name_of_our_sub_interface_stays(lan: Lan, tmp_path: Path, tagged: str) -> None:
    lose_everything(lan)
    lose_parents(lan, "eth0.50", tagged)
    lan.run("ip", "link", "add", "link", "eth0", "name", "eth0.50", "type", "vlan", "id", "50")
    theirs = ifindex(lan, "eth0.50")
    with another_boot(tmp_path):
        said = check_error(lan.attempt("restore"), 3)
        assert "eth0.50 that macvfast did not make" in said
        assert ifindex(lan, "eth0.50") == theirs
        assert lan.sandbox("box").link_names() == ["eth1", "lo"], "the rest is there"
        lose_parents(lan, "eth0.50")
        lan.macvfast("restore")
        assert_nothing_differs(lan)
        lan.macvfast("rm", "box")


@pytest.mark.needs("vlan", "dummy")
def test_a_base_that_is_down_is_waited_for(lan: Lan, tmp_path: Path, tagged: str) -> None:
    before = shown(lan, "box")
    lose_everything(lan)
    lose_parents(lan, "eth0.50", tagged)
    lan.run("ip", "link", "set", "eth0", "down")
    with another_boot(tmp_path):
        with lan.host.start(netns.MACVFAST, "restore", "--wait=120") as process:
            netns.wait_until(
                lambda: "box" in lan.sandbox_names() and "eth1" in lan.sandbox("box").link_names(),
                what="the network that needs no NIC", timeout_s=60,
            )  # fmt: skip
            assert process.poll() is None
            lan.run("ip", "link", "set", "eth0", "up")
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
        assert shown(lan, "box") == before
        assert lan.sandbox("box").can_ping("172.16.50.1", timeout_s=5)
        assert_nothing_differs(lan)
        lan.macvfast("rm", "box")


@pytest.mark.needs("vlan", "dummy")
def test_a_sub_interface_that_a_hand_deleted_or_set_down_comes_back(lan: Lan, tagged: str) -> None:
    before = shown(lan, "box")
    lan.run("ip", "link", "set", "eth0.50", "down")
    assert lan.macvfast("restore") == "network tagged: bring up eth0.50"
    lose_parents(lan, "eth0.50", tagged)
    lan.macvfast("restore")
    assert shown(lan, "box") == before
    assert lan.sandbox("box").can_ping("172.16.50.1", timeout_s=5)
    assert_nothing_differs(lan)


@pytest.mark.needs("ipvlan")
def test_an_ipvlan_endpoint_comes_back_with_its_route(lan: Lan, tmp_path: Path) -> None:
    lan.macvfast("network", "rm", "second")
    lan.macvfast(
        "network", "create", "-d", "ipvlan", "--subnet=172.16.87.0/24", "-o", "parent=eth1", "-o", "ipvlan_mode=l3",
        "routed",
    )  # fmt: skip
    lan.macvfast("create", "--net=routed", "--name=box")
    before = [(addresses_of(lan, "box"), default_routes(lan, "box"))]
    lose_everything(lan)
    with another_boot(tmp_path):
        lan.macvfast("restore")
        assert [(addresses_of(lan, "box"), default_routes(lan, "box"))] == before
        assert_nothing_differs(lan)
        lan.macvfast("rm", "box")
