"""What differs between a recorded network and one that is wanted, and what of it may change while it is in use."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macvfast import plan
from macvfast.errors import ArgumentInvalid, AuxAddressInvalid, NetworkDiffers, OptionInvalid, OptionUnknown
from macvfast.ipam import OnParent, settle_subnets
from macvfast.model import Endpoint, Network
from macvfast.plan import desired
from macvfast.requests import NetworkRequest, UpdateRequest

LAN = NetworkRequest(
    name="lan",
    parent="eth0",
    subnets=("172.16.86.0/24", "10.9.0.0/16", "2001:db8:1::/64"),
    ip_ranges=("172.16.86.128/25", "10.9.1.0/24", "10.9.3.0/24"),
    gateways=("10.9.0.1",),
    aux=(("router", "172.16.86.200"), ("printer", "10.9.0.7")),
    labels=(("site", "north"), ("old", "yes")),
    mtu=1400,
)


def settled(request: NetworkRequest, *, there: Network | None = None, id_: str = "a" * 64) -> Network:
    """The network that a request makes, or that it asks for where one is there."""
    chosen = {} if there is None else desired.chosen_gateways(there)
    subnets = settle_subnets(request, OnParent(chosen=chosen))
    return Network(
        id=id_, name=request.name, driver=request.driver, mode=str(request.mode), flag=request.flag,
        parent=request.parent, link=request.parent or f"dm-{id_[:12]}", subnets=subnets,
        ipv6=request.ipv6 is not False and any(subnet.version == 6 for subnet in subnets), ipv6_ra=request.ipv6_ra,
        internal=request.internal, mtu=request.mtu, share_parent=request.share_parent, order=request.order,
        labels=request.labels, options=request.options or (), created_at=datetime.now(UTC),
    )  # fmt: skip


RECORDED = settled(LAN)


def wanted(**asked: Any) -> Network:
    """The network that is asked for where that is asked for in place of what `LAN` has."""
    return settled(replace(LAN, **asked), there=RECORDED, id_="b" * 64)


def found(**asked: Any) -> list[str]:
    """What differs then, in words."""
    return [str(change) for change in desired.changes(RECORDED, wanted(**asked))]


def test_what_is_asked_for_again_differs_in_nothing() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"ip_ranges": ()}, ["ip-ranges of 172.16.86.0/24: 172.16.86.128/25 is recorded, none is asked for",
                             "ip-ranges of 10.9.0.0/16: 10.9.1.0/24, 10.9.3.0/24 is recorded, none is asked for"]),
        ({"aux": (("router", "172.16.86.201"), ("printer", "10.9.0.7"))},
         ["aux addresses of 172.16.86.0/24: router=172.16.86.200 is recorded, router=172.16.86.201 is asked for"]),
        ({"labels": (("site", "north"),)}, ["labels: old=yes, site=north is recorded, site=north is asked for"]),
        ({"order": "next"}, ["ipam_order: lowest is recorded, next is asked for"]),
        ({"share_parent": True}, ["share_parent: false is recorded, true is asked for"]),
    ],
)  # fmt: skip
def test_what_no_endpoint_was_made_with_may_change(asked: dict[str, Any], said: list[str]) -> None:
    assert found(**asked) == said
    desired.refuse_fixed(RECORDED, desired.changes(RECORDED, wanted(**asked)))
    after = desired.changed(RECORDED, wanted(**asked))
    assert desired.changes(after, wanted(**asked)) == []
    assert (after.id, after.link, after.created_at) == (RECORDED.id, RECORDED.link, RECORDED.created_at)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"driver": "ipvlan", "mode": "l2", "flag": "bridge"},
         ["driver: macvlan is recorded, ipvlan is asked for", "mode: bridge is recorded, l2 is asked for",
          "ipvlan_flag: none is recorded, bridge is asked for"]),
        ({"mode": "vepa"}, ["mode: bridge is recorded, vepa is asked for"]),
        ({"parent": "eth1"}, ["parent: eth0 is recorded, eth1 is asked for"]),
        ({"parent": None, "gateways": ("10.9.0.1", "172.16.86.128")}, ["parent: eth0 is recorded, none is asked for"]),
        ({"mtu": None}, ["mtu: 1400 is recorded, the parent's is asked for"]),
        ({"internal": True, "gateways": ("10.9.0.1", "172.16.86.128")},
         ["internal: false is recorded, true is asked for", "ipv6_ra: on is recorded, off is asked for"]),
        ({"ipv6": False}, ["ipv6: true is recorded, false is asked for", "ipv6_ra: on is recorded, off is asked for"]),
        ({"ipv6_ra": False}, ["ipv6_ra: on is recorded, off is asked for"]),
        ({"gateways": ("10.9.0.2",)}, ["gateway of 10.9.0.0/16: 10.9.0.1 is recorded, 10.9.0.2 is asked for"]),
        ({"gateways": ()}, ["gateway of 10.9.0.0/16: 10.9.0.1 is recorded, 10.9.1.0 (automatic) is asked for"]),
        ({"gateway_automatic": False},
         ["ipv6_ra: on is recorded, off is asked for",
          "gateway of 172.16.86.0/24: 172.16.86.128 is recorded, none is asked for"]),
        ({"subnets": ("10.9.0.0/16", "172.16.86.0/24", "2001:db8:1::/64")},
         ["IPv4 subnets: 172.16.86.0/24, 10.9.0.0/16 is recorded, 10.9.0.0/16, 172.16.86.0/24 is asked for"]),
        ({"subnets": ("172.16.86.0/24", "10.9.0.0/16")},
         ["ipv6: true is recorded, false is asked for", "ipv6_ra: on is recorded, off is asked for",
          "IPv6 subnets: 2001:db8:1::/64 is recorded, none is asked for"]),
    ],
)  # fmt: skip
def test_what_endpoints_were_made_with_is_refused_and_named(asked: dict[str, Any], said: list[str]) -> None:
    assert found(**asked) == said
    with pytest.raises(NetworkDiffers) as refused:
        desired.refuse_fixed(RECORDED, desired.changes(RECORDED, wanted(**asked)))
    assert list(refused.value.differences) == said


def test_a_refusal_names_all_that_cannot_change_and_nothing_that_could() -> None:
    asked = wanted(mtu=9000, mode="private", order="next", labels=())
    with pytest.raises(NetworkDiffers) as refused:
        desired.refuse_fixed(RECORDED, desired.changes(RECORDED, asked))
    assert [text.partition(":")[0] for text in refused.value.differences] == ["mode", "mtu"]


def test_spellings_ids_and_the_order_across_families_are_no_difference() -> None:
    options = (("parent", "eth0"), ("macvlan_mode", ""), ("mtu", "1400"))
    assert found(options=options) == []
    assert found(subnets=("2001:db8:1::/64", "172.16.86.0/24", "10.9.0.0/16")) == []
    assert found(labels=LAN.labels[::-1], aux=LAN.aux[::-1]) == []


def test_a_gateway_that_was_chosen_may_be_asked_for_by_its_address() -> None:
    assert found(gateways=("10.9.0.1", "172.16.86.128")) == []


def test_the_options_that_inspect_shows_follow_what_changes_and_keep_how_the_rest_was_typed() -> None:
    typed = replace(RECORDED, options=(("parent", "eth0"), ("mtu", "1400"), ("ipam_order", "lowest")))
    after = desired.changed(typed, wanted(order="next", share_parent=True))
    expected = {"parent": "eth0", "mtu": "1400", "ipam_order": "next", "share_parent": "true"}
    assert dict(after.options) == expected


def update(**asked: Any) -> NetworkRequest:
    return desired.updated(RECORDED, UpdateRequest(**asked))


def test_an_ip_range_replaces_those_of_its_subnet_and_of_no_other() -> None:
    assert update(ip_ranges=["10.9.2.0/24"]).ip_ranges == ("172.16.86.128/25", "10.9.2.0/24")
    assert update(ip_ranges=["10.9.2.0-10.9.2.9", "10.9.5.0/24"]).ip_ranges == (
        "172.16.86.128/25", "10.9.2.0-10.9.2.9", "10.9.5.0/24",
    )  # fmt: skip
    assert update(ip_ranges=["2001:db8:1::100/120"]).ip_ranges == (*LAN.ip_ranges, "2001:db8:1::100/120")


def test_no_ip_range_clears_all_and_one_left_out_changes_none() -> None:
    assert update(ip_ranges=()).ip_ranges == ()
    assert update(order="next").ip_ranges == LAN.ip_ranges


def test_an_ip_range_that_is_none_is_left_to_whoever_checks_it() -> None:
    assert update(ip_ranges=["nonsense"]).ip_ranges == (*LAN.ip_ranges, "nonsense")


def test_aux_addresses_and_labels_are_added_replaced_and_taken_away_by_name() -> None:
    request = update(
        aux={"printer": None, "router": ip_address("172.16.86.9"), "camera": "10.9.0.8"},
        labels={"old": None, "site": "south", "new": ""},
    )
    assert dict(request.aux) == {"router": "172.16.86.9", "camera": "10.9.0.8"}
    assert dict(request.labels) == {"site": "south", "new": ""}
    # What is not there is gone already.
    assert update(aux={"nobody": None}, labels={"nothing": None}) == desired.as_request(RECORDED)


def test_an_update_that_says_nothing_asks_for_what_is_recorded() -> None:
    assert update() == desired.as_request(RECORDED)


def test_a_passthru_network_shares_its_parent_after_an_update_no_more_than_before() -> None:
    alone = settled(NetworkRequest(name="solo", parent="eth0", mode="passthru", subnets=("10.0.0.0/24",)))
    with pytest.raises(OptionInvalid, match="passthru network has its parent to itself"):
        desired.updated(alone, UpdateRequest(share_parent=True))


def test_options_of_an_update_are_those_that_may_change() -> None:
    request = UpdateRequest.from_options([("ipam_order", "next"), ("share_parent", "true")])
    assert (request.order, request.share_parent) == ("next", True)
    with pytest.raises(OptionInvalid, match="cannot change while the network is there"):
        UpdateRequest.from_options([("mtu", "9000")])
    with pytest.raises(OptionUnknown, match="known: `ipam_order`, `share_parent`"):
        UpdateRequest.from_options([("ipam_orde", "next")])
    with pytest.raises(OptionInvalid):
        UpdateRequest.from_options([("share_parent", "maybe")])
    with pytest.raises(OptionInvalid, match="lowest, next"):
        update(order="random")


@pytest.mark.parametrize("asked", [{"ip_ranges": "10.9.2.0/24"}, {"aux": ["a"]}, {"labels": {"a": 1}}, {"order": 1},
                                   {"share_parent": 1}])  # fmt: skip
def test_an_update_of_other_types_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ArgumentInvalid):
        UpdateRequest(**asked)


# Any network, asked for again by what is recorded of it.

CIDRS = ("10.1.0.0/24", "10.2.0.0/30", "10.3.0.8/31", "10.4.0.1/32", "2001:db8:1::/64", "2001:db8:2::/126")


def some(cidr: str) -> st.SearchStrategy[list[str]]:
    """Addresses of a subnet that nothing else needs."""
    network = ip_network(cidr)
    free = [str(network[n]) for n in range(2, min(network.num_addresses - 1, 12))]
    return st.lists(st.sampled_from(free), unique=True, max_size=4) if free else st.builds(list)


# Made once: to make them for each request takes longer than to draw from them.
SUBNETS = st.lists(st.sampled_from(CIDRS), unique=True, min_size=1)
PLACES = {cidr: some(cidr) for cidr in CIDRS}
HALVES = {
    cidr: f"{cidr.rpartition('/')[0]}/{ip_network(cidr).prefixlen + 1}"
    for cidr in CIDRS if ip_network(cidr).num_addresses > 8
}  # fmt: skip
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"))
# What is one of two, a bit for each: nine of a network, and whether each subnet has a gateway that is given.
SWITCHES = 9 + len(CIDRS)
BITS = st.integers(0, (1 << SWITCHES) - 1)


@st.composite
def requests(draw: st.DrawFn) -> NetworkRequest:
    """Requests for networks of any kind on one parent, or on none."""
    cidrs, bits = draw(SUBNETS), draw(BITS)
    automatic, internal, no_parent, mode, mtu, order, shared, no_ipv6, driver, *has_gateway = (
        bits >> place & 1 for place in range(SWITCHES)
    )
    places = {cidr: draw(PLACES[cidr]) for cidr in cidrs}
    chosen = zip(places.values(), has_gateway, strict=False)
    given_gateways = tuple(place.pop() for place, has in chosen if place and has)
    aux = tuple((f"aux-{address}", address) for place in places.values() for address in place)
    half = draw(SUBNETS)
    ranges = tuple(HALVES[cidr] for cidr in cidrs if cidr in HALVES and cidr in half)
    return NetworkRequest(
        name="any", driver=("macvlan", "ipvlan")[driver], subnets=tuple(cidrs), ip_ranges=ranges,
        gateways=given_gateways, aux=aux, gateway_automatic=bool(automatic), parent=("eth0", None)[no_parent],
        mode=(("vepa", "bridge"), ("l2", "l3"))[driver][mode], mtu=(None, 1400)[mtu],
        order=("lowest", "next")[order], share_parent=bool(shared), internal=bool(internal),
        ipv6=False if no_ipv6 and any("." in cidr for cidr in cidrs) else None, labels=tuple(draw(LABELS).items()),
    )  # fmt: skip


def try_settled(request: NetworkRequest) -> Network | None:
    """The network; None where the automatic gateway would be an aux address."""
    try:
        return settled(request)
    except AuxAddressInvalid:
        return None


@given(requests())
def test_what_is_recorded_asks_for_itself(request: NetworkRequest) -> None:
    network = try_settled(request)
    if network is not None:
        again = settled(desired.as_request(network), there=network)
        assert again.subnets == network.subnets
        assert desired.changes(network, again) == []


@given(requests(), requests())
def test_what_may_change_ends_as_it_is_wanted_and_all_else_as_it_was(
    one: NetworkRequest, other: NetworkRequest
) -> None:
    recorded, asked = try_settled(one), try_settled(other)
    if recorded is None or asked is None:
        return
    before = desired.changes(recorded, asked)
    after = desired.changed(recorded, asked)
    assert desired.changes(after, asked) == [change for change in before if not change.live]
    assert [change for change in desired.changes(recorded, after) if not change.live] == []


def as_planned(network: Network) -> tuple[object, ...]:
    """All that is done in the kernel for an endpoint of the network."""
    four, six = (next(iter(network.usable_subnets(version)), None) for version in (4, 6))
    endpoint = Endpoint(
        network_id=network.id, network=network.name, sandbox_id="c" * 64, sandbox="box", position=0, ifname="eth0",
        ifindex=7, group=9, mac=b"\x02\x42\x0a\x00\x00\x02", packed=None if four is None else four.cidr[0].packed,
        packed6=None if six is None else six.cidr[0].packed, subnet=four, subnet6=six,
    )  # fmt: skip
    steps = [plan.plan_endpoint(network, endpoint, 3, ready=ready, held={}) for ready in (True, False)]
    return (*steps, plan.link_sysctls("default", network), plan.needed_mtu(network), network.link)


@given(requests(), requests())
def test_what_may_change_is_nothing_that_an_endpoint_is_made_with(one: NetworkRequest, other: NetworkRequest) -> None:
    recorded, asked = try_settled(one), try_settled(other)
    if recorded is not None and asked is not None:
        assert as_planned(desired.changed(recorded, asked)) == as_planned(recorded)
        if as_planned(asked) != as_planned(recorded) and asked.parent is not None and recorded.parent is not None:
            assert any(not change.live for change in desired.changes(recorded, asked))
