"""A network that was made in Python is shown as the one that was typed."""

from __future__ import annotations

import json
import shlex
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.cli.show.networks import inspected
from macvfast.requests import NetworkRequest
from tests.asked import network_request

if TYPE_CHECKING:
    from tests.unit.machine import Machine


def shown(machine: Machine, request: NetworkRequest | dict[str, Any]) -> str:
    """What `network inspect` prints, without what differs between any two networks; the network is removed again."""
    host = machine.host
    made = host.create_network(request) if isinstance(request, NetworkRequest) else host.create_network(**request)
    found = inspected(host.network("n"), host.endpoints(made), host.usage(made))
    host.remove_networks(["n"]).raise_if_any()
    return json.dumps({key: value for key, value in found.items() if key not in ("Id", "Created")})


def words(line: str) -> NetworkRequest:
    return network_request(shlex.split(f"{line} n"))


ON = {"subnets": ["10.9.0.0/24"], "parent": "eth1"}
TYPED = "--subnet=10.9.0.0/24 -o parent=eth1"
SAME: list[tuple[str, dict[str, Any]]] = [
    (TYPED, ON),
    (f"{TYPED} -o mtu=1400 -o macvlan_mode=private", {**ON, "mtu": 1400, "mode": "private"}),
    (f"-o macvlan_mode=private -o mtu=1400 {TYPED}", {**ON, "mtu": 1400, "mode": "private"}),
    (f"{TYPED} -o macvlan_mode=bridge", {**ON, "mode": "bridge"}),
    (f"-d ipvlan {TYPED} -o ipvlan_mode=l2", {**ON, "driver": "ipvlan", "mode": "l2"}),
    (f"-d ipvlan {TYPED} -o ipvlan_flag=vepa", {**ON, "driver": "ipvlan", "flag": "vepa"}),
    (f"-d ipvlan {TYPED} -o ipvlan_mode=l3s", {**ON, "driver": "ipvlan", "mode": "l3s"}),
    (
        f"{TYPED} -o share_parent=true -o ipam_order=next -o ipv6_ra=off",
        {**ON, "share_parent": True, "order": "next", "ipv6_ra": False},
    ),
    (f"{TYPED} --label=b=1 --label=a=0 --label=a", {**ON, "labels": {"a": "", "b": "1"}}),
    (f"{TYPED} --label=b=1 --label=a=0 --label=a", {**ON, "labels": [("b", "1"), ("a", "0"), ("a", "")]}),
    (
        f"{TYPED} --ip-range=10.9.0.128/25 --gateway=10.9.0.1 --aux-address=z=10.9.0.9 --aux-address=b=10.9.0.8",
        {
            **ON,
            "subnets": [IPv4Network("10.9.0.0/24")],
            "ip_ranges": (IPv4Network("10.9.0.128/25"),),
            "gateways": [IPv4Address("10.9.0.1")],
            "aux": {"b": IPv4Address("10.9.0.8"), "z": "10.9.0.9"},
        },
    ),
    (f"{TYPED} --gateway=none", {**ON, "gateways": None}),
    (f"{TYPED} --subnet=fd09::/64", {**ON, "subnets": ["10.9.0.0/24", "fd09::/64"]}),
    (f"{TYPED} --subnet=fd09::/64 --no-ipv6", {**ON, "subnets": ["10.9.0.0/24", "fd09::/64"], "ipv6": False}),
    ("--internal", {"internal": True}),
    ("", {}),
]


@pytest.mark.parametrize(("line", "values"), SAME)
def test_what_two_ways_make_is_shown_the_same(machine: Machine, line: str, values: dict[str, Any]) -> None:
    """Wrong: the options of a network that was made in Python are `{}`, and labels stand in the order of typing."""
    machine.host.remove_networks(["other"]).raise_if_any()
    typed = shown(machine, words(line))
    assert shown(machine, {"name": "n", **values}) == typed
    whole: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    if whole.pop("gateways", ()) is None:
        whole["gateway_automatic"] = False
    elif "gateways" in values:
        whole["gateways"] = values["gateways"]
    assert shown(machine, NetworkRequest(name="n", **whole)) == typed


def test_options_that_were_filled_in_are_not_shown(machine: Machine) -> None:
    """As Docker, which shows what was asked for. Wrong: the default mode, once the subnet was chosen by itself."""
    assert json.loads(shown(machine, {"name": "n"}))["Options"] == {}
