"""What is to be done, decided from values alone: may this link be the parent, which steps make an endpoint, who gets
the default route.

Pure: no clock, files, kernel or randomness. Each step names its undo; `host` carries them out by way of `kernel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from macvfast.errors import (
    AlreadyConnected,
    MacInvalid,
    OptionInvalid,
    ParentNotFound,
    ParentTaken,
    ParentUnusable,
    PassthruOccupied,
    SubnetTaken,
)
from macvfast.model import IFNAME_MAX, mac_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from macvfast.model import Endpoint, Network, Subnet
    from macvfast.requests import NetworkRequest

# IEEE 802.1Q-2022 section 9.6: VID 0 is the null VID, 4095 is reserved.
VID_MIN, VID_MAX = 1, 4094

# RFC 8200 section 5: on a link with less, the kernel has no IPv6.
IPV6_MTU_MIN = 1280


class LinkFacts(Protocol):
    """What a dump says of one link."""

    @property
    def ifindex(self) -> int: ...
    @property
    def ifname(self) -> str: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def port_kind(self) -> str | None: ...
    @property
    def controller(self) -> int | None: ...
    @property
    def mac(self) -> bytes: ...
    @property
    def mtu(self) -> int: ...
    @property
    def up(self) -> bool: ...
    @property
    def loopback(self) -> bool: ...
    @property
    def parent(self) -> int | None: ...
    @property
    def parent_netnsid(self) -> int | None: ...
    @property
    def vid(self) -> int | None: ...
    @property
    def mode(self) -> str | None: ...
    @property
    def group(self) -> int: ...


# A default route that is there: family (4 or 6), the link it leaves by, and its gateway.
DefaultRoute = tuple[int, int | None, bytes | None]


class Links:
    """The links of one namespace, as a dump showed them, found by what stands on what."""

    def __init__(self, links: Iterable[LinkFacts]) -> None:
        self.by_index = {link.ifindex: link for link in links}
        self._on: dict[int, list[LinkFacts]] = {}
        for link in self.by_index.values():
            if link.parent is not None and link.parent_netnsid is None:
                self._on.setdefault(link.parent, []).append(link)

    def __iter__(self) -> Iterator[LinkFacts]:
        """Each link, in the order of the dump."""
        return iter(self.by_index.values())

    def on(self, ifindex: int) -> list[LinkFacts]:
        """The links of this namespace that stand on one of it."""
        return self._on.get(ifindex, [])


# Parents.


@dataclass(frozen=True, slots=True)
class AddParent:
    """Make a parent, up: an 802.1Q sub-interface (`base`, `vid`) or a dummy."""

    kind: str
    ifname: str
    ifindex: int
    base: int | None
    vid: int | None


@dataclass(frozen=True, slots=True)
class SubInterface:
    """An 802.1Q link to be made: `base.vid`."""

    ifname: str
    base: str
    vid: int


def sub_interface(parent: str) -> SubInterface:
    """What a parent that does not exist is to be: `eth0.50` is VLAN 50 on `eth0`.

    Raises:
        ParentNotFound: the name has no `.VID`.
        OptionInvalid: the VLAN id is not 1 to 4094, or the name is longer than 15 bytes.
    """
    base, dot, vid = parent.rpartition(".")
    if not dot or not base:
        raise ParentNotFound(
            parent, "no link has that name, and it is not of the form NAME.VID", hints=["`ip link` lists the links"]
        )
    if not (vid.isascii() and vid.isdigit() and str(int(vid)) == vid and VID_MIN <= int(vid) <= VID_MAX):
        raise OptionInvalid(
            "parent",
            parent,
            f"`{vid}` is not a VLAN id: {VID_MIN} to {VID_MAX}, without leading zeros",
            [f"-o parent={base}.{VID_MIN}, or another of them"],
        )
    if len(parent.encode()) > IFNAME_MAX:
        raise OptionInvalid("parent", parent, f"a link's name has at most {IFNAME_MAX} bytes")
    return SubInterface(parent, base, int(vid))


def refuse_parent(link: LinkFacts, links: Links, request: NetworkRequest) -> None:
    """Refuse a link that cannot carry the network's endpoints, naming the culprit.

    Args:
        link: the parent.
        links: the links of the home namespace, which show some of what stands on it.
        request: the network that wants it.

    Raises:
        ParentUnusable: `lo`, a port of something, itself a macvlan or ipvlan, claimed by links that are not ours.
    """
    if link.loopback:
        raise ParentUnusable(
            link.ifname,
            "it is the loopback link: no frame leaves by it",
            ["leave out -o parent for a network within this host"],
        )
    if link.kind in ("macvlan", "macvtap", "ipvlan", "ipvtap"):
        lower = links.by_index.get(link.parent or 0) if link.parent_netnsid is None else None
        where = f" with -o parent={lower.ifname}" if lower else ""
        raise ParentUnusable(
            link.ifname,
            f"it is itself {'an' if link.kind.startswith('i') else 'a'} {link.kind}; the kernel would silently "
            "take the link below it",
            hints=[f"use that link{where}"],
        )
    if link.controller is not None:
        controller = links.by_index.get(link.controller)
        name = f"`{controller.ifname}`" if controller else "another link"
        raise ParentUnusable(
            link.ifname,
            f"it is a port of {link.port_kind or 'link'} {name}",
            hints=[f"-o parent={controller.ifname}"] if controller else [],
        )
    for upper in links.on(link.ifindex):
        _refuse_stranger(link, upper, request)


def refuse_mtu(network: Network, parent: str, parent_mtu: int) -> None:
    """Refuse an MTU with which no endpoint could be made.

    Raises:
        OptionInvalid: it is larger than the parent's, or too small for IPv6 (RFC 8200 section 5).
    """
    if network.mtu is None:
        return
    if network.mtu > parent_mtu:
        raise OptionInvalid(
            "mtu",
            str(network.mtu),
            f"parent `{parent}` has an MTU of {parent_mtu}",
            [f"-o mtu={parent_mtu}, or `ip link set {parent} mtu {network.mtu}` first"],
        )
    if network.ipv6 and network.mtu < IPV6_MTU_MIN:
        raise OptionInvalid("mtu", str(network.mtu), f"IPv6 needs one of at least {IPV6_MTU_MIN}")


def refuse_company(parent: str, request: NetworkRequest, sharing: Iterable[Network]) -> None:
    """Refuse a parent that other networks have: one network per parent, unless all say otherwise and the kernel can
    have it so.

    Raises:
        ParentTaken
    """
    for other in sharing:
        _refuse_neighbour(parent, request, other)


def _refuse_neighbour(parent: str, request: NetworkRequest, other: Network) -> None:
    remove = f"remove `{other.name}` first: `macvfast network rm {other.name}`"
    if request.driver != other.driver:
        raise ParentTaken(
            request.name,
            parent,
            f"{other.driver} network `{other.name}` holds it, and a parent has one driver",
            [remove],
        )
    if "passthru" in (request.mode, other.mode):
        raise ParentTaken(
            request.name, parent, f"network `{other.name}` holds it, and passthru shares with nobody", [remove]
        )
    if not (request.share_parent and other.share_parent):
        raise ParentTaken(
            request.name,
            parent,
            f"network `{other.name}` holds it",
            [f"give both networks `-o share_parent=true`, or {remove}"],
        )
    if request.driver == "ipvlan" and (request.mode, request.flag) != (other.mode, other.flag):
        raise ParentTaken(
            request.name,
            parent,
            f"ipvlan's mode and flag belong to the parent, and network `{other.name}` has {other.mode}, {other.flag}",
            [f"-o ipvlan_mode={other.mode} -o ipvlan_flag={other.flag}"],
        )


def _refuse_stranger(link: LinkFacts, upper: LinkFacts, request: NetworkRequest) -> None:
    """A macvlan or ipvlan that someone else put on the parent, as far as this namespace shows it; ours live in
    others.
    """
    if upper.kind not in ("macvlan", "macvtap", "ipvlan", "ipvtap"):
        return
    driver = upper.kind.replace("tap", "lan")
    if driver != request.driver:
        raise ParentUnusable(
            link.ifname,
            f"{upper.kind} link `{upper.ifname}` holds it, and a parent has one driver",
            [f"ip link del {upper.ifname}"],
        )
    if "passthru" in (request.mode, upper.mode):
        raise ParentUnusable(
            link.ifname,
            f"{upper.kind} link `{upper.ifname}` stands on it, and passthru shares with nobody",
            [f"ip link del {upper.ifname}"],
        )
    if driver == "ipvlan" and upper.mode is not None and upper.mode != request.mode:
        # The kernel would change the mode of the links that are there (`ipvlan_set_port_mode`).
        raise ParentUnusable(
            link.ifname,
            f"{upper.kind} link `{upper.ifname}` has it in mode {upper.mode}, and the mode belongs to the parent",
            [f"-o ipvlan_mode={upper.mode}", f"ip link del {upper.ifname}"],
        )


def refuse_base(base: LinkFacts | None, wanted: SubInterface, links: Links) -> None:
    """Refuse a base on which the sub-interface cannot be made.

    Raises:
        ParentNotFound: there is no base.
        ParentUnusable: the base is down, cannot carry VLANs, or has that VLAN under another name.
    """
    if base is None:
        raise ParentNotFound(
            wanted.ifname, f"neither it nor `{wanted.base}` exists", hints=[_missing_base(wanted.base)]
        )
    if base.loopback:
        raise ParentUnusable(base.ifname, "it is the loopback link: no frame leaves by it")
    if not base.up:
        raise ParentUnusable(
            base.ifname, "it is down, and a VLAN on it cannot come up", [f"ip link set {base.ifname} up"]
        )
    for link in links.on(base.ifindex):
        if link.kind == "vlan" and link.vid == wanted.vid:
            raise ParentUnusable(
                base.ifname, f"link `{link.ifname}` is VLAN {wanted.vid} on it already", [f"-o parent={link.ifname}"]
            )


def _missing_base(base: str) -> str:
    """What to do where a sub-interface's base is missing: one that is itself a VLAN can be made."""
    below, dot, vid = base.rpartition(".")
    if not (dot and below and vid.isascii() and vid.isdigit()):
        return "`ip link` lists the links"
    return f"a VLAN in a VLAN: `ip link add link {below} name {base} up type vlan id {vid}` first"


def refuse_overlap(subnets: Sequence[Subnet], sharing: Sequence[Network]) -> None:
    """Refuse subnets that overlap those of another network in the same layer-2 domain.

    Raises:
        SubnetTaken
    """
    for subnet in subnets:
        for other in sharing:
            for theirs in other.subnets:
                if theirs.version == subnet.version and theirs.cidr.overlaps(subnet.cidr):
                    raise SubnetTaken(str(subnet.cidr), str(theirs.cidr), other.name)


# Endpoints.


@dataclass(frozen=True, slots=True)
class AddLink:
    """Make an endpoint's link: born in its namespace, with all it will ever have, in one message."""

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


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Give a link an address. Goes with the link."""

    ifindex: int
    address: bytes
    prefix_length: int


@dataclass(frozen=True, slots=True)
class AddDefaultRoute:
    """Route all else of a family (4 or 6) by way of a gateway, or by the link itself. Goes with the link."""

    ifindex: int
    family: int
    gateway: bytes | None


@dataclass(frozen=True, slots=True)
class SetUp:
    """Bring up a link that had to be born down. Goes with the link."""

    ifindex: int


Configure = AddAddress | AddDefaultRoute | SetUp


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """The steps of one endpoint, in order: the link, its own sysctls, then what is configured on it."""

    link: AddLink
    link_sysctls: tuple[tuple[str, str], ...]
    configure: tuple[Configure, ...]


def default_families(network: Network, endpoint: Endpoint) -> set[int]:
    """The families (4, 6) in which the endpoint could hold its sandbox's default route."""
    if not network.has_default_route:
        return set()
    return {subnet.version for _, subnet in endpoint.placed if subnet.gateway is not None or network.routed_by_link}


def default_route(network: Network, endpoint: Endpoint, family: int) -> AddDefaultRoute:
    """The step that makes the endpoint hold the default route of a family."""
    gateway = endpoint.gateway if family == 4 else endpoint.gateway6
    return AddDefaultRoute(
        endpoint.ifindex, family, None if gateway is None or network.routed_by_link else gateway.packed
    )


# What decides how a link is born, in a namespace's own defaults.
IPV6_DEFAULTS = tuple(f"net/ipv6/conf/default/{name}" for name in ("disable_ipv6", "accept_ra", "autoconf"))


def ipv6_sysctls(scope: str, network: Network) -> tuple[tuple[str, str], ...]:
    """IPv6 off where the network has none; router advertisements only where it wants them.

    `scope` is `default`, for what links will be born with, or the link's own name.
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
    """Whether endpoints listen to routers: not with `ipv6_ra=off`, `--internal` or `--gateway none`."""
    no_gateway = all(subnet.gateway is None for subnet in network.usable_subnets(6))
    return network.ipv6_ra and not network.internal and not (no_gateway and not network.routed_by_link)


def plan_endpoint(
    network: Network, endpoint: Endpoint, parent: int, *, ready: bool, held: Iterable[int]
) -> EndpointPlan:
    """The steps that make an endpoint.

    Args:
        network, endpoint: as recorded; index, name, MAC and group were chosen beforehand.
        parent: the parent link's index, in the home namespace.
        ready: whether links in the namespace are born with the settings that this one needs. Elsewhere, in a namespace
            that others made, the link is born down, set, and brought up.
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
        mtu=network.mtu,
        group=endpoint.group,
        up=ready,
    )
    configure: list[Configure] = [] if ready else [SetUp(endpoint.ifindex)]
    configure += [AddAddress(endpoint.ifindex, packed, subnet.cidr.prefixlen) for packed, subnet in endpoint.placed]
    for family in sorted(default_families(network, endpoint).difference(held)):
        configure.append(default_route(network, endpoint, family))
    return EndpointPlan(
        link=link,
        link_sysctls=() if ready else ipv6_sysctls(endpoint.ifname, network),
        configure=tuple(configure),
    )


# Removing.


@dataclass(frozen=True, slots=True)
class ExpectedLink:
    """A link of ours, as it is recorded; a MAC of None is not compared (it is the parent's)."""

    ifindex: int
    kind: str
    mac: bytes | None

    @classmethod
    def of(cls, network: Network, endpoint: Endpoint) -> ExpectedLink:
        """The link of an endpoint."""
        return cls(endpoint.ifindex, network.driver, endpoint.mac if network.has_own_macs else None)

    def is_(self, link: LinkFacts) -> bool:
        """Whether what has the index is that link."""
        return link.kind == self.kind and self.mac in (None, link.mac)


@dataclass(frozen=True, slots=True)
class GroupRemoval:
    """Links to delete in one go: by a group that is exactly theirs, or (0) by one that they are put into first."""

    ifindexes: tuple[int, ...]
    group: int


def group_removal(links: Iterable[LinkFacts], expected: Iterable[ExpectedLink]) -> GroupRemoval:
    """Which of a namespace's links are ours, by what was just read, and the group that holds these and no other.

    What has one of our indexes and is another link is left alone.
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
) -> list[AddDefaultRoute]:
    """The default routes that others take over when an endpoint leaves: per family, the first connected of the rest.

    Args:
        leaving: the endpoint that goes.
        before, after: those connected earlier and later, in the order of connection.
    """
    steps = []
    for family in sorted(default_families(*leaving) - held_families(before)):
        for network, endpoint in after:
            if family in default_families(network, endpoint):
                steps.append(default_route(network, endpoint, family))
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


def _all_usable(network: Network) -> tuple[Subnet, ...]:
    return (*network.usable_subnets(4), *network.usable_subnets(6))
