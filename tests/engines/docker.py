"""A Docker Engine in a Debian of its own, on the network of a bed's host."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines.engine import Engine
from tests.netns import wait_until

if TYPE_CHECKING:
    from tests.netns import Lan

READY_S = 90
# Where dockerd looks for plugins.
PLUGINS = "/run/docker/plugins"


class Docker(Engine):
    """A Docker Engine of a suite.

    Args:
        suite: whose.
        lan: the bed.
        driver: whether macvfast's server runs, and is its driver for networks.
        live_restore: whether its containers outlive it.
    """

    words = ("docker",)
    ipam = ("--ipam-driver=macvfast",)
    served = ("--docker",)

    def __init__(self, suite: str, lan: Lan, *, driver: bool = False, live_restore: bool = False) -> None:
        super().__init__(suite, lan, one_tree=False, driver=driver)
        self._live_restore = live_restore
        self._daemon = 0

    def start(self) -> None:
        """Start dockerd, with its containers that are to be restarted."""
        settings = {
            "storage-driver": "vfs", "bridge": "none", "iptables": False, "ip6tables": False, "ip-forward": False,
            "ip-masq": False, "userland-proxy": False, "live-restore": self._live_restore,
            "cgroup-parent": self.cgroup,
        }  # fmt: skip
        self.write("/etc/docker/daemon.json", json.dumps(settings))
        self._daemon = self.spawn("dockerd", "--exec-opt", "native.cgroupdriver=cgroupfs")
        wait_until(self._answers, READY_S, "the Engine's first answer")

    def _answers(self) -> bool:
        assert Path(f"/proc/{self._daemon}").exists(), self.log.read_text(errors="replace")[-3000:]
        return self.attempt("docker", "version").returncode == 0

    def recorded_name(self, network: str) -> str:
        """Docker calls no two networks alike for ever: the name has its id."""
        return f"docker-{self.inspect('network', network)['Id'][:12]}"

    def stop(self) -> None:
        """End dockerd with its containers."""
        self.end(self._daemon, signal.SIGTERM)

    def kill(self) -> None:
        """End dockerd at once; containerd and the containers go on."""
        self.end(self._daemon, signal.SIGKILL)
