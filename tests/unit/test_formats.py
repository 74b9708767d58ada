"""State files of every format that was released: today's code reads each as it was meant, and goes on with it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

import pytest

from macvfast.model import mac_text
from macvfast.records import FORMAT, MADE, SCHEMA
from tests.unit import stored
from tests.unit.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("hasty")

FORMATS = range(1, FORMAT + 1)


@pytest.fixture(params=FORMATS)
def machine(request: pytest.FixtureRequest, tmp_path: Path, hasty: object) -> Iterator[Machine]:  # noqa: ARG001
    """A machine whose state a version of that format left."""
    stored.load(stored.file_of(request.param), tmp_path)
    made = Machine(tmp_path)
    yield made
    made.host.close()


def schema(statements: str) -> set[tuple[str, str, str]]:
    """Tables and indexes that statements make, as they were written."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(statements)
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
        assert [one.name for one in records.sandboxes("intent = ?", (number,))] == ["half"]


def restart(machine: Machine) -> None:
    """The host is started again: what stood when the file was stored is gone."""
    machine.world.reboot()
    machine.world.give(stored.GIVEN)
    machine.restart()


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
