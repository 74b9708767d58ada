"""Batches on a real kernel, judged by `ip -json -details`."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import json
import subprocess
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from macvfast import _core
from tests import netns, probe
from tests.kernel.handles import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.needs("root")

PARENT = 10
FIRST = 1 << 20


def run_ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Place:
    """A namespace that `ip netns` made, and our handle on it."""

    name: str
    namespace: _core.Namespace

    @property
    def netlink(self) -> _core.Netlink:
        return self.namespace.netlink

    def ip(self, *arguments: str) -> str:
        return run_ip("-n", self.name, *arguments)

    def links(self) -> dict[str, dict[str, Any]]:
        """Links by name, as `ip` sees them."""
        return {link["ifname"]: link for link in json.loads(self.ip("-json", "-details", "link", "show"))}

    def addresses(self, ifname: str) -> list[dict[str, Any]]:
        shown = json.loads(self.ip("-json", "-details", "address", "show", "dev", ifname))
        return [address for link in shown for address in link["addr_info"]]

    def routes(self, family: int) -> list[dict[str, Any]]:
        routes: list[dict[str, Any]] = json.loads(self.ip(f"-{family}", "-json", "route", "show") or "[]")
        return routes


@pytest.fixture
def make_place() -> Iterator[Callable[[], Place]]:
    places: list[Place] = []

    def make() -> Place:
        name = f"mvf-{uuid.uuid4().hex[:10]}"
        run_ip("netns", "add", name)
        places.append(Place(name, opened(f"/run/netns/{name}")))
        return places[-1]

    yield make
    for place in places:
        place.namespace.close()
        run_ip("netns", "del", place.name)


@pytest.fixture
def host(make_place: Callable[[], Place]) -> Place:
    """A namespace with a parent that is UP and has a carrier."""
    place = make_place()
    ends = [
        "name",
        "parent",
        "index",
        str(PARENT),
        "up",
        "type",
        "veth",
        "peer",
        "name",
        "far",
        "index",
        str(PARENT + 1),
    ]
    place.ip("link", "add", *ends)
    place.ip("link", "set", "far", "up")
    return place


@pytest.fixture
def sandbox(make_place: Callable[[], Place]) -> Place:
    return make_place()


def send(place: Place, *fill: Callable[[_core.Batch], int]) -> dict[int, _core.Refusal]:
    batch = _core.Batch()
    for one in fill:
        one(batch)
    return place.netlink.send(batch)


def mac_of(number: int) -> bytes:
    return bytes([2, 0x42, 10, 0, *divmod(number, 256)])


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa", "passthru"])
def test_a_macvlan_is_born_whole_in_the_other_namespace(host: Place, sandbox: Place, mode: str) -> None:
    batch = _core.Batch()
    position = batch.add_macvlan(
        "eth0",
        FIRST,
        PARENT,
        mode,
        mac=b"\x02\x42\x0a\x00\x00\x02",
        mtu=1400,
        group=4242,
        netns=sandbox.namespace,
    )
    assert (position, len(batch)) == (0, 1)
    assert host.netlink.send(batch) == {}
    parent = host.links()["parent"]
    link = sandbox.links()["eth0"]
    assert link["ifindex"] == FIRST
    # passthru has its parent's MAC, whatever was asked for.
    assert link["address"] == (parent["address"] if mode == "passthru" else "02:42:0a:00:00:02")
    assert link["mtu"] == 1400
    assert link["group"] == "4242"
    assert "UP" in link["flags"]
    assert link["link_index"] == PARENT
    assert link["linkinfo"]["info_kind"] == "macvlan"
    assert link["linkinfo"]["info_data"]["mode"] == mode
    assert sorted(host.links()) == ["far", "lo", "parent"]


def test_a_link_can_be_born_down_and_brought_up_later(host: Place, sandbox: Place) -> None:
    inside = sandbox.namespace
    assert send(host, lambda b: b.add_macvlan("eth0", FIRST, PARENT, "bridge", netns=inside, up=False)) == {}
    assert "UP" not in sandbox.links()["eth0"]["flags"]
    assert send(sandbox, lambda b: b.set_up(FIRST)) == {}
    assert "UP" in sandbox.links()["eth0"]["flags"]


def test_one_bad_request_among_300_is_refused_alone_with_the_kernels_words(host: Place, sandbox: Place) -> None:
    batch = _core.Batch()
    for number in range(300):
        mtu = 70_000 if number == 150 else 1400
        batch.add_macvlan(
            f"m{number}", FIRST + number, PARENT, "bridge", mtu=mtu, mac=mac_of(number), netns=sandbox.namespace
        )
    refused = host.netlink.send(batch)
    assert list(refused) == [150]
    assert refused[150].errno == errno.EINVAL
    assert refused[150].text == "mtu greater than device maximum"
    assert not refused[150].unknown
    assert refused[150].operation is None
    assert set(sandbox.links()) == {"lo", *(f"m{number}" for number in range(300) if number != 150)}


def test_refusals_in_every_send_of_a_batch_are_found_at_their_positions(host: Place) -> None:
    batch = _core.Batch()
    for number in range(700):
        if number % 100 == 99:
            batch.delete_link(999_999)
        else:
            batch.set_up(PARENT)
    refused = host.netlink.send(batch)
    assert list(refused) == [99, 199, 299, 399, 499, 599, 699]
    assert {refusal.errno for refusal in refused.values()} == {errno.ENODEV}


def test_every_one_of_600_refusals_comes_back(host: Place) -> None:
    batch = _core.Batch()
    for _ in range(600):
        batch.delete_link(999_999)
    refused = host.netlink.send(batch)
    assert list(refused) == list(range(600))
    assert all(refusal.errno == errno.ENODEV and not refusal.unknown for refusal in refused.values())


def test_2000_requests_of_one_batch_are_all_done(host: Place, sandbox: Place) -> None:
    batch = _core.Batch()
    for number in range(2000):
        batch.add_macvlan(
            f"m{number}", FIRST + number, PARENT, "bridge", mac=mac_of(number), netns=sandbox.namespace, up=False
        )
    assert host.netlink.send(batch) == {}
    seen = sandbox.netlink.links()
    assert [link.ifindex for link in seen] == [1, *range(FIRST, FIRST + 2000)]
    assert {link["address"] for link in sandbox.links().values()} >= {mac_of(number).hex(":") for number in range(2000)}


def test_a_taken_index_and_a_taken_name_are_refused(host: Place) -> None:
    assert send(host, lambda b: b.add_macvlan("m0", FIRST, PARENT, "bridge")) == {}
    refused = send(
        host,
        lambda b: b.add_macvlan("m1", FIRST, PARENT, "bridge"),
        lambda b: b.add_macvlan("m0", FIRST + 1, PARENT, "bridge"),
    )
    # Which of the two an index gives depends on the kernel's release.
    assert refused[0].errno in (errno.EEXIST, errno.EBUSY)
    assert refused[1].errno == errno.EEXIST
    assert set(host.links()) == {"lo", "parent", "far", "m0"}


def test_a_group_is_deleted_without_the_stranger_beside_it(host: Place) -> None:
    batch = _core.Batch()
    for number in range(20):
        batch.add_macvlan(f"m{number}", FIRST + number, PARENT, "bridge", group=4242)
    batch.add_macvlan("stranger", FIRST + 100, PARENT, "bridge", group=4243)
    batch.add_macvlan("none", FIRST + 101, PARENT, "bridge")
    assert host.netlink.send(batch) == {}
    assert send(host, lambda b: b.delete_group(4242)) == {}
    assert set(host.links()) == {"lo", "parent", "far", "stranger", "none"}


def test_a_link_put_into_a_group_is_deleted_with_it(host: Place) -> None:
    batch = _core.Batch()
    for number in range(2):
        batch.add_macvlan(f"m{number}", FIRST + number, PARENT, "bridge", group=5)
    assert host.netlink.send(batch) == {}
    assert send(host, lambda b: b.set_group(FIRST + 1, 6)) == {}
    assert host.links()["m1"]["group"] == "6"
    assert send(host, lambda b: b.delete_group(6)) == {}
    assert set(host.links()) == {"lo", "parent", "far", "m0"}


def test_group_zero_is_not_deleted() -> None:
    batch = _core.Batch()
    with pytest.raises(ValueError, match="group 0"):
        batch.delete_group(0)
    assert len(batch) == 0


def test_deleting_a_link_removes_that_one_only_and_twice_is_reported(host: Place) -> None:
    batch = _core.Batch()
    for number in range(2):
        batch.add_macvlan(f"m{number}", FIRST + number, PARENT, "bridge")
    assert host.netlink.send(batch) == {}
    assert send(host, lambda b: b.delete_link(FIRST)) == {}
    assert set(host.links()) == {"lo", "parent", "far", "m1"}
    assert send(host, lambda b: b.delete_link(FIRST))[0].errno == errno.ENODEV


def test_addresses_and_default_routes_of_both_families(host: Place, sandbox: Place) -> None:
    inside = sandbox.namespace
    assert send(host, lambda b: b.add_macvlan("eth0", FIRST, PARENT, "bridge", netns=inside)) == {}
    v4, v6 = ipaddress.ip_address("10.0.0.2").packed, ipaddress.ip_address("2001:db8::2").packed
    gateway4, gateway6 = ipaddress.ip_address("10.0.0.1").packed, ipaddress.ip_address("2001:db8::1").packed
    refused = send(
        sandbox,
        lambda b: b.add_address(FIRST, v4, 24),
        lambda b: b.add_address(FIRST, v6, 64),
        lambda b: b.add_route(FIRST, bytes(4), 0, gateway4),
        lambda b: b.add_route(FIRST, bytes(16), 0, gateway6),
    )
    assert refused == {}
    shown = {address["local"]: address for address in sandbox.addresses("eth0")}
    assert shown["10.0.0.2"]["prefixlen"] == 24
    assert shown["10.0.0.2"]["scope"] == "global"
    assert "broadcast" not in shown["10.0.0.2"]
    assert shown["2001:db8::2"]["prefixlen"] == 64
    assert shown["2001:db8::2"]["scope"] == "global"
    assert shown["2001:db8::2"].get("nodad")
    assert not shown["2001:db8::2"].get("tentative")
    assert sandbox.ip("-4", "route", "show", "default").strip() == "default via 10.0.0.1 dev eth0"
    (default6,) = [route for route in sandbox.routes(6) if route["dst"] == "default"]
    assert (default6["gateway"], default6["dev"]) == ("2001:db8::1", "eth0")
    # And as we read them.
    ours = sandbox.netlink.addresses(FIRST)
    assert (v4, 24) in ours
    assert (v6, 64) in ours
    assert len(ours) == len(shown)
    wanted = [(bytes(4), 0, 0, FIRST, gateway4, *PLAIN), (bytes(16), 0, 1024, FIRST, gateway6, *PLAIN)]
    assert sandbox.netlink.routes(default_only=True) == wanted
    # A second default route is refused.
    assert send(sandbox, lambda b: b.add_route(FIRST, bytes(4), 0, gateway4))[0].errno == errno.EEXIST


def test_addresses_and_routes_as_other_programs_make_them(host: Place, sandbox: Place) -> None:
    inside = sandbox.namespace
    assert send(host, lambda b: b.add_macvlan("eth0", FIRST, PARENT, "bridge", netns=inside)) == {}
    v4, v6 = ipaddress.ip_address("10.0.0.2").packed, ipaddress.ip_address("2001:db8::2").packed
    near = ipaddress.ip_address("10.0.0.1").packed
    far = ipaddress.ip_address("192.0.2.0").packed
    refused = send(
        sandbox,
        lambda b: b.add_address(FIRST, v4, 24, usual=True),
        lambda b: b.add_address(FIRST, v6, 64, usual=True),
        lambda b: b.add_route(FIRST, bytes(4), 0, near),
        lambda b: b.add_route(FIRST, bytes(4), 0, None, scope=0, beside=True),
        lambda b: b.add_route(FIRST, far, 24, near, table=1000, beside=True),
        # Not the very same one once more.
        lambda b: b.add_route(FIRST, bytes(4), 0, None, scope=0, beside=True),
    )
    assert {at: refusal.errno for at, refusal in refused.items()} == {5: errno.EEXIST}
    shown = {address["local"]: address for address in sandbox.addresses("eth0")}
    assert shown["10.0.0.2"]["broadcast"] == "10.0.0.255"
    assert "nodad" not in shown["2001:db8::2"]
    # The link has no carrier that it waits for: duplicates are looked for at once, for a second at least.
    assert sandbox.netlink.is_tentative(FIRST, v6)
    assert not sandbox.netlink.is_tentative(FIRST, v4)
    assert not sandbox.netlink.is_tentative(FIRST, near)
    netns.wait_until(lambda: not sandbox.netlink.is_tentative(FIRST, v6), what="the detection of duplicates")
    # The new one goes first.
    assert sandbox.ip("-4", "route", "show", "default").splitlines() == [
        "default dev eth0 ", "default via 10.0.0.1 dev eth0 ",
    ]  # fmt: skip
    assert sandbox.ip("-4", "route", "show", "table", "1000").strip() == "192.0.2.0/24 via 10.0.0.1 dev eth0"


# Of a route: that no router advertised it, and that it has no mtu or advmss of its own.
PLAIN = (False, None, None)


def test_a_default_route_to_the_link_itself(host: Place, sandbox: Place) -> None:
    inside = sandbox.namespace
    assert send(host, lambda b: b.add_macvlan("eth0", FIRST, PARENT, "bridge", netns=inside)) == {}
    assert send(sandbox, lambda b: b.add_route(FIRST, bytes(4), 0, None)) == {}
    assert send(sandbox, lambda b: b.add_route(FIRST, bytes(16), 0, None)) == {}
    assert sandbox.ip("-4", "route", "show", "default").strip() == "default dev eth0 scope link"
    wanted = [(bytes(4), 0, 0, FIRST, None, *PLAIN), (bytes(16), 0, 1024, FIRST, None, *PLAIN)]
    assert sandbox.netlink.routes(default_only=True) == wanted


def test_a_route_is_what_was_asked_for_and_read_as_that(host: Place, sandbox: Place) -> None:
    inside = sandbox.namespace
    assert send(host, lambda b: b.add_macvlan("eth0", FIRST, PARENT, "bridge", netns=inside)) == {}

    def packed(text: str) -> bytes:
        return ipaddress.ip_address(text).packed

    far, far6, near, router = packed("10.9.0.0"), packed("2001:db8:9::"), packed("192.0.2.1"), packed("fe80::1")
    refused = send(
        sandbox,
        lambda b: b.add_address(FIRST, packed("10.0.0.2"), 32),
        # Beyond the subnet: reached by a route to the link itself.
        lambda b: b.add_route(FIRST, near, 32, None),
        lambda b: b.add_route(FIRST, far, 16, near, metric=7, mtu=1400, advmss=1300),
        lambda b: b.add_route(FIRST, far6, 48, router),
        # The same with another metric, and without one.
        lambda b: b.add_route(FIRST, far, 16, near, metric=8),
        lambda b: b.add_route(FIRST, far, 16, near, metric=7),
        lambda b: b.add_route(FIRST, far6, 48, router),
    )
    assert {at: refusal.errno for at, refusal in refused.items()} == {5: errno.EEXIST, 6: errno.EEXIST}
    shown = {(one["dst"], one.get("metric")): one for one in sandbox.routes(4) + sandbox.routes(6)}
    one = shown["10.9.0.0/16", 7]
    assert (one["gateway"], one["dev"], one["metrics"]) == ("192.0.2.1", "eth0", [{"mtu": 1400, "advmss": 1300}])
    assert (shown["192.0.2.1", None]["scope"], shown["2001:db8:9::/48", 1024]["gateway"]) == ("link", "fe80::1")
    ours = sandbox.netlink.routes(default_only=False)
    wanted = {
        (near, 32, 0, FIRST, None, *PLAIN), (far, 16, 7, FIRST, near, False, 1400, 1300),
        (far, 16, 8, FIRST, near, *PLAIN), (far6, 48, 1024, FIRST, router, *PLAIN),
    }  # fmt: skip
    assert wanted <= set(ours)
    assert len(ours) == len(sandbox.routes(4)) + len(sandbox.routes(6))
    assert sandbox.netlink.routes(default_only=True) == []


def test_a_route_is_replaced_by_one_with_other_limits_and_only_where_it_is_there(host: Place, sandbox: Place) -> None:
    inside = sandbox.namespace
    assert send(host, lambda b: b.add_macvlan("eth0", FIRST, PARENT, "bridge", netns=inside)) == {}
    far, far6 = ipaddress.ip_address("10.9.0.0").packed, ipaddress.ip_address("2001:db8:9::").packed
    router = ipaddress.ip_address("fe80::1").packed
    asked = [(far, 16, None), (far6, 48, router), (bytes(4), 0, None), (bytes(16), 0, router)]
    missing = send(sandbox, *(lambda b, one=one: b.add_route(FIRST, *one, replaces=True) for one in asked))
    assert {at: refusal.errno for at, refusal in missing.items()} == dict.fromkeys(range(4), errno.ENOENT)
    assert send(sandbox, *(lambda b, one=one: b.add_route(FIRST, *one, mtu=1300) for one in asked)) == {}
    # The same with another metric stays.
    sandbox.ip("route", "add", "10.9.0.0/16", "dev", "eth0", "metric", "7", "mtu", "1290")
    before = set(sandbox.netlink.routes(default_only=False))
    # The kernel keeps no more than a packet can have.
    numbers = {"mtu": 65535, "advmss": 65535}
    replaced = send(sandbox, *(lambda b, one=one: b.add_route(FIRST, *one, **numbers, replaces=True) for one in asked))
    assert replaced == {}
    changed = {(one[:3], *one[6:]) for one in set(sandbox.netlink.routes(default_only=False)) - before}
    assert changed == {
        ((far, 16, 0), 65520, 65495), ((far6, 48, 1024), 65520, 65495),
        ((bytes(4), 0, 0), 65520, 65495), ((bytes(16), 0, 1024), 65520, 65495),
    }  # fmt: skip
    assert len(sandbox.netlink.routes(default_only=False)) == len(before)
    assert before - set(sandbox.netlink.routes(default_only=False)) == {one for one in before if one[6] == 1300}


def test_a_default_route_that_a_router_advertised_is_known_as_that(host: Place) -> None:
    host.ip("-6", "route", "add", "default", "via", "fe80::1", "dev", "parent", "proto", "ra")
    router = ipaddress.ip_address("fe80::1").packed
    assert host.netlink.routes(default_only=True) == [(bytes(16), 0, 1024, PARENT, router, True, None, None)]


def test_default_routes_of_other_tables_and_each_hop_of_several_are_told_apart(host: Place) -> None:
    host.ip("address", "add", "10.0.0.2/24", "dev", "parent")
    host.ip("route", "add", "default", "via", "10.0.0.9", "table", "100")
    host.ip("route", "add", "default", "nexthop", "via", "10.0.0.1", "nexthop", "via", "10.0.0.3")
    hops = [(bytes(4), 0, 0, PARENT, bytes([10, 0, 0, last]), *PLAIN) for last in (1, 3)]
    assert host.netlink.routes(default_only=True) == hops


# Each kind that not every kernel has: how it is asked for, and how `ip` shows it.
KINDS: dict[str, tuple[Callable[[_core.Batch], int], dict[str, object]]] = {
    "dummy": (lambda b: b.add_dummy("new", FIRST), {}),
    "vlan": (lambda b: b.add_vlan("new", FIRST, PARENT, 5), {"id": 5, "protocol": "802.1Q"}),
    "ipvlan": (
        lambda b: b.add_ipvlan("new", FIRST, PARENT, "l3s", "vepa", mtu=1400, group=7),
        {"mode": "l3s", "vepa": True},
    ),
}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.needs(kind)) for kind in KINDS])
def test_a_kind_that_not_every_kernel_has_is_made(host: Place, kind: str) -> None:
    add, expected = KINDS[kind]
    assert send(host, lambda b: b.set_up(PARENT), add) == {}
    link = host.links()["new"]
    assert (link["ifindex"], link["linkinfo"]["info_kind"], "UP" in link["flags"]) == (FIRST, kind, True)
    data = link["linkinfo"].get("info_data", {})
    assert {key: value for key, value in data.items() if key in expected} == expected
    if kind == "ipvlan":
        assert (link["mtu"], link["group"]) == (1400, "7")
    ours = host.netlink.link(FIRST)
    assert ours is not None
    assert (ours.kind, ours.vid, ours.mode) == (kind, expected.get("id"), expected.get("mode"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_this_kernel_has_not_is_refused_alone(host: Place, kind: str) -> None:
    if probe.features()[kind].present:
        pytest.skip(f"this kernel has {kind} links")
    refused = send(host, lambda b: b.set_up(PARENT), KINDS[kind][0], lambda b: b.set_group(PARENT, 9))
    assert host.links()["parent"]["group"] == "9"
    assert list(refused) == [1]
    assert refused[1].errno == errno.EOPNOTSUPP
    assert set(host.links()) == {"lo", "parent", "far"}


def test_links_are_read_as_ip_reads_them(host: Place, sandbox: Place) -> None:
    inside = sandbox.namespace
    assert send(host, lambda b: b.add_macvlan("eth0", FIRST, PARENT, "vepa", mtu=1300, group=3, netns=inside)) == {}
    host.ip("link", "add", "bridge0", "type", "bridge")
    host.ip("link", "set", "far", "master", "bridge0")
    for place in (host, sandbox):
        ours = {link.ifname: link for link in place.netlink.links()}
        theirs = place.links()
        assert list(ours) == [link.ifname for link in sorted(ours.values(), key=lambda link: link.ifindex)]
        assert set(ours) == set(theirs)
        for name, link in ours.items():
            shown = theirs[name]
            assert link.ifindex == shown["ifindex"]
            assert link.mac.hex(":") == shown["address"]
            assert link.mtu == shown["mtu"]
            assert link.up == ("UP" in shown["flags"])
            assert link.loopback == ("LOOPBACK" in shown["flags"])
            assert link.kind == shown.get("linkinfo", {}).get("info_kind")
            assert link.port_kind == shown.get("linkinfo", {}).get("info_slave_kind")
            assert (link.controller is not None) == ("master" in shown)
            assert link.parent_netnsid == shown.get("link_netnsid")
            assert place.netlink.link(name).ifindex == link.ifindex  # type: ignore[union-attr]
    eth0 = sandbox.netlink.link("eth0")
    assert eth0 is not None
    assert (eth0.parent, eth0.mode, eth0.group, eth0.vid) == (PARENT, "vepa", 3, None)


def test_a_link_is_found_by_index_name_and_alternative_names(host: Place) -> None:
    host.ip("link", "property", "add", "dev", "parent", "altname", "uplink")
    host.ip("link", "property", "add", "dev", "parent", "altname", "a-name-longer-than-fifteen")
    for key in (PARENT, "parent", "uplink", "a-name-longer-than-fifteen"):
        link = host.netlink.link(key)
        assert link is not None, key
        assert (link.ifindex, link.ifname) == (PARENT, "parent")
        assert link.altnames == ["uplink", "a-name-longer-than-fifteen"]
    for missing in (9999, 0, -1, 1 << 40, "nothing", "a-name-longer-than-fifteen-again", "", "x" * 300, "a\0b"):
        assert host.netlink.link(missing) is None, missing


def test_the_filter_shows_macvlans_of_other_namespaces_until_they_are_gone(host: Place, sandbox: Place) -> None:
    batch = _core.Batch()
    for number in range(3):
        batch.add_macvlan(f"m{number}", FIRST + number, PARENT, "bridge", mac=mac_of(number), netns=sandbox.namespace)
    assert host.netlink.send(batch) == {}
    assert host.netlink.filter_macs(PARENT) == {mac_of(0), mac_of(1), mac_of(2)}
    assert host.netlink.filter_macs(PARENT + 1) == set()
    assert host.netlink.filter_macs(999_999) == set()
    assert send(sandbox, lambda b: b.delete_link(FIRST)) == {}
    assert host.netlink.filter_macs(PARENT) == {mac_of(1), mac_of(2)}


def test_the_filter_of_every_kind_of_parent_is_read(host: Place, sandbox: Place) -> None:
    kinds = {
        "bridge": ["name", "new", "type", "bridge"],
        "dummy": ["name", "new", "type", "dummy"],
        "vlan": ["link", "parent", "name", "new", "type", "vlan", "id", "5"],
    }
    inside = sandbox.namespace
    tried = 0
    for kind, words in kinds.items():
        made = subprocess.run(["ip", "-n", host.name, "link", "add", *words], check=False, capture_output=True)
        if made.returncode != 0:
            assert kind != "bridge"
            continue
        host.ip("link", "set", "new", "up")
        if kind == "bridge":
            # What a bridge learns from its ports is in the same dump.
            host.ip("link", "set", "far", "master", "new")
        new = host.netlink.link("new")
        assert new is not None
        parent = new.ifindex
        tried += 1
        mac = mac_of(tried)
        batch = _core.Batch()
        batch.add_macvlan("eth0", FIRST, parent, "bridge", mac=mac, netns=inside)
        assert host.netlink.send(batch) == {}
        assert host.netlink.filter_macs(parent) == {mac}, kind
        assert send(sandbox, lambda b: b.delete_link(FIRST)) == {}
        assert host.netlink.filter_macs(parent) == set(), kind
        host.ip("link", "del", "new")
    assert tried


def test_the_filter_shows_a_dying_namespace_and_then_no_longer(host: Place) -> None:
    name = f"mvf-{uuid.uuid4().hex[:10]}"
    run_ip("netns", "add", name)
    other = opened(f"/run/netns/{name}")
    inside = other
    assert send(host, lambda b: b.add_macvlan("eth0", FIRST, PARENT, "bridge", mac=mac_of(1), netns=inside)) == {}
    run_ip("netns", "del", name)
    assert host.netlink.filter_macs(PARENT) == {mac_of(1)}
    other.close()
    netns.wait_until(lambda: host.netlink.filter_macs(PARENT) == set(), what="the end of the links")


def test_a_filter_of_a_thousand_macs_is_read_whole(host: Place, sandbox: Place) -> None:
    sysctl = [("net/ipv6/conf/default/disable_ipv6", "1")]
    assert _core.write_sysctls([(sandbox.namespace, sysctl)]) == [None]
    batch = _core.Batch()
    for number in range(1000):
        batch.add_macvlan(f"m{number}", FIRST + number, PARENT, "bridge", mac=mac_of(number), netns=sandbox.namespace)
    assert host.netlink.send(batch) == {}
    assert host.netlink.filter_macs(PARENT) == {mac_of(number) for number in range(1000)}


def test_a_namespaces_cookie_is_its_own(host: Place, sandbox: Place) -> None:
    assert host.netlink.cookie == host.namespace.cookie
    assert host.namespace.cookie != sandbox.namespace.cookie
    again = opened(f"/run/netns/{host.name}")
    assert again.cookie == host.namespace.cookie
    again.close()
    own = _core.Netlink()
    assert own.cookie == _core.home_cookie()
    assert own.cookie not in (host.namespace.cookie, sandbox.namespace.cookie)
    own.close()


@pytest.mark.parametrize("name", ["", "a" * 16, "a\0b", "a/b", "a b", "eth%d", ".", ".."])
def test_a_name_that_is_none_is_refused_with_nothing_added(name: str) -> None:
    batch = _core.Batch()
    adders: list[Callable[[], int]] = [
        lambda: batch.add_macvlan(name, FIRST, PARENT, "bridge"),
        lambda: batch.add_ipvlan(name, FIRST, PARENT, "l2", "bridge"),
        lambda: batch.add_vlan(name, FIRST, PARENT, 5),
        lambda: batch.add_dummy(name, FIRST),
    ]
    for add in adders:
        with pytest.raises(ValueError, match="is not a link name"):
            add()
    assert len(batch) == 0


def test_values_that_are_none_are_refused_with_nothing_added() -> None:
    batch = _core.Batch()
    calls: list[Callable[[], int]] = [
        lambda: batch.add_macvlan("m", FIRST, PARENT, "bridge", mac=b"\x02\x42\x0a\x00\x00"),
        lambda: batch.add_macvlan("m", FIRST, PARENT, "bridge", mac=b""),
        lambda: batch.add_macvlan("m", FIRST, PARENT, "source"),
        lambda: batch.add_macvlan("m", 0, PARENT, "bridge"),
        lambda: batch.add_macvlan("m", -1, PARENT, "bridge"),
        lambda: batch.add_macvlan("m", 1 << 31, PARENT, "bridge"),
        lambda: batch.add_macvlan("m", FIRST, 0, "bridge"),
        lambda: batch.add_ipvlan("m", FIRST, PARENT, "l4", "bridge"),
        lambda: batch.add_ipvlan("m", FIRST, PARENT, "l2", "none"),
        lambda: batch.add_vlan("m", FIRST, PARENT, 0),
        lambda: batch.add_vlan("m", FIRST, PARENT, 4095),
        lambda: batch.add_vlan("m", FIRST, PARENT, 70_000),
        lambda: batch.add_address(FIRST, b"\x0a\x00\x00", 24),
        lambda: batch.add_address(FIRST, b"\x0a\x00\x00\x02", 33),
        lambda: batch.add_address(FIRST, b"\x0a\x00\x00\x02", -1),
        lambda: batch.add_address(FIRST, bytes(16), 129),
        lambda: batch.add_route(FIRST, bytes(5), 0, None),
        lambda: batch.add_route(FIRST, bytes(16), 0, b"\x0a\x00\x00\x01"),
        lambda: batch.delete_link(0),
        lambda: batch.set_up(-5),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"\w"):
            call()
    assert len(batch) == 0


def test_an_empty_batch_is_nothing_to_do(host: Place) -> None:
    assert host.netlink.send(_core.Batch()) == {}


def test_a_batch_can_be_sent_again(host: Place) -> None:
    batch = _core.Batch()
    batch.set_group(PARENT, 5)
    batch.delete_link(999_999)
    for _ in range(3):
        assert list(host.netlink.send(batch)) == [1]
    assert batch.set_group(PARENT, 6) == 2
    assert list(host.netlink.send(batch)) == [1]
    assert host.links()["parent"]["group"] == "6"


def test_a_closed_socket_says_so(make_place: Callable[[], Place]) -> None:
    place = make_place()
    netlink = opened(f"/run/netns/{place.name}").netlink
    netlink.close()
    netlink.close()
    for call in (
        lambda: netlink.send(_core.Batch()),
        lambda: _core.send_then((netlink, _core.Batch()), []),
        lambda: netlink.link(1),
        netlink.links,
        lambda: netlink.addresses(1),
        lambda: netlink.routes(default_only=True),
        lambda: netlink.filter_macs(1),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_what_comes_then_is_sent_only_where_nothing_before_is_refused(host: Place, sandbox: Place) -> None:
    def batch(*indexes: int) -> _core.Batch:
        made = _core.Batch()
        for ifindex in indexes:
            made.set_up(ifindex)
        return made

    lo, other = host.netlink, sandbox.netlink
    refused, then = _core.send_then((lo, batch(1, 999)), [(other, batch(1))])
    assert ([*refused], refused[1].errno, then) == ([1], errno.ENODEV, None)
    refused, then = _core.send_then((lo, batch(1)), [(other, batch(999)), (other, batch(1, 999))])
    assert refused == {}
    assert then is not None
    assert [[*one] for one in then] == [[0], [1]]
    assert _core.send_then((lo, batch(1)), []) == ({}, [])
    # It would wait for itself.
    with pytest.raises(ValueError, match="among the others"):
        _core.send_then((lo, batch(1)), [(lo, batch(1))])


def test_eight_threads_on_one_socket_get_their_own_outcomes(host: Place) -> None:
    start = threading.Barrier(8)

    def work(thread: int) -> set[int]:
        start.wait()
        seen = set()
        for turn in range(50):
            batch = _core.Batch()
            bad = (thread * 7 + turn) % 10
            for position in range(10):
                if position == bad:
                    batch.delete_link(900_000 + thread)
                else:
                    batch.set_up(PARENT)
            refused = host.netlink.send(batch)
            assert list(refused) == [bad]
            link = host.netlink.link(PARENT + thread % 2)
            assert link is not None
            seen.add(link.ifindex)
        return seen

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [{PARENT + thread % 2} for thread in range(8)]


def test_other_threads_run_while_a_batch_is_sent(host: Place, sandbox: Place) -> None:
    """With the GIL held, none would ever run but at the edges; without, one run may see nothing where others keep the
    machine busy.
    """
    numbers = itertools.count()

    def seen() -> bool:
        batch = _core.Batch()
        for number in itertools.islice(numbers, 250):
            batch.add_macvlan(
                f"m{number}", FIRST + number, PARENT, "bridge", mac=mac_of(number), netns=sandbox.namespace
            )
        times: list[float] = []

        def work() -> None:
            begin = time.perf_counter()
            assert host.netlink.send(batch) == {}
            times.extend((begin, time.perf_counter()))

        sender = threading.Thread(target=work)
        turns: list[float] = []
        sender.start()
        while sender.is_alive():
            turns.append(time.perf_counter())
        sender.join()
        begin, end = times
        tenths = {int(10 * (turn - begin) / (end - begin)) for turn in turns if begin < turn < end}
        return len(tenths) >= 5

    assert any(seen() for _ in range(10))


def test_links_stay_readable_while_another_thread_makes_and_deletes_some(host: Place) -> None:
    stop = threading.Event()
    other = opened(f"/run/netns/{host.name}")
    other_place = Place(host.name, other)

    def churn() -> None:
        while not stop.is_set():
            assert send(other_place, lambda b: b.add_macvlan("m", FIRST + 500, PARENT, "bridge", up=False)) == {}
            assert send(other_place, lambda b: b.delete_link(FIRST + 500)) == {}

    batch = _core.Batch()
    for number in range(100):
        batch.add_macvlan(f"s{number}", FIRST + number, PARENT, "bridge", up=False)
    assert host.netlink.send(batch) == {}
    worker = threading.Thread(target=churn)
    worker.start()
    try:
        for _ in range(50):
            steady = [link.ifindex for link in host.netlink.links() if link.ifname.startswith("s")]
            assert steady == list(range(FIRST, FIRST + 100))
    finally:
        stop.set()
        worker.join()
        other.close()


# Ids of namespaces.


def test_a_link_is_deleted_in_a_namespace_that_is_known_by_an_id(make_place: Callable[[], Place]) -> None:
    """Catches a request that means the socket's own namespace, which has the very same index."""
    home, other = make_place(), make_place()
    for place in (home, other):
        place.ip("link", "add", "p0", "index", str(PARENT), "type", "veth", "peer", "name", "p1")
        place.ip("link", "add", "m0", "link", "p0", "index", str(FIRST), "type", "macvlan")
    batch = _core.Batch()
    batch.give_id(other.namespace, 1 << 30)
    batch.give_id(other.namespace, 7)
    assert [(at, one.errno) for at, one in home.netlink.send(batch).items()] == [(1, errno.EEXIST)]
    assert home.netlink.nsid_of(other.namespace) == 1 << 30
    assert other.netlink.nsid_of(home.namespace) is None
    assert home.netlink.nsids() == [1 << 30]
    assert [link.ifname for link in home.netlink.links(1 << 30)] == list(other.links())
    batch = _core.Batch()
    batch.delete_link(FIRST, nsid=1 << 30)
    assert home.netlink.send(batch) == {}
    assert "m0" in home.links()
    assert "m0" not in other.links()


def test_an_id_keeps_nothing_alive_and_ends_with_its_namespace(make_place: Callable[[], Place]) -> None:
    home = make_place().netlink
    (made,) = _core.make_namespaces(1)
    assert isinstance(made, _core.Namespace)
    batch = _core.Batch()
    batch.give_id(made, 77)
    assert home.send(batch) == {}
    look, delete = _core.Batch(), _core.Batch()
    look.look_for_id(77)
    delete.delete_link(FIRST, nsid=77)
    assert home.send(look) == {}
    assert [one.errno for one in home.send(delete).values()] == [errno.ENODEV]
    made.close()
    netns.wait_until(lambda: [one.errno for one in home.send(look).values()] == [errno.ENOENT], what="its end")
    assert home.links(77) == []
    assert [one.errno for one in home.send(delete).values()] == [errno.EINVAL]


def test_links_are_looked_at_by_index_in_many_namespaces(make_place: Callable[[], Place]) -> None:
    first, second = make_place(), make_place()
    first.ip("link", "add", "d0", "index", str(PARENT), "type", "veth", "peer", "name", "d1")
    found = _core.links_at([(first.netlink, PARENT), (second.netlink, PARENT), (second.netlink, -1)])
    assert [None if one is None else one.ifname for one in found] == ["d0", None, None]
