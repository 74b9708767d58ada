"""What the state holds: its tables, and rows to values and back.

A row with an `intent` is being made or removed by the process whose owner token it carries; it is settled (NULL)
once the kernel agrees with it. Pools are stored as pages of their bitmaps, so that a command reads only those that
it touches.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_network
from typing import TYPE_CHECKING, cast

from macvfast.model import Endpoint, Network, Sandbox, Subnet

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

# PRAGMA user_version of the file that SCHEMA makes.
FORMAT = 1

SCHEMA = (
    # What is known of this host: its boot, its home namespace, the key of its MACs.
    """CREATE TABLE host (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    # The links that macvfast made to be parents.
    """CREATE TABLE made_parent (
        link TEXT PRIMARY KEY, kind TEXT NOT NULL, base TEXT, vid INTEGER,
        ifindex INTEGER NOT NULL, boot_id TEXT NOT NULL, intent TEXT
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE network (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, driver TEXT NOT NULL, mode TEXT NOT NULL, flag TEXT,
        parent TEXT, link TEXT NOT NULL, ipv6 INTEGER NOT NULL, ipv6_ra INTEGER NOT NULL, internal INTEGER NOT NULL,
        mtu INTEGER, share_parent INTEGER NOT NULL, ipam_order TEXT NOT NULL, labels TEXT NOT NULL, options TEXT NOT
        NULL, created_at TEXT NOT NULL, removing INTEGER NOT NULL DEFAULT 0, intent TEXT
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX network_by_link ON network (link)",
    "CREATE INDEX network_unsettled ON network (intent) WHERE intent IS NOT NULL",
    # Counts reach 2^96, past SQLite's integers: text.
    """CREATE TABLE subnet (
        id INTEGER PRIMARY KEY, network_id TEXT NOT NULL REFERENCES network ON DELETE CASCADE, position INTEGER NOT
        NULL, cidr TEXT NOT NULL, ranges TEXT NOT NULL, gateway TEXT, gateway_automatic INTEGER NOT NULL, aux TEXT
        NOT NULL, used TEXT NOT NULL, used_in_ranges TEXT NOT NULL, cursor TEXT NOT NULL,
        UNIQUE (network_id, position)
    ) STRICT""",
    # level 0: the addresses in use, 4,096 to a page; level 1: which pages are full. Number: big-endian bytes.
    """CREATE TABLE page (
        subnet_id INTEGER NOT NULL REFERENCES subnet ON DELETE CASCADE, level INTEGER NOT NULL, number BLOB NOT NULL,
        bits BLOB NOT NULL, PRIMARY KEY (subnet_id, level, number)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE sandbox (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, path TEXT NOT NULL, made INTEGER NOT NULL, cookie INTEGER NOT
        NULL, boot_id TEXT NOT NULL, labels TEXT NOT NULL, command TEXT NOT NULL, created_at TEXT NOT NULL,
        removing INTEGER NOT NULL DEFAULT 0, intent TEXT
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX sandbox_unsettled ON sandbox (intent) WHERE intent IS NOT NULL",
    "CREATE INDEX sandbox_by_cookie ON sandbox (cookie)",
    """CREATE TABLE endpoint (
        id TEXT PRIMARY KEY, network_id TEXT NOT NULL REFERENCES network, sandbox_id TEXT NOT NULL REFERENCES sandbox,
        position INTEGER NOT NULL, ifname TEXT NOT NULL, ifindex INTEGER NOT NULL, link_group INTEGER NOT NULL, mac
        BLOB NOT NULL, ip TEXT, ip6 TEXT, gateway TEXT, gateway6 TEXT, removing INTEGER NOT NULL DEFAULT 0, intent
        TEXT, UNIQUE (sandbox_id, network_id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX endpoint_by_network ON endpoint (network_id)",
    "CREATE INDEX endpoint_by_mac ON endpoint (mac)",
    "CREATE INDEX endpoint_by_ip ON endpoint (ip)",
    "CREATE INDEX endpoint_by_ip6 ON endpoint (ip6)",
    "CREATE INDEX endpoint_unsettled ON endpoint (intent) WHERE intent IS NOT NULL",
)


@dataclass(frozen=True, slots=True)
class MadeParent:
    """A link that macvfast made to be a parent: an 802.1Q sub-interface (`base`, `vid`) or a dummy."""

    link: str
    kind: str
    base: str | None
    vid: int | None
    ifindex: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class PoolRow:
    """The stored counters of one subnet's pool."""

    subnet_id: int
    subnet: Subnet
    used: int
    used_in_ranges: int
    cursor: int


class Records:
    """The tables within one transaction. Made by `Store`; not to be kept beyond it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    # The host.

    def host(self, key: str) -> str | None:
        """A fact about this host."""
        row = self._db.execute("SELECT value FROM host WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_host(self, key: str, value: str) -> None:
        """Note a fact about this host."""
        self._db.execute(
            "INSERT INTO host VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
        )

    # Parents that we made.

    def made_parent(self, link: str) -> MadeParent | None:
        """The record of a link of ours, by its name."""
        row = self._db.execute(
            "SELECT link, kind, base, vid, ifindex, boot_id FROM made_parent WHERE link = ?", (link,)
        ).fetchone()
        return None if row is None else MadeParent(*row)

    def add_made_parent(self, parent: MadeParent, intent: str) -> None:
        """Note, before it is made, a link that we are going to make."""
        self._db.execute(
            "INSERT INTO made_parent VALUES (?, ?, ?, ?, ?, ?, ?)",
            (parent.link, parent.kind, parent.base, parent.vid, parent.ifindex, parent.boot_id, intent),
        )

    def settle_made_parent(self, link: str) -> None:
        """The link exists."""
        self._db.execute("UPDATE made_parent SET intent = NULL WHERE link = ?", (link,))

    def delete_made_parent(self, link: str) -> None:
        """The link is gone, or was never made."""
        self._db.execute("DELETE FROM made_parent WHERE link = ?", (link,))

    # Networks.

    def add_network(self, network: Network, intent: str) -> list[int]:
        """Insert a network with its subnets; gives the subnets' row ids, in their order."""
        self._db.execute(
            "INSERT INTO network VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
            (
                network.id, network.name, network.driver, network.mode, network.flag, network.parent, network.link,
                network.ipv6, network.ipv6_ra, network.internal, network.mtu, network.share_parent, network.order,
                json.dumps(network.labels), json.dumps(network.options), network.created_at.isoformat(), intent,
            ),
        )  # fmt: skip
        ids = []
        for position, subnet in enumerate(network.subnets):
            cursor = self._db.execute(
                "INSERT INTO subnet VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, '0', '0', '0')",
                (
                    network.id, position, str(subnet.cidr), json.dumps(subnet.ranges), _text(subnet.gateway),
                    subnet.gateway_automatic, json.dumps([(name, str(address)) for name, address in subnet.aux]),
                ),
            )  # fmt: skip
            ids.append(cast("int", cursor.lastrowid))
        return ids

    def settle_network(self, network_id: str) -> None:
        """The network is made."""
        self._db.execute("UPDATE network SET intent = NULL WHERE id = ?", (network_id,))

    def begin_network_removal(self, network_id: str, intent: str) -> None:
        """The network is about to go."""
        self._db.execute("UPDATE network SET removing = 1, intent = ? WHERE id = ?", (intent, network_id))

    def delete_network(self, network_id: str) -> None:
        """Forget a network, its subnets and their pages."""
        self._db.execute("DELETE FROM network WHERE id = ?", (network_id,))

    def networks(self, where: str = "TRUE", values: Sequence[object] = ()) -> Iterator[Network]:
        """Networks by name; `where` is one of this package's own conditions."""
        for row in self._db.execute(f"SELECT {_NETWORK} FROM network WHERE {where} ORDER BY name", tuple(values)):
            yield self._network(row)

    def network(self, key: str) -> list[Network]:
        """The network of that id or name, or else all whose id begins with it."""
        if not key.isascii():
            # No id or name is that, and SQLite does not take what is not UTF-8.
            return []
        for condition in ("id = ?", "name = ?"):
            if found := list(self.networks(condition, (key,))):
                return found
        return list(self.networks("id >= ? AND id < ?", (key, key + "g"))) if _is_prefix(key) else []

    def networks_on(self, link: str) -> list[Network]:
        """The networks whose parent is that link."""
        return list(self.networks("link = ?", (link,)))

    def network_intent(self, network_id: str) -> tuple[str, bool] | None:
        """The owner token of an unsettled network, and whether it is being removed."""
        row = self._db.execute("SELECT intent, removing FROM network WHERE id = ?", (network_id,)).fetchone()
        return None if row is None or row[0] is None else (row[0], bool(row[1]))

    def _network(self, row: Sequence[object]) -> Network:
        (
            id_,
            name,
            driver,
            mode,
            flag,
            parent,
            link,
            ipv6,
            ipv6_ra,
            internal,
            mtu,
            share,
            order,
            labels,
            options,
            at,
        ) = row
        subnets = tuple(pool.subnet for pool in self.pools(str(id_)))
        return Network(
            id=str(id_), name=str(name), driver=str(driver), mode=str(mode), flag=cast("str | None", flag),
            parent=cast("str | None", parent), link=str(link), subnets=subnets, ipv6=bool(ipv6), ipv6_ra=bool(ipv6_ra),
            internal=bool(internal), mtu=cast("int | None", mtu), share_parent=bool(share), order=str(order),
            labels=_pairs(str(labels)), options=_pairs(str(options)), created_at=datetime.fromisoformat(str(at)),
        )  # fmt: skip

    # Pools.

    def pools(self, network_id: str) -> list[PoolRow]:
        """The pools of a network, in the order of its subnets."""
        rows = self._db.execute(
            "SELECT id, cidr, ranges, gateway, gateway_automatic, aux, used, used_in_ranges, cursor FROM subnet"
            " WHERE network_id = ? ORDER BY position",
            (network_id,),
        ).fetchall()
        return [
            PoolRow(
                id_,
                Subnet(
                    cidr=ip_network(cidr),
                    ranges=tuple(json.loads(ranges)),
                    gateway=None if gateway is None else ip_address(gateway),
                    gateway_automatic=bool(automatic),
                    aux=tuple((name, ip_address(address)) for name, address in json.loads(aux)),
                ),
                int(used),
                int(in_ranges),
                int(cursor),
            )
            for id_, cidr, ranges, gateway, automatic, aux, used, in_ranges, cursor in rows
        ]

    def page(self, subnet_id: int, number: int) -> bytes | None:
        """The bitmap of one page of addresses; None where all are free."""
        row = self._db.execute(
            "SELECT bits FROM page WHERE subnet_id = ? AND level = 0 AND number = ?", (subnet_id, _page_key(number))
        ).fetchone()
        return None if row is None else bytes(row[0])

    def summary(self, subnet_id: int) -> list[tuple[int, bytes]]:
        """Which pages of a pool are full."""
        rows = self._db.execute("SELECT number, bits FROM page WHERE subnet_id = ? AND level = 1", (subnet_id,))
        return [(int.from_bytes(number, "big"), bytes(bits)) for number, bits in rows]

    def save_pool(
        self,
        subnet_id: int,
        counters: tuple[int, int, int],
        pages: Iterable[tuple[int, bytes | None]],
        summary: Iterable[tuple[int, bytes | None]],
    ) -> None:
        """Store a pool's counters (used, used in ranges, cursor) and its changed pages."""
        self._db.execute(
            "UPDATE subnet SET used = ?, used_in_ranges = ?, cursor = ? WHERE id = ?", (*map(str, counters), subnet_id)
        )
        for level, changed in ((0, pages), (1, summary)):
            for number, bits in changed:
                key = (subnet_id, level, _page_key(number))
                if bits is None:
                    self._db.execute("DELETE FROM page WHERE subnet_id = ? AND level = ? AND number = ?", key)
                else:
                    self._db.execute("INSERT OR REPLACE INTO page VALUES (?, ?, ?, ?)", (*key, bits))

    # Sandboxes.

    def add_sandbox(self, sandbox: Sandbox, intent: str) -> None:
        """Insert a sandbox that is about to be made; its endpoints are inserted by themselves."""
        self._db.execute(
            "INSERT INTO sandbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
            (
                sandbox.id, sandbox.name, sandbox.path, sandbox.made, sandbox.cookie, sandbox.boot_id,
                json.dumps(sandbox.labels), json.dumps(sandbox.command), sandbox.created_at.isoformat(), intent,
            ),
        )  # fmt: skip

    def settle_sandbox(self, sandbox_id: str) -> None:
        """The sandbox and all its endpoints are made."""
        self._db.execute("UPDATE sandbox SET intent = NULL WHERE id = ?", (sandbox_id,))
        self._db.execute("UPDATE endpoint SET intent = NULL WHERE sandbox_id = ? AND removing = 0", (sandbox_id,))

    def begin_sandbox_removal(self, sandbox_id: str, intent: str) -> None:
        """The sandbox is about to go, with all its endpoints."""
        self._db.execute("UPDATE sandbox SET removing = 1, intent = ? WHERE id = ?", (intent, sandbox_id))

    def delete_sandbox(self, sandbox_id: str) -> None:
        """Forget a sandbox and its endpoints; their addresses are released by the caller."""
        self._db.execute("DELETE FROM endpoint WHERE sandbox_id = ?", (sandbox_id,))
        self._db.execute("DELETE FROM sandbox WHERE id = ?", (sandbox_id,))

    def sandboxes(
        self, where: str = "TRUE", values: Sequence[object] = (), *, shown: bool = False
    ) -> Iterator[Sandbox]:
        """Sandboxes by name, with their endpoints (`shown`: without those still being made); `where` is one of this
        package's own conditions on `sandbox`.
        """
        for row in self._db.execute(f"SELECT {_SANDBOX} FROM sandbox WHERE {where} ORDER BY name", tuple(values)):
            id_, name, path, made, cookie, boot_id, labels, command, at = row
            yield Sandbox(
                id=id_, name=name, path=path, made=bool(made), cookie=cookie, boot_id=boot_id, labels=_pairs(labels),
                command=tuple(json.loads(command)), created_at=datetime.fromisoformat(at),
                endpoints=tuple(self.endpoints("sandbox_id = ?", (id_,), shown=shown)),
            )  # fmt: skip

    def sandbox(self, key: str, *, shown: bool = False) -> list[Sandbox]:
        """The sandbox of that id or name, or else all whose id begins with it."""
        if not key.isascii():
            return []
        for condition in ("id = ?", "name = ?"):
            if found := list(self.sandboxes(condition, (key,), shown=shown)):
                return found
        if not _is_prefix(key):
            return []
        return list(self.sandboxes("id >= ? AND id < ?", (key, key + "g"), shown=shown))

    def sandbox_intent(self, sandbox_id: str) -> tuple[str, bool] | None:
        """The owner token of an unsettled sandbox, and whether it is being removed."""
        row = self._db.execute("SELECT intent, removing FROM sandbox WHERE id = ?", (sandbox_id,)).fetchone()
        return None if row is None or row[0] is None else (row[0], bool(row[1]))

    def set_command(self, sandbox_id: str, command: Sequence[str]) -> None:
        """Note the command that is about to be started in a sandbox."""
        self._db.execute("UPDATE sandbox SET command = ? WHERE id = ?", (json.dumps(list(command)), sandbox_id))

    # Endpoints.

    def add_endpoint(self, endpoint: Endpoint, position: int, intent: str) -> None:
        """Insert an endpoint that is about to be made."""
        self._db.execute(
            "INSERT INTO endpoint VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
            (
                endpoint.id, endpoint.network_id, endpoint.sandbox_id, position, endpoint.ifname, endpoint.ifindex,
                endpoint.group, endpoint.mac, _text(endpoint.ip), _text(endpoint.ip6), _text(endpoint.gateway),
                _text(endpoint.gateway6), intent,
            ),
        )  # fmt: skip

    def settle_endpoint(self, endpoint: Endpoint) -> None:
        """The endpoint is made, with the index and MAC that it has by now."""
        self._db.execute(
            "UPDATE endpoint SET intent = NULL, ifindex = ?, mac = ? WHERE id = ?",
            (endpoint.ifindex, endpoint.mac, endpoint.id),
        )

    def set_ifindex(self, endpoint_id: str, ifindex: int) -> None:
        """Note, before it is used, another index for an endpoint that is being made."""
        self._db.execute("UPDATE endpoint SET ifindex = ? WHERE id = ?", (ifindex, endpoint_id))

    def begin_endpoint_removal(self, endpoint_id: str, intent: str) -> None:
        """The endpoint is about to go."""
        self._db.execute("UPDATE endpoint SET removing = 1, intent = ? WHERE id = ?", (intent, endpoint_id))

    def delete_endpoint(self, endpoint_id: str) -> None:
        """Forget an endpoint; its addresses are released by the caller."""
        self._db.execute("DELETE FROM endpoint WHERE id = ?", (endpoint_id,))

    def endpoints(self, where: str, values: Sequence[object] = (), *, shown: bool = False) -> Iterator[Endpoint]:
        """Endpoints by sandbox name, then by the order of connection; `where` is one of this package's own
        conditions. `shown`: without those that are still being made.
        """
        settled = " AND (e.intent IS NULL OR e.removing = 1)" if shown else ""
        rows = self._db.execute(
            f"SELECT {_ENDPOINT} FROM endpoint e"
            " JOIN network n ON n.id = e.network_id JOIN sandbox s ON s.id = e.sandbox_id"
            f" WHERE e.{where}{settled} ORDER BY s.name, e.position",
            tuple(values),
        )
        for row in rows:
            yield _endpoint(row)

    def unsettled_endpoint(self, endpoint_id: str) -> str | None:
        """The owner token of an endpoint that is being made or removed."""
        row = self._db.execute("SELECT intent FROM endpoint WHERE id = ?", (endpoint_id,)).fetchone()
        return None if row is None else row[0]

    def unsettled_endpoints(self, sandbox_id: str) -> list[str]:
        """The owner tokens of a sandbox's endpoints that are being made or removed."""
        rows = self._db.execute("SELECT intent FROM endpoint WHERE sandbox_id = ?", (sandbox_id,))
        return [token for (token,) in rows if token is not None]

    def next_position(self, sandbox_id: str) -> int:
        """The position of the next endpoint of a sandbox: past all it has had since it was last without."""
        row = self._db.execute(
            "SELECT coalesce(max(position) + 1, 0) FROM endpoint WHERE sandbox_id = ?", (sandbox_id,)
        )
        return int(row.fetchone()[0])

    def mac_holder(self, link: str, mac: bytes) -> str | None:
        """The sandbox whose endpoint on that parent has the MAC."""
        row = self._db.execute(
            "SELECT s.name FROM endpoint e JOIN network n ON n.id = e.network_id JOIN sandbox s ON s.id = e.sandbox_id"
            " WHERE e.mac = ? AND n.link = ?",
            (mac, link),
        ).fetchone()
        return None if row is None else str(row[0])

    def address_holder(self, network_id: str, interface: str) -> str | None:
        """The sandbox whose endpoint on that network has the address (with its prefix length)."""
        row = self._db.execute(
            "SELECT s.name FROM endpoint e JOIN sandbox s ON s.id = e.sandbox_id"
            " WHERE e.network_id = ? AND (e.ip = ? OR e.ip6 = ?)",
            (network_id, interface, interface),
        ).fetchone()
        return None if row is None else str(row[0])

    # Intents.

    def intents(self) -> set[str]:
        """The owner tokens of all that is unsettled."""
        return {
            str(row[0])
            for table in ("sandbox", "endpoint", "network")
            for row in self._db.execute(f"SELECT DISTINCT intent FROM {table} WHERE intent IS NOT NULL")
        }


_NETWORK = (
    "id, name, driver, mode, flag, parent, link, ipv6, ipv6_ra, internal, mtu, share_parent, ipam_order,"
    " labels, options, created_at"
)
_SANDBOX = "id, name, path, made, cookie, boot_id, labels, command, created_at"
_ENDPOINT = (
    "e.id, e.network_id, n.name, e.sandbox_id, s.name, e.ifname, e.ifindex, e.link_group, e.mac,"
    " e.ip, e.ip6, e.gateway, e.gateway6"
)


def _endpoint(row: Sequence[object]) -> Endpoint:
    id_, network_id, network, sandbox_id, sandbox, ifname, ifindex, group, mac, ip, ip6, gateway, gateway6 = cast(
        "tuple[str, str, str, str, str, str, int, int, bytes, str | None, str | None, str | None, str | None]",
        tuple(row),
    )
    return Endpoint(
        id=id_, network_id=network_id, network=network, sandbox_id=sandbox_id, sandbox=sandbox,
        ifname=ifname, ifindex=ifindex, group=group, mac=mac,
        ip=None if ip is None else IPv4Interface(ip),
        ip6=None if ip6 is None else IPv6Interface(ip6),
        gateway=None if gateway is None else IPv4Address(gateway),
        gateway6=None if gateway6 is None else IPv6Address(gateway6),
    )  # fmt: skip


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in json.loads(text))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _page_key(number: int) -> bytes:
    """Page numbers reach 2^84 (an IPv6 /32): 11 bytes, which sort as the numbers do."""
    return number.to_bytes(11, "big")


def _is_prefix(key: str) -> bool:
    return 0 < len(key) < 64 and all(c in "0123456789abcdef" for c in key)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
