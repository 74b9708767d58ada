"""What `Host` does as Docker's IPAM driver: pools that Docker requests, and their addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import NoneType
from typing import TYPE_CHECKING

from macvfast.checks import plain, texts
from macvfast.host.opened import Opened

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from macvfast.checks import Several
    from macvfast.model import Address, Cidr, DockerAddress, DockerPool, Interface


class OfDockerPools(Opened):
    """Requested and released."""

    def request_pool(
        self, domain: str, cidr: Cidr | None = None, *, ip_ranges: Several[str] = (), epoch: str = ""
    ) -> tuple[str, Cidr]:
        """A pool of a subnet, as Docker requests it. Returns the id by which Docker knows it, and the subnet.

        Args:
            domain: within which no address is given twice: of Docker's (`docker:NAME`), or of a link (`link:NAME`),
                whose networks share a subnet's addresses with Docker.
            cidr: None: the first of Docker's default subnets that is free.
            ip_ranges: what automatic allocation gives.
            epoch: which run of Docker asks: the same pool of an earlier one is given once more.

        Raises:
            PoolTaken, SubnetTaken: it overlaps another of the domain.
            SubnetInvalid, RangeInvalid, PoolExhausted
        """
        plain("domain", domain, str)
        plain("epoch", epoch, str)
        plain("cidr", cidr, IPv4Network, IPv6Network, NoneType)
        return self._parts.engine.docker_pools.request(domain, cidr, texts("ip_ranges", ip_ranges), epoch)

    def release_pool(self, pool_id: str, *, epoch: str | None = None) -> None:
        """Release a pool, with the addresses that Docker has in it alone; one that is unknown stays so. `epoch`: only
        if it was requested first in that one.
        """
        plain("pool_id", pool_id, str)
        plain("epoch", epoch, str, NoneType)
        self._parts.engine.docker_pools.release(pool_id, epoch)

    def request_address(self, pool_id: str, address: Address | None, epoch: str, *, gateway: bool = False) -> Interface:
        """An address of a pool; None: the lowest that is free, and that the host itself has not.

        Args:
            epoch: which run of Docker asks: what it has from an earlier one it may request once more.
            gateway: whether it is a gateway's: without an address, that of other networks with the subnet, or of the
                host's default route, comes first; and one that these have is given, too.

        Raises:
            PoolUnknown, AddressTaken, AddressOutsideSubnet, PoolExhausted
        """
        plain("pool_id", pool_id, str)
        plain("address", address, IPv4Address, IPv6Address, NoneType)
        plain("epoch", epoch, str)
        return self._parts.engine.docker_pools.request_address(pool_id, address, epoch, gateway=gateway)

    def release_address(self, pool_id: str, address: Address, *, epoch: str | None = None) -> None:
        """Free an address of a pool; one that is free stays so, and one that is kept (`keep_linked`) stays taken.
        `epoch`: only if it was requested first in that one.
        """
        plain("pool_id", pool_id, str)
        plain("address", address, IPv4Address, IPv6Address)
        plain("epoch", epoch, str, NoneType)
        self._parts.engine.docker_pools.release_address(pool_id, address, epoch)

    def keep_linked(self, endpoint_id: str) -> None:
        """Keep the addresses that Docker has for a noted endpoint, whose link could not be removed: they stay taken as
        long as it, or its link in place, is recorded, and then until `free_docker`, or Docker, frees them.
        """
        plain("endpoint_id", endpoint_id, str)
        self._parts.engine.docker_pools.keep_linked(endpoint_id)

    def domain_of_parent(self, name: str) -> str:
        """The layer-2 domain of a link that is a parent, or is going to be one, by any of its names."""
        plain("name", name, str)
        return self._parts.engine.docker_pools.domain_of_parent(name)

    def docker_pools(self) -> list[tuple[DockerPool, list[DockerAddress]]]:
        """The pools that Docker has requested, by domain, each with the addresses that Docker has."""
        with self._store.reading() as records:
            return [(one.said, records.docker_addresses(one.number)) for one in records.docker_pools()]

    def free_docker(self, known: Collection[tuple[str, Address]], pools: Collection[str], until: datetime) -> list[str]:
        """Free what Docker no longer knows, and has not requested since a time. Returns what was freed, in words.

        Args:
            known: the addresses that it knows, each with the id of the pool.
            pools: the ids of the pools that it knows.
            until: a time before Docker was asked for them: what it has requested since then stays.
        """
        return self._parts.engine.docker_pools.free(known, pools, until)
