"""Addresses, MACs and routes that an endpoint can have."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
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

from macvfast.checks import plain
from macvfast.errors import AddressInvalid, MacInvalid, RouteInvalid

Address = IPv4Address | IPv6Address
Cidr = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface

# The metric of a route for which none is given, and of the kernel's own routes to the subnets of addresses, by family.
KERNEL_METRICS = {4: 0, 6: 1024}
SUBNET_METRICS = {4: 0, 6: 256}

# Go's three spellings, which Docker takes: pairs of digits between colons or dashes, fours between dots. Compiled when
# it is first needed: a listing does without.
_MAC = r"(?:[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4})\Z"


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
        if not re.match(_MAC, text, re.ASCII | re.IGNORECASE):
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
    """A route by an endpoint's link. `str` of it is as `ip route` shows it.

    Args:
        destination: where it leads; `0.0.0.0/0` or `::/0`: everywhere, as the default route.
        via: the gateway, of the same family; None: the link itself.
        metric: of two routes to one destination, the kernel takes the one with the lower metric; None: the kernel's
            own, 0 in IPv4 and 1024 in IPv6.
        mtu, advmss: bytes: the path MTU, and the segment size that TCP offers; None: what fits the link.
        table: by number; None: the main table. `restore` and `check` do not look into others.
        scope: by number, as in `/etc/iproute2/rt_scopes`; None: what fits the destination. IPv6 has none.

    Raises:
        ArgumentInvalid, RouteInvalid
    """

    destination: Cidr
    via: Address | None = None
    metric: int | None = None
    mtu: int | None = None
    advmss: int | None = None
    table: int | None = None
    scope: int | None = None

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
            ("table", self.table, 1, 0xFFFF_FFFF), ("scope", self.scope, 0, 255),
        ):  # fmt: skip
            plain(key, value, int, NoneType)
            if value is not None and not low <= value <= high:
                raise RouteInvalid(str(self), f"its {key} is {low} to {high}, not {value}")

    @classmethod
    def of(cls, destination: str | Cidr, via: str | Address | None = None, **numbers: int | None) -> Route:
        """The route with its destination and gateway as text or objects, and its numbers by their names."""
        try:
            prefix = ip_network(str(destination))
        except ValueError as error:
            raise RouteInvalid(str(destination), f"of its destination: {error}") from None
        try:
            gateway = None if via is None else ip_address(str(via))
        except ValueError as error:
            raise RouteInvalid(f"{prefix} via {via}", f"of its gateway: {error}") from None
        return cls(destination=prefix, via=gateway, **numbers)

    @property
    def key(self) -> tuple[Cidr, int]:
        """What the kernel tells routes apart by: destination and metric."""
        return self.destination, self.metric or KERNEL_METRICS[self.version]

    def __str__(self) -> str:
        words = ("via", "metric", "table", "scope", "mtu", "advmss")
        said = ((word, getattr(self, word)) for word in words)
        return " ".join([str(self.destination), *(f"{word} {value}" for word, value in said if value is not None)])
