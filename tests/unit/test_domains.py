"""Networks in layer-2 domains of their own: an address is given once in each, whatever the parents are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from macvfast.errors import AddressTaken, AlreadyConnected, NetworkDiffers, OptionInvalid, SubnetTaken
from macvfast.model import mac_text
from macvfast.requests import EndpointRequest, NetworkRequest

if TYPE_CHECKING:
    from macvfast.model import Network, Sandbox
    from tests.unit.machine import Machine

pytestmark = pytest.mark.usefixtures("hasty")

SUBNET = "172.30.0.0/24"


@pytest.fixture
def machine(machine: Machine) -> Machine:
    """A machine without networks."""
    machine.host.remove_networks(["lan", "other"]).raise_if_any()
    return machine


def make(machine: Machine, name: str, domain: str | None, **options: Any) -> Network:
    given: dict[str, Any] = {"subnets": (SUBNET,), "parent": "eth0", "share_parent": True} | options
    return machine.host.create_network(NetworkRequest(name=name, domain=domain, **given))


def connect(machine: Machine, network: str, box: str, ip: str | None = None) -> Sandbox:
    return machine.host.create_sandbox(box, endpoints=[EndpointRequest.of(network, ip=ip)])


def test_two_domains_on_one_parent_give_the_same_addresses(machine: Machine) -> None:
    """And links of two MACs, as the kernel lets no two have one."""
    make(machine, "a", "docker:a")
    make(machine, "b", "docker:b")
    make(machine, "c", None)
    (first,), (second,), (third,) = (connect(machine, name, f"in-{name}").endpoints for name in ("a", "b", "c"))
    assert [str(one.ip) for one in (first, second)] == ["172.30.0.2/24"] * 2
    assert mac_text(first.mac) == "02:42:ac:1e:00:02"
    assert len({first.mac, second.mac, third.mac}) == 3
    # What has no domain of its own passes over an address whose MAC another on its parent has.
    assert str(third.ip) == "172.30.0.3/24"
    machine.assert_record_is_true()


def test_domains_on_one_parent_may_overlap_and_within_one_that_is_refused(machine: Machine) -> None:
    make(machine, "a", "docker:a")
    make(machine, "b", "docker:b", subnets=("172.30.0.0/16",))
    with pytest.raises(SubnetTaken):
        make(machine, "c", "docker:a", subnets=("172.30.0.0/16",))


def test_networks_of_one_domain_share_its_addresses_whatever_their_parents_are(machine: Machine) -> None:
    make(machine, "a", "docker:a")
    make(machine, "b", "docker:a", parent="eth1")
    connect(machine, "a", "one", ip="172.30.0.9")
    with pytest.raises(AddressTaken, match="held by sandbox `one` on network `a`"):
        connect(machine, "b", "two", ip="172.30.0.9")
    with pytest.raises(AddressTaken, match="held by sandbox `one` on network `a`"):
        make(machine, "c", "docker:a", aux=(("printer", "172.30.0.9"),))


def test_no_sandbox_is_on_a_subnet_twice(machine: Machine) -> None:
    make(machine, "a", "docker:a")
    make(machine, "b", "docker:b", subnets=("172.30.0.0/25",))
    both = [EndpointRequest(network="a"), EndpointRequest(network="b")]
    with pytest.raises(AlreadyConnected, match="overlaps"):
        machine.host.create_sandbox("both", endpoints=both)


def test_a_domain_cannot_change_and_comes_back_when_the_network_is_made_again(machine: Machine) -> None:
    made = make(machine, "a", "docker:a")
    assert made == machine.host.network("a")
    assert machine.host.update_network("a", labels={"k": "v"}).domain == "docker:a"
    wanted: dict[str, Any] = {
        "name": "a",
        "subnets": (SUBNET,),
        "parent": "eth0",
        "share_parent": True,
        "labels": (("k", "v"),),
    }
    with pytest.raises(NetworkDiffers, match="domain: docker:a is recorded, none is asked for"):
        machine.host.ensure_network(NetworkRequest(**wanted))
    same = NetworkRequest(**wanted, domain="docker:a")
    assert machine.host.ensure_network(same).id == made.id


@pytest.mark.parametrize("domain", ["", "lab", "link:eth0", "docker:", "docker:a b", "cni:../x", "docker:" + "x" * 129])
def test_a_domain_that_no_engine_could_have_named_is_refused(domain: str) -> None:
    with pytest.raises(OptionInvalid, match="domain"):
        NetworkRequest(name="a", domain=domain)
