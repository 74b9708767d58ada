"""Pools that Docker requests, and their addresses: as its IPAM driver.

A pool is of a domain: within one, a subnet is one pool, however often Docker requests it. An address is requested again
after a start of dockerd: in a later epoch, once. Within one epoch, it is taken.
"""

from __future__ import annotations

import secrets
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from macvfast.errors import AddressOutsideSubnet, AddressTaken, PoolExhausted, RequestInvalid, SubnetTaken
from macvfast.ipam import DefaultSubnets, Pools, Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from macvfast.engine.unfinished import UnfinishedWork
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Address, Cidr, Interface
    from macvfast.state.records import DockerPool, Records
    from macvfast.state.store import Store


class DockerPools:
    """Gives pools and addresses to Docker, and takes them back."""

    def __init__(self, store: Store, kernel: Kernel, unfinished: UnfinishedWork) -> None:
        self._store = store
        self._kernel = kernel
        self._unfinished = unfinished

    def request(self, domain: str, cidr: Cidr | None, ranges: Iterable[str]) -> tuple[str, Cidr]:
        """A pool of a subnet in a domain; None: the first free one of Docker's default subnets. Returns its id.

        Raises:
            SubnetTaken: it overlaps another of the domain without being the same.
            RangeInvalid, SubnetInvalid, PoolExhausted
        """
        with self._unfinished.taken_up(), self._store.writing() as records:
            if cidr is None:
                cidr = _default(records)
            for other in records.subnets_in(domain):
                if other != cidr and other.version == cidr.version and other.overlaps(cidr):
                    raise SubnetTaken(str(cidr), str(other), domain)
            kept = tuple(ranges)
            Source(cidr, ip_range=kept, order="lowest", begin=0, avoid=())
            id_ = secrets.token_hex(16)
            pools = Pools(records)
            pools.docker_pool(records.add_docker_pool(id_, domain, cidr, kept))
            pools.save()
            return id_, cidr

    def release(self, id_: str) -> None:
        """Forget a pool; one that is unknown stays so."""
        with self._unfinished.taken_up(), self._store.writing() as records:
            records.delete_docker_pool(id_)

    def request_address(self, id_: str, wanted: Address | None, epoch: str) -> Interface:
        """An address of a pool; None: the lowest one that is free.

        Args:
            id_: of the pool.
            epoch: of the caller: an address that it has from an earlier one is given once more.

        Raises:
            RequestInvalid: the pool is unknown.
            AddressTaken, AddressOutsideSubnet, PoolExhausted
        """
        own = {one for some in self._kernel.own_addresses().values() for one in some}
        with self._unfinished.taken_up(), self._store.writing() as records:
            found = _known(records, id_)
            pools = Pools(records)
            bits = pools.docker_pool(found).bits
            if wanted is None:
                avoided = [one for one in map(ip_address, own) if one in found.cidr]
                source = Source(found.cidr, ip_range=found.ranges, order="lowest", begin=0, avoid=avoided)
                address = bits.allocate(source)
            else:
                address = wanted
                if address not in found.cidr:
                    raise AddressOutsideSubnet(str(address), [str(found.cidr)], found.domain)
                before = records.docker_epoch(found.pool, address)
                if before == epoch or (before is None and address in bits):
                    raise AddressTaken(str(address))
                if before is None:
                    if address.packed in own:
                        raise AddressTaken(str(address), "this host's own")
                    bits.reserve(address)
            records.set_docker_address(found.pool, address, epoch)
            pools.save()
            return ip_interface(f"{address}/{found.cidr.prefixlen}")

    def release_address(self, id_: str, address: Address) -> None:
        """Free an address; one that is free, or of an unknown pool, stays so."""
        with self._unfinished.taken_up(), self._store.writing() as records:
            found = records.docker_pool(id_)
            if found is None or not records.delete_docker_address(found.pool, address):
                return
            pools = Pools(records)
            pools.docker_pool(found).bits.release(address)
            pools.save()


def _known(records: Records, id_: str) -> DockerPool:
    found = records.docker_pool(id_)
    if found is None:
        raise RequestInvalid(f"there is no pool {id_}")
    return found


def _default(records: Records) -> Cidr:
    text = DefaultSubnets(records.all_subnets()).first()
    if text is None:
        raise PoolExhausted(["172.16.0.0/12", "192.168.0.0/16"])
    return ip_network(text)
