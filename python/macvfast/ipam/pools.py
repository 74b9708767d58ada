"""The pools of one transaction: what networks take from them and give back, and what they keep.

A pool belongs to one subnet of a layer-2 domain. Networks that have the same subnet in one domain share it: each
address is given once, what one network keeps none gives, and each gives automatically from its own ip-ranges.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING

from macvfast._core import Pool, Source
from macvfast.errors import AddressOutsideSubnet, AddressTaken, MacvfastError, PoolExhausted, PoolTaken, SubnetTaken
from macvfast.ipam.shared import SharedPool
from macvfast.ipam.subnets import DomainSubnets
from macvfast.state.records import Kept, kept_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from macvfast.model import Address, Cidr, Network, Subnet
    from macvfast.state.records import DockerPoolRow, PoolRow, Records


class Pools:
    """The pools that one transaction uses, each read once, page by page as they are touched, and written by `save`."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self._open: dict[int, SharedPool] = {}
        # The subnets in each layer-2 domain.
        self._in: dict[str, DomainSubnets] = {}
        self._networks: dict[str, NetworkPools] = {}

    def of(self, network: Network, own: Iterable[Address] = ()) -> NetworkPools:
        """The pools of a network; what the host has itself on its parent (`own`) is given to nobody."""
        found = self._networks.get(network.id)
        if found is None:
            found = self._networks[network.id] = NetworkPools(self, network, own)
        return found

    def pool(self, row: PoolRow) -> SharedPool:
        """The pool of a network's subnet, as it is in this transaction by now."""
        return self._pool(row.pool, row.subnet.cidr, row.used)

    def docker_pool(self, row: DockerPoolRow) -> SharedPool:
        """A pool that Docker has requested, as it is in this transaction by now."""
        return self._pool(row.number, row.said.cidr, row.used)

    def taken(self, cidr: Cidr, other: Cidr, domain: str) -> MacvfastError:
        """The refusal of a subnet that overlaps another in a layer-2 domain."""
        network = self.records.network_with(domain, other)
        if network is None:
            return PoolTaken(str(cidr), str(other), domain)
        return SubnetTaken(str(cidr), str(other), network)

    def neighbour(self, domain: str, cidr: Cidr) -> SharedPool | None:
        """The pool of a subnet that a network in that layer-2 domain has already."""
        there = self.records.pool_of(domain, cidr)
        return None if there is None else self._pool(there[0], cidr, there[1])

    def _pool(self, number: int, cidr: Cidr, used: int | None) -> SharedPool:
        found = self._open.get(number)
        if found is None:
            found = self._open[number] = SharedPool(self.records, number, cidr, used)
        return found

    def save(self) -> None:
        """Write what changed back into the transaction."""
        for network in self._networks.values():
            network.save()
        for pool in self._open.values():
            pool.save()

    # What networks keep.

    @contextmanager
    def changing(self, network: Network) -> Iterator[None]:
        """Within this, the network is recorded, anew or as it is from now on; then its pools keep what it keeps.

        Raises:
            SubnetTaken: a subnet overlaps that of another network in its domain without being the same.
            AddressTaken: an endpoint has an address that it is to keep. Nothing was changed.
        """
        domain = network.domain
        subnets = self._in.get(domain)
        if subnets is None:
            subnets = self._in[domain] = DomainSubnets(self.records.subnets_in(domain))
        for subnet in network.subnets:
            other = subnets.overlapping(subnet.cidr)
            if other is not None and other != subnet.cidr:
                raise self.taken(subnet.cidr, other, domain)
            there = self.neighbour(domain, subnet.cidr)
            if there is not None:
                there.refuse_held(_kept(network, subnet))
        yield
        for row in self.records.pools(network.id):
            # What was not opened above is a new pool.
            pool = self._open.get(row.pool) or self._pool(row.pool, row.subnet.cidr, None)
            pool.keep(_kept(network, row.subnet))
            subnets.add(row.subnet.cidr)

    def reserve(self, network: Network, kind: str, owners: Mapping[Address, str]) -> None:
        """Reserve those addresses of a network that are free, each for its owner."""
        for row in self.records.pools(network.id):
            pool = self.pool(row)
            for address, owner in owners.items():
                if address in row.subnet.cidr and address not in pool.bits:
                    pool.keep([Kept(address, f"{kind} of {owner}", None)])
                    self.records.reserve(row.pool, address, kind, owner)

    def take_out(self, network: Network) -> None:
        """From now on in this transaction, what a recorded network keeps is free, unless others keep it: it is about to
        be changed, or to be forgotten.
        """
        for row in self.records.pools(network.id):
            self.pool(row).let_go(_kept(network, row.subnet))

    def leave(self, network: Network) -> None:
        """Forget a network; a pool goes with its last one, and what the others do not keep is free for them."""
        rows = self.records.pools(network.id)
        last = [row.pool for row in rows if not self.records.is_shared(row.pool)]
        for row in rows:
            if row.pool not in last:
                self.pool(row).let_go(_kept(network, row.subnet))
        self.records.delete_network(network.id)
        for number in last:
            self.records.delete_pool(number)
            self._open.pop(number, None)


def _kept(network: Network, subnet: Subnet) -> Iterator[Kept]:
    return kept_by(network.name, subnet.gateway, subnet.aux)


@dataclass(frozen=True, slots=True)
class Taken:
    """The addresses that one endpoint got, packed, with the subnets they are from."""

    packed: bytes | None
    subnet: Subnet | None
    packed6: bytes | None
    subnet6: Subnet | None
    # With which ordinals the order `next` would have gone on.
    before: tuple[tuple[Source, int], ...] = field(default=(), compare=False)

    @property
    def placed(self) -> list[tuple[bytes, Subnet]]:
        """Each address with its subnet."""
        both = ((self.packed, self.subnet), (self.packed6, self.subnet6))
        return [(packed, subnet) for packed, subnet in both if packed is not None and subnet is not None]


@dataclass(frozen=True, slots=True)
class Wish:
    """Which addresses an endpoint is to have.

    Args:
        ip, ip6: the address of each family; None: an automatic one.
        sandbox: the name of its sandbox.
        never: addresses that it does not get automatically, packed.
        prefers: addresses that it gets in the place of automatic ones, if they are free, packed.
        clash: says of an IPv4 address why no endpoint can have it that has its MAC from it; None: this one has not.
    """

    ip: Address | None = None
    ip6: Address | None = None
    sandbox: str = ""
    never: frozenset[bytes] = frozenset()
    prefers: tuple[bytes, ...] = ()
    clash: Callable[[bytes], MacvfastError | None] | None = None


class NetworkPools:
    """What one network takes from its pools, and gives back to them."""

    def __init__(self, pools: Pools, network: Network, own: Iterable[Address]) -> None:
        self._network = network
        host = frozenset(own)
        shares = [_Share(pools, network, row, host) for row in pools.records.pools(network.id)]
        self._shares = {version: [one for one in shares if one.subnet.version == version] for version in (4, 6)}
        self._usable = {version: bool(network.usable_subnets(version)) for version in (4, 6)}

    def take(self, wish: Wish) -> Taken:
        """One address of each family the network has, or none at all.

        Raises:
            PoolExhausted, AddressTaken, AddressOutsideSubnet, and what `clash` gives, where that is why there is none
        """
        packed, subnet, before = self._take_one(4, wish.ip, wish)
        try:
            packed6, subnet6, before6 = self._take_one(6, wish.ip6, wish)
        except MacvfastError:
            self.take_back(Taken(packed, subnet, None, None, before))
            raise
        return Taken(packed, subnet, packed6, subnet6, before + before6)

    def give_back(self, placed: Iterable[tuple[bytes, Subnet]]) -> None:
        """Release addresses that `take` gave; one that is free already stays so."""
        for packed, subnet in placed:
            for share in self._shares[subnet.version]:
                if share.subnet.first == subnet.first:
                    share.release(packed)

    def take_back(self, taken: Taken) -> None:
        """Have it that these addresses were never given; of several, the last first."""
        self.give_back(taken.placed)
        for source, ordinal in taken.before:
            source.go_on(ordinal)

    def save(self) -> None:
        """Write with which addresses it goes on; the pools themselves are `Pools.save`'s matter."""
        for shares in self._shares.values():
            for share in shares:
                share.save()

    def _take_one(
        self, version: int, wanted: Address | None, wish: Wish
    ) -> tuple[bytes | None, Subnet | None, tuple[tuple[Source, int], ...]]:
        """An address of a family, its subnet, and where the order `next` stood."""
        shares = self._shares[version] if self._usable[version] else []
        if wanted is not None:
            for share in shares:
                if wanted in share.subnet.cidr:
                    share.reserve(wanted, wish.sandbox)
                    return wanted.packed, share.subnet, ()
            raise AddressOutsideSubnet(str(wanted), [str(share.subnet.cidr) for share in shares], self._network.name)
        if (given := _first(shares, lambda share: share.prefer(wish))) is not None:
            return given
        for share in shares:
            before = (share.source, share.source.next)
            try:
                return share.allocate(wish), share.subnet, (before,)
            except PoolExhausted:
                continue
        if not shares:
            return None, None, ()
        # What is kept for those who may come back goes when nothing else is left.
        if (given := _first(shares, lambda share: share.give_remembered(wish))) is not None:
            return given
        for share in reversed(shares):
            if (why := share.why_passed(wish)) is not None:
                raise why
        raise PoolExhausted(
            [str(share.subnet.cidr) for share in shares],
            self._network.name,
            f"IPv{version}",
            ranges=[
                one for share in shares for one in share.subnet.ranges if all(other.subnet.ranges for other in shares)
            ],
            free_outside=any(share.has_free() for share in shares),
            all_kept=not any(share.could_give for share in shares),
        )


def _first(
    shares: Iterable[_Share], give: Callable[[_Share], bytes | None]
) -> tuple[bytes, Subnet, tuple[tuple[Source, int], ...]] | None:
    """What the first share gives that gives something, with its subnet; in the order `next`, nothing goes on."""
    return next(((packed, share.subnet, ()) for share in shares if (packed := give(share)) is not None), None)


class _Share:
    """What one network has of the pool of one of its subnets."""

    def __init__(self, pools: Pools, network: Network, row: PoolRow, host: frozenset[Address]) -> None:
        self.subnet = row.subnet
        self._pools = pools
        self._network = network
        self._row = row
        self._host = host
        self._checked = False

    @cached_property
    def pool(self) -> SharedPool:
        """The pool, opened when it is first needed."""
        return self._pools.pool(self._row)

    @cached_property
    def own(self) -> list[Address]:
        """What the host itself has in the subnet."""
        return [address for address in self._host if address in self.subnet.cidr]

    @cached_property
    def source(self) -> Source:
        """Where the network's automatic allocation takes addresses from."""
        return Source(
            self.subnet.cidr,
            ip_range=self.subnet.ranges,
            order=self._network.order,
            begin=self._row.next,
            avoid=[*self.own, *map(ip_address, self.remembered)],
        )

    @cached_property
    def remembered(self) -> dict[bytes, None]:
        """The addresses in the subnet that are remembered for containers which had them, oldest first."""
        rows = self._pools.records.remembered_in(self._row.pool)
        of_family = (row.packed if self.subnet.version == 4 else row.packed6 for row in rows)
        first, last = self.subnet.cidr.network_address.packed, self.subnet.cidr.broadcast_address.packed
        return dict.fromkeys(packed for packed in of_family if packed is not None and first <= packed <= last)

    @cached_property
    def could_give(self) -> bool:
        """Whether automatic allocation could have given any address before it gave the first."""
        empty = Pool(self.subnet.cidr, ip_range=self.subnet.ranges or None)
        empty.avoid([*self.pool.kept, *self.own])
        return empty.available > 0

    def allocate(self, wish: Wish) -> bytes:
        """Give an endpoint the next address of the network's order that it can have.

        What another endpoint could not have either is passed over once for all of a transaction: it would be found
        again by each.
        """
        pool, begin, passed = self.pool, self.source.next, []
        if not self._checked:
            for kept in _kept(self._network, self.subnet):
                kept.refuse_free(self.subnet.cidr, pool.bits.__contains__)
            self._checked = True
        if wish.clash is None:
            pool.take_back_passed()
        try:
            while True:
                packed = pool.bits.allocate(self.source).packed
                if packed in wish.never:
                    passed.append(packed)
                elif self._clash(wish, packed) is not None:
                    pool.pass_over(packed)
                else:
                    break
        except PoolExhausted:
            self.source.go_on(begin)
            raise
        finally:
            for one in passed:
                pool.bits.release(int.from_bytes(one))
        pool.given[packed] = (wish.sandbox, self._network.name)
        return packed

    def prefer(self, wish: Wish) -> bytes | None:
        """Give an endpoint one of those that it prefers; None: none is free, or it cannot have it."""
        return next((one for one in wish.prefers if self._give(one, wish)), None)

    def give_remembered(self, wish: Wish) -> bytes | None:
        """Give an endpoint the one that has been remembered longest, of those that are given automatically."""
        return next(
            (
                one
                for one in self.remembered
                if any(first <= int.from_bytes(one) <= last for first, last in self.source.ranges)
                and self._give(one, wish)
            ),
            None,
        )

    def _give(self, packed: bytes, wish: Wish) -> bool:
        """Give an endpoint an address of this subnet that is free, and that it can have; False: it is none."""
        address = ip_address(packed)
        if address not in self.subnet.cidr or address in self.pool.bits or address in self._host:
            return False
        if packed in wish.never or self._clash(wish, packed) is not None:
            return False
        self.pool.bits.reserve(address)
        self.pool.given[packed] = (wish.sandbox, self._network.name)
        return True

    def why_passed(self, wish: Wish) -> MacvfastError | None:
        """Why the endpoint cannot have the last address that was passed over, of those that this network gives."""
        passed = self.pool.passed(self.source.ranges)
        return next(filter(None, (self._clash(wish, packed) for packed in passed)), None)

    def _clash(self, wish: Wish, packed: bytes) -> MacvfastError | None:
        return None if wish.clash is None or self.subnet.version == 6 else wish.clash(packed)

    def reserve(self, wanted: Address, sandbox: str) -> None:
        """Give a sandbox the address that it wants.

        Raises:
            AddressTaken
        """
        self.pool.take_back_passed(wanted.packed)
        if wanted not in self.pool.bits:
            if wanted in self._host:
                raise AddressTaken(str(wanted), f"this host's own, on `{self._network.link}`")
            self.pool.bits.reserve(wanted)
            self.pool.given[wanted.packed] = (sandbox, self._network.name)
            return
        if (role := self._role(wanted)) is not None:
            raise AddressTaken(str(wanted), role)
        holder = self.pool.holder(wanted)
        hints = (
            []
            if holder is None
            else [f"leave the address out for the next free one, or `macvfast rm -f {holder[0]}` first"]
        )
        raise AddressTaken(str(wanted), self.pool.holder_text(wanted), hints=hints)

    def release(self, packed: bytes) -> None:
        """Free an address; one that is free already stays so."""
        self.pool.bits.release(int.from_bytes(packed))
        self.pool.given.pop(packed, None)

    def has_free(self) -> bool:
        """Whether `--ip` could still give an address."""
        return self.pool.bits.free > sum(address not in self.pool.bits for address in self.own)

    def save(self) -> None:
        """Write with which ordinal the order `next` goes on."""
        if "source" in vars(self) and self.source.next != self._row.next:
            self._pools.records.save_next(self._network.id, self._row.pool, self.source.next)

    def _role(self, address: Address) -> str | None:
        """What an address is kept for, in words: of several networks that keep it, this one says what it is here."""
        kept = self.pool.kept.get(address, {})
        own = kept.get(self._network.name, Pool(self.subnet.cidr).role(address))
        if own is not None:
            return f"the {own} of {self.subnet.cidr}"
        for network, role in kept.items():
            return f"the {role}" if network is None else f"the {role} of network `{network}`"
        return None
