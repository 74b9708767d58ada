"""All 4,094 VLANs of one parent as networks, in one call each way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from macvfast.requests import NetworkRequest
from tests.acceptance.support import record

if TYPE_CHECKING:
    from macvfast.host import Host
    from tests.netns import Lan

pytestmark = pytest.mark.needs("vlan", "macvlan")

# IEEE 802.1Q: 0 and 4095 are no VLAN's.
VIDS = range(1, 4095)


def connect(host: Host, vid: int) -> None:
    host.connect_many(f"v{vid}", [f"box{vid}"]).raise_if_any()


@pytest.mark.timeout(900)
def test_every_vlan_of_a_parent_is_a_network_and_goes_again(lan: Lan) -> None:
    # The kernel's own work for IPv6 grows with every link of a namespace: minutes, in here.
    lan.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    before = lan.host.ip_json("link", "show")
    requests = [
        # Each VLAN is an address space of its own: all may have the same subnet.
        NetworkRequest(name=f"v{vid}", subnets=("10.0.0.0/24",), parent=f"eth0.{vid}")
        for vid in VIDS
    ]
    lan.api(lambda host: host.create_networks(requests).raise_if_any())
    made = {
        link["ifname"]: link["linkinfo"]["info_data"]["id"]
        for link in lan.host.ip_json("link", "show", "type", "vlan")
        if link["link"] == "eth0" and "UP" in link["flags"]
    }
    assert made == {f"eth0.{vid}": vid for vid in VIDS}
    for vid in (1, 2048, 4094):
        lan.api(partial(connect, vid=vid))
        assert "10.0.0.2/24" in lan.sandbox(f"box{vid}").run("ip", "address", "show", "dev", "eth0")
    lan.api(lambda host: host.remove_many([f"box{vid}" for vid in (1, 2048, 4094)]).raise_if_any())
    lan.api(lambda host: host.remove_networks([f"v{vid}" for vid in VIDS]).raise_if_any())
    assert lan.host.ip_json("link", "show") == before
    assert record(lan) == {}
