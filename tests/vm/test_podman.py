"""Networks of Podman's on links that most kernels of test machines lack: ipvlan, sub-interfaces, dummy links."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.host import Host
from macvfast.plugins.doing import answered
from macvfast.plugins.podman import calls
from macvfast.plugins.request import Request
from macvfast.state.store import Store
from tests.vm.support import kind, link, router_vlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.netns import Lan, Netns

ID = "7a" * 32


def call(lan: Lan, verb: str, said: Mapping[str, Any], container: Netns | None = None) -> dict[str, Any]:
    """A call of the plugin, done in this process; what is printed."""

    def with_host() -> dict[str, Any]:
        netns = None if container is None else os.open(container.path, os.O_RDONLY)
        path = "" if container is None else str(container.path)
        try:
            asked = calls.read(calls.Call(os.urandom(16).hex(), verb, json.dumps(said), path, netns))
            assert isinstance(asked, Request), asked
            with Host(Store(str(lan.state_dir), origin="podman"), netns_dir=str(lan.netns_dir)) as host:
                answer: dict[str, Any] = answered(host, asked).said
        finally:
            if netns is not None:
                os.close(netns)
        assert answer["status"] == 0, answer
        return answer["result"] or {}

    return lan.host.call(with_host)


def create(lan: Lan, **options: str) -> dict[str, Any]:
    network = {"name": "n", "id": ID, "driver": "macvfast", "options": options, "subnets": [{"subnet": "10.50.0.0/24"}]}
    return call(lan, "create", network)


def containers(network: Mapping[str, Any]) -> dict[str, Any]:
    """What `setup` and `teardown` get."""
    return {"container_id": "3f" * 32, "network": network, "network_options": {"interface_name": "eth0"}}


@pytest.mark.needs("vlan")
@pytest.mark.parametrize("options", [{"parent": "eth0", "vlan": "50"}, {"parent": "eth0.50"}], ids=str)
def test_a_sub_interface_is_made_for_a_network(lan: Lan, foreign: Netns, options: dict[str, str]) -> None:
    router_vlan(lan, 50, "10.50.0.1/24")
    network = create(lan, **options)
    assert kind(link(lan.host, "eth0.50"))[0] == "vlan"
    said = call(lan, "setup", containers(network), foreign)
    assert [one["ipnet"] for one in said["interfaces"]["eth0"]["subnets"]] == ["10.50.0.2/24"]
    assert foreign.can_ping("10.50.0.1")
    call(lan, "teardown", containers(network), foreign)
    assert foreign.link_names() == ["lo"]


@pytest.mark.needs("ipvlan")
@pytest.mark.parametrize(
    ("options", "mode"), [({"driver": "ipvlan"}, "l2"), ({"ipvlan_mode": "l3"}, "l3"), ({"mode": "l3s"}, "l3s")],
    ids=str,
)  # fmt: skip
def test_an_option_of_ipvlan_makes_an_ipvlan(lan: Lan, foreign: Netns, options: dict[str, str], mode: str) -> None:
    network = create(lan, parent="eth0", **options)
    said = call(lan, "setup", containers(network), foreign)
    made = link(foreign, "eth0")
    assert kind(made) == ("ipvlan", {"mode": mode, "bridge": True})
    assert made["address"] == link(lan.host, "eth0")["address"] == said["interfaces"]["eth0"]["mac_address"]


@pytest.mark.needs("dummy")
def test_a_network_without_a_parent_is_one_of_this_host(lan: Lan, foreign: Netns) -> None:
    network = create(lan)
    # Podman would show its first address as the gateway: no container has it.
    assert network["subnets"] == [{"subnet": "10.50.0.0/24", "gateway": "10.50.0.1"}]
    said = call(lan, "setup", containers(network), foreign)
    assert said["interfaces"]["eth0"]["subnets"] == [{"ipnet": "10.50.0.2/24", "gateway": "10.50.0.1"}]
    assert foreign.ip_json("route", "show", "default") == []
