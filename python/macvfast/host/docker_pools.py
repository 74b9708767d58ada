"""What `Host` does as Docker's IPAM driver: pools that Docker requests, and their addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import NoneType
from typing import TYPE_CHECKING

from macvfast.checks import plain, texts
from macvfast.host.opened import Opened

if TYPE_CHECKING:
    from macvfast.checks import Several
    from macvfast.model import Address, Cidr, Interface


class OfDockerPools(Opened):
    """Requested and released."""

    def request_pool(self, domain: str, cidr: Cidr | None = None, *, ip_ranges: Several[str] = ()) -> tuple[str, Cidr]:
        """A pool of a subnet, as Docker requests it. Returns the id by which Docker knows it, and the subnet.

        Args:
            domain: within which no address is given twice; a subnet is one pool there, however often it is requested.
            cidr: None: the first of Docker's default subnets that is free.
            ip_ranges: what automatic allocation gives.

        Raises:
            SubnetTaken: it overlaps another of the domain, and is not the same.
            SubnetInvalid, RangeInvalid, PoolExhausted
        """
        plain("domain", domain, str)
        plain("cidr", cidr, IPv4Network, IPv6Network, NoneType)
        return self._parts.engine.docker_pools.request(domain, cidr, texts("ip_ranges", ip_ranges))

    def release_pool(self, pool_id: str) -> None:
        """Release a pool, with the addresses that Docker has in it alone; one that is unknown stays so."""
        plain("pool_id", pool_id, str)
        self._parts.engine.docker_pools.release(pool_id)

    def request_address(self, pool_id: str, address: Address | None, epoch: str) -> Interface:
        """An address of a pool; None: the lowest that is free, and that the host itself has not.

        Args:
            epoch: which run of Docker asks: what it has from an earlier one it may request once more.

        Raises:
            RequestInvalid: the pool is unknown.
            AddressTaken, AddressOutsideSubnet, PoolExhausted
        """
        plain("pool_id", pool_id, str)
        plain("address", address, IPv4Address, IPv6Address, NoneType)
        plain("epoch", epoch, str)
        return self._parts.engine.docker_pools.request_address(pool_id, address, epoch)

    def release_address(self, pool_id: str, address: Address) -> None:
        """Free an address of a pool; one that is free stays so."""
        plain("pool_id", pool_id, str)
        plain("address", address, IPv4Address, IPv6Address)
        self._parts.engine.docker_pools.release_address(pool_id, address)
