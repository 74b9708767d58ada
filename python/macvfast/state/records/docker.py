"""Rows of the pools that Docker has requested, and of the addresses that it has in them."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING, NamedTuple

from macvfast.state.records.noted import NotedRecords

if TYPE_CHECKING:
    from macvfast.model import Address, Cidr


class DockerPool(NamedTuple):
    """A pool that Docker has requested.

    Attributes:
        id: by which Docker knows it.
        pool: the number of the pool of its domain.
        domain: within which no address is given twice.
        ranges: those of automatic allocation; none: all of the subnet.
        used: how many addresses of the pool are in use; None: nothing is stored of it yet.
    """

    id: str
    pool: int
    domain: str
    cidr: Cidr
    ranges: tuple[str, ...]
    used: int | None


class DockerRecords(NotedRecords):
    """The tables docker_pool and docker_address."""

    def add_docker_pool(self, id_: str, domain: str, cidr: Cidr, ranges: tuple[str, ...]) -> DockerPool:
        """Insert a pool that Docker requests, and the pool of its domain where there is none: of a new one, nothing is
        stored yet.
        """
        key = (domain, str(cidr))
        added = self._db.execute("INSERT INTO pool VALUES (NULL, ?, ?, '0') ON CONFLICT (domain, cidr) DO NOTHING", key)
        self._db.execute(
            "INSERT INTO docker_pool SELECT ?, number, ? FROM pool WHERE domain = ? AND cidr = ?",
            (id_, json.dumps(ranges), *key),
        )
        row = self._db.execute("SELECT number, used FROM pool WHERE domain = ? AND cidr = ?", key).fetchone()
        return DockerPool(id_, row[0], domain, cidr, ranges, None if added.rowcount else int(row[1]))

    def docker_pool(self, id_: str) -> DockerPool | None:
        """The pool that Docker knows by an id."""
        row = self._db.execute(
            "SELECT d.id, p.number, p.domain, p.cidr, d.ranges, p.used FROM docker_pool d"
            " JOIN pool p ON p.number = d.pool WHERE d.id = ?",
            (id_,),
        ).fetchone()
        if row is None:
            return None
        id_, pool, domain, cidr, ranges, used = row
        return DockerPool(id_, pool, domain, ip_network(cidr), tuple(json.loads(ranges)), int(used))

    def delete_docker_pool(self, id_: str) -> None:
        """Forget a pool of Docker's; what nobody else has of its domain goes with it."""
        found = self.docker_pool(id_)
        if found is None:
            return
        self._db.execute("DELETE FROM docker_pool WHERE id = ?", (id_,))
        self._db.execute(
            "DELETE FROM pool WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM docker_pool WHERE pool = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM subnet WHERE pool = ?1)",
            (found.pool,),
        )

    def docker_epoch(self, pool: int, address: Address) -> str | None:
        """The epoch in which Docker has requested an address that it has; None: it has it not."""
        row = self._db.execute(
            "SELECT epoch FROM docker_address WHERE pool = ? AND address = ?", (pool, address.packed)
        ).fetchone()
        return None if row is None else str(row[0])

    def set_docker_address(self, pool: int, address: Address, epoch: str) -> None:
        """Note that Docker has an address since an epoch."""
        self._db.execute("INSERT OR REPLACE INTO docker_address VALUES (?, ?, ?)", (pool, address.packed, epoch))

    def delete_docker_address(self, pool: int, address: Address) -> bool:
        """Docker has it no more; whether it had it."""
        key = (pool, address.packed)
        return self._db.execute("DELETE FROM docker_address WHERE pool = ? AND address = ?", key).rowcount == 1
