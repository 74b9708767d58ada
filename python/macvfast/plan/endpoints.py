"""Which steps make an endpoint, and which links of a namespace are deleted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from macvfast.errors import (
    AlreadyConnected,
    EndpointAmbiguous,
    EndpointNotFound,
    MacInvalid,
    PassthruOccupied,
    RouteInvalid,
)
from macvfast.model import SUBNET_METRICS, mac_text
from macvfast.options import kernel_attributes
from macvfast.plan.defaults import default_families, default_routes
from macvfast.plan.steps import AddAddress, AddLink, AddRoute, Configure, SetUp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from macvfast.model import Address, Cidr, Endpoint, Network, Route, Sandbox, Subnet
    from macvfast.plan.defaults import Held
    from macvfast.plan.links import LinkFacts


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """The steps that make one endpoint, in order: the link, its own sysctls, then what is configured on it."""

    link: AddLink
    link_sysctls: tuple[tuple[str, str], ...]
    configure: tuple[Configure, ...]


def routes_of(network: Network, endpoint: Endpoint) -> list[AddRoute]:
    """The steps that make the endpoint's own routes; first those to the link itself, by which gateways may be reached.
    Default routes are left out, except where the reference plugins decide.
    """
    if network.as_reference:
        return [_reference_route(endpoint, one) for one in endpoint.routes]
    own = sorted((one for one in endpoint.routes if not one.is_default), key=lambda one: one.via is not None)
    return [AddRoute.of(endpoint.ifindex, one) for one in own]


def _reference_route(endpoint: Endpoint, route: Route) -> AddRoute:
    """The step that makes a route as the reference plugins do: by the gateway of its family where it names none, of
    the widest scope, and whatever else leads to the same destination.
    """
    gateway = endpoint.gateway if route.version == 4 else endpoint.gateway6
    step = AddRoute.of(endpoint.ifindex, route if route.via is not None else replace(route, via=gateway))
    return replace(step, scope=route.scope or 0, beside=True)


# The defaults of a namespace that a new link starts with.
IPV6_DEFAULTS = tuple(f"net/ipv6/conf/default/{name}" for name in ("disable_ipv6", "accept_ra", "autoconf"))


def link_sysctls(scope: str, network: Network, endpoint: Endpoint | None = None) -> tuple[tuple[str, str], ...]:
    """IPv6 off where the network has none; router advertisements only where it wants them. Where the reference plugins
    decide: what is needed for IPv6, and that neighbours learn of addresses.

    `scope` is `default`, for the links that will be made, or the name of the link of an endpoint.
    """
    if network.as_reference:
        return () if endpoint is None else _reference_sysctls(scope, endpoint)
    if not network.usable_subnets(6) and (endpoint is None or endpoint.ip6 is None):
        return ((f"net/ipv6/conf/{scope}/disable_ipv6", "1"),)
    advertised = "1" if takes_advertisements(network) else "0"
    return (
        (f"net/ipv6/conf/{scope}/disable_ipv6", "0"),
        (f"net/ipv6/conf/{scope}/accept_ra", advertised),
        (f"net/ipv6/conf/{scope}/autoconf", advertised),
    )


def _reference_sysctls(scope: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    if not endpoint.addresses:
        return ()
    with_ipv6 = (scope, "lo") if endpoint.ip6 is not None else ()
    return (
        *((f"net/ipv6/conf/{one}/disable_ipv6", "0") for one in with_ipv6),
        (f"net/ipv4/conf/{scope}/arp_notify", "1"),
        (f"net/ipv6/conf/{scope}/ndisc_notify", "1"),
    )


def takes_advertisements(network: Network) -> bool:
    """Whether endpoints accept router advertisements: as `ipv6_ra` says; else not with --internal or --gateway=none."""
    if network.ipv6_ra is not None:
        return network.ipv6_ra
    subnets = network.usable_subnets(6)
    wanted = any(subnet.gateway is not None or subnet.gateway_automatic for subnet in subnets)
    return not network.internal and (wanted or network.routed_by_link)


def plan_endpoint(network: Network, endpoint: Endpoint, parent: int, *, ready: bool, held: Held) -> EndpointPlan:
    """The steps that make an endpoint.

    Args:
        network, endpoint: as recorded; index, name, MAC and group are chosen already.
        parent: the parent link's index, in the home namespace.
        ready: whether new links in the namespace start with the settings that this one needs. Where they do not, in a
            namespace that others made, the link is made down, set, and brought up.
        held: the default routes that other endpoints in the namespace hold.
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
        inside=network.inside,
    )
    configure: list[Configure] = [] if ready else [SetUp(endpoint.ifindex)]
    usual = network.as_reference
    addresses = [
        AddAddress(endpoint.ifindex, packed, subnet.cidr.prefixlen, usual) for packed, subnet in endpoint.placed
    ]
    # Neighbours are told of the addresses that a link has when it comes up.
    configure = [*addresses, *configure] if usual else [*configure, *addresses]
    if endpoint.routes:
        configure += routes_of(network, endpoint)
    for family in sorted(default_families(network, endpoint)):
        taken_over = held.get(family, ())
        if taken_over is not None:
            configure += [*taken_over, *default_routes(network, endpoint, family)]
    return EndpointPlan(
        link=link,
        link_sysctls=() if ready else link_sysctls(endpoint.ifname, network, endpoint),
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
