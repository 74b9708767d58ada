"""The bed of these tests itself: each engine runs containers on its own macvlan driver, and leaves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.support import filter_macs
from tests.engines.docker import Docker
from tests.engines.podman import Podman, has_cni
from tests.engines.roots import SUITES
from tests.netns import wait_until

if TYPE_CHECKING:
    from tests.engines.engine import Engine
    from tests.netns import Lan

NETWORK = ("--subnet=172.16.86.0/24", "--gateway=172.16.86.1", "-o", "parent=eth0")


def pings_and_returns(engine: Engine, lan: Lan, *options: str) -> None:
    """A container is on the wire of the parent, and gone with it."""
    engine("network", "create", "-d", "macvlan", *NETWORK, *options, "lan")
    engine.container("web", "lan", "--ip=172.16.86.77")
    engine.container("other", "lan")
    assert lan.router.can_ping("172.16.86.77", timeout_s=5)
    assert engine.can_ping("web", "172.16.86.1")
    assert engine.can_ping("other", "172.16.86.77")
    assert engine.endpoint("web", "lan")["IPAddress"] == "172.16.86.77"
    engine("rm", "--force", "web", "other")
    wait_until(lambda: not filter_macs(lan), what="the end of the links")
    engine("network", "rm", "lan")


@pytest.mark.parametrize("suite", SUITES)
def test_docker_runs_containers_on_the_beds_wire(lan: Lan, suite: str) -> None:
    with Docker(suite, lan) as docker:
        pings_and_returns(docker, lan)


@pytest.mark.parametrize("suite", SUITES)
def test_podman_runs_containers_on_the_beds_wire(lan: Lan, suite: str) -> None:
    with Podman(suite, lan) as podman:
        pings_and_returns(podman, lan, "--disable-dns")


@pytest.mark.parametrize("suite", [suite for suite in SUITES if has_cni(suite)])
def test_podman_with_cni_runs_containers_on_the_beds_wire(lan: Lan, suite: str) -> None:
    with Podman(suite, lan, cni=True) as podman:
        pings_and_returns(podman, lan)


@pytest.mark.parametrize("suite", SUITES)
def test_macvfast_works_beside_an_engine_and_its_server_sees_the_same_files(lan: Lan, suite: str) -> None:
    with Podman(suite, lan, driver=True) as podman:
        lan.macvfast("network", "create", "-d", "macvlan", *NETWORK, "lan")
        lan.macvfast("run", "-d", "--network=lan", "--name=web", "sleep", "2147483647")
        assert lan.router.can_ping("172.16.86.2", timeout_s=5)
        assert lan.calls_served() >= 1
        assert lan.macvfast("check") == ""
        podman.reboot()
        assert lan.attempt("check").returncode == 7
        assert lan.macvfast("restore") != ""
