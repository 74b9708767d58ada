"""Routes of an endpoint's own: which are taken, how they are made, which default route wins, and what comes back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from macvfast import EndpointRequest, MacvfastError, Route, plan
from macvfast.errors import (
    AddressTaken,
    AlreadyConnected,
    ArgumentInvalid,
    PoolExhausted,
    RouteInvalid,
    StateCorrupt,
)
from macvfast.plan import AddAddress, AddRoute, RouteFacts
from tests.unit.machine import LAN
from tests.unit.test_plan import V4, V6, endpoint, network, subnet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.model import Endpoint, Network
    from tests.unit.fake_kernel import FakeNetns
    from tests.unit.machine import Machine

NEAR, FAR = Route.of("192.168.9.1/32"), Route.of("10.0.0.0/8", "172.16.86.7")
BEHIND = Route.of("10.9.0.0/16", "192.168.9.1", metric=5)
OURS = Route.of("0.0.0.0/0", "172.16.86.9")
OURS6 = Route.of("::/0", "fe80::1")


# One route.


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("10.0.0.1/8",), "host bits"),
        (("far",), "destination"),
        (("2001:db8::/32", "172.16.86.1"), "IPv4 address where IPv6"),
        (("10.0.0.0/8", "fe80::1"), "IPv6 address where IPv4"),
        (("10.0.0.0/8", "gw"), "gateway"),
        (("10.0.0.0/8", "0.0.0.0"), "unspecified"),
        (("10.0.0.0/8", "224.0.0.1"), "multicast"),
        (("2001:db8::/32", "fe80::1%eth0"), "zone"),
    ],
)
def test_a_route_that_no_link_can_have_is_refused(given: tuple[str, ...], said: str) -> None:
    with pytest.raises(RouteInvalid, match=said):
        Route.of(*given)


@pytest.mark.parametrize(
    ("destination", "numbers", "fits"),
    [
        ("10.0.0.0/8", {"metric": 1, "mtu": 68, "advmss": 1}, True),
        ("10.0.0.0/8", {"metric": 2**32 - 1, "mtu": 65535, "advmss": 65535}, True),
        ("10.0.0.0/8", {"metric": 0}, False),
        ("10.0.0.0/8", {"metric": 2**32}, False),
        ("10.0.0.0/8", {"mtu": 67}, False),
        ("2001:db8::/32", {"mtu": 1280}, True),
        ("2001:db8::/32", {"mtu": 1279}, False),
        ("10.0.0.0/8", {"mtu": 65536}, False),
        ("10.0.0.0/8", {"advmss": 0}, False),
    ],
)
def test_numbers_of_a_route_are_what_the_kernel_takes(destination: str, numbers: dict[str, Any], fits: bool) -> None:
    if fits:
        assert str(Route.of(destination, **numbers)).split()[1::2] == list(numbers)
    else:
        with pytest.raises(RouteInvalid, match=next(iter(numbers))):
            Route.of(destination, **numbers)


def test_values_of_other_types_are_no_routes() -> None:
    with pytest.raises(ArgumentInvalid):
        Route(destination="10.0.0.0/8")  # type: ignore[arg-type]
    with pytest.raises(ArgumentInvalid):
        Route.of("10.0.0.0/8", metric=True)
    with pytest.raises(ArgumentInvalid):
        EndpointRequest(network="lan", routes=("10.0.0.0/8",))  # type: ignore[arg-type]
    assert EndpointRequest(network="lan", routes=[NEAR]).routes == (NEAR,)  # type: ignore[arg-type]


def test_the_same_destination_is_asked_for_twice_only_with_another_metric() -> None:
    EndpointRequest(network="lan", routes=(FAR, replace(FAR, metric=3)))
    for again in (replace(FAR, via=None), replace(FAR, mtu=1400)):
        with pytest.raises(RouteInvalid, match="twice"):
            EndpointRequest(network="lan", routes=(FAR, again))
    # Where none is given, the kernel's own counts.
    with pytest.raises(RouteInvalid, match="twice"):
        EndpointRequest(network="lan", routes=(OURS6, replace(OURS6, metric=1024)))
    EndpointRequest(network="lan", routes=(OURS, replace(OURS, metric=1024)))


# An endpoint's.


def with_routes(of: Network, *routes: Route) -> Endpoint:
    return replace(endpoint(of), routes=routes)


@pytest.mark.parametrize(
    ("of", "routes"),
    [
        (network(), [FAR]),
        (network(), [BEHIND, NEAR]),
        (network(), [OURS]),
        (network(parent=None, link="dm-123456789abc"), [OURS]),
        (network(subnets=[V4, V6]), [OURS6, Route.of("2001:db8:9::/48", "2001:db8:86::")]),
        (network(subnets=[subnet("172.16.86.10/31")]), [Route.of("10.0.0.0/8", "172.16.86.10")]),
        # Within a subnet, or around it.
        (network(), [Route.of("172.16.86.0/25"), Route.of("172.16.0.0/16")]),
        (network(driver="ipvlan", mode="l3"), [Route.of("10.0.0.0/8")]),
    ],
)
def test_routes_that_the_link_reaches_are_taken(of: Network, routes: list[Route]) -> None:
    number = 1 if of.subnets[0].cidr.prefixlen == 31 else 10
    plan.refuse_routes(of, replace(endpoint(of, number=number), routes=tuple(routes)), [])


@pytest.mark.parametrize(
    ("of", "routes", "said"),
    [
        (network(), [OURS6], "no IPv6 address"),
        (network(subnets=[V6]), [FAR], "no IPv4 address"),
        (network(internal=True), [OURS], "internal"),
        (network(), [Route.of(LAN)], "without it"),
        (network(), [Route.of("10.0.0.0/8", "172.16.87.1")], "not in 172.16.86.0/24"),
        # Of the network, not of the endpoint.
        (network(subnets=[V4, subnet("172.16.90.0/24")]), [Route.of("10.0.0.0/8", "172.16.90.1")], "not in"),
        # A default route may be another link's: nothing is reached by it.
        (network(), [Route.of("0.0.0.0/0"), BEHIND], "not in"),
        (network(), [BEHIND, replace(NEAR, via=ip_address("172.16.86.7"))], "not in"),
        (network(), [Route.of("10.0.0.0/8", "172.16.86.10")], "own address"),
        (network(), [Route.of("10.0.0.0/8", "172.16.86.0")], "an end of"),
        (network(), [Route.of("10.0.0.0/8", "172.16.86.255")], "an end of"),
        (network(subnets=[V6]), [Route.of("2001:db8:9::/48", "2001:db8:87::1")], "not in 2001:db8:86::/64"),
    ],
)
def test_routes_that_the_link_cannot_have_are_refused(of: Network, routes: list[Route], said: str) -> None:
    with pytest.raises(RouteInvalid, match=said):
        plan.refuse_routes(of, with_routes(of, *routes), [])


def test_what_another_link_of_the_sandbox_has_is_refused() -> None:
    other = network("other", subnets=[subnet("10.7.0.0/24")])
    theirs = replace(endpoint(other, ifname="eth1"), routes=(FAR, OURS))
    with pytest.raises(RouteInvalid, match="`eth1` on network `other`"):
        plan.refuse_routes(network(), with_routes(network(), FAR), [(other, theirs)])
    with pytest.raises(RouteInvalid, match="`eth1` on network `other`"):
        plan.refuse_routes(network(), with_routes(network(), Route.of("10.7.0.0/24")), [(other, theirs)])
    # With another metric, or default routes, of which one wins.
    fitting = (replace(FAR, metric=9), Route.of("10.7.0.0/24", metric=9), OURS)
    plan.refuse_routes(network(), with_routes(network(), *fitting), [(other, theirs)])


@pytest.mark.parametrize(
    ("metric", "version", "refused"),
    [(None, 4, True), (9, 4, False), (None, 6, False), (256, 6, True), (1024, 6, False)],
)
def test_a_route_to_the_subnet_of_another_link_is_refused_in_whichever_order_they_come(
    metric: int | None, version: int, refused: bool
) -> None:
    """Wrong: only the routes of the endpoint that comes last are looked at."""
    lan, other = network(subnets=[V4, V6]), network("other", subnets=[subnet("10.7.0.0/24"), subnet("2001:db8:7::/64")])
    route = Route.of({4: "10.7.0.0/24", 6: "2001:db8:7::/64"}[version], metric=metric)
    ours, theirs = with_routes(lan, route), replace(endpoint(other, ifname="eth1"), ifindex=2)
    for new, there in (((lan, ours), (other, theirs)), ((other, theirs), (lan, ours))):
        if refused:
            with pytest.raises((RouteInvalid, AlreadyConnected), match="has a route to"):
                plan.refuse_routes(*new, [there])
        else:
            plan.refuse_routes(*new, [there])


def steps(of: Network, *routes: Route, held: Sequence[int] = ()) -> list[Any]:
    made = plan.plan_endpoint(of, with_routes(of, *routes), 2, ready=True, held=dict.fromkeys(held))
    return [step for step in made.configure if not isinstance(step, AddAddress)]


def test_routes_to_the_link_come_before_those_by_gateways_and_default_routes_come_last() -> None:
    made = steps(network(), OURS, BEHIND, FAR, NEAR)
    assert [(step.destination, step.prefix_length) for step in made] == [
        (ip_address("192.168.9.1").packed, 32),
        (ip_address("10.9.0.0").packed, 16),
        (ip_address("10.0.0.0").packed, 8),
        (bytes(4), 0),
    ]
    assert made[1] == AddRoute(1_000_000, ip_address("10.9.0.0").packed, 16, NEAR.destination[0].packed, 5)


def test_an_endpoint_without_routes_of_its_own_is_made_by_the_same_steps_as_ever() -> None:
    assert steps(network(subnets=[V4, V6])) == [
        AddRoute(1_000_000, bytes(4), 0, ip_address("172.16.86.1").packed),
        AddRoute(1_000_000, bytes(16), 0, ip_address("2001:db8:86::1").packed),
    ]


def test_on_a_network_of_cni_routes_are_made_as_given_by_the_gateway_beside_what_is_there() -> None:
    of = network(subnets=[V4, V6], origin="cni")
    everywhere = Route.of("0.0.0.0/0")
    other = Route.of("192.0.2.0/24", "172.16.86.9", table=1000, scope=200)
    by_gateway, by_other = steps(of, everywhere, other, held=[4])
    assert by_gateway == AddRoute(1_000_000, bytes(4), 0, ip_address("172.16.86.1").packed, scope=0, beside=True)
    assert (by_other.gateway, by_other.table, by_other.scope) == (ip_address("172.16.86.9").packed, 1000, 200)


def test_a_default_route_of_its_own_is_in_the_place_of_the_networks_of_that_family() -> None:
    both = network(subnets=[V4, V6])
    via = {step.family: step.gateway for step in steps(both, OURS)}
    assert via == {4: ip_address("172.16.86.9").packed, 6: ip_address("2001:db8:86::1").packed}
    # Several of one family have different metrics; all of them are held together.
    backup = replace(OURS, via=ip_address("172.16.86.8"), metric=50)
    assert [step.metric for step in steps(network(), OURS, backup)] == [None, 50]
    assert steps(network(), OURS, backup, held=[4]) == []


def test_of_a_parentless_network_a_default_route_is_there_where_it_is_asked_for() -> None:
    alone = network(parent=None, link="dm-123456789abc")
    assert steps(alone) == []
    assert [step.gateway for step in steps(alone, OURS)] == [ip_address("172.16.86.9").packed]


def test_the_first_network_that_has_a_default_route_gives_it_whoever_asked_for_it() -> None:
    first, second = network("a"), network("b", subnets=[subnet("10.7.0.0/24")])
    leaving = (first, with_routes(first, OURS))
    own = replace(endpoint(second, ifindex=2), routes=(Route.of("0.0.0.0/0", "10.7.0.9"),))
    both = [leaving, (second, own)]
    assert plan.default_holders(both) == {4: leaving}
    assert plan.hand_over(both, [leaving]) == [AddRoute(2, bytes(4), 0, ip_address("10.7.0.9").packed)]
    assert plan.hand_over(both, [(second, own)]) == []


# Made, recorded and restored.


def box(machine: Machine, *routes: Route) -> FakeNetns:
    """Make sandbox `x` on `lan` with the routes; its namespace."""
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="lan", routes=routes)])
    return machine.world.pins[str(machine.world.pins_dir / "x")]


def static(netns: FakeNetns) -> set[tuple[str, str | None]]:
    return {
        (
            str(ip_network((one.destination, one.prefix_length))),
            None if one.gateway is None else str(ip_address(one.gateway)),
        )
        for one in netns.static
    }


ALL = {("192.168.9.1/32", None), ("10.0.0.0/8", "172.16.86.7"), ("10.9.0.0/16", "192.168.9.1")}


def test_routes_are_made_recorded_and_read_back_as_they_were_given(machine: Machine) -> None:
    routes = (BEHIND, FAR, NEAR, OURS, replace(OURS6, mtu=1300, advmss=1200))
    netns = box(machine, *routes)
    assert static(netns) == ALL
    assert netns.gateways == {4: ip_address("172.16.86.9").packed, 6: ip_address("fe80::1").packed}
    assert machine.host.sandbox("x").endpoints[0].routes == routes
    assert machine.host.check() == []


def test_a_refused_route_leaves_nothing(machine: Machine) -> None:
    before = machine.everything()
    wrong = EndpointRequest(network="lan", ifname="lan0", routes=(Route.of("10.0.0.0/8", "172.16.87.1"),))
    with pytest.raises(RouteInvalid):
        machine.host.create_sandbox("x", endpoints=[wrong])
    assert machine.everything() == before


def test_a_name_that_a_refused_item_asked_for_is_free_for_the_next(machine: Machine) -> None:
    machine.world.give("/run/theirs")
    wrong = EndpointRequest(network="lan", sandbox="a", ifname="lan0", routes=(Route.of("10.0.0.0/8", "172.16.87.1"),))
    right = EndpointRequest(network="lan", sandbox="b", ifname="lan0", routes=(FAR,))
    outcomes = machine.host.connect_many("lan", [wrong, right], netns="/run/theirs")
    assert [one.ok for one in outcomes] == [False, True]


def test_no_endpoint_gets_the_gateway_of_its_own_routes_unless_that_is_asked_for(machine: Machine) -> None:
    """Wrong: the first free address is refused to one after the other, as it is given back each time."""
    near, near6 = Route.of("10.0.0.0/8", "172.16.86.3"), Route.of("2001:db8:9::/48", "2001:db8:86::3")
    asked = [EndpointRequest(network="lan", sandbox=name, routes=(near, near6)) for name in "abc"]
    made = [one.result() for one in machine.host.connect_many("lan", asked)]
    assert [one.packed[-1] for one in made if one.packed] == [2, 4, 5]
    assert [one.packed6[-1] for one in made if one.packed6] == [2, 4, 5]
    machine.assert_record_is_true()
    assert str(machine.host.connect("lan", machine.host.create_sandbox("d")).ip) == "172.16.86.3/24"
    (refused,) = machine.host.connect_many("lan", [replace(asked[0], sandbox="e", ip6=ip_address("2001:db8:86::3"))])
    assert isinstance(refused.error, RouteInvalid | AddressTaken)
    machine.assert_record_is_true()


@pytest.mark.parametrize(
    ("fixed", "gateway", "got"),
    [
        ({"ip": "172.16.86.40"}, "2001:db8:86::2", ("172.16.86.40", "2001:db8:86::3")),
        ({"ip6": "2001:db8:86::40"}, "172.16.86.2", ("172.16.86.3", "2001:db8:86::40")),
        # Of the other family nothing is passed over.
        ({}, "172.16.86.2", ("172.16.86.3", "2001:db8:86::2")),
        ({}, "2001:db8:86::2", ("172.16.86.2", "2001:db8:86::3")),
    ],
)
def test_an_automatic_address_is_no_gateway_of_the_endpoints_routes_whatever_the_other_family_has(
    machine: Machine, fixed: dict[str, Any], gateway: str, got: tuple[str, str]
) -> None:
    far = Route.of("2001:db8:9::/48" if ":" in gateway else "10.0.0.0/8", gateway)
    for name in ("a", "b"):
        request = EndpointRequest.of("lan", name, **fixed)
        made = machine.host.connect_many("lan", [replace(request, routes=(far,))])[0].result()
        assert tuple(str(one.ip) for one in made.addresses) == got
        machine.assert_record_is_true()
        machine.host.remove_many([name], force=True).raise_if_any()


def test_a_range_that_has_nothing_but_the_gateway_of_its_routes_is_full_for_an_endpoint(machine: Machine) -> None:
    machine.host.update_network("lan", ip_ranges=["172.16.86.3/32"])
    far = EndpointRequest(network="lan", sandbox="x", routes=(Route.of("10.0.0.0/8", "172.16.86.3"),))
    assert isinstance(machine.host.connect_many("lan", [far])[0].error, PoolExhausted)
    machine.assert_record_is_true()
    assert str(machine.host.connect("lan", machine.host.create_sandbox("y")).ip) == "172.16.86.3/24"


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_route_that_is_missing_is_named_and_restored(machine: Machine, lost: int) -> None:
    netns = box(machine, NEAR, FAR, BEHIND)
    gone = netns.static.pop(lost)
    (difference,) = machine.host.check()
    assert difference.kind == "route-missing"
    assert f"has lost the route to {ip_network((gone.destination, gone.prefix_length))}" in str(difference)
    (step,) = machine.host.restore().steps
    assert (step.error, "give it the route to" in str(step)) == (None, True)
    assert static(netns) == ALL
    assert machine.host.check() == []


def test_a_default_route_of_its_own_that_is_missing_is_restored_as_it_was_given(machine: Machine) -> None:
    netns = box(machine, OURS)
    del netns.routes[4]
    machine.host.restore()
    assert netns.gateways[4] == ip_address("172.16.86.9").packed
    # And the network's own in its place is none of ours.
    netns.gateways[4] = ip_address("172.16.86.1").packed
    (difference,) = machine.host.check()
    assert (difference.kind, difference.obstacle is not None) == ("route-other", True)


def test_of_default_routes_with_one_gateway_and_two_metrics_the_lost_one_is_seen(machine: Machine) -> None:
    """Wrong: they are told apart by link and gateway alone."""
    netns = box(machine, OURS, replace(OURS, metric=50), OURS6, replace(OURS6, metric=50))
    assert machine.host.check() == []
    for lose, said in ((netns.static.clear, "IPv4"), (netns.routes.clear, "IPv6")):
        before = list(netns.static), dict(netns.routes)
        lose()
        (difference,) = machine.host.check()
        assert (difference.kind, difference.obstacle) == ("route-missing", None)
        assert said in str(difference)
        machine.host.restore()
        assert (netns.static, netns.routes) == before
    assert machine.host.check() == []


@pytest.mark.parametrize("default", [False, True])
@pytest.mark.parametrize(("mtu", "advmss"), [(1400, 1300), (65535, 65535), (None, None)])
@pytest.mark.parametrize("changed", ["mtu", "advmss"])
def test_a_route_whose_limits_were_changed_gets_those_that_it_was_made_with(
    machine: Machine, changed: str, mtu: int | None, advmss: int | None, default: bool
) -> None:
    far = replace(OURS if default else FAR, metric=7, mtu=mtu, advmss=advmss)
    netns = box(machine, far, NEAR)
    before = sorted(netns.static)
    assert machine.host.check() == [], "the kernel cuts off what no packet can have"
    netns.static = [RouteFacts(**one._asdict() | {changed: 1234}) if one.metric == 7 else one for one in before]
    (difference,) = machine.host.check()
    assert (difference.kind, difference.obstacle) == ("route-wrong", None)
    assert f"with {changed} 1234" in str(difference) or f"{changed} 1234, not" in str(difference)
    (step,) = machine.host.restore().steps
    assert "correct the" in str(step)
    assert sorted(netns.static) == before
    assert machine.host.check() == []


def test_the_default_route_of_a_network_has_no_limits_of_its_own(machine: Machine) -> None:
    netns = box(machine)
    netns.limits[4] = (1300, None)
    assert "with mtu 1300, not no mtu" in str(machine.host.check()[0])
    machine.host.restore()
    assert netns.limits[4] == (None, None)


@pytest.mark.parametrize("advertised", [False, True])
def test_an_ipv6_route_that_the_kernel_limits_to_what_its_link_carries_is_as_it_was_made(
    machine: Machine, advertised: bool
) -> None:
    machine.host.remove_networks(["lan"]).raise_if_any()
    machine.host.create_network("ra", subnets=["2001:db8:9::/64"], parent="eth0", ipv6_ra=advertised)
    far6 = Route.of("2001:db8:10::/48", "fe80::1", mtu=1400)
    machine.host.create_sandbox("x", endpoints=[EndpointRequest(network="ra", routes=(far6,))])
    netns = machine.world.pins[str(machine.world.pins_dir / "x")]
    (link,) = netns.links.values()
    link.mtu = 1390
    # Routers advertise less than that, too.
    for mtu, wrong in ((1390, False), (1380, not advertised), (1410, True)):
        netns.static = [netns.static[0]._replace(mtu=mtu)]
        assert [one.kind for one in machine.host.check()] == ["route-wrong"] * wrong
    # With another beside it, none is replaced.
    netns.static.append(netns.static[0]._replace(gateway=bytes(16)))
    (difference,) = machine.host.check()
    assert (difference.kind, "beside it" in str(difference.obstacle)) == ("route-wrong", True)
    assert machine.host.restore().steps == ()


def test_a_deleted_link_comes_back_with_its_routes_and_so_does_all_after_a_reboot(machine: Machine) -> None:
    netns = box(machine, NEAR, FAR, BEHIND, OURS)
    netns.remove(next(iter(netns.links)))
    assert static(netns) == set()
    machine.host.restore()
    assert static(netns) == ALL
    machine.world.reboot()
    machine.restart()
    machine.host.restore()
    netns = machine.world.pins[str(machine.world.pins_dir / "x")]
    assert static(netns) == ALL
    assert netns.gateways[4] == ip_address("172.16.86.9").packed
    assert machine.host.check() == []


def test_another_route_in_its_place_is_left_alone_and_named(machine: Machine) -> None:
    netns = box(machine, FAR)
    ours = netns.static[0]
    netns.static[0] = ours._replace(gateway=ip_address("172.16.86.8").packed)
    before = list(netns.static)
    (difference,) = machine.host.check()
    assert (difference.kind, difference.obstacle) == (
        "route-other", "another route to 10.0.0.0/8 is there, which macvfast did not make",
    )  # fmt: skip
    assert machine.host.restore().steps == ()
    assert netns.static == before
    # Another metric is another route.
    netns.static[0] = ours._replace(metric=7)
    machine.host.restore()
    assert len(netns.static) == 2
    assert machine.host.check() == []


def test_a_link_is_made_again_once_nothing_is_in_the_place_of_its_routes(machine: Machine) -> None:
    netns = box(machine, FAR)
    machine.host.connect("other", "x")
    netns.remove(next(link.ifindex for link in netns.links.values() if link.ifname == "eth0"))
    (other,) = netns.links
    netns.static = [RouteFacts(ip_address("10.0.0.0").packed, 8, 0, other, None)]
    kept = machine.host.restore().remaining
    assert [one.obstacle for one in kept] == ["another route to 10.0.0.0/8 is there, which macvfast did not make"]
    assert [link.ifname for link in netns.links.values()] == ["eth1"]
    netns.static = []
    machine.host.restore()
    assert static(netns) == {("10.0.0.0/8", "172.16.86.7")}
    assert machine.host.check() == []


def test_the_next_network_takes_over_with_the_default_route_that_it_was_asked_to_have(machine: Machine) -> None:
    netns = box(machine, OURS)
    own = EndpointRequest(network="other", sandbox="x", routes=(Route.of("0.0.0.0/0", "10.7.0.9"),))
    machine.host.disconnect("lan", "x")
    machine.host.connect("lan", "x")
    for outcome in machine.host.connect_many("other", [replace(own, sandbox="y")]):
        assert outcome.ok
    machine.host.create_sandbox("z", endpoints=[EndpointRequest.of("lan"), own])
    assert netns.gateways[4] == ip_address("172.16.86.1").packed
    theirs = machine.world.pins[str(machine.world.pins_dir / "z")]
    assert theirs.gateways[4] == ip_address("172.16.86.1").packed
    assert machine.host.check() == []
    machine.host.disconnect("lan", "z")
    assert theirs.gateways[4] == ip_address("10.7.0.9").packed
    assert machine.host.check() == []


def test_all_routes_of_a_namespace_are_read_only_where_an_endpoint_has_some(machine: Machine) -> None:
    box(machine)
    machine.faults.arm()
    machine.host.check()
    assert "list all routes inside" not in machine.faults.seen
    machine.host.create_sandbox("y", endpoints=[EndpointRequest(network="lan", routes=(FAR,))])
    machine.faults.arm()
    machine.host.check()
    assert machine.faults.seen.count("list all routes inside") == 1


def test_routes_come_back_with_a_copy_of_the_state(machine: Machine) -> None:
    box(machine, FAR, OURS)
    copy = machine.host.backup_state(str(machine.world.pins_dir.parent / "copy.db"))
    machine.host.remove_many(["x"], force=True).raise_if_any()
    machine.host.load_state(copy)
    machine.host.restore()
    assert machine.host.sandbox("x").endpoints[0].routes == (FAR, OURS)
    assert static(machine.world.pins[str(machine.world.pins_dir / "x")]) == {("10.0.0.0/8", "172.16.86.7")}


@pytest.mark.parametrize(
    "text",
    ['[{"destination": "10.0.0.1/8"}]', '[{"to": "10.0.0.0/8"}]', '["10.0.0.0/8"]', '[{"via": "10.0.0.1"}]', "[5]",
     "x", "7", '[{"destination": "10.0.0.0/8", "metric": "5"}]'],
)  # fmt: skip
def test_routes_that_macvfast_never_wrote_are_not_believed(machine: Machine, text: str) -> None:
    box(machine, FAR)
    machine.host.close()
    with closing(sqlite3.connect(f"{machine.state_dir}/state.db")) as connection, connection:
        connection.execute("UPDATE endpoint SET routes = ?", (text,))
    machine.host = machine.start()
    with pytest.raises(StateCorrupt):
        machine.host.sandbox("x")


@pytest.mark.parametrize("step", range(1, 40))
def test_a_failure_at_any_step_leaves_all_routes_or_nothing(machine: Machine, step: int) -> None:
    before = machine.everything()
    machine.faults.arm(fail_at=step)
    request = EndpointRequest(network="lan", routes=(NEAR, FAR, BEHIND, OURS))
    try:
        machine.host.create_sandbox("x", endpoints=[request])
    except MacvfastError:
        machine.faults.arm()
        machine.mend()
        assert machine.everything() == before
    else:
        machine.faults.arm()
        assert static(machine.world.pins[str(machine.world.pins_dir / "x")]) == ALL
