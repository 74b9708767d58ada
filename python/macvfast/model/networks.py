"""Networks with their subnets, and the parents that macvfast created for them, as they are recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from macvfast.model.addresses import Address, Cidr, Interface


# The label of a network that Podman has, with the id by which Podman knows it.
PODMAN_ID = "podman.id"


# The loopback link of the home namespace: networks of engines on it have no link there.
LOOPBACK = "lo"


def domain_of(link: str, own: str | None) -> str:
    """The layer-2 domain of a network: its own, else that of its parent, by the link's own name.

    >>> domain_of("eth0.50", None), domain_of("eth0.50", "docker:lab")
    ('link:eth0.50', 'docker:lab')
    """
    return f"link:{link}" if own is None else own


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet of a network, with what was settled for it.

    `ranges` are the ip-ranges as they were given (CIDR or `FIRST-LAST`); empty: all of the subnet. `gateway` is what
    was given or, with `gateway_automatic`, what was chosen automatically: none where None, which leaves it to the
    routers of an IPv6 subnet.
    """

    cidr: Cidr
    ranges: tuple[str, ...] = ()
    gateway: Address | None = None
    gateway_automatic: bool = False
    aux: tuple[tuple[str, Address], ...] = ()

    version: int = field(init=False)
    """Its family: 4 or 6."""
    first: int = field(init=False, repr=False)
    """Its first address."""
    last: int = field(init=False, repr=False)
    """Its last address."""

    def __post_init__(self) -> None:
        """Keep what is asked for often."""
        object.__setattr__(self, "version", self.cidr.version)
        object.__setattr__(self, "first", int(self.cidr.network_address))
        object.__setattr__(self, "last", int(self.cidr.broadcast_address))

    @property
    def ends(self) -> tuple[int, ...]:
        """The ends that no endpoint has: in IPv4 the network and the broadcast address, in IPv6 the first address;
        none of two addresses or one.
        """
        if self.last - self.first < 2:
            return ()
        return (self.first, self.last) if self.version == 4 else (self.first,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network as it is recorded. `link` is the parent link's own name, `parent` what the user called it.

    `origin` is the engine that made it, one of ORIGINS; None: it was made with macvfast itself. `own_domain` is the
    layer-2 domain that an engine has named for it.
    """

    id: str
    name: str
    driver: str
    mode: str
    flag: str | None
    parent: str | None
    link: str
    subnets: tuple[Subnet, ...]
    ipv6: bool
    ipv6_ra: bool | None
    internal: bool
    mtu: int | None
    share_parent: bool
    order: str
    labels: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    created_at: datetime
    origin: str | None = None
    own_domain: str | None = None

    @property
    def domain(self) -> str:
        """The layer-2 domain, within which no address is given twice: its own, or that of its parent."""
        return domain_of(self.link, self.own_domain)

    def usable_subnets(self, version: int) -> tuple[Subnet, ...]:
        """The subnets of a family that endpoints get addresses from, in the order they were given."""
        if version == 6 and not self.ipv6:
            return ()
        return tuple(subnet for subnet in self.subnets if subnet.version == version)

    def subnet_of(self, packed: bytes | None) -> Subnet | None:
        """The subnet that contains an address."""
        if packed is None:
            return None
        version, number = (4 if len(packed) == 4 else 6), int.from_bytes(packed)
        for subnet in self.subnets:
            if subnet.version == version and subnet.first <= number <= subnet.last:
                return subnet
        return None

    @property
    def routed_by_link(self) -> bool:
        """Whether the default route is the link itself (ipvlan l3 and l3s)."""
        return self.mode in ("l3", "l3s")

    @property
    def has_default_route(self) -> bool:
        """Whether endpoints get a default route at all: not on internal or parentless networks."""
        return not self.internal and self.parent is not None

    @property
    def as_reference(self) -> bool:
        """Whether its endpoints are as the reference plugins of CNI make them: with the settings of IPv6 that their
        namespace has, with addresses as other programs add them, and with the routes that were given and no others.
        """
        return self.origin == "cni"

    @property
    def inside(self) -> bool:
        """Whether the parent of each endpoint is in its own namespace, by the name `parent`: an engine's network that
        says so is on the loopback link of the home namespace, on which there is nothing.
        """
        return self.link == LOOPBACK and self.parent not in (None, LOOPBACK)

    def label(self, key: str) -> str | None:
        """The value of a label; None: it is not there."""
        return dict(self.labels).get(key)

    @property
    def has_own_macs(self) -> bool:
        """Whether each endpoint has a MAC of its own."""
        return self.driver == "macvlan" and self.mode != "passthru"

    @property
    def lists_macs(self) -> bool:
        """Whether the filter list of the parent shows these MACs: that of one in the home namespace can be read."""
        return self.has_own_macs and not self.inside


@dataclass(frozen=True, slots=True, kw_only=True)
class HasAddresses:
    """What has at most one address of each family; or addresses that something else keeps, in no pool (`elsewhere`).

    The first are kept as packed bytes beside the subnets they are from; objects are made when they are asked for.
    """

    packed: bytes | None = None
    packed6: bytes | None = None
    subnet: Subnet | None = None
    subnet6: Subnet | None = None
    elsewhere: tuple[Interface, ...] = ()

    @property
    def ip(self) -> IPv4Interface | None:
        """Its IPv4 address with the prefix length."""
        if self.packed is None or self.subnet is None:
            return next((one for one in self.elsewhere if isinstance(one, IPv4Interface)), None)
        return IPv4Interface((self.packed, self.subnet.cidr.prefixlen))

    @property
    def ip6(self) -> IPv6Interface | None:
        """Its IPv6 address with the prefix length."""
        if self.packed6 is None or self.subnet6 is None:
            return next((one for one in self.elsewhere if isinstance(one, IPv6Interface)), None)
        return IPv6Interface((self.packed6, self.subnet6.cidr.prefixlen))

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """Its addresses with prefix lengths, IPv4 first."""
        return self.elsewhere or tuple(address for address in (self.ip, self.ip6) if address is not None)

    @property
    def placed(self) -> tuple[tuple[bytes, Subnet], ...]:
        """Its addresses as packed bytes, each with the subnet it is from, IPv4 first. One that something else keeps is
        from a subnet of no network.
        """
        if self.elsewhere:
            return tuple((one.ip.packed, Subnet(one.network)) for one in self.elsewhere)
        both = ((self.packed, self.subnet), (self.packed6, self.subnet6))
        return tuple((packed, subnet) for packed, subnet in both if packed is not None and subnet is not None)

    @property
    def gateway(self) -> IPv4Address | None:
        """The gateway of its IPv4 subnet."""
        found = None if self.subnet is None else self.subnet.gateway
        return found if isinstance(found, IPv4Address) else None

    @property
    def gateway6(self) -> IPv6Address | None:
        """The gateway of its IPv6 subnet."""
        found = None if self.subnet6 is None else self.subnet6.gateway
        return found if isinstance(found, IPv6Address) else None


@dataclass(frozen=True, slots=True)
class MadeParent:
    """A link that macvfast made to be a parent: an 802.1Q sub-interface (`base`, `vid`) or a dummy."""

    link: str
    kind: str
    base: str | None
    vid: int | None
    ifindex: int
    boot_id: str
