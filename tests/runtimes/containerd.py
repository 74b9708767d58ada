"""A containerd of the test's own, in the network namespace of a bed: `ctr`, and the API that kubelets call (CRI).

`tools/docker-engine` has unpacked Debian's package; nothing is installed. Its directories, and those in which it looks
for plugins and their configurations, are in a mount namespace that ends with it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import signal
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any, Self

import grpc
from cri_api.v1 import api_pb2 as cri
from cri_api.v1.api_pb2_grpc import RuntimeServiceStub

from tests.acceptance.serving import COMMAND
from tests.netns import wait_until
from tests.parity.engine import UNPACKED, busybox_layer
from tests.probe import CNI_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.netns import Lan

# What sandboxes of pods run, by the name that containerd 1.6 has for it.
IMAGE = "registry.k8s.io/pause:3.6"
READY_S = 60
# A pod's: containerd asks runc, and a busy machine takes its time.
CALL_S = 60

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


class Containerd:
    """A running containerd. A context manager, which takes away what it runs.

    Args:
        lan: where it runs.
        directory: for all that it writes; its path is short, for sockets.
        plugin: the configuration of the one plugin of its network, `pods`.
    """

    def __init__(self, lan: Lan, directory: Path, plugin: Mapping[str, Any]) -> None:
        self._lan = lan
        self._directory = directory
        self._socket = directory / "containerd.sock"
        self._places: subprocess.Popen[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.Channel | None = None
        network = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "macvfast", **plugin}]}
        (directory / "net.d").mkdir(parents=True)
        (directory / "net.d/10-pods.conflist").write_text(json.dumps(network), encoding="utf-8")
        (directory / "config.toml").write_text(_CONFIGURATION, encoding="utf-8")
        _write_image(directory / "image.tar")

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
        try:
            self.pods()
        except grpc.RpcError:
            return False
        return True

    def kill(self, number: signal.Signals) -> None:
        """End it by a signal; what it has started goes on."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(READY_S)
            self._process = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None

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

    # Pods.

    @property
    def _api(self) -> RuntimeServiceStub:
        if self._channel is None:
            self._channel = grpc.insecure_channel(f"unix://{self._socket}")
        return RuntimeServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def pods(self) -> list[str]:
        """The ids of all pods."""
        return [one.id for one in self._api.ListPodSandbox(cri.ListPodSandboxRequest(), timeout=CALL_S).items]

    def network_ready(self) -> bool:
        """What kubelet asks every five seconds."""
        said = self._api.Status(cri.StatusRequest(), timeout=CALL_S).status.conditions
        return any(one.status for one in said if one.type == "NetworkReady")

    def run_pod(self, name: str, annotations: Mapping[str, str] | None = None) -> str:
        """Start a pod with one container that does nothing; its id."""
        config = self._pod(name, annotations)
        made = self._api.RunPodSandbox(cri.RunPodSandboxRequest(config=config), timeout=CALL_S)
        self._api.CreateContainer(
            cri.CreateContainerRequest(
                pod_sandbox_id=made.pod_sandbox_id, sandbox_config=config,
                config=cri.ContainerConfig(
                    metadata=cri.ContainerMetadata(name="main"), image=cri.ImageSpec(image=IMAGE),
                    command=["/bin/sleep", "86400"],
                ),
            ),
            timeout=CALL_S,
        )  # fmt: skip
        (container,) = self._containers(made.pod_sandbox_id)
        self._api.StartContainer(cri.StartContainerRequest(container_id=container), timeout=CALL_S)
        return str(made.pod_sandbox_id)

    def _pod(self, name: str, annotations: Mapping[str, str] | None) -> cri.PodSandboxConfig:
        return cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name=name, uid=name, namespace="default"),
            log_directory=str(self._directory), annotations=annotations or {},
        )  # fmt: skip

    def _containers(self, pod: str) -> list[str]:
        asked = cri.ListContainersRequest(filter=cri.ContainerFilter(pod_sandbox_id=pod))
        return [one.id for one in self._api.ListContainers(asked, timeout=CALL_S).containers]

    def address(self, pod: str) -> str:
        """The address that the runtime says that a pod has."""
        asked = cri.PodSandboxStatusRequest(pod_sandbox_id=pod)
        return str(self._api.PodSandboxStatus(asked, timeout=CALL_S).status.network.ip)

    def exec(self, pod: str, *command: str) -> str:
        """The output of a command in a pod's container, whatever its exit status."""
        (container,) = self._containers(pod)
        asked = cri.ExecSyncRequest(container_id=container, cmd=[*command], timeout=CALL_S)
        return str(self._api.ExecSync(asked, timeout=CALL_S).stdout.decode())

    def destroy(self, pod: str) -> None:
        """End the network namespace of a pod with all that runs in it, without the runtime's doing."""
        for name in (*self._containers(pod), pod):
            self.ctr("--namespace", "k8s.io", "task", "kill", "--all", "--signal=SIGKILL", name)
        spec = json.loads(self.ctr("--namespace", "k8s.io", "container", "info", pod))["Spec"]
        (path,) = [one["path"] for one in spec["linux"]["namespaces"] if one["type"] == "network"]
        self._lan.host.run(*self._inside, "umount", path)
        self._lan.host.run(*self._inside, "rm", path)

    def remove_pod(self, pod: str) -> None:
        """Stop and remove a pod."""
        self._api.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=pod), timeout=CALL_S)
        self._api.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=pod), timeout=CALL_S)


def _write_image(path: Path) -> None:
    """An image with nothing but busybox, as `docker save` writes one."""
    layer = busybox_layer()
    digest = hashlib.sha256(layer).hexdigest()
    configuration = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux",
        "config": {"Cmd": ["/bin/sleep", "86400"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    files = {
        "layer.tar": layer, "config.json": json.dumps(configuration).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }  # fmt: skip
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
