"""Two networks with one subnet on one parent: each address once, and frames from one to the other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.support import address_of, filter_macs, link_of, lose_everything, refused

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "ping")


def make(lan: Lan, name: str, *arguments: str) -> None:
    lan.macvfast(
        "network", "create", "--subnet=172.16.86.0/24", "-o", "parent=eth0", "-o", "share_parent=true", *arguments, name
    )


@pytest.fixture
def both(lan: Lan) -> Lan:
    """`web` and `db`, whose ip-ranges meet."""
    make(lan, "web", "--gateway=172.16.86.1", "--ip-range=172.16.86.128/26")
    make(lan, "db", "--ip-range=172.16.86.128/30", "--aux-address=printer=172.16.86.129")
    return lan


def ping(lan: Lan, sandbox: str, address: str) -> str:
    return lan.macvfast("exec", sandbox, "ping", "-c", "1", "-W", "5", address)


def test_sandboxes_of_both_reach_each_other_and_the_router(both: Lan) -> None:
    for name, network in (("w1", "web"), ("d1", "db"), ("w2", "web")):
        both.macvfast("create", f"--net={network}", f"--name={name}")
    addresses = {name: address_of(both, name) for name in ("w1", "d1", "w2")}
    assert list(addresses.values()) == ["172.16.86.128", "172.16.86.130", "172.16.86.131"]
    for name, other in (("w1", "d1"), ("d1", "w2"), ("d1", "w1")):
        assert "1 received" in ping(both, name, addresses[other])
        assert "1 received" in ping(both, name, "172.16.86.1")
    assert {link_of(both, name)["address"] for name in addresses} <= filter_macs(both)
    assert both.macvfast("check") == ""


def test_what_one_has_or_keeps_the_other_does_not_give(both: Lan) -> None:
    both.macvfast("create", "--net=web", "--name=w1", "--ip=172.16.86.130")
    said = refused(both, "create", "--net=db", "--name=late", "--ip=172.16.86.130")
    assert "held by sandbox `w1` on network `web`" in said
    assert "of network `db`" in refused(both, "create", "--net=web", "--name=late", "--ip=172.16.86.129")
    said = refused(
        both, "network", "create", "--subnet=172.16.86.0/24", "--aux-address=nas=172.16.86.130",
        "-o", "parent=eth0", "-o", "share_parent=true", "third",
    )  # fmt: skip
    assert "held by sandbox `w1` on network `web`" in said
    said = refused(
        both, "network", "create", "--subnet=172.16.86.128/25", "-o", "parent=eth0", "-o", "share_parent=true", "third"
    )
    assert "overlaps `172.16.86.0/24` of network" in said
    (shown,) = json.loads(both.macvfast("ipam", "show", "db", "--format=json"))
    assert (shown["InUse"], shown["Automatic"]["Free"]) == (1, 2)


def test_the_other_keeps_its_pool_when_one_is_removed_and_all_is_restored(both: Lan) -> None:
    both.macvfast("create", "--net=web", "--name=w1")
    both.macvfast("create", "--net=db", "--name=d1")
    lose_everything(both)
    both.macvfast("restore")
    assert [address_of(both, name) for name in ("w1", "d1")] == ["172.16.86.128", "172.16.86.130"]
    both.macvfast("rm", "-f", "d1")
    both.macvfast("network", "rm", "db")
    # What `db` kept, and what its sandbox had, is free for `web`.
    for number in range(3):
        both.macvfast("create", "--net=web", f"--name=more{number}")
    given = [address_of(both, f"more{number}") for number in range(3)]
    assert given == ["172.16.86.129", "172.16.86.130", "172.16.86.131"]
    assert both.macvfast("check") == ""
