"""Hypothesis strategies: what a pool can be given."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from hypothesis import strategies as st

MOST_HOST_BITS = 13
"""Pools of up to two pages: 8,192 addresses, which a set still counts quickly."""


@dataclass(frozen=True)
class PoolPlan:
    """A pool to be: its subnet, and all else as positions within it."""

    subnet: IPv4Network | IPv6Network
    ranges: tuple[tuple[int, int], ...] = ()
    gateway: int | None = None
    aux: dict[str, int] = field(default_factory=dict)
    order: str = "lowest"

    def address(self, ordinal: int) -> IPv4Address | IPv6Address:
        """The address at a position."""
        return self.subnet[ordinal]

    def arguments(self) -> dict[str, Any]:
        """What `Pool` is called with, beside the subnet."""
        return {
            "ip_range": [f"{self.address(first)}-{self.address(last)}" for first, last in self.ranges] or None,
            "gateway": None if self.gateway is None else self.address(self.gateway),
            "aux": {name: self.address(ordinal) for name, ordinal in self.aux.items()},
            "order": self.order,
        }


@st.composite
def subnets(draw: st.DrawFn, most_host_bits: int = MOST_HOST_BITS) -> IPv4Network | IPv6Network:
    """Subnets of either family, mostly small ones: what is at their ends is what goes wrong."""
    host_bits = draw(st.one_of(st.integers(0, min(6, most_host_bits)), st.integers(0, most_host_bits)))
    if draw(st.booleans()):
        base = draw(st.integers(1 << 24, (224 << 24) - 1)) >> host_bits << host_bits
        return IPv4Network((base, 32 - host_bits))
    base = draw(st.integers(0x2000 << 112, (0xFE00 << 112) - 1)) >> host_bits << host_bits
    return IPv6Network((base, 128 - host_bits))


def ends(subnet: IPv4Network | IPv6Network) -> set[int]:
    """Positions that the subnet reserves by itself."""
    size = subnet.num_addresses
    if size <= 2:
        return set()
    return {0, size - 1} if subnet.version == 4 else {0}


@st.composite
def plans(draw: st.DrawFn, most_host_bits: int = MOST_HOST_BITS) -> PoolPlan:
    """Pools with any number of ip-ranges, with and without gateway and aux addresses, in either order."""
    subnet = draw(subnets(most_host_bits))
    size = subnet.num_addresses
    ordinals = st.integers(0, size - 1)
    pairs = st.tuples(ordinals, ordinals).map(lambda pair: (min(pair), max(pair)))
    ranges = draw(st.lists(pairs, max_size=3))
    kept = ends(subnet)
    spare = ordinals.filter(lambda ordinal: ordinal not in kept)
    places = draw(st.lists(spare, unique=True, max_size=4))
    has_gateway = draw(st.booleans())
    gateway = places.pop() if places and has_gateway else None
    aux = {f"aux-{n}": ordinal for n, ordinal in enumerate(places)}
    order = draw(st.sampled_from(["lowest", "next"]))
    return PoolPlan(subnet, tuple(ranges), gateway, aux, order)
