"""What only Docker does: its daemon is restarted and killed, its driver is absent, Compose makes everything at once."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.docker_calls import age
from tests.engines import judge
from tests.engines.docker import Docker
from tests.engines.judge import agreed
from tests.engines.roots import SUITES, version
from tests.engines.test_stories import LAN
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.engine import Engine
    from tests.netns import Lan

pytestmark = pytest.mark.timeout(600)

HAS_COMPOSE = [suite for suite in SUITES if version(suite, "docker-compose") >= (2,)]
COMPOSED = {
    "services": {
        name: {"image": "alpine", "command": "sleep 2147483647", "stop_signal": "KILL", "networks": {"lan": given}}
        for name, given in (("web", {"ipv4_address": "172.16.86.77"}), ("other", {}))
    },
    "networks": {
        "lan": {
            "driver": "macvfast",
            "driver_opts": {"parent": "eth0"},
            "ipam": {"driver": "macvfast", "config": [{"subnet": "172.16.86.0/24", "gateway": "172.16.86.1"}]},
        }
    },
}


@pytest.fixture(params=SUITES)
def docker(request: pytest.FixtureRequest, lan: Lan) -> Iterator[Docker]:
    """A Docker Engine on which nothing is left."""
    with Docker(request.param, lan, driver=True) as made:
        yield made
        judge.nothing_left(made)


@pytest.fixture(params=SUITES)
def restoring(request: pytest.FixtureRequest, lan: Lan) -> Iterator[Docker]:
    """One whose containers outlive it."""
    with Docker(request.param, lan, driver=True, live_restore=True) as made:
        yield made
        judge.nothing_left(made)


def started_again(engine: Engine, name: str, before: int) -> None:
    def again() -> bool:
        state = engine.inspect("container", name)["State"]
        return bool(state["Running"] and state["Pid"] != before)

    wait_until(again, 60, f"another start of {name}")


def test_an_engine_that_is_restarted_or_killed_starts_its_containers_with_their_networks(docker: Docker) -> None:
    docker.network("n", *LAN)
    docker.container("web", "n", "--restart=always", "--ip=172.16.86.77")
    docker.container("other", "n", "--restart=always")
    for end in (docker.stop, docker.kill):
        pids = {name: docker.inspect("container", name)["State"]["Pid"] for name in ("web", "other")}
        end()
        docker.start()
        for name, pid in pids.items():
            started_again(docker, name, pid)
        assert agreed(docker, "web", "n")[0].ipv4 == "172.16.86.77/24"
        agreed(docker, "other", "n")
        assert len(judge.recorded(docker, "n")) == 2, "an endpoint of before is left"


def test_an_engine_and_the_server_are_killed_together(docker: Docker) -> None:
    docker.network("n", *LAN)
    docker.container("web", "n", "--restart=always")
    pid = docker.inspect("container", "web")["State"]["Pid"]
    docker.kill()
    docker.kill_server()
    docker.serve()
    docker.start()
    started_again(docker, "web", pid)
    agreed(docker, "web", "n")
    assert len(judge.recorded(docker, "n")) == 1


def test_a_container_that_outlives_its_engine_keeps_its_link(restoring: Docker) -> None:
    restoring.network("n", *LAN)
    restoring.container("web", "n")
    before = agreed(restoring, "web", "n")
    for end in (restoring.kill, restoring.stop):
        end()
        assert restoring.lan.router.can_ping("172.16.86.2", timeout_s=5)
        restoring.start()
        assert agreed(restoring, "web", "n") == before
    restoring.container("other", "n")
    assert agreed(restoring, "other", "n")[0].ipv4 == "172.16.86.3/24"


def test_without_the_server_a_start_fails_and_a_removal_does_not(docker: Docker) -> None:
    """Both cost what Docker waits for its driver. What the removal could not say is freed by `gc`."""
    docker.network("n", *LAN)
    docker.container("web", "n")
    docker.kill_server(signal.SIGTERM)
    assert docker.create_refused("other", "n")
    docker("rm", "--force", "web")
    docker.serve()
    docker.container("third", "n")
    # It is found, and freed, a minute later.
    docker.lan.api(age)
    assert docker.lan.attempt("check").returncode == 7
    docker.lan.macvfast("gc")
    agreed(docker, "third", "n")
    assert len(judge.recorded(docker, "n")) == 1


@pytest.mark.parametrize("docker", HAS_COMPOSE, indirect=True)
def test_a_compose_file_goes_up_and_down(docker: Docker) -> None:
    docker.write("/srv/compose.yaml", json.dumps(COMPOSED))
    for _ in range(3):
        docker("compose", "--project-directory=/srv", "up", "--detach", "--quiet-pull")
        assert agreed(docker, "srv-web-1", "srv_lan")[0].ipv4 == "172.16.86.77/24"
        agreed(docker, "srv-other-1", "srv_lan")
        docker("compose", "--project-directory=/srv", "down")
        assert judge.engine_networks(docker) == []


def test_addresses_alone_for_dockers_own_driver(docker: Docker) -> None:
    docker("network", "create", "-d", "macvlan", *docker.ipam, *LAN, "n")
    docker.container("web", "n")
    docker.container("other", "n", "--ip=172.16.86.77")
    assert docker.create_refused("third", "n", "--ip=172.16.86.2")
    shown = [judge.shown(docker, name, "n").ipv4 for name in ("web", "other")]
    assert shown == ["172.16.86.2/24", "172.16.86.77/24"]
    assert docker.lan.router.can_ping("172.16.86.2", timeout_s=5)
    docker("rm", "--force", "web", "other")
    docker("network", "rm", "n")


def test_the_same_subnet_twice_is_refused_on_a_lan_and_another_one_in_a_domain_of_its_own(docker: Docker) -> None:
    docker.lan.add_parent("eth1", "lan1")
    docker.network("n", *LAN)
    docker.refused("network", "create", "-d", "macvfast", *docker.ipam, *LAN, "same")
    docker.network("m", "--ipam-opt=domain=other", *LAN[:2], "-o", "parent=eth1")
    docker.container("web", "n")
    docker.container("other", "m")
    assert [judge.shown(docker, *on).ipv4 for on in (("web", "n"), ("other", "m"))] == ["172.16.86.2/24"] * 2
    assert docker.lan.macvfast("check") == ""
