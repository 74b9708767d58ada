"""Rows of networks, of the parents made for them, and of their pools."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple, cast

from macvfast.model import Endpoint, MadeParent, Network, Subnet, natural
from macvfast.state.records import sound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

# What a row says that is settled, or is being removed and so still there: not what is only being made.
SHOWN = "NOT EXISTS (SELECT 1 FROM intent i WHERE i.id = {}.intent AND i.doing = 'made')"

_NETWORK = (
    "number, id, name, driver, mode, flag, parent, link, ipv6, ipv6_ra, internal, mtu, share_parent, ipam_order,"
    " labels, options, created_at"
)


# What the column `ipv6_ra` says: 1, as the rest of the network has it.
_WISHES = {False: 0, None: 1, True: 2}
_WISHED = {number: wish for wish, number in _WISHES.items()}

# What an operation is about to do with the rows that carry its intent.
MADE, REMOVED, RESTORED = "made", "removed", "restored"


class Unsettled(NamedTuple):
    """Whose intent a row carries: the owner's token, and what is being done: MADE, REMOVED or RESTORED."""

    owner: str
    doing: str


@dataclass(frozen=True, slots=True)
class PoolRow:
    """The stored counters of one subnet's pool."""

    subnet_id: int
    subnet: Subnet
    used: int
    used_in_ranges: int
    cursor: int


class NetworkRecords:
    """The tables network, made_parent, subnet and page."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        # Read once in a transaction: endpoints speak of few networks.
        self._by_number: dict[int, Network] = {}
        self._by_id: dict[str, Network] = {}

    # Parents that we made.

    def made_parent(self, link: str) -> MadeParent | None:
        """The record of a link of ours, by its name."""
        return next(iter(self.made_parents("link = ?", (link,))), None)

    def made_parents(self, where: str = "TRUE", values: Sequence[object] = ()) -> list[MadeParent]:
        """The records of links of ours, by name; `where` is one of this package's own conditions."""
        rows = self._db.execute(
            f"SELECT link, kind, base, vid, ifindex, boot_id FROM made_parent WHERE {where} ORDER BY link",
            tuple(values),
        )
        return [MadeParent(sound.link(link), *rest) for link, *rest in rows]

    def add_made_parent(self, parent: MadeParent, intent: int) -> None:
        """Note, before it is made, a link that we are going to make."""
        self._db.execute(
            "INSERT INTO made_parent VALUES (?, ?, ?, ?, ?, ?, ?)",
            (parent.link, parent.kind, parent.base, parent.vid, parent.ifindex, parent.boot_id, intent),
        )

    def made_parent_intent(self, link: str) -> Unsettled | None:
        """Who makes an unsettled parent of ours, for the first time or again."""
        row = self._db.execute(
            "SELECT i.owner, i.doing FROM made_parent m JOIN intent i ON i.id = m.intent WHERE m.link = ?", (link,)
        ).fetchone()
        return None if row is None else Unsettled(*row)

    def stacked(self) -> dict[str, str]:
        """Those links of ours that stand on another of ours, with that."""
        rows = self._db.execute("SELECT link, base FROM made_parent WHERE base IN (SELECT link FROM made_parent)")
        return dict(rows.fetchall())

    def begin_parent_removal(self, link: str, intent: int) -> None:
        """A link of ours on which there is no network is about to go, if nothing stands on it then."""
        self._db.execute("UPDATE made_parent SET intent = ? WHERE link = ?", (intent, link))

    def delete_made_parent(self, link: str) -> None:
        """The link is gone, or was never made."""
        self._db.execute("DELETE FROM made_parent WHERE link = ?", (link,))

    # Networks.

    def add_network(self, network: Network, intent: int | None) -> list[int]:
        """Insert a network with its subnets; gives the numbers of their pools, in their order."""
        number = self._db.execute(
            "INSERT INTO network VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                network.id, network.name, network.driver, network.mode, network.flag, network.parent, network.link,
                network.ipv6, _WISHES[network.ipv6_ra], network.internal, network.mtu, network.share_parent,
                network.order, json.dumps(network.labels), json.dumps(network.options),
                network.created_at.isoformat(), intent,
            ),
        ).lastrowid  # fmt: skip
        ids = []
        for position, subnet in enumerate(network.subnets):
            pool = self._db.execute(
                "INSERT INTO pool VALUES (NULL, ?, ?, '0')", (f"link:{network.link}", str(subnet.cidr))
            ).lastrowid
            ids.append(cast("int", pool))
            self._db.execute(
                "INSERT INTO subnet VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, '0', '0')",
                (
                    number, position, pool, json.dumps(subnet.ranges), _text(subnet.gateway),
                    subnet.gateway_automatic, _aux(subnet),
                ),
            )  # fmt: skip
        return ids

    def update_network(self, network: Network) -> None:
        """Store what of a network may change while it is in use: its subnets are those that it has."""
        self._by_number.clear()
        self._by_id.clear()
        self._db.execute(
            "UPDATE network SET share_parent = ?, ipam_order = ?, labels = ?, options = ? WHERE id = ?",
            (
                network.share_parent, network.order, json.dumps(network.labels), json.dumps(network.options),
                network.id,
            ),
        )  # fmt: skip
        self._db.executemany(
            "UPDATE subnet SET ranges = ?, aux = ? WHERE position = ?"
            " AND network = (SELECT number FROM network WHERE id = ?)",
            [
                (json.dumps(subnet.ranges), _aux(subnet), position, network.id)
                for position, subnet in enumerate(network.subnets)
            ],
        )

    def begin_network_removal(self, network_id: str, intent: int) -> None:
        """The network is about to go."""
        self._db.execute("UPDATE network SET intent = ? WHERE id = ?", (intent, network_id))

    def delete_network(self, network_id: str) -> None:
        """Forget a network, and the pools that no other network has."""
        pools = self._db.execute(
            "SELECT s.pool FROM subnet s JOIN network n ON n.number = s.network WHERE n.id = ?", (network_id,)
        ).fetchall()
        self._db.execute("DELETE FROM network WHERE id = ?", (network_id,))
        self._db.executemany(
            "DELETE FROM pool WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM subnet WHERE pool = ?1)", pools
        )

    def networks(self, where: str = "TRUE", values: Sequence[object] = ()) -> Iterator[Network]:
        """Networks by name; `where` is one of this package's own conditions."""
        for row in self._db.execute(f"SELECT {_NETWORK} FROM network WHERE {where} ORDER BY name", tuple(values)):
            yield self._network(row)

    def network_order(self) -> list[int]:
        """The numbers of all networks, by name, as people count, without those that are only being made."""
        return self._order("network", shown=True)

    def _order(self, table: str, *, shown: bool) -> list[int]:
        rows = self._db.execute(f"SELECT number, name FROM {table} WHERE {SHOWN.format(table) if shown else 'TRUE'}")
        return [number for number, _ in sorted(rows, key=lambda row: natural(row[1]))]

    def networks_numbered(self, numbers: Sequence[int]) -> list[Network]:
        """Those of the networks that are there, in that order."""
        given = "number IN (SELECT value FROM json_each(?))"
        rows = self._db.execute(f"SELECT {_NETWORK} FROM network WHERE {given}", (json.dumps(numbers),)).fetchall()
        found = {row[0]: row for row in rows}
        return [self._network(found[number]) for number in numbers if number in found]

    def unused_networks(self) -> list[Network]:
        """The networks without endpoints, by name, as people count."""
        unused = self.networks(f"{SHOWN.format('network')} AND number NOT IN (SELECT network FROM endpoint)")
        return sorted(unused, key=lambda network: natural(network.name))

    def network(self, key: str) -> list[Network]:
        """The network of that id or name, or else all whose id begins with it."""
        if not key.isascii():
            # No id or name is that, and SQLite does not take what is not UTF-8.
            return []
        for condition in ("id = ?", "name = ?"):
            if found := list(self.networks(condition, (key,))):
                return found
        return list(self.networks("id >= ? AND id < ?", (key, key + "g"))) if is_prefix(key) else []

    def network_named(self, name: str) -> Network | None:
        """The network that has that name, whatever its state."""
        return next(self.networks("name = ?", (name,)), None)

    def networks_on(self, link: str) -> list[Network]:
        """The networks whose parent is that link."""
        return list(self.networks("link = ?", (link,)))

    def stays(self, link: str, going: Iterable[str]) -> bool:
        """Whether a network on the link is neither among those, nor about to go by another's hand. Of two that go at
        once, one sees that the other does too.
        """
        row = self._db.execute(
            "SELECT 1 FROM network n WHERE n.link = ? AND n.id NOT IN (SELECT value FROM json_each(?)) AND NOT EXISTS"
            " (SELECT 1 FROM intent i WHERE i.id = n.intent AND i.doing = ?) LIMIT 1",
            (link, json.dumps([*going]), REMOVED),
        ).fetchone()
        return row is not None

    def network_intent(self, network_id: str) -> Unsettled | None:
        """Who makes or removes an unsettled network."""
        row = self._db.execute(
            "SELECT i.owner, i.doing FROM network n JOIN intent i ON i.id = n.intent WHERE n.id = ?", (network_id,)
        ).fetchone()
        return None if row is None else Unsettled(*row)

    def network_by_number(self, number: int) -> Network:
        """The network that an endpoint's row names."""
        found = self._by_number.get(number)
        if found is None:
            found = self._by_number[number] = self._only("number = ?", number)
            self._by_id[found.id] = found
        return found

    def _only(self, where: str, value: object) -> Network:
        for network in self.networks(where, (value,)):
            return network
        raise LookupError(f"there is no network whose {where.replace('?', str(value))}")

    def network_of(self, endpoint: Endpoint) -> Network:
        """The network that an endpoint is on."""
        found = self._by_id.get(endpoint.network_id)
        if found is None:
            found = self._by_id[endpoint.network_id] = self._only("id = ?", endpoint.network_id)
        return found

    def _network(self, row: Sequence[object]) -> Network:
        (number, id_, name, driver, mode, flag, parent, link, ipv6, ipv6_ra, internal, mtu, share, order, labels,
         options, at) = row  # fmt: skip
        return sound.network(Network(
            id=str(id_), name=str(name), driver=str(driver), mode=str(mode), flag=cast("str | None", flag),
            parent=cast("str | None", parent), link=str(link),
            subnets=tuple(pool.subnet for pool in self._pools(cast("int", number))),
            ipv6=bool(ipv6), ipv6_ra=_WISHED[cast("int", ipv6_ra)],
            internal=bool(internal), mtu=cast("int | None", mtu), share_parent=bool(share), order=str(order),
            labels=text_pairs(str(labels)), options=text_pairs(str(options)),
            created_at=sound.moment(str(at)),
        ))  # fmt: skip

    # Pools.

    def pools(self, network_id: str) -> list[PoolRow]:
        """The pools of a network, in the order of its subnets."""
        row = self._db.execute("SELECT number FROM network WHERE id = ?", (network_id,)).fetchone()
        return [] if row is None else self._pools(row[0])

    def _pools(self, number: int) -> list[PoolRow]:
        rows = self._db.execute(
            "SELECT p.number, cidr, ranges, gateway, gateway_automatic, aux, used, used_in_ranges, next"
            " FROM subnet s JOIN pool p ON p.number = s.pool WHERE network = ? ORDER BY position",
            (number,),
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
            "SELECT bits FROM page WHERE pool = ? AND level = 0 AND number = ?", (subnet_id, _page_key(number))
        ).fetchone()
        return None if row is None else bytes(row[0])

    def summary(self, subnet_id: int) -> list[tuple[int, bytes]]:
        """Which pages of a pool are full."""
        rows = self._db.execute("SELECT number, bits FROM page WHERE pool = ? AND level = 1", (subnet_id,))
        return [(int.from_bytes(number, "big"), bytes(bits)) for number, bits in rows]

    def forget_pages(self, subnet_id: int) -> None:
        """Have no address of a pool in use."""
        self._db.execute("DELETE FROM page WHERE pool = ?", (subnet_id,))

    def save_pool(
        self,
        subnet_id: int,
        counters: tuple[int, int, int],
        pages: Iterable[tuple[int, bytes | None]],
        summary: Iterable[tuple[int, bytes | None]],
    ) -> None:
        """Store a pool's counters (used, used in ranges, cursor) and its changed pages."""
        self._db.execute(
            "UPDATE subnet SET used_in_ranges = ?, next = ? WHERE pool = ?", (*map(str, counters[1:]), subnet_id)
        )
        self._db.execute("UPDATE pool SET used = ? WHERE number = ?", (str(counters[0]), subnet_id))
        for level, changed in ((0, pages), (1, summary)):
            for number, bits in changed:
                key = (subnet_id, level, _page_key(number))
                if bits is None:
                    self._db.execute("DELETE FROM page WHERE pool = ? AND level = ? AND number = ?", key)
                else:
                    self._db.execute("INSERT OR REPLACE INTO page VALUES (?, ?, ?, ?)", (*key, bits))


def text_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Labels or options, as they are stored."""
    return () if text == "[]" else tuple((key, value) for key, value in json.loads(text))


def is_prefix(key: str) -> bool:
    """Whether an id could begin so."""
    return 0 < len(key) < 64 and all(c in "0123456789abcdef" for c in key)


def _aux(subnet: Subnet) -> str:
    return json.dumps([(name, str(address)) for name, address in subnet.aux])


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _page_key(number: int) -> bytes:
    """Big-endian: 11 bytes, and more where a number needs them (from an IPv6 /27 on; 14 in a /8)."""
    return number.to_bytes(max(11, (number.bit_length() + 7) // 8), "big")
