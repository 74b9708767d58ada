"""Rows of what container engines know an endpoint by: attachments, and the requests that endpoints were made for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from macvfast import model
from macvfast.state.records import checked
from macvfast.state.records.networks import REMOVED, Unsettled, unused_key
from macvfast.state.records.sandboxes import ATTACHMENT, THE_ENDPOINT, SandboxRecords

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from macvfast.model import Attachment, Endpoint, HeldAddresses, Network, Remembered, Sandbox

_THE_ATTACHMENT = "conf = ? AND container = ? AND ifname = ? AND origin = ?"
_ADDED = (
    "INSERT INTO attachment (conf, container, ifname, origin, owner, sandbox, network, ip, ip6, boot_id)"
    " VALUES (?, ?, ?, ?, ?, {})"
)
# The key of the note for which request an attachment has addresses without a sandbox.
_NOTE = "'held ' || number"
_HELD = f"SELECT {ATTACHMENT}, network, ip, ip6, boot_id FROM attachment WHERE network IS NOT NULL AND {{}}"
_REMEMBERED = "container, owner, mac, ip, ip6"
# The networks that have a pool with one; an address in two of them is of that pool.
_BESIDE = (
    "SELECT b.network FROM network n JOIN subnet a ON a.network = n.number JOIN subnet b ON b.pool = a.pool"
    " WHERE n.id = ?"
)
# What is remembered of a network, at the most; then what was remembered first is forgotten.
_REMEMBERED_MAX = 1024


class EngineRecords(SandboxRecords):
    """The tables attachment, remembered and request."""

    # Attachments.

    def add_attachment(self, attachment: Attachment, sandbox_id: str) -> None:
        """Insert the attachment that a new sandbox stands for; it goes with the sandbox."""
        statement = _ADDED.format("(SELECT number FROM sandbox WHERE id = ?), NULL, NULL, NULL, NULL")
        self._db.execute(statement, (*_key(attachment), attachment.owner, sandbox_id))

    def attached_sandbox(self, attachment: Attachment) -> Sandbox | None:
        """The sandbox that stands for an attachment, settled or not."""
        return next(self._where("number = ?", (self._standing_for(attachment),)), None)

    def attached_id(self, attachment: Attachment) -> str | None:
        """The id of that sandbox."""
        number = self._standing_for(attachment)
        row = self._db.execute("SELECT id FROM sandbox WHERE number = ?", (number,)).fetchone()
        return None if row is None else str(row[0])

    def _standing_for(self, attachment: Attachment) -> int | None:
        """The number of that sandbox."""
        of_row = f"SELECT sandbox FROM attachment WHERE {_THE_ATTACHMENT}"
        row = self._db.execute(of_row, _key(attachment)).fetchone()
        if row is None or row[0] is None:
            # Before format 6, its name alone said what it stands for.
            named = (attachment.sandbox, attachment.origin)
            row = self._db.execute("SELECT number FROM sandbox WHERE name = ? AND origin = ?", named).fetchone()
        return None if row is None else int(row[0])

    def leaving(self, network_id: str, address: bytes | None, mac: bytes | None) -> set[int]:
        """The intents of removals of endpoints that share the parent or a pool with a network's; `address`, `mac`: of
        those that have it.
        """
        rows = self._db.execute(
            "WITH going (intent, endpoint) AS ("
            "SELECT i.id, e.number FROM intent i JOIN endpoint e ON e.intent = i.id WHERE i.doing = ?4 UNION"
            " SELECT i.id, e.number FROM intent i JOIN sandbox s ON s.intent = i.id JOIN endpoint e"
            " ON e.sandbox = s.number WHERE i.doing = ?4),"
            " near (number) AS ("
            "SELECT o.number FROM network n JOIN network o ON o.link = n.link WHERE n.id = ?1 UNION"
            " SELECT o.network FROM network n JOIN subnet t ON t.network = n.number JOIN subnet o ON o.pool = t.pool"
            " WHERE n.id = ?1)"
            " SELECT g.intent FROM going g JOIN endpoint e ON e.number = g.endpoint WHERE e.network IN near"
            " AND (?2 IS NULL OR e.ip = ?2 OR e.ip6 = ?2) AND (?3 IS NULL OR e.mac = ?3)",
            (network_id, address, mac, REMOVED),
        )
        return {int(intent) for (intent,) in rows}

    def attached_before(self, boot_id: str) -> list[Sandbox]:
        """The sandboxes that have stood for attachments since another boot."""
        return list(self._where("origin IS NOT NULL AND NOT made AND boot_id != ?", (boot_id,)))

    def attached_macs(self, boot_id: str) -> list[tuple[int, str, bytes]]:
        """The parent and the MAC of each endpoint with one of its own, of the sandboxes that stand for attachments in
        a boot, by their numbers.
        """
        return self._db.execute(
            "SELECT s.number, n.link, e.mac FROM sandbox s JOIN endpoint e ON e.sandbox = s.number"
            " JOIN network n ON n.number = e.network WHERE s.origin IS NOT NULL AND NOT s.made AND s.boot_id = ?"
            " AND n.driver = 'macvlan' AND n.mode != 'passthru' AND n.link != 'lo'",
            (boot_id,),
        ).fetchall()

    def attachments(self, conf: str | None = None) -> list[Attachment]:
        """All attachments, or those of a configuration, sorted."""
        rows = self._db.execute(
            f"SELECT {ATTACHMENT} FROM attachment WHERE ?1 IS NULL OR conf = ?1 ORDER BY conf, container, ifname",
            (conf,),
        )
        return [model.Attachment(*row) for row in rows]

    def hold(self, held: HeldAddresses) -> None:
        """Insert an attachment that has addresses and no sandbox."""
        statement = _ADDED.format("NULL, (SELECT number FROM network WHERE id = ?), ?, ?, ?")
        given = (held.network_id, held.packed, held.packed6, held.boot_id)
        self._db.execute(statement, (*_key(held.attachment), held.attachment.owner, *given))

    def held(self, attachment: Attachment) -> HeldAddresses | None:
        """The addresses that an attachment has without a sandbox."""
        return next(self._held(_THE_ATTACHMENT, _key(attachment)), None)

    def held_on(self, network_id: str) -> list[HeldAddresses]:
        """The addresses of a network that attachments have without a sandbox, by attachment."""
        of_network = "network = (SELECT number FROM network WHERE id = ?) ORDER BY conf, container, ifname"
        return list(self._held(of_network, (network_id,)))

    def held_in(self, pool: int) -> dict[bytes, Attachment]:
        """What has addresses of a pool without a sandbox, by these."""
        of_pool = "network IN (SELECT network FROM subnet WHERE pool = ?)"
        both = (
            (packed, one.attachment) for one in self._held(of_pool, (pool,)) for packed in (one.packed, one.packed6)
        )
        return {packed: attachment for packed, attachment in both if packed is not None}

    def held_before(self, boot_id: str) -> list[HeldAddresses]:
        """Those that were given in other boots than this."""
        return list(self._held("boot_id != ? ORDER BY conf, container, ifname", (boot_id,)))

    def all_held(self) -> list[HeldAddresses]:
        """Those of all networks."""
        return list(self._held("TRUE ORDER BY conf, container, ifname", ()))

    def _held(self, where: str, values: Sequence[object]) -> Iterator[HeldAddresses]:
        for *key, number, ip, ip6, boot_id in self._db.execute(_HELD.format(where), tuple(values)):
            network = self.network_by_number(number)
            yield model.HeldAddresses(
                attachment=model.Attachment(*key), network_id=network.id, network=network.name, boot_id=boot_id,
                packed=ip, packed6=ip6, subnet=network.subnet_of(ip), subnet6=network.subnet_of(ip6),
            )  # fmt: skip

    def note_unused(self, networks: Iterable[Network], now: datetime) -> None:
        """Note since when networks of engines are unused: those of these on which nobody is by now."""
        for network in networks:
            if network.origin is not None:
                self._db.execute(
                    "INSERT INTO host SELECT ?1, ?2 FROM network n WHERE n.id = ?3"
                    " AND NOT EXISTS (SELECT 1 FROM endpoint WHERE network = n.number)"
                    " AND NOT EXISTS (SELECT 1 FROM attachment WHERE network = n.number)"
                    " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    (unused_key(network.id), now.isoformat(), network.id),
                )

    def unused_since(self, network: Network) -> datetime:
        """Since when nobody is on a network that is unused; of a person's, since it was made."""
        row = self._db.execute("SELECT value FROM host WHERE key = ?", (unused_key(network.id),)).fetchone()
        return network.created_at if row is None else checked.moment(row[0])

    def let_go(self, held: Iterable[HeldAddresses]) -> None:
        """Forget what attachments have without a sandbox; the caller releases their addresses."""
        keys = [_key(one.attachment) for one in held]
        noted = f"SELECT {_NOTE} FROM attachment WHERE {_THE_ATTACHMENT}"
        self._db.executemany(f"DELETE FROM host WHERE key IN ({noted})", keys)
        self._db.executemany(f"DELETE FROM attachment WHERE network IS NOT NULL AND {_THE_ATTACHMENT}", keys)

    # What is remembered.

    def remember(self, attachment: Attachment, endpoint: Endpoint) -> None:
        """Remember what an attachment has, in the place of what is remembered of it already."""
        values = (attachment.container, attachment.owner, endpoint.mac, endpoint.packed, endpoint.packed6)
        self._db.execute(
            f"INSERT OR REPLACE INTO remembered (network, {_REMEMBERED}) SELECT number, ?, ?, ?, ?, ?"
            " FROM network WHERE id = ?",
            (*values, endpoint.network_id),
        )
        of_network = "network = (SELECT number FROM network WHERE id = ?1)"
        self._db.execute(
            f"DELETE FROM remembered WHERE {of_network} AND number <= (SELECT number FROM remembered"
            f" WHERE {of_network} ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            (endpoint.network_id, _REMEMBERED_MAX),
        )

    def remembers(self) -> bool:
        """Whether anything is remembered at all."""
        return self._db.execute("SELECT 1 FROM remembered LIMIT 1").fetchone() is not None

    def remembered(self, attachment: Attachment, network_id: str) -> Remembered | None:
        """What is remembered of an attachment in a network: by its container, or else by the name of that."""
        row = self._db.execute(
            f"SELECT {_REMEMBERED} FROM remembered WHERE network = (SELECT number FROM network WHERE id = ?3)"
            " AND (container = ?1 OR owner = ?2 AND owner != '') ORDER BY container = ?1 DESC, number DESC LIMIT 1",
            (attachment.container, attachment.owner, network_id),
        ).fetchone()
        return None if row is None else checked.remembered(model.Remembered(*row))

    def remembered_in(self, pool: int) -> list[Remembered]:
        """What is remembered in the networks of a pool, oldest first. They are not looked up where nothing is."""
        if not self.remembers():
            return []
        rows = self._db.execute(
            f"SELECT {_REMEMBERED} FROM remembered WHERE network IN (SELECT network FROM subnet WHERE pool = ?)"
            " ORDER BY number",
            (pool,),
        )
        return [checked.remembered(model.Remembered(*row)) for row in rows]

    def all_remembered(self) -> list[Remembered]:
        """What is remembered in all networks, oldest first."""
        rows = self._db.execute(f"SELECT {_REMEMBERED} FROM remembered ORDER BY number")
        return [checked.remembered(model.Remembered(*row)) for row in rows]

    def forget_given(self, endpoint: Endpoint, attachment: Attachment | None) -> None:
        """Forget what is remembered of a container that has an endpoint of the network again, and that others had its
        addresses; what else they had stays.
        """
        if attachment is not None and attachment.is_remembered:
            self._db.execute(
                "DELETE FROM remembered WHERE network = (SELECT number FROM network WHERE id = ?) AND container = ?",
                (endpoint.network_id, attachment.container),
            )
        for column, other, packed in (("ip", "ip6", endpoint.packed), ("ip6", "ip", endpoint.packed6)):
            if packed is not None:
                whose = f"{column} = ? AND network IN ({_BESIDE})"
                given = (packed, endpoint.network_id)
                self._db.execute(f"DELETE FROM remembered WHERE {other} IS NULL AND {whose}", given)
                self._db.execute(f"UPDATE remembered SET {column} = NULL WHERE {whose}", given)

    # Requests.

    def note_held_for(self, request_id: str, attachment: Attachment) -> None:
        """Note the request that addresses without a sandbox are held for."""
        noted = f"SELECT {_NOTE}, ? FROM attachment WHERE {_THE_ATTACHMENT}"
        self._db.execute(f"INSERT OR REPLACE INTO host {noted}", (request_id, *_key(attachment)))

    def take_held_for(self, request_id: str) -> HeldAddresses | None:
        """The addresses that are held for a request; the next one with its id does not find them."""
        found = next(self._held(f"{_NOTE} IN (SELECT key FROM host WHERE value = ?)", (request_id,)), None)
        if found is not None:
            self._db.execute("DELETE FROM host WHERE key LIKE 'held %' AND value = ?", (request_id,))
        return found

    def note_request(self, request_id: str, endpoint: Endpoint) -> None:
        """Note the request that an endpoint is made for."""
        self._db.execute(
            f"INSERT OR REPLACE INTO request SELECT number, ?, 0 FROM endpoint WHERE {THE_ENDPOINT}",
            (request_id, endpoint.sandbox_id, endpoint.position),
        )

    def known_requests(self, ids: Collection[str]) -> set[str]:
        """Those of these ids that are recorded with an endpoint, settled or not."""
        given = (json.dumps([*ids]),)
        return {
            id_
            for (id_,) in self._db.execute("SELECT id FROM request WHERE id IN (SELECT value FROM json_each(?))", given)
        }

    def made_for(self, request_id: str) -> Endpoint | None:
        """The settled endpoint that was made for a request."""
        settled = "NOT EXISTS (SELECT 1 FROM intent i WHERE i.id IN (e.intent, s.intent))"
        of_request = "e.number = (SELECT endpoint FROM request WHERE id = ?)"
        return next(self._endpoints(f"{of_request} AND {settled}", (request_id,)), None)

    def request_intent(self, request_id: str) -> Unsettled | None:
        """Who makes, removes or restores what a request asked for, while that is unsettled."""
        row = self._db.execute(
            "SELECT i.owner, i.doing FROM request r JOIN endpoint e ON e.number = r.endpoint"
            " JOIN sandbox s ON s.number = e.sandbox JOIN intent i ON i.id IN (e.intent, s.intent) WHERE r.id = ?",
            (request_id,),
        ).fetchone()
        return None if row is None else Unsettled(*row)

    def note_answered_again(self, request_id: str) -> None:
        """Note that a repeated request is answered with its endpoint."""
        self._db.execute("UPDATE request SET again = 1 WHERE id = ?", (request_id,))

    def forget_request(self, request_id: str) -> bool:
        """Have its endpoint no longer found by a request, unless one that was repeated was answered with it. Returns
        whether this is done.
        """
        return self._db.execute("DELETE FROM request WHERE id = ? AND NOT again", (request_id,)).rowcount > 0


def _key(attachment: Attachment) -> tuple[str, str, str, str]:
    return attachment.conf, attachment.container, attachment.ifname, attachment.origin
