"""A real Docker Engine, that of Debian 12, on networks of macvfast's: its containers are reached from the LAN."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.netns import MACVFAST, Netns, wait_until
from tests.parity.engine import Engine, EngineUnusable
from tests.probe import IN_CI

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("docker-engine", "macvlan")

SOCKET = "/run/docker/plugins/macvfast.sock"


class Host:
    """A host with an Engine and a server of macvfast, and a router at the far end of eth0."""

    def __init__(self, directory: Path) -> None:
        self.engine = Engine(directory / "engine")
        self.router = Netns.make("router")
        self.namespace = self.engine.namespace
        self._run_dir = directory / "run"
        self.namespace.environment |= {
            "MACVFAST_STATE_DIR": str(directory / "state"),
            "MACVFAST_NETNS_DIR": str(directory / "netns"),
            "MACVFAST_RUN_DIR": str(self._run_dir),
        }
        self.server: subprocess.Popen[str] | None = None
        self._started = False

    def start(self) -> None:
        self.namespace.run("ip", "link", "set", "far0", "netns", self.router.name)
        self.router.ip_batch("address add 172.16.86.1/24 dev far0", "link set far0 up")
        self.engine.__enter__()
        self._started = True
        self.serve()

    def serve(self) -> None:
        """Start the server beside dockerd: it has a /run of its own."""
        command = self.in_engine(str(MACVFAST), "serve", "--docker")
        self.server = self.namespace.start(*command)
        wait_until(
            lambda: self.namespace.attempt(*self.in_engine("test", "-S", SOCKET)).returncode == 0, 60, "a socket"
        )
        wait_until((self._run_dir / "command.sock").exists, 60, "the server")

    def in_engine(self, *command: str) -> tuple[str, ...]:
        pid = (self.engine.directory / "pid").read_text()
        return ("nsenter", "--target", pid, "--mount", "--", *command)

    def kill_server(self) -> None:
        assert self.server is not None
        self.server.kill()
        self.server.communicate()

    def docker(self, *arguments: str) -> str:
        """A docker command that must succeed."""
        done = self.engine.docker(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def macvfast(self, *arguments: str) -> str:
        return self.namespace.run(*self.in_engine(str(MACVFAST), *arguments)).strip()

    def links(self) -> list[str]:
        return [one["ifname"] for one in self.namespace.ip_json("link", "show", "type", "macvlan")]

    def stop(self) -> None:
        if self.server is not None:
            self.server.terminate()
            self.server.communicate()
        if self._started:
            self.engine.stop()
        self.router.remove()


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    # A socket of containerd's has a path of at most 104 bytes.
    made = Host(tmp_path_factory.mktemp("e"))
    try:
        made.start()
        yield made
    except EngineUnusable as error:
        if IN_CI:
            raise
        pytest.skip(f"the Docker Engine does not come up here: {str(error)[-200:]}")
    finally:
        made.stop()


PAGE = Path(__file__).parents[2] / "docs/docker-plugin.md"


def test_a_container_is_reached_from_the_lan_and_leaves_nothing(host: Host) -> None:
    """From nothing to a container that pings, as the page has it; and then the rest of its life."""
    _, create, run = [shlex.split(line) for line in PAGE.read_text().splitlines() if line.startswith("    ")][:3]
    for line in (create, run):
        assert line[0] == "docker"
        host.docker(*line[1:])
    host.docker("run", "-d", "--name", "web", "--network", "lan", "--stop-signal", "KILL", "alpine", "sleep", "1000")
    (shown,) = json.loads(host.docker("inspect", "web"))
    endpoint = shown["NetworkSettings"]["Networks"]["lan"]
    assert (endpoint["IPAddress"], endpoint["MacAddress"]) == ("172.16.86.2", "02:42:ac:10:56:02")
    wait_until(lambda: host.router.can_ping("172.16.86.2"), what="a ping of the container")
    host.docker("exec", "web", "ping", "-c", "1", "-W", "5", "172.16.86.1")
    assert host.macvfast("check") == ""
    host.kill_server()
    host.serve()
    host.docker("restart", "web")
    assert host.router.can_ping("172.16.86.2", timeout_s=5)
    refused = host.engine.docker("run", "--rm", "--network", "lan", "--ip", "172.16.86.2", "alpine", "sleep", "0")
    assert "172.16.86.2 is taken" in refused.stderr
    host.docker("rm", "-f", "web")
    assert host.links() == []
    host.docker("network", "rm", "lan")
    assert host.macvfast("network", "ls", "-q") == ""
    assert host.macvfast("check") == ""
    # Docker's own driver, with addresses from macvfast alone.
    host.docker(
        "network", "create", "-d", "macvlan", "--ipam-driver", "macvfast", "--subnet", "172.16.86.0/24",
        "--gateway", "172.16.86.1", "-o", "parent=eth0", "own",
    )  # fmt: skip
    host.docker("run", "--rm", "--network", "own", "alpine", "ping", "-c", "1", "-W", "5", "172.16.86.1")
    host.docker("network", "rm", "own")
