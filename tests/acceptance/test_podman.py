"""The command as a plugin of Podman's, by way of netavark, with a server and without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.netavark import Podman

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan")

WEB, DB = "3f" * 32, "db" * 32
SUBNET = "172.16.86.0/24"


@pytest.fixture
def podman(told: Lan, tmp_path: Path) -> Podman:
    return Podman(told, tmp_path)


@pytest.fixture(params=["with a server", "without"])
def either(request: pytest.FixtureRequest, podman: Podman) -> Podman:
    """A plugin that is served, and one that is not."""
    if request.param == "without":
        if podman.lan.server is not None:
            pytest.skip("the bed has a server")
    elif podman.lan.server is None:
        podman.lan.serve()
    return podman


@pytest.fixture
def another() -> Iterator[Netns]:
    """The namespace of another container."""
    made = netns.Netns.make("another")
    yield made
    made.remove()


# What is done.


def test_it_says_which_interface_it_has(podman: Podman) -> None:
    for words in (("info",), ()):
        assert podman.ok(*words) == {"version": podman.ok("info")["version"], "api_version": "1.0.0"}


def test_a_container_is_attached_and_detached(either: Podman, foreign: Netns) -> None:
    made = either.create("lan", SUBNET)
    assert made["subnets"] == [{"subnet": SUBNET, "gateway": "172.16.86.1"}]
    assert (made["ipam_options"], made["dns_enabled"]) == ({"driver": "none"}, False)
    eth0 = either.setup(foreign, WEB, "lan")["eth0"]
    (link,) = foreign.ip_json("address", "show", "dev", "eth0")
    assert eth0 == {
        "mac_address": link["address"], "subnets": [{"ipnet": "172.16.86.2/24", "gateway": "172.16.86.1"}],
    }  # fmt: skip
    assert foreign.can_ping("172.16.86.1")
    (listed,) = support.listed(either.lan, "network", "ls")
    assert (listed["Name"], listed["Origin"]) == ("podman-lan", "podman")
    either.teardown(foreign, WEB, "lan")
    assert foreign.link_names() == ["lo"]
    either.teardown(foreign, WEB, "lan")
    netns.wait_until(lambda: not support.listed(either.lan, "ps", "-a", "--all-origins"))
