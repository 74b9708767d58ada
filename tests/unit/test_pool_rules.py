"""Docker's worked examples of address management, and all that a pool refuses to be made from."""

from __future__ import annotations

import threading
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Any

import pytest

from macvfast._core import Addresses, Pool, Source, StoredPool
from macvfast.errors import (
    AddressReserved,
    AddressTaken,
    AuxAddressInvalid,
    GatewayInvalid,
    MacvfastError,
    OptionInvalid,
    PoolExhausted,
    RangeInvalid,
    SnapshotDamaged,
    SubnetInvalid,
)


def texts(pool: Pool, count: int) -> list[str]:
    """The next addresses, one by one."""
    return [str(pool.allocate()) for _ in range(count)]


def test_the_first_address_after_the_gateway_is_given_first() -> None:
    assert texts(Pool("192.168.1.0/24", gateway="192.168.1.1"), 3) == ["192.168.1.2", "192.168.1.3", "192.168.1.4"]


def test_an_ip_range_is_given_from_its_own_first_address_without_the_aux_address() -> None:
    pool = Pool(
        "192.168.32.0/24", ip_range="192.168.32.128/25", gateway="192.168.32.254", aux={"router": "192.168.32.129"}
    )
    assert texts(pool, 3) == ["192.168.32.128", "192.168.32.130", "192.168.32.131"]


def test_counts_are_of_the_whole_subnet_and_of_the_ip_range() -> None:
    aux = {"in": "10.66.77.65", "out": "10.66.77.128"}
    pool = Pool("10.66.77.0/24", ip_range="10.66.77.64/30", gateway="10.66.77.1", aux=aux)
    assert texts(pool, 1) == ["10.66.77.64"]
    assert (len(pool), pool.available, pool.free) == (6, 2, 250)
    assert texts(pool, 2) == ["10.66.77.66", "10.66.77.67"]
    with pytest.raises(PoolExhausted) as full:
        pool.allocate()
    assert full.value.subnets == ("10.66.77.0/24",)
    assert full.value.family == "IPv4"


def test_an_ip_ranges_last_address_is_given() -> None:
    pool = Pool("172.28.0.0/16", ip_range="172.28.30.0/24")
    assert texts(pool, 256)[-1] == "172.28.30.255"
    with pytest.raises(PoolExhausted):
        pool.allocate()


def test_in_next_order_an_address_just_freed_is_not_given_at_once() -> None:
    pool = Pool("10.2.0.0/16", ip_range="10.2.2.0/30", order="next")
    pool.reserve("10.2.2.1")
    assert texts(pool, 2) == ["10.2.2.0", "10.2.2.2"]
    pool.release("10.2.2.0")
    assert texts(pool, 1) == ["10.2.2.3"]
    pool.release("10.2.2.1")
    assert texts(pool, 2) == ["10.2.2.0", "10.2.2.1"]


def test_in_lowest_order_an_address_just_freed_is_given_next() -> None:
    pool = Pool("10.2.0.0/16")
    texts(pool, 5)
    pool.release("10.2.0.4")
    pool.release("10.2.0.2")
    assert texts(pool, 3) == ["10.2.0.2", "10.2.0.4", "10.2.0.6"]


@pytest.mark.parametrize(
    ("subnet", "gateway", "given"),
    [
        ("10.0.0.0/30", None, ["10.0.0.1", "10.0.0.2"]),
        ("10.0.0.0/30", "10.0.0.1", ["10.0.0.2"]),
        ("192.168.0.2/31", None, ["192.168.0.2", "192.168.0.3"]),
        ("192.168.0.2/31", "192.168.0.2", ["192.168.0.3"]),
        ("10.0.0.5/32", None, ["10.0.0.5"]),
        ("10.0.0.5/32", "10.0.0.5", []),
        ("2001:db8::/127", None, ["2001:db8::", "2001:db8::1"]),
        ("2001:db8::5/128", None, ["2001:db8::5"]),
        ("2001:db8::/126", None, ["2001:db8::1", "2001:db8::2", "2001:db8::3"]),
    ],
)
def test_small_subnets_give_all_they_have(subnet: str, gateway: str | None, given: list[str]) -> None:
    pool = Pool(subnet, gateway=gateway)
    assert texts(pool, len(given)) == given
    with pytest.raises(PoolExhausted):
        pool.allocate()
    assert pool.free == 0


def test_an_ipv6_range_begins_with_its_first_address() -> None:
    assert texts(Pool("2001:db8:abca::/64", ip_range="2001:db8:abca::100/120"), 1) == ["2001:db8:abca::100"]
    assert texts(Pool("2001:db8:abca::/64"), 3) == ["2001:db8:abca::1", "2001:db8:abca::2", "2001:db8:abca::3"]


def test_any_free_address_of_the_subnet_can_be_named() -> None:
    pool = Pool("192.168.1.0/24", ip_range="192.168.1.128/25", gateway="192.168.1.1")
    pool.reserve("192.168.1.5")
    assert "192.168.1.5" in pool
    with pytest.raises(AddressTaken) as twice:
        pool.reserve("192.168.1.5")
    assert twice.value.holder is None


def test_what_the_subnet_needs_is_neither_taken_nor_released() -> None:
    pool = Pool("192.168.1.0/24", gateway="192.168.1.1", aux={"router": "192.168.1.9"})
    roles = {
        "192.168.1.0": "network address",
        "192.168.1.255": "broadcast address",
        "192.168.1.1": "gateway",
        "192.168.1.9": "aux address `router`",
    }
    for address, role in roles.items():
        assert pool.role(address) == role
        with pytest.raises(AddressTaken, match=role):
            pool.reserve(address)
        with pytest.raises(AddressReserved, match=role):
            pool.release(address)
    assert pool.role("192.168.1.2") is None
    assert Pool("fd00::/64").role("fd00::") == "subnet-router anycast address"
    assert len(pool) == 4


def test_several_ranges_unite_however_they_are_written() -> None:
    network = IPv4Network("10.0.0.16/30")
    pool = Pool("10.0.0.0/24", ip_range=[network, "10.0.0.200-10.0.0.201", "10.0.0.18/31", "10.0.0.0/31"])
    assert texts(pool, 7) == [f"10.0.0.{n}" for n in (1, 16, 17, 18, 19, 200, 201)]
    assert pool.available == 0


def test_no_range_is_the_whole_subnet() -> None:
    nothing: list[str] = []
    assert Pool("10.0.0.0/24").available == Pool("10.0.0.0/24", ip_range=nothing).available == 254


def test_a_subnet_is_text_or_an_object() -> None:
    assert Pool("10.0.0.0/24").subnet == IPv4Network("10.0.0.0/24") == Pool(IPv4Network("10.0.0.0/24")).subnet
    assert Pool("FD00::/64").subnet == IPv6Network("fd00::/64") == Pool(IPv6Network("fd00::/64")).subnet


@pytest.mark.parametrize(
    ("subnet", "reason", "meant"),
    [
        ("192.168.1.5/24", "host bits", "192.168.1.0/24"),
        ("fd00::1/64", "host bits", "fd00::/64"),
        ("10.0.0.0/7", "too large", None),
        ("0.0.0.0/0", "too large", None),
        ("fc00::/7", "too large", None),
        ("::/0", "too large", None),
        ("10.0.0.0/33", "prefix length", None),
        ("fd00::/129", "prefix length", None),
        ("10.0.0.0/", "prefix length", None),
        ("10.0.0.0/-1", "prefix length", None),
        ("10.0.0.0/+8", "prefix length", None),
        ("10.0.0.0/08", "prefix length", None),
        ("10.0.0.0/٨", "prefix length", None),
        ("10.0.0.0/255.0.0.0", "prefix length", None),
        ("10.0.0.0", "no prefix length", None),
        ("010.0.0.0/8", "an address, `/`", None),
        ("10.0.0/8", "an address, `/`", None),
        (" 10.0.0.0/8", "an address, `/`", None),
        ("", "an address, `/`", None),
        ("lan", "an address, `/`", None),
        ("fe80::%eth0/64", "scope id", None),
        (None, "an address, `/`", None),
        (10, "an address, `/`", None),
        (b"10.0.0.0/8", "an address, `/`", None),
        (IPv4Address("10.0.0.0"), "an address, `/`", None),
        (ip_network("0.0.0.0/1"), "too large", None),
    ],
)
def test_what_is_no_subnet_of_a_pool_is_refused(subnet: Any, reason: str, meant: str | None) -> None:
    with pytest.raises(SubnetInvalid, match=reason) as refused:
        Pool(subnet)
    assert refused.value.meant == meant


@pytest.mark.parametrize(
    ("ip_range", "reason", "meant"),
    [
        ("192.168.1.130/25", "host bits", "192.168.1.128/25"),
        ("192.168.1.20-192.168.1.10", "after its last", "192.168.1.10-192.168.1.20"),
        ("192.168.2.0/25", "not within", None),
        # What is meant would be refused, too.
        ("192.168.1.128/23", "not within", None),
        ("192.168.2.9-192.168.1.8", "not within", None),
        ("192.168.0.0/16", "not within", None),
        ("192.168.1.200-192.168.2.3", "not within", None),
        ("fd00::/64", "not all of IPv4", None),
        ("192.168.1.1-fd00::1", "not all of IPv4", None),
        ("192.168.1.0/33", "prefix length", None),
        ("192.168.1.7", "no prefix length", None),
        ("192.168.1.7-", "FIRST-LAST", None),
        ("-192.168.1.7", "FIRST-LAST", None),
        ("192.168.1.7-9", "FIRST-LAST", None),
        ("192.168.1.7 - 192.168.1.9", "FIRST-LAST", None),
        ("", "FIRST-LAST", None),
        (7, "FIRST-LAST", None),
        ([None], "FIRST-LAST", None),
        (["192.168.1.0/25", "nonsense"], "FIRST-LAST", None),
        (b"x", "FIRST-LAST", None),
    ],
)
def test_what_is_no_ip_range_of_the_subnet_is_refused(ip_range: Any, reason: str, meant: str | None) -> None:
    with pytest.raises(RangeInvalid, match=reason) as refused:
        Pool("192.168.1.0/24", ip_range=ip_range)
    assert refused.value.meant == meant


@pytest.mark.parametrize(
    ("gateway", "reason"),
    [
        ("192.168.1.0", "network address"),
        ("192.168.1.255", "broadcast address"),
        ("192.168.2.1", "outside subnet 192.168.1.0/24"),
        ("fd00::1", "not an IPv4 address"),
        ("::ffff:192.168.1.1", "not an IPv4 address"),
        ("none", "not an IP address"),
        ("", "not an IP address"),
        (2**32, "not an IPv4 address"),
        (False, "text, an integer or an ipaddress object"),
    ],
)
def test_what_cannot_be_the_gateway_is_refused(gateway: Any, reason: str) -> None:
    with pytest.raises(GatewayInvalid, match=reason):
        Pool("192.168.1.0/24", gateway=gateway)


@pytest.mark.parametrize(
    ("aux", "reason"),
    [
        ({"x": "192.168.1.1"}, "the subnet's gateway"),
        ({"x": "192.168.1.0"}, "network address"),
        ({"x": "192.168.2.1"}, "outside subnet"),
        ({"x": "fd00::1"}, "not an IPv4 address"),
        ({"x": "router"}, "not an IP address"),
        ({"x": "192.168.1.7", "y": "192.168.1.7"}, "aux address `x`"),
        ({"": "192.168.1.7"}, "no name"),
        ({7: "192.168.1.7"}, "not text"),
    ],
)
def test_what_cannot_be_an_aux_address_is_refused(aux: Any, reason: str) -> None:
    with pytest.raises(AuxAddressInvalid, match=reason) as refused:
        Pool("192.168.1.0/24", gateway="192.168.1.1", aux=aux)
    assert ("name the gateway itself, with --gateway" in refused.value.hints) == ("gateway" in reason)


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(OptionInvalid, match="`lowest` or `next`"):
        Pool("192.168.1.0/24", order="random")


def stored(**other: Any) -> StoredPool:
    """A /24 of a store, with something about it that is wrong."""
    given: dict[str, Any] = {
        "used": 2,
        "summary": [],
        "fetch": lambda _: b"\x01" + bytes(30) + b"\x80" + bytes(480),
    }
    return StoredPool("10.0.0.0/24", **{**given, **other})


def source(subnet: str = "10.0.0.0/24", **other: Any) -> Source:
    """All of a subnet, the lowest address first."""
    given: dict[str, Any] = {"ip_range": None, "order": "lowest", "begin": 0, "avoid": ()}
    return Source(subnet, **{**given, **other})


@pytest.mark.parametrize(
    "wrong",
    [
        {"used": 1},
        {"used": -1},
        {"used": 2**130},
        {"used": 257},
        {"summary": [(0, b"")]},
        {"summary": [(0, b"\x02" + bytes(511))]},
        {"summary": [(1, bytes(512))]},
        {"summary": [(-1, bytes(512))]},
    ],
)
def test_what_a_store_cannot_have_of_a_pool_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SnapshotDamaged):
        stored(**wrong)


@pytest.mark.parametrize("page", [b"", bytes(511), bytes(513), None, bytes(512), b"\xff" * 512])
def test_a_page_that_cannot_be_one_of_the_pools_is_refused_and_changes_nothing(page: bytes | None) -> None:
    pages = [page, b"\x01" + bytes(30) + b"\x80" + bytes(480)]
    pool = stored(fetch=lambda _: pages.pop(0))
    with pytest.raises(SnapshotDamaged):
        pool.allocate(source())
    assert pool.free == 254
    assert str(pool.allocate(source())) == "10.0.0.1"


def test_what_fetching_a_page_raises_comes_through_and_changes_nothing() -> None:
    def fetch(_: int) -> bytes | None:
        raise OSError("the disk is gone")

    pool = stored(fetch=fetch)
    asks = (
        lambda: pool.allocate(source()),
        lambda: pool.reserve("10.0.0.9"),
        lambda: pool.release("10.0.0.9"),
        lambda: "10.0.0.9" in pool,
    )
    for ask in asks:
        with pytest.raises(OSError, match="the disk is gone"):
            ask()
    assert pool.free == 254
    with pytest.raises(TypeError):
        stored(fetch=lambda _: "text").allocate(source())


def test_fetching_a_page_may_ask_the_pool_itself() -> None:
    pools: list[StoredPool] = []

    def fetch(number: int) -> bytes:
        assert (number, pools[0].free) == (0, 254)
        return b"\x01" + bytes(30) + b"\x80" + bytes(480)

    pools.append(stored(fetch=fetch))
    assert str(pools[0].allocate(source())) == "10.0.0.1"


def test_nothing_is_taken_by_the_rules_of_another_subnet() -> None:
    pool = stored()
    with pytest.raises(SnapshotDamaged):
        pool.allocate(source("10.0.0.0/16"))
    assert pool.free == 254


def test_what_is_reserved_is_given_to_no_network() -> None:
    pool = StoredPool("10.0.0.0/29", used=None, summary=(), fetch=bytes)
    for kept in ("10.0.0.1", "10.0.0.3"):
        pool.reserve(kept)
    first, second = source("10.0.0.0/29"), source("10.0.0.0/29", order="next", begin=4)
    with pytest.raises(AddressReserved):
        pool.release("10.0.0.7")
    given = [str(pool.allocate(one)) for one in (first, second, second, first)]
    assert given == ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    for one in (first, second):
        with pytest.raises(PoolExhausted):
            pool.allocate(one)
    assert (pool.free, first.next, second.next) == (0, 0, 6)
    assert pool.release("10.0.0.3")
    assert str(pool.allocate(first)) == "10.0.0.3"
    with pytest.raises(AddressTaken):
        pool.reserve("10.0.0.3")


def test_the_order_next_can_be_put_back() -> None:
    pool, one = stored(), source(order="next", begin=9)
    given = pool.allocate(one)
    pool.release(given)
    one.go_on(9)
    assert pool.allocate(one) == given
    lowest = source()
    lowest.go_on(100)
    assert lowest.next == 0, "the order `lowest` has no such place"


def test_several_threads_get_different_addresses() -> None:
    pool = Pool("10.0.0.0/16")
    given: list[Addresses | list[Any]] = []

    def work() -> None:
        given.append([pool.allocate() for _ in range(500)])
        given.append(pool.allocate_many(500))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    everything = [address for part in given for address in part]
    assert len(everything) == len(set(everything)) == 8000
    assert len(pool) == 8002


def test_every_refusal_is_one_of_macvfasts() -> None:
    pool = Pool("10.0.0.0/30")
    pool.allocate_many(2)
    for ask in (pool.allocate, lambda: pool.reserve("x"), lambda: Pool("x"), lambda: Pool.from_snapshot(b"x")):
        with pytest.raises(MacvfastError) as refused:
            ask()
        assert refused.value.code
        assert "\n" not in refused.value.line
