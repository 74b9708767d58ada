"""`linkInContainer`: the parent is a link of the container's own namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance.serving import COMMAND
from tests.acceptance.test_cni import Runtime, recorded
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan")

RANGE = {"subnet": "10.5.0.0/24", "rangeStart": "10.5.0.20", "rangeEnd": "10.5.0.21"}


@pytest.fixture
def far() -> Iterator[Netns]:
    """What is at the other end of the containers' own links."""
    made = netns.Netns.make("far")
    yield made
    made.remove()


def has_up(container: Netns, far: Netns, number: int) -> None:
    """Give a container a link of its own, `up0`."""
    far.run("ip", "link", "add", f"far{number}", "type", "veth", "peer", "name", "up0", "netns", container.name)
    container.ip_batch("link set up0 up")
    far.ip_batch(f"link set far{number} up", f"address add 10.5.0.{number}/32 dev far{number}")


@pytest.fixture
def node(told: Lan, foreign: Netns, far: Netns, tmp_path: Path) -> Runtime:
    """A runtime whose container has `up0`, where the host has no such link."""
    has_up(foreign, far, 1)
    found = Runtime(told, foreign)
    found.conf = {
        "cniVersion": "1.1.0", "name": "pods", "type": "macvlan", "master": "up0", "linkInContainer": True,
        "ipam": {"type": "host-local", "dataDir": str(tmp_path / "kept"), "ranges": [[RANGE]]},
    }  # fmt: skip
    found.variables["CNI_IFNAME"] = "eth0"
    return found


BOTH = pytest.mark.usefixtures("either_way")


@BOTH
@pytest.mark.parametrize("mode", ["bridge", "private", "passthru"])
def test_a_link_is_made_on_a_link_of_the_container_and_goes_with_its_attachment(
    node: Runtime, foreign: Netns, mode: str
) -> None:
    result = node.ok("ADD", mode=mode, mtu=1400)
    assert [one["address"] for one in result["ips"]] == ["10.5.0.20/24"]
    assert result["interfaces"][0]["mtu"] == 1400
    (link,) = foreign.ip_json("-details", "link", "show", "eth0")
    assert (link["link"], link["linkinfo"]["info_data"]["mode"]) == ("up0", mode)
    assert link["address"] == result["interfaces"][0]["mac"]
    assert node.ok("CHECK", prevResult=result, mode=mode, mtu=1400) == {}
    assert node.lan.macvfast("check") == ""
    assert node.code("ADD", mode=mode, mtu=1400) == 107
    node.ok("DEL")
    assert foreign.link_names() == ["lo", "up0"]
    # A DEL is answered before all is done.
    wait_until(lambda: recorded(node.lan) == [], what="the end of the removal")
    assert node.ok("ADD", mode=mode, mtu=1400)["ips"][0]["address"] == "10.5.0.21/24"
    node.ok("DEL")


def test_each_container_has_its_own_parent_to_itself(node: Runtime, far: Netns) -> None:
    """In passthru mode, too: another container has another link of that name."""
    node.ok("ADD", mode="passthru")
    second = netns.Netns.make("second")
    has_up(second, far, 3)
    node.variables |= {"CNI_NETNS": str(second.path), "CNI_CONTAINERID": "second"}
    assert node.ok("ADD", mode="passthru")["ips"][0]["address"] == "10.5.0.21/24"
    node.variables["CNI_IFNAME"] = "eth1"
    assert node.code("ADD", mode="passthru") not in (0, None)
    second.remove()


def test_what_is_on_it_answers(node: Runtime, foreign: Netns, far: Netns) -> None:
    node.ok("ADD")
    far.run("ip", "route", "add", "10.5.0.20/32", "dev", "far1")
    foreign.run("ip", "link", "set", "eth0", "up")
    assert far.can_ping("10.5.0.20")
    node.ok("DEL")


def test_the_same_subnet_on_a_link_of_the_host_has_addresses_of_its_own(node: Runtime, foreign: Netns) -> None:
    """It is in another domain, by the name of the configuration."""
    assert node.ok("ADD")["ips"][0]["address"] == "10.5.0.20/24"
    node.variables["CNI_IFNAME"] = "net1"
    at_home = {"linkInContainer": False, "master": "eth0", "name": "home"}
    assert node.ok("ADD", **at_home)["ips"][0]["address"] == "10.5.0.20/24"
    node.ok("DEL", **at_home)
    assert sorted(foreign.link_names()) == ["eth0", "lo", "up0"]
    node.variables["CNI_IFNAME"] = "eth0"
    node.ok("DEL")


def test_without_such_a_link_in_the_container_nothing_is_made(node: Runtime, foreign: Netns) -> None:
    """`eth0` of the host is none."""
    assert node.code("ADD", master="eth0") == 100
    assert foreign.link_names() == ["lo", "up0"]
    assert recorded(node.lan) == []
    assert node.code("ADD", mtu=9000) not in (0, None)
    assert foreign.link_names() == ["lo", "up0"]


def test_a_container_that_is_gone_has_its_address_freed(node: Runtime, far: Netns) -> None:
    """Its namespace was seen to end, and its links with it."""
    gone = netns.Netns.make("gone")
    has_up(gone, far, 2)
    node.variables["CNI_NETNS"] = str(gone.path)
    node.ok("ADD")
    gone.remove()
    assert node.ok("DEL") == {}
    wait_until(lambda: recorded(node.lan) == [], what="the end of the removal")
    (usage,) = node.lan.api(lambda host: host.usage("cni-pods"))
    assert usage.total.free == 256 - 2 - 1


def test_its_parent_is_known_by_its_index_whatever_it_is_called(node: Runtime, foreign: Netns, far: Netns) -> None:
    """Wrong: the owner of the container gives its name to another link, and `restore` makes the link there."""
    node.ok("ADD")
    far.run("ip", "link", "add", "far9", "type", "veth", "peer", "name", "up9", "netns", foreign.name)
    foreign.ip_batch("link del eth0", "link set up0 down", "link set up0 name old", "link set up9 name up0")
    foreign.ip_batch("link set up0 up", "link set old up")
    node.lan.macvfast("restore")
    (link,) = foreign.ip_json("link", "show", "eth0")
    assert link["link"] == "old"
    assert node.lan.macvfast("check") == ""
    # Another one with its index, on another parent.
    foreign.ip_batch(
        "link del eth0",
        f"link add link up0 index {link['ifindex']} name eth0 address {link['address']} type macvlan mode bridge",
    )
    done = node.lan.host.attempt(COMMAND, "check")
    assert "is on another link than up0" in done.stdout
    foreign.ip_batch("link del old", "link del eth0")
    done = node.lan.host.attempt(COMMAND, "restore")
    assert "on which it was, is gone" in done.stdout + done.stderr
    assert sorted(foreign.link_names()) == ["lo", "up0"]
    node.ok("DEL")
