"""The allocator's promises, as the guide states them, and against its slow, obvious twin."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from macvfast._core import Pool, Source, StoredPool
from macvfast.errors import AddressReserved, AddressTaken, PoolExhausted, SnapshotDamaged
from tests.golden import GoldenPool
from tests.strategies import PoolPlan, ends, plans, subnets

if TYPE_CHECKING:
    from macvfast._core import PoolChanges

small = plans(most_host_bits=8)


def made(plan: PoolPlan) -> Pool:
    return Pool(plan.subnet, **plan.arguments())


def places(plan: PoolPlan) -> set[int]:
    """Positions that automatic allocation may give."""
    whole = [(0, plan.subnet.num_addresses - 1)]
    return {ordinal for first, last in plan.ranges or whole for ordinal in range(first, last + 1)}


def kept(plan: PoolPlan) -> set[int]:
    """Positions that are never given."""
    gateway = set() if plan.gateway is None else {plan.gateway}
    return ends(plan.subnet) | gateway | set(plan.aux.values())


def drain(pool: Pool, plan: PoolPlan) -> list[int]:
    """Every address that the pool gives, one by one, as positions."""
    given_out: list[int] = []
    while True:
        try:
            address = pool.allocate()
        except PoolExhausted:
            return given_out
        given_out.append(int(address) - int(plan.subnet.network_address))


@given(small)
def test_nothing_outside_the_ip_range_is_given_by_itself(plan: PoolPlan) -> None:
    assert set(drain(made(plan), plan)) <= places(plan)


@given(small)
def test_everything_in_the_ip_range_is_given_its_own_first_and_last_included(plan: PoolPlan) -> None:
    given_out = drain(made(plan), plan)
    for first, last in plan.ranges:
        assert {first, last} <= set(given_out) | kept(plan)
    assert set(given_out) == places(plan) - kept(plan)


@given(small)
def test_an_aux_address_the_gateway_and_the_ends_of_the_subnet_are_never_given(plan: PoolPlan) -> None:
    assert not set(drain(made(plan), plan)) & kept(plan)


@given(small)
def test_allocation_begins_at_the_start_of_the_range_and_goes_upward(plan: PoolPlan) -> None:
    given_out = drain(made(plan), plan)
    assert given_out == sorted(given_out)
    assert given_out[:1] == sorted(places(plan) - kept(plan))[:1]


@given(small)
def test_no_address_is_given_twice(plan: PoolPlan) -> None:
    given_out = drain(made(plan), plan)
    assert len(given_out) == len(set(given_out))


@given(small, st.data())
def test_what_is_released_is_given_again(plan: PoolPlan, data: st.DataObject) -> None:
    pool = made(plan)
    given_out = drain(pool, plan)
    assume(given_out)
    back = data.draw(st.lists(st.sampled_from(given_out), unique=True, min_size=1))
    for ordinal in back:
        assert pool.release(plan.address(ordinal))
    assert sorted(drain(pool, plan)) == sorted(back)


@given(small)
def test_a_full_pool_accounts_for_every_address(plan: PoolPlan) -> None:
    pool = made(plan)
    drain(pool, plan)
    assert pool.available == 0
    assert len(pool) + pool.free == pool.size == plan.subnet.num_addresses
    assert len(pool) == len(places(plan) | kept(plan))


@given(small, st.data())
def test_releasing_twice_is_releasing_once(plan: PoolPlan, data: st.DataObject) -> None:
    pool = made(plan)
    given_out = drain(pool, plan)
    assume(given_out)
    address = plan.address(data.draw(st.sampled_from(given_out)))
    assert pool.release(address) is True
    before = pool.snapshot()
    assert pool.release(address) is False
    assert pool.snapshot() == before


@given(small, st.integers(0, 300))
def test_many_at_once_are_those_that_one_by_one_would_be(plan: PoolPlan, count: int) -> None:
    pool, one_by_one = made(plan), made(plan)
    count = min(count, pool.available)
    assert list(pool.allocate_many(count)) == [one_by_one.allocate() for _ in range(count)]
    assert pool.snapshot() == one_by_one.snapshot()


@given(small, st.integers(1, 10))
def test_too_many_at_once_take_nothing(plan: PoolPlan, over: int) -> None:
    pool = made(plan)
    before = pool.snapshot()
    with pytest.raises(PoolExhausted):
        pool.allocate_many(pool.available + over)
    assert pool.snapshot() == before


@given(small, st.integers(0, 100), st.data())
def test_no_altered_or_truncated_snapshot_is_taken(plan: PoolPlan, count: int, data: st.DataObject) -> None:
    pool = made(plan)
    pool.allocate_many(min(count, pool.available))
    whole = pool.snapshot()
    altered = bytearray(whole)
    altered[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(altered), whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\0"):
        with pytest.raises(SnapshotDamaged):
            Pool.from_snapshot(damaged)


@given(st.binary(max_size=200))
def test_no_other_bytes_are_a_snapshot(data: bytes) -> None:
    with pytest.raises(SnapshotDamaged):
        Pool.from_snapshot(data)


@given(st.one_of(subnets(24), st.integers(8, 128).map(lambda length: IPv6Network(("fd00::", length)))))
def test_every_prefix_length_begins_with_its_first_free_address(subnet: IPv4Network | IPv6Network) -> None:
    pool = Pool(subnet)
    first = subnet[1] if subnet.num_addresses > 2 else subnet[0]
    assert pool.subnet == subnet
    assert pool.size == subnet.num_addresses
    assert pool.allocate() == first
    assert first in pool
    assert pool.release(first)


@given(st.data(), st.integers(8, 64))
def test_a_huge_pool_keeps_far_apart_addresses(data: st.DataObject, length: int) -> None:
    subnet = IPv6Network(("fd00::", length))
    far = data.draw(st.lists(st.integers(1, subnet.num_addresses - 1), unique=True, max_size=30))
    pool = Pool(subnet)
    for ordinal in far:
        pool.reserve(subnet[ordinal])
    restored = Pool.from_snapshot(pool.snapshot())
    assert all(subnet[ordinal] in restored for ordinal in far)
    assert len(restored) == len(far) + 1
    given_out = [int(restored.allocate()) - int(subnet[0]) for _ in range(20)]
    assert given_out == [ordinal for ordinal in range(1, 60) if ordinal not in far][:20]
    assert all(pool.release(subnet[ordinal]) for ordinal in far)
    assert len(pool) == 1


class PoolMachine(RuleBasedStateMachine):
    """Random operations on a pool and on a sorted set."""

    pool: Pool
    golden: GoldenPool
    plan: PoolPlan

    @initialize(plan=plans())
    def make(self, plan: PoolPlan) -> None:
        """Begin."""
        self.plan = plan
        self.pool = made(plan)
        self.golden = GoldenPool(plan.subnet, plan.ranges, plan.gateway, plan.aux, plan.order)

    def ordinal(self, part: float) -> int:
        """A position that far into the subnet."""
        return int(part * self.golden.size)

    @rule()
    def allocate(self) -> None:
        """One address."""
        expected = self.golden.allocate_many(1)
        if expected is None:
            with pytest.raises(PoolExhausted):
                self.pool.allocate()
        else:
            assert self.pool.allocate() == self.plan.address(expected[0])

    @rule(count=st.one_of(st.integers(0, 10), st.integers(0, 5000)))
    def allocate_many(self, count: int) -> None:
        """Many addresses, or none."""
        expected = self.golden.allocate_many(count)
        if expected is None:
            with pytest.raises(PoolExhausted):
                self.pool.allocate_many(count)
        else:
            first = int(self.plan.subnet.network_address)
            assert [int(address) - first for address in self.pool.allocate_many(count)] == expected

    @rule(part=st.floats(0, 1, exclude_max=True))
    def reserve(self, part: float) -> None:
        """Any address of the subnet, within the ip-ranges or not."""
        ordinal = self.ordinal(part)
        role = self.golden.roles.get(ordinal)
        if self.golden.reserve(ordinal):
            self.pool.reserve(self.plan.address(ordinal))
            return
        with pytest.raises(AddressTaken) as refused:
            self.pool.reserve(self.plan.address(ordinal))
        said = f"the subnet's {role}" if role else None
        assert refused.value.holder == (said if ordinal in self.golden.used else "somebody else's")

    @rule(part=st.floats(0, 1, exclude_max=True), only_used=st.booleans())
    def release(self, part: float, only_used: bool) -> None:
        """Any address of the subnet, or one that is in use."""
        ordinal = self.ordinal(part)
        if only_used and self.golden.used:
            ordinal = sorted(self.golden.used)[int(part * len(self.golden.used))]
        role = self.golden.roles.get(ordinal)
        if role is None:
            assert self.pool.release(self.plan.address(ordinal)) is self.golden.release(ordinal)
            return
        with pytest.raises(AddressReserved) as refused:
            self.pool.release(self.plan.address(ordinal))
        assert refused.value.role == role == self.pool.role(self.plan.address(ordinal))

    @rule(parts=st.lists(st.floats(0, 1, exclude_max=True), max_size=3), first=st.integers(0, 3))
    def avoid(self, parts: list[float], first: int) -> None:
        """Pass over the first addresses and some others, in use or not, whatever was passed over before."""
        self.golden.avoided = {*range(min(first, self.golden.size)), *map(self.ordinal, parts)}
        # What is outside of the subnet does not matter.
        outside = "192.0.2.1" if self.plan.subnet.version == 4 else "2001:db8::1"
        self.pool.avoid([outside, *map(self.plan.address, self.golden.avoided)])

    @rule()
    def snapshot_and_restore(self) -> None:
        """Nothing is changed by going through bytes."""
        data = self.pool.snapshot()
        self.pool = Pool.from_snapshot(data)
        assert self.pool.snapshot() == data
        self.golden.avoided.clear()

    @invariant()
    def is_as_the_twin(self) -> None:
        """Counts fit."""
        assert len(self.pool) == len(self.golden.used)
        assert len(self.pool) + self.pool.free == self.pool.size
        assert self.pool.available == len(self.golden.free_places())

    def teardown(self) -> None:
        """At the end, compare address by address."""
        if hasattr(self, "pool"):
            in_use = {ordinal for ordinal in range(self.golden.size) if self.plan.address(ordinal) in self.pool}
            assert in_use == self.golden.used


TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


class FakeStore:
    """The pages of a pool as a database would keep them."""

    def __init__(self) -> None:
        self.pages: dict[int, bytes] = {}
        self.summary: dict[int, bytes] = {}
        self.used: int | None = None
        self.fetched: list[int] = []

    def keep(self, changes: PoolChanges) -> None:
        """Store what differs."""
        for kept_pages, changed in ((self.pages, changes.pages), (self.summary, changes.summary)):
            for number, data in changed:
                if data is None:
                    kept_pages.pop(number, None)
                else:
                    kept_pages[number] = data
        self.used = changes.used

    def fetch(self, number: int) -> bytes | None:
        """One page, as a pool asks for it."""
        self.fetched.append(number)
        return self.pages.get(number)

    def load(self, subnet: IPv4Network) -> StoredPool:
        """The pool, none of its pages read."""
        return StoredPool(subnet, used=self.used, summary=self.summary.items(), fetch=self.fetch)


def test_a_stored_pool_reads_the_pages_it_touches_and_no_other() -> None:
    subnet = IPv4Network("10.0.0.0/8")
    store = FakeStore()
    pool = store.load(subnet)
    source = Source(subnet, ip_range=None, order="lowest", begin=0, avoid=())
    for _ in range(100_000):
        pool.allocate(source)
    store.keep(pool.changes())
    assert len(store.pages) == 100_000 // 4096 + 2, "with the page of the broadcast address"
    assert store.fetched == [], "nothing was stored before"
    loaded = store.load(subnet)
    fresh = Source(subnet, ip_range=None, order="lowest", begin=0, avoid=())
    assert loaded.free == 2**24 - 100_002
    assert loaded.allocate(fresh) == IPv4Address("10.1.134.161")
    assert IPv4Address("10.0.50.1") in loaded
    assert loaded.release("10.0.50.1")
    assert loaded.allocate(fresh) == IPv4Address("10.0.50.1")
    assert store.fetched == [100_000 // 4096], "a full page is known from the summary alone"
    assert [number for number, _ in loaded.changes().pages] == [3, 100_000 // 4096]
