"""What is asked for of an attachment: where it may be said, and which place counts."""

from __future__ import annotations

from typing import Any

import pytest

from macvfast.errors import MacInvalid
from macvfast.plugins.cni import networks
from macvfast.plugins.cni.asked import Asked
from macvfast.plugins.cni.conf import Conf
from macvfast.plugins.cni.refusals import BAD_CONFIG, BAD_ENVIRONMENT, Refused

PODS = "io.kubernetes.cri.pod-annotations"
# Each place by itself, the strongest first: the configuration, and CNI_ARGS.
PLACES: list[tuple[dict[str, Any], str]] = [
    ({"runtimeConfig": {"ips": ["10.0.0.1"], "mac": "02:00:00:00:00:01"}}, ""),
    ({"args": {"cni": {"ips": ["10.0.0.2/8"], "mac": "02:00:00:00:00:02"}}}, ""),
    ({}, "IP=10.0.0.3;MAC=02:00:00:00:00:03"),
    ({"runtimeConfig": {PODS: {"macvfast.io/ip": "10.0.0.4", "macvfast.io/mac": "02:00:00:00:00:04"}}}, ""),
]


def asked(said: dict[str, Any], arguments: str = "") -> Asked:
    return Asked(Conf({"name": "pods"} | said), arguments)


def merged(places: list[tuple[dict[str, Any], str]]) -> tuple[dict[str, Any], str]:
    """Several places in one configuration."""
    said: dict[str, Any] = {}
    for conf, _ in places:
        said |= {key: said.get(key, {}) | value for key, value in conf.items()}
    return said, ";".join(text for _, text in places)


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_the_first_place_that_says_something_counts(first: int) -> None:
    found = asked(*merged(PLACES[first:]))
    assert str(found.addresses()["ip"]) == f"10.0.0.{first + 1}"
    assert found.mac == bytes([2, 0, 0, 0, 0, first + 1])


def test_places_are_not_mixed_for_one_thing_and_each_thing_has_its_own() -> None:
    """Catches one that takes what a stronger place leaves out from a weaker one."""
    found = asked({"runtimeConfig": {"ips": ["10.0.0.1"]}}, "IP=2001:db8::3;MAC=02:00:00:00:00:03")
    assert found.addresses().keys() == {"ip"}
    assert found.mac == bytes([2, 0, 0, 0, 0, 3])


def test_upper_and_lower_case_and_nulls_are_as_runtimes_write_them() -> None:
    found = asked({"runtimeConfig": {"IPs": ["10.0.0.1"], "Mac": None, PODS: {"macvfast.io/ip6": "2001:db8::1"}}})
    assert (found.ips, found.mac) == (["10.0.0.1"], None)
    found = asked(
        {"runtimeConfig": {"ips": None, "portMappings": [{"HostPort": 80}], PODS: None}, "args": {"cni": None}}
    )
    assert (found.ips, found.mac, found.addresses()) == ([], None, {})


def test_annotations_have_a_place_for_each_family() -> None:
    said = {"macvfast.io/ip6": "2001:db8::1", "macvfast.io/ip": "10.0.0.1", "example.com/ip": "x"}
    found = asked({"runtimeConfig": {PODS: said}}).addresses()
    assert {key: str(value) for key, value in found.items()} == {"ip": "10.0.0.1", "ip6": "2001:db8::1"}


def test_cni_args_may_have_several_addresses() -> None:
    found = asked({}, "IP=10.0.0.1, 2001:db8::1;GATEWAY=10.0.0.9")
    assert {key: str(value) for key, value in found.addresses().items()} == {"ip": "10.0.0.1", "ip6": "2001:db8::1"}


@pytest.mark.parametrize(
    ("said", "arguments", "code"),
    [
        ({"runtimeConfig": {"ips": "10.0.0.1"}}, "", BAD_CONFIG), ({"args": {"cni": {"ips": [5]}}}, "", BAD_CONFIG),
        ({"runtimeConfig": {"mac": 5}}, "", BAD_CONFIG), ({"runtimeConfig": {PODS: []}}, "", 0),
        ({"runtimeConfig": {PODS: "x"}}, "", BAD_CONFIG),
        ({"runtimeConfig": {PODS: {"macvfast.io/ip": 5}}}, "", BAD_CONFIG),
        ({}, "IP", BAD_ENVIRONMENT), ({}, "WHO=me", BAD_ENVIRONMENT), ({}, "WHO=me;IgnoreUnknown=TRUE", 0),
        ({}, "IP=10.0.0.1,10.0.0.2", BAD_CONFIG), ({}, "IP=10.0.0.256", BAD_CONFIG),
        ({}, "IP=10.0.0.1;GATEWAY=x", BAD_CONFIG),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_of_that_form_is_refused(said: dict[str, Any], arguments: str, code: int) -> None:
    if not code:
        assert asked(said, arguments).addresses() == {}
        return
    with pytest.raises(Refused) as caught:
        asked(said, arguments).addresses()
    assert caught.value.code == code


def test_a_mac_that_no_link_can_have_is_refused() -> None:
    with pytest.raises(MacInvalid):
        asked({}, "MAC=ff:ff:ff:ff:ff:ff")


def test_the_dns_of_a_runtime_takes_the_place_of_the_configurations_field_by_field() -> None:
    """As containerd has it: with the names of Go's fields, and nulls."""
    own = {"nameservers": ["192.0.2.1"], "search": ["lab"], "domain": "lab"}
    dns = {"Servers": ["192.0.2.9"], "Searches": None, "Options": ["ndots:2"]}
    found = Conf({"name": "pods", "dns": own, "runtimeConfig": {"dns": dns}}).dns()
    assert found == own | {"nameservers": ["192.0.2.9"], "options": ["ndots:2"]}
    for wrong in ("x", {"Servers": "x"}, {"servers": [5]}):
        with pytest.raises(Refused):
            Conf({"name": "pods", "runtimeConfig": {"dns": wrong}}).dns()


def test_ranges_that_a_runtime_asks_for_are_before_those_of_the_configuration() -> None:
    six = [{"subnet": "2001:db8::/64"}]
    said = {"name": "pods", "type": "macvlan", "ipam": {"type": "host-local", "subnet": "10.0.0.0/24"}}
    found = networks.read(Conf(said | {"runtimeConfig": {"ipRanges": [six]}})).network
    assert sorted(found.subnets) == ["10.0.0.0/24", "2001:db8::/64"]
    alone = {"name": "pods", "type": "macvlan", "ipam": {"type": "host-local"}, "runtimeConfig": {"IPRanges": [six]}}
    assert [*networks.read(Conf(alone)).network.subnets] == ["2001:db8::/64"]
    for wrong in ("x", [5], [[5]], {"a": 1}):
        with pytest.raises(Refused):
            networks.read(Conf(said | {"runtimeConfig": {"ipRanges": wrong}}))
