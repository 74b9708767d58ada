"""The Engine once more, with macvfast as the IPAM driver of its own macvlan networks."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from macvfast.host import Host
from macvfast.plugins.docker import collecting
from macvfast.state.store import Store
from tests.netns import wait_until
from tests.parity.operations import BOXES, PARENTS
from tests.parity.sides import Answer, EngineSide

if TYPE_CHECKING:
    from tests.parity.engine import Engine
    from tests.parity.operations import Create, Operation

# What the networks, parents and containers of this side begin with: the other side has the same on the same Engine.
PREFIX = "x"
PLUGIN_PARENTS = tuple(f"{PREFIX}{parent}" for parent in PARENTS)
PLUGIN_BOXES = tuple(f"{PREFIX}{box}" for box in BOXES)

# An Engine asks an IPAM driver that is not its own for addresses of the first subnet of a family alone: it goes on to
# the next one only after an error of its own.
ONE_SUBNET = ((4,), (4,), (4, 6))


class PluginSide(EngineSide):
    """Networks with `--ipam-driver macvfast`, by a server that runs on the Engine's host."""

    name = "macvfast as IPAM driver"
    ipam = "macvfast"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._directory = engine.directory / "macvfast"
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        names = ("STATE", "RUN", "NETNS")
        variables = [f"MACVFAST_{name}_DIR={self._directory / name.lower()}" for name in names]
        socket = self._engine.directory / "macvfast.sock"
        words = ["env", *variables, sys.executable, "-m", "macvfast", "serve", f"--docker={socket}"]
        with (self._directory / "log").open("wb") as log:
            self._server = subprocess.Popen(self._engine.namespace.command(*words), stdout=log, stderr=log)
        wait_until(socket.exists, what="the plugin's socket")
        self._engine.plugin_at(socket)

    def left_over(self) -> list[str]:
        """What `macvfast gc` frees once the Engine does not know it: a pool, and an address in each that it has."""
        return self._engine.namespace.call(self._left_over)

    def _left_over(self) -> list[str]:
        with closing(Host(Store(str(self._directory / "state"), origin="docker"))) as host:
            before = host.docker_pools()
            host.request_pool("docker:left", ip_network("192.0.2.0/24"), epoch="left")
            for pool, _ in before:
                host.request_address(pool.id, None, "left")
            freed = collecting.pools(host, str(self._engine.directory / "docker.sock"), young_s=0)
            assert host.docker_pools() == before
            return [one.name for one in freed]

    def stop(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(60)

    def do(self, operation: Operation, base: int) -> Answer:
        """The same, of this side's networks, parents and containers."""
        names = {key: PREFIX + value for key, value in vars(operation).items() if key in ("network", "parent", "box")}
        return super().do(replace(operation, **names), base)

    def create_wanted(self, wanted: Create, base: int) -> Answer:
        """By the command."""
        return self.create(["--ipam-driver=macvfast", *wanted.typed(base)[2:]])
