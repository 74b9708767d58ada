"""The contents of the state as values: rows are read and written within one transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from macvfast.state.records import checked
from macvfast.state.records.docker import DockerPoolRow, DockerRecords
from macvfast.state.records.networks import MADE, REMOVED, RESTORED, Unsettled
from macvfast.state.records.pools import Kept, PoolRow, kept_by
from macvfast.state.records.schema import FORMAT, SCHEMA, TABLES, format_of, make_tables, migrate

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "FORMAT",
    "MADE",
    "REMOVED",
    "RESTORED",
    "SCHEMA",
    "DockerPoolRow",
    "Kept",
    "ParentLink",
    "PoolRow",
    "Records",
    "Unsettled",
    "format_of",
    "kept_by",
    "make_tables",
    "migrate",
    "now",
]  # fmt: skip


class ParentLink(NamedTuple):
    """A link on which endpoints were created: a network's parent as it was then."""

    ifindex: int
    mac: bytes


class Records(DockerRecords):
    """The tables within one transaction. Made by `Store`; not to be kept beyond it."""

    # The host.

    def host(self, key: str) -> str | None:
        """A recorded fact about this host."""
        row = self._db.execute("SELECT value FROM host WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_host(self, key: str, value: str) -> None:
        """Record a fact about this host."""
        self._db.execute(
            "INSERT INTO host VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
        )

    def unset_host(self, key: str) -> None:
        """Delete a fact about this host."""
        self._db.execute("DELETE FROM host WHERE key = ?", (key,))

    def record_missing_links(self, sandbox_ids: Iterable[str]) -> None:
        """Record that links of sandboxes are not where they are recorded, so that nobody takes them for deleted."""
        for one in sandbox_ids:
            self.set_host(f"lost {one}", "yes")

    def has_missing_links(self, sandbox_id: str) -> bool:
        """Whether this is recorded for a sandbox."""
        return self.host(f"lost {sandbox_id}") is not None

    def forget_missing_links(self, sandbox_ids: Iterable[str]) -> None:
        """The links no longer exist: delete that record."""
        self._db.executemany("DELETE FROM host WHERE key = ?", [(f"lost {one}",) for one in sandbox_ids])

    def parent_links(self, link: str, boot_id: str) -> list[ParentLink]:
        """The links that endpoints on a network's parent may be on in this boot. The last one is the parent as it was
        when the newest endpoint was created; the others are earlier ones.
        """
        boot, *links = (self.host(f"parent {link}") or "none").split()
        if boot != boot_id:
            return []
        parts = (one.partition("/") for one in links)
        return [ParentLink(int(ifindex), bytes.fromhex(mac)) for ifindex, _, mac in parts]

    def record_parent_link(self, link: str, now: ParentLink, boot_id: str) -> None:
        """Record that endpoints are about to be created on this link."""
        known = self.parent_links(link, boot_id)
        if known[-1:] == [now]:
            return
        before = [one for one in known if one.ifindex != now.ifindex] if self.has_endpoints_on(link) else []
        self._set_parent_links(link, [*before, now], boot_id)

    def forget_parent_link(self, link: str, gone: ParentLink, boot_id: str) -> None:
        """This link no longer exists, and neither do the endpoints' links that were created on it."""
        known = self.parent_links(link, boot_id)
        if gone in known:
            self._set_parent_links(link, [one for one in known if one != gone], boot_id)

    def _set_parent_links(self, link: str, links: Iterable[ParentLink], boot_id: str) -> None:
        shown = (f"{one.ifindex}/{one.mac.hex()}" for one in links)
        self.set_host(f"parent {link}", " ".join([boot_id, *shown]))

    def forget_parent_links(self, link: str) -> None:
        """No network is on the link any more."""
        self.unset_host(f"parent {link}")

    def read_everything(self) -> None:
        """Read and convert all rows.

        Raises:
            ValueError, TypeError, LookupError and the like: a row has contents that macvfast did not write.
        """
        for _ in self.networks():
            pass
        self.read_pools()
        self.own_files([sandbox.id for sandbox in self.sandboxes()])
        self.attachments()
        self.all_held()
        self.all_remembered()
        self.all_noted()
        for pool in self.docker_pools():
            self.docker_addresses(pool.number)
        self.made_parents()
        self.intents()

    def contents(self) -> set[tuple[str, str, tuple[str, ...]]]:
        """All networks and sandboxes: kind, name, and what distinguishes them from others of the same name."""
        return {("network", one.name, (one.id,)) for one in self.networks()} | {
            ("sandbox", one.name, (one.id, *(str(a) for e in one.endpoints for a in e.addresses)))
            for one in self.sandboxes()
        }

    def replace_with(self, schema: str) -> None:
        """Replace the contents of all tables by those of an attached file."""
        for name in reversed(TABLES):
            self._db.execute(f"DELETE FROM main.{name}")
        for name in TABLES:
            self._db.execute(f"INSERT INTO main.{name} SELECT * FROM {schema}.{name}")
        # Intents are numbered from the same number on: settled rows still have theirs.
        self._db.execute("DELETE FROM main.sqlite_sequence")
        self._db.execute(
            f"INSERT INTO main.sqlite_sequence SELECT name, max(seq) FROM {schema}.sqlite_sequence GROUP BY name"
        )

    def tables(self) -> set[str]:
        """The SQL of the tables and indexes."""
        return {sql for (sql,) in self._db.execute("SELECT sql FROM main.sqlite_schema WHERE sql IS NOT NULL")}

    # Intents.

    def begin(self, owner: str, doing: str) -> int:
        """Begin an operation (MADE, REMOVED, RESTORED). Rows with the number that is returned are unsettled until
        `settle`.
        """
        cursor = self._db.execute("INSERT INTO intent VALUES (NULL, ?, ?)", (owner, doing))
        return int(cursor.lastrowid or 0)

    def settle(self, intent: int) -> None:
        """Settle an intent: everything that carries it is complete, or as it was before."""
        self._db.execute("DELETE FROM intent WHERE id = ?", (intent,))

    def delete_unused_intents(self, intents: Iterable[int]) -> None:
        """Delete those of the intents that no row carries any more."""
        for intent in intents:
            self._db.execute(
                "DELETE FROM intent WHERE id = ?1"
                " AND NOT EXISTS (SELECT 1 FROM sandbox WHERE intent = ?1)"
                " AND NOT EXISTS (SELECT 1 FROM endpoint WHERE intent = ?1)"
                " AND NOT EXISTS (SELECT 1 FROM network WHERE intent = ?1)",
                (intent,),
            )

    def intents(self) -> dict[int, Unsettled]:
        """All that is unsettled, by the number of the intent."""
        rows = self._db.execute("SELECT id, owner, doing FROM intent")
        return {id_: Unsettled(checked.token(owner), doing) for id_, owner, doing in rows}


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
