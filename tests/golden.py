"""Slow, obvious twins: what the fast parts are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network


class GoldenPool:
    """The addresses of one small subnet as a sorted set of integers, counted from its first address.

    Every rule is written as the guide states it, with no thought of speed.
    """

    def __init__(
        self,
        subnet: IPv4Network | IPv6Network,
        ranges: Sequence[tuple[int, int]] = (),
        gateway: int | None = None,
        aux: Mapping[str, int] | None = None,
        order: str = "lowest",
    ) -> None:
        self.subnet = subnet
        self.size = subnet.num_addresses
        self.order = order
        self.roles = self._roles(gateway, aux or {})
        self.used = set(self.roles)
        self.places = sorted({n for first, last in ranges or [(0, self.size - 1)] for n in range(first, last + 1)})
        self.avoided: set[int] = set()
        self.after_last_given = 0

    def _roles(self, gateway: int | None, aux: Mapping[str, int]) -> dict[int, str]:
        roles = {ordinal: f"aux address `{name}`" for name, ordinal in aux.items()}
        if gateway is not None:
            roles[gateway] = "gateway"
        if self.size > 2:
            if self.subnet.version == 4:
                roles |= {0: "network address", self.size - 1: "broadcast address"}
            else:
                roles[0] = "subnet-router anycast address"
        return roles

    def address(self, ordinal: int) -> IPv4Address | IPv6Address:
        """The address at a position."""
        return self.subnet[ordinal]

    def free_places(self) -> list[int]:
        """What automatic allocation can give, upward."""
        return [ordinal for ordinal in self.places if ordinal not in self.used | self.avoided]

    def allocate_many(self, count: int) -> list[int] | None:
        """The next `count` in the pool's order; None, and nothing is taken, where there are fewer."""
        free = self.free_places()
        if self.order == "next":
            free.sort(key=lambda ordinal: (ordinal < self.after_last_given, ordinal))
        if len(free) < count:
            return None
        given = free[:count]
        self.used.update(given)
        if given:
            self.after_last_given = given[-1] + 1
        return given

    def reserve(self, ordinal: int) -> bool:
        """Take one; False if it is in use, or somebody else's."""
        if ordinal in self.used | self.avoided:
            return False
        self.used.add(ordinal)
        return True

    def release(self, ordinal: int) -> bool:
        """Free one that has no role; False if it was free."""
        was_used = ordinal in self.used
        self.used.discard(ordinal)
        return was_used


class GoldenNetwork:
    """What one network may give of a subnet that it shares, and what it keeps."""

    def __init__(self, places: set[int], order: str, kept: set[int]) -> None:
        self.places = places
        self.order = order
        self.kept = kept
        self.after_last_given = 0


class GoldenShared:
    """The addresses of one small subnet that several networks share, as a set of integers."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.networks: dict[str, GoldenNetwork] = {}
        self.held: set[int] = set()

    def kept(self) -> set[int]:
        """What no network gives: what each keeps, and the ends of an IPv4 subnet."""
        return {0, self.size - 1}.union(*(network.kept for network in self.networks.values()))

    def allocate(self, name: str) -> int | None:
        """The next address of a network's ip-ranges in its order; None where there is none."""
        network = self.networks[name]
        free = sorted(network.places - self.held - self.kept())
        if network.order == "next":
            free.sort(key=lambda ordinal: ordinal < network.after_last_given)
        if not free:
            return None
        self.held.add(free[0])
        network.after_last_given = free[0] + 1
        return free[0]

    def take(self, ordinal: int) -> bool:
        """Take one; False if it is in use or kept."""
        free = ordinal not in self.held | self.kept()
        self.held.add(ordinal) if free else None
        return free
