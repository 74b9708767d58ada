"""Podman with CNI: containers on the LAN by macvfast's plugin, under its own name and under that of the reference."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.support import filter_macs
from tests.engines import plugin
from tests.engines.podman import CNI_NETWORKS, Podman, has_cni
from tests.engines.roots import SUITES
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = pytest.mark.timeout(300)

# Podman looks here before it finds the reference plugins.
PLUGINS = "/usr/local/libexec/cni"
SUBNET = ("--subnet=172.16.86.0/24", "--gateway=172.16.86.1", "-o", "parent=eth0")
FIRST, SECOND, THIRD = (f"172.16.86.{last}" for last in (2, 3, 4))

OWN: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "lan",
    "plugins": [
        {
            "type": "macvfast", "master": "eth0", "capabilities": {"ips": True, "mac": True},
            "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "172.16.86.0/24", "gateway": "172.16.86.1"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}  # fmt: skip


class CniPodman(Podman):
    """Podman with macvfast's plugin, also under the name of the reference."""

    def __init__(self, suite: str, lan: Lan) -> None:
        super().__init__(suite, lan, driver=True, cni=True)

    def start(self) -> None:
        """Put the plugin where podman looks first."""
        super().start()
        plugin.install(self, PLUGINS, ("macvfast", "macvlan"))


@pytest.fixture(params=[suite for suite in SUITES if has_cni(suite)])
def podman(request: pytest.FixtureRequest, lan: Lan) -> Iterator[CniPodman]:
    """A Podman with CNI, and macvfast's server beside it, which each boot starts."""
    with CniPodman(request.param, lan) as made:
        yield made


@pytest.fixture(params=["as macvlan", "as macvfast"])
def network(request: pytest.FixtureRequest, podman: CniPodman) -> str:
    """A network that podman itself has made for `macvlan`, or one whose type is `macvfast`."""
    if request.param == "as macvlan":
        podman("network", "create", "-d", "macvlan", *SUBNET, "lan")
    else:
        podman.write(f"{CNI_NETWORKS}/lan.conflist", json.dumps(OWN))
    return "lan"


def address(podman: Podman, name: str) -> str:
    """The address that podman says that a container has."""
    return str(podman.endpoint(name, "lan")["IPAddress"])


def test_containers_reach_each_other_the_gateway_and_back_and_give_their_addresses_back(
    lan: Lan, podman: CniPodman, network: str
) -> None:
    podman.container("web", network)
    podman.container("other", network)
    assert [address(podman, name) for name in ("web", "other")] == [FIRST, SECOND] == plugin.recorded(lan)
    assert podman.can_ping("web", SECOND)
    assert podman.can_ping("other", "172.16.86.1")
    assert lan.router.can_ping(FIRST, timeout_s=5)
    assert lan.requests_served() >= 2
    assert lan.macvfast("check") == ""
    podman("stop", "web")
    plugin.wait_for(lan, SECOND)
    podman("start", "web")
    podman("restart", "other")
    plugin.wait_for(lan, address(podman, "web"), address(podman, "other"))
    assert podman.can_ping("web", address(podman, "other"))
    podman("rm", "--force", "web", "other")
    plugin.wait_for(lan)
    wait_until(lambda: not filter_macs(lan), what="the end of the links")


def test_an_address_and_a_mac_that_are_asked_for_are_given(lan: Lan, podman: CniPodman, network: str) -> None:
    podman.container("web", network, "--ip=172.16.86.77", "--mac-address=02:00:5e:00:00:01")
    assert address(podman, "web") == "172.16.86.77"
    assert podman.endpoint("web", "lan")["MacAddress"] == "02:00:5e:00:00:01"
    assert "02:00:5e:00:00:01" in podman.exec("web", "ip", "link", "show", "eth0")
    assert "172.16.86.77" in podman.refused("run", "--network=lan", "--ip=172.16.86.77", "alpine", "ip", "address")
    assert plugin.recorded(lan) == ["172.16.86.77"]


def test_without_a_server_it_goes_on_and_with_it_again(lan: Lan, podman: CniPodman, network: str) -> None:
    podman.container("web", network)
    podman.kill_server()
    podman.container("other", network)
    assert podman.can_ping("other", FIRST)
    podman("rm", "--force", "web")
    podman.serve()
    plugin.wait_for(lan, SECOND)
    podman.container("third", network)
    assert plugin.recorded(lan) == [SECOND, THIRD]
    assert lan.macvfast("check") == ""


def test_a_container_whose_process_is_killed_gives_its_address_back(lan: Lan, podman: CniPodman, network: str) -> None:
    podman.container("web", network)
    podman("kill", "--signal=KILL", "web")
    plugin.wait_for(lan)
    podman("start", "web")
    assert len(plugin.recorded(lan)) == 1


def test_a_podman_that_is_killed_leaves_nothing_that_is_not_freed(lan: Lan, podman: CniPodman, network: str) -> None:
    """At several moments of its way to a container: whatever it got to, removing the container, and `gc`, free it."""
    podman.container("other", network)
    for number in range(4):
        before = plugin.recorded(lan)
        typed = lan.host.start(
            "podman", "run", "--detach", f"--name=web{number}", "--network=lan", "alpine", "sleep", "9"
        )
        # The plugin is at work, or has just been.
        wait_until(
            lambda before=before, typed=typed: plugin.recorded(lan) != before or typed.poll() is not None,  # type: ignore[misc]
            60, "an attachment",
        )  # fmt: skip
        for pid in _named("podman", podman.first):
            os.kill(pid, signal.SIGKILL)
        typed.communicate()
        podman.tried("rm", "--force", "--time=0", f"web{number}")
    lan.macvfast("gc")
    wait_until(lambda: len(filter_macs(lan)) == len(plugin.recorded(lan)), what="links that are recorded")
    assert FIRST in plugin.recorded(lan)
    podman("rm", "--force", "other")
    lan.macvfast("gc")
    assert lan.macvfast("check") == ""


def test_after_a_reboot_no_address_is_lost_or_left(lan: Lan, podman: CniPodman, network: str) -> None:
    for name in ("web", "other"):
        podman.container(name, network)
    podman.reboot()
    podman("start", "web")
    assert podman.can_ping("web", "172.16.86.1")
    lan.macvfast("gc")
    plugin.wait_for(lan, address(podman, "web"))
    podman("start", "other")
    assert podman.can_ping("other", address(podman, "web"))
    assert len(plugin.recorded(lan)) == 2
    assert lan.macvfast("check") == ""
    podman("rm", "--force", "web", "other")
    plugin.wait_for(lan)


def _named(name: str, first: int) -> list[int]:
    """The processes of a Debian whose command is called so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            same = os.readlink(path.parent / "ns/pid") == os.readlink(f"/proc/{first}/ns/pid")
            if same and path.read_text().strip() == name:
                found.append(int(path.parent.name))
    return found
