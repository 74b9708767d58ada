"""A network on a VLAN that several processes ask for at once, and that changes under a sandbox that lives on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import NetworkDiffers
from macvfast.requests import NetworkRequest
from tests.vm.support import addresses, link, remove, router_vlan, sandbox

if TYPE_CHECKING:
    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("vlan", "macvlan")

LAB = NetworkRequest(name="lab", subnets=("10.5.0.0/24",), gateways=("10.5.0.1",), parent="eth0.50")


def ensured_at_once(lan: Lan, count: int) -> list[str]:
    """The ids that so many processes get which all ask for the network at once."""
    reader, writer = os.pipe()
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writer, lan.api(lambda host: host.ensure_network(LAB)).id.encode() + b"\n")
            finally:
                os._exit(0)
        pids.append(pid)
    os.close(writer)
    for pid in pids:
        os.waitpid(pid, 0)
    with os.fdopen(reader) as told:
        return told.read().split()


def made_links(lan: Lan, box: Netns) -> list[object]:
    """What the sandbox's link and its parent were made with; what the kernel makes of it later is left out."""
    pair = link(box, "eth0"), link(lan.host, "eth0.50")
    return [addresses(box), *((one["ifindex"], one["address"], one["mtu"]) for one in pair)]


def test_processes_that_ask_for_one_network_at_once_all_get_it(lan: Lan) -> None:
    ids = ensured_at_once(lan, 6)
    assert (len(ids), len(set(ids))) == (6, 1)
    assert lan.host.link_names() == ["eth0", "eth0.50", "lo"]
    assert lan.api(lambda host: host.check()) == []
    remove(lan, "lab")
    assert lan.host.link_names() == ["eth0", "lo"]


def test_a_network_on_a_vlan_changes_under_its_sandbox(lan: Lan) -> None:
    router_vlan(lan, 50, "10.5.0.1/24")
    made = lan.api(lambda host: host.ensure_network(LAB))
    box = sandbox(lan, "box", "lab")
    before = made_links(lan, box)
    after = lan.api(lambda host: host.update_network("lab", ip_ranges=["10.5.0.128/25"], share_parent=True))
    assert after.id == made.id
    assert made_links(lan, box) == before
    assert box.can_ping("10.5.0.1")
    assert addresses(sandbox(lan, "new", "lab")) == ["10.5.0.128/24"]
    with pytest.raises(NetworkDiffers, match=r"parent: eth0\.50 is recorded, eth0 is asked for"):
        lan.api(
            lambda host: host.ensure_network(
                NetworkRequest(name="lab", subnets=LAB.subnets, gateways=LAB.gateways, parent="eth0")
            )
        )
