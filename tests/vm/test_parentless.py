"""Networks that lead nowhere, without a parent or internal: what their sandboxes reach, and what they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.vm.support import addresses, create, defaults, reach, sandbox

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("dummy", "macvlan", "ipvlan")

DRIVERS: dict[str, dict[str, Any]] = {
    "macvlan": {},
    "ipvlan-l2": {"driver": "ipvlan", "mode": "l2"},
    "ipvlan-l3": {"driver": "ipvlan", "mode": "l3"},
    "ipvlan-l3s": {"driver": "ipvlan", "mode": "l3s"},
}
EVERY_DRIVER = pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS.keys())
NOWHERE: dict[str, dict[str, Any]] = {"parentless": {}, "internal": {"parent": "eth0", "internal": True}}
EVERY_WAY = pytest.mark.parametrize("way", NOWHERE.values(), ids=NOWHERE.keys())


@EVERY_DRIVER
@EVERY_WAY
def test_neighbours_reach_each_other_and_the_world_is_unreachable(
    lan: Lan, driver: dict[str, Any], way: dict[str, Any]
) -> None:
    create(lan, "lab", "10.1.0.0/24", gateways=["10.1.0.254"], **driver, **way)
    one, other = (sandbox(lan, name, "lab") for name in ("one", "other"))
    assert one.can_ping(addresses(other)[0].partition("/")[0])
    assert defaults(one) == {4: [], 6: []}
    # Said at once, not waited for.
    assert "Network is unreachable" in one.attempt("ping", "-c", "1", "-W", "1", "192.0.2.1").stderr


@EVERY_DRIVER
@EVERY_WAY
def test_two_sandboxes_fill_a_point_to_point_network(lan: Lan, driver: dict[str, Any], way: dict[str, Any]) -> None:
    create(lan, "lab", "192.168.135.0/31", **driver, **way)
    one, other = (sandbox(lan, name, "lab") for name in ("one", "other"))
    assert (addresses(one), addresses(other)) == (["192.168.135.0/31"], ["192.168.135.1/31"])
    assert other.can_ping("192.168.135.0")


@pytest.mark.parametrize("driver", [DRIVERS["macvlan"], DRIVERS["ipvlan-l2"]], ids=["macvlan", "ipvlan-l2"])
@pytest.mark.parametrize("parent", ["eth0", None])
def test_of_two_subnets_of_each_family_each_has_its_neighbours_and_with_a_parent_its_gateway(
    lan: Lan, driver: dict[str, Any], parent: str | None
) -> None:
    four, six = ["10.1.0.0/24", "10.2.0.0/24"], ["2001:db8:1::/64", "2001:db8:2::/64"]
    gateways = ["10.1.0.1", "10.2.0.254", "2001:db8:1::1", "2001:db8:2::254"]
    create(lan, "lab", *four, *six, gateways=gateways, parent=parent, **driver)
    for number, (gateway, gateway6) in ((1, (gateways[0], gateways[2])), (2, (gateways[1], gateways[3]))):
        one, other = (
            sandbox(lan, f"{name}{number}", "lab", ip=f"10.{number}.0.{host}", ip6=f"2001:db8:{number}::{host}")
            for name, host in (("one", 20), ("other", 21))
        )
        theirs = [f"10.{number}.0.21", f"2001:db8:{number}::21"]
        assert addresses(other) == [f"{theirs[0]}/24", f"{theirs[1]}/64"]
        assert reach(one, theirs) == theirs
        assert defaults(one) == ({4: [(gateway, "eth0")], 6: [(gateway6, "eth0")]} if parent else {4: [], 6: []})


def test_the_default_route_moves_between_an_l3_network_and_one_with_a_gateway(lan: Lan) -> None:
    lan.add_parent("eth1", "far1")
    create(lan, "routed", "10.1.0.0/24", driver="ipvlan", mode="l3", parent="eth1")
    create(lan, "lan", "172.16.86.0/24", gateways=["172.16.86.1"], parent="eth0")
    box = sandbox(lan, "box", "routed", "lan")
    assert defaults(box)[4] == [(None, "eth0")]
    lan.api(lambda host: host.disconnect("routed", "box"))
    assert defaults(box)[4] == [("172.16.86.1", "eth1")]
    assert box.can_ping("172.16.86.1")
    lan.api(lambda host: host.connect("routed", "box"))
    assert defaults(box)[4] == [("172.16.86.1", "eth1")]
    lan.api(lambda host: host.disconnect("lan", "box"))
    assert defaults(box)[4] == [(None, "eth0")]
