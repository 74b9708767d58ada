"""Pools that Docker requests, and their addresses: as its IPAM driver.

Docker has a subnet of a layer-2 domain once, and no two that overlap: as with its own IPAM. When it has started, it
says again what it has: that is a later epoch, in which each pool and each address that is recorded may be requested
once more, as long as the dockerd that had it runs no more. It then is claimed; what is claimed is taken.
"""

from __future__ import annotations

import secrets
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.carriers import own_addresses
from macvfast.engine.parents import HomeAddresses
from macvfast.errors import AddressOutsideSubnet, AddressTaken, PoolExhausted, PoolTaken, PoolUnknown
from macvfast.ipam import DefaultSubnets, Pool, Pools, Source
from macvfast.ipam.subnets import DomainSubnets, refuse_unfit
from macvfast.model import DockerAddress, DockerPool, domain_of, process_in
from macvfast.outcomes import Freed
from macvfast.state.records import now
from macvfast.system.processes import Process

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from macvfast.engine.unfinished import UnfinishedWork
    from macvfast.ipam.shared import SharedPool
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Address, Cidr, Interface
    from macvfast.state.records import DockerPoolRow, Records
    from macvfast.state.store import Store


_GC = "`macvfast gc` removes what Docker does not have any more"


class DockerPools:
    """Gives pools and addresses to Docker, and takes them back."""

    def __init__(self, store: Store, kernel: Kernel, unfinished: UnfinishedWork) -> None:
        self._store = store
        self._kernel = kernel
        self._unfinished = unfinished

    # Pools.

    def request(self, domain: str, cidr: Cidr | None, ranges: Iterable[str], epoch: str) -> tuple[str, Cidr]:
        """A pool of a subnet in a domain; None: the first free one of Docker's default subnets. Returns its id.

        Raises:
            PoolTaken, SubnetTaken: it overlaps another of the domain.
            RangeInvalid, SubnetInvalid, PoolExhausted
        """
        with self._unfinished.taken_up(), self._store.writing() as records:
            if cidr is None:
                near = HomeAddresses(self._kernel).subnets(plan.Links(self._kernel.links()))
                cidr = _default(records, near)
            wanted = DockerPool(secrets.token_hex(16), domain, cidr, tuple(ranges), epoch, now())
            there = records.docker_pool_of(domain, cidr)
            if there is not None:
                if there.said.ranges != wanted.ranges or not self._may_claim(there.said.epoch, epoch):
                    raise PoolTaken(str(cidr), str(cidr), domain)
                records.claim_docker_pool(there.said.id, epoch, wanted.at)
                return there.said.id, cidr
            refuse_unfit(cidr)
            # What else has something wrong is refused here.
            Pool(cidr, ip_range=wanted.ranges or None)
            pools = Pools(records)
            other = DomainSubnets(records.subnets_in(domain)).overlapping(cidr)
            if other is not None and other != cidr:
                raise pools.taken(cidr, other, domain)
            pools.docker_pool(records.add_docker_pool(wanted))
            pools.save()
            return wanted.id, cidr

    def domain_of_parent(self, name: str) -> str:
        """The layer-2 domain of a link, by any of its names; of one that is going to be made, by that name."""
        link = self._kernel.link(name)
        return domain_of(name if link is None else link.ifname, None)

    def release(self, id_: str, epoch: str | None = None) -> None:
        """Forget a pool, with what Docker has in it; one that is unknown stays so, and with an epoch one that was there
        before.
        """
        with self._unfinished.taken_up(), self._store.writing() as records:
            found = records.docker_pool(id_)
            if found is not None and (epoch is None or records.was_given(found.number, None, epoch)):
                _release(records, found, [one.address for one in records.docker_addresses(found.number)])
                records.delete_docker_pool(found)

    # Addresses.

    def request_address(self, id_: str, wanted: Address | None, epoch: str, *, gateway: bool = False) -> Interface:
        """An address of a pool; None: the lowest one that is free; as a gateway, that which others on the domain have,
        or the host itself by the parent. Of IPv6 none is chosen, since routers advertise themselves: the first address
        of the subnet, which nobody has, stands for that.

        Args:
            id_: of the pool.
            wanted: the address.
            epoch: of the caller: an address that it has from an earlier one is given once more.
            gateway: whether it is for a gateway: of one domain, several networks may have the same.

        Raises:
            PoolUnknown, AddressTaken, AddressOutsideSubnet, PoolExhausted
        """
        with self._unfinished.taken_up(), self._store.writing() as records:
            found = records.docker_pool(id_)
            if found is None:
                raise PoolUnknown(id_)
            cidr, pools, own = found.said.cidr, Pools(records), self._own_addresses(found.said.domain)
            pool = pools.docker_pool(found)
            none = cidr.network_address if gateway and cidr.version == 6 and cidr.num_addresses > 2 else None
            if wanted is None and gateway:
                wanted = self._gateway(found, pool, own or ())
            if wanted is None and none is not None:
                wanted = none
            elif wanted is None:
                avoided = [one for one in (self._all_own_addresses() if own is None else own) if one in cidr]
                source = Source(cidr, ip_range=found.said.ranges, order="lowest", begin=0, avoid=avoided)
                wanted = pool.bits.allocate(source)
            elif wanted not in cidr:
                raise AddressOutsideSubnet(str(wanted), [str(cidr)])
            elif not self._claims(records, found, wanted, epoch):
                _take(pool, found, wanted, own or (), gateway=gateway)
            records.set_docker_address(found.number, DockerAddress(wanted, epoch, now(), gateway))
            pools.save()
            return ip_interface(f"{wanted}/{cidr.prefixlen}")

    def _claims(self, records: Records, found: DockerPoolRow, wanted: Address, epoch: str) -> bool:
        """Whether Docker has an address from an earlier epoch, and may have it once more.

        Raises:
            AddressTaken: it has it in this one.
        """
        before = records.docker_epoch(found.number, wanted)
        if before is None:
            return False
        if (linked := records.linked(found.number, wanted)) is not None:
            holder = f"that of endpoint {linked[:12]}, whose link could not be removed"
            raise AddressTaken(str(wanted), holder, hints=[_GC])
        if not self._may_claim(before, epoch):
            raise AddressTaken(str(wanted), "Docker's already")
        return True

    def _may_claim(self, before: str, epoch: str) -> bool:
        """Whether what was requested in an epoch may be requested again in another: its dockerd runs no more."""
        process = process_in(before, self._kernel.boot_id())
        return before != epoch and (process is None or not Process(*process).alive())

    def release_address(self, id_: str, address: Address, epoch: str | None = None) -> None:
        """Free an address; one that is free, or of an unknown pool, stays so, and with an epoch one that Docker had
        before. Where the link of an endpoint may be there with it, it stays taken until `free`: Docker gives it back
        whatever became of the endpoint.
        """
        with self._unfinished.taken_up(), self._store.writing() as records:
            found = records.docker_pool(id_)
            if found is None or (epoch is not None and not records.was_given(found.number, address, epoch)):
                return
            if records.linked(found.number, address) is None:
                _release(records, found, [address])

    def keep_linked(self, endpoint: str) -> None:
        """Have the addresses of a noted endpoint stay taken as long as it is recorded: its link may be there."""
        with self._unfinished.taken_up(), self._store.writing() as records:
            if (noted := records.noted(endpoint)) is not None:
                records.note_linked(endpoint, noted.addresses)

    # What Docker no longer has.

    def free_all(self) -> list[Freed]:
        """Free all that Docker has, where the state is open for Docker."""
        if self._store.origin != "docker":
            return []
        return [Freed(kind="address", name=one, reason="docker made it") for one in self.free([], [], now())]

    def free(self, known: Collection[tuple[str, Address]], pools: Collection[str], until: datetime) -> list[str]:
        """Free what Docker no longer knows, and has not requested since a time. Returns what was freed, in words.

        Args:
            known: the addresses that it knows, each with the id of the pool; gateways are known with their pools.
            pools: the ids of the pools that it knows.
            until: when it was not asked yet what it knows.
        """
        freed: list[str] = []
        with self._unfinished.taken_up(), self._store.writing() as records:
            for row in records.docker_pools():
                has = records.docker_addresses(row.number)
                if row.said.id not in pools and max([row.said.at, *(one.at for one in has)]) <= until:
                    _release(records, row, [one.address for one in has])
                    records.delete_docker_pool(row)
                    freed.append(f"pool {row.said.cidr} of {row.said.domain}")
                    continue
                going = [
                    one.address
                    for one in has
                    if one.at <= until
                    and not one.gateway
                    and (row.said.id, one.address) not in known
                    and records.linked(row.number, one.address) is None
                ]
                _release(records, row, going)
                freed += [f"{one} of {row.said.domain}" for one in going]
        return freed

    def _own_addresses(self, domain: str) -> tuple[Address, ...] | None:
        """What the host itself has on the link whose domain it is; None: which link that is, is not known."""
        kind, _, name = domain.partition(":")
        return own_addresses(self._kernel, name) if kind == "link" else None

    def _all_own_addresses(self) -> set[Address]:
        return {ip_address(packed) for some in self._kernel.own_addresses().values() for packed in some}

    def _gateway(self, found: DockerPoolRow, pool: SharedPool, own: Collection[Address]) -> Address | None:
        """The gateway that goes without saying: of another network of the domain, or of the host's own default route by
        the link that is the domain.
        """
        if (there := pool.gateway()) is not None:
            return there[0]
        kind, _, name = found.said.domain.partition(":")
        link = self._kernel.link(name) if kind == "link" else None
        if link is None or found.said.cidr.version == 6:
            return None
        routes = self._kernel.routes(default_only=True)
        routers = (ip_address(one.gateway) for one in routes if one.gateway is not None and one.ifindex == link.ifindex)
        return next((one for one in routers if one in found.said.cidr and one not in own), None)


def _take(pool: SharedPool, found: DockerPoolRow, wanted: Address, own: Collection[Address], *, gateway: bool) -> None:
    """Take an address; or have it that Docker has a gateway, too, which networks keep.

    Raises:
        AddressTaken
    """
    if wanted in own:
        raise AddressTaken(str(wanted), "this host's own")
    if wanted not in pool.bits:
        pool.bits.reserve(wanted)
        return
    cidr = found.said.cidr
    if (role := Pool(cidr).role(wanted)) is not None:
        raise AddressTaken(str(wanted), f"the {role} of {cidr}")
    kept = pool.kept.get(wanted, {})
    if gateway and kept and None not in kept:
        return
    for network, one in kept.items():
        raise AddressTaken(str(wanted), f"the {one}" if network is None else f"the {one} of network `{network}`")
    raise AddressTaken(str(wanted), pool.holder_text(wanted))


def _release(records: Records, found: DockerPoolRow, addresses: Iterable[Address]) -> None:
    """Free what Docker has of some addresses, and nobody else keeps."""
    going = [one for one in addresses if records.delete_docker_address(found.number, one)]
    if going:
        pools = Pools(records)
        pool, kept = pools.docker_pool(found), records.kept_by_others(found.number, going)
        for one in going:
            if one not in kept and Pool(found.said.cidr).role(one) is None:
                pool.bits.release(one)
        pools.save()


def _default(records: Records, near: Iterable[Cidr]) -> Cidr:
    """The first of Docker's default subnets that overlaps none that is recorded, nor one near this host."""
    text = DefaultSubnets([*records.all_subnets(), *near]).first()
    if text is None:
        raise PoolExhausted(["172.16.0.0/12", "192.168.0.0/16"])
    return ip_network(text)
