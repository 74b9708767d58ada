"""Pods, by the API that kubelets call (CRI), of whichever containerd."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

import grpc
from cri_api.v1 import api_pb2 as cri
from cri_api.v1.api_pb2_grpc import RuntimeServiceStub

from tests.parity.engine import busybox_layer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# A pod's: containerd asks runc, and a busy machine takes its time.
CALL_S = 60


class Pods:
    """Calls of a containerd.

    Args:
        socket: where it listens, once it runs; also when it runs anew.
        image: what containers of pods run.
        logs: the directory of theirs, as containerd sees it.
    """

    def __init__(self, socket: Path, image: str, logs: Path) -> None:
        self._socket = socket
        self._image = image
        self._logs = logs
        self._channel: grpc.Channel | None = None

    def hang_up(self) -> None:
        """Let go of a containerd that has ended."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def answers(self) -> bool:
        """Whether there is one."""
        try:
            self.pods()
        except grpc.RpcError:
            return False
        return True

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
                    metadata=cri.ContainerMetadata(name="main"), image=cri.ImageSpec(image=self._image),
                    command=["/bin/sleep", "86400"],
                ),
            ),
            timeout=CALL_S,
        )  # fmt: skip
        (container,) = self.containers(made.pod_sandbox_id)
        self._api.StartContainer(cri.StartContainerRequest(container_id=container), timeout=CALL_S)
        return str(made.pod_sandbox_id)

    def _pod(self, name: str, annotations: Mapping[str, str] | None) -> cri.PodSandboxConfig:
        return cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name=name, uid=name, namespace="default"),
            log_directory=str(self._logs), annotations=annotations or {},
        )  # fmt: skip

    def containers(self, pod: str) -> list[str]:
        """The ids of a pod's containers."""
        asked = cri.ListContainersRequest(filter=cri.ContainerFilter(pod_sandbox_id=pod))
        return [one.id for one in self._api.ListContainers(asked, timeout=CALL_S).containers]

    def address(self, pod: str) -> str:
        """The address that the runtime says that a pod has."""
        asked = cri.PodSandboxStatusRequest(pod_sandbox_id=pod)
        return str(self._api.PodSandboxStatus(asked, timeout=CALL_S).status.network.ip)

    def exec(self, pod: str, *command: str) -> str:
        """The output of a command in a pod's container, whatever its exit status."""
        (container,) = self.containers(pod)
        asked = cri.ExecSyncRequest(container_id=container, cmd=[*command], timeout=CALL_S)
        return str(self._api.ExecSync(asked, timeout=CALL_S).stdout.decode())

    def remove_pod(self, pod: str) -> None:
        """Stop and remove a pod."""
        self._api.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=pod), timeout=CALL_S)
        self._api.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=pod), timeout=CALL_S)


def write_image(path: Path, name: str) -> None:
    """An image with nothing but busybox, as `docker save` writes one."""
    layer = busybox_layer()
    digest = hashlib.sha256(layer).hexdigest()
    configuration = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux",
        "config": {"Cmd": ["/bin/sleep", "86400"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {
        "layer.tar": layer, "config.json": json.dumps(configuration).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }  # fmt: skip
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
