"""How full pools are, in two numbers each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from macvfast.model import Network, Subnet


class PoolUsage(NamedTuple):
    """One subnet of a network, as far as its addresses are given automatically: from its ip-ranges, or all of it.

    Attributes:
        subnet: it.
        in_use: how many of these addresses endpoints have, of all networks that share the pool.
        capacity: how many they can have: gateways, aux addresses, reservations, the subnet's own ends and what the host
            has itself on the parent are not counted.
    """

    subnet: Subnet
    in_use: int
    capacity: int

    @property
    def free(self) -> int:
        """How many are free."""
        return self.capacity - self.in_use

    @property
    def share(self) -> float:
        """How full it is, from 0 to 1. Without capacity it is full."""
        return self.in_use / self.capacity if self.capacity else 1.0


class NetworkUsage(NamedTuple):
    """A network with the usage of its subnets, in their order."""

    network: Network
    pools: tuple[PoolUsage, ...]
