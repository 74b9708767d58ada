"""Results of IPAM plugins, read in every version that one may answer in."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from macvfast.errors import RouteInvalid
from macvfast.plugins.cni.given import Given
from macvfast.plugins.cni.refusals import Refused

NEW: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "ips": [
        {"address": "10.1.2.3/24", "gateway": "10.1.2.1"},
        {"address": "2001:db8::5/64", "gateway": "2001:db8::1", "interface": None},
    ],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.1.2.9"}, {"dst": "::/0", "gw": None}],
    "dns": {"nameservers": ["10.1.2.1"], "search": [], "domain": ""},
}
OLD: dict[str, Any] = {
    "cniVersion": "0.2.0",
    "ip4": {"ip": "10.1.2.3/24", "gateway": "10.1.2.1", "routes": [{"dst": "0.0.0.0/0"}, NEW["routes"][1]]},
    "ip6": {"ip": "2001:db8::5/64", "gateway": "2001:db8::1", "routes": [{"dst": "::/0"}]},
    "dns": {"nameservers": ["10.1.2.1"]},
}


def routes(*said: dict[str, Any]) -> list[str]:
    return [str(one) for one in Given.of(NEW | {"routes": list(said)}).routes]


@pytest.mark.parametrize("said", [NEW, OLD], ids=["today's", "of 0.2.0"])
def test_a_result_of_any_version_is_the_same(said: dict[str, Any]) -> None:
    given = Given.of(said)
    assert given.addresses == (
        (ip_interface("10.1.2.3/24"), ip_address("10.1.2.1")),
        (ip_interface("2001:db8::5/64"), ip_address("2001:db8::1")),
    )
    # One without a gateway goes by that of its family.
    assert sorted(map(str, given.routes)) == [
        "0.0.0.0/0 via 10.1.2.1", "192.0.2.0/24 via 10.1.2.9", "::/0 via 2001:db8::1",
    ]  # fmt: skip
    assert given.dns == {"nameservers": ["10.1.2.1"]}


def test_what_is_not_said_is_not_there() -> None:
    assert Given.of({"ips": [{"address": "10.1.2.3/24"}], "routes": None, "dns": None}) == Given(
        ((ip_interface("10.1.2.3/24"), None),)
    )
    assert Given.of({}).addresses == ()


def test_a_route_is_taken_as_the_reference_plugins_take_it() -> None:
    said = {"dst": "192.0.2.0/24", "gw": "10.1.2.9", "priority": 7, "mtu": 1400, "advmss": 1300}
    assert routes(said) == ["192.0.2.0/24 via 10.1.2.9 metric 7 mtu 1400 advmss 1300"]
    # Of two to one destination the last counts.
    assert routes({"dst": "0.0.0.0/0", "gw": "10.1.2.7"}, {"dst": "0.0.0.0/0"}) == ["0.0.0.0/0 via 10.1.2.1"]


@pytest.mark.parametrize(
    "said",
    [
        {"ips": 5}, {"ips": [5]}, {"ips": [{}]}, {"ips": [{"address": 5}]}, {"ips": [{"address": "10.1.2.3"}]},
        {"ips": [{"address": "10.1.2.3/255.255.255.0"}]}, {"ips": [{"address": "10.1.2.3/33"}]},
        {"ips": [{"address": "fe80::1%eth0/64"}]}, {"ips": [{"address": "10.1.2.3/24", "gateway": "x"}]},
        {"ips": [{"address": "10.1.2.3/24", "gateway": 5}]}, {"ip4": []}, {"routes": [5]}, {"routes": [{}]},
        {"routes": [{"dst": "0.0.0.0/0", "mtu": "1400"}]},
        {"routes": [{"dst": "0.0.0.0/0", "mtu": True}]}, {"dns": 5}, {"dns": {"search": [5]}},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_result_has_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        Given.of(said)


@pytest.mark.parametrize(
    "said",
    [{"dst": "0.0.0.0/0", "gw": "x"}, {"dst": "x"}, {"dst": "10.1.2.3/24"}, {"dst": "0.0.0.0/0", "gw": "::1"}],
    ids=str,
)
def test_a_route_that_no_link_can_have_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(RouteInvalid):
        routes(said)
