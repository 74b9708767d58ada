"""Many addresses in one buffer, and the kinds of addresses that a pool takes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from typing import Any

import pytest

from macvfast._core import Addresses, Pool
from macvfast.errors import AddressInvalid, AddressOutsideSubnet, OptionInvalid, PoolExhausted


def few() -> tuple[Addresses, list[IPv4Address]]:
    """`.1` to `.9`, and the same as a list."""
    return Pool("10.0.0.0/24").allocate_many(9), [IPv4Address(f"10.0.0.{n}") for n in range(1, 10)]


def test_they_are_a_sequence_of_ipaddress_objects() -> None:
    addresses, same = few()
    assert isinstance(addresses, Sequence)
    assert list(addresses) == same
    assert list(reversed(addresses)) == same[::-1]
    assert len(addresses) == 9
    assert addresses[0] == same[0]
    assert addresses[-1] == same[-1]
    assert type(addresses[3]) is IPv4Address
    assert same[4] in addresses
    assert IPv4Address("10.0.0.10") not in addresses
    assert addresses.index(same[4]) == 4
    assert addresses.index(same[4], -6, 7) == 4
    assert addresses.count(same[4]) == 1
    match addresses:
        case [first, *_, last]:
            assert (first, last) == (same[0], same[-1])
        case _:
            pytest.fail("not matched as a sequence")


def test_they_are_cut_as_lists_are() -> None:
    addresses, same = few()
    bounds = [None, -20, -9, -3, -1, 0, 1, 4, 8, 9, 20]
    for start, stop, step in itertools.product(bounds, bounds, [None, 1, 2, 5, -1, -2, -20]):
        assert list(addresses[start:stop:step]) == same[start:stop:step]


def test_there_is_nothing_beyond_their_ends() -> None:
    addresses, _ = few()
    for index in (9, -10, 2**62, -(2**62)):
        with pytest.raises(IndexError):
            addresses[index]
    with pytest.raises(TypeError):
        addresses["1"]  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="not among"):
        addresses.index(IPv4Address("10.0.0.10"))
    with pytest.raises(ValueError, match="not among"):
        addresses.index(IPv4Address("10.0.0.9"), 0, -1)


def test_what_is_no_ipaddress_object_is_not_among_them() -> None:
    addresses, same = few()
    for other in (str(same[0]), int(same[0]), None, IPv6Address(int(same[0])), 1.5):
        assert other not in addresses
        assert addresses.count(other) == 0


def test_bytes_texts_and_objects_say_the_same() -> None:
    for subnet in ("10.0.0.0/20", "2001:db8::/64", "2001:db8:0:1::/118"):
        addresses = Pool(subnet).allocate_many(1000)
        assert addresses.packed == b"".join(address.packed for address in addresses)
        assert addresses.texts() == [str(address) for address in addresses]
        assert addresses.packed is addresses.packed


def test_equal_ones_are_equal_and_hash_alike() -> None:
    addresses, same = few()
    again, _ = few()
    assert addresses == again
    assert hash(addresses) == hash(again)
    assert addresses[1:] != addresses
    assert addresses != same
    assert Pool("10.0.0.0/24").allocate_many(0) != Pool("fd00::/64").allocate_many(0)


def test_an_object_made_fast_is_as_one_made_slowly() -> None:
    for subnet, text in (("10.0.0.0/24", "10.0.0.1"), ("fd00:0:0:1::/64", "fd00:0:0:1::1")):
        fast, slow = Pool(subnet).allocate(), ip_address(text)
        assert type(fast) is type(slow)
        assert fast == slow
        assert hash(fast) == hash(slow)
        assert repr(fast) == repr(slow)
        assert fast + 1 == slow + 1
        assert fast.reverse_pointer == slow.reverse_pointer


def test_none_at_once_is_an_empty_sequence() -> None:
    addresses = Pool("10.0.0.0/24").allocate_many(0)
    assert list(addresses) == []
    assert addresses.packed == b""
    assert addresses.texts() == []


def test_a_count_that_cannot_be_takes_nothing() -> None:
    pool = Pool("fd00::/32")
    before = pool.snapshot()
    for count in (-1, -(2**70), 2**24 + 1, 2**64, 2**90):
        with pytest.raises(OptionInvalid):
            pool.allocate_many(count)
    with pytest.raises(PoolExhausted):
        Pool("10.0.0.0/24").allocate_many(2**70)
    with pytest.raises(TypeError):
        pool.allocate_many("3")  # type: ignore[arg-type]
    assert pool.snapshot() == before


def test_an_address_is_text_an_integer_or_an_object() -> None:
    pool = Pool("10.0.0.0/24")
    for given in ("10.0.0.7", 0x0A000008, IPv4Address("10.0.0.9"), IPv4Interface("10.0.0.10/24")):
        pool.reserve(given)
        assert given in pool
    assert len(pool) == 6
    six = Pool("fd00::/64")
    for given_6 in ("fd00::7", (0xFD << 120) + 8, IPv6Address("fd00::9")):
        six.reserve(given_6)
        assert given_6 in six
    assert len(six) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "10.0.0",
        "10.0.0.256",
        "010.0.0.7",
        " 10.0.0.7",
        "10.0.0.7\n",
        "10.0.0.7/24",
        "fd00::1",
        "::ffff:10.0.0.7",
        "10.0.0.7%eth0",
        "１0.0.0.7",
        "x" * 300,
        -1,
        2**32,
        2**200,
        True,
        None,
        1.5,
        b"\x0a\x00\x00\x07",
        IPv6Address("fd00::1"),
        IPv6Address("::ffff:10.0.0.7"),
        ["10.0.0.7"],
    ],
)
def test_what_is_no_address_of_the_family_is_refused_and_changes_nothing(wrong: Any) -> None:
    pool = Pool("10.0.0.0/24")
    before = pool.snapshot()
    for method in (pool.reserve, pool.release, pool.role):
        with pytest.raises(AddressInvalid) as refused:
            method(wrong)
        assert refused.value.reason
    assert wrong not in pool
    assert pool.snapshot() == before


def test_a_scope_id_is_refused() -> None:
    pool = Pool("fe80::/64")
    for scoped in ("fe80::7%eth0", IPv6Address("fe80::7%eth0")):
        with pytest.raises(AddressInvalid, match="scope id"):
            pool.reserve(scoped)
        assert scoped not in pool


def test_an_address_of_another_subnet_is_outside() -> None:
    pool = Pool("10.0.0.0/24")
    for outside in ("10.0.1.0", "9.255.255.255", "0.0.0.0", "255.255.255.255", 0):
        for method in (pool.reserve, pool.release, pool.role):
            with pytest.raises(AddressOutsideSubnet) as refused:
                method(outside)
            assert refused.value.subnets == ("10.0.0.0/24",)
        assert outside not in pool
    assert len(pool) == 2
