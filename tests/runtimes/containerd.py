"""A containerd of the test's own, in the network namespace of a bed: `ctr`, and the API that kubelets call (CRI).

`tools/docker-engine` has unpacked Debian's package; nothing is installed. Its directories, and those in which it looks
for plugins and their configurations, are in a mount namespace that ends with it.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Self

from tests.acceptance.serving import COMMAND
from tests.netns import wait_until
from tests.parity.engine import UNPACKED
from tests.probe import CNI_DIRECTORY
from tests.runtimes.pods import Pods, write_image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.netns import Lan

# What sandboxes of pods run, by the name that containerd 1.6 has for it.
IMAGE = "registry.k8s.io/pause:3.6"
READY_S = 60

# Where a runtime looks for plugins and configurations. `loopback` is the reference one, which each pod gets. A process
# holds the mount namespace when containerd is killed.
_PLACES = """
mount -t tmpfs none /opt
mkdir -p /opt/cni/bin /etc/cni/net.d
mount --bind {directory}/net.d /etc/cni/net.d
cp {plugin} /opt/cni/bin/macvfast
cp {reference}/loopback /opt/cni/bin/
echo ready
exec sleep infinity
"""

_CONFIGURATION = """
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
"""


class Containerd(Pods):
    """A running containerd. A context manager, which takes away what it runs.

    Args:
        lan: where it runs.
        directory: for all that it writes; its path is short, for sockets.
        plugin: the configuration of the one plugin of its network, `pods`.
    """

    def __init__(self, lan: Lan, directory: Path, plugin: Mapping[str, Any]) -> None:
        super().__init__(directory / "containerd.sock", IMAGE, directory)
        self._lan = lan
        self._directory = directory
        self._places: subprocess.Popen[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        network = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "macvfast", **plugin}]}
        (directory / "net.d").mkdir(parents=True)
        (directory / "net.d/10-pods.conflist").write_text(json.dumps(network), encoding="utf-8")
        (directory / "config.toml").write_text(_CONFIGURATION, encoding="utf-8")
        write_image(directory / "image.tar", IMAGE)

    def __enter__(self) -> Self:
        """Start it, with the image of pods."""
        script = _PLACES.format(
            directory=shlex.quote(str(self._directory)), plugin=shlex.quote(COMMAND), reference=CNI_DIRECTORY
        )
        self._places = self._lan.host.start("unshare", "--mount", "--propagation=private", "sh", "-ec", script)
        assert self._places.stdout is not None
        assert self._places.stdout.readline() == "ready\n"
        self.start()
        self.ctr("--namespace", "k8s.io", "image", "import", "--snapshotter", "native", f"{self._directory}/image.tar")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._forget()
            self.kill(signal.SIGTERM)
        finally:
            assert self._places is not None
            self._places.kill()
            self._places.communicate()

    def start(self) -> None:
        """Start it, or start it again."""
        directories = [f"--{name}={self._directory}/{name}" for name in ("root", "state")]
        files = [f"--config={self._directory}/config.toml", f"--address={self._socket}"]
        command = self._lan.host.command(*self._inside, "containerd", *files, *directories)
        path = f"{UNPACKED}/usr/sbin:{UNPACKED}/usr/bin:{os.environ['PATH']}"
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "PATH": path}
            )
        wait_until(self._answers, READY_S, "containerd's first answer")

    @property
    def _inside(self) -> tuple[str, ...]:
        """What a command begins with that sees its directories."""
        assert self._places is not None
        return ("nsenter", "--target", str(self._places.pid), "--mount")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "log").read_text(errors="replace")[-2000:]
        return self.answers()

    def kill(self, number: signal.Signals) -> None:
        """End it by a signal; what it has started goes on."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(READY_S)
            self._process = None
        self.hang_up()

    def _forget(self) -> None:
        """Remove all pods and containers."""
        for pod in self.pods():
            self.remove_pod(pod)
        for name in self.ctr("task", "list", "--quiet").split():
            self._ctr("task", "delete", "--force", name)

    # `ctr`.

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ctr = (f"{UNPACKED}/usr/bin/ctr", "--address", str(self._socket))
        return self._lan.host.attempt(*self._inside, *ctr, *arguments)

    def ctr(self, *arguments: str) -> str:
        """A command of `ctr` that must succeed; its standard output."""
        done = self._ctr(*arguments)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    def destroy(self, pod: str) -> None:
        """End the network namespace of a pod with all that runs in it, without the runtime's doing."""
        for name in (*self.containers(pod), pod):
            self.ctr("--namespace", "k8s.io", "task", "kill", "--all", "--signal=SIGKILL", name)
        spec = json.loads(self.ctr("--namespace", "k8s.io", "container", "info", pod))["Spec"]
        (path,) = [one["path"] for one in spec["linux"]["namespaces"] if one["type"] == "network"]
        self._lan.host.run(*self._inside, "umount", path)
        self._lan.host.run(*self._inside, "rm", path)
