"""macvfast as the IPAM driver of Docker's own macvlan networks: what dockerd has, whatever becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines.docker import Docker
from tests.engines.roots import SUITES

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def held(lan: Lan) -> dict[str, list[str]]:
    """What is recorded of Docker's, by domain and subnet."""
    pools = lan.api(lambda host: host.docker_pools())
    return {f"{pool.domain} {pool.cidr}": [str(one.address) for one in some] for pool, some in pools}


def address(docker: Docker, name: str, network: str = "lan") -> str:
    return str(docker.endpoint(name, network)["IPAddress"])


@pytest.mark.parametrize("suite", SUITES)
def test_an_address_is_given_once_whatever_becomes_of_dockerd_and_the_server(lan: Lan, suite: str) -> None:
    """In each run of dockerd it says again what it has; all else is new, and is refused where something has it."""
    with Docker(suite, lan, driver=True) as docker:
        own = ("network", "create", "-d", "macvlan", "--ipam-driver=macvfast", "--ipam-opt=domain=lab")
        docker(*own, "--subnet=172.16.86.0/24", "--gateway=172.16.86.1", "-o", "parent=eth0", "lan")
        docker.container("web", "lan", "--restart=always")
        docker.container("db", "lan", "--ip=172.16.86.9", "--restart=always")
        lab = "docker:lab 172.16.86.0/24"
        assert held(lan) == {lab: ["172.16.86.1", "172.16.86.2", "172.16.86.9"]}
        assert lan.router.can_ping("172.16.86.2", timeout_s=5)
        for end in (docker.kill, docker.stop, docker.kill_server):
            end()
            if end == docker.kill_server:
                docker.serve()
            else:
                docker.start()
                for name in ("web", "db"):
                    docker("start", name)
            assert (address(docker, "web"), address(docker, "db")) == ("172.16.86.2", "172.16.86.9")
            # Not one that is said again: nobody has that to say.
            assert "taken" in docker.create_refused("thief", "lan", "--ip=172.16.86.9")
            docker.container("new", "lan")
            assert address(docker, "new") == "172.16.86.3"
            docker("rm", "--force", "new")
            assert held(lan) == {lab: ["172.16.86.1", "172.16.86.2", "172.16.86.9"]}
        assert "Docker has the pool" in docker.refused(*own, "--subnet=172.16.0.0/16", "-o", "parent=eth0", "wide")
        docker("rm", "--force", "web", "db")
        docker("network", "rm", "lan")
        assert held(lan) == {}


@pytest.mark.parametrize("suite", SUITES)
def test_the_same_subnet_is_on_two_parents_in_domains_of_their_own(lan: Lan, suite: str) -> None:
    lan.add_parent("eth7", "far7", far_address="172.16.86.1/24")
    with Docker(suite, lan, driver=True) as docker:
        for name, parent in (("red", "eth0"), ("blue", "eth7")):
            own = ("-d", "macvlan", "--ipam-driver=macvfast", f"--ipam-opt=domain={name}", "-o", f"parent={parent}")
            docker("network", "create", *own, "--subnet=172.16.86.0/24", "--gateway=172.16.86.1", name)
            docker.container(f"in-{name}", name)
            assert address(docker, f"in-{name}", name) == "172.16.86.2"
        assert sorted(held(lan)) == ["docker:blue 172.16.86.0/24", "docker:red 172.16.86.0/24"]
        for name in ("red", "blue"):
            docker("rm", "--force", f"in-{name}")
            docker("network", "rm", name)
        assert held(lan) == {}
