"""containerd attaches containers and pods by the plugin, and what it forgets is freed."""

from __future__ import annotations

import shutil
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance import support
from tests.netns import wait_until
from tests.runtimes.containerd import IMAGE, Containerd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = [pytest.mark.needs("macvlan", "docker-engine", "cni-plugins"), pytest.mark.timeout(300)]

# As for the reference plugin, but for the type.
PLUGIN: dict[str, Any] = {
    "master": "eth0", "mode": "bridge", "capabilities": {"io.kubernetes.cri.pod-annotations": True},
    "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "172.16.86.0/24", "gateway": "172.16.86.1"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    },
}  # fmt: skip


@pytest.fixture
def runtime(either_way: Lan) -> Iterator[Containerd]:
    """A containerd whose network is macvfast's."""
    # Short: sockets of shims have long names.
    directory = Path(tempfile.mkdtemp(prefix="ctrd-"))
    try:
        with Containerd(either_way, directory, PLUGIN) as made:
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def recorded(lan: Lan) -> list[str]:
    """The addresses of all attachments."""
    found = support.listed(lan, "ps", "-a", "--all-origins", "-f", "origin=cni")
    return sorted(one["Addresses"] for one in found)


def test_pods_get_addresses_reach_each_other_and_the_gateway_and_give_them_back(lan: Lan, runtime: Containerd) -> None:
    assert runtime.network_ready()
    first, second = runtime.run_pod("first"), runtime.run_pod("second")
    addresses = [runtime.address(pod) for pod in (first, second)]
    assert addresses == ["172.16.86.2", "172.16.86.3"]
    assert recorded(lan) == addresses
    for target in (addresses[1], "172.16.86.1"):
        assert "1 packets received" in runtime.exec(first, "/bin/ping", "-c1", "-w9", target)
    assert lan.macvfast("check") == ""
    runtime.remove_pod(first)
    wait_until(lambda: recorded(lan) == addresses[1:], what="the address of the pod that was removed")
    assert runtime.address(runtime.run_pod("third")) == "172.16.86.4", "not the next one, as host-local gives them"


def test_a_pods_annotations_name_its_address(lan: Lan, runtime: Containerd) -> None:
    pod = runtime.run_pod("web", {"macvfast.io/ip": "172.16.86.77"})
    assert runtime.address(pod) == "172.16.86.77"
    assert recorded(lan) == ["172.16.86.77"]


def test_a_runtime_that_is_killed_finds_its_pod_again_and_its_address_is_freed_with_it(
    lan: Lan, runtime: Containerd
) -> None:
    pod = runtime.run_pod("web")
    runtime.kill(signal.SIGKILL)
    runtime.start()
    assert runtime.address(pod) == "172.16.86.2"
    assert "inet 172.16.86.2/24" in runtime.exec(pod, "/bin/ip", "address", "show", "eth0")
    runtime.remove_pod(pod)
    wait_until(lambda: recorded(lan) == [], what="no attachment")
    assert lan.macvfast("check") == ""


def test_eight_pods_that_start_and_end_at_once_get_an_address_each_and_leave_none(
    lan: Lan, runtime: Containerd
) -> None:
    with ThreadPoolExecutor(8) as threads:
        pods = list(threads.map(runtime.run_pod, [f"pod{number}" for number in range(8)]))
        assert sorted(map(runtime.address, pods)) == recorded(lan) == [f"172.16.86.{last}" for last in range(2, 10)]
        assert lan.macvfast("check") == ""
        list(threads.map(runtime.remove_pod, pods))
    wait_until(lambda: recorded(lan) == [], what="no attachment")
    assert lan.macvfast("check") == ""


def test_a_pod_whose_namespace_was_destroyed_is_stopped_and_its_address_freed(lan: Lan, runtime: Containerd) -> None:
    pod, other = runtime.run_pod("web"), runtime.run_pod("other")
    runtime.destroy(pod)
    assert recorded(lan) == ["172.16.86.2", "172.16.86.3"]
    runtime.remove_pod(pod)
    wait_until(lambda: recorded(lan) == ["172.16.86.3"], what="the address of the pod that was destroyed")
    assert runtime.pods() == [other]
    assert lan.macvfast("check") == ""


def test_ctr_attaches_a_container_and_detaches_it_without_naming_its_namespace(lan: Lan, runtime: Containerd) -> None:
    command = ("/bin/ip", "address", "show", "eth0")
    said = runtime.ctr("--namespace", "k8s.io", "run", "--rm", "--cni", "--snapshotter=native", IMAGE, "one", *command)
    assert "inet 172.16.86.2/24" in said
    wait_until(lambda: recorded(lan) == [], what="no attachment")
