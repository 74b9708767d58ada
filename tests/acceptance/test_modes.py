"""The four modes of macvlan, told apart by the frames that arrive at the far end of the parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support
from tests.acceptance.support import address_of, link_of, refused

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "ping", "tcpdump")

FIRST, SECOND = "172.16.86.2", "172.16.86.3"


def two_sandboxes(lan: Lan, mode: str) -> None:
    """`first` and `second`, on a network of that mode."""
    support.create_pub_net(lan, "-o", f"macvlan_mode={mode}")
    for name in ("first", "second"):
        lan.macvfast("create", "--net=pub_net", "--name", name)
        assert link_of(lan, name)["linkinfo"]["info_data"]["mode"] == mode
    assert (address_of(lan, "first"), address_of(lan, "second")) == (FIRST, SECOND)


def introduce(lan: Lan) -> None:
    """Tell both sandboxes the other's MAC: what then leaves is the echo request itself, not a question before it."""
    macs = {name: link_of(lan, name)["address"] for name in ("first", "second")}
    lan.sandbox_run("first", "ip", "neigh", "add", SECOND, "lladdr", macs["second"], "dev", "eth0")
    lan.sandbox_run("second", "ip", "neigh", "add", FIRST, "lladdr", macs["first"], "dev", "eth0")


def test_in_bridge_mode_frames_between_sandboxes_stay_in_the_host(lan: Lan) -> None:
    two_sandboxes(lan, "bridge")
    with lan.frames_at_router("icmp") as frames:
        assert lan.sandbox("first").can_ping(SECOND)
        assert frames.so_far() == []
        assert lan.sandbox("first").can_ping("172.16.86.1")
        (request,) = frames.so_far()
        assert f"{FIRST} > 172.16.86.1: ICMP echo request" in request


def test_in_private_mode_sandboxes_reach_the_router_and_do_not_hear_each_other(lan: Lan) -> None:
    two_sandboxes(lan, "private")
    introduce(lan)
    mac = link_of(lan, "first")["address"]
    heard = lan.sandbox("second").frames("eth0", f"ether src {mac}", sent_by=(lan.router, "lan0"))
    with heard as frames:
        assert not lan.sandbox("first").can_ping(SECOND, timeout_s=1)
        # A broadcast is not heard either.
        assert not lan.sandbox("first").can_ping("172.16.86.99", timeout_s=1)
        assert frames.so_far() == []
    assert lan.sandbox("first").can_ping("172.16.86.1")
    assert lan.sandbox("second").can_ping("172.16.86.1")


@pytest.mark.needs("bridge")
def test_in_private_mode_not_even_a_reflecting_switch_introduces_them(lan: Lan) -> None:
    two_sandboxes(lan, "private")
    reflect(lan)
    assert not lan.sandbox("first").can_ping(SECOND, timeout_s=1)


def test_in_vepa_mode_frames_between_sandboxes_leave_by_the_parent(lan: Lan) -> None:
    two_sandboxes(lan, "vepa")
    introduce(lan)
    with lan.frames_at_router("icmp") as frames:
        assert not lan.sandbox("first").can_ping(SECOND, timeout_s=1)
        (request,) = frames.so_far()
        assert f"{FIRST} > {SECOND}: ICMP echo request" in request


@pytest.mark.needs("bridge")
def test_in_vepa_mode_a_reflecting_switch_brings_them_together(lan: Lan) -> None:
    two_sandboxes(lan, "vepa")
    assert not lan.sandbox("first").can_ping(SECOND, timeout_s=1)
    reflect(lan)
    assert lan.sandbox("first").can_ping(SECOND, count=3)


def reflect(lan: Lan) -> None:
    """Make the far end a port that sends frames back where they came from (802.1Qbg reflective relay)."""
    lan.router.run("ip", "link", "add", "switch", "type", "bridge")
    lan.router.run("ip", "link", "set", "switch", "up")
    lan.router.run("ip", "link", "set", "lan0", "master", "switch")
    lan.router.run("bridge", "link", "set", "dev", "lan0", "hairpin", "on")


def test_in_passthru_mode_the_sandbox_has_the_parents_mac_and_place(lan: Lan) -> None:
    lan.run("ip", "address", "flush", "dev", "eth0")
    support.create_pub_net(lan, "-o", "macvlan_mode=passthru")
    lan.macvfast("create", "--net=pub_net", "--name=only", "--ip=172.16.86.10")
    (parent,) = lan.host.ip_json("link", "show", "dev", "eth0")
    link = link_of(lan, "only")
    assert link["linkinfo"]["info_data"]["mode"] == "passthru"
    assert link["address"] == parent["address"]
    assert lan.sandbox("only").can_ping("172.16.86.1")


def test_a_second_endpoint_on_a_passthru_network_is_refused_beforehand(lan: Lan) -> None:
    support.create_pub_net(lan, "-o", "macvlan_mode=passthru")
    lan.macvfast("create", "--net=pub_net", "--name=only")
    said = refused(lan, "create", "--net=pub_net", "--name=second")
    assert "one endpoint only" in said
    assert "`only`" in said
    assert "the kernel said" not in said
    refused(lan, "run", "--net=pub_net", "--name=second", "true", status=125)
    lan.macvfast("create", "--name=third")
    refused(lan, "network", "connect", "pub_net", "third")
    lan.macvfast("rm", "only")
    lan.macvfast("network", "connect", "pub_net", "third")
    assert address_of(lan, "third") == FIRST


def test_a_passthru_endpoint_takes_no_mac_of_its_own(lan: Lan) -> None:
    support.create_pub_net(lan, "-o", "macvlan_mode=passthru")
    said = refused(lan, "create", "--net=pub_net", "--mac-address=02:00:5e:00:53:01")
    assert "passthru" in said
    assert "parent's MAC" in said


def test_the_parents_mac_survives_a_passthru_endpoint(lan: Lan) -> None:
    (before,) = lan.host.ip_json("link", "show", "dev", "eth0")
    support.create_pub_net(lan, "-o", "macvlan_mode=passthru")
    lan.macvfast("create", "--net=pub_net", "--name=only")
    lan.macvfast("rm", "only")
    lan.macvfast("network", "rm", "pub_net")
    (after,) = lan.host.ip_json("link", "show", "dev", "eth0")
    assert (after["address"], after["promiscuity"]) == (before["address"], before["promiscuity"])
    assert lan.host.can_ping("172.16.86.1")
