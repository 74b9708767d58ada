"""The pools of one transaction: what networks take from them and give back, and what they keep.

A pool belongs to one subnet of a layer-2 domain. Networks that have the same subnet on one parent share it: each
address is given once, what one network keeps none gives, and each gives automatically from its own ip-ranges.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from macvfast._core import Pool, Source, StoredPool
from macvfast.errors import (
    AddressOutsideSubnet,
    AddressTaken,
    MacvfastError,
    PoolExhausted,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from macvfast.ipam.subnets import Neighbour
    from macvfast.model import Address, Cidr, Network, Subnet
    from macvfast.state.records import Kept, PoolRow, Records


class Pools:
    """The pools that one transaction uses, each read once, page by page as they are touched, and written by `save`."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self._open: dict[int, StoredPool] = {}
        self._networks: dict[str, NetworkPools] = {}

    def of(self, network: Network, own: Iterable[Address] = ()) -> NetworkPools:
        """The pools of a network; what the host has itself on its parent (`own`) is given to nobody."""
        found = self._networks.get(network.id)
        if found is None:
            found = self._networks[network.id] = NetworkPools(self, network, own)
        return found

    def pool(self, number: int, cidr: Cidr, used: int) -> StoredPool:
        """One pool, as it is in this transaction by now."""
        found = self._open.get(number)
        if found is None:
            found = self._open[number] = StoredPool(
                cidr,
                used=used,
                kept=[one.address for one in self.records.kept(number)],
                summary=self.records.summary(number),
                fetch=lambda page: self.records.page(number, page),
            )
        return found

    def save(self) -> None:
        """Write what changed back into the transaction."""
        for one in self._networks.values():
            one.save()
        for number, pool in self._open.items():
            changes = pool.changes()
            if changes.pages or changes.summary:
                self.records.save_pool(number, changes.used, changes.pages, changes.summary)

    # What networks keep.

    def neighbour(self, link: str, cidr: Cidr) -> Neighbour | None:
        """What is known of a subnet that a network on that parent has already."""
        there = self.records.pool_of(link, cidr)
        return None if there is None else _Neighbour(self, cidr, *there)

    @contextmanager
    def changing(self, network: Network) -> Iterator[None]:
        """Within this, the network is recorded, anew or as it is from now on; then its pools keep what it keeps.

        Raises:
            AddressTaken: an endpoint has an address that it is to keep; nothing was changed.
        """
        for subnet in network.subnets:
            there = self.records.pool_of(network.link, subnet.cidr)
            if there is not None:
                self._refuse_held(subnet, *there)
        yield
        for row in self.records.pools(network.id):
            self._keep(row)

    def _refuse_held(self, subnet: Subnet, number: int, used: int) -> None:
        pool = self.pool(number, subnet.cidr, used)
        kept = {one.address for one in self.records.kept(number)}
        for address in (subnet.gateway, *(address for _, address in subnet.aux)):
            if address is not None and address not in kept and address in pool:
                found = self.records.address_holder(number, address.packed)
                again = "" if found is None else f"`macvfast network disconnect {found[1]} {found[0]}` first, or "
                raise AddressTaken(str(address), self.holder(number, address), hints=[f"{again}keep another address"])

    def _keep(self, row: PoolRow) -> None:
        kept = [one.address for one in self.records.kept(row.pool)]
        if row.pool in self._open:
            self._open[row.pool].keep(kept)
        else:
            self._open[row.pool] = StoredPool(row.subnet.cidr, used=None, kept=kept, summary=(), fetch=_nothing)

    def leave(self, network: Network) -> None:
        """Forget a network; a pool goes with its last one, and what the others do not keep is free for them."""
        rows = self.records.pools(network.id)
        for row in rows:
            if self.records.is_shared(row.pool):
                self.pool(row.pool, row.subnet.cidr, row.used)
        self.records.delete_network(network.id)
        for row in rows:
            if self.records.delete_unused_pool(row.pool):
                self._open.pop(row.pool, None)
            else:
                self._keep(row)

    def holder(self, number: int, address: Address) -> str:
        """Who has an address of a pool, in words."""
        found = self.records.address_holder(number, address.packed)
        return "being released" if found is None else f"held by sandbox `{found[0]}` on network `{found[1]}`"


def _nothing(_: int) -> None:
    """The page of a pool of which nothing is stored yet."""


class _Neighbour:
    """A subnet that a network on the parent has already."""

    def __init__(self, pools: Pools, cidr: Cidr, number: int, used: int) -> None:
        self._pools = pools
        self._cidr = cidr
        self._number = number
        self._used = used

    def gateway(self) -> tuple[Address, str] | None:
        """The gateway that the first of its networks has, by their names, and that network."""
        for one in self._pools.records.kept(self._number):
            if one.role == "gateway" and one.network is not None:
                return one.address, one.network
        return None

    def first_free(self, ip_range: Iterable[str] | None, avoided: Iterable[Address]) -> Address | None:
        """The first free address of the ip-range, or of the subnet; it stays free."""
        pool = self._pools.pool(self._number, self._cidr, self._used)
        try:
            found = pool.allocate(Source(self._cidr, ip_range=ip_range, order="lowest", begin=0, avoid=avoided))
        except PoolExhausted:
            return None
        pool.release(found)
        return found


@dataclass(frozen=True, slots=True)
class Taken:
    """The addresses that one endpoint got, packed, with the subnets they are from."""

    packed: bytes | None
    subnet: Subnet | None
    packed6: bytes | None
    subnet6: Subnet | None

    @property
    def placed(self) -> list[tuple[bytes, Subnet]]:
        """Each address with its subnet."""
        both = ((self.packed, self.subnet), (self.packed6, self.subnet6))
        return [(packed, subnet) for packed, subnet in both if packed is not None and subnet is not None]


class NetworkPools:
    """What one network takes from its pools, and gives back to them."""

    def __init__(self, pools: Pools, network: Network, own: Iterable[Address]) -> None:
        self._pools = pools
        self._network = network
        self._own = frozenset(own)
        rows = pools.records.pools(network.id)
        self._rows: dict[int, list[PoolRow]] = {
            version: [row for row in rows if row.subnet.version == version] for version in (4, 6)
        }
        self._usable = {version: bool(network.usable_subnets(version)) for version in (4, 6)}
        self._sources: dict[int, Source] = {}

    def take(self, ip: Address | None = None, ip6: Address | None = None) -> Taken:
        """One address of each family the network has, the given ones where they are given, or none at all.

        Raises:
            PoolExhausted, AddressTaken, AddressOutsideSubnet
        """
        packed, subnet = self._take_one(4, ip)
        try:
            packed6, subnet6 = self._take_one(6, ip6)
        except MacvfastError:
            if packed is not None and subnet is not None:
                self.give_back([(packed, subnet)])
            raise
        return Taken(packed, subnet, packed6, subnet6)

    def give_back(self, placed: Iterable[tuple[bytes, Subnet]]) -> None:
        """Release addresses that `take` gave; one that is free already stays so."""
        for packed, subnet in placed:
            for row in self._rows[subnet.version]:
                if row.subnet.first == subnet.first:
                    self._pool(row).release(int.from_bytes(packed))

    def save(self) -> None:
        """Write with which addresses it goes on; the pools themselves are `Pools.save`'s matter."""
        for rows in self._rows.values():
            for row in rows:
                source = self._sources.get(row.pool)
                if source is not None and source.next != row.next:
                    self._pools.records.save_next(self._network.id, row.pool, source.next)

    def _take_one(self, version: int, wanted: Address | None) -> tuple[bytes | None, Subnet | None]:
        if not self._usable[version]:
            if wanted is not None:
                raise AddressOutsideSubnet(str(wanted), [], self._network.name)
            return None, None
        rows = self._rows[version]
        if wanted is not None:
            for row in rows:
                if wanted in row.subnet.cidr:
                    self._reserve(row, wanted)
                    return wanted.packed, row.subnet
            raise AddressOutsideSubnet(str(wanted), [str(row.subnet.cidr) for row in rows], self._network.name)
        for row in rows:
            try:
                return self._pool(row).allocate(self._source(row)).packed, row.subnet
            except PoolExhausted:
                continue
        raise PoolExhausted(
            [str(row.subnet.cidr) for row in rows],
            self._network.name,
            f"IPv{version}",
            free_outside=any(self._free(row) for row in rows),
            all_kept=not any(self._had(row) for row in rows),
        )

    def _had(self, row: PoolRow) -> int:
        """How many addresses automatic allocation could have given before any was."""
        empty = Pool(row.subnet.cidr, ip_range=row.subnet.ranges or None)
        empty.avoid([*(one.address for one in self._kept(row)), *self._own_in(row)])
        return empty.available

    def _free(self, row: PoolRow) -> int:
        """How many addresses of a subnet `--ip` could still give."""
        pool = self._pool(row)
        return pool.free - sum(address not in pool for address in self._own_in(row))

    def _reserve(self, row: PoolRow, wanted: Address) -> None:
        pool = self._pool(row)
        if wanted not in pool:
            if wanted in self._own:
                raise AddressTaken(str(wanted), f"this host's own, on `{self._network.link}`")
            pool.reserve(wanted)
            return
        if (role := self._role(row, wanted)) is not None:
            raise AddressTaken(str(wanted), role)
        holder = self._pools.records.address_holder(row.pool, wanted.packed)
        raise AddressTaken(
            str(wanted),
            self._pools.holder(row.pool, wanted),
            hints=[f"leave the address out for the next free one, or `macvfast rm -f {holder[0]}` first"]
            if holder
            else [],
        )

    def _role(self, row: PoolRow, address: Address) -> str | None:
        """What an address is kept for, in words: of several networks that keep it, this one says what it is here."""
        kept = {one.network: one.role for one in self._kept(row) if one.address == address}
        own = kept.get(self._network.name, Pool(row.subnet.cidr).role(address))
        if own is not None:
            return f"the {own} of {row.subnet.cidr}"
        for network, role in kept.items():
            return f"the {role}" if network is None else f"the {role} of network `{network}`"
        return None

    def _kept(self, row: PoolRow) -> list[Kept]:
        return self._pools.records.kept(row.pool)

    def _own_in(self, row: PoolRow) -> list[Address]:
        return [address for address in self._own if address in row.subnet.cidr]

    def _pool(self, row: PoolRow) -> StoredPool:
        return self._pools.pool(row.pool, row.subnet.cidr, row.used)

    def _source(self, row: PoolRow) -> Source:
        """Where the network's automatic allocation takes addresses of that pool from."""
        found = self._sources.get(row.pool)
        if found is None:
            found = self._sources[row.pool] = Source(
                row.subnet.cidr,
                ip_range=row.subnet.ranges,
                order=self._network.order,
                begin=row.next,
                avoid=self._own_in(row),
            )
        return found
