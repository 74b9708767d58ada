"""containerd in a Debian of its own, on the network of a bed's host: pods, by the API that kubelets call (CRI)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.engines import plugin
from tests.engines.debian import Debian
from tests.netns import wait_until
from tests.probe import CNI_DIRECTORY
from tests.runtimes.pods import Pods, write_image

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

    from tests.netns import Lan

READY_S = 90
# What sandboxes of pods run, too.
IMAGE = "registry.k8s.io/pause:3.10"
PLUGINS = "/opt/cni/bin"
_SOCKET = "/run/containerd/containerd.sock"
_IMAGE_FILE = "pods.tar"

# The third version of its configuration, since containerd 2.0.
_CONFIGURATION = f"""
version = 3
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{IMAGE}"
"""


class Containerd(Debian):
    """A containerd whose pods have macvfast's plugin, and macvfast's server beside it.

    Args:
        suite: whose.
        lan: the bed.
        network: the list of configurations of its one network.
    """

    def __init__(self, suite: str, lan: Lan, network: Mapping[str, Any]) -> None:
        super().__init__(suite, lan)
        self._network = network
        self._daemon = 0

    def booted(self) -> None:
        """Start it, with the image of pods."""
        plugin.install(self, PLUGINS)
        self.run("cp", f"{CNI_DIRECTORY}/loopback", PLUGINS)
        self.write("/etc/cni/net.d/10-pods.conflist", json.dumps(self._network))
        self.write("/etc/containerd/config.toml", _CONFIGURATION)
        self.pods = Pods(self.path(_SOCKET), IMAGE, Path("/var/log/pods"))
        self.serve()
        self.start()
        image = self.directory / _IMAGE_FILE
        if not image.exists():
            write_image(image, IMAGE)
            self.ctr("image", "import", "--local", "--snapshotter=native", str(image))

    def halt(self) -> None:
        """End all at once."""
        if hasattr(self, "pods"):
            self.pods.hang_up()
        super().halt()

    def start(self) -> None:
        """Start containerd, or start it again."""
        self._daemon = self.spawn("containerd")
        wait_until(self._answers, READY_S, "containerd's first answer")

    def _answers(self) -> bool:
        assert Path(f"/proc/{self._daemon}").exists(), self.log.read_text(errors="replace")[-3000:]
        return self.pods.answers()

    def kill(self, number: signal.Signals) -> None:
        """End containerd by a signal; pods go on."""
        self.pods.hang_up()
        self.end(self._daemon, number)

    def ctr(self, *arguments: str) -> str:
        """A command of `ctr` that must succeed; its standard output."""
        return self.run("ctr", "--namespace=k8s.io", *arguments)
