"""containerd of a later Debian, which polls STATUS: pods on the LAN by macvfast's plugin."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.support import filter_macs
from tests.engines import plugin
from tests.engines.containerd import Containerd
from tests.engines.roots import SUITES, version
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

# Since 2.0, it asks STATUS.
SINCE = (2, 0)
pytestmark = pytest.mark.timeout(300)

NETWORK: dict[str, Any] = {
    "cniVersion": "1.1.0", "name": "pods",
    "plugins": [
        {
            "type": "macvfast", "master": "eth0",
            "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "172.16.86.0/24", "gateway": "172.16.86.1"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}  # fmt: skip
FIRST, SECOND, THIRD = (f"172.16.86.{last}" for last in (2, 3, 4))


@pytest.fixture(params=[suite for suite in SUITES if version(suite, "containerd") >= SINCE])
def runtime(request: pytest.FixtureRequest, lan: Lan) -> Iterator[Containerd]:
    """A containerd."""
    with Containerd(request.param, lan, NETWORK) as made:
        yield made


def pings(runtime: Containerd, pod: str, address: str) -> bool:
    """Whether a pod has an answer from an address."""
    return "1 packets received" in runtime.pods.exec(pod, "/bin/ping", "-c1", "-w9", address)


def test_pods_reach_each_other_the_gateway_and_back_and_give_their_addresses_back(
    lan: Lan, runtime: Containerd
) -> None:
    pods = runtime.pods
    assert pods.network_ready()
    first, second = pods.run_pod("first"), pods.run_pod("second")
    assert [pods.address(pod) for pod in (first, second)] == [FIRST, SECOND] == plugin.recorded(lan)
    assert pings(runtime, first, SECOND)
    assert pings(runtime, second, "172.16.86.1")
    assert lan.router.can_ping(FIRST, timeout_s=5)
    assert lan.macvfast("check") == ""
    pods.remove_pod(first)
    plugin.wait_for(lan, SECOND)
    pods.remove_pod(second)
    wait_until(lambda: not filter_macs(lan), what="the end of the links")


def test_the_node_is_not_ready_while_the_parent_is_away(lan: Lan, runtime: Containerd) -> None:
    """What a kubelet asks every five seconds is a STATUS of the plugin each time."""
    before = lan.requests_served()
    for _ in range(3):
        assert runtime.pods.network_ready()
    assert lan.requests_served() >= before + 3
    lan.host.run("ip", "link", "set", "eth0", "name", "away0")
    assert not runtime.pods.network_ready()
    lan.host.run("ip", "link", "set", "away0", "name", "eth0")
    assert runtime.pods.network_ready()


def test_pods_outlive_a_runtime_and_a_server_that_are_killed(lan: Lan, runtime: Containerd) -> None:
    pods = runtime.pods
    first = pods.run_pod("first")
    runtime.kill(signal.SIGKILL)
    runtime.kill_server()
    runtime.start()
    assert pods.network_ready()
    assert pods.address(first) == FIRST
    second = pods.run_pod("second")
    assert pings(runtime, second, FIRST)
    runtime.serve()
    pods.remove_pod(first)
    plugin.wait_for(lan, SECOND)
    assert pings(runtime, second, "172.16.86.1")
    assert lan.macvfast("check") == ""


def test_after_a_reboot_no_address_is_lost_or_left(lan: Lan, runtime: Containerd) -> None:
    for name in ("first", "second"):
        runtime.pods.run_pod(name)
    runtime.reboot()
    pods = runtime.pods
    third = pods.run_pod("third")
    assert pods.address(third) not in ("", FIRST, SECOND)
    for pod in pods.pods():
        if pod != third:
            pods.remove_pod(pod)
    lan.macvfast("gc")
    plugin.wait_for(lan, pods.address(third))
    assert pings(runtime, third, "172.16.86.1")
    assert lan.macvfast("check") == ""
