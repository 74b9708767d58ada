"""The steps that make an endpoint: each is one request to the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from macvfast.model import KERNEL_METRICS

if TYPE_CHECKING:
    from macvfast.model import Route
    from macvfast.plan.links import RouteFacts


# The table of routes that is looked into (RT_TABLE_MAIN, linux/rtnetlink.h).
MAIN_TABLE = 254


@dataclass(frozen=True, slots=True)
class AddLink:
    """Make an endpoint's link in its namespace, complete, in one message. `attributes` are as in Batch.add_macvlan;
    `inside`: the parent is in that namespace, too.
    """

    driver: str
    mode: str
    flag: str | None
    ifname: str
    ifindex: int
    parent: int
    mac: bytes | None
    mtu: int | None
    group: int
    up: bool
    attributes: tuple[tuple[int, int], ...] = ()
    inside: bool = False


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Give a link an address. It goes with the link. `usual`: as in `Batch.add_address`."""

    ifindex: int
    address: bytes
    prefix_length: int
    usual: bool = False


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Add a route by a link, to a gateway or to the link itself. It goes with the link.

    Addresses are packed; numbers that are None are left to the kernel. Of a default route the prefix length is 0.
    `replaces`: the route is there with another MTU or segment size, and gets these. `beside`: another one to the same
    destination may be there.
    """

    ifindex: int
    destination: bytes
    prefix_length: int
    gateway: bytes | None
    metric: int | None = None
    mtu: int | None = None
    advmss: int | None = None
    table: int | None = None
    scope: int | None = None
    replaces: bool = False
    beside: bool = False

    @classmethod
    def of(cls, ifindex: int, route: Route) -> AddRoute:
        """The step that makes a route of an endpoint."""
        destination, via = route.destination, None if route.via is None else route.via.packed
        return cls(
            ifindex, destination.network_address.packed, destination.prefixlen, via, route.metric, route.mtu,
            route.advmss, route.table, route.scope,
        )  # fmt: skip

    @property
    def family(self) -> int:
        """4 or 6."""
        return 4 if len(self.destination) == 4 else 6

    @property
    def key(self) -> tuple[bytes, int, int]:
        """What the kernel tells routes apart by: destination, length of its prefix, and metric."""
        return self.destination, self.prefix_length, self.metric or KERNEL_METRICS[self.family]

    def is_(self, found: RouteFacts) -> bool:
        """Whether a route that is there is this one, whatever its MTU and segment size are by now."""
        return (found[:3], found.ifindex, found.gateway) == (self.key, self.ifindex, self.gateway)

    @property
    def limits(self) -> tuple[int | None, int | None]:
        """MTU and segment size as the kernel keeps them: it cuts off what no packet can have (net/ipv4/metrics.c)."""
        mtu, advmss = self.mtu, self.advmss
        return None if mtu is None else min(mtu, 65535 - 15), None if advmss is None else min(advmss, 65535 - 40)


@dataclass(frozen=True, slots=True)
class SetUp:
    """Bring up a link that had to be made down."""

    ifindex: int


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Delete a route that was added so; nothing where it is gone."""

    added: AddRoute

    @property
    def ifindex(self) -> int:
        """The link that it leaves by."""
        return self.added.ifindex


@dataclass(frozen=True, slots=True)
class SetOptions:
    """Give a macvlan the values of its network's options again."""

    ifindex: int
    options: tuple[tuple[str, str], ...]


Configure = AddAddress | AddRoute | DeleteRoute | SetUp | SetOptions
