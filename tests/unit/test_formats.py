"""State files that released formats wrote are read as what was recorded in them.

tests/data/state-FORMAT.sql is what `sqlite3 state.db .dump` shows of one, with its `user_version`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.records import FORMAT, MADE, SCHEMA, Unsettled
from macvfast.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[1] / "data"


def fill(file: Path, format_: int) -> None:
    """Make a state file as that format wrote it."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((DATA / f"state-{format_}.sql").read_text(encoding="utf-8"))
        connection.execute("PRAGMA journal_mode=WAL")


@pytest.fixture(params=range(1, FORMAT + 1))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A state directory of each format that there has been, opened by what stands here."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    fill(directory / "state.db", request.param)
    (directory / "state.db").chmod(0o600)
    opened = Store(str(directory))
    yield opened
    opened.close()


def test_networks_are_what_was_recorded(store: Store) -> None:
    with store.reading() as records:
        lan, later = records.networks()
        assert [(one.link, one.kind, one.base, one.vid) for one in records.made_parents()] == [
            ("eth1.50", "vlan", "eth1", 50)
        ]
    assert (lan.name, lan.driver, lan.mode, lan.link, lan.labels) == (
        "lan", "macvlan", "bridge", "eth0", (("team", "net"),),
    )  # fmt: skip
    four, six = lan.subnets
    assert (four.cidr, four.ranges, str(four.gateway)) == (
        ip_network("172.16.86.0/24"), ("172.16.86.32/28",), "172.16.86.1",
    )  # fmt: skip
    assert [(name, str(address)) for name, address in four.aux] == [("router2", "172.16.86.33")]
    assert (str(six.cidr), str(six.gateway), six.gateway_automatic) == ("2001:db8:86::/64", "2001:db8:86::1", True)
    assert (later.name, later.link) == ("later", "eth1.50")


def test_sandboxes_are_what_was_recorded(store: Store) -> None:
    with store.reading() as records:
        guest, half, web = records.sandboxes()
        assert records.intents() == {4: Unsettled("5dcb59430ea83b52", MADE)}
        assert records.sandbox_intent(half.id) == Unsettled("5dcb59430ea83b52", MADE)
        assert records.sandbox_intent(web.id) is None
    assert (web.path, web.made, web.cookie, web.boot_id) == ("/run/netns/web", True, 3, "boot-1")
    assert (guest.name, guest.path, guest.made) == ("guest", "/run/netns/theirs", False)
    (endpoint,) = web.endpoints
    assert (endpoint.network, endpoint.ifname, endpoint.ifindex) == ("lan", "eth0", 1782320607)
    assert [str(address) for address in endpoint.addresses] == ["172.16.86.32/24", "2001:db8:86::2/64"]
    assert endpoint.mac.hex(":") == "02:42:ac:10:56:20"


def test_what_comes_next_goes_on_from_there(store: Store) -> None:
    """Pools know what is taken, and numbers of intents are not used again."""
    with store.writing() as records:
        lan = records.network("lan")[0]
        assert [row.used for row in records.pools(lan.id)] == [6, 4]
        assert records.begin("somebody", MADE) == 5


def test_the_format_of_today_is_stored_too(tmp_path: Path) -> None:
    """A change of the tables needs another FORMAT, a migration, and a file of the old one."""
    fill(tmp_path / "old.db", FORMAT)
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        for statement in SCHEMA:
            connection.execute(statement)

    def tables(name: str) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            query = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
            return [(table, " ".join(sql.split())) for table, sql in connection.execute(query)]

    assert tables("old.db") == tables("new.db")
