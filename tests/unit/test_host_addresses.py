"""What the host itself has on a parent, an address or a router, is given to nobody, whatever way it is asked for."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.engine import sandboxes
from macvfast.errors import AddressTaken, AuxAddressInvalid, PoolExhausted
from macvfast.requests import EndpointRequest, NetworkRequest
from tests.unit.fake_kernel import FakeLink

if TYPE_CHECKING:
    from macvfast.model import Endpoint, Network
    from macvfast.outcomes import Outcomes
    from tests.unit.machine import Machine

OWN = "172.30.0.0/24"


def give(machine: Machine, *addresses: str, ifname: str = "eth2") -> FakeLink:
    """Give the host's link those addresses and no other; it is made where it is not there."""
    home = machine.world.home
    link = home.named(ifname) or machine.world.add_home(FakeLink(40 + len(home.links), ifname, mac=b"\x52\x54\0\0\0\4"))
    link.addresses = [(one.ip.packed, one.network.prefixlen) for one in map(ip_interface, addresses)]
    return link


def lose(machine: Machine) -> None:
    give(machine)


def route(machine: Machine, link: FakeLink, gateway: str | None, family: int = 4) -> None:
    """The host's default route of a family goes by the link."""
    machine.world.home.routes[family] = link.ifindex
    machine.world.home.gateways[family] = None if gateway is None else ip_address(gateway).packed


def make(machine: Machine, *, parent: str = "eth2", subnets: tuple[str, ...] = (OWN,), **rest: object) -> Network:
    return machine.host.create_network("own", subnets=subnets, parent=parent, **rest)  # type: ignore[arg-type]


def texts(outcomes: Outcomes[Endpoint]) -> list[str]:
    return [str(one.value.addresses[0].ip) for one in outcomes if one.value is not None]


def connect(machine: Machine, count: int, first: int = 0) -> list[str]:
    outcomes = machine.host.connect_many("own", [f"x{number}" for number in range(first, first + count)])
    outcomes.raise_if_any()
    return texts(outcomes)


# Given automatically.


@pytest.mark.parametrize("order", ["lowest", "next"])
def test_every_address_that_the_host_has_is_passed_over(machine: Machine, order: str) -> None:
    """Secondary ones too, and those that have another prefix length than the subnet."""
    give(machine, "172.30.0.1/24", "172.30.0.3/24", "172.30.0.5/32", "fe80::1/64", "10.0.0.2/24")
    network = make(machine, order=order)
    assert str(network.subnets[0].gateway) == "172.30.0.2"
    assert connect(machine, 3) == ["172.30.0.4", "172.30.0.6", "172.30.0.7"]
    assert len(machine.host.usage(network)[0].own) == 3


def test_an_address_that_the_host_gets_later_is_passed_over_from_then_on(machine: Machine) -> None:
    give(machine, "172.30.0.9/24")
    make(machine)
    assert connect(machine, 2) == ["172.30.0.2", "172.30.0.3"]
    give(machine, "172.30.0.9/24", "172.30.0.4/24")
    assert connect(machine, 1, 2) == ["172.30.0.5"]
    # And given again once the host has it no more: the pool was not changed by it.
    lose(machine)
    assert connect(machine, 1, 3) == ["172.30.0.4"]


def test_addresses_are_looked_up_with_each_chunk(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes, "CHUNK", 4)
    monkeypatch.setattr(sandboxes, "FIRST_CHUNK", 4)
    give(machine, "172.30.0.4/24")
    make(machine)
    machine.faults.arm()
    assert connect(machine, 16) == [f"172.30.0.{n}" for n in range(2, 19) if n != 4]
    assert machine.faults.seen.count("list the addresses") == 4, "once for each chunk, not for each item"


def test_what_is_passed_over_is_no_part_of_the_pool(machine: Machine) -> None:
    give(machine, "172.30.0.2/24", "172.30.0.77/24")
    network = make(machine)
    connect(machine, 1)
    with machine.host._store.reading() as records:
        (pool,) = records.pools(network.id)
    assert pool.used == 4, "both ends, the gateway and one endpoint"
    lose(machine)
    assert connect(machine, 1, 1) == ["172.30.0.2"]


def test_of_an_ip_range_the_host_s_own_is_passed_over_too(machine: Machine) -> None:
    give(machine, "172.30.0.128/24", "172.30.0.131/24")
    network = make(machine, ip_ranges=["172.30.0.128/30"])
    assert str(network.subnets[0].gateway) == "172.30.0.129"
    assert connect(machine, 1) == ["172.30.0.130"]
    with pytest.raises(PoolExhausted, match="no free IPv4 address"):
        machine.host.create_sandbox("late", endpoints=[EndpointRequest(network="own")])


def test_where_only_the_host_s_own_are_left_no_address_is_hinted_at(machine: Machine) -> None:
    give(machine, "172.30.0.3/30")
    make(machine, subnets=("172.30.0.0/29",), ip_ranges=["172.30.0.2/32"], gateways=["172.30.0.1"])
    connect(machine, 1)
    give(machine, *(f"172.30.0.{n}/29" for n in (3, 4, 5, 6)))
    with pytest.raises(PoolExhausted) as full:
        machine.host.create_sandbox("late", endpoints=[EndpointRequest(network="own")])
    assert not any("outside the ip-range" in hint for hint in full.value.hints)


def test_of_both_families_neither_is_the_host_s(machine: Machine) -> None:
    give(machine, "172.30.0.2/24", "fd00:30::2/64")
    make(machine, subnets=(OWN, "fd00:30::/64"), gateways=["172.30.0.1", "fd00:30::1"])
    box = machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="own")])
    assert [str(one.ip) for one in box.endpoints[0].addresses] == ["172.30.0.3", "fd00:30::3"]


def test_a_vlan_has_its_own_addresses_and_not_those_of_its_base(machine: Machine) -> None:
    give(machine, "172.30.0.2/24", ifname="eth1")
    give(machine, "172.30.0.3/24", ifname="eth1.5").parent = 3
    make(machine, parent="eth1.5")
    assert connect(machine, 2) == ["172.30.0.2", "172.30.0.4"]


def test_networks_that_share_a_parent_both_pass_over_what_is_on_it(machine: Machine) -> None:
    give(machine, "172.30.0.2/24", "172.31.0.2/24")
    make(machine, share_parent=True)
    machine.host.create_network("more", subnets=["172.31.0.0/24"], parent="eth2", share_parent=True)
    assert connect(machine, 1) == ["172.30.0.3"]
    assert texts(machine.host.connect_many("more", ["y"])) == ["172.31.0.3"]


# Asked for.


def test_the_host_s_own_address_asked_for_is_refused_with_the_link_that_has_it(machine: Machine) -> None:
    give(machine, "172.30.0.9/24", "fd00:30::9/64")
    make(machine, subnets=(OWN, "fd00:30::/64"))
    for wanted in (EndpointRequest.of("own", ip="172.30.0.9"), EndpointRequest.of("own", ip6="fd00:30::9")):
        before = machine.everything()
        with pytest.raises(AddressTaken) as refused:
            machine.host.create_sandbox("x", endpoints=[wanted])
        assert refused.value.holder == "this host's own, on `eth2`"
        assert machine.everything() == before


def test_an_aux_address_may_be_the_host_s_own_and_is_then_said_to_be_that(machine: Machine) -> None:
    give(machine, "172.30.0.9/24")
    make(machine, aux={"exclude_host": "172.30.0.9"})
    with pytest.raises(AddressTaken, match="is taken") as refused:
        machine.host.create_sandbox("x", endpoints=[EndpointRequest.of("own", ip="172.30.0.9")])
    assert refused.value.holder == "the aux address `exclude_host` of 172.30.0.0/24"


# The gateway.


def test_the_host_s_router_in_the_subnet_is_the_gateway(machine: Machine) -> None:
    """Though it is not in the ip-range."""
    route(machine, give(machine, "172.30.0.9/24"), "172.30.0.254")
    (subnet,) = make(machine, ip_ranges=["172.30.0.1-172.30.0.3"]).subnets
    assert (str(subnet.gateway), subnet.gateway_automatic) == ("172.30.0.254", True)
    assert connect(machine, 1) == ["172.30.0.1"]


@pytest.mark.parametrize(
    ("gateway", "by"), [("192.0.2.1", "eth2"), (None, "eth2"), ("172.30.0.254", "eth1"), ("172.30.0.255", "eth2")]
)
def test_no_other_default_route_decides_about_the_gateway(machine: Machine, gateway: str | None, by: str) -> None:
    """Not one to elsewhere, without a gateway, by another link, or to what no router can have."""
    link = give(machine, "172.30.0.9/24")
    route(machine, link if by == "eth2" else machine.world.home.links[3], gateway)
    assert str(make(machine).subnets[0].gateway) == "172.30.0.1"


@pytest.mark.parametrize(("gateways", "expected"), [(["172.30.0.7"], "172.30.0.7"), (None, "None")])
def test_what_is_said_of_the_gateway_counts_more_than_the_host_s_router(
    machine: Machine, gateways: list[str] | None, expected: str
) -> None:
    route(machine, give(machine, "172.30.0.9/24"), "172.30.0.254")
    assert str(make(machine, gateways=gateways).subnets[0].gateway) == expected


def test_an_aux_address_that_is_the_host_s_router_is_refused_with_the_reason(machine: Machine) -> None:
    route(machine, give(machine, "172.30.0.9/24"), "172.30.0.254")
    with pytest.raises(AuxAddressInvalid) as refused:
        make(machine, aux={"router": "172.30.0.254"})
    assert "it is the gateway of 172.30.0.0/24, by this host's default route" in refused.value.causes
    assert "--gateway" in refused.value.hints[0]


def test_routes_are_looked_up_once_for_many_networks(machine: Machine) -> None:
    """Each look grows with the number of routes, which grows with the number of VLANs."""
    for vid in range(2, 60):
        give(machine, f"172.30.{vid}.9/24", ifname=f"eth1.{vid}").parent = 3
    machine.faults.arm()
    requests = [
        NetworkRequest(name=f"n{vid}", subnets=(f"172.30.{vid}.0/24",), parent=f"eth1.{vid}") for vid in range(2, 60)
    ]
    machine.host.create_networks(requests).raise_if_any()
    assert machine.faults.seen.count("list the default routes") == 1


@pytest.mark.parametrize(
    ("subnet", "how"),
    [
        ("172.30.0.0/31", {}),
        ("172.30.0.254/32", {}),
        ("fd00:30::/64", {}),
        ("fd00:30::/127", {}),
        (OWN, {"internal": True}),
        (OWN, {"parent": None}),
        (OWN, {"driver": "ipvlan", "mode": "l3"}),
        (OWN, {"driver": "ipvlan", "mode": "l3s"}),
        (OWN, {"gateways": None}),
    ],
)
def test_no_gateway_is_chosen_where_none_is_of_use(machine: Machine, subnet: str, how: dict[str, Any]) -> None:
    link = give(machine, "172.30.0.9/24", "fd00:30::9/64")
    route(machine, link, "172.30.0.254")
    route(machine, link, "fd00:30::1", 6)
    network = machine.host.create_network("own", subnets=[subnet], **{"parent": "eth2", **how})
    assert network.subnets[0].gateway is None
    assert connect(machine, 1) == [str(next(iter(ip_network(subnet).hosts())))]


def test_routers_of_ipv6_are_listened_to_unless_no_gateway_is_wanted(machine: Machine) -> None:
    """It is recorded apart: no gateway chosen, and none wanted."""
    for name, gateways, parent in (("left", [], "eth0.8"), ("bare", None, "eth0.9")):
        machine.host.create_network(name, subnets=["fd00::/64"], gateways=gateways, parent=parent)
    machine.restart()
    heard = {}
    for name in ("left", "bare"):
        box = machine.host.create_sandbox(f"on-{name}", endpoints=[EndpointRequest(network=name)])
        sysctls = machine.world.pins[box.path].sysctls
        heard[name] = sysctls["net/ipv6/conf/default/accept_ra"]
    assert heard == {"left": "1", "bare": "0"}


# Default subnets.


def test_a_default_subnet_overlaps_neither_links_nor_routes_of_the_host(machine: Machine) -> None:
    # A default route leads everywhere, and is no network.
    route(machine, give(machine, "172.17.255.1/20"), "172.17.240.1")
    machine.world.destinations += [(bytes([172, 18, 9, 0]), 24), (bytes([172, 19, 0, 1]), 32), (bytes(16), 8)]
    assert str(machine.host.create_network("inner").subnets[0].cidr) == "172.20.0.0/16"


# What has the address already.


def test_check_says_that_the_host_has_got_an_endpoint_s_address_and_restore_leaves_it(machine: Machine) -> None:
    give(machine)
    make(machine)
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="own")])
    give(machine, "172.30.0.2/25")
    before = machine.everything()
    (difference,) = machine.host.check()
    assert (difference.kind, difference.sandbox) == ("address-other", "x")
    assert difference.found == "link eth0 on network own is to have address 172.30.0.2/24"
    assert difference.obstacle is not None
    assert difference.obstacle.startswith("this host itself has 172.30.0.2/25 on eth2: `ip address del 172.30.0.2/25")
    plan = machine.host.restore()
    assert (plan.steps, plan.remaining) == ((), (difference,))
    assert machine.everything() == before
    lose(machine)
    assert machine.host.check() == []


def test_restore_makes_no_link_with_an_address_that_the_host_has_by_now(machine: Machine) -> None:
    """Two on one LAN with one address is what a sandbox that waits is better than."""
    give(machine)
    make(machine)
    box = machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="own")])
    machine.world.pins[box.path].remove(box.endpoints[0].ifindex)
    give(machine, "172.30.0.2/24")
    plan = machine.host.restore()
    assert [(one.kind, one.sandbox) for one in plan.remaining] == [("link-missing", "x")]
    assert "this host itself has 172.30.0.2/24 on eth2" in str(plan.remaining[0].obstacle)
    assert machine.world.pins[box.path].links == {}
    lose(machine)
    machine.host.restore()
    assert machine.host.check() == []


def test_an_address_that_an_endpoint_lost_and_the_host_got_is_not_given_back(machine: Machine) -> None:
    give(machine)
    make(machine)
    box = machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="own")])
    link = machine.world.pins[box.path].links[box.endpoints[0].ifindex]
    link.addresses.clear()
    give(machine, "172.30.0.2/24")
    plan = machine.host.restore()
    assert [one.kind for one in plan.remaining] == ["address-other"]
    assert link.addresses == []


def test_an_address_that_the_host_has_got_is_not_given_anew_when_its_endpoint_goes(machine: Machine) -> None:
    give(machine)
    make(machine)
    connect(machine, 2)
    give(machine, "172.30.0.2/24")
    machine.host.remove_many(["x0"]).raise_if_any()
    assert connect(machine, 1, 5) == ["172.30.0.4"]
    lose(machine)
    assert connect(machine, 1, 6) == ["172.30.0.2"]


def test_a_full_ip_range_is_named_and_not_its_subnet(machine: Machine) -> None:
    """In the subnet, addresses are free."""
    give(machine, "172.30.0.250/24")
    make(machine, ip_ranges=["172.30.0.8/31"])
    connect(machine, 1)
    with pytest.raises(PoolExhausted) as full:
        machine.host.create_sandbox("late", endpoints=[EndpointRequest(network="own")])
    assert full.value.causes == ("every address of ip-range `172.30.0.8/31` for automatic allocation is in use",)
