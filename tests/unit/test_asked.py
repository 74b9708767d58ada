"""What a plugin may ask of the server: read field by field, and never completed by guesses."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest

from macvfast.errors import AddressInvalid, InvalidConfig, OptionInvalid, RequestInvalid, RouteInvalid
from macvfast.model import Route
from macvfast.plugins.request import Request
from macvfast.requests import EndpointRequest, OpenNetns
from macvfast.serve import request as words

SMALLEST = {"protocol": 1, "id": "0" * 32, "kind": "connect", "network": "lan", "sandbox": "web"}


def read(*descriptors: int, **fields: Any) -> Request:
    said = {key: value for key, value in (SMALLEST | fields).items() if value is not ...}
    found = words.read(json.dumps(said).encode(), descriptors)
    assert isinstance(found, Request)
    return found


def test_every_field_is_read() -> None:
    route = {"destination": "192.0.2.0/24", "via": "10.0.0.1", "metric": 5, "mtu": 1400, "advmss": 1300}
    found = read(
        7, origin="cni", state_dir="/srv/state", netns="/run/netns/web", ip="10.0.0.9", ip6="2001:db8::9",
        mac="02:00:00:00:00:01", mtu=1400, ifname="lan0", routes=[route],
    )  # fmt: skip
    assert found == Request(
        "connect", "0" * 32, "cni", "/srv/state",
        EndpointRequest(
            network="lan", sandbox="web", ip=ip_address("10.0.0.9"), ip6=ip_address("2001:db8::9"),
            mac=bytes.fromhex("020000000001"), ifname="lan0", mtu=1400,
            routes=(Route.of("192.0.2.0/24", "10.0.0.1", metric=5, mtu=1400, advmss=1300),),
        ),
        OpenNetns(7, "/run/netns/web"), words.Plain(),
    )  # fmt: skip
    endpoint = EndpointRequest(network="lan", sandbox="web")
    assert read() == Request("connect", "0" * 32, None, None, endpoint, None, words.Plain())


@pytest.mark.parametrize(
    "fields",
    [
        {"protocol": 2}, {"protocol": 0}, {"protocol": True}, {"protocol": "1"}, {"protocol": ...}, {"id": ...},
        {"id": "0" * 31}, {"id": "G" * 32}, {"id": "0" * 32 + "\n"}, {"kind": "remove"}, {"kind": ["connect"]},
        {"network": ...}, {"network": None}, {"network": ""}, {"sandbox": ...}, {"sandbox": 5}, {"sandbox": "a\nb"},
        {"sandbox": "\ud800"}, {"network": "x" * 5000}, {"ifname": 1}, {"mtu": 1400.0}, {"mtu": True}, {"routes": {}},
        {"routes": ["10.0.0.0/8"]}, {"routes": [{}]}, {"routes": [{"destination": "10.0.0.0/8", "dev": "eth0"}]},
        {"other": 1}, {"netns": "/run/netns/web"}, {"kind": "disconnect", "ip": "10.0.0.9"},
        {"kind": "check", "mtu": 1400},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_request_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid):
        read(**fields)


@pytest.mark.parametrize(("descriptors", "fields"), [
    ((7,), {}), ((7, 8), {"netns": "/x"}), ((7,), {"netns": "x"}), ((7,), {"kind": "check"}),
])  # fmt: skip
def test_a_descriptor_is_a_namespace_with_a_path(descriptors: tuple[int, ...], fields: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid):
        read(*descriptors, **fields)


@pytest.mark.parametrize(("fields", "error"), [
    ({"ip": "10.0.0"}, AddressInvalid), ({"ip": "2001:db8::1"}, AddressInvalid), ({"ifname": "lo"}, OptionInvalid),
    ({"routes": [{"destination": "10.0.0.1/8"}]}, RouteInvalid), ({"mac": "ff:00:00:00:00:01"}, InvalidConfig),
])  # fmt: skip
def test_what_no_endpoint_can_have_is_refused_as_everywhere(fields: dict[str, Any], error: type[InvalidConfig]) -> None:
    with pytest.raises(error):
        read(**fields)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"[" * 100_000, b"\xff", b"9" * 5000, b'{"protocol":1}'])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestInvalid):
        words.read(body, ())
