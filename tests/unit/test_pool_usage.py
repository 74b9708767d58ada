"""How full pools are, in the few numbers that a line has room for: the same that the whole count gives."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.ipam import Pool
from macvfast.model import Subnet
from macvfast.requests import EndpointRequest
from macvfast.usage import NetworkUsage, PoolUsage
from tests.unit.cli_bed import DUAL, FakeHost, network, sandbox, typed
from tests.unit.fake_kernel import FakeLink

if TYPE_CHECKING:
    from macvfast.host import Host
    from tests.unit.machine import Machine


def counted(host: Host) -> list[tuple[str, str, int, int]]:
    """Network, subnet, in use and free of each pool where addresses are given automatically, counted one by one."""
    found = []
    for on in host.networks():
        for one in host.usage(on):
            ranges = [(one.subnet.first, one.subnet.last)]
            if one.subnet.ranges:
                ends = [text.split("-") if "-" in text else ip_network(text) for text in one.subnet.ranges]
                ranges = [(int(ip_address(end[0])), int(ip_address(end[-1]))) for end in ends]
            addresses = {
                int(address.ip)
                for box in host.sandboxes()
                for endpoint in box.endpoints
                if host.network(endpoint.network).link == on.link
                for address in endpoint.addresses
                if address.version == one.subnet.version
            }
            in_use = sum(any(low <= number <= high for low, high in ranges) for number in addresses)
            found.append((on.name, str(one.subnet.cidr), in_use, one.automatic_free))
    return found


def summed_up(host: Host) -> list[tuple[str, str, int, int]]:
    return [(one.network.name, str(p.subnet.cidr), p.in_use, p.free) for one in host.pools() for p in one.pools]


@pytest.mark.usefixtures("hasty")
def test_the_numbers_of_a_line_are_those_of_the_whole_count(machine: Machine) -> None:
    """Catches what counts gateways, aux addresses, the ends or what another network keeps as free or as in use, what
    counts addresses outside of the ip-range, and what reads the pages of another range than that.
    """
    host = machine.host
    host.remove_networks(["lan", "other"]).raise_if_any()
    shared: dict[str, Any] = {"subnets": ["10.8.0.0/16"], "parent": "eth0", "share_parent": True}
    host.create_network("one", **shared, ip_ranges=["10.8.15.250-10.8.16.9", "10.8.64.0/30"], aux={"a": "10.8.16.3"})
    host.create_network("two", **shared, gateways=["10.8.64.1"], aux={"b": "10.8.200.7", "c": "10.8.16.4"})
    host.create_network("six", subnets=["2001:db8:9::/64", "192.0.2.0/31"], ip_ranges=["2001:db8:9::ff0/124"])
    host.create_network("tiny", subnets=["192.0.2.64/30", "2001:db8:a::/127"])
    for name, ip in (("one", None), ("one", "10.8.16.9"), ("one", "10.8.99.1"), ("two", None), ("two", "10.8.15.255")):
        host.create_sandbox(endpoints=[EndpointRequest.of(name, ip=ip)])
    host.create_sandbox(endpoints=[EndpointRequest.of("six"), EndpointRequest.of("tiny")])
    assert summed_up(host) == counted(host)
    assert [one.network.name for one in host.pools()] == [one.name for one in host.networks()]


@pytest.mark.usefixtures("hasty")
def test_what_the_host_has_itself_is_free_for_nobody(machine: Machine) -> None:
    """Also where that is an end, a gateway, an endpoint's address too, outside of the ip-range, or on another link."""
    host = machine.host
    link = machine.world.add_home(FakeLink(40, "eth2", altnames=["lan2"], mac=b"\x52\x54\0\0\0\4"))
    host.create_network("tiny", subnets=["10.5.0.0/29", "2001:db8:5::/125"], parent="eth2", share_parent=True)
    host.create_network("part", subnets=["10.6.0.0/24"], ip_ranges=["10.6.0.0/28"], parent="eth2", share_parent=True)
    host.connect_many("tiny", ["a", "b"]).raise_if_any()
    own = ("10.5.0.1", "10.5.0.6", "10.6.0.3", "10.6.0.200", "2001:db8:5::6", "fe80::1", "10.5.0.2", "10.6.0.0")
    link.addresses = [(ip_address(one).packed, 32) for one in own]
    assert summed_up(host) == counted(host)
    assert ("tiny", "10.5.0.0/29", 2, 2) in summed_up(host)
    drawn = {on.network.name: on.pools for link in host.topology().links for on in link.networks}
    assert drawn == {one.network.name: one.pools for one in host.pools()}


def test_without_a_word_of_the_kernel_the_record_counts(machine: Machine) -> None:
    """A list is shown outside of the home namespace, and where the kernel refuses a look."""
    host = machine.host
    before = summed_up(host)
    for link in machine.world.home.links.values():
        link.addresses = [(ip_address("172.16.86.77").packed, 24)]
    assert summed_up(host) != before
    machine.faults.arm(fail_at=1, only="list all addresses")
    assert summed_up(host) == before
    machine.faults.arm()
    machine.world.home.cookie += 1
    assert summed_up(host) == before


@pytest.mark.parametrize(
    ("options", "counts"),
    [("", True), ("-q", False), ("--format=json", False), ("--format={{.Name}}", False), ("--format={{.InUse}}", True)],
)
def test_network_ls_counts_only_what_it_shows(options: str, counts: bool) -> None:
    host = Counting(networks=[network()])
    assert typed(f"network ls {options}", host).status == 0
    assert host.counted == counts


class Counting(FakeHost):
    """A host that notes whether pools were counted."""

    counted = False

    def pools(self) -> list[NetworkUsage]:
        self.counted = True
        return super().pools()


@pytest.mark.parametrize("version", [4, 6])
def test_a_subnet_has_the_ends_that_the_allocator_reserves(version: int) -> None:
    bits, base = (32, "10.0.0.0") if version == 4 else (128, "fd00::")
    for prefix in range(8, bits + 1):
        cidr = ip_network(f"{base}/{prefix}")
        subnet, pool = Subnet(cidr), Pool(cidr)
        kept = {number for number in (subnet.first, subnet.last) if pool.role(number) is not None}
        assert set(subnet.ends) == kept, cidr


def test_a_pool_that_can_give_nothing_is_full() -> None:
    assert PoolUsage(Subnet(ip_network("10.0.0.0/30")), 0, 0).share == 1.0


def test_ipam_show_without_a_network_is_a_line_and_a_bar_per_pool() -> None:
    boxes = [sandbox()]
    said = typed("ipam show", FakeHost(networks=[DUAL, network()], sandboxes=boxes))
    assert (said.status, said.err) == (0, "")
    assert (
        said.out
        == """\
NETWORK   PARENT   SUBNET               USE                      IN USE         FREE
dual      eth0     2001:db8:abc8::/64   [....................]   0 of 1.8e+19   1.8e+19
dual      eth0     192.168.32.0/24      [....................]   0 of 136       136
pub_net   eth0     172.16.86.0/24       [#...................]   1 of 253       252
"""
    )
    whole = json.loads(typed("ipam show --format json", FakeHost(networks=[network()], sandboxes=boxes)).out)
    assert whole == [
        {"Network": "pub_net", "Parent": "eth0", "Subnet": "172.16.86.0/24", "InUse": 1, "Free": 252, "Capacity": 253}
    ]
    assert json.loads(typed("ipam show --format json", FakeHost()).out) == []


class Full(FakeHost):
    """A host with a pool that is full, one that is nearly full, and one without an address in use."""

    def pools(self) -> list[NetworkUsage]:
        uses = [(253, 253), (252, 253), (0, 253), (2, 65_533)]
        nets = [network(f"lan-{number}") for number in range(len(uses))]
        return [NetworkUsage(on, (PoolUsage(on.subnets[0], *use),)) for on, use in zip(nets, uses, strict=True)]


def test_a_bar_is_full_or_empty_only_where_the_pool_is() -> None:
    bars = [line[line.index("[") : line.index("]") + 1] for line in typed("ipam show", Full()).out.splitlines()[1:]]
    assert bars == [f"[{'#' * 20}]", f"[{'#' * 19}.]", f"[{'.' * 20}]", f"[#{'.' * 19}]"]
