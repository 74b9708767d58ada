"""Networks that share a parent and have the same subnet: they share its pool, and nothing else."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from macvfast.errors import (
    AddressTaken,
    BackupInvalid,
    MacTaken,
    NetworkDiffers,
    PoolExhausted,
    StateCorrupt,
    SubnetTaken,
)
from macvfast.ipam import Pools, Wish
from macvfast.ipam.subnets import DomainSubnets
from macvfast.requests import EndpointRequest, NetworkRequest
from tests.golden import GoldenNetwork, GoldenShared
from tests.unit.fake_kernel import Crash
from tests.unit.machine import Machine

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from macvfast.model import Network

pytestmark = pytest.mark.usefixtures("hasty")

SUBNET = "172.30.0.0/24"


@pytest.fixture
def machine(machine: Machine) -> Machine:
    """A machine without networks."""
    machine.host.remove_networks(["lan", "other"]).raise_if_any()
    return machine


def make(machine: Machine, name: str, **options: Any) -> Network:
    given: dict[str, Any] = {"subnets": [SUBNET], "parent": "eth0", "share_parent": True} | options
    return machine.host.create_network(name, **given)


def address(machine: Machine, network: str, box: str, ip: str | None = None, six: str | None = None) -> str:
    """The address that a new sandbox gets."""
    request = EndpointRequest.of(network, ip=ip, ip6=six)
    made = machine.host.create_sandbox(box, endpoints=[request])
    return str(made.endpoints[0].addresses[0].ip)


def pools(machine: Machine) -> list[tuple[str, str, int]]:
    """Domain, subnet and addresses in use of all pools."""
    with closing(sqlite3.connect(Path(machine.state_dir) / "state.db")) as connection:
        rows = connection.execute("SELECT domain, cidr, used FROM pool ORDER BY domain, cidr")
        return [(domain, cidr, int(used)) for domain, cidr, used in rows]


@pytest.mark.parametrize("what", ["gateway", "aux"])
def test_a_page_in_which_a_kept_address_is_free_is_damage_and_nobody_gets_it(machine: Machine, what: str) -> None:
    make(machine, "a", aux={"printer": "172.30.0.2"})
    machine.host.close()
    with closing(sqlite3.connect(Path(machine.state_dir) / "state.db")) as connection, connection:
        (bits,) = connection.execute("SELECT bits FROM page WHERE level = 0").fetchone()
        first = bits[0] & ~(2 if what == "gateway" else 4)
        connection.execute("UPDATE page SET bits = ? WHERE level = 0", (bytes([first]) + bits[1:],))
        connection.execute("UPDATE pool SET used = '3'")
    machine.host = machine.start()
    with pytest.raises(StateCorrupt, match="damaged"):
        address(machine, "a", "box")
    with pytest.raises(StateCorrupt, match="damaged"):
        make(machine, "b")
    assert [*machine.host.sandboxes()] == []


def test_an_address_is_given_once_whichever_network_gives_it(machine: Machine) -> None:
    make(machine, "a")
    make(machine, "b", order="next")
    given = [address(machine, network, f"box{at}") for at, network in enumerate("abba")]
    assert given == ["172.30.0.2", "172.30.0.3", "172.30.0.4", "172.30.0.5"]
    with pytest.raises(AddressTaken, match="held by sandbox `box1` on network `b`"):
        address(machine, "a", "late", "172.30.0.3")
    assert pools(machine) == [("link:eth0", SUBNET, 3 + 4)]
    machine.assert_record_is_true()
    # `a` gives the lowest that is free, `b` goes on behind its last.
    machine.host.remove_many(["box1"]).raise_if_any()
    assert [address(machine, "b", "again"), address(machine, "a", "more")] == ["172.30.0.6", "172.30.0.3"]


def test_networks_see_in_one_transaction_what_each_takes(machine: Machine) -> None:
    """Two threads' sandboxes are made in one."""
    networks = machine.host.create_networks(
        [NetworkRequest(name=name, subnets=(SUBNET,), parent="eth0", share_parent=True) for name in "ab"]
    )
    with machine.host._store.writing() as records:
        shared = Pools(records)
        first, second = (shared.of(one.value) for one in networks if one.value is not None)
        taken = [pools.take(Wish()) for pools in (first, second, first)]
        first.give_back(taken[0].placed)
        assert second.take(Wish()) == taken[0]
        shared.save()
    assert pools(machine) == [("link:eth0", SUBNET, 3 + 3)]


def test_the_same_subnet_on_another_parent_is_another_pool(machine: Machine) -> None:
    make(machine, "a")
    make(machine, "b", parent="eth1")
    assert [address(machine, "a", "one"), address(machine, "b", "two")] == ["172.30.0.2", "172.30.0.2"]
    assert [domain for domain, _, _ in pools(machine)] == ["link:eth0", "link:eth1"]


def test_a_subnet_that_overlaps_anothers_without_being_the_same_is_refused(machine: Machine) -> None:
    make(machine, "a")
    with pytest.raises(SubnetTaken) as refused:
        make(machine, "b", subnets=["172.30.0.0/25"])
    assert "network `a`" in str(refused.value)


# What networks keep.


def test_what_one_network_keeps_none_gives(machine: Machine) -> None:
    make(machine, "a", gateways=["172.30.0.3"], aux={"nas": "172.30.0.1"})
    make(machine, "b", gateways=None, aux={"nas": "172.30.0.1", "printer": "172.30.0.4"})
    assert [address(machine, "a", "one"), address(machine, "b", "two")] == ["172.30.0.2", "172.30.0.5"]
    for network, ip, said in [
        ("a", "172.30.0.3", "the gateway of 172.30.0.0/24"),
        ("b", "172.30.0.3", "the gateway of network `a`"),
        ("a", "172.30.0.4", "the aux address `printer` of network `b`"),
        ("b", "172.30.0.1", "the aux address `nas` of 172.30.0.0/24"),
        ("b", "172.30.0.255", "the broadcast address of 172.30.0.0/24"),
    ]:
        with pytest.raises(AddressTaken, match=said):
            address(machine, network, "late", ip)
    machine.assert_record_is_true()


@pytest.mark.parametrize("wish", [{"gateways": ["172.30.0.2"]}, {"gateways": None, "aux": {"nas": "172.30.0.2"}}])
def test_no_network_keeps_what_anothers_endpoint_has(machine: Machine, wish: dict[str, Any]) -> None:
    make(machine, "a")
    assert address(machine, "a", "box") == "172.30.0.2"
    before = pools(machine)
    with pytest.raises(AddressTaken, match="held by sandbox `box` on network `a`"):
        make(machine, "b", **wish)
    assert [one.name for one in machine.host.networks()] == ["a"]
    assert pools(machine) == before
    # Of several that are made together, only that one is refused.
    request = NetworkRequest(name="c", subnets=(SUBNET,), parent="eth0", share_parent=True)
    aux = (("nas", "172.30.0.2"),)
    outcomes = machine.host.create_networks([NetworkRequest(
        name="b", subnets=(SUBNET,), gateways=("172.30.0.1",), aux=aux, parent="eth0", share_parent=True
    ), request])  # fmt: skip
    assert [one.ok for one in outcomes] == [False, True]
    with machine.host._store.reading() as records:
        assert not records.intents()


def test_what_a_removed_network_kept_is_free_for_the_others(machine: Machine) -> None:
    make(machine, "a", gateways=["172.30.0.1"], aux={"nas": "172.30.0.2"})
    make(machine, "b", gateways=["172.30.0.1"], aux={"own": "172.30.0.3"})
    assert address(machine, "b", "one") == "172.30.0.4"
    machine.host.remove_networks(["a"]).raise_if_any()
    assert address(machine, "b", "two") == "172.30.0.2"
    assert pools(machine) == [("link:eth0", SUBNET, 2 + 2 + 2)]
    machine.host.remove_many(["one", "two"]).raise_if_any()
    machine.host.remove_networks(["b"]).raise_if_any()
    assert pools(machine) == [], "the pool goes with its last network"


def test_networks_of_one_pool_that_go_together_leave_nothing(machine: Machine) -> None:
    for name in "abc":
        make(machine, name)
    machine.host.remove_networks(["a", "b", "c"]).raise_if_any()
    with closing(sqlite3.connect(Path(machine.state_dir) / "state.db")) as connection:
        for table in ("pool", "page", "subnet"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_an_automatic_gateway_is_that_of_the_network_that_has_the_subnet(machine: Machine) -> None:
    """A LAN has one router: another guess would be wrong for one of them."""
    make(machine, "a", gateways=["172.30.0.254"])
    assert str(make(machine, "b", ip_ranges=["172.30.0.64/26"]).subnets[0].gateway) == "172.30.0.254"


def test_an_automatic_gateway_is_nothing_that_is_in_use(machine: Machine) -> None:
    make(machine, "a", gateways=None, aux={"nas": "172.30.0.1"})
    assert address(machine, "a", "box") == "172.30.0.2"
    assert str(make(machine, "b").subnets[0].gateway) == "172.30.0.3"


def test_an_aux_address_that_is_added_later_is_none_that_anothers_endpoint_has(machine: Machine) -> None:
    make(machine, "a")
    make(machine, "b")
    assert address(machine, "a", "box") == "172.30.0.2"
    with pytest.raises(AddressTaken, match="on network `a`"):
        machine.host.update_network("b", aux={"nas": "172.30.0.2"})
    machine.host.update_network("b", aux={"nas": "172.30.0.3"})
    assert address(machine, "a", "two") == "172.30.0.4"
    machine.host.update_network("b", aux={"nas": None})
    assert address(machine, "a", "three") == "172.30.0.3"


def test_an_automatic_gateway_of_a_network_that_is_there_is_that_of_the_others_on_its_subnet(machine: Machine) -> None:
    """As it would be chosen if the network were made now: it does not differ from what was given by hand."""
    make(machine, "a", gateways=["172.30.0.254"])
    made = make(machine, "b", gateways=["172.30.0.254"])
    asked = NetworkRequest(name="b", subnets=(SUBNET,), parent="eth0", share_parent=True)
    assert machine.host.ensure_network(asked) == made
    machine.host.remove_networks(["a"]).raise_if_any()
    # Its own gateway is no reason for another one; that of nobody else decides.
    with pytest.raises(NetworkDiffers, match=r"172.30.0.254 is recorded, 172.30.0.1 \(automatic\)"):
        machine.host.ensure_network(asked)
    machine.assert_record_is_true()


# The order `next`.


def test_what_is_refused_leaves_no_gap_in_the_order_next(machine: Machine) -> None:
    six = "2001:db8:9::/126"
    make(machine, "a", subnets=[SUBNET, six], gateways=["172.30.0.1"], ip_ranges=["2001:db8:9::1/128"], order="next")
    assert address(machine, "a", "one") == "172.30.0.2"
    for _ in range(2):
        with pytest.raises(PoolExhausted):
            address(machine, "a", "two")
    # Many at once end as one after the other would; also where an address was passed over before.
    outcomes = machine.host.connect_many("a", [
        EndpointRequest.of("a", "two"), EndpointRequest.of("a", "three", ip6="2001:db8:9::2")
    ])  # fmt: skip
    assert [one.ok for one in outcomes] == [False, True]
    assert [str(one.value.addresses[0].ip) for one in outcomes if one.value is not None] == ["172.30.0.3"]
    request = EndpointRequest.of("a", ip6="2001:db8:9::3", mac="02:42:ac:1e:00:02")
    with pytest.raises(MacTaken):
        machine.host.create_sandbox("four", endpoints=[request])
    machine.host.remove_many(["three"]).raise_if_any()
    assert address(machine, "a", "five", six="2001:db8:9::3") == "172.30.0.4"


# Ip-ranges.


def test_an_address_of_another_networks_range_is_no_reason_why_there_is_none(machine: Machine) -> None:
    """Two networks in one transaction: what one passed over, because something has its MAC, the other never gives."""
    a = make(machine, "a", ip_ranges=["172.30.0.16/31"], gateways=["172.30.0.1"])
    b = make(machine, "b", ip_ranges=["172.30.0.18/32"], gateways=["172.30.0.1"])
    address(machine, "b", "b0")

    def clash(packed: bytes) -> MacTaken:
        return MacTaken(packed.hex(), "somebody")

    with machine.host._store.writing() as records:
        pools = Pools(records)
        wish = Wish(clash=clash)
        refusals: list[Exception] = []
        for network in (a, b, a, a):
            with pytest.raises((MacTaken, PoolExhausted)) as caught:
                pools.of(network).take(wish)
            refusals.append(caught.value)
    assert [type(one) for one in refusals] == [MacTaken, PoolExhausted, MacTaken, MacTaken]
    assert len({id(one) for one in refusals}) == 4, "one instance was raised for several endpoints"


def test_each_network_gives_from_its_own_ip_ranges_which_may_meet(machine: Machine) -> None:
    make(machine, "a", ip_ranges=["172.30.0.16/30"], gateways=["172.30.0.1"])
    make(machine, "b", ip_ranges=["172.30.0.18/31"], gateways=["172.30.0.1"])
    assert [address(machine, "b", f"b{at}") for at in range(2)] == ["172.30.0.18", "172.30.0.19"]
    with pytest.raises(PoolExhausted):
        address(machine, "b", "late")
    assert [address(machine, "a", f"a{at}") for at in range(2)] == ["172.30.0.16", "172.30.0.17"]
    with pytest.raises(PoolExhausted):
        address(machine, "a", "late")
    # What the other has given is no reason to say that nothing could ever be given.
    machine.host.remove_many(["b1"]).raise_if_any()
    assert address(machine, "a", "again") == "172.30.0.19"


def test_ipam_show_counts_what_all_networks_of_the_pool_have(machine: Machine) -> None:
    make(machine, "a", aux={"nas": "172.30.0.9"})
    make(machine, "b", ip_ranges=["172.30.0.8/29"], gateways=["172.30.0.254"])
    for at, name in enumerate("aab"):
        address(machine, name, f"box{at}")
    (one,) = machine.host.usage("a")
    assert (one.total.in_use, one.total.gateway, one.total.aux, one.total.reserved) == (3, 2, 1, 2)
    assert (one.total.free, one.automatic_free) == (256 - 8, 256 - 8)
    (other,) = machine.host.usage("b")
    assert (other.automatic_size, other.automatic_free) == (8, 6)


# Reservations.


def reserve(machine: Machine, ip: str, until: str | None = None) -> None:
    """Note that an address is in use without an endpoint, as whoever does so must."""
    with machine.host._store.writing() as records:
        (row,) = records.pools(machine.host.network("a").id)
        since = "2026-01-01T00:00:00+00:00"
        values = (row.pool, ip_address(ip).packed, "quarantine", "02:42:00:00:00:07", since, until)
        shared = Pools(records)
        pool = shared.pool(row)
        records._db.execute("INSERT INTO reservation VALUES (?, ?, ?, ?, ?, ?)", values)
        pool.bits.reserve(ip)
        shared.save()


def test_a_reserved_address_is_taken_and_shown_so(machine: Machine) -> None:
    make(machine, "a")
    make(machine, "b")
    reserve(machine, "172.30.0.2")
    assert address(machine, "b", "box") == "172.30.0.3"
    with pytest.raises(AddressTaken, match="the quarantine of 02:42:00:00:00:07"):
        address(machine, "a", "late", "172.30.0.2")
    (one,) = machine.host.usage("a")
    assert (one.total.in_use, one.total.reserved) == (1, 3)
    assert one.reservations == ((ip_address("172.30.0.2"), "quarantine of 02:42:00:00:00:07"),)
    copy = str(Path(machine.state_dir).parent / "copy.db")
    machine.host.backup_state(copy)
    machine.host.remove_many(["box"]).raise_if_any()
    machine.host.remove_networks(["a", "b"]).raise_if_any()
    with closing(sqlite3.connect(Path(machine.state_dir) / "state.db")) as connection:
        assert connection.execute("SELECT count(*) FROM reservation").fetchone() == (0,), "it goes with its pool"
    machine.host.load_state(copy)
    machine.host.restore()
    assert address(machine, "a", "again") == "172.30.0.4"


def test_a_reservation_that_ends_later_says_when_and_survives_a_backup(machine: Machine) -> None:
    make(machine, "a")
    reserve(machine, "172.30.0.2", "2999-12-31T23:59:59+00:00")
    copy = str(Path(machine.state_dir).parent / "copy.db")
    machine.host.backup_state(copy)
    machine.host.remove_networks(["a"]).raise_if_any()
    machine.host.load_state(copy)
    words = "quarantine of 02:42:00:00:00:07 until 2999-12-31 23:59:59 UTC"
    with pytest.raises(AddressTaken, match=words):
        address(machine, "a", "late", "172.30.0.2")
    (one,) = machine.host.usage("a")
    assert one.reservations == ((ip_address("172.30.0.2"), words),)


@pytest.mark.parametrize("ip", ["172.30.0.2", None])
def test_a_reservation_that_has_ended_is_in_nobodys_way(machine: Machine, ip: str | None) -> None:
    make(machine, "a")
    # Offsets count: this is an hour before its text.
    reserve(machine, "172.30.0.2", "2026-01-02T00:00:00.5+01:00")
    (one,) = machine.host.usage("a")
    assert (one.reservations, one.total.reserved, one.total.free) == ((), 2, 253)
    assert address(machine, "a", "box", ip) == "172.30.0.2"
    machine.assert_record_is_true()
    with closing(sqlite3.connect(Path(machine.state_dir) / "state.db")) as connection:
        assert connection.execute("SELECT count(*) FROM reservation").fetchone() == (0,)


def test_an_address_whose_reservation_has_ended_stays_an_aux_address(machine: Machine) -> None:
    make(machine, "a")
    reserve(machine, "172.30.0.2", "2999-12-31T23:59:59+00:00")
    machine.host.update_network("a", aux={"nas": "172.30.0.2"})
    with closing(sqlite3.connect(Path(machine.state_dir) / "state.db")) as connection:
        connection.execute("UPDATE reservation SET until = '2026-01-02T00:00:00+00:00'")
        connection.commit()
    assert address(machine, "a", "box") == "172.30.0.3"
    machine.host.remove_many(["box"]).raise_if_any()
    machine.assert_record_is_true()
    machine.host.update_network("a", aux={"nas": None})
    assert address(machine, "a", "box") == "172.30.0.2"


def test_a_reservation_without_a_time_that_macvfast_could_have_written_is_damage(machine: Machine) -> None:
    make(machine, "a")
    reserve(machine, "172.30.0.2", "tomorrow")
    copy = str(Path(machine.state_dir).parent / "copy.db")
    with closing(sqlite3.connect(Path(machine.state_dir) / "state.db")) as connection:
        connection.execute("VACUUM INTO ?", (copy,))
    with pytest.raises(BackupInvalid):
        machine.host.load_state(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE subnet SET gateway = '172.29.255.254'", "172.29.255.254 is the gateway and free"),
        ("UPDATE subnet SET gateway = '172.30.1.1'", "172.30.1.1 is the gateway and free"),
        ("UPDATE page SET bits = x'0300' WHERE level = 0", "page 0 of a pool has 2 bytes"),
    ],
    ids=["gateway below", "gateway above", "short page"],
)
def test_pools_that_macvfast_could_not_have_written_are_damage_in_a_copy_and_in_the_state(
    machine: Machine, change: str, said: str
) -> None:
    make(machine, "a")
    copy = Path(machine.state_dir).parent / "copy.db"
    state = Path(machine.state_dir) / "state.db"
    with closing(sqlite3.connect(state)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    for file in (state, copy):
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(change)
    with pytest.raises(StateCorrupt, match=said):
        address(machine, "a", "box")
    machine.restart()
    with pytest.raises(BackupInvalid, match=said):
        machine.host.load_state(str(copy))


# Crashes.


def test_a_process_that_dies_at_any_step_leaves_true_pools(machine: Machine) -> None:
    make(machine, "a", aux={"nas": "172.30.0.9"})
    for at in range(1, 100):
        machine.faults.arm(crash_at=at)
        try:
            make(machine, "b", aux={"printer": "172.30.0.8"})
            address(machine, "b", "box")
            machine.host.remove_many(["box"]).raise_if_any()
            machine.host.remove_networks(["b"]).raise_if_any()
        except Crash:
            machine.restart()
            machine.host.restore()
            machine.mend()
            machine.host.remove_many([box.name for box in machine.host.sandboxes()]).raise_if_any()
            machine.host.remove_networks([n.name for n in machine.host.networks() if n.name == "b"]).raise_if_any()
            machine.assert_record_is_true()
            assert pools(machine) == [("link:eth0", SUBNET, 4)]
        else:
            break
    else:
        raise AssertionError("it never came to its end")
    assert at > 5


# Subnets that overlap.

cidrs = st.tuples(st.integers(0, 255), st.integers(24, 32)).map(
    lambda pair: ip_network((0x0A000000 + pair[0], pair[1]), strict=False)
)


@given(st.lists(cidrs), cidrs)
def test_what_overlaps_a_subnet_is_found_among_those_that_do_not_overlap_each_other(
    some: list[IPv4Network], wanted: IPv4Network
) -> None:
    apart: list[IPv4Network] = []
    there = DomainSubnets()
    for one in some:
        if not any(one.overlaps(other) for other in apart):
            apart.append(one)
            there.add(one)
    for known in (there, DomainSubnets([*apart, ip_network("2001:db8::/32")])):
        found = known.overlapping(wanted)
        assert (found in apart and found.overlaps(wanted)) if any(map(wanted.overlaps, apart)) else found is None


# Against a set.

CIDR = ip_network("10.5.0.0/28")
numbers = st.integers(1, 14)
pairs = st.tuples(numbers, numbers).map(sorted)
names = st.sampled_from("abc")


class Sharing(RuleBasedStateMachine):
    """Up to three networks of one small subnet, while sandboxes come and go on each."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.machine = Machine(self.directory)
        self.golden = GoldenShared(16)
        self.boxes: dict[str, tuple[str, int]] = {}

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.machine.host.close()
            shutil.rmtree(self.directory)

    @rule(
        name=names, ranges=st.lists(pairs, max_size=2), order=st.sampled_from(["lowest", "next"]),
        kept=st.sets(numbers, max_size=2), gateway=st.booleans(),
    )  # fmt: skip
    def create(self, name: str, ranges: list[list[int]], order: str, kept: set[int], gateway: bool) -> None:
        if name in self.golden.networks:
            return
        wanted = [str(CIDR[number]) for number in sorted(kept)]
        request = NetworkRequest(
            name=name, subnets=(str(CIDR),), ip_ranges=tuple(f"{CIDR[low]}-{CIDR[high]}" for low, high in ranges),
            gateways=tuple(wanted[:1]) if gateway else (), gateway_automatic=False,
            aux=tuple((f"x{at}", one) for at, one in enumerate(wanted[1:] if gateway else wanted)),
            parent="eth0", share_parent=True, order=order,
        )  # fmt: skip
        (outcome,) = self.machine.host.create_networks([request])
        if kept & self.golden.held:
            assert isinstance(outcome.error, AddressTaken)
            return
        assert outcome.ok, outcome.error
        places = {n for low, high in ranges for n in range(low, high + 1)} or set(range(16))
        self.golden.networks[name] = GoldenNetwork(places, order, kept)

    @rule(name=names)
    def remove_network(self, name: str) -> None:
        if name not in self.golden.networks:
            return
        (outcome,) = self.machine.host.remove_networks([name])
        assert outcome.ok != any(on == name for on, _ in self.boxes.values())
        if outcome.ok:
            del self.golden.networks[name]

    @rule(name=names, ranges=st.lists(pairs, max_size=2), order=st.sampled_from(["lowest", "next", None]))
    def update(self, name: str, ranges: list[list[int]], order: str | None) -> None:
        network = self.golden.networks.get(name)
        if network is None:
            return
        given = [f"{CIDR[low]}-{CIDR[high]}" for low, high in ranges]
        self.machine.host.update_network(name, ip_ranges=given, order=order)
        network.places = {n for low, high in ranges for n in range(low, high + 1)} or set(range(16))
        if order is not None and order != network.order:
            network.order, network.after_last_given = order, 0

    @rule(name=names, box=st.sampled_from("stuvwxyz"), wanted=st.none() | st.integers(0, 15))
    def connect(self, name: str, box: str, wanted: int | None) -> None:
        if name not in self.golden.networks or box in self.boxes:
            return
        ip = None if wanted is None else str(CIDR[wanted])
        free = self.golden.allocate(name) if wanted is None else wanted if self.golden.take(wanted) else None
        try:
            given = address(self.machine, name, box, ip)
        except (PoolExhausted, AddressTaken):
            assert free is None
        else:
            assert free is not None
            assert given == str(CIDR[free])
            self.boxes[box] = (name, free)

    @rule(box=st.sampled_from("stuvwxyz"))
    def disconnect(self, box: str) -> None:
        if box in self.boxes:
            self.machine.host.remove_many([box]).raise_if_any()
            self.golden.held.discard(self.boxes.pop(box)[1])

    @invariant()
    def the_record_is_true(self) -> None:
        if not hasattr(self, "machine"):
            return
        used = len(self.golden.held | self.golden.kept())
        assert pools(self.machine) == ([("link:eth0", str(CIDR), used)] if self.golden.networks else [])
        for network in self.machine.host.networks():
            (one,) = self.machine.host.usage(network)
            assert 16 - one.total.free == used
            free = self.golden.networks[network.name].places - self.golden.held - self.golden.kept()
            assert one.automatic_free == len(free)


def test_networks_that_share_a_pool_behave_as_one_set() -> None:
    run_state_machine_as_test(Sharing, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
