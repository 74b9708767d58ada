"""Rows of pools: the addresses of one subnet of a layer-2 domain, what networks have of them, and what is reserved."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple, cast

from macvfast.model import Subnet
from macvfast.state.records import checked

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from macvfast.model import Address, Cidr, Network


# Addresses in one page.
_PAGE = 4096


class PoolRow(NamedTuple):
    """A network's subnet, the pool that it takes from, and the ordinal with which the order `next` goes on."""

    pool: int
    subnet: Subnet
    used: int
    next: int


class Kept(NamedTuple):
    """An address that no network of a pool gives, and why, in words: "the gateway of network `lab`"."""

    address: Address
    role: str
    network: str | None

    def refuse_free(self, cidr: Cidr, is_used: Callable[[Address], bool]) -> None:
        """Refuse a pool of a subnet that would give it away, or that cannot have it: macvfast never wrote that."""
        if self.address not in cidr or not is_used(self.address):
            raise ValueError(f"{self.address} is the {self.role} and free")


class Reservation(NamedTuple):
    """An address that is in use without an endpoint: what for, by whom, and until when; None: until it is released.

    `str` of it is a few words for people.
    """

    address: Address
    kind: str
    owner: str
    until: datetime | None

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended."""
        return self.until is not None and self.until <= now

    def __str__(self) -> str:
        end = "" if self.until is None else f" until {self.until:%Y-%m-%d %H:%M:%S} UTC"
        return f"{self.kind} of {self.owner}{end}"


def kept_by(network: str, gateway: Address | None, aux: Iterable[tuple[str, Address]]) -> Iterator[Kept]:
    """What a network keeps of one of its subnets."""
    if gateway is not None:
        yield Kept(gateway, "gateway", network)
    for name, address in aux:
        yield Kept(address, f"aux address `{name}`", network)


def kept_in_row(gateway: str | None, aux: str) -> Iterator[Kept]:
    """What a row of the table subnet says that its network keeps."""
    return kept_by("", None if gateway is None else ip_address(gateway), _aux(aux))


class PoolRecords:
    """The tables pool, page, subnet and reservation."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        # Within a transaction no reservation ends.
        self._began = datetime.now(UTC)

    # What a network has.

    def add_subnets(self, number: int, network: Network) -> None:
        """Insert the subnets of a network, each with the pool of its domain, which is made where there is none."""
        for position, subnet in enumerate(network.subnets):
            key = (network.domain, str(subnet.cidr))
            self._db.execute("INSERT INTO pool VALUES (NULL, ?, ?, '0') ON CONFLICT (domain, cidr) DO NOTHING", key)
            self._db.execute(
                "INSERT INTO subnet SELECT NULL, ?3, ?4, number, ?5, ?6, ?7, ?8, '0' FROM pool"
                " WHERE domain = ?1 AND cidr = ?2",
                (
                    *key, number, position, json.dumps(subnet.ranges), _text(subnet.gateway), subnet.gateway_automatic,
                    _aux_text(subnet),
                ),
            )  # fmt: skip

    def update_subnets(self, network: Network) -> None:
        """Store what of a network's subnets may change while it is in use."""
        self._db.executemany(
            "UPDATE subnet SET ranges = ?, aux = ? WHERE position = ?"
            " AND network = (SELECT number FROM network WHERE id = ?)",
            [
                (json.dumps(subnet.ranges), _aux_text(subnet), position, network.id)
                for position, subnet in enumerate(network.subnets)
            ],
        )

    def pools(self, network_id: str) -> list[PoolRow]:
        """The pools of a network, in the order of its subnets."""
        row = self._db.execute("SELECT number FROM network WHERE id = ?", (network_id,)).fetchone()
        return [] if row is None else self.pools_of(row[0])

    def pools_of(self, number: int) -> list[PoolRow]:
        """The same, by the network's number."""
        rows = self._db.execute(
            "SELECT p.number, cidr, ranges, gateway, gateway_automatic, aux, used, next"
            " FROM subnet s JOIN pool p ON p.number = s.pool WHERE network = ? ORDER BY position",
            (number,),
        ).fetchall()
        return [
            PoolRow(pool, _subnet(cidr, ranges, gateway, automatic, aux), int(used), int(next_))
            for pool, cidr, ranges, gateway, automatic, aux, used, next_ in rows
        ]

    def save_next(self, network_id: str, pool: int, ordinal: int) -> None:
        """Note with which ordinal a network goes on in one of its pools."""
        self._db.execute(
            "UPDATE subnet SET next = ? WHERE pool = ? AND network = (SELECT number FROM network WHERE id = ?)",
            (str(ordinal), pool, network_id),
        )

    # What a pool is.

    def pool_of(self, domain: str, cidr: Cidr) -> tuple[int, int] | None:
        """The pool of a subnet in a layer-2 domain, and how many of its addresses are in use."""
        row = self._db.execute(
            "SELECT number, used FROM pool WHERE domain = ? AND cidr = ?", (domain, str(cidr))
        ).fetchone()
        return None if row is None else (row[0], int(row[1]))

    def subnets_in(self, domain: str) -> list[Cidr]:
        """The subnets of the networks in a layer-2 domain, each once."""
        return [_cidr(cidr) for (cidr,) in self._db.execute("SELECT cidr FROM pool WHERE domain = ?", (domain,))]

    def all_subnets(self) -> list[Cidr]:
        """The subnets of all networks; one that networks in several domains have may be there several times."""
        return [_cidr(cidr) for (cidr,) in self._db.execute("SELECT cidr FROM pool")]

    def network_with(self, domain: str, cidr: Cidr) -> str | None:
        """The first network, by name, that has a subnet in a layer-2 domain; None: only Docker has it."""
        row = self._db.execute(
            "SELECT min(n.name) FROM pool p JOIN subnet s ON s.pool = p.number JOIN network n ON n.number = s.network"
            " WHERE p.domain = ? AND p.cidr = ?",
            (domain, str(cidr)),
        ).fetchone()
        found: str | None = row[0]
        return found

    def delete_pool(self, pool: int) -> None:
        """Forget a pool that no network has any more."""
        self._db.execute("DELETE FROM pool WHERE number = ?", (pool,))

    def is_shared(self, pool: int) -> bool:
        """Whether several networks have a pool, or Docker beside one."""
        both = "SELECT 1 FROM subnet WHERE pool = ?1 UNION ALL SELECT 1 FROM docker_pool WHERE pool = ?1 LIMIT 2"
        return len(self._db.execute(both, (pool,)).fetchall()) > 1

    def kept(self, pool: int) -> list[Kept]:
        """What is in use in a pool without an endpoint, but for the subnet's own ends: the gateways and aux addresses
        of its networks, by their names, and what is reserved.
        """
        return self.kept_in([pool])[pool]

    def kept_in(self, pools: Sequence[int]) -> dict[int, list[Kept]]:
        """The same of several pools."""
        given = (json.dumps(pools),)
        rows = self._db.execute(
            "SELECT s.pool, n.name, s.gateway, s.aux FROM subnet s JOIN network n ON n.number = s.network"
            " WHERE s.pool IN (SELECT value FROM json_each(?)) ORDER BY n.name",
            given,
        )
        found: dict[int, list[Kept]] = {pool: [] for pool in pools}
        for pool, network, gateway, aux in rows:
            found[pool] += kept_by(network, None if gateway is None else ip_address(gateway), _aux(aux))
        reserved = self._db.execute(
            "SELECT DISTINCT pool FROM reservation WHERE pool IN (SELECT value FROM json_each(?))", given
        ).fetchall()
        for (pool,) in reserved:
            still = (one for one in self._reservations(pool) if not one.is_over(self._began))
            found[pool] += (Kept(one.address, str(one), None) for one in still)
        docker = self._db.execute(
            "SELECT pool, address FROM docker_address WHERE pool IN (SELECT value FROM json_each(?))", given
        )
        for pool, address in docker:
            found[pool].append(Kept(unpacked(address), "address that Docker has", None))
        return found

    def over(self, pool: int) -> list[Address]:
        """The addresses of a pool whose reservations have ended, and that still count as in use."""
        return [one.address for one in self._reservations(pool) if one.is_over(self._began)]

    def forget_reservations(self, pool: int, addresses: Iterable[Address]) -> None:
        """Forget reservations."""
        keys = [(pool, one.packed) for one in addresses]
        self._db.executemany("DELETE FROM reservation WHERE pool = ? AND address = ?", keys)

    def reserve(self, pool: int, address: Address, kind: str, owner: str) -> None:
        """Note that an address, which is in use by now, is reserved until that is ended."""
        values = (pool, address.packed, kind, owner, self._began.isoformat())
        self._db.execute("INSERT INTO reservation VALUES (?, ?, ?, ?, ?, NULL)", values)

    def reserved_as(self, kind: str) -> list[tuple[int, bytes, str]]:
        """The reservations of a kind that have no end: pool, address and owner of each."""
        rows = self._db.execute(
            "SELECT pool, address, owner FROM reservation WHERE kind = ? AND until IS NULL", (kind,)
        )
        return rows.fetchall()

    def end_reservations(self, keys: Iterable[tuple[int, bytes]]) -> None:
        """Have reservations, each a pool and an address, end now: whoever opens the pool next frees the addresses."""
        until = self._began.isoformat()
        ended = [(until, *key) for key in keys]
        self._db.executemany("UPDATE reservation SET until = ? WHERE pool = ? AND address = ?", ended)

    def _reservations(self, pool: int) -> list[Reservation]:
        """What is reserved in a pool, by address."""
        rows = self._db.execute(
            "SELECT address, kind, owner, until FROM reservation WHERE pool = ? ORDER BY address", (pool,)
        )
        return [
            Reservation(unpacked(address), kind, owner, None if until is None else checked.moment(until))
            for address, kind, owner, until in rows
        ]

    def taken(self, pool: int, subnet: Subnet) -> set[int]:
        """The addresses of a pool that endpoints have, or attachments without one, as numbers."""
        column = "ip" if subnet.version == 4 else "ip6"
        of_pool = "network IN (SELECT network FROM subnet WHERE pool = ?1)"
        rows = self._db.execute(
            f"SELECT {column} FROM endpoint WHERE {of_pool} UNION ALL SELECT {column} FROM attachment WHERE {of_pool}",
            (pool,),
        )
        numbers = (int.from_bytes(packed) for (packed,) in rows if packed is not None)
        return {number for number in numbers if subnet.first <= number <= subnet.last}

    def holders(self, pool: int) -> dict[bytes, tuple[str, str]]:
        """The sandbox and the network of each endpoint on the networks of a pool, by its addresses."""
        rows = self._db.execute(
            "SELECT e.ip, e.ip6, s.name, n.name FROM endpoint e JOIN sandbox s ON s.number = e.sandbox"
            " JOIN network n ON n.number = e.network WHERE e.network IN (SELECT network FROM subnet WHERE pool = ?)",
            (pool,),
        )
        return {packed: (sandbox, network) for *both, sandbox, network in rows for packed in both if packed is not None}

    # Its pages.

    def page(self, pool: int, number: int) -> bytes | None:
        """The bitmap of one page of addresses; None where all are free."""
        row = self._db.execute(
            "SELECT bits FROM page WHERE pool = ? AND level = 0 AND number = ?", (pool, _page_key(number))
        ).fetchone()
        if row is None:
            return None
        bits = bytes(row[0])
        if len(bits) * 8 != _PAGE:
            raise ValueError(f"page {number} of a pool has {len(bits)} bytes")
        return bits

    def used_within(self, pool: int, first: int, last: int) -> int:
        """How many of a pool's ordinals from `first` to `last` are in use. Cost: the pages of the pool in use."""
        count = 0
        for key, page in self._db.execute("SELECT number, bits FROM page WHERE pool = ? AND level = 0", (pool,)):
            begin = int.from_bytes(key) * _PAGE
            low, high = max(first - begin, 0), min(last - begin, _PAGE - 1)
            if low <= high:
                count += (int.from_bytes(page, "little") >> low & (1 << high - low + 1) - 1).bit_count()
        return count

    def summary(self, pool: int) -> list[tuple[int, bytes]]:
        """Which pages of a pool are full."""
        rows = self._db.execute("SELECT number, bits FROM page WHERE pool = ? AND level = 1", (pool,))
        return [(int.from_bytes(number, "big"), bytes(bits)) for number, bits in rows]

    def save_pool(
        self,
        pool: int,
        used: int,
        pages: Iterable[tuple[int, bytes | None]],
        summary: Iterable[tuple[int, bytes | None]],
    ) -> None:
        """Store how many addresses of a pool are in use, and its changed pages."""
        self._db.execute("UPDATE pool SET used = ? WHERE number = ?", (str(used), pool))
        for level, changed in ((0, pages), (1, summary)):
            for number, bits in changed:
                key = (pool, level, _page_key(number))
                if bits is None:
                    self._db.execute("DELETE FROM page WHERE pool = ? AND level = ? AND number = ?", key)
                else:
                    self._db.execute("INSERT OR REPLACE INTO page VALUES (?, ?, ?, ?)", (*key, bits))

    def read_pools(self) -> None:
        """Read all rows of pools, as what they are read as."""
        for number, cidr in self._db.execute("SELECT number, cidr FROM pool").fetchall():
            self.summary(number)
            pages = _Pages(_cidr(cidr), partial(self.page, number))
            for one in self.kept(number):
                one.refuse_free(_cidr(cidr), pages.has)


class _Pages(NamedTuple):
    """The addresses of a subnet that are in use, without an allocator."""

    cidr: Cidr
    fetch: Callable[[int], bytes | None]

    def has(self, address: Address) -> bool:
        """Whether an address of the subnet is in use."""
        number, at = divmod(int(address) - int(self.cidr.network_address), _PAGE)
        bits = self.fetch(number)
        return bits is not None and bool(bits[at // 8] >> at % 8 & 1)


@lru_cache(maxsize=1024)
def _cidr(text: str) -> Cidr:
    """A subnet; many networks may have the same."""
    return ip_network(text)


def unpacked(packed: bytes) -> Address:
    """An address from its bytes, whose number tells the family."""
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _aux(text: str) -> Iterator[tuple[str, Address]]:
    pairs = cast("Sequence[tuple[str, str]]", () if text == "[]" else json.loads(text))
    return ((name, ip_address(address)) for name, address in pairs)


@lru_cache(maxsize=1024)
def _subnet(cidr: str, ranges: str, gateway: str | None, automatic: int, aux: str) -> Subnet:
    """The subnet of a row: an operation reads it a dozen times."""
    return Subnet(
        cidr=_cidr(cidr),
        ranges=tuple(json.loads(ranges)),
        gateway=None if gateway is None else ip_address(gateway),
        gateway_automatic=bool(automatic),
        aux=tuple(_aux(aux)),
    )


def _aux_text(subnet: Subnet) -> str:
    return json.dumps([(name, str(address)) for name, address in subnet.aux])


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _page_key(number: int) -> bytes:
    """Big-endian: 11 bytes, and more where a number needs them (from an IPv6 /27 on; 14 in a /8)."""
    return number.to_bytes(max(11, (number.bit_length() + 7) // 8), "big")
