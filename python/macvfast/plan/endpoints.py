"""Which steps make an endpoint, which links of a namespace are deleted, and which endpoint holds the default route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from macvfast.errors import (
    AlreadyConnected,
    EndpointAmbiguous,
    EndpointNotFound,
    MacInvalid,
    PassthruOccupied,
    RouteInvalid,
)
from macvfast.model import KERNEL_METRICS, SUBNET_METRICS, mac_text
from macvfast.options import kernel_attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from macvfast.model import Address, Cidr, Endpoint, Network, Route, Sandbox, Subnet
    from macvfast.plan.links import LinkFacts, RouteFacts


@dataclass(frozen=True, slots=True)
class AddLink:
    """Make an endpoint's link in its namespace, complete, in one message. `attributes` are as in Batch.add_macvlan."""

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


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Give a link an address. It goes with the link."""

    ifindex: int
    address: bytes
    prefix_length: int


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Add a route by a link, to a gateway or to the link itself. It goes with the link.

    Addresses are packed; numbers that are None are left to the kernel. Of a default route the prefix length is 0.
    `replaces`: the route is there with another MTU or segment size, and gets these.
    """

    ifindex: int
    destination: bytes
    prefix_length: int
    gateway: bytes | None
    metric: int | None = None
    mtu: int | None = None
    advmss: int | None = None
    replaces: bool = False

    @classmethod
    def of(cls, ifindex: int, route: Route) -> AddRoute:
        """The step that makes a route of an endpoint."""
        destination, via = route.destination, None if route.via is None else route.via.packed
        return cls(
            ifindex, destination.network_address.packed, destination.prefixlen, via, route.metric, route.mtu,
            route.advmss,
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
class SetOptions:
    """Give a macvlan the values of its network's options again."""

    ifindex: int
    options: tuple[tuple[str, str], ...]


Configure = AddAddress | AddRoute | SetUp | SetOptions


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """The steps that make one endpoint, in order: the link, its own sysctls, then what is configured on it."""

    link: AddLink
    link_sysctls: tuple[tuple[str, str], ...]
    configure: tuple[Configure, ...]


def default_families(network: Network, endpoint: Endpoint) -> set[int]:
    """The families (4, 6) in which the endpoint could hold its sandbox's default route."""
    families: set[int] = set()
    if network.has_default_route:
        routed = network.routed_by_link
        families = {subnet.version for _, subnet in endpoint.placed if subnet.gateway is not None or routed}
    if endpoint.routes:
        families |= {route.version for route in endpoint.routes if route.is_default}
    return families


def default_routes(network: Network, endpoint: Endpoint, family: int) -> list[AddRoute]:
    """The steps that make the endpoint hold the default route of a family: its own, or else the network's."""
    if endpoint.routes:
        own = [one for one in endpoint.routes if one.is_default and one.version == family]
        if own:
            return [AddRoute.of(endpoint.ifindex, one) for one in own]
    gateway = endpoint.gateway if family == 4 else endpoint.gateway6
    via = None if gateway is None or network.routed_by_link else gateway.packed
    return [AddRoute(endpoint.ifindex, _EVERYWHERE[family], 0, via)]


def routes_of(endpoint: Endpoint) -> list[AddRoute]:
    """The steps that make the endpoint's own routes, default routes left out; first those to the link itself, by which
    gateways may be reached.
    """
    own = sorted((one for one in endpoint.routes if not one.is_default), key=lambda one: one.via is not None)
    return [AddRoute.of(endpoint.ifindex, one) for one in own]


_EVERYWHERE = {4: bytes(4), 6: bytes(16)}

# The defaults of a namespace that a new link starts with.
IPV6_DEFAULTS = tuple(f"net/ipv6/conf/default/{name}" for name in ("disable_ipv6", "accept_ra", "autoconf"))


def ipv6_sysctls(scope: str, network: Network) -> tuple[tuple[str, str], ...]:
    """IPv6 off where the network has none; router advertisements only where it wants them.

    `scope` is `default`, for the links that will be made, or the name of one link.
    """
    if not network.usable_subnets(6):
        return ((f"net/ipv6/conf/{scope}/disable_ipv6", "1"),)
    advertised = "1" if takes_advertisements(network) else "0"
    return (
        (f"net/ipv6/conf/{scope}/disable_ipv6", "0"),
        (f"net/ipv6/conf/{scope}/accept_ra", advertised),
        (f"net/ipv6/conf/{scope}/autoconf", advertised),
    )


def takes_advertisements(network: Network) -> bool:
    """Whether endpoints accept router advertisements: as `ipv6_ra` says; else not with --internal or --gateway=none."""
    if network.ipv6_ra is not None:
        return network.ipv6_ra
    subnets = network.usable_subnets(6)
    wanted = any(subnet.gateway is not None or subnet.gateway_automatic for subnet in subnets)
    return not network.internal and (wanted or network.routed_by_link)


def plan_endpoint(
    network: Network, endpoint: Endpoint, parent: int, *, ready: bool, held: Iterable[int]
) -> EndpointPlan:
    """The steps that make an endpoint.

    Args:
        network, endpoint: as recorded; index, name, MAC and group are chosen already.
        parent: the parent link's index, in the home namespace.
        ready: whether new links in the namespace start with the settings that this one needs. Where they do not, in a
            namespace that others made, the link is made down, set, and brought up.
        held: the families whose default route an earlier endpoint in the namespace holds.
    """
    link = AddLink(
        driver=network.driver,
        mode=network.mode,
        flag=network.flag,
        ifname=endpoint.ifname,
        ifindex=endpoint.ifindex,
        parent=parent,
        mac=endpoint.mac if network.has_own_macs else None,
        mtu=endpoint.mtu or network.mtu,
        group=endpoint.group,
        up=ready,
        attributes=kernel_attributes(network.options),
    )
    configure: list[Configure] = [] if ready else [SetUp(endpoint.ifindex)]
    configure += [AddAddress(endpoint.ifindex, packed, subnet.cidr.prefixlen) for packed, subnet in endpoint.placed]
    if endpoint.routes:
        configure += routes_of(endpoint)
    for family in sorted(default_families(network, endpoint).difference(held)):
        configure += default_routes(network, endpoint, family)
    return EndpointPlan(
        link=link,
        link_sysctls=() if ready else ipv6_sysctls(endpoint.ifname, network),
        configure=tuple(configure),
    )


# Removing.


@dataclass(frozen=True, slots=True)
class ExpectedLink:
    """A link of ours, known by what the owner of its namespace cannot change: MAC, name and group can be changed."""

    ifindex: int
    kind: str

    @classmethod
    def of(cls, network: Network, endpoint: Endpoint) -> ExpectedLink:
        """The link of an endpoint."""
        return cls(endpoint.ifindex, network.driver)

    def is_(self, link: LinkFacts) -> bool:
        """Whether the link that has the index is that link."""
        return link.kind == self.kind


@dataclass(frozen=True, slots=True)
class GroupRemoval:
    """Links to delete in one go: by a group that no other link is in, or (0) by one that they are put into first."""

    ifindexes: tuple[int, ...]
    group: int


def group_removal(links: Iterable[LinkFacts], expected: Iterable[ExpectedLink]) -> GroupRemoval:
    """Those of the links that are expected ones, and the group that they and no other link are in.

    A link that has the index of one of ours and is of another kind is left alone.
    """
    there = list(links)
    by_index = {one.ifindex: one for one in expected}
    ours = [link for link in there if link.ifindex in by_index and by_index[link.ifindex].is_(link)]
    groups = {link.group for link in ours}
    group = groups.pop() if len(groups) == 1 else 0
    if group and sum(link.group == group for link in there) != len(ours):
        group = 0
    return GroupRemoval(tuple(link.ifindex for link in ours), group)


def held_families(siblings: Iterable[tuple[Network, Endpoint]]) -> set[int]:
    """The families whose default route one of a sandbox's endpoints holds."""
    return {family for network, endpoint in siblings for family in default_families(network, endpoint)}


def hand_over(
    leaving: tuple[Network, Endpoint],
    before: Sequence[tuple[Network, Endpoint]],
    after: Sequence[tuple[Network, Endpoint]],
) -> list[AddRoute]:
    """The default routes that other endpoints take over from one that leaves: per family, the one connected first.

    Args:
        leaving: the endpoint that leaves.
        before, after: those connected earlier and later, in the order of connection.
    """
    steps: list[AddRoute] = []
    for family in sorted(default_families(*leaving) - held_families(before)):
        for network, endpoint in after:
            if family in default_families(network, endpoint):
                steps += default_routes(network, endpoint, family)
                break
    return steps


def refuse_endpoint(
    network: Network,
    mac: bytes | None,
    occupants: Sequence[str],
    others: Iterable[tuple[Network, Endpoint]],
    sandbox: str,
) -> None:
    """Refuse an endpoint that the network cannot have, or the sandbox cannot.

    Args:
        network: the network to connect to.
        mac: the MAC asked for, if any.
        occupants: the sandboxes on the network; read for passthru only.
        others: the sandbox's other endpoints with their networks.
        sandbox: its name.

    Raises:
        MacInvalid, PassthruOccupied, AlreadyConnected
    """
    if mac is not None and not network.has_own_macs:
        kind = "passthru" if network.mode == "passthru" else "ipvlan"
        raise MacInvalid(mac_text(mac), f"on {kind} network `{network.name}` an endpoint has its parent's MAC")
    if network.mode == "passthru" and occupants:
        raise PassthruOccupied(network.name, occupants[0])
    for other, _ in others:
        if other.id == network.id:
            raise AlreadyConnected(sandbox, network.name)
        for subnet in _all_usable(network):
            for theirs in _all_usable(other):
                if theirs.version == subnet.version and theirs.cidr.overlaps(subnet.cidr):
                    raise AlreadyConnected(
                        sandbox,
                        network.name,
                        f"its subnet {subnet.cidr} overlaps {theirs.cidr} of network `{other.name}`, which it is on",
                    )


def refuse_routes(network: Network, endpoint: Endpoint, others: Iterable[tuple[Network, Endpoint]]) -> None:
    """Refuse routes of its own that the endpoint's link cannot have, and a subnet to which another link has a route.

    Args:
        network, endpoint: as they are going to be; its addresses are chosen.
        others: the sandbox's other endpoints with their networks.

    Raises:
        RouteInvalid, AlreadyConnected
    """
    others = list(others)
    subnets = [subnet.cidr for _, subnet in endpoint.placed]
    taken = {route.key: one for _, one in others for route in one.routes if not route.is_default}
    for key in _subnet_keys(endpoint):
        if (other := taken.get(key)) is not None:
            why = f"link `{other.ifname}` on network `{other.network}` has a route to its subnet {key[0]}"
            raise AlreadyConnected(endpoint.sandbox, network.name, why)
    taken |= {key: one for _, one in others for key in _subnet_keys(one)}
    for route in endpoint.routes:
        reason = None
        if all(route.version != cidr.version for cidr in subnets):
            reason = f"the endpoint has no IPv{route.version} address on network `{network.name}`"
        elif route.is_default and network.internal:
            reason = f"network `{network.name}` is internal: its endpoints have no default route"
        elif route.destination in subnets:
            reason = "it is a subnet of the endpoint, which its link reaches without it"
        elif route.key in taken:
            other = taken[route.key]
            reason = f"link `{other.ifname}` on network `{other.network}` has a route to the same destination"
        elif route.via is not None:
            reason = _why_unreachable(route.via, endpoint)
        if reason is not None:
            raise RouteInvalid(str(route), reason)


def _subnet_keys(endpoint: Endpoint) -> Iterator[tuple[Cidr, int]]:
    """The kernel's own routes to the endpoint's subnets, as `Route.key` of them."""
    return ((subnet.cidr, SUBNET_METRICS[subnet.version]) for _, subnet in endpoint.placed)


def _why_unreachable(gateway: Address, endpoint: Endpoint) -> str | None:
    """Why the endpoint's link does not reach a gateway of one of its routes, in words; None where it does."""
    for packed, subnet in endpoint.placed:
        if gateway.packed == packed:
            return f"{gateway} is the endpoint's own address"
        if gateway in subnet.cidr:
            ends = (subnet.first, subnet.last) if subnet.version == 4 and subnet.cidr.prefixlen < 31 else ()
            return f"{gateway} is an end of {subnet.cidr}, which no gateway has" if int(gateway) in ends else None
    if gateway.version == 6 and gateway.is_link_local:
        return None
    if any(gateway in one.destination for one in endpoint.routes if one.via is None and not one.is_default):
        return None
    near = ", ".join(str(subnet.cidr) for _, subnet in endpoint.placed if subnet.version == gateway.version)
    return f"{gateway} is not in {near}, nor in a route of the endpoint to its link itself"


def _all_usable(network: Network) -> tuple[Subnet, ...]:
    return (*network.usable_subnets(4), *network.usable_subnets(6))


def attached(network: Network, sandbox: Sandbox, ifname: str | None) -> list[Endpoint]:
    """The endpoints of a sandbox on a network: all, or that with a link of this name. There is one at least.

    Raises:
        EndpointNotFound
    """
    there = [one for one in sandbox.endpoints if one.network_id == network.id and ifname in (None, one.ifname)]
    if not there:
        raise EndpointNotFound(network.name, sandbox.name, ifname)
    return there


def only(there: Sequence[Endpoint]) -> Endpoint:
    """The endpoint that is meant, of those of a sandbox on a network.

    Raises:
        EndpointAmbiguous: there are several.
    """
    one, *others = there
    if others:
        raise EndpointAmbiguous(one.network, one.sandbox, [each.ifname for each in there])
    return one
