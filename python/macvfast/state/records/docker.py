"""Rows of the pools that Docker has requested, and of the addresses that it has in them."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING, NamedTuple, cast

from macvfast import model
from macvfast.state.records import checked
from macvfast.state.records.noted import NotedRecords
from macvfast.state.records.pools import kept_in_row, unpacked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from macvfast.model import Address, Cidr, DockerAddress, DockerPool, Interface

_POOLS = (
    "SELECT d.id, p.number, p.domain, p.cidr, d.ranges, p.used, d.epoch, d.at FROM docker_pool d"
    " JOIN pool p ON p.number = d.pool WHERE {} ORDER BY p.domain, p.number"
)


class DockerPoolRow(NamedTuple):
    """A pool that Docker has requested, with the number of the pool of its domain, and how many of its addresses are in
    use; None: it is new, and nothing is stored of it.
    """

    said: DockerPool
    number: int
    used: int | None


class DockerRecords(NotedRecords):
    """The tables docker_pool and docker_address."""

    def add_docker_pool(self, pool: DockerPool) -> DockerPoolRow:
        """Insert a pool that Docker requests, and the pool of its domain where there is none."""
        there = self.pool_of(pool.domain, pool.cidr)
        if there is None:
            values = (pool.domain, str(pool.cidr))
            number, used = self._db.execute("INSERT INTO pool VALUES (NULL, ?, ?, '0')", values).lastrowid, None
        else:
            number, used = there
        self._db.execute(
            "INSERT INTO docker_pool VALUES (?1, ?2, ?3, ?4, ?5, ?4)",
            (pool.id, number, json.dumps(pool.ranges), pool.epoch, pool.at.isoformat()),
        )
        return DockerPoolRow(pool, cast("int", number), used)

    def docker_pool(self, id_: str) -> DockerPoolRow | None:
        """The pool that Docker knows by an id."""
        return next(self._docker_pools("d.id = ?", id_), None)

    def docker_pools(self) -> list[DockerPoolRow]:
        """All pools of Docker's."""
        return list(self._docker_pools("?", 1))

    def docker_pool_of(self, domain: str, cidr: Cidr) -> DockerPoolRow | None:
        """The pool of Docker's that is of a subnet in a domain: it has one at most."""
        return next(self._docker_pools("p.domain = ? AND p.cidr = ?", domain, str(cidr)), None)

    def _docker_pools(self, where: str, *values: object) -> Iterator[DockerPoolRow]:
        for id_, number, domain, cidr, ranges, used, epoch, at in self._db.execute(_POOLS.format(where), values):
            said = model.DockerPool(id_, domain, ip_network(cidr), tuple(json.loads(ranges)), epoch, checked.moment(at))
            yield DockerPoolRow(said, number, int(used))

    def claim_docker_pool(self, id_: str, epoch: str, now: datetime) -> None:
        """Note that Docker has said again, in a later epoch, that it has a pool."""
        self._db.execute("UPDATE docker_pool SET epoch = ?, at = ? WHERE id = ?", (epoch, now.isoformat(), id_))

    def delete_docker_pool(self, row: DockerPoolRow) -> None:
        """Forget a pool of Docker's; the pool of its domain goes with it if no network has it."""
        self._db.execute("DELETE FROM docker_pool WHERE id = ?", (row.said.id,))
        unused = "NOT EXISTS (SELECT 1 FROM subnet WHERE pool = ?1)"
        self._db.execute(f"DELETE FROM pool WHERE number = ?1 AND {unused}", (row.number,))

    # Addresses.

    def docker_addresses(self, pool: int) -> list[DockerAddress]:
        """What Docker has in a pool, by address."""
        rows = self._db.execute(
            "SELECT address, epoch, at, gateway FROM docker_address WHERE pool = ? ORDER BY address", (pool,)
        )
        return [
            model.DockerAddress(unpacked(address), epoch, checked.moment(at), bool(gateway))
            for address, epoch, at, gateway in rows
        ]

    def docker_epoch(self, pool: int, address: Address) -> str | None:
        """The epoch in which Docker has requested an address that it has; None: it has it not."""
        row = self._db.execute(
            "SELECT epoch FROM docker_address WHERE pool = ? AND address = ?", (pool, address.packed)
        ).fetchone()
        return None if row is None else str(row[0])

    def set_docker_address(self, pool: int, one: DockerAddress) -> None:
        """Note that Docker has an address, or has said so again."""
        values = (pool, one.address.packed, one.epoch, one.at.isoformat(), one.gateway)
        self._db.execute(
            "INSERT INTO docker_address VALUES (?1, ?2, ?3, ?4, ?5, ?3, NULL) ON CONFLICT DO UPDATE"
            " SET epoch = excluded.epoch, at = excluded.at, gateway = excluded.gateway, linked = NULL",
            values,
        )

    def was_given(self, pool: int, address: Address | None, epoch: str) -> bool:
        """Whether an address that Docker has, or with None the pool, was requested first in an epoch."""
        of_pool, of_address = (
            "docker_pool WHERE pool = ?1 AND ?2 IS NULL",
            "docker_address WHERE (pool, address) = (?1, ?2)",
        )
        found = f"SELECT 1 FROM {of_pool if address is None else of_address} AND given = ?3"
        packed = None if address is None else address.packed
        return self._db.execute(found, (pool, packed, epoch)).fetchone() is not None

    def delete_docker_address(self, pool: int, address: Address) -> bool:
        """Docker has it no more; whether it had it."""
        key = (pool, address.packed)
        return self._db.execute("DELETE FROM docker_address WHERE pool = ? AND address = ?", key).rowcount == 1

    def note_linked(self, endpoint: str, addresses: Iterable[Interface]) -> None:
        """Note that an endpoint's link may be there with addresses, in every pool of Docker's of their subnets: no call
        says of which it has them.
        """
        of_subnet = "pool IN (SELECT d.pool FROM docker_pool d JOIN pool p ON p.number = d.pool WHERE p.cidr = ?)"
        self._db.executemany(
            f"UPDATE docker_address SET linked = ? WHERE address = ? AND {of_subnet}",
            [(endpoint, one.ip.packed, str(one.network)) for one in addresses],
        )

    def linked(self, pool: int, address: Address) -> str | None:
        """The id of the endpoint whose link may be there with an address of Docker's, as long as it is recorded."""
        row = self._db.execute(
            "SELECT linked FROM docker_address WHERE pool = ? AND address = ? AND linked IS NOT NULL"
            " AND (EXISTS (SELECT 1 FROM noted_endpoint WHERE id = linked)"
            " OR EXISTS (SELECT 1 FROM attachment WHERE origin = 'docker' AND container = linked))",
            (pool, address.packed),
        ).fetchone()
        return None if row is None else str(row[0])

    def kept_by_others(self, pool: int, addresses: Collection[Address]) -> set[Address]:
        """Those of some addresses that networks keep, or that are reserved: what Docker has is not read."""
        rows = self._db.execute("SELECT gateway, aux FROM subnet WHERE pool = ?", (pool,))
        kept = {one.address for gateway, aux in rows for one in kept_in_row(gateway, aux)}
        return kept.intersection(addresses) | {one for one in addresses if self._is_reserved(pool, one)}

    def _is_reserved(self, pool: int, address: Address) -> bool:
        found = "SELECT 1 FROM reservation WHERE pool = ? AND address = ?"
        return self._db.execute(found, (pool, address.packed)).fetchone() is not None
