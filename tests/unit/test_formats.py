"""State files of every format that was released: today's code reads each as it was meant, and goes on with it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from ipaddress import ip_address, ip_interface, ip_network
from itertools import count
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import StateNewer, StateUnusable
from macvfast.host import Host
from macvfast.model import mac_text
from macvfast.state.records import FORMAT, MADE, SCHEMA, database
from macvfast.state.store import Store
from tests.unit import stored
from tests.unit.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("hasty")

FORMATS = range(1, FORMAT + 1)


class Stored(Machine):
    """A machine whose state was of an earlier format."""

    def __init__(self, directory: Path, was: int) -> None:
        super().__init__(directory)
        self.was = was


def test_a_copy_is_brought_back_over_a_state_whose_tables_were_made_in_another_order(
    machine: Stored, tmp_path: Path
) -> None:
    """The stored ones were: by their names, as whoever repairs a file by a dump of it makes them."""
    copy = str(tmp_path / "copy.db")
    machine.host.backup_state(copy)
    machine.host.load_state(copy)
    assert [box.name for box in machine.host.sandboxes()] == ["box", "guest"]


@pytest.fixture(params=FORMATS)
def machine(request: pytest.FixtureRequest, tmp_path: Path, hasty: object) -> Iterator[Stored]:  # noqa: ARG001
    """A machine whose state a version of that format left."""
    stored.load(stored.file_of(request.param), tmp_path)
    made = Stored(tmp_path, request.param)
    yield made
    made.host.close()


def schema(statements: str) -> set[tuple[str, str, str]]:
    """Tables and indexes that statements make, as they were written."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(statements)
        return schema_of(connection)


def schema_of(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return set(connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def test_the_format_of_today_is_stored_and_has_the_tables_of_today() -> None:
    """Otherwise a file of this format might be read that has other tables, or none was kept to try it with."""
    file = stored.file_of(FORMAT)
    assert file.exists(), f"format {FORMAT} has no stored file yet: `python -m tests.unit.stored` writes it"
    text = file.read_text(encoding="utf-8")
    assert text.endswith(f"\nPRAGMA user_version={FORMAT};\n")
    assert schema(text) == schema(";\n".join(SCHEMA)), "tables that change need another FORMAT, and a migration"


def test_networks_are_found_as_they_were_recorded(machine: Machine) -> None:
    lan, vlan = machine.host.networks()
    four, six = lan.subnets
    assert (lan.name, lan.driver, lan.mode, lan.parent, lan.link) == ("lan", "macvlan", "bridge", "eth0", "eth0")
    assert (lan.mtu, lan.ipv6, lan.internal, lan.order, lan.labels) == (1400, True, False, "lowest", (("tier", "web"),))
    assert (four.cidr, six.cidr) == (ip_network("172.16.86.0/24"), ip_network("2001:db8:86::/64"))
    assert four.gateway == ip_address("172.16.86.1")
    assert dict(four.aux) == {"printer": ip_address("172.16.86.130")}
    assert dict(six.aux) == {"nas": ip_address("2001:db8:86::9")}
    assert (vlan.name, vlan.mode, vlan.parent, vlan.internal) == ("vlan", "private", "eth1.50", True)
    assert (vlan.order, [one.cidr for one in vlan.subnets]) == ("next", [ip_network("10.0.0.0/8")])
    with machine.host._store.reading() as records:
        (made,) = records.made_parents()
    assert (made.link, made.kind, made.base, made.vid) == ("eth1.50", "vlan", "eth1", 50)


def test_the_layer_2_domain_of_a_network_is_found_as_it_was_recorded(machine: Stored) -> None:
    """Before format 7, that of its parent."""
    lan, vlan = machine.host.networks()
    assert (lan.own_domain, lan.domain) == (None, "link:eth0")
    assert vlan.domain == (stored.DOMAIN if machine.was >= 7 else "link:eth1.50")
    assert {lan.domain, vlan.domain} <= {domain for domain, _ in pools_of(machine)}


def test_what_docker_has_is_found_as_it_was_recorded(machine: Stored) -> None:
    """Before format 7 nothing."""
    found = [
        (pool.domain, str(pool.cidr), [(str(one.address), one.epoch) for one in some])
        for pool, some in machine.host.docker_pools()
    ]
    assert found == ([(stored.DOMAIN, "192.0.2.0/24", [("192.0.2.1", stored.EPOCH)])] if machine.was >= 7 else [])


def pools_of(machine: Machine) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(machine.host._store.path)) as connection:
        return connection.execute("SELECT domain, cidr FROM pool").fetchall()


def test_sandboxes_are_found_as_they_were_recorded(machine: Machine) -> None:
    box, guest = machine.host.sandboxes()
    assert (box.name, box.made, box.command, box.labels) == ("box", True, ("sh", "-c", "ü"), (("a", "b=c"),))
    assert (guest.name, guest.made, guest.path) == ("guest", False, stored.GIVEN)
    assert [(one.network, one.ifname, mac_text(one.mac), one.addresses) for one in box.endpoints] == [
        ("lan", "eth0", "02:42:ac:10:56:80", (ip_interface("172.16.86.128/24"), ip_interface("2001:db8:86::2/64"))),
        ("vlan", "eth1", "02:42:00:00:00:01", (ip_interface("10.0.0.1/8"),)),
    ]
    (endpoint,) = guest.endpoints
    assert endpoint.addresses == (ip_interface("172.16.86.200/24"), ip_interface("2001:db8:86::3/64"))


def test_what_a_process_was_making_is_found_unsettled(machine: Machine) -> None:
    with machine.host._store.reading() as records:
        (number,) = records.intents()
        assert records.intents()[number].doing == MADE
        assert [one.name for one in records.sandboxes(intent=number)] == ["half"]


def restart(machine: Machine) -> None:
    """The host is started again: what stood when the file was stored is gone."""
    machine.world.reboot()
    machine.world.give(stored.GIVEN)
    machine.restart()


def test_the_request_that_an_endpoint_was_made_for_is_found(machine: Stored) -> None:
    """Formats before 4 have none, and one is noted all the same."""
    found = machine.host.made_for(stored.REQUEST)
    assert (None if found is None else found.sandbox) == (None if machine.was < 4 else "guest")
    restart(machine)
    machine.host.restore()
    made = machine.host.connect("vlan", "guest", request_id="f" * 32)
    assert machine.host.made_for("f" * 32) == made
    machine.host.disconnect("vlan", "guest")
    assert machine.host.made_for("f" * 32) is None


def test_after_a_restart_all_is_restored_and_the_half_made_is_gone(machine: Machine) -> None:
    before = machine.addresses()
    restart(machine)
    plan = machine.host.restore()
    assert not plan.failed
    assert not plan.remaining
    # Of IPv4, `lan` has an auxiliary address, and `vlan` no gateway.
    machine.assert_record_is_true()
    assert machine.addresses() == {key: ips for key, ips in before.items() if key[0] != "half"}
    assert machine.host.check() == []


def test_new_endpoints_get_what_nothing_has(machine: Machine) -> None:
    """The pools go on where they were: the addresses of gateway, sandboxes and auxiliaries are not given again."""
    restart(machine)
    machine.host.restore()
    given = [str(machine.host.connect("lan", name, netns=stored.GIVEN).ip) for name in ("n1", "n2")]
    assert given == ["172.16.86.129/24", "172.16.86.131/24"]
    machine.host.create_sandbox("n3")
    assert str(machine.host.connect("vlan", "n3").ip) == "10.0.0.2/8"


def test_which_network_has_the_default_route_is_found_as_it_was_recorded(machine: Stored) -> None:
    """Before format 5, the one that was connected first."""
    box, guest = machine.host.sandboxes()
    assert [one.gw_priority for one in box.endpoints] == [0, stored.GW_PRIORITY if machine.was >= 5 else 0]
    assert [one.gw_priority for one in guest.endpoints] == [0]


def test_what_an_engine_knows_an_endpoint_by_is_found_as_it_was_recorded(machine: Stored) -> None:
    """Before format 6, the name of the sandbox alone said it."""
    known = machine.was >= 6
    assert machine.host.attachments() == ([stored.ATTACHMENT] if known else [])
    found = machine.host.attached(stored.ATTACHMENT)
    assert (found == next(one for one in machine.host.sandboxes() if one.name == "guest")) == known


# Their own files.


def own_files(machine: Machine, name: str) -> Path:
    return machine.host._store.sandbox_dir(machine.host.sandbox(name).id) / "etc"


def test_what_was_asked_for_of_a_sandboxs_files_is_what_they_are_made_from(machine: Stored) -> None:
    with machine.host._store.reading() as records:
        found = list(records.own_files([box.id for box in machine.host.sandboxes()]).values())
    assert found == ([] if machine.was == 1 else [stored.OWN_FILES])
    restart(machine)
    machine.host.restore()
    machine.host._parts.directories.complete(machine.host.sandbox("box"))
    printers = "printer" in (own_files(machine, "box") / "hosts").read_text()
    assert printers == (machine.was > 1)


def test_what_is_in_the_files_of_sandboxes_of_which_nothing_was_recorded_stays(machine: Machine) -> None:
    """They are all that is known of what was asked for."""
    own = own_files(machine, "box")
    own.mkdir(parents=True)
    (own / "hosts").write_text("172.16.86.9\tprinter\n")
    (own.parent / "hostname").write_text("b")
    restart(machine)
    machine.host.restore()
    assert machine.host.check() == []
    machine.host._parts.directories.complete(machine.host.sandbox("box"))
    assert (own / "hosts").read_text() == "172.16.86.9\tprinter\n"
    assert (own.parent / "hostname").read_text() == "b"
    assert (own / "resolv.conf").exists() == os.path.exists("/etc/resolv.conf")


# Migration.


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The state file of the first format, in its directory."""
    stored.load(stored.file_of(1), tmp_path)
    return tmp_path / "state/state.db"


def format_and_tables(file: Path) -> tuple[int, set[tuple[str, str, str]]]:
    with closing(sqlite3.connect(file)) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        return found, schema_of(connection)


def test_a_file_of_an_earlier_format_has_the_tables_of_today_once_it_is_opened(machine: Machine) -> None:
    assert format_and_tables(machine.host._store.path) == (FORMAT, schema(";\n".join(SCHEMA)))


def test_a_look_at_a_file_of_an_earlier_format_leaves_it_as_it_is(old: Path) -> None:
    """Who tries a later macvfast can go back."""
    before = old.read_bytes()
    with Host.open(str(old.parent), make=False) as host:
        assert [box.name for box in host.sandboxes()] == ["box", "guest"]
        with pytest.raises(StateUnusable), host._store.writing() as records:
            records.set_host("key", "value")
        host.backup_state(str(old.parent / "copy"))
        with closing(Store(str(old.parent))):
            # Another process has changed the format meanwhile.
            assert [box.name for box in host.sandboxes()] == ["box", "guest"]
            old.write_bytes(before)
    assert format_and_tables(old.parent / "copy")[0] == FORMAT


DIES_AT = """
import os, signal, sqlite3, sys
from macvfast.state import store
left = int(sys.argv[2])
class Connection(sqlite3.Connection):
    def execute(self, *arguments):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*arguments)
sqlite3.Connection = Connection
store.Store(sys.argv[1])
"""


def test_who_is_killed_while_it_changes_the_format_leaves_the_old_one_or_the_new_one(old: Path) -> None:
    before = old.read_bytes()
    formats = []
    for statement in count(1):
        for path in old.parent.iterdir():
            path.unlink()
        old.touch(mode=0o600)
        old.write_bytes(before)
        died = subprocess.run([sys.executable, "-c", DIES_AT, str(old.parent), str(statement)], check=False)
        formats.append(format_and_tables(old)[0])
        with Host.open(str(old.parent)) as host:
            assert [box.name for box in host.sandboxes()] == ["box", "guest"]
        assert format_and_tables(old) == (FORMAT, schema(";\n".join(SCHEMA)))
        if not died.returncode:
            break
    assert formats == sorted(formats)
    assert formats.count(1) > 5, "it was killed only before it changed anything"
    assert formats[-1] == FORMAT


def test_without_room_on_the_disk_the_format_stays_as_it_is(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old.read_bytes()

    def set_up(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count=1")

    with monkeypatch.context() as full:
        full.setattr(database, "set_up", set_up)
        with pytest.raises(StateUnusable, match="the file system is full"):
            Store(str(old.parent))
    assert old.read_bytes() == before
    with Host.open(str(old.parent)) as host:
        assert [box.name for box in host.sandboxes()] == ["box", "guest"]


def test_a_process_whose_format_is_passed_changes_nothing_any_more(machine: Machine) -> None:
    """Nor does it call the file damaged."""
    store = machine.host._store
    with store.writing() as records:
        records._db.execute(f"PRAGMA user_version={FORMAT + 1}")
    with pytest.raises(StateNewer), store.writing() as records:
        records.set_host("key", "value")
    with pytest.raises(StateNewer):
        machine.host.create_sandbox("new")
    assert machine.host.sandbox("box").name == "box"
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("ALTER TABLE sandbox RENAME TO box")
    with pytest.raises(StateNewer):
        machine.host.sandbox("box")
    with pytest.raises(StateNewer):
        Store(str(store.directory))


@pytest.mark.parametrize("form", FORMATS)
def test_a_copy_of_any_format_is_brought_back(tmp_path: Path, form: int) -> None:
    machine = Machine(tmp_path)
    copy = tmp_path / "copy.db"
    stored.make(stored.file_of(form), copy, tmp_path)
    before = copy.read_bytes()
    assert machine.host.load_state(str(copy), dry_run=True).only_then
    machine.host.load_state(str(copy))
    assert [box.name for box in machine.host.sandboxes()] == ["box", "guest"]
    assert format_and_tables(machine.host._store.path) == (FORMAT, schema(";\n".join(SCHEMA)))
    assert copy.read_bytes() == before
    machine.host.close()
