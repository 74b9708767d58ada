"""Configurations of CNI's plugins on links that most kernels of test machines lack: ipvlan, and sub-interfaces."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.host import Host
from macvfast.plugins.cni import calls
from macvfast.plugins.doing import answered
from macvfast.plugins.request import Request
from macvfast.state.store import Store
from tests.vm.support import kind, link, router_vlan

if TYPE_CHECKING:
    from tests.netns import Lan, Netns

CONF = {
    "cniVersion": "1.0.0", "name": "pods", "type": "macvfast", "master": "eth0",
    "ipam": {
        "type": "host-local", "dataDir": "/run/kept", "ranges": [[{"subnet": "10.50.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    },
}  # fmt: skip


def call(lan: Lan, command: str, container: Netns, **fields: object) -> dict[str, Any]:
    """A call of the plugin, done in this process; what is printed."""
    environment = {
        "CNI_COMMAND": command, "CNI_CONTAINERID": container.name, "CNI_IFNAME": "net1", "CNI_PATH": "/opt/cni/bin",
        "CNI_NETNS": str(container.path),
    }  # fmt: skip

    def with_host() -> dict[str, Any]:
        netns = os.open(container.path, os.O_RDONLY)
        try:
            asked = calls.read(calls.Call(os.urandom(16).hex(), environment, json.dumps(CONF | fields), netns))
            assert isinstance(asked, Request), asked
            with Host(Store(str(lan.state_dir), origin="cni"), netns_dir=str(lan.netns_dir)) as host:
                said: dict[str, Any] = answered(host, asked).said
        finally:
            os.close(netns)
        assert said["status"] == 0, said
        return said["result"] or {}

    return lan.host.call(with_host)


@pytest.mark.needs("ipvlan")
@pytest.mark.parametrize(
    ("fields", "mode"),
    [({"driver": "ipvlan"}, "l2"), ({"type": "ipvlan", "mode": "l3s"}, "l3s"), ({"mode": "l3"}, "l3")],
    ids=str,
)
def test_a_configuration_of_ipvlan_makes_an_ipvlan(lan: Lan, foreign: Netns, fields: dict[str, str], mode: str) -> None:
    result = call(lan, "ADD", foreign, **fields)
    made = link(foreign, "net1")
    assert kind(made) == ("ipvlan", {"mode": mode, "bridge": True})
    assert made["address"] == link(lan.host, "eth0")["address"] == result["interfaces"][0]["mac"]
    assert [(one["dst"], one.get("gateway")) for one in foreign.ip_json("route", "show", "default")] == [
        ("default", "10.50.0.1")
    ]
    call(lan, "CHECK", foreign, prevResult=result, **fields)
    call(lan, "DEL", foreign, **fields)
    assert [one["ifname"] for one in foreign.ip_json("link", "show")] == ["lo"]


@pytest.mark.needs("vlan")
def test_a_vlan_beside_the_master_is_a_sub_interface_that_is_made(lan: Lan, foreign: Netns) -> None:
    """And another VLAN is another network of the same configuration, whose addresses are its own."""
    router_vlan(lan, 50, "10.50.0.1/24")
    result = call(lan, "ADD", foreign, vlan=50)
    assert kind(link(lan.host, "eth0.50"))[0] == "vlan"
    assert foreign.can_ping("10.50.0.1")
    call(lan, "CHECK", foreign, prevResult=result)
    call(lan, "DEL", foreign, vlan=50)
    assert call(lan, "ADD", foreign, vlan=51)["ips"][0]["address"] == result["ips"][0]["address"]
    names = lan.api(lambda host: [one.name for one in host.networks()])
    assert (names[0], len(names)) == ("cni-pods", 2)
