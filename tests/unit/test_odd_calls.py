"""Calls of plugins with one odd value, in each place that there is: a request, or a refusal in the engine's words."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.plugins.cni import calls as cni
from macvfast.plugins.docker import calls as docker
from macvfast.plugins.docker.answers import Call, Peer
from macvfast.plugins.podman import calls as podman
from macvfast.plugins.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 1.5, 1 << 70, float("nan"), float("inf"), "", " ", "x", "\u00e9", "\ud800", "\0",
    "a\nb", "1" * 5000, "a" * 300, "-1", "0x10", "\u0663", "10.0.0.0/8", "10.1.0.1", "10.1.0.1/24", "::1",
    "fd00::/64", "fd00::1/64", "fe80::1%eth0", "0.0.0.0/0", "256.1.1.1", "eth0", "eth0.50", "macvlan", "ipvlan", "l3",
    "10.0.0.5/24", "true", "none", "../..", "/proc/1/ns/net", "02:42:ac:11:00:02", "ff:ff:ff:ff:ff:ff", [], {}, [[]],
    [None], [1], {"a": 1}, {"": ""}, {"a": {}}, "10.1.0.5-10.1.0.4", "10.1.0.0/24,10.2.0.0/24",
]  # fmt: skip

ID = "a" * 64
LAN: Any = {
    "dns_enabled": False, "driver": "macvfast", "id": ID, "internal": False, "ipv6_enabled": False, "name": "lan",
    "network_interface": "eth0", "ipam_options": {"driver": "none"}, "network_dns_servers": ["192.0.2.1"],
    "options": {
        "parent": "eth0", "mode": "bridge", "vlan": "7", "metric": "5", "mtu": "1400", "no_default_route": "false",
    },
    "subnets": [{
        "subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "lease_range": {"start_ip": "10.1.0.5", "end_ip": "10.1.0.9"},
    }],
    "routes": [{"destination": "10.9.0.0/24", "gateway": "10.1.0.3", "metric": 7, "route_type": "unicast"}],
}  # fmt: skip
BOX: Any = {
    "container_id": ID, "container_name": "web", "network": LAN,
    "network_options": {
        "interface_name": "eth0", "static_ips": ["10.1.0.7"], "static_mac": "02:42:ac:11:00:02", "options": {},
    },
}  # fmt: skip
PODMAN = {podman.CREATE: LAN, podman.SETUP: BOX, podman.TEARDOWN: BOX}

BOTH = {"NetworkID": ID, "EndpointID": ID}
DOCKER: dict[str, Any] = {
    "NetworkDriver.GwAllocCheck": {"Options": {"com.docker.network.generic": {"parent": "eth0", "driver": "macvlan"}}},
    "NetworkDriver.CreateNetwork": {
        "NetworkID": ID, "IPv4Data": [{"Pool": "10.1.0.0/24", "Gateway": "10.1.0.1/24"}],
        "IPv6Data": [{"Pool": "fd00::/64", "Gateway": "fd00::1/64"}],
        "Options": {
            "com.docker.network.internal": False,
            "com.docker.network.generic": {"parent": "eth0", "gateway": "none", "macvlan_mode": "bridge"},
        },
    },
    "NetworkDriver.DeleteNetwork": {"NetworkID": ID},
    "NetworkDriver.CreateEndpoint": {
        **BOTH, "Options": {"macvfast.name": "web"},
        "Interface": {"Address": "10.1.0.2/24", "AddressIPv6": "fd00::2/64", "MacAddress": "02:42:ac:11:00:02"},
    },
    "NetworkDriver.Join": {**BOTH, "SandboxKey": "/var/run/docker/netns/x", "Options": {}},
    "NetworkDriver.Leave": BOTH,
    "NetworkDriver.DeleteEndpoint": BOTH,
    "IpamDriver.RequestPool": {
        "AddressSpace": "macvfast", "Pool": "10.1.0.0/24", "SubPool": "10.1.0.0/25", "Options": {"domain": "x"},
        "V6": False,
    },
    "IpamDriver.ReleasePool": {"PoolID": "x"},
    "IpamDriver.RequestAddress": {"PoolID": "x", "Address": "10.1.0.5", "Options": {}},
    "IpamDriver.ReleaseAddress": {"PoolID": "x", "Address": "10.1.0.5"},
}  # fmt: skip

CONF: Any = {
    "cniVersion": "1.1.0", "name": "pods", "type": "macvlan", "master": "eth0", "mode": "bridge", "mtu": 1400,
    "dns": {"nameservers": ["192.0.2.1"], "domain": "lan", "search": ["lan"], "options": ["ndots:2"]},
    "capabilities": {"ips": True, "mac": True},
    "runtimeConfig": {
        "ips": ["10.1.0.7/24"], "mac": "02:42:ac:11:00:02", "ipRanges": [[{"subnet": "10.1.0.0/24"}]],
        "io.kubernetes.cri.pod-annotations": {"macvfast.io/ip": "10.1.0.8"},
    },
    "args": {"cni": {"ips": ["10.1.0.7"]}},
    "ipam": {
        "type": "host-local", "dataDir": "/nowhere", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400}],
        "ranges": [[{
            "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.9", "gateway": "10.1.0.1",
        }]],
    },
    "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "net1"}],
}  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """All places in a JSON value."""
    yield ()
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield from ((key, *rest) for key, child in children for rest in places(child))


def odd(value: Any) -> Iterator[str]:
    """The value with each odd one in each place, and with nothing there."""
    for place in places(value):
        if not place:
            yield from map(json.dumps, ODD)
            continue
        changed = copy.deepcopy(value)
        within = changed
        for key in place[:-1]:
            within = within[key]
        for one in ODD:
            within[place[-1]] = one
            yield json.dumps(changed)
        del within[place[-1]]
        yield json.dumps(changed)


@pytest.mark.parametrize("verb", PODMAN)
def test_podman_is_answered(verb: str) -> None:
    for text in odd(PODMAN[verb]):
        said: Any = podman.read(podman.Call("0" * 32, verb, text, "/x", 3))
        assert isinstance(said, Request) or (said["status"] == 1 and said["result"]["error"]), text


@pytest.mark.parametrize("method", DOCKER)
def test_docker_is_answered(method: str) -> None:
    for text in odd(DOCKER[method]):
        said = docker.read(Call("0" * 32, method, text.encode(), Peer(1, 1, "boot-1")))
        assert isinstance(said, Request) or said.status == docker.OK, text


@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL", "GC", "STATUS"])
def test_a_runtime_is_answered(command: str) -> None:
    environment = {
        "CNI_COMMAND": command, "CNI_CONTAINERID": "c1", "CNI_IFNAME": "net1", "CNI_NETNS": "/x",
        "CNI_PATH": "/nowhere", "CNI_NETNS_OVERRIDE": "1",
    }  # fmt: skip
    for text in odd(CONF):
        said: Any = cni.read(cni.Call("0" * 32, environment, text, 0))
        assert isinstance(said, Request) or said["status"] == 0 or said["result"]["code"], text
