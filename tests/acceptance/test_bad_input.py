"""Everything that can be typed wrong: one error, the exit status of its kind, nothing on stdout, nothing changed.

One bed serves the whole table, since each row leaves it as it was. Rows are grouped by what they are about; the word
is one that the error cannot do without.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.support import refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "bridge")

PARENT = "-o parent=eth1"


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """A host on which much is taken.

    `pub_net` on eth0 with `box` at .10, `tiny` with its one address in use, eth1 free, eth2 a bridge's port, eth3
    under the macvlan mv0, eth4 down; and a directory of things that are no namespaces.
    """
    directory = tmp_path_factory.mktemp("bad-input")
    made = netns.Lan(directory)
    try:
        for number in range(1, 6):
            made.add_parent(f"eth{number}", f"lan{number}")
        made.run("ip", "link", "add", "br0", "type", "bridge")
        made.run("ip", "link", "set", "eth2", "master", "br0")
        made.run("ip", "link", "add", "mv0", "link", "eth3", "type", "macvlan", "mode", "bridge")
        made.run("ip", "link", "set", "eth4", "down")
        support.create_pub_net(made, "--aux-address=exclude_host=172.16.86.250")
        made.macvfast("network", "create", "--subnet=10.9.0.0/30", "-o", "parent=eth5", "tiny")
        made.macvfast("create", "--net=pub_net", "--name=box", "--ip=172.16.86.10", "--mac-address=02:00:5e:00:53:01")
        made.macvfast("create", "--net=tiny", "--name=full")
        made.macvfast("create", "--name=loose")
        made.macvfast("run", "-d", "--name=busy", "sleep", "1000")
        (directory / "file").write_text("no namespace\n")
        (directory / "directory").mkdir()
        os.mkfifo(directory / "fifo")
        (directory / "dangling").symlink_to("nowhere")
        yield made
    finally:
        made.remove()


def network(arguments: str) -> str:
    """A row that makes a network on a parent that is free."""
    return f"network create {PARENT} {arguments} lab"


# The command line, the exit status, and a word of the error.
Row = tuple[str, int, str]

SUBNETS: list[Row] = [
    (network("--subnet=172.16.86.0"), 1, "172.16.86.0"),
    (network("--subnet=10.0.0.0/33"), 1, "10.0.0.0/33"),
    (network("--subnet=10.0.0.0/7"), 1, "/8"),
    (network("--subnet=300.0.0.0/24"), 1, "300.0.0.0/24"),
    (network("--subnet=10.0.0.0/-1"), 1, "10.0.0.0/-1"),
    (network("--subnet=nonsense"), 1, "nonsense"),
    (network("--subnet="), 2, "subnet"),
    (network("--subnet=192.168.1.5/24"), 1, "--subnet=192.168.1.0/24"),
    (network("--subnet=fd00::1/64"), 1, "--subnet=fd00::/64"),
    (network("--subnet=fc00::/7"), 1, "fc00::/7"),
    (network("--subnet=10.0.0.0/24 --subnet=10.0.0.0/25"), 1, "overlap"),
    (network("--subnet=10.0.0.0/24 --subnet=10.0.0.0/24"), 1, "overlap"),
    (network(""), 1, "subnet is missing"),
    (network("--gateway=10.0.0.1"), 1, "subnet"),
    (network("--ipv6 --subnet=10.0.0.0/24"), 1, "no IPv6 subnet"),
    (network("--no-ipv6 --subnet=fd00::/64"), 1, "ipv6"),
    (network("--subnet=224.0.0.0/24"), 1, "224.0.0.0/24"),
    (network("--subnet=127.0.0.0/24"), 1, "127.0.0.0/24"),
    (network("--subnet=0.0.0.0/24"), 1, "0.0.0.0/24"),
    (network("--subnet=ff02::/64"), 1, "ff02::/64"),
    (network("--subnet=::/127"), 1, "::1/128"),
]

RANGES: list[Row] = [
    (network("--subnet=10.0.0.0/24 --ip-range=10.0.1.0/25"), 1, "10.0.1.0/25"),
    (network("--subnet=10.0.0.0/24 --ip-range=10.0.0.0/16"), 1, "10.0.0.0/16"),
    (network("--subnet=10.0.0.0/24 --ip-range=10.0.0.1/25"), 1, "10.0.0.0/25"),
    (network("--subnet=10.0.0.0/24 --ip-range=fd00::/64"), 1, "fd00::/64"),
    (network("--subnet=10.0.0.0/24 --ip-range=10.0.0.9-10.0.0.8"), 1, "10.0.0.9-10.0.0.8"),
    (network("--subnet=10.0.0.0/24 --ip-range=10.0.0.9-10.0.1.8"), 1, "10.0.0.9-10.0.1.8"),
    (network("--subnet=10.0.0.0/24 --ip-range=10.0.0.9-fd00::1"), 1, "10.0.0.9-fd00::1"),
    (network("--subnet=10.0.0.0/24 --ip-range=10.0.0.128/23"), 1, "not within subnet 10.0.0.0/24"),
    (network("--subnet=10.0.0.0/24 --ip-range=some"), 1, "some"),
    (network("--subnet=10.0.0.0/24 --ip-range=-"), 1, "ip-range"),
]

GATEWAYS: list[Row] = [
    (network("--subnet=10.0.0.0/24 --gateway=10.0.1.1"), 1, "10.0.1.1"),
    (network("--subnet=10.0.0.0/24 --gateway=fd00::1"), 1, "fd00::1"),
    (network("--subnet=10.0.0.0/24 --gateway=10.0.0.0"), 1, "10.0.0.0"),
    (network("--subnet=10.0.0.0/24 --gateway=10.0.0.255"), 1, "10.0.0.255"),
    (network("--subnet=10.0.0.0/24 --gateway=router"), 1, "router"),
    (network("--subnet=10.0.0.0/24 --gateway=10.0.0.1 --gateway=10.0.0.2"), 1, "10.0.0.1"),
    (network("--subnet=10.0.0.0/24 --aux-address=a=10.0.1.1"), 1, "10.0.1.1"),
    (network("--subnet=10.0.0.0/24 --aux-address=a=fd00::1"), 1, "fd00::1"),
    (network("--subnet=10.0.0.0/24 --aux-address=a=x"), 1, "a=x"),
    (network("--subnet=10.0.0.0/24 --aux-address=a=10.0.0.1"), 1, "--gateway"),
    (network("--subnet=10.0.0.0/24 --gateway=10.0.0.1 --aux-address=a=10.0.0.1"), 1, "gateway"),
    (network("--subnet=10.0.0.0/24 --aux-address=a=10.0.0.0"), 1, "10.0.0.0"),
    (network("--subnet=10.0.0.0/24 --aux-address=a=10.0.0.255"), 1, "10.0.0.255"),
    (network("--subnet=10.0.0.0/24 --aux-address=a=10.0.0.9 --aux-address=b=10.0.0.9"), 1, "10.0.0.9"),
    (network("--subnet=10.0.0.0/24 --aux-address=a=10.0.0.9 --aux-address=a=10.0.0.8"), 1, "`a`"),
]

OPTIONS: list[Row] = [
    (network("--subnet=10.0.0.0/24 -o macvlan_mode=Bridge"), 1, "bridge, private, vepa, passthru"),
    (network("--subnet=10.0.0.0/24 -o ipvlan_mode=l2"), 1, "macvlan_mode"),
    (network("--subnet=10.0.0.0/24 -o com.docker.network.driver.mtu=1400"), 1, "mtu"),
    (network("--subnet=10.0.0.0/24 -o mtu=1501"), 1, "1500"),
    (network("--subnet=10.0.0.0/24 -o mtu=67"), 1, "68"),
    (network("--subnet=10.0.0.0/24 -o mtu=many"), 1, "many"),
    (network("--subnet=10.0.0.0/24 -o share_parent=maybe"), 1, "true, false"),
    (network("--subnet=10.0.0.0/24 -o share_parent=true -o macvlan_mode=passthru"), 1, "passthru"),
    (network("--subnet=10.0.0.0/24 -o ipam_order=random"), 1, "lowest, next"),
    (network("--subnet=10.0.0.0/24 -o ipv6_ra=never"), 1, "on, off"),
    (network("--subnet=10.0.0.0/24 -o macvlan_mode"), 2, "macvlan_mode"),
    # The stray `-o \` of the guide's own example.
    (network("--subnet=10.0.0.0/24 -o -o macvlan_mode=bridge"), 2, "leave out the stray `-o`"),
    (network("--subnet=10.0.0.0/24 -d bridge"), 1, "ipvlan"),
    (network("--subnet=10.0.0.0/24 -d ipvlan -o ipvlan_mode=l4"), 1, "l2, l3, l3s"),
    (network("--subnet=10.0.0.0/24 --label=nothing --colour=red"), 2, "--colour"),
    ("network create", 2, "needs NAME"),
    ("network create one two", 2, "two"),
    ("network recreate lab", 2, "recreate"),
    ("network rm", 2, "needs NETWORK"),
    ("--no-such-flag ps", 2, "--no-such-flag"),
    ("no-such-command", 2, "no-such-command"),
    ("ps -f colour=red", 1, "colour"),
]

PARENTS: list[Row] = [
    ("network create --subnet=10.0.0.0/24 -o parent=lo lab", 1, "loopback"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth9 lab", 1, "`eth9` not found"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth9.50 lab", 1, "eth9"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth1.0 lab", 1, "4094"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth1.4095 lab", 1, "4094"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth1.050 lab", 1, "4094"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth1.abc lab", 1, "abc"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth1. lab", 1, "eth1."),
    ("network create --subnet=10.0.0.0/24 -o parent=.50 lab", 1, ".50"),
    ("network create --subnet=10.0.0.0/24 -o parent=lo.50 lab", 1, "loopback"),
    ("network create --subnet=10.0.0.0/24 -o parent= lab", 1, "parent"),
    ("network create --subnet=10.0.0.0/24 -o parent=a/b lab", 1, "a/b"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth2 lab", 1, "`br0`"),
    ("network create --subnet=10.0.0.0/24 -o parent=mv0 lab", 1, "eth3"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth3 -o macvlan_mode=passthru lab", 1, "`mv0`"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth3 -d ipvlan lab", 1, "`mv0`"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth4.50 lab", 1, "down"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth0 lab", 1, "`pub_net` holds it"),
    ("network create --subnet=10.0.0.0/24 -o parent=eth0 -d ipvlan lab", 1, "`pub_net` holds it"),
    (network("--subnet=10.0.0.0/24").replace(" lab", " pub_net"), 1, "exists already"),
]

ADDRESSES: list[Row] = [
    ("create --net=pub_net --ip=172.16.86.10", 1, "`box`"),
    ("create --net=pub_net --ip=172.16.86.0", 1, "network address"),
    ("create --net=pub_net --ip=172.16.86.255", 1, "broadcast address"),
    ("create --net=pub_net --ip=172.16.86.1", 1, "gateway"),
    ("create --net=pub_net --ip=172.16.86.250", 1, "exclude_host"),
    ("create --net=pub_net --ip=172.16.87.9", 1, "172.16.86.0/24"),
    ("create --net=pub_net --ip=fd00::9", 1, "fd00::9"),
    ("create --net=pub_net --ip=172.16.86.999", 1, "172.16.86.999"),
    ("create --net=pub_net --ip=172.16.86.9/24", 1, "172.16.86.9/24"),
    ("create --net=pub_net --ip=0.0.0.0", 1, "0.0.0.0"),
    ("create --net=pub_net --ip6=fd00::9", 1, "fd00::9"),
    ("create --net=pub_net --ip6=172.16.86.9", 1, "172.16.86.9"),
    ("create --net=pub_net --ip6=::ffff:172.16.86.9", 1, "mapped"),
    ("create --net=pub_net --ip6=fe80::1%eth0", 1, "fe80::1%eth0"),
    ("create --net=tiny", 1, "no free IPv4 address"),
    ("create --ip=172.16.86.9", 2, "net"),
    ("create --net=pub_net --mac-address=01:00:5e:00:00:01", 1, "multicast"),
    ("create --net=pub_net --mac-address=ff:ff:ff:ff:ff:ff", 1, "multicast"),
    ("create --net=pub_net --mac-address=00:00:00:00:00:00", 1, "zero"),
    ("create --net=pub_net --mac-address=02:00:5e:00:53", 1, "02:00:5e:00:53"),
    ("create --net=pub_net --mac-address=02:00:5e:00:53:0g", 1, "02:00:5e:00:53:0g"),
    ("create --net=pub_net --mac-address=02:00:5e:00:53:01", 1, "`box`"),
    ("create --net=missing", 1, "`missing` not found"),
    ("create --net=pub_net --net=pub_net", 1, "pub_net"),
    ("create --net=pub_net --net=tiny", 1, "no free IPv4 address"),
    ("network connect pub_net loose --ip=172.16.86.10", 1, "`box`"),
    ("network connect tiny loose", 1, "no free IPv4 address"),
    ("run --net=pub_net --ip=172.16.86.10 true", 125, "`box`"),
    ("run --net=tiny true", 125, "no free IPv4 address"),
    ("run --net=pub_net --mac-address=01:00:5e:00:00:01 true", 125, "multicast"),
]

NAMES: list[Row] = [
    ("create --name=box", 1, "exists already"),
    ("create --name=a/b", 1, "a/b"),
    ("create --name=..", 1, ".."),
    ("create --name=.hidden", 1, ".hidden"),
    ("create --name=", 1, "name"),
    ("create --name=größe", 1, "größe"),
    (f"create --name={'n' * 300}", 1, "nnn"),
    (f"create --name={'n' * 129}", 1, "nnn"),
    ("create --name=red\x1b[31m", 1, "\\x1b[31m"),
    ("create --name=new\nline", 1, "new\\nline"),
    ("create --name=\udcff", 1, "name"),
    ("run --name=a/b true", 125, "a/b"),
    ("run --name=box true", 125, "exists already"),
    (network("--subnet=10.0.0.0/24").replace(" lab", " a/b"), 1, "a/b"),
    (network("--subnet=10.0.0.0/24").replace(" lab", " größe"), 1, "größe"),
    (network("--subnet=10.0.0.0/24").replace(" lab", f" {'n' * 300}"), 1, "nnn"),
    (network("--subnet=10.0.0.0/24").replace(" lab", " -- -lab"), 1, "-lab"),
    ("network rm no/such", 1, "no/such"),
    ("rm missing", 1, "missing"),
    ("rm busy", 1, "rm -f busy"),
    ("exec missing true", 125, "missing"),
    ("network disconnect pub_net loose", 1, "not connected"),
]

NAMESPACES: list[Row] = [
    ("network connect --netns={directory}/file pub_net guest", 1, "not a network namespace"),
    ("network connect --netns={directory}/directory pub_net guest", 1, "not a network namespace"),
    ("network connect --netns={directory}/fifo pub_net guest", 1, "not a network namespace"),
    ("network connect --netns={directory}/dangling pub_net guest", 1, "not a network namespace"),
    ("network connect --netns={directory}/missing pub_net guest", 1, "not a network namespace"),
    ("network connect --netns=/proc/self/ns/mnt pub_net guest", 1, "not a network namespace"),
    ("network connect --netns=/dev/null pub_net guest", 1, "not a network namespace"),
    ("network connect --netns= pub_net guest", 2, "`--netns` was given nothing"),
    ("network connect --netns={home} pub_net guest", 1, "home namespace"),
    ("network connect --pid=0 pub_net guest", 2, "0"),
    ("network connect --pid=-1 pub_net guest", 2, "-1"),
    ("network connect --pid=4194305 pub_net guest", 1, "4194305"),
    ("network connect --pid=some pub_net guest", 2, "some"),
    ("network connect --netns={router} --pid=1 pub_net guest", 2, "--pid"),
    ("network connect --netns={router} pub_net loose", 1, "another namespace"),
    ("run --rootfs={directory}/missing true", 125, "root file system"),
    (f"run --rootfs=/{'x' * 300} true", 125, "root file system"),
    (f"run --rootfs=/{'x' * 5000} true", 125, "root file system"),
    (f"run -w /{'x' * 300} true", 126, "to start in"),
    (f"run /{'x' * 300}", 127, "not found"),
    ("create --dns-search \udcff --name box", 1, "it is one word"),
    ("create --add-host \udcff:10.0.0.1 --name box", 1, "it has the form NAME:ADDRESS"),
    ("run --rootfs={directory}/file true", 125, "root file system"),
    ("run --rootfs={directory}/directory true", 125, "root file system"),
]

TABLE: list[Row] = [*SUBNETS, *RANGES, *GATEWAYS, *OPTIONS, *PARENTS, *ADDRESSES, *NAMES, *NAMESPACES]


def _id(row: Row) -> str:
    text = row[0].encode("ascii", "backslashreplace").decode().encode("unicode_escape").decode()
    return text if len(text) <= 110 else f"{text[:110]}... ({len(text)})"


@pytest.mark.parametrize(("line", "status", "word"), TABLE, ids=[_id(row) for row in TABLE])
def test_refused(lan: Lan, line: str, status: int, word: str) -> None:
    directory = lan.state_dir.parent
    line = line.format(directory=directory, home=lan.host.path, router=lan.router.path) if "{" in line else line
    try:
        said = refused(lan, *(word for word in line.split(" ") if word), status=status)
    except AssertionError:
        # What was not refused must not make others fail.
        lan.attempt("network", "rm", "lab")
        raise
    assert word in said


def test_every_refusal_has_its_place_in_the_table_once_and_a_word() -> None:
    lines = [line for line, _, _ in TABLE]
    assert len(lines) == len(set(lines))
    assert [line for line, _, word in TABLE if not word] == []
