"""The pools and addresses that Docker requests: as with its own IPAM, and once more after each of its starts."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import (
    AddressOutsideSubnet,
    AddressTaken,
    MacvfastError,
    PoolExhausted,
    PoolTaken,
    PoolUnknown,
    RangeInvalid,
    SubnetInvalid,
    SubnetTaken,
)
from macvfast.model import epoch_of
from macvfast.plugins.docker import endpoints
from macvfast.requests import EndpointRequest, NetworkRequest
from macvfast.state.records.pools import PoolRecords
from macvfast.system.processes import process_of
from tests.golden import GoldenPool

if TYPE_CHECKING:
    from macvfast.host import Host
    from tests.unit.machine import Machine

pytestmark = pytest.mark.usefixtures("hasty")

SUBNET = ip_network("10.77.0.0/28")
SUBNET6 = ip_network("fd00:77::/64")
LAB = "docker:lab"
BOOT = "boot-1"


@pytest.fixture
def host(machine: Machine) -> Host:
    machine.host.remove_networks(["lan", "other"]).raise_if_any()
    return machine.host


def given(host: Host, pool: str, address: str | None = None, epoch: str = "1", *, gateway: bool = False) -> str:
    wanted = None if address is None else ip_address(address)
    return str(host.request_address(pool, wanted, epoch, gateway=gateway).ip)


def has(host: Host) -> dict[str, list[str]]:
    """What Docker has, by subnet."""
    return {str(pool.cidr): [str(one.address) for one in some] for pool, some in host.docker_pools()}


# As Docker's own IPAM.


def test_a_subnet_is_there_once_in_a_domain_and_none_overlaps_it(host: Host) -> None:
    host.request_pool(LAB, SUBNET, epoch="1")
    for cidr in (SUBNET, ip_network("10.77.0.0/16"), ip_network("10.77.0.8/30")):
        with pytest.raises(PoolTaken, match="domain `docker:lab`"):
            host.request_pool(LAB, cidr, epoch="1")
    host.request_pool("docker:other", SUBNET, epoch="1")
    host.request_pool(LAB, ip_network("10.77.0.16/28"), epoch="1")
    assert len(host.docker_pools()) == 3


@pytest.mark.parametrize("cidr", ["127.0.0.0/8", "224.0.0.0/8", "0.0.0.0/0", "::1/128", "ff02::/16"])
def test_what_no_endpoint_can_have_is_refused_as_for_a_network(host: Host, cidr: str) -> None:
    with pytest.raises(SubnetInvalid, match="addresses, which no endpoint can have"):
        host.request_pool(LAB, ip_network(cidr), epoch="1")
    assert host.docker_pools() == []


def test_of_this_host_its_own_addresses_on_the_link_of_the_domain_count(machine: Machine, host: Host) -> None:
    """Wrong: an address of the host on another LAN is refused; none is chosen where it is not known which LAN it is."""
    for name, address in (("eth0", "10.77.0.1"), ("eth1", "10.77.0.2")):
        link = machine.world.home.named(name)
        assert link is not None
        link.addresses = [(ip_address(address).packed, 28)]
    eth0, _ = host.request_pool("link:eth0", SUBNET, epoch="1")
    eth1, _ = host.request_pool("link:eth1", SUBNET, epoch="1")
    named, _ = host.request_pool(LAB, SUBNET, epoch="1")
    for pool, own, first in ((eth0, "10.77.0.1", "10.77.0.2"), (eth1, "10.77.0.2", "10.77.0.1")):
        with pytest.raises(AddressTaken, match="this host's own"):
            given(host, pool, own)
        assert [given(host, pool), given(host, pool)] == [first, "10.77.0.3"]
    assert given(host, named) == "10.77.0.3"
    assert given(host, named, "10.77.0.1") == "10.77.0.1"


def test_what_is_no_range_of_the_subnet_is_refused_with_nothing_noted(host: Host) -> None:
    with pytest.raises(RangeInvalid):
        host.request_pool(LAB, SUBNET, ip_ranges=["10.78.0.0/30"], epoch="1")
    assert host.docker_pools() == []


@pytest.mark.parametrize("seed", range(8))
def test_random_requests_are_answered_as_a_slow_pool_would(host: Host, seed: int) -> None:
    dice = random.Random(seed)
    low = dice.randrange(12)
    bounds = dice.choice([[], [(low, min(15, low + dice.randrange(4)))]])
    ranges = [f"{SUBNET[first]}-{SUBNET[last]}" for first, last in bounds]
    pool, _ = host.request_pool(LAB, SUBNET, ip_ranges=ranges, epoch="1")
    golden = GoldenPool(SUBNET, bounds)
    for _ in range(60):
        ordinal = dice.randrange(16)
        chance = dice.random()
        if chance < 0.4:
            expected = golden.allocate_many(1)
            if expected is None:
                with pytest.raises(PoolExhausted):
                    given(host, pool)
            else:
                assert given(host, pool) == str(SUBNET[expected[0]])
        elif chance < 0.6:
            if golden.reserve(ordinal):
                assert given(host, pool, str(SUBNET[ordinal])) == str(SUBNET[ordinal])
            else:
                with pytest.raises(AddressTaken):
                    given(host, pool, str(SUBNET[ordinal]))
        else:
            host.release_address(pool, SUBNET[ordinal])
            if ordinal not in golden.roles:
                golden.release(ordinal)
    taken = {str(SUBNET[one]) for one in golden.used - set(golden.roles)}
    assert set(has(host)[str(SUBNET)]) == taken


def test_an_address_outside_is_refused_and_so_is_one_of_no_pool(host: Host) -> None:
    pool, _ = host.request_pool(LAB, SUBNET, epoch="1")
    with pytest.raises(AddressOutsideSubnet, match="is outside the pool"):
        given(host, pool, "10.78.0.1")
    with pytest.raises(PoolUnknown):
        given(host, "ab")
    host.release_address("ab", ip_address("10.77.0.1"))
    host.release_pool("ab")


def test_a_pool_goes_with_all_that_docker_has_in_it(host: Host) -> None:
    pool, _ = host.request_pool(LAB, SUBNET, epoch="1")
    given(host, pool)
    host.release_pool(pool)
    host.release_pool(pool)
    again, _ = host.request_pool(LAB, SUBNET, epoch="1")
    assert given(host, again) == "10.77.0.1"


# What Docker says again after a start.


def test_in_a_later_epoch_each_pool_and_address_is_given_once_more_and_then_taken(host: Host) -> None:
    """Wrong: `--ip` of an address that is held passes for one that is said again."""
    pool, _ = host.request_pool(LAB, SUBNET, ip_ranges=["10.77.0.8/29"], epoch="1")
    first = given(host, pool)
    assert host.request_pool(LAB, SUBNET, ip_ranges=["10.77.0.8/29"], epoch="2") == (pool, SUBNET)
    with pytest.raises(PoolTaken):
        host.request_pool(LAB, SUBNET, ip_ranges=["10.77.0.8/29"], epoch="2")
    # A new container comes before the one that is there is said again.
    assert given(host, pool, epoch="2") == "10.77.0.9"
    assert given(host, pool, first, epoch="2") == first
    for address in (first, "10.77.0.9"):
        with pytest.raises(AddressTaken, match="it is Docker's already"):
            given(host, pool, address, epoch="2")
    # The same run of dockerd, whatever ended between it and the record.
    with pytest.raises(AddressTaken):
        given(host, pool, first, epoch="2")


def test_what_docker_had_in_an_earlier_run_is_not_taken_back(host: Host) -> None:
    """Its answer was not waited for: a container may have it nevertheless."""
    pool, _ = host.request_pool(LAB, SUBNET, epoch="1")
    first = given(host, pool)
    assert host.request_pool(LAB, SUBNET, epoch="2") == (pool, SUBNET)
    assert given(host, pool, first, epoch="2") == first
    second = given(host, pool, epoch="2")
    for one in (first, second):
        host.release_address(pool, ip_address(one), epoch="2")
    host.release_pool(pool, epoch="2")
    assert has(host) == {str(SUBNET): [first]}
    host.release_pool(pool, epoch="1")
    assert has(host) == {}


def test_a_pool_of_other_ranges_is_not_one_that_is_said_again(host: Host) -> None:
    host.request_pool(LAB, SUBNET, ip_ranges=["10.77.0.8/29"], epoch="1")
    with pytest.raises(PoolTaken):
        host.request_pool(LAB, SUBNET, epoch="2")


def test_what_another_dockerd_has_that_runs_is_not_claimed(host: Host) -> None:
    """Wrong: a second dockerd takes the first one's addresses over, and its containers have them twice."""
    mine = process_of(os.getpid())
    runs = epoch_of(BOOT, mine.pid, mine.start_time)
    pool, _ = host.request_pool(LAB, SUBNET, epoch=runs)
    first = given(host, pool, epoch=runs)
    with pytest.raises(PoolTaken):
        host.request_pool(LAB, SUBNET, epoch="2")
    with pytest.raises(AddressTaken, match="it is Docker's already"):
        given(host, pool, first, epoch="2")
    # Another process had that pid, or the host was started again since.
    for gone in (
        epoch_of(BOOT, mine.pid, mine.start_time + 1), epoch_of("other", mine.pid, mine.start_time),
    ):  # fmt: skip
        other, _ = host.request_pool(f"docker:{len(host.docker_pools())}", SUBNET, epoch=gone)
        assert given(host, other, epoch=gone) == first
        assert given(host, other, first, epoch=runs) == first


def test_what_is_recorded_is_there_when_the_server_starts_again(machine: Machine, host: Host) -> None:
    pool, _ = host.request_pool(LAB, SUBNET, epoch="1")
    given(host, pool)
    machine.restart()
    assert has(machine.host) == {str(SUBNET): ["10.77.0.1"]}
    assert given(machine.host, pool, epoch="1") == "10.77.0.2"
    with pytest.raises(AddressTaken):
        given(machine.host, pool, "10.77.0.1", epoch="1")


def test_no_gateway_of_ipv6_is_chosen_and_what_stands_for_it_is_only_said_again(host: Host) -> None:
    pool, _ = host.request_pool(LAB, SUBNET6, epoch="1")
    assert given(host, pool, gateway=True) == "fd00:77::"
    assert given(host, pool) == "fd00:77::1"
    assert given(host, pool, "fd00:77::", epoch="2", gateway=True) == "fd00:77::"
    with pytest.raises(AddressTaken):
        given(host, pool, "fd00:77::", epoch="2", gateway=True)
    host.release_address(pool, SUBNET6[0])
    with pytest.raises(AddressTaken, match="anycast"):
        given(host, pool, "fd00:77::", epoch="2", gateway=True)
    host.release_pool(pool)


# What Docker no longer knows.


def test_what_docker_does_not_know_is_freed_and_what_it_has_just_requested_stays(host: Host) -> None:
    kept, _ = host.request_pool(LAB, SUBNET, epoch="1")
    gone, _ = host.request_pool("docker:gone", SUBNET, epoch="1")
    for pool in (kept, kept, gone):
        given(host, pool)
    then = datetime.now(UTC)
    assert host.free_docker([], [], then - timedelta(seconds=60)) == []
    late = given(host, kept)
    known = [(kept, ip_address("10.77.0.2"))]
    assert host.free_docker(known, [kept], then) == ["pool 10.77.0.0/28 of docker:gone", "10.77.0.1 of docker:lab"]
    assert has(host) == {str(SUBNET): ["10.77.0.2", late]}
    # A gateway stays as long as its pool, and an address that was just requested keeps that.
    assert given(host, kept, "10.77.0.14", gateway=True) == "10.77.0.14"
    assert host.free_docker([], [], then) == ["10.77.0.2 of docker:lab"]
    assert has(host) == {str(SUBNET): [late, "10.77.0.14"]}
    soon = datetime.now(UTC) + timedelta(seconds=60)
    assert host.free_docker([], [kept], soon) == [f"{late} of docker:lab"]
    assert has(host) == {str(SUBNET): ["10.77.0.14"]}


def test_an_address_stays_taken_while_the_link_of_its_endpoint_could_not_be_removed(host: Host) -> None:
    """Docker gives it back whatever became of the endpoint. Wrong: the next container has it beside a living one."""
    host.create_network(NetworkRequest(name="plain", parent="eth1", subnets=("10.78.0.0/24",)))
    lab, _ = host.request_pool(LAB, SUBNET, epoch="1")
    six, _ = host.request_pool(LAB, SUBNET6, epoch="1")
    alike, _ = host.request_pool("docker:alike", ip_network("10.77.0.0/24"), epoch="1")
    addresses = [ip_interface("10.77.0.1/28"), ip_interface("fd00:77::1/64")]
    assert [given(host, pool) for pool in (lab, six, alike)] == ["10.77.0.1", "fd00:77::1", "10.77.0.1"]
    noted = host.note_endpoint("plain", "ab" * 32, addresses)
    host.keep_linked("cd" * 32)
    host.keep_linked(noted.id)
    for pool, one in ((lab, addresses[0]), (six, addresses[1])):
        host.release_address(pool, one.ip)
        for epoch in ("1", "2"):
            with pytest.raises(AddressTaken, match="endpoint abababababab, whose link could not be removed"):
                given(host, pool, str(one.ip), epoch)
    # One of another subnet is not what the endpoint has.
    host.release_address(alike, addresses[0].ip)
    assert given(host, alike) == "10.77.0.1"
    assert given(host, lab) == "10.77.0.2"
    soon = datetime.now(UTC) + timedelta(seconds=60)
    known = [(lab, ip_address("10.77.0.2")), (alike, ip_address("10.77.0.1"))]
    assert host.free_docker(known, [lab, six, alike], soon) == []
    assert host.forget_endpoint(noted.id)
    assert host.free_docker(known, [lab, six, alike], soon) == ["10.77.0.1 of docker:lab", "fd00:77::1 of docker:lab"]
    assert given(host, lab, "10.77.0.1") == "10.77.0.1"


def test_an_address_of_dockers_own_ipam_on_a_living_link_keeps_none_of_ours(host: Host) -> None:
    """Wrong: a container of another domain with the same address has it stay taken for ever."""
    host.create_network(NetworkRequest(name="plain", parent="eth1", subnets=("10.78.0.0/24",)))
    noted = host.note_endpoint("plain", "ab" * 32, [ip_interface("10.77.0.1/28")])
    with host._store.writing() as records:
        records.note_endpoint(replace(noted, ifname="mv-0", ifindex=77, path="/nowhere"))
    lab, _ = host.request_pool(LAB, SUBNET, epoch="1")
    for _ in range(2):
        assert given(host, lab) == "10.77.0.1"
        host.release_address(lab, ip_address("10.77.0.1"))


def test_an_endpoint_that_cannot_be_removed_keeps_its_addresses(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.create_network(NetworkRequest(name="plain", parent="eth1", subnets=("10.78.0.0/24",)))
    lab, _ = host.request_pool(LAB, SUBNET, epoch="1")
    address = ip_interface(f"{given(host, lab)}/28")
    noted = host.note_endpoint("plain", "ab" * 32, [address])

    def fail(*_: object, **__: object) -> None:
        raise MacvfastError("its link is nowhere")

    for name, do in (("detach", endpoints._leave), ("forget_endpoint", endpoints._delete)):
        with monkeypatch.context() as patch:
            patch.setattr(type(host), name, fail)
            with pytest.raises(MacvfastError, match="nowhere"):
                do("cd" * 32, noted.id, host)
        host.release_address(lab, address.ip)
        assert has(host)[str(SUBNET)] == [str(address.ip)]
    endpoints._delete("cd" * 32, noted.id, host)
    host.release_address(lab, address.ip)
    assert has(host)[str(SUBNET)] == []


def test_to_free_an_address_what_else_docker_has_is_not_read(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong: it costs the more, the more addresses Docker has."""
    lab, _ = host.request_pool(LAB, SUBNET, epoch="1")
    monkeypatch.delattr(PoolRecords, "kept_in")
    assert given(host, lab) == "10.77.0.1"
    host.release_address(lab, ip_address("10.77.0.1"))
    assert given(host, lab) == "10.77.0.1"


# Beside macvfast's own networks, on the domain of a parent.


def test_on_the_domain_of_a_parent_docker_and_networks_of_ours_give_each_address_once(
    machine: Machine, host: Host
) -> None:
    domain = host.domain_of_parent("eth0")
    assert domain == "link:eth0"
    host.create_network("pub", parent="eth0", subnets=[str(SUBNET)], aux={"nas": "10.77.0.3"})
    pool, _ = host.request_pool(domain, SUBNET, epoch="1")
    # One gateway for all; what a network keeps otherwise, nobody else has.
    assert given(host, pool, gateway=True) == "10.77.0.1"
    with pytest.raises(AddressTaken, match="the aux address `nas` of network `pub`"):
        given(host, pool, "10.77.0.3")
    assert given(host, pool) == "10.77.0.2"
    made = host.create_sandbox("one", endpoints=[EndpointRequest(network="pub")])
    assert str(made.endpoints[0].ip) == "10.77.0.4/28"
    with pytest.raises(AddressTaken, match="held by sandbox `one`"):
        given(host, pool, "10.77.0.4")
    with pytest.raises(AddressTaken, match="the address that Docker has"):
        host.create_sandbox("two", endpoints=[EndpointRequest.of("pub", ip="10.77.0.2")])
    with pytest.raises(SubnetTaken):
        host.request_pool(domain, ip_network("10.77.0.0/24"), epoch="1")
    # Each of them may go first.
    host.release_address(pool, ip_address("10.77.0.1"))
    assert machine.host.usage("pub")[0].subnet.gateway == ip_address("10.77.0.1")
    with pytest.raises(AddressTaken):
        given(host, pool, "10.77.0.1")
    host.remove_many(["one"]).raise_if_any()
    host.remove_networks(["pub"]).raise_if_any()
    assert given(host, pool) == "10.77.0.1"
    host.create_network("pub", parent="eth0", subnets=[str(SUBNET)], gateways=["10.77.0.14"])
    with pytest.raises(MacvfastError):
        host.create_network("part", parent="eth1", subnets=["10.77.0.0/30"], ip_ranges=["10.88.0.0/30"])
    host.release_pool(pool)
    assert host.docker_pools() == []
    taken = host.create_sandbox("three", endpoints=[EndpointRequest(network="pub")])
    assert str(taken.endpoints[0].ip) == "10.77.0.1/28"
    machine.assert_record_is_true()


def test_a_network_that_overlaps_what_docker_alone_has_on_its_parent_is_refused(host: Host) -> None:
    host.request_pool(host.domain_of_parent("eth0"), SUBNET, epoch="1")
    with pytest.raises(PoolTaken):
        host.create_network("pub", parent="eth0", subnets=["10.77.0.0/16"])


def test_an_automatic_gateway_on_a_domain_of_dockers_own_is_the_lowest_address_of_the_range(host: Host) -> None:
    pool, _ = host.request_pool(LAB, SUBNET, ip_ranges=["10.77.0.8/29"], epoch="1")
    assert given(host, pool, gateway=True) == "10.77.0.8"
