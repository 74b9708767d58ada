"""Rows of the pools that Docker has requested, and of the addresses that it has in them."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING, NamedTuple, cast

from macvfast import model
from macvfast.state.records import checked
from macvfast.state.records.noted import NotedRecords
from macvfast.state.records.pools import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from macvfast.model import Address, Cidr, DockerAddress, DockerPool

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
            "INSERT INTO docker_pool VALUES (?, ?, ?, ?, ?)",
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
        found = (one for one in self._docker_pools("p.domain = ?", domain) if one.said.cidr == cidr)
        return next(found, None)

    def _docker_pools(self, where: str, value: object) -> Iterator[DockerPoolRow]:
        for id_, number, domain, cidr, ranges, used, epoch, at in self._db.execute(_POOLS.format(where), (value,)):
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
        self._db.execute("INSERT OR REPLACE INTO docker_address VALUES (?, ?, ?, ?, ?)", values)

    def delete_docker_address(self, pool: int, address: Address) -> bool:
        """Docker has it no more; whether it had it."""
        key = (pool, address.packed)
        return self._db.execute("DELETE FROM docker_address WHERE pool = ? AND address = ?", key).rowcount == 1

    def may_be_linked(self, address: Address, boot_id: str) -> bool:
        """Whether an endpoint whose address Docker gives back may still have its link: as many links with that address
        are recorded as there are pools in which Docker has it. No call says of which pool an endpoint's address is.
        """
        (links, pools) = self._db.execute(
            "SELECT (SELECT count(*) FROM noted_endpoint n, json_each(n.addresses) a"
            " WHERE n.ifindex != 0 AND n.boot_id = ?2 AND a.value LIKE ?1)"
            " + (SELECT count(*) FROM attachment t JOIN endpoint e ON e.sandbox = t.sandbox, json_each(e.elsewhere) a"
            " WHERE t.origin = 'docker' AND a.value LIKE ?1), (SELECT count(*) FROM docker_address WHERE address = ?3)",
            (f"{address}/%", boot_id, address.packed),
        ).fetchone()
        return bool(links >= pools)
