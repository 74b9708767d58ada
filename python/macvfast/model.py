"""What macvfast speaks of: networks, endpoints, sandboxes and the requests for them, as frozen values.

A value that exists is valid by itself: names, modes, options, MACs and addresses are checked where the value is
made. What needs the record or the kernel to be known (is the parent there, is the address free) is checked later, by
`plan` and `host`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_address
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from macvfast.errors import (
    AddressInvalid,
    MacInvalid,
    MacvfastError,
    NameInvalid,
    OptionInvalid,
    OptionUnknown,
    SomeFailed,
    nearly,
)

if TYPE_CHECKING:
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

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z", re.ASCII)
# HOST_NAME_MAX is 64 (limits.h).
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?\Z", re.ASCII)
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}([:-]))(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}\Z", re.ASCII)


def check_name(kind: str, name: str) -> str:
    """Give `name` back if it may name a network or sandbox.

    Raises:
        NameInvalid
    """
    if not _NAME.match(name):
        raise NameInvalid(kind, name)
    return name


def parse_address(text: str | Address, version: int) -> Address:
    """An address of the given family (4 or 6) that an endpoint can have.

    Raises:
        AddressInvalid: malformed, of the other family, scoped, unspecified, loopback or multicast.
    """
    try:
        address = ip_address(text) if isinstance(text, str) else text
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
    """The 6 bytes of a MAC that a link can have (`02:42:ac:10:56:0a`, or with dashes).

    Raises:
        MacInvalid: malformed, multicast (bit 0 of the first byte, IEEE 802) or all zero.
    """
    if isinstance(text, str):
        if not _MAC.match(text):
            raise MacInvalid(text, "a MAC has the form 02:42:ac:10:56:0a")
        mac = bytes.fromhex(text.replace("-", ":").replace(":", ""))
    else:
        mac = text
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


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet of a network, with what was settled for it.

    `ranges` are the ip-ranges as they were given (CIDR or `FIRST-LAST`); empty: all of the subnet. `gateway` is what
    was given or, with `gateway_automatic`, what the network reserved by itself.
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
class NetworkRequest:
    """A network to be made. Everything that can be wrong with it alone is refused when it is built.

    Args:
        name: 1 to 128 of A-Z a-z 0-9 _ . -, the first a letter or digit.
        driver: "macvlan" or "ipvlan".
        subnets, ip_ranges, gateways, aux: as `--subnet`, `--ip-range`, `--gateway`, `--aux-address`, in any order;
            each belongs
            to the subnet that contains it.
        gateway_automatic: whether a subnet without a gateway of its own reserves one (`--gateway none`: False).
        parent: an existing link, or `NAME.VID` to be made; None: a dummy link, local to the host.
        mode: of the driver; None: its first ("bridge", "l2").
        flag: ipvlan's; None: "bridge".
        mtu: bytes; None: the parent's.
        share_parent: whether other networks that say so too may use the parent.
        order: "lowest" or "next", of automatic allocation.
        ipv6: None: on where an IPv6 subnet is given; False: off all the same.
        ipv6_ra: whether endpoints take addresses and routes from router advertisements.
        internal: no default route, no automatic gateway.
        options: what was given with `-o`, for `inspect`.

    Raises:
        NameInvalid, OptionUnknown, OptionInvalid
    """

    name: str
    driver: str = "macvlan"
    subnets: tuple[str, ...] = ()
    ip_ranges: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    gateway_automatic: bool = True
    aux: tuple[tuple[str, str], ...] = ()
    parent: str | None = None
    mode: str | None = None
    flag: str | None = None
    mtu: int | None = None
    share_parent: bool = False
    order: str = "lowest"
    ipv6: bool | None = None
    ipv6_ra: bool = True
    internal: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be, and fill in the driver's defaults."""
        check_name("network", self.name)
        if self.driver not in MODES:
            raise OptionUnknown("driver", self.driver, sorted(MODES))
        modes = MODES[self.driver]
        object.__setattr__(self, "mode", self.mode or modes[0])
        _one_of(f"{self.driver}_mode", str(self.mode), modes)
        if self.driver == "ipvlan":
            object.__setattr__(self, "flag", self.flag or IPVLAN_FLAGS[0])
            _one_of("ipvlan_flag", str(self.flag), IPVLAN_FLAGS)
        elif self.flag is not None:
            raise OptionInvalid("ipvlan_flag", self.flag, "it belongs to the driver `ipvlan`")
        _one_of("ipam_order", self.order, ORDERS)
        if self.mtu is not None and not 68 <= self.mtu <= 65535:
            raise OptionInvalid("mtu", str(self.mtu), "an MTU is 68 to 65535 bytes")
        if self.share_parent and self.mode == "passthru":
            raise OptionInvalid("share_parent", "true", "a passthru network has its parent to itself")
        if self.parent is not None and not _ifname_possible(self.parent):
            raise OptionInvalid("parent", self.parent, "it cannot be the name of a link")

    @classmethod
    def from_options(
        cls, name: str, *, driver: str = "macvlan", options: Sequence[tuple[str, str]] = (), **rest: object
    ) -> NetworkRequest:
        """A request whose driver options come as text, as with `-o KEY=VALUE`; a repeated key's last value counts.

        Raises:
            OptionUnknown, OptionInvalid: with the options and values that are known.
        """
        if driver not in MODES:
            raise OptionUnknown("driver", driver, sorted(MODES))
        values: dict[str, object] = {}
        for key, value in options:
            values.update(_option(driver, key, value))
        return cls(name=name, driver=driver, options=tuple(dict(options).items()), **values, **rest)  # type: ignore[arg-type]

    @property
    def wants_gateways(self) -> bool:
        """Whether subnets without a gateway reserve one: not on internal networks nor on ipvlan l3 and l3s."""
        return self.gateway_automatic and not self.internal and self.mode not in ("l3", "l3s")


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = [f"-o {key}={one}" for one in nearly(value, known)]
        raise OptionInvalid(key, value, f"it is one of {', '.join(known)}", near)


def _ifname_possible(name: str) -> bool:
    """What `dev_valid_name` and altnames (127 bytes) allow together."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        # Bytes of the command line that are no UTF-8.
        return False
    return 0 < length <= 127 and name not in (".", "..") and not re.search(r"[\s/:\x00-\x1f\x7f]", name)


def _boolean(key: str, value: str) -> bool:
    _one_of(key, value, ("true", "false"))
    return value == "true"


def _option(driver: str, key: str, value: str) -> dict[str, object]:
    """One `-o KEY=VALUE` as an argument of NetworkRequest."""
    known = ["parent", "mtu", "share_parent", "ipam_order", "ipv6_ra"]
    known += ["macvlan_mode"] if driver == "macvlan" else ["ipvlan_mode", "ipvlan_flag"]
    if key not in known:
        raise OptionUnknown(f"option of driver `{driver}`", key, sorted(known))
    match key:
        case "parent":
            return {"parent": value}
        case "mtu":
            if not (value.isascii() and value.isdigit() and len(value) <= 5):
                raise OptionInvalid(key, value, "an MTU is 68 to 65535 bytes")
            return {"mtu": int(value)}
        case "share_parent":
            return {"share_parent": _boolean(key, value)}
        case "ipam_order":
            return {"order": value}
        case "ipv6_ra":
            _one_of(key, value, ("on", "off"))
            return {"ipv6_ra": value == "on"}
        case "ipvlan_flag":
            return {"flag": value}
        case _:
            # Empty is the default, as in Docker.
            _one_of(key, value or MODES[driver][0], MODES[driver])
            return {"mode": value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network as it is recorded. `link` is the parent link's own name, `parent` what the user called it."""

    id: str
    name: str
    driver: str
    mode: str
    flag: str | None
    parent: str | None
    link: str
    subnets: tuple[Subnet, ...]
    ipv6: bool
    ipv6_ra: bool
    internal: bool
    mtu: int | None
    share_parent: bool
    order: str
    labels: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    created_at: datetime

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
class EndpointRequest:
    """A connection of a sandbox to a network, to be made.

    Args:
        network: name, id or id prefix.
        sandbox: name, id or id prefix; in bulk, the name of one to be made where none has it.
        ip, ip6: the addresses to get, from the subnets that contain them; None: automatic.
        mac: the MAC to get; None: made from the IPv4 address.

    Raises:
        AddressInvalid, MacInvalid
    """

    network: str
    sandbox: str = ""
    ip: Address | None = None
    ip6: Address | None = None
    mac: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse what no endpoint can have."""
        if self.ip is not None:
            parse_address(self.ip, 4)
        if self.ip6 is not None:
            parse_address(self.ip6, 6)
        if self.mac is not None:
            parse_mac(self.mac)

    @classmethod
    def of(
        cls,
        network: str,
        sandbox: str = "",
        *,
        ip: str | Address | None = None,
        ip6: str | Address | None = None,
        mac: str | bytes | None = None,
    ) -> EndpointRequest:
        """The request with its values as text or objects."""
        return cls(
            network=network,
            sandbox=sandbox,
            ip=None if ip is None else parse_address(ip, 4),
            ip6=None if ip6 is None else parse_address(ip6, 6),
            mac=None if mac is None else parse_mac(mac),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A sandbox's link on a network, as it is recorded.

    Addresses are kept as packed bytes beside the subnets they are from; objects are made when they are asked for.
    `position` counts the sandbox's endpoints in the order of connection.
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
    subnet: Subnet | None = None
    subnet6: Subnet | None = None

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
    `exit_code` is set when exited: the command's own, or 128 and the signal that ended it.
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


@dataclass(frozen=True, slots=True)
class LinkKept:
    """A link that macvfast made and left where it is, because something that it does not know needs it. The record of
    it is gone: from now on it is a link like any other. `str` of it is one line for people.

    `macs` are in the link's filter list, `uppers` the links on it that its own namespace shows.
    """

    link: str
    was: str
    macs: tuple[bytes, ...] = ()
    uppers: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.link != self.was:
            why = f"somebody renamed it from `{self.was}`"
        else:
            on_it = [f"`{upper}`" for upper in self.uppers] + [f"MAC {mac_text(mac)}" for mac in self.macs]
            shown = ", ".join(on_it[:8]) + (f" and {len(on_it) - 8} more" if len(on_it) > 8 else "")
            why = f"{shown} on it {'is' if len(on_it) == 1 else 'are'} not macvfast's"
        return f"link `{self.link}` is kept: {why}; `ip link del {self.link}` removes it"


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of one item: its value, or the error that refused it."""

    name: str
    value: T | None = None
    error: MacvfastError | None = None

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Outcomes(Sequence[Outcome[T]]):
    """One outcome per item, in the order asked."""

    items: tuple[Outcome[T], ...] = field(default=())

    @overload
    def __getitem__(self, index: int) -> Outcome[T]: ...
    @overload
    def __getitem__(self, index: slice) -> Outcomes[T]: ...
    def __getitem__(self, index: int | slice) -> Outcome[T] | Outcomes[T]:
        """The outcome at that position, or the outcomes of a slice."""
        return Outcomes(self.items[index]) if isinstance(index, slice) else self.items[index]

    def __iter__(self) -> Iterator[Outcome[T]]:
        """Iterate in the order asked."""
        return iter(self.items)

    def __len__(self) -> int:
        """How many were asked for."""
        return len(self.items)

    @property
    def failed(self) -> list[Outcome[T]]:
        """Those that were refused."""
        return [item for item in self.items if not item.ok]

    def raise_if_any(self) -> None:
        """Raise the one error of a single item, or SomeFailed for several of many.

        Raises:
            SomeFailed, or the item's own error where one item was asked for.
        """
        failures = [(item.name, item.error) for item in self.items if item.error is not None]
        if failures:
            raise failures[0][1] if len(self.items) == 1 else SomeFailed(failures, len(self.items))


@dataclass(frozen=True, slots=True)
class Scaled:
    """What `scale` did: what it made, what it removed or left alone, and how many were there already."""

    made: Outcomes[Endpoint]
    removed: Outcomes[str]
    kept: int

    @property
    def count(self) -> int:
        """How many there are now."""
        return self.kept + sum(one.ok for one in self.made)

    @property
    def errors(self) -> list[MacvfastError]:
        """What refused an item, those that were to be made first."""
        made = [one.error for one in self.made if one.error is not None]
        return made + [one.error for one in self.removed if one.error is not None]


def pairs(values: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """A mapping, or pairs, as pairs in their order."""
    return tuple(values.items()) if isinstance(values, Mapping) else tuple(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFiles:
    """What a sandbox is to have of its own in /etc: hosts, hostname and resolv.conf.

    Args:
        hostname: None: the sandbox's name.
        hosts: names with addresses, for /etc/hosts, besides its own.
        dns, dns_search, dns_options: for /etc/resolv.conf; empty: this host's, name servers on loopback left out.

    Raises:
        OptionInvalid
    """

    hostname: str | None = None
    hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what a resolver could not read."""
        if self.hostname is not None and not _HOSTNAME.match(self.hostname):
            raise OptionInvalid("hostname", self.hostname, "it is 1 to 64 letters, digits, dots and hyphens")
        for name, address in self.hosts:
            if not name or re.search(r"[\s#]", name):
                raise OptionInvalid("add-host", f"{name}:{address}", "it has the form NAME:ADDRESS")
            _refuse_no_address("add-host", f"{name}:{address}", address)
        for server in self.dns:
            _refuse_no_address("dns", server, server)
        for word in (*self.dns_search, *self.dns_options):
            if not word or re.search(r"[\s#;]", word):
                raise OptionInvalid("dns-search or dns-option", word, "it is one word")


def _refuse_no_address(key: str, value: str, address: str) -> None:
    try:
        ip_address(address)
    except ValueError:
        raise OptionInvalid(key, value, f"`{address}` is not an IP address") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequest:
    """A command to be started in a sandbox.

    Args:
        argv: the command and its arguments; looked up in PATH, of `rootfs` where that is given.
        interactive: keep its standard input open (`-i`); otherwise it is empty.
        tty: give it a terminal of its own (`-t`).
        detach: do not wait for it; its output goes to the sandbox's log.
        rootfs: a directory that becomes its root file system.
        auto_remove: remove the sandbox when the command has ended (`--rm`).
        join: start it beside the command that runs already (`exec`), where one does.
        env: what it has besides this process's environment.
        workdir: where it starts; None: where this process is, as far as that is there.
        user: `USER[:GROUP]`, names or numbers; None: this process's.
    """

    argv: tuple[str, ...]
    interactive: bool = False
    tty: bool = False
    detach: bool = False
    rootfs: str | None = None
    auto_remove: bool = False
    join: bool = False
    env: tuple[tuple[str, str], ...] = ()
    workdir: str | None = None
    user: str | None = None


# What differs between record and kernel, and what is done about it.


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that is recorded and not so in the kernel.

    Attributes:
        kind: which, for programs: parent-missing, parent-down, parent-other, namespace-missing, pin-missing, pin-other,
            link-missing, link-other, link-down, link-wrong, address-missing, route-missing, route-other, half-made or
            half-removed.
        network, sandbox: what it is a part of.
        found: what is so, in words.
        obstacle: why it cannot be mended now; None where `restore` mends it.
        waits: whether what is in the way may go by itself: a parent that appears or comes up.
    """

    kind: str
    found: str
    network: str | None = None
    sandbox: str | None = None
    obstacle: str | None = None
    waits: bool = False

    def __str__(self) -> str:
        about = f"network {self.network}" if self.sandbox is None else f"sandbox {self.sandbox}"
        return f"{about}: {self.found}" + (f" ({self.obstacle})" if self.obstacle else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What mends a difference; once it was tried, `error` says why it failed, if it did."""

    mends: Difference
    action: str
    error: MacvfastError | None = None

    def __str__(self) -> str:
        about = f"sandbox {self.mends.sandbox}" if self.mends.sandbox is not None else f"network {self.mends.network}"
        return f"{about}: {self.action}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `restore` does, or did: its steps in order, and what stays different for now."""

    steps: tuple[Step, ...] = ()
    remaining: tuple[Difference, ...] = ()

    @property
    def failed(self) -> list[Step]:
        """The steps that were tried in vain."""
        return [step for step in self.steps if step.error is not None]

    @property
    def done(self) -> list[Step]:
        """The others."""
        return [step for step in self.steps if step.error is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What `gc` freed, why, and what was in the way, if anything."""

    kind: str
    name: str
    reason: str
    error: MacvfastError | None = None
