"""A network's addresses: which subnet each part of a request belongs to, the pools behind them, and how full they are.

The door to the native allocator. The rules within one subnet (reserved ends, ip-ranges, gateway, aux addresses, order)
live there, in `rust/ipam`; here is what concerns several subnets (`subnets`) and several networks (`pools`).
"""

from macvfast._core import Addresses, Pool, Source
from macvfast.ipam.fullness import fullness
from macvfast.ipam.pools import NetworkPools, Pools, Taken, Wish
from macvfast.ipam.subnets import DefaultSubnets, OnParent, settle_subnets

__all__ = [
    "Addresses", "DefaultSubnets", "NetworkPools", "OnParent", "Pool", "Pools", "Source", "Taken", "Wish",
    "fullness", "settle_subnets",
]  # fmt: skip
