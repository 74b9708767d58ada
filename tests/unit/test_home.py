"""Whose a state is: one machine changes it, others look at it until they take it over."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import StateBusy, StateForeign
from macvfast.host import Host
from macvfast.outcomes import Adoption
from macvfast.requests import EndpointRequest
from macvfast.system import machine as this_machine
from tests.unit.fake_kernel import FakeKernel, Faults, FaultyStore, World
from tests.unit.machine import Machine, make_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from macvfast.state.records import Records


pytestmark = pytest.mark.usefixtures("hasty")

ON_LAN = [EndpointRequest(network="lan")]


@pytest.fixture
def clone(machine: Machine, tmp_path: Path) -> Iterator[Machine]:
    """Another machine, with a copy of the first one's disk."""
    machine.host.create_network("six", subnets=["2001:db8:9::/64"], parent="eth1.50")
    machine.host.create_sandbox("web", endpoints=ON_LAN)
    machine.host.create_sandbox("six", endpoints=[EndpointRequest(network="six")])
    (tmp_path / "clone").mkdir()
    shutil.copytree(machine.state_dir, tmp_path / "clone/state")
    with closing(sqlite3.connect(tmp_path / "clone/state/state.db")) as connection, connection:
        connection.execute("UPDATE sandbox SET path = replace(path, ?, ?)", (f"{tmp_path}/", f"{tmp_path}/clone/"))
    made = Machine(tmp_path / "clone")
    made.world.boot, made.world.machine = "boot of the clone", "machine-2"
    yield made
    made.host.close()


CHANGES: dict[str, Callable[[Host], object]] = {
    "create": lambda host: host.create_sandbox("new", endpoints=ON_LAN),
    "connect": lambda host: host.connect("other", "web"),
    "connect many": lambda host: host.connect_many("lan", ["new"]),
    "scale": lambda host: host.scale("lan", "w", 2),
    "disconnect": lambda host: host.disconnect("lan", "web"),
    "remove": lambda host: host.remove_many(["web"]),
    "remove by force": lambda host: host.remove_many(["web"], force=True),
    "create a network": lambda host: host.create_network("new", subnets=["10.9.0.0/24"], parent="eth1"),
    "remove a network": lambda host: host.remove_networks(["other"]),
    "restore": lambda host: host.restore(),
    "gc": lambda host: host.gc(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_on_another_machine_nothing_is_changed(clone: Machine, change: str) -> None:
    """Both would give the same addresses and MACs."""
    before = clone.everything()
    with pytest.raises(StateForeign, match=clone.state_dir):
        CHANGES[change](clone.host)
    assert clone.everything() == before


def test_on_another_machine_a_state_can_be_looked_at_and_copied(clone: Machine, tmp_path: Path) -> None:
    assert [box.name for box in clone.host.sandboxes()] == ["six", "web"]
    assert clone.host.usage("lan")
    assert {one.kind for one in clone.host.check()} == {"parent-missing", "namespace-missing", "link-missing"}
    assert clone.host.restore(dry_run=True).steps
    clone.host.backup_state(str(tmp_path / "copy.db"))


def test_a_state_that_is_taken_over_keeps_what_is_recorded_and_makes_other_macs(
    machine: Machine, clone: Machine
) -> None:
    before = clone.addresses()
    assert clone.host.adopt_state() == Adoption(adopted=True, endpoints=2)
    assert clone.host.adopt_state() == Adoption(adopted=False)
    clone.host.restore()
    assert clone.addresses() == before
    assert clone.host.check() == []
    clone.assert_record_is_true()
    macs = set()
    ids = iter(["c" * 64, "c" * 64])
    for one in (machine, clone):
        with pytest.MonkeyPatch.context() as patch:
            # The same network and sandbox, on both.
            patch.setattr("macvfast.engine.choose.new_id", lambda _: next(ids))
            macs.add(one.host.create_sandbox("new", endpoints=[EndpointRequest(network="six")]).endpoints[0].mac)
    assert len(macs) == 2
    # The first goes on with its own copy.
    assert machine.host.check() == []


def test_two_machines_on_one_disk_do_not_change_it_both(machine: Machine, tmp_path: Path) -> None:
    """By a file system of the network, say."""
    (tmp_path / "other").mkdir()
    world = World(tmp_path / "other")
    world.boot, world.machine = "boot of the other", "machine-2"
    with Host(FaultyStore(machine.state_dir, Faults()), FakeKernel(world, Faults()), str(world.pins_dir)) as other:
        # Nothing was changed yet: it is nobody's.
        machine.host.create_sandbox("new")
        with pytest.raises(StateForeign):
            other.create_sandbox("new")
        machine.host.remove_many(["new"]).raise_if_any()
        with machine.host._store.operation():
            machine.host._store.owner()
            with pytest.raises(StateBusy):
                other.adopt_state()
        assert other.adopt_state().adopted
        with pytest.raises(StateForeign):
            machine.host.create_sandbox("newer")
        other.create_sandbox("newer")
        other.remove_many(["newer"]).raise_if_any()
    assert machine.host.adopt_state().adopted
    machine.host.create_sandbox("newest")


def test_a_copy_of_another_machines_state_is_brought_back_and_then_taken_over(machine: Machine, tmp_path: Path) -> None:
    """As on the machine that replaces one that burned down."""
    copy = str(tmp_path / "copy.db")
    machine.host.create_sandbox("web", endpoints=ON_LAN)
    machine.host.backup_state(copy)
    assert not machine.host.load_state(copy, dry_run=True).foreign
    machine.world.reboot()
    assert not machine.host.load_state(copy, dry_run=True).foreign
    machine.world.machine = "machine-2"
    assert machine.host.load_state(copy, dry_run=True).foreign
    assert machine.host.load_state(copy).foreign
    with pytest.raises(StateForeign):
        machine.host.restore()
    machine.host.adopt_state()
    machine.host.restore()
    assert machine.host.check() == []


@pytest.mark.parametrize(("then", "now"), [(None, "machine-1"), ("machine-1", None), (None, None)])
def test_a_machine_without_an_id_is_taken_for_what_it_says_it_is(
    machine: Machine, then: str | None, now: str | None
) -> None:
    """As containers are, and machines on their first boot."""
    with machine.host._store.writing() as records:
        records.unset_host("machine")
    machine.world.machine = then
    machine.host.create_sandbox("web", endpoints=ON_LAN)
    machine.world.machine = now
    machine.world.reboot()
    machine.restart()
    machine.host.restore()
    assert machine.host.check() == []
    assert machine.host.adopt_state() == Adoption(adopted=False)


def test_a_machine_that_gets_its_id_later_in_the_boot_has_the_state_from_then_on(machine: Machine) -> None:
    """So does one whose state an earlier macvfast made: without, a clone of its disk would not be refused."""
    with machine.host._store.writing() as records:
        records.unset_host("machine")
    machine.world.machine = None
    machine.host.create_sandbox("a")
    machine.world.machine = "machine-1"
    machine.host.create_sandbox("b")
    machine.world.boot, machine.world.machine = "boot of a clone", "machine-2"
    with pytest.raises(StateForeign):
        machine.host.create_sandbox("c")


def test_of_two_machines_that_are_first_at_once_one_is_refused(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has found the state nobody's in this boot, and waits to note that it is its own."""
    machine.world.machine = None
    machine.world.reboot()
    machine.restart()
    with machine.host._store.writing() as records:
        records.unset_host("machine")
    machine.world.machine = "machine-1"
    store = machine.host._store
    real = store.writing

    @contextmanager
    def late() -> Iterator[Records]:
        with real() as records:
            records.set_host("boot_id", "boot of the other")
            records.set_host("machine", "machine-2")
        with real() as records:
            yield records

    monkeypatch.setattr(store, "writing", late)
    with pytest.raises(StateForeign):
        machine.host.create_sandbox("a")


def test_an_id_that_is_set_anew_counts_from_the_next_boot_on(machine: Machine) -> None:
    """Within one, the boot id says that it is the same machine."""
    machine.host.create_sandbox("web", endpoints=ON_LAN)
    machine.world.machine = "set anew"
    machine.host.create_sandbox("more", endpoints=ON_LAN)
    machine.world.reboot()
    machine.restart()
    with pytest.raises(StateForeign):
        machine.host.restore()
    machine.host.adopt_state()
    machine.host.restore()
    assert machine.host.check() == []


def test_a_state_in_which_nothing_was_changed_is_nobodys(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.host.adopt_state() == Adoption(adopted=False)
    make_networks(machine)
    machine.host.close()


# The id of a machine.

ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("files", "known"),
    [
        ([ID], True), ([f"{ID}\n"], True), ([None, ID], True), (["", ID], True), (["uninitialized\n", ID], True),
        ([None, None], False), (["uninitialized\n"], False), (["0" * 32], False), ([ID[:31]], False),
        (["é" * 32], False),
    ],
)  # fmt: skip
def test_a_machine_is_known_by_a_hash_of_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str | None], known: bool
) -> None:
    for number, text in enumerate(files):
        if text is not None:
            (tmp_path / str(number)).write_text(text)
    monkeypatch.setattr(this_machine, "_FILES", [tmp_path / str(number) for number in range(len(files))])
    this_machine.machine_id.cache_clear()
    found = this_machine.machine_id()
    this_machine.machine_id.cache_clear()
    # Also in later versions: another hash would be another machine.
    assert found == ("8470d878fe6f70cdfbf43e5c227b5476" if known else None)
