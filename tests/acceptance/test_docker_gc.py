"""`macvfast gc` asks a Docker Engine what it has: what that has not goes, and what another Engine has not stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.docker_calls import Dockerd, age, an_id
from tests.netns import Netns, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.netns import Lan

SUBNET, GATEWAY = "172.16.86.0/24", "172.16.86.1"
GENERIC = "com.docker.network.generic"
# An Engine that has these networks with these endpoints: what `gc` asks.
ENGINE = """\
import json, socketserver, sys
from http.server import BaseHTTPRequestHandler

networks = json.loads(sys.argv[2])

class Handler(BaseHTTPRequestHandler):
    def address_string(self):
        return ""

    def do_GET(self):
        id_ = self.path.rpartition("/")[2]
        driver, config = sys.argv[3], json.loads(sys.argv[4])
        common = {"Driver": driver, "IPAM": {"Driver": driver, "Options": None, "Config": config}}
        containers = {str(n): {"EndpointID": e} for n, e in enumerate(networks.get(id_, []))}
        if containers and config:
            containers["0"]["IPv4Address"] = "172.16.86.2/24"
        said = {"Id": id_, "Containers": containers} | common
        if self.path == "/networks":
            said = [{"Id": one} | common for one in networks]
        if self.path == "/version":
            said = {"Version": "29.0.1"}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

socketserver.UnixStreamServer(sys.argv[1], Handler).serve_forever()
"""


@pytest.fixture
def dockerd(lan: Lan) -> Iterator[Dockerd]:
    with Dockerd(lan) as made:
        yield made


@pytest.fixture
def container() -> Iterator[Netns]:
    made = Netns.make("container")
    yield made
    made.remove()


def test_what_docker_does_not_have_any_more_is_freed_by_gc(lan: Lan, dockerd: Dockerd, container: Netns) -> None:
    """An endpoint that was refused half-way, and a network that went while the server was dead."""
    kept, gone = dockerd.create_network(SUBNET, GATEWAY, parent="eth0", share_parent="true"), an_id()
    there, refused = kept.create_endpoint(), kept.create_endpoint()
    there.join(container.path)
    refused.join("/run/docker/netns/none-yet")
    generic = {GENERIC: {"parent": "eth0", "share_parent": "true"}}
    dockerd.done("NetworkDriver.CreateNetwork", NetworkID=gone, Options=generic, IPv4Data=[], IPv6Data=[])
    path = lan.run_dir / "docker.sock"
    said = _gc(lan, path)
    assert (said.returncode, said.stdout) == (0, "")
    assert "Docker was not asked" in said.stderr
    with engine(path, {kept.id: [there.id]}):
        assert _gc(lan, path).stdout == "", "Docker may be about to list what is as young as that"
        lan.api(age)
        said = _gc(lan, path)
        assert said.returncode == 0, said.stderr
        status = lan.host.attempt("env", f"DOCKER_HOST=unix://{path}", sys.executable, "-m", "macvfast", "status")
    assert f"endpoint {refused.id[:12]} on docker-{kept.id[:12]}" in said.stdout
    assert f"network docker-{gone[:12]}" in said.stdout
    assert lan.host.ip_json("link", "show", "type", "macvlan") == []
    assert lan.router.can_ping("172.16.86.2")
    assert "29.0.1 crashes" in status.stdout


def test_gc_believes_no_engine_that_has_nothing_of_dockers(lan: Lan, dockerd: Dockerd, container: Netns) -> None:
    """Podman answers as an Engine does, and so do a rootless Engine and a second one: none of these networks is known
    to it, with none of their containers.
    """
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    network.create_endpoint().join(container.path)
    lan.api(age)
    path = lan.run_dir / "docker.sock"
    with engine(path, {an_id(): []}):
        said = _gc(lan, path)
    assert (said.returncode, said.stdout) == (0, "")
    assert f"the Engine at {path} has none of the networks" in said.stderr
    assert "macvfast gc --origin docker" in said.stderr
    assert sorted(container.link_names()) == ["eth0", "lo"]
    assert lan.router.can_ping("172.16.86.2")
    assert "taken" in dockerd.refused("IpamDriver.RequestAddress", PoolID=network.pools[4], Address="172.16.86.2")


def test_gc_asks_of_networks_by_their_ids_whatever_the_driver_is_called(
    lan: Lan, dockerd: Dockerd, container: Netns
) -> None:
    """Docker calls a plugin as its socket is called: `--docker=/run/docker/plugins/lan.sock` is the driver `lan`."""
    network = dockerd.create_network(SUBNET, GATEWAY, parent="eth0")
    endpoint = network.create_endpoint()
    endpoint.join(container.path)
    lan.api(age)
    path = lan.run_dir / "docker.sock"
    said = {"Subnet": SUBNET, "Gateway": GATEWAY}
    with engine(path, {network.id: [endpoint.id]}, driver="lan", config=[said]):
        assert _gc(lan, path).stdout == ""
    with engine(path, {network.id: [endpoint.id]}, driver="lan", config=[said | {"Gateway": "none"}]):
        refused = _gc(lan, path)
    assert (refused.returncode, refused.stdout) == (0, "")
    assert "Docker was not asked what it has: of its networks, 'none' does not appear" in refused.stderr
    assert lan.router.can_ping("172.16.86.2")


def _gc(lan: Lan, path: Path) -> subprocess.CompletedProcess[str]:
    """`macvfast gc` beside an Engine."""
    return lan.host.attempt("env", f"DOCKER_HOST=unix://{path}", sys.executable, "-m", "macvfast", "gc")


class engine:  # noqa: N801
    """An Engine that says which networks and endpoints it has."""

    def __init__(
        self, path: Path, networks: dict[str, list[str]], driver: str = "macvfast", config: object = None
    ) -> None:
        self._path = path
        command = [sys.executable, "-c", ENGINE, str(path), json.dumps(networks), driver, json.dumps(config)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def __enter__(self) -> None:
        wait_until(self._path.exists, what="an Engine")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.unlink(self._path)
