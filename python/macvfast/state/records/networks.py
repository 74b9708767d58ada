"""Rows of networks, and of the parents made for them."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, cast

from macvfast.model import Endpoint, HeldAddresses, MadeParent, Network, natural
from macvfast.state.records import checked
from macvfast.state.records.pools import PoolRecords, PoolRow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterable, Iterator, Sequence

    from macvfast.model import Subnet

# What a row says that is settled, or is being removed and so still there: not what is only being made.
SHOWN = "NOT EXISTS (SELECT 1 FROM intent i WHERE i.id = {}.intent AND i.doing = 'made')"

_NETWORK = (
    "number, id, name, driver, mode, flag, parent, link, ipv6, ipv6_ra, internal, mtu, share_parent, ipam_order,"
    " labels, options, created_at, origin, domain"
)

# The networks of which attachments have addresses alone.
_HOLDING = "(SELECT network FROM attachment WHERE network IS NOT NULL)"

# What the column `ipv6_ra` says: 1, as the rest of the network has it.
_WISHES = {False: 0, None: 1, True: 2}
_WISHED = {number: wish for wish, number in _WISHES.items()}

# What an operation is about to do with the rows that carry its intent.
MADE, REMOVED, RESTORED = "made", "removed", "restored"


class Unsettled(NamedTuple):
    """Whose intent a row carries: the owner's token, and what is being done: MADE, REMOVED or RESTORED."""

    owner: str
    doing: str


class NetworkRecords(PoolRecords):
    """The tables network and made_parent."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        # Read once in a transaction: endpoints speak of few networks.
        self._by_number: dict[int, Network] = {}
        self._by_id: dict[str, Network] = {}

    # Parents that we made.

    def made_parent(self, link: str) -> MadeParent | None:
        """The record of a link of ours, by its name."""
        return next(iter(self.made_parents(link=link)), None)

    def made_parents(self, **columns: object) -> list[MadeParent]:
        """The records of links of ours, by name: all, or those that have these values."""
        statement = "SELECT link, kind, base, vid, ifindex, boot_id FROM made_parent WHERE {} ORDER BY link"
        rows = self._db.execute(statement.format(having(columns)), tuple(columns.values()))
        return [MadeParent(checked.link(link), *rest) for link, *rest in rows]

    def add_made_parent(self, parent: MadeParent, intent: int) -> None:
        """Note, before it is made, a link that we are going to make."""
        self._db.execute(
            "INSERT INTO made_parent VALUES (?, ?, ?, ?, ?, ?, ?)",
            (parent.link, parent.kind, parent.base, parent.vid, parent.ifindex, parent.boot_id, intent),
        )

    def made_parent_intent(self, link: str) -> Unsettled | None:
        """Who makes an unsettled parent of ours, for the first time or again."""
        return self._intent("made_parent", "link", link)

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

    def add_network(self, network: Network, intent: int | None) -> None:
        """Insert a network with its subnets, and the pools of those that have none yet."""
        number = self._db.execute(
            "INSERT INTO network VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                network.id, network.name, network.driver, network.mode, network.flag, network.parent, network.link,
                network.ipv6, _WISHES[network.ipv6_ra], network.internal, network.mtu, network.share_parent,
                network.order, json.dumps(network.labels), json.dumps(network.options),
                network.created_at.isoformat(), intent, network.origin, network.own_domain,
            ),
        ).lastrowid  # fmt: skip
        self.add_subnets(cast("int", number), network)

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
        self.update_subnets(network)

    def begin_network_removal(self, network_id: str, intent: int) -> None:
        """The network is about to go."""
        self._db.execute("UPDATE network SET intent = ? WHERE id = ?", (intent, network_id))

    def delete_network(self, network_id: str) -> None:
        """Forget a network and its subnets; their pools stay."""
        self._db.execute("DELETE FROM network WHERE id = ?", (network_id,))
        self._db.execute("DELETE FROM host WHERE key = ?", (unused_key(network_id),))

    def networks(self, **columns: object) -> Iterator[Network]:
        """Networks by name, as people count: all, or those that have these values."""
        return self._networks(having(columns), tuple(columns.values()))

    def _networks(self, where: str = "TRUE", values: Sequence[object] = ()) -> Iterator[Network]:
        rows = self._db.execute(f"SELECT {_NETWORK} FROM network WHERE {where}", tuple(values)).fetchall()
        if len(rows) > 1:
            rows.sort(key=lambda row: natural(row[2]))
        for row in rows:
            yield self._network(row)

    def network_order(self) -> list[int]:
        """The numbers of all networks, by name, as people count, without those that are only being made."""
        return self._order("network", shown=True)

    def _order(self, table: str, *, shown: bool) -> list[int]:
        rows = self._db.execute(f"SELECT number, name FROM {table} WHERE {SHOWN.format(table) if shown else 'TRUE'}")
        return [number for number, _ in sorted(rows, key=lambda row: natural(row[1]))]

    def networks_numbered(self, numbers: Sequence[int]) -> list[Network]:
        """Those of the networks that are there, in that order."""
        return [network for network, _ in self.networks_with_pools(numbers)]

    def networks_with_pools(self, numbers: Sequence[int]) -> list[tuple[Network, list[PoolRow]]]:
        """The same, each with the pools of its subnets, in their order."""
        given = "number IN (SELECT value FROM json_each(?))"
        rows = self._db.execute(f"SELECT {_NETWORK} FROM network WHERE {given}", (json.dumps(numbers),)).fetchall()
        found = {row[0]: row for row in rows}
        pools = {number: self.pools_of(number) for number in found}
        return [(self._network(found[one], pools[one]), pools[one]) for one in numbers if one in found]

    def unused_networks(self) -> list[Network]:
        """The networks without endpoints, of which nobody holds an address either, by name, as people count."""
        unused = "number NOT IN (SELECT network FROM endpoint) AND number NOT IN " + _HOLDING
        return list(self._networks(f"{SHOWN.format('network')} AND {unused}"))

    def network(self, key: str) -> list[Network]:
        """The network of that id or name, or else all whose id begins with it."""
        if not key.isascii():
            # No id or name is that, and SQLite does not take what is not UTF-8.
            return []
        for condition in ("id = ?", "name = ?"):
            if found := list(self._networks(condition, (key,))):
                return found
        return list(self._networks("id >= ? AND id < ?", (key, key + "g"))) if is_prefix(key) else []

    def network_named(self, name: str) -> Network | None:
        """The network that has that name, whatever its state."""
        return next(self.networks(name=name), None)

    def network_on(self, link: str, besides: str = "") -> Network | None:
        """The network that has been on a link for the longest time, besides the one of that id."""
        first = "number = (SELECT min(number) FROM network WHERE link = ? AND id != ?)"
        return next(self._networks(first, (link, besides)), None)

    def stays(self, link: str, going: Container[str] = ()) -> bool:
        """Whether a network on the link is neither among those, nor about to go by another's hand. Of two that go at
        once, one sees that the other does too.
        """
        rows = self._db.execute(
            "SELECT id FROM network n WHERE n.link = ? AND NOT EXISTS"
            " (SELECT 1 FROM intent i WHERE i.id = n.intent AND i.doing = ?)",
            (link, REMOVED),
        )
        return any(id_ not in going for (id_,) in rows)

    def unsettled_on(self, link: str) -> list[tuple[str, Unsettled]]:
        """The networks on a link that are being made or removed, by name, and by whom. Intents are few."""
        rows = self._db.execute(
            "SELECT n.name, i.owner, i.doing FROM intent i CROSS JOIN network n ON n.intent = i.id WHERE n.link = ?"
            " ORDER BY n.name",
            (link,),
        )
        return [(name, Unsettled(owner, doing)) for name, owner, doing in rows]

    def network_intent(self, network_id: str) -> Unsettled | None:
        """Who makes or removes an unsettled network."""
        return self._intent("network", "id", network_id)

    def _intent(self, table: str, key: str, value: str) -> Unsettled | None:
        """The intent that a row carries, which a column tells from others of its table; None: it is settled."""
        row = self._db.execute(
            f"SELECT i.owner, i.doing FROM {table} t JOIN intent i ON i.id = t.intent WHERE t.{key} = ?", (value,)
        ).fetchone()
        return None if row is None else Unsettled(*row)

    def network_by_number(self, number: int) -> Network:
        """The network that an endpoint's row names."""
        found = self._by_number.get(number)
        if found is None:
            found = self._by_number[number] = self._only(number=number)
            self._by_id[found.id] = found
        return found

    def _only(self, **columns: object) -> Network:
        for network in self.networks(**columns):
            return network
        raise LookupError(f"there is no network with {columns}")

    def network_of(self, endpoint: Endpoint | HeldAddresses) -> Network:
        """The network that an endpoint is on, or that addresses are of."""
        found = self._by_id.get(endpoint.network_id)
        if found is None:
            found = self._by_id[endpoint.network_id] = self._only(id=endpoint.network_id)
        return found

    def _network(self, row: tuple[object, ...], pools: Sequence[PoolRow] | None = None) -> Network:
        pools = self.pools_of(cast("int", row[0])) if pools is None else pools
        return _read(row, tuple(one.subnet for one in pools))


@lru_cache(maxsize=256)
def _read(row: tuple[object, ...], subnets: tuple[Subnet, ...]) -> Network:
    """The network of a row, checked: an operation reads it a dozen times."""
    (_, id_, name, driver, mode, flag, parent, link, ipv6, ipv6_ra, internal, mtu, share, order, labels,
     options, at, origin, domain) = row  # fmt: skip
    return checked.network(Network(
        id=str(id_), name=str(name), driver=str(driver), mode=str(mode), flag=cast("str | None", flag),
        parent=cast("str | None", parent), link=str(link), subnets=subnets,
        ipv6=bool(ipv6), ipv6_ra=_WISHED[cast("int", ipv6_ra)],
        internal=bool(internal), mtu=cast("int | None", mtu), share_parent=bool(share), order=str(order),
        labels=text_pairs(str(labels)), options=text_pairs(str(options)),
        created_at=checked.moment(str(at)), origin=cast("str | None", origin), own_domain=cast("str | None", domain),
    ))  # fmt: skip


def text_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Labels or options, as they are stored."""
    return () if text == "[]" else tuple((key, value) for key, value in json.loads(text))


def unused_key(network_id: str) -> str:
    """Of what is known of this host, since when a network is unused."""
    return f"unused {network_id}"


def having(columns: Iterable[str]) -> str:
    """The condition that each of these columns of a table has a given value."""
    return " AND ".join(f"{column} = ?" for column in columns) or "TRUE"


def is_prefix(key: str) -> bool:
    """Whether an id could begin so."""
    return 0 < len(key) < 64 and all(c in "0123456789abcdef" for c in key)
