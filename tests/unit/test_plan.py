"""What is decided from values alone: parents, sub-interfaces, the steps of endpoints, default routes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from macvfast import plan
from macvfast.errors import (
    AlreadyConnected,
    MacInvalid,
    MacvfastError,
    OptionInvalid,
    ParentNotFound,
    ParentTaken,
    ParentUnusable,
    PassthruOccupied,
)
from macvfast.model import Endpoint, Network, Subnet
from macvfast.plan import AddAddress, AddRoute, ExpectedLink, GroupRemoval, SetUp, SubInterface
from macvfast.requests import NetworkRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

MAC = b"\x02\x42\xac\x10\x56\x0a"
HOME_ETH0 = 2


@dataclass
class Link:
    """What a dump says of a link."""

    ifindex: int
    ifname: str
    kind: str | None = None
    port_kind: str | None = None
    controller: int | None = None
    mac: bytes = MAC
    mtu: int = 1500
    up: bool = True
    loopback: bool = False
    parent: int | None = None
    parent_netnsid: int | None = None
    vid: int | None = None
    mode: str | None = None
    group: int = 0
    altnames: tuple[str, ...] = ()
    attributes: tuple[tuple[int, int], ...] = ()


ETH0 = Link(HOME_ETH0, "eth0")


def subnet(cidr: str, gateway: str | None = None) -> Subnet:
    return Subnet(cidr=ip_network(cidr), gateway=None if gateway is None else ip_address(gateway))


V4 = subnet("172.16.86.0/24", "172.16.86.1")
V6 = subnet("2001:db8:86::/64", "2001:db8:86::1")


def network(name: str = "lan", *, subnets: Sequence[Subnet] = (V4,), **given: object) -> Network:
    values: dict[str, object] = {
        "id": name * 8, "name": name, "driver": "macvlan", "mode": "bridge", "flag": None, "parent": "eth0",
        "link": "eth0", "subnets": tuple(subnets), "ipv6": any(one.version == 6 for one in subnets), "ipv6_ra": None,
        "internal": False, "mtu": None, "share_parent": False, "order": "lowest", "labels": (), "options": (),
        "created_at": datetime(2024, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return Network(**{**values, **given})  # type: ignore[arg-type]


def endpoint(of: Network, *, number: int = 10, ifindex: int = 1_000_000, ifname: str = "eth0") -> Endpoint:
    """An endpoint with the number-th address of the first subnet of each family that the network uses."""
    four, six = (next(iter(of.usable_subnets(version)), None) for version in (4, 6))
    return Endpoint(
        network_id=of.id, network=of.name, sandbox_id="s", sandbox="web", position=0, ifname=ifname, ifindex=ifindex,
        group=7, mac=MAC, packed=None if four is None else four.cidr[number].packed,
        packed6=None if six is None else six.cidr[number].packed,
        subnet=four, subnet6=six,
    )  # fmt: skip


# Sub-interfaces: the table of Docker's parseVlan, with what is decided here.


@pytest.mark.parametrize(
    ("parent", "base", "vid"),
    [
        ("eth0.50", "eth0", 50),
        ("eth0.1", "eth0", 1),
        ("eth0.4094", "eth0", 4094),
        # Docker takes one dot only: QinQ is made on a sub-interface that is there.
        ("eth0.50.60", "eth0.50", 60),
        ("br-lan.7", "br-lan", 7),
        ("enp0s31f6.4094", "enp0s31f6", 4094),
    ],
)
def test_a_name_with_a_vlan_id_is_a_sub_interface(parent: str, base: str, vid: int) -> None:
    assert plan.sub_interface(parent) == SubInterface(parent, base, vid)


def test_a_name_that_no_link_can_have_is_made_under_another() -> None:
    """Wrong: the hint is `ip link` alone, which cannot show what does not exist."""
    with pytest.raises(OptionInvalid) as caught:
        plan.sub_interface("enp130s0f1np1.100")
    assert caught.value.hints == (
        "ip link add link enp130s0f1np1 name vlan100 up type vlan id 100",
        "-o parent=vlan100 then takes it",
    )


@pytest.mark.parametrize("parent", ["eth9", ".50", "50", "longer-than-any-link-can-be"])
def test_a_name_without_a_vlan_id_is_a_link_that_is_not_there(parent: str) -> None:
    with pytest.raises(ParentNotFound):
        plan.sub_interface(parent)


@pytest.mark.parametrize(
    "parent",
    ["eth0.", "eth0.abc", "eth0.0", "eth0.4095", "eth0.-1", "eth0.+50", "eth0.0050", "eth0.5 ", "eth0.²", "eth0.٥",
     "eth0.1e2", "eth0.99999999999999999999", "wlxaabbccddee.4000"],
)  # fmt: skip
def test_a_vlan_id_that_is_none_is_refused(parent: str) -> None:
    with pytest.raises(OptionInvalid) as caught:
        plan.sub_interface(parent)
    assert (caught.value.key, caught.value.value) == ("parent", parent)


@pytest.mark.parametrize(
    ("base", "links", "error", "said"),
    [
        (None, [], ParentNotFound, "neither it nor `eth0` exists"),
        (Link(1, "lo", loopback=True), [], ParentUnusable, "loopback"),
        (replace(ETH0, up=False), [], ParentUnusable, "it is down"),
        (ETH0, [Link(9, "vlan50", "vlan", parent=2, vid=50)], ParentUnusable, "`vlan50` is VLAN 50"),
    ],
)
def test_a_base_on_which_no_vlan_can_be_is_refused(
    base: Link | None, links: list[Link], error: type[MacvfastError], said: str
) -> None:
    with pytest.raises(error, match=said):
        plan.refuse_base(base, SubInterface("eth0.50", "eth0", 50), plan.Links(links))


@pytest.mark.parametrize(
    ("parent", "hint"),
    [
        ("eth0.50.60", "a VLAN in a VLAN: `ip link add link eth0 name eth0.50 up type vlan id 50` first"),
        # An address, not a VLAN in a VLAN; and what the kernel would refuse next.
        ("10.5.1.2", "`ip link` lists the links"),
        ("10.5.0.2", "`ip link` lists the links"),
        ("eth0.4095.2", "`ip link` lists the links"),
    ],
)
def test_a_missing_base_is_made_only_on_a_link_that_is_there(parent: str, hint: str) -> None:
    with pytest.raises(ParentNotFound) as caught:
        plan.refuse_base(None, plan.sub_interface(parent), plan.Links([ETH0]))
    assert caught.value.hints == (hint,)


def test_a_base_with_other_vlans_is_taken() -> None:
    others = [
        Link(9, "eth0.51", "vlan", parent=2, vid=51),
        Link(10, "eth1.50", "vlan", parent=3, vid=50),
        # An index of another namespace says nothing here.
        Link(11, "theirs", "vlan", parent=2, parent_netnsid=0, vid=50),
    ]
    plan.refuse_base(ETH0, SubInterface("eth0.50", "eth0", 50), plan.Links(others))


# Parents.


REQUEST = NetworkRequest(name="new", parent="eth0")
IPVLAN = NetworkRequest(name="new", driver="ipvlan", parent="eth0")
PASSTHRU = NetworkRequest(name="new", mode="passthru", parent="eth0")


@pytest.mark.parametrize(
    ("link", "others", "request_", "said"),
    [
        (Link(1, "lo", loopback=True), [], REQUEST, "loopback"),
        (Link(5, "mv0", "macvlan", parent=2), [ETH0], REQUEST, "itself a macvlan"),
        (Link(5, "iv0", "ipvlan", parent=2), [ETH0], IPVLAN, "itself an ipvlan"),
        (Link(5, "mt0", "macvtap", parent=2), [ETH0], REQUEST, "itself a macvtap"),
        (replace(ETH0, controller=8, port_kind="bridge"), [Link(8, "br0")], REQUEST, "port of bridge `br0`"),
        (replace(ETH0, controller=8, port_kind="bond"), [], REQUEST, "port of bond another link"),
        (ETH0, [Link(5, "iv0", "ipvlan", parent=2, mode="l2")], REQUEST, "ipvlan link `iv0` holds it"),
        (ETH0, [Link(5, "mv0", "macvlan", parent=2, mode="bridge")], IPVLAN, "macvlan link `mv0` holds it"),
        (ETH0, [Link(5, "mv0", "macvlan", parent=2, mode="bridge")], PASSTHRU, "`mv0` stands on it"),
        (ETH0, [Link(5, "mv0", "macvlan", parent=2, mode="passthru")], REQUEST, "`mv0` stands on it"),
        (ETH0, [Link(5, "iv0", "ipvlan", parent=2, mode="l3")], IPVLAN, "in mode l3"),
    ],
)
def test_a_link_that_cannot_be_a_parent_is_refused_with_the_culprit(
    link: Link, others: list[Link], request_: NetworkRequest, said: str
) -> None:
    with pytest.raises(ParentUnusable, match=said) as caught:
        plan.refuse_parent(link, plan.Links([link, *others]), request_)
    assert caught.value.parent == link.ifname


def test_the_hint_for_a_macvlan_names_the_link_below_it() -> None:
    with pytest.raises(ParentUnusable) as caught:
        plan.refuse_parent(Link(5, "mv0", "macvlan", parent=2), plan.Links([ETH0]), REQUEST)
    assert caught.value.hints == ("use that link with -o parent=eth0",)
    with pytest.raises(ParentUnusable) as caught:
        plan.refuse_parent(Link(5, "mv0", "macvlan", parent=2, parent_netnsid=0), plan.Links([ETH0]), REQUEST)
    assert caught.value.hints == ("use that link",)


@pytest.mark.parametrize("kind", [None, "veth", "bond", "bridge", "vlan", "dummy", "tun", "ipip"])
def test_a_link_of_any_other_kind_is_taken_up_or_down(kind: str | None) -> None:
    plan.refuse_parent(
        Link(2, "x", kind, up=False), plan.Links([Link(2, "x", kind), Link(1, "lo", loopback=True)]), REQUEST
    )


def test_strangers_of_the_same_kind_and_other_vlans_are_no_obstacle() -> None:
    others = [
        Link(5, "mv0", "macvlan", parent=2, mode="vepa"),
        Link(6, "eth0.5", "vlan", parent=2, vid=5),
        Link(7, "iv0", "ipvlan", parent=3, mode="l2"),
        Link(8, "iv1", "ipvlan", parent=2, parent_netnsid=0, mode="l2"),
    ]
    plan.refuse_parent(ETH0, plan.Links([ETH0, *others]), REQUEST)


SHARING = NetworkRequest(name="new", parent="eth0", share_parent=True)


@pytest.mark.parametrize(
    ("request_", "other", "said"),
    [
        (REQUEST, network(), "network `lan` holds it"),
        (SHARING, network(), "network `lan` holds it"),
        (REQUEST, network(share_parent=True), "network `lan` holds it"),
        (SHARING, network(mode="passthru"), "passthru shares with nobody"),
        (PASSTHRU, network(share_parent=True), "passthru shares with nobody"),
        (replace(SHARING, driver="ipvlan", mode=None), network(share_parent=True), "a parent has one driver"),
        (
            replace(SHARING, driver="ipvlan", mode="l3"),
            network(share_parent=True, driver="ipvlan", mode="l2", flag="bridge"),
            "has l2, bridge",
        ),
        (
            replace(SHARING, driver="ipvlan", mode="l2", flag="private"),
            network(share_parent=True, driver="ipvlan", mode="l2", flag="bridge"),
            "has l2, bridge",
        ),
    ],
)
def test_company_on_a_parent_is_refused(request_: NetworkRequest, other: Network, said: str) -> None:
    with pytest.raises(ParentTaken, match=said) as caught:
        plan.refuse_company("eth0", request_, [other])
    assert (caught.value.network, caught.value.parent) == ("new", "eth0")
    assert caught.value.hints


def test_networks_that_both_say_so_share_a_parent() -> None:
    plan.refuse_company("eth0", REQUEST, [])
    plan.refuse_company("eth0", SHARING, [network(share_parent=True), network("b", share_parent=True, mode="private")])
    ipvlan = replace(SHARING, driver="ipvlan", mode="l3", flag="private")
    plan.refuse_company("eth0", ipvlan, [network(share_parent=True, driver="ipvlan", mode="l3", flag="private")])


def test_one_of_several_networks_on_the_parent_is_enough_to_refuse() -> None:
    with pytest.raises(ParentTaken, match="`b`"):
        plan.refuse_company("eth0", SHARING, [network(share_parent=True), network("b")])


@pytest.mark.parametrize(
    ("mtu", "parent_mtu", "subnets", "fits"),
    [
        (None, 68, (V4,), True),
        (None, 1280, (V6,), True),
        (None, 1279, (V4, V6), False),
        (1500, 1500, (V4,), True),
        (1501, 1500, (V4,), False),
        (9000, 9000, (V4, V6), True),
        (1280, 1500, (V6,), True),
        (1279, 1500, (V6,), False),
        (1279, 1500, (V4,), True),
    ],
)
def test_an_mtu_fits_the_parent_and_ipv6(
    mtu: int | None, parent_mtu: int, subnets: tuple[Subnet, ...], fits: bool
) -> None:
    wanted = network(subnets=subnets, mtu=mtu)
    if fits:
        plan.refuse_mtu(wanted, "eth0", parent_mtu)
    else:
        with pytest.raises(OptionInvalid if mtu is not None else ParentUnusable, match=r"mtu|MTU"):
            plan.refuse_mtu(wanted, "eth0", parent_mtu)


# The steps of endpoints.


def steps(of: Network, *, ready: bool = True, held: Sequence[int] = ()) -> plan.EndpointPlan:
    return plan.plan_endpoint(of, endpoint(of), 2, ready=ready, held=dict.fromkeys(held))


def test_an_endpoint_is_born_whole_and_up_where_links_are_born_with_what_it_needs() -> None:
    made = steps(network(mtu=1400))
    assert made.link == plan.AddLink(
        driver="macvlan", mode="bridge", flag=None, ifname="eth0", ifindex=1_000_000, parent=2, mac=MAC, mtu=1400,
        group=7, up=True,
    )  # fmt: skip
    assert made.link_sysctls == ()
    assert made.configure == (
        AddAddress(1_000_000, ip_address("172.16.86.10").packed, 24),
        AddRoute(1_000_000, bytes(4), 0, ip_address("172.16.86.1").packed),
    )


def test_elsewhere_it_is_born_down_and_set_by_its_own_name() -> None:
    made = steps(network(), ready=False)
    assert not made.link.up
    assert made.link_sysctls == (("net/ipv6/conf/eth0/disable_ipv6", "1"),)
    assert made.configure[0] == SetUp(1_000_000)
    assert [type(step) for step in made.configure] == [SetUp, AddAddress, AddRoute]


def test_a_dual_stack_endpoint_has_both_addresses_and_both_routes() -> None:
    made = steps(network(subnets=[V6, V4]))
    assert made.configure == (
        AddAddress(1_000_000, ip_address("172.16.86.10").packed, 24),
        AddAddress(1_000_000, ip_address("2001:db8:86::a").packed, 64),
        AddRoute(1_000_000, bytes(4), 0, ip_address("172.16.86.1").packed),
        AddRoute(1_000_000, bytes(16), 0, ip_address("2001:db8:86::1").packed),
    )
    assert dict(plan.link_sysctls("default", network(subnets=[V6, V4]))) == {
        "net/ipv6/conf/default/disable_ipv6": "0",
        "net/ipv6/conf/default/accept_ra": "1",
        "net/ipv6/conf/default/autoconf": "1",
    }


def test_on_a_network_of_cni_an_endpoint_is_as_the_reference_plugins_make_it() -> None:
    made = steps(network(subnets=[V6, V4], origin="cni"), ready=False)
    assert made.link_sysctls == (
        ("net/ipv6/conf/eth0/disable_ipv6", "0"), ("net/ipv6/conf/lo/disable_ipv6", "0"),
        ("net/ipv4/conf/eth0/arp_notify", "1"), ("net/ipv6/conf/eth0/ndisc_notify", "1"),
    )  # fmt: skip
    # Addresses are there when the link comes up; there is no route that was not asked for.
    assert made.configure == (
        AddAddress(1_000_000, ip_address("172.16.86.10").packed, 24, usual=True),
        AddAddress(1_000_000, ip_address("2001:db8:86::a").packed, 64, usual=True),
        SetUp(1_000_000),
    )
    # IPv6 stays as the namespace has it.
    only_4 = steps(network(origin="cni"), ready=False).link_sysctls
    assert not [name for name, _ in only_4 if "disable_ipv6" in name or "accept_ra" in name]
    assert plan.link_sysctls("default", network(subnets=[V6, V4], origin="cni")) == ()


def test_with_ipv6_switched_off_an_ipv6_subnet_changes_nothing() -> None:
    off = network(subnets=[V4, V6], ipv6=False)
    assert steps(off) == steps(network())
    assert plan.link_sysctls("default", off) == (("net/ipv6/conf/default/disable_ipv6", "1"),)


NO_GATEWAY = subnet("2001:db8:86::/64")
LEFT_TO_ROUTERS = replace(NO_GATEWAY, gateway_automatic=True)


@pytest.mark.parametrize(
    ("of", "advertised"),
    [
        (network(subnets=[V4, V6]), "1"),
        (network(subnets=[V6]), "1"),
        (network(subnets=[V6], ipv6_ra=False), "0"),
        (network(subnets=[V6], internal=True), "0"),
        (network(subnets=[NO_GATEWAY]), "0"),
        (network(subnets=[V4, NO_GATEWAY]), "0"),
        # Nothing was said of a gateway.
        (network(subnets=[LEFT_TO_ROUTERS]), "1"),
        (network(subnets=[V4, LEFT_TO_ROUTERS]), "1"),
        (network(subnets=[LEFT_TO_ROUTERS], internal=True), "0"),
        (network(subnets=[NO_GATEWAY], driver="ipvlan", mode="l3"), "1"),
        # Asked for, it is done.
        (network(subnets=[NO_GATEWAY], ipv6_ra=True), "1"),
        (network(subnets=[V4, NO_GATEWAY], ipv6_ra=True), "1"),
    ],
)
def test_routers_are_listened_to_unless_none_is_wanted(of: Network, advertised: str) -> None:
    assert dict(plan.link_sysctls("default", of))["net/ipv6/conf/default/accept_ra"] == advertised
    assert dict(steps(of, ready=False).link_sysctls)["net/ipv6/conf/eth0/accept_ra"] == advertised


def routes(of: Network, held: Sequence[int] = ()) -> list[tuple[int, bytes | None]]:
    return [(step.family, step.gateway) for step in steps(of, held=held).configure if isinstance(step, AddRoute)]


@pytest.mark.parametrize(
    ("of", "held", "families"),
    [
        (network(), [], [4]),
        (network(subnets=[V4, V6]), [], [4, 6]),
        (network(subnets=[V4, V6]), [4], [6]),
        (network(subnets=[V4, V6]), [6], [4]),
        (network(subnets=[V4, V6]), [4, 6], []),
        (network(subnets=[V4, NO_GATEWAY]), [], [4]),
        (network(subnets=[subnet("10.0.0.0/24")]), [], []),
        (network(internal=True), [], []),
        (network(parent=None, link="dm-123456789abc"), [], []),
        (network(driver="ipvlan", mode="l3", subnets=[V4, V6]), [], [4, 6]),
        (network(driver="ipvlan", mode="l3", subnets=[V4], internal=True), [], []),
        (network(driver="ipvlan", mode="l3s", subnets=[V4], parent=None), [], []),
    ],
)
def test_the_default_route_is_set_where_there_is_one_and_nobody_holds_it(
    of: Network, held: list[int], families: list[int]
) -> None:
    assert [family for family, _ in routes(of, held)] == families


def test_on_ipvlan_l3_the_default_route_is_the_link_itself() -> None:
    assert routes(network(driver="ipvlan", mode="l3", subnets=[V4, NO_GATEWAY])) == [(4, None), (6, None)]
    assert routes(network(driver="ipvlan", mode="l2")) == [(4, ip_address("172.16.86.1").packed)]


@pytest.mark.parametrize("kind", [{"mode": "passthru"}, {"driver": "ipvlan", "mode": "l2", "flag": "private"}])
def test_a_link_with_its_parents_mac_is_given_none(kind: dict[str, object]) -> None:
    made = steps(network(**kind))  # type: ignore[arg-type]
    assert made.link.mac is None
    assert (made.link.driver, made.link.mode, made.link.flag) == (
        kind.get("driver", "macvlan"),
        kind["mode"],
        kind.get("flag"),
    )


# Handing the default route over.


def pair(name: str, ifindex: int, subnets: Sequence[Subnet], **given: object) -> tuple[Network, Endpoint]:
    of = network(name, subnets=subnets, **given)
    return of, endpoint(of, ifindex=ifindex)


BOTH = pair("both", 1, [V4, V6])
OTHER4 = pair("other4", 2, [subnet("10.0.0.0/24", "10.0.0.1")])
OTHER6 = pair("other6", 3, [subnet("fd00::/64", "fd00::1")])
INSIDE = pair("inside", 4, [subnet("10.9.0.0/24", "10.9.0.1")], internal=True)
LAST = pair("last", 5, [subnet("10.8.0.0/24", "10.8.0.1"), subnet("fd08::/64", "fd08::1")])


@pytest.mark.parametrize(
    ("leaving", "before", "after", "taken"),
    [
        (BOTH, [], [], []),
        (BOTH, [], [OTHER4], [(4, 2)]),
        (BOTH, [], [INSIDE, OTHER4, LAST], [(4, 2), (6, 5)]),
        (BOTH, [], [OTHER6, OTHER4, LAST], [(4, 2), (6, 3)]),
        # Whoever did not hold it hands nothing over.
        (BOTH, [OTHER4], [LAST], [(6, 5)]),
        (BOTH, [OTHER4, OTHER6], [LAST], []),
        (INSIDE, [], [OTHER4], []),
        (INSIDE, [BOTH], [OTHER4], []),
    ],
)
def test_the_first_connected_of_the_rest_takes_the_default_route_over(
    leaving: tuple[Network, Endpoint],
    before: list[tuple[Network, Endpoint]],
    after: list[tuple[Network, Endpoint]],
    taken: list[tuple[int, int]],
) -> None:
    handed = plan.hand_over([*before, leaving, *after], [leaving])
    assert [(step.family, step.ifindex) for step in handed] == taken


def test_families_are_held_by_those_who_could_hold_them() -> None:
    assert plan.default_holders([]) == {}
    assert plan.default_holders([INSIDE]) == {}
    assert plan.default_holders([OTHER4, INSIDE, LAST]) == {4: OTHER4, 6: LAST}
    assert plan.default_holders([OTHER4, OTHER6]) == {4: OTHER4, 6: OTHER6}


def of_priority(pair: tuple[Network, Endpoint], gw_priority: int | None) -> tuple[Network, Endpoint]:
    return pair[0], replace(pair[1], gw_priority=gw_priority)


@pytest.mark.parametrize(
    ("priorities", "holders"),
    [
        # By family, the position of the holder. Of four endpoints, the second has IPv4 alone.
        ((0, 0, 0), {4: 0, 6: 0}),
        ((0, 5, 1), {4: 1, 6: 2}),
        ((-1, 0, 0), {4: 1, 6: 2}),
        ((7, 7, 7), {4: 0, 6: 0}),
        ((None, 0, -3), {4: 1, 6: 2}),
        ((None, None, -(2**31)), {4: 2, 6: 2}),
        ((None, None, None), {}),
    ],
)
def test_the_highest_gw_priority_holds_the_default_route_and_the_first_connected_of_those(
    priorities: tuple[int | None, ...], holders: dict[int, int]
) -> None:
    """And so it does in whatever order they come and go."""
    pairs = [of_priority(pair, number) for pair, number in zip((BOTH, OTHER4, LAST), priorities, strict=True)]
    assert plan.default_holders(pairs) == {family: pairs[at] for family, at in holders.items()}
    there: dict[int, tuple[Network, Endpoint]] = {}
    for new in pairs:
        held = plan.held_by(*new, there)
        for family in plan.default_families(*new):
            taken = held.get(family, ())
            if taken is not None:
                assert [step.ifindex for step in taken] == [there[one][1].ifindex for one in {family} & there.keys()]
                there[family] = new
    assert there == plan.default_holders(pairs)
    for leaving in pairs:
        rest = [pair for pair in pairs if pair != leaving]
        after = plan.default_holders(rest)
        changed = {family: pair for family, pair in after.items() if there[family] == leaving}
        handed = plan.hand_over(pairs, [leaving])
        assert {step.family: step.ifindex for step in handed} == {
            family: pair[1].ifindex for family, pair in changed.items()
        }


def test_an_endpoint_that_takes_the_default_route_over_takes_it_from_its_holder_first() -> None:
    new = of_priority(LAST, 1)
    held = plan.held_by(*new, {4: OTHER4, 6: None})
    made = plan.plan_endpoint(*new, 2, ready=True, held=held).configure
    gone, ours = made[-2:]
    assert isinstance(gone, plan.DeleteRoute)
    assert gone.added == plan.default_routes(*OTHER4, 4)[0]
    assert ours == plan.default_routes(*new, 4)[0]
    assert not any(isinstance(step, plan.AddRoute) and step.family == 6 for step in made), "whose that is, nobody knows"


# What an endpoint cannot be.


def refuse(
    of: Network, *, mac: bytes | None = None, occupants: Sequence[str] = (), others: Sequence[Network] = ()
) -> None:
    plan.refuse_endpoint(of, mac, occupants, [(one, endpoint(one)) for one in others], "web")


@pytest.mark.parametrize("kind", [{"mode": "passthru"}, {"driver": "ipvlan", "mode": "l2"}])
def test_a_mac_is_refused_where_the_link_has_its_parents(kind: dict[str, object]) -> None:
    with pytest.raises(MacInvalid, match="parent's MAC"):
        refuse(network(**kind), mac=MAC)  # type: ignore[arg-type]
    refuse(network(**kind))  # type: ignore[arg-type]
    refuse(network(), mac=MAC)


def test_passthru_takes_one_endpoint_and_names_it() -> None:
    refuse(network(mode="passthru"))
    with pytest.raises(PassthruOccupied) as caught:
        refuse(network(mode="passthru"), occupants=["db"])
    assert caught.value.sandbox == "db"


def test_a_sandbox_is_connected_once_to_a_network_and_to_one_of_overlapping_subnets() -> None:
    with pytest.raises(AlreadyConnected, match="connected already"):
        refuse(network(), others=[network()])
    with pytest.raises(AlreadyConnected, match=r"172\.16\.86\.0/24 overlaps 172\.16\.0\.0/16 of network `wide`"):
        refuse(network(), others=[network("wide", link="eth1", subnets=[subnet("172.16.0.0/16")])])
    refuse(network(), others=[network("six", subnets=[V6]), network("b", subnets=[subnet("10.0.0.0/8")])])


def test_subnets_that_are_not_in_use_do_not_overlap() -> None:
    refuse(network(subnets=[V4, V6], ipv6=False), others=[network("six", subnets=[V6])])


# Which links are deleted together.


def ours(*ifindexes: int) -> list[ExpectedLink]:
    return [ExpectedLink(ifindex, "macvlan") for ifindex in ifindexes]


def there(ifindex: int, group: int, *, kind: str = "macvlan", last: int | None = None) -> Link:
    mac = bytes([2, 0, 0, 0, 0, ifindex if last is None else last])
    return Link(ifindex, f"eth{ifindex}", kind, mac=mac, group=group)


@pytest.mark.parametrize(
    ("links", "removal"),
    [
        ([there(1, 7), there(2, 7), Link(9, "lo")], GroupRemoval((1, 2), 7)),
        ([there(1, 7), there(2, 7), there(3, 7)], GroupRemoval((1, 2), 0)),
        ([there(1, 7), there(2, 8)], GroupRemoval((1, 2), 0)),
        ([there(1, 0), there(2, 0)], GroupRemoval((1, 2), 0)),
        ([there(1, 7), there(2, 7, last=99)], GroupRemoval((1, 2), 7)),
        ([there(1, 7), there(2, 7, kind="veth")], GroupRemoval((1,), 0)),
        ([there(1, 7)], GroupRemoval((1,), 7)),
        ([Link(9, "lo")], GroupRemoval((), 0)),
    ],
    ids=["ours", "a third", "two groups", "no group", "another MAC", "another kind", "one is gone", "all are gone"],
)
def test_a_group_is_deleted_only_where_it_is_exactly_ours(links: list[Link], removal: GroupRemoval) -> None:
    assert plan.group_removal(links, ours(1, 2)) == removal
