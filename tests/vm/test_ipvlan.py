"""ipvlan: the guide's example, the modes and flags that belong to the parent, and who may have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from macvfast.errors import MacInvalid, ParentTaken, ParentUnusable
from macvfast.requests import EndpointRequest
from tests.acceptance.support import unchanged
from tests.vm.support import addresses, create, defaults, kind, link, reach, refused, remove, router_vlan, sandbox

if TYPE_CHECKING:
    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("ipvlan")


def ipvlan(lan: Lan, name: str, *subnets: str, parent: str | None = "eth0", **rest: object) -> None:
    """Make an ipvlan network."""
    create(lan, name, *subnets, driver="ipvlan", parent=parent, **rest)


@pytest.mark.needs("dummy")
def test_the_guides_network_of_two_subnets_works_as_it_is_typed(lan: Lan) -> None:
    id_ = lan.macvfast(
        "network", "create", "-d", "ipvlan", "--subnet=192.168.210.0/24", "--subnet=192.168.212.0/24",
        "--gateway=192.168.210.254", "--gateway=192.168.212.254", "-o", "ipvlan_mode=l2", "ipvlan210",
    )  # fmt: skip
    for subnet in (210, 212):
        box = sandbox(lan, f"box{subnet}", "ipvlan210", ip=f"192.168.{subnet}.10")
        assert addresses(box) == [f"192.168.{subnet}.10/24"]
        assert kind(link(box, "eth0")) == ("ipvlan", {"mode": "l2", "bridge": True})
        assert link(box, "eth0")["address"] == link(lan.host, f"dm-{id_[:12]}")["address"]
        assert defaults(box)[4] == [], "a network without a parent leads nowhere"
    pinged = lan.macvfast(
        "run", "--net=ipvlan210", "--ip=192.168.210.9", "--rm", "ping", "-c", "2", "-i", "0.1", "192.168.210.10"
    )
    assert "2 packets transmitted, 2 received" in pinged
    assert reach(sandbox(lan, "last", "ipvlan210", ip="192.168.212.9"), ["192.168.212.10", "192.168.210.10"]) == [
        "192.168.212.10"
    ]


def test_on_l2_an_endpoint_has_the_parents_mac_and_the_gateway_of_its_own_subnet(lan: Lan) -> None:
    lan.router.run("ip", "address", "add", "10.2.0.1/24", "dev", "lan0")
    ipvlan(lan, "lab", "172.16.86.0/24", "10.2.0.0/24", gateways=["10.2.0.1", "172.16.86.1"])
    mac = link(lan.host, "eth0")["address"]
    for name, ip, gateway in (("a", "172.16.86.10", "172.16.86.1"), ("b", "10.2.0.10", "10.2.0.1")):
        box = sandbox(lan, name, "lab", ip=ip)
        assert defaults(box)[4] == [(gateway, "eth0")]
        assert link(box, "eth0")["address"] == mac
        assert lan.api(lambda host, name=name: host.sandbox(name).endpoints[0].mac.hex(":")) == mac  # type: ignore[misc]
        assert box.can_ping(gateway)
    with pytest.raises(MacInvalid, match="has its parent's MAC"):
        lan.api(lambda host: host.create_sandbox("c", endpoints=[EndpointRequest.of("lab", mac="02:00:5e:00:53:01")]))


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_on_l3_the_link_itself_is_the_default_route_and_the_host_routes(lan: Lan, mode: str) -> None:
    ipvlan(lan, "lab", "10.1.0.0/24", "10.2.0.0/24", "2001:db8:1::/64", mode=mode)
    lan.router.run("ip", "route", "add", "10.0.0.0/8", "via", "172.16.86.250")
    one = sandbox(lan, "one", "lab", ip="10.1.0.1")
    other = sandbox(lan, "other", "lab", ip="10.2.0.1")
    assert kind(link(one, "eth0"))[1]["mode"] == mode
    assert defaults(one) == {4: [(None, "eth0")], 6: [(None, "eth0")]}
    assert addresses(other) == ["10.2.0.1/24", "2001:db8:1::2/64"], "no gateway took ::1's neighbour"
    # Over the border of the subnets, and out: the host's own routes and its ARP serve them.
    assert reach(one, ["10.2.0.1", "2001:db8:1::2", "172.16.86.1"]) == ["10.2.0.1", "2001:db8:1::2", "172.16.86.1"]


def test_with_the_flag_private_endpoints_reach_the_router_and_not_each_other(lan: Lan) -> None:
    ipvlan(lan, "lab", "172.16.86.0/24", gateways=["172.16.86.1"], flag="private")
    one = sandbox(lan, "one", "lab")
    sandbox(lan, "other", "lab")
    assert kind(link(one, "eth0"))[1] == {"mode": "l2", "private": True}
    assert reach(one, ["172.16.86.3", "172.16.86.1"]) == ["172.16.86.1"]


def test_with_the_flag_vepa_frames_between_endpoints_leave_by_the_parent(lan: Lan) -> None:
    ipvlan(lan, "lab", "172.16.86.0/24", gateways=["172.16.86.1"], flag="vepa")
    one, other = sandbox(lan, "one", "lab"), sandbox(lan, "other", "lab")
    assert kind(link(one, "eth0"))[1] == {"mode": "l2", "vepa": True}
    # All of them have one MAC: nobody would answer the question for it.
    mac = link(other, "eth0")["address"]
    one.run("ip", "neigh", "add", "172.16.86.3", "lladdr", mac, "dev", "eth0")
    with lan.frames_at_router("icmp") as frames:
        assert not one.can_ping("172.16.86.3", timeout_s=1)
        assert "172.16.86.2 > 172.16.86.3: ICMP echo request" in frames.wait_for("echo request")


@pytest.mark.needs("vlan")
def test_an_ipvlan_network_makes_its_sub_interface_and_takes_it_away(lan: Lan) -> None:
    router_vlan(lan, 30, "10.3.0.1/24")
    ipvlan(lan, "lab", "10.3.0.0/24", gateways=["10.3.0.1"], parent="eth0.30")
    with lan.frames_at_router() as frames:
        assert sandbox(lan, "box", "lab").can_ping("10.3.0.1")
        assert "vlan 30" in frames.wait_for("ICMP echo request")
    lan.api(lambda host: host.remove_many(["box"]).raise_if_any())
    assert remove(lan, "lab") == []
    assert lan.host.link_names() == ["eth0", "lo"]


# Whose parent it is.


@pytest.mark.needs("macvlan")
@pytest.mark.parametrize(("first", "second"), [("macvlan", "ipvlan"), ("ipvlan", "macvlan")])
def test_a_parent_of_the_other_driver_is_refused_beforehand_naming_its_network(
    lan: Lan, first: str, second: str
) -> None:
    create(lan, "holder", "10.1.0.0/24", driver=first, parent="eth0", share_parent=True)
    with unchanged(lan):
        error = refused(lan, "lab", "10.2.0.0/24", driver=second, parent="eth0", share_parent=True)
    assert isinstance(error, ParentTaken)
    assert error.causes == (f"{first} network `holder` holds it, and a parent has one driver",)
    assert error.hints == ("remove `holder` first: `macvfast network rm holder`",)


@pytest.mark.needs("macvlan")
def test_a_parent_with_a_strangers_ipvlan_is_refused_naming_the_link(lan: Lan) -> None:
    lan.run("ip", "link", "add", "link", "eth0", "name", "theirs", "type", "ipvlan", "mode", "l3")
    with unchanged(lan):
        error = refused(lan, "lab", "10.1.0.0/24", parent="eth0")
        assert isinstance(error, ParentUnusable)
        assert error.causes == ("ipvlan link `theirs` holds it, and a parent has one driver",)
        # Ours would change the mode of theirs.
        error = refused(lan, "lab", "10.1.0.0/24", driver="ipvlan", parent="eth0")
        assert isinstance(error, ParentUnusable)
        assert error.hints == ("-o ipvlan_mode=l3", "ip link del theirs")
        error = refused(lan, "lab", "10.1.0.0/24", parent="theirs")
        assert isinstance(error, ParentUnusable)
        assert error.causes[0].startswith("it is itself an ipvlan")
        assert error.hints == ("use that link with -o parent=eth0",)


@pytest.mark.needs("macvlan")
def test_what_another_namespace_hides_comes_back_as_the_kernels_refusal_in_words(lan: Lan, foreign: Netns) -> None:
    lan.run("ip", "link", "add", "link", "eth0", "name", "theirs", "netns", foreign.name, "type", "ipvlan")
    create(lan, "lab", "10.1.0.0/24", parent="eth0")
    with unchanged(lan):
        with pytest.raises(ParentUnusable) as caught:
            sandbox(lan, "box", "lab")
        assert "something claims its frames already" in caught.value.causes[0]
    assert kind(link(foreign, "theirs"))[0] == "ipvlan"


def test_ipvlan_networks_share_a_parent_in_one_mode_with_one_flag_only(lan: Lan) -> None:
    ipvlan(lan, "first", "10.1.0.0/24", mode="l3", share_parent=True)
    for rest in ({"mode": "l2"}, {"mode": "l3", "flag": "private"}):
        error = refused(lan, "lab", "10.2.0.0/24", driver="ipvlan", parent="eth0", share_parent=True, **rest)
        assert isinstance(error, ParentTaken)
        assert error.hints == ("-o ipvlan_mode=l3 -o ipvlan_flag=bridge",)
    error = refused(lan, "lab", "10.2.0.0/24", driver="ipvlan", parent="eth0", mode="l3")
    assert error.causes == ("network `first` holds it",)
    ipvlan(lan, "second", "10.2.0.0/24", mode="l3", share_parent=True)
    sandbox(lan, "one", "first", ip="10.1.0.1")
    assert sandbox(lan, "other", "second", ip="10.2.0.1").can_ping("10.1.0.1")
