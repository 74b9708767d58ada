"""Endpoints whose addresses something else keeps: on a network without subnets, recorded and restored as all others."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import AddressInvalid, ArgumentInvalid, MacTaken
from macvfast.model import Route
from macvfast.requests import EndpointRequest, NetworkRequest
from tests.unit.test_attachments import opened

if TYPE_CHECKING:
    from macvfast.model import Endpoint
    from tests.unit.machine import Machine

BARE = NetworkRequest(name="bare", parent="eth1.7", ipv4=False, ipv6=False, share_parent=True, origin="cni")
ADDRESSES = tuple(map(ip_interface, ("2001:db8:9::7/64", "10.9.8.7/24", "10.9.8.8/24")))
ROUTES = (Route.of("0.0.0.0/0", "10.9.8.1"),)


def made(machine: Machine, name: str = "box") -> Endpoint:
    """An endpoint of a new sandbox, made for an engine: only their networks have no subnets."""
    with opened(machine) as host:
        host.ensure_network(BARE)
        asked = EndpointRequest(network="bare", elsewhere=ADDRESSES, routes=ROUTES)
        host.create_sandbox(name, endpoints=[asked])
        return host.sandbox(name).endpoints[0]


def test_an_endpoint_has_its_addresses_on_the_record_and_on_its_link(machine: Machine) -> None:
    endpoint = made(machine)
    assert [str(one) for one in endpoint.addresses] == ["10.9.8.7/24", "10.9.8.8/24", "2001:db8:9::7/64"]
    assert (str(endpoint.ip), str(endpoint.ip6), endpoint.gateway) == ("10.9.8.7/24", "2001:db8:9::7/64", None)
    # As of an address of ours, so that nothing else on the parent has it by chance.
    assert endpoint.mac_address == "02:42:0a:09:08:07"
    assert machine.host.check() == []


def test_after_a_reboot_it_has_them_again(machine: Machine) -> None:
    before = made(machine).addresses
    machine.world.reboot()
    machine.restart()
    machine.host.restore()
    assert machine.host.sandbox("box").endpoints[0].addresses == before
    assert machine.host.check() == []


def test_nothing_is_given_back_where_nothing_was_taken(machine: Machine) -> None:
    made(machine)
    with opened(machine) as host:
        host.remove_many(["box"])[0].result()
    assert made(machine, "again").addresses


def test_one_address_is_of_one_endpoint_on_a_parent(machine: Machine) -> None:
    made(machine)
    with pytest.raises(MacTaken):
        made(machine, "other")


def test_a_network_with_subnets_gives_its_own(machine: Machine) -> None:
    with pytest.raises(AddressInvalid, match="has subnets"):
        machine.host.create_sandbox("box", endpoints=[EndpointRequest(network="lan", elsewhere=ADDRESSES)])


@pytest.mark.parametrize(
    ("elsewhere", "error"),
    [
        (("10.9.8.7/24",), ArgumentInvalid), ((ADDRESSES[1].ip,), ArgumentInvalid), ("10.9.8.7/24", ArgumentInvalid),
        ((ip_interface("127.0.0.1/8"),), AddressInvalid),
        ((ADDRESSES[1], ip_interface("10.9.8.7/16")), ArgumentInvalid),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_such_address_is_refused(elsewhere: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        EndpointRequest(network="bare", elsewhere=elsewhere)  # type: ignore[arg-type]
    with pytest.raises(ArgumentInvalid):
        EndpointRequest(network="bare", elsewhere=ADDRESSES, ip=ADDRESSES[1].ip)
