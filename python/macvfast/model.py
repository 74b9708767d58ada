"""What is recorded: networks, subnets, endpoints and sandboxes, as frozen values; names, MACs and addresses checked.

Requests for them are in `requests`, what became of these in `outcomes`: a listing needs neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)
from types import NoneType
from typing import TYPE_CHECKING

from macvfast.checks import plain
from macvfast.errors import (
    ORIGINS,
    AddressInvalid,
    MacInvalid,
    NameInvalid,
    OptionInvalid,
    RouteInvalid,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Address = IPv4Address | IPv6Address
Cidr = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface

# The modes and flags of the two drivers, the default first, in the kernel's words (linux/if_link.h).
MODES: Mapping[str, tuple[str, ...]] = {
    "macvlan": ("bridge", "private", "vepa", "passthru"),
    "ipvlan": ("l2", "l3", "l3s"),
}
IPVLAN_FLAGS = ("bridge", "private", "vepa")
ORDERS = ("lowest", "next")

# IFNAMSIZ is 16 with the NUL (linux/if.h).
IFNAME_MAX = 15

# The metric of a route for which none is given, and of the kernel's own routes to the subnets of addresses, by family.
KERNEL_METRICS = {4: 0, 6: 1024}
SUBNET_METRICS = {4: 0, 6: 256}

# Docker's own networks: `--net none` and the like never mean one that somebody made.
RESERVED_NETWORKS = ("bridge", "default", "host", "none")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z", re.ASCII)
_NOT_OF_A_LINK = re.compile(r"[\s/:\x00-\x1f\x7f]")
# Go's three spellings, which Docker takes: pairs of digits between colons or dashes, fours between dots.
_MAC = re.compile(
    r"(?:[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4})\Z", re.ASCII | re.IGNORECASE
)


def natural(name: str) -> str:
    """Docker's order of names, for sorting: numbers within them count as numbers.

    >>> sorted(["net10", "net9", "net-1", "net009"], key=natural)
    ['net-1', 'net9', 'net009', 'net10']
    """
    return re.sub("[0-9]+", lambda found: _counted(found[0]), name, flags=re.ASCII)


def _counted(digits: str) -> str:
    """A number, as text that sorts as it does: by its length first."""
    value = digits.lstrip("0")
    return f"0{len(value):03}{value}{len(digits):03}"


def check_name(kind: str, name: str) -> str:
    """Give `name` back if it may name a network or sandbox.

    Raises:
        ArgumentInvalid, NameInvalid
    """
    plain("name", name, str)
    if not is_name(name):
        raise NameInvalid(kind, name)
    return name


def check_origin(origin: str | None) -> None:
    """Refuse what is no engine.

    Raises:
        OptionInvalid
    """
    if origin is not None and origin not in ORIGINS:
        raise OptionInvalid("origin", str(origin), f"it is one of {', '.join(ORIGINS)}")


def is_name(text: str) -> bool:
    """Whether a network or sandbox could be called so."""
    return _NAME.match(text) is not None


def is_ifname(text: str) -> bool:
    """Whether a link could be called so, by its name or an altname (127 bytes): what `dev_valid_name` allows."""
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        # Bytes of the command line that are no UTF-8.
        return False
    return 0 < length <= 127 and text not in (".", "..") and not _NOT_OF_A_LINK.search(text)


def parse_address(text: str | Address, version: int) -> Address:
    """An address of the given family (4 or 6) that an endpoint can have.

    Raises:
        AddressInvalid: malformed, of the other family, scoped, unspecified, loopback or multicast.
    """
    try:
        # Of a number or bytes, ip_address() would make an address, too.
        address = text if isinstance(text, Address) else ip_address(str(text))
    except ValueError:
        raise AddressInvalid(str(text), f"it is not an IPv{version} address") from None
    if address.version != version:
        raise AddressInvalid(str(text), f"it is an IPv{address.version} address where IPv{version} is asked for")
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise AddressInvalid(str(text), "an endpoint's address has no zone and is not IPv4-mapped")
    for what, is_so in (
        ("unspecified", address.is_unspecified),
        ("loopback", address.is_loopback),
        ("multicast", address.is_multicast),
    ):
        if is_so:
            raise AddressInvalid(str(text), f"it is a{'n' if what[0] in 'aeiou' else ''} {what} address")
    return address


def parse_mac(text: str | bytes) -> bytes:
    """The 6 bytes of a MAC that a link can have (`02:42:ac:10:56:0a`, `02-42-ac-10-56-0a` or `0242.ac10.560a`).

    Raises:
        MacInvalid: malformed, multicast (bit 0 of the first byte, IEEE 802) or all zero.
    """
    if isinstance(text, str):
        if not _MAC.match(text):
            raise MacInvalid(text, "a MAC has the form 02:42:ac:10:56:0a")
        mac = bytes.fromhex(re.sub("[:.-]", "", text))
    elif isinstance(text, bytes):
        mac = text
    else:
        raise MacInvalid(str(text), "it is neither a text nor bytes")
    shown = mac_text(mac)
    if len(mac) != 6:
        raise MacInvalid(shown, "a MAC has 6 bytes")
    if mac[0] & 1:
        raise MacInvalid(shown, "it is a multicast address")
    if not any(mac):
        raise MacInvalid(shown, "it is all zero")
    return mac


def mac_text(mac: bytes) -> str:
    """`02:42:ac:10:56:0a` for its 6 bytes."""
    return mac.hex(":")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route by an endpoint's link, in the main table. `str` of it is as `ip route` shows it.

    Args:
        destination: where it leads; `0.0.0.0/0` or `::/0`: everywhere, as the default route.
        via: the gateway, of the same family; None: the link itself.
        metric: of two routes to one destination, the kernel takes the one with the lower metric; None: the kernel's
            own, 0 in IPv4 and 1024 in IPv6.
        mtu, advmss: bytes: the path MTU, and the segment size that TCP offers; None: what fits the link.

    Raises:
        ArgumentInvalid, RouteInvalid
    """

    destination: Cidr
    via: Address | None = None
    metric: int | None = None
    mtu: int | None = None
    advmss: int | None = None

    version: int = field(init=False)
    """Its family: 4 or 6."""
    is_default: bool = field(init=False, repr=False)
    """Whether it leads everywhere."""

    def __post_init__(self) -> None:
        """Refuse what no link can have."""
        plain("destination", self.destination, IPv4Network, IPv6Network)
        plain("via", self.via, IPv4Address, IPv6Address, NoneType)
        object.__setattr__(self, "version", self.destination.version)
        object.__setattr__(self, "is_default", self.destination.prefixlen == 0)
        if self.via is not None:
            try:
                parse_address(self.via, self.version)
            except AddressInvalid as error:
                raise RouteInvalid(str(self), f"of its gateway: {error.reason}") from None
        least = 68 if self.version == 4 else 1280
        for key, value, low, high in (
            ("metric", self.metric, 1, 0xFFFF_FFFF), ("mtu", self.mtu, least, 65535), ("advmss", self.advmss, 1, 65535),
        ):  # fmt: skip
            plain(key, value, int, NoneType)
            if value is not None and not low <= value <= high:
                raise RouteInvalid(str(self), f"its {key} is {low} to {high}, not {value}")

    @classmethod
    def of(
        cls, destination: str | Cidr, via: str | Address | None = None, *, metric: int | None = None,
        mtu: int | None = None, advmss: int | None = None,
    ) -> Route:  # fmt: skip
        """The route with its destination and gateway as text or objects."""
        try:
            prefix = ip_network(str(destination))
        except ValueError as error:
            raise RouteInvalid(str(destination), f"of its destination: {error}") from None
        try:
            gateway = None if via is None else ip_address(str(via))
        except ValueError as error:
            raise RouteInvalid(f"{prefix} via {via}", f"of its gateway: {error}") from None
        return cls(destination=prefix, via=gateway, metric=metric, mtu=mtu, advmss=advmss)

    @property
    def key(self) -> tuple[Cidr, int]:
        """What the kernel tells routes apart by: destination and metric."""
        return self.destination, self.metric or KERNEL_METRICS[self.version]

    def __str__(self) -> str:
        words = (("via", self.via), ("metric", self.metric), ("mtu", self.mtu), ("advmss", self.advmss))
        return " ".join([str(self.destination), *(f"{word} {value}" for word, value in words if value is not None)])


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network as it is recorded. `link` is the parent link's own name, `parent` what the user called it.

    `origin` is the engine that made it, one of ORIGINS; None: it was made with macvfast itself.
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
    def has_own_macs(self) -> bool:
        """Whether each endpoint has a MAC of its own, which the parent's filter list then shows."""
        return self.driver == "macvlan" and self.mode != "passthru"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A sandbox's link on a network, as it is recorded.

    Addresses are kept as packed bytes beside the subnets they are from; objects are made when they are asked for.
    `position` counts the sandbox's endpoints in the order of connection. `mtu` is its own; None: the network's.
    `routes` are its own, beside those to its subnets; a default route among them is in the place of the network's.
    `origin` is as of Network.
    """

    network_id: str
    network: str
    sandbox_id: str
    sandbox: str
    position: int
    ifname: str
    ifindex: int
    group: int
    mac: bytes
    packed: bytes | None = None
    packed6: bytes | None = None
    mtu: int | None = None
    subnet: Subnet | None = None
    subnet6: Subnet | None = None
    routes: tuple[Route, ...] = ()
    origin: str | None = None

    @property
    def id(self) -> str:
        """64 hex digits that are this endpoint's alone."""
        # Slow to load, and asked for by `inspect` only.
        from hashlib import sha256  # noqa: PLC0415

        return sha256(f"{self.network_id}/{self.sandbox_id}/{self.position}".encode()).hexdigest()

    @property
    def ip(self) -> IPv4Interface | None:
        """Its IPv4 address with the prefix length."""
        if self.packed is None or self.subnet is None:
            return None
        return IPv4Interface((self.packed, self.subnet.cidr.prefixlen))

    @property
    def ip6(self) -> IPv6Interface | None:
        """Its IPv6 address with the prefix length."""
        if self.packed6 is None or self.subnet6 is None:
            return None
        return IPv6Interface((self.packed6, self.subnet6.cidr.prefixlen))

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """Its addresses with prefix lengths, IPv4 first."""
        return tuple(address for address in (self.ip, self.ip6) if address is not None)

    @property
    def placed(self) -> tuple[tuple[bytes, Subnet], ...]:
        """Its addresses as packed bytes, each with the subnet it is from, IPv4 first."""
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


class SandboxState(Enum):
    """What a sandbox's command does. Namespace, links and addresses stay in every state."""

    IDLE = "idle"
    RUNNING = "running"
    EXITED = "exited"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A network namespace with a name, as it is recorded.

    `made` is False where something else made the namespace (`--netns`, `--pid`); `path` then is what was given.
    `inode` is its number under nsfs: used again by another when it is gone, so it only says where to look.
    `auto_remove` says that the sandbox goes with its command (`--rm`).
    `exit_code` is set when exited: the command's own, or 128 and the signal that ended it. `origin` is as of Network.
    """

    id: str
    name: str
    path: str
    made: bool
    cookie: int
    boot_id: str
    created_at: datetime
    inode: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    auto_remove: bool = False
    state: SandboxState = SandboxState.IDLE
    exit_code: int | None = None
    endpoints: tuple[Endpoint, ...] = ()
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class MadeParent:
    """A link that macvfast made to be a parent: an 802.1Q sub-interface (`base`, `vid`) or a dummy."""

    link: str
    kind: str
    base: str | None
    vid: int | None
    ifindex: int
    boot_id: str
