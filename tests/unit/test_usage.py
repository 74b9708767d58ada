"""How full subnets are: the numbers are the pool's own, and the map shows each address where it is."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import strategies as st

from macvfast.cli.show.maps import cell, usage_json, usage_text
from macvfast.ipam import Pool, fullness, settle_subnets
from macvfast.ipam.fullness import _longest_run
from macvfast.model import Subnet
from macvfast.requests import NetworkRequest
from macvfast.state.records import Kept
from tests.unit.cli_bed import FakeHost, endpoint, network, sandbox, typed

if TYPE_CHECKING:
    from macvfast.model import Endpoint, Network
    from macvfast.outcomes import SubnetUsage

LAN = Subnet(
    IPv4Network("172.16.86.0/24"),
    ranges=("172.16.86.64/26",),
    gateway=IPv4Address("172.16.86.1"),
    aux=(("nas", IPv4Address("172.16.86.200")),),
)


def on(net: Network, *addresses: str) -> list[Endpoint]:
    """Endpoints with those addresses."""
    found = []
    for address in map(ip_address, addresses):
        (subnet,) = [subnet for subnet in net.subnets if address in subnet.cidr]
        four, six = (address.packed, subnet), (None, None)
        (packed, subnet4), (packed6, subnet6) = (four, six) if address.version == 4 else (six, four)
        found.append(endpoint(net, packed=packed, subnet=subnet4, packed6=packed6, subnet6=subnet6))
    return found


def shown(net: Network, *addresses: str) -> list[str]:
    boxes = [sandbox(f"box{number}", endpoints=(one,)) for number, one in enumerate(on(net, *addresses))]
    said = typed("ipam show pub_net", FakeHost(networks=[net], sandboxes=boxes))
    assert (said.status, said.err) == (0, "")
    return said.out.splitlines()


def test_a_24_is_shown_address_by_address_in_80_columns() -> None:
    lines = shown(network(subnets=(LAN,)), "172.16.86.64", "172.16.86.65", "172.16.86.10")
    assert lines == [
        "172.16.86.0/24: 256 addresses, 3 in use, 249 free, 2 reserved",
        "  automatic: 62 free of 64, the lowest first, in 172.16.86.64/26",
        "  gateway:   172.16.86.1",
        "  aux:       nas=172.16.86.200",
        "",
        f"172.16.86.0   rg--------#{'-' * 53}",
        f"172.16.86.64  ##{'.' * 62}",
        f"172.16.86.128 {'-' * 64}",
        f"172.16.86.192 --------a{'-' * 54}r",
        "",
        "# in use   g gateway   a aux address   h host   r reserved   . free",
        "- free, but only given with --ip",
    ]
    assert max(map(len, lines)) <= 80


def test_an_8_is_shown_in_80_columns_as_blocks_by_tenths() -> None:
    big = Subnet(IPv4Network("10.0.0.0/8"), gateway=IPv4Address("10.200.0.1"), gateway_automatic=True)
    addresses = [f"10.0.{third}.{fourth}" for third in range(13) for fourth in range(1, 255)]
    lines = shown(network(subnets=(big,)), *addresses, "10.255.255.254")
    assert "  gateway:   10.200.0.1 (automatic)" in lines
    rows = [line for line in lines if line.startswith("10.") and "addresses" not in line]
    assert len(rows) == 16
    # 3,302 of 16,384 are a fifth: more than two tenths.
    assert rows[0].split() == ["10.0.0.0", f"3{'.' * 63}"]
    assert rows[12].split() == ["10.192.0.0", f"{'.' * 32}g{'.' * 31}"]
    assert rows[15].split() == ["10.240.0.0", f"{'.' * 63}1"]
    assert "a cell is 16,384 addresses   1-9 tenths in use" in lines
    assert max(map(len, lines)) <= 80


def test_of_an_ipv6_subnet_the_part_with_something_in_it_is_shown() -> None:
    six = Subnet(IPv6Network("fd00::/64"), gateway=ip_address("fd00::1"))
    lines = shown(network(subnets=(six,), ipv6=True), "fd00::2", "fd00::1ff")
    assert lines[0] == "fd00::/64: 1.8e+19 addresses, 2 in use, 1.8e+19 free, 1 reserved"
    rows = [line for line in lines[3:] if line.startswith("fd00")]
    assert (len(rows), rows[0]) == (16, f"fd00::    rg#{'.' * 29}")
    assert rows[15] == f"fd00::1e0 {'.' * 31}#"


def test_a_point_to_point_subnet_has_a_map_of_two() -> None:
    lines = shown(network(subnets=(Subnet(IPv4Network("10.0.0.2/31")),)), "10.0.0.3")
    assert "10.0.0.2 .#" in lines


def test_json_has_the_same_numbers_and_cells() -> None:
    said = typed("ipam show pub_net --format json", FakeHost(networks=[network(subnets=(LAN,))], sandboxes=[sandbox()]))
    (found,) = json.loads(said.out)
    assert found.pop("Map") == {
        "Part": "172.16.86.0/24",
        "AddressesPerCell": 1,
        "Cells": f"rg{'-' * 8}#{'-' * 53}{'.' * 64}{'-' * 72}a{'-' * 54}r",
    }
    assert found == {
        "Network": "pub_net",
        "Subnet": "172.16.86.0/24",
        "Addresses": 256,
        "InUse": 1,
        "Gateway": "172.16.86.1",
        "AuxiliaryAddresses": {"nas": "172.16.86.200"},
        "HostAddresses": [],
        "Reserved": 2,
        "Reservations": {},
        "Free": 251,
        "Automatic": {"Ranges": ["172.16.86.64/26"], "Order": "lowest", "Addresses": 64, "Free": 64},
    }


def test_what_the_host_has_itself_is_shown_and_not_counted_as_free() -> None:
    """Save where it has another part: of an aux address or gateway it is known anyway."""
    subnet = Subnet(IPv4Network("172.16.86.0/28"), gateway=IPv4Address("172.16.86.1"))
    own = [ip_address(one) for one in ("172.16.86.9", "172.16.86.1", "192.0.2.1", "fe80::1", "172.16.86.2")]
    one = fullness(subnet, {int(ip_address("172.16.86.2"))}, own=own)
    assert [str(address) for address in one.own] == ["172.16.86.1", "172.16.86.2", "172.16.86.9"]
    assert "".join(map(cell, one.map.blocks)) == "rg#......h.....r"
    assert (one.total.free, one.automatic_free) == (11, 11)


@pytest.mark.parametrize(("line", "status"), [("ipam show missing", 1), ("ipam show --format yaml pub_net", 2)])
def test_what_cannot_be_shown_is_refused(line: str, status: int) -> None:
    assert typed(line, FakeHost(networks=[network()])).status == status


@st.composite
def settled(draw: st.DrawFn) -> tuple[Network, Pool, SubnetUsage]:
    """A network with some addresses in use, its pool, and what is said of it."""
    version = draw(st.sampled_from([4, 6]))
    length = draw(st.integers(18, 32) if version == 4 else st.integers(100, 128))
    cidr = f"10.0.0.0/{length}" if version == 4 else f"fd00::/{length}"
    bits = (32 if version == 4 else 128) - length
    ranges = [f"{cidr.partition('/')[0]}/{length + draw(st.integers(0, bits))}" for _ in range(draw(st.integers(0, 2)))]
    request = NetworkRequest(name="lab", subnets=(cidr,), ip_ranges=tuple(ranges))
    try:
        (subnet,) = settle_subnets(request)
    except Exception:  # noqa: BLE001 - of whatever kind, it is no network
        hypothesis.reject()
    pool = Pool(subnet.cidr, ip_range=subnet.ranges, gateway=subnet.gateway)
    taken = [pool.allocate() for _ in range(min(pool.available, draw(st.integers(0, 20))))]
    net = network(subnets=(subnet,), ipv6=version == 6)
    said = fullness(subnet, {int(address) for address in taken})
    return net, pool, said


@hypothesis.given(st.sets(st.integers(0, 60), max_size=40), st.sets(st.integers(0, 30), max_size=8))
def test_the_longest_run_of_free_addresses_is_what_a_slow_count_finds(taken: set[int], edges: set[int]) -> None:
    ends = sorted(edges)[: len(edges) // 2 * 2]
    # Apart from each other, as a pool has them.
    ranges = [(2 * first, 2 * last - 1) for first, last in zip(ends[::2], ends[1::2], strict=True)]
    slow = 0
    for first, last in ranges:
        run = 0
        for value in range(first, last + 1):
            run = 0 if value in taken else run + 1
            slow = max(slow, run)
    assert _longest_run(sorted(taken), ranges) == slow


@hypothesis.given(settled())
def test_the_numbers_are_the_pools_and_the_map_adds_up(case: tuple[Network, Pool, SubnetUsage]) -> None:
    _, pool, said = case
    assert (said.total.free, said.automatic_free) == (pool.free, pool.available)
    assert said.total.size == pool.size
    mapped = said.map
    assert sum(block.size for block in mapped.blocks) == mapped.part.num_addresses
    assert len(mapped.blocks) <= 1024
    for field in ("in_use", "gateway", "aux", "host", "reserved"):
        of_blocks = sum(getattr(block, field) for block in mapped.blocks)
        assert of_blocks == getattr(said.total, field), field
    assert all(cell(block) in "123456789#gahr.-" for block in mapped.blocks)


def test_the_largest_ipv6_subnet_is_shown_around_what_is_in_it() -> None:
    net = network(subnets=(Subnet(IPv6Network("fd00::/8")),), ipv6=True)
    lines = shown(net, "fdff:ffff:ffff:ffff:ffff:ffff:ffff:fffe")
    assert lines[0] == "fd00::/8: 1.3e+36 addresses, 1 in use, 1.3e+36 free, 1 reserved"


def test_what_is_reserved_is_named_with_its_kind_eight_of_many_for_people_and_all_for_programs() -> None:
    subnet = network().subnets[0]
    kept = [Kept(subnet.cidr[20 + at], f"quarantine of m{at}", None) for at in range(10)]
    one = fullness(subnet, set(), kept)
    shown = [line for line in usage_text(network(), one).splitlines() if line.startswith("  reserved:")]
    named = [f"  reserved:  172.16.86.{20 + at}, quarantine of m{at}" for at in range(8)]
    assert shown == [*named, "  reserved:  2 more"]
    assert len(usage_json(network(), one)["Reservations"]) == 10  # type: ignore[arg-type]
    assert one.total.reserved == 12
