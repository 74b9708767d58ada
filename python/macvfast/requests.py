"""What can be asked for: networks, endpoints and commands, as frozen values.

Everything that can be wrong with a request alone is refused when it is built; what needs the record or the kernel to be
known (is the parent there, is the address free) is checked later, by `plan` and `host`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from types import NoneType
from typing import TYPE_CHECKING

from macvfast.checks import named, pairs, pairs_or_none, plain, several, texts
from macvfast.errors import NameReserved, OptionInvalid, OptionUnknown, nearly
from macvfast.model import (
    IPVLAN_FLAGS,
    MODES,
    ORDERS,
    RESERVED_NETWORKS,
    Address,
    check_name,
    check_origin,
    is_ifname,
    parse_address,
    parse_mac,
)
from macvfast.spellings import goes_on, meant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# The objects that may stand for the text of a subnet or ip-range, and of a gateway or aux address.
CIDRS = (IPv4Network, IPv6Network)
ADDRESSES = (IPv4Address, IPv6Address)

# The options that may change while a network is in use.
_CHANGEABLE = ("ipam_order", "share_parent")

# HOST_NAME_MAX is 64 (limits.h).
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRequest:
    """A network to be made. Everything that can be wrong with it alone is refused when it is built.

    Args:
        name: 1 to 128 of A-Z a-z 0-9 _ . -, the first a letter or digit.
        driver: "macvlan" or "ipvlan".
        subnets, ip_ranges, gateways, aux: as `--subnet`, `--ip-range`, `--gateway`, `--aux-address`, in any order;
            each belongs
            to the subnet that contains it.
        gateway_automatic: whether an IPv4 subnet without a gateway of its own gets one (`--gateway none`: False).
        parent: an existing link, or `NAME.VID` to be made; None: a dummy link, local to the host.
        mode: of the driver; None: its first ("bridge", "l2").
        flag: ipvlan's; None: "bridge".
        mtu: bytes; None: the parent's.
        share_parent: whether other networks that say so too may use the parent.
        order: "lowest" or "next", of automatic allocation.
        ipv6: None: on where an IPv6 subnet is given; False: off all the same.
        ipv6_ra: whether endpoints take addresses and routes from router advertisements; None: unless
            the network is internal, or has no gateway by wish.
        internal: no default route, no automatic gateway.
        options: what was given with `-o`, for `inspect`; None: what says the same as the values above.
        origin: the engine that it is for, one of ORIGINS; None: that for which the Host is open, if any.

    Raises:
        ArgumentInvalid, NameInvalid, NameReserved, OptionUnknown, OptionInvalid
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
    ipv6_ra: bool | None = None
    internal: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] | None = None
    origin: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be, and fill in the driver's defaults."""
        self._check_types()
        check_name("network", self.name)
        if self.name in RESERVED_NETWORKS:
            raise NameReserved(self.name)
        if self.driver not in MODES:
            raise OptionUnknown("driver", self.driver, sorted(MODES))
        check_origin(self.origin)
        if self.options is None:
            object.__setattr__(self, "options", tuple(self._as_options()))
        modes = MODES[self.driver]
        object.__setattr__(self, "mode", self.mode or modes[0])
        _one_of(f"{self.driver}_mode", str(self.mode), modes)
        if self.driver == "ipvlan":
            object.__setattr__(self, "flag", self.flag or IPVLAN_FLAGS[0])
            _one_of("ipvlan_flag", str(self.flag), IPVLAN_FLAGS)
        elif self.flag is not None:
            raise OptionInvalid("ipvlan_flag", self.flag, "it belongs to the driver `ipvlan`")
        _one_of("ipam_order", self.order, ORDERS)
        _refuse_mtu(self.mtu)
        if self.ipv6_ra:
            self._refuse_advertisements()
        if self.share_parent and self.mode == "passthru":
            raise OptionInvalid("share_parent", "true", "a passthru network has its parent to itself")
        if self.parent is not None and not is_ifname(self.parent):
            raise OptionInvalid("parent", self.parent, "it cannot be the name of a link")

    def _check_types(self) -> None:
        for key in ("name", "driver", "order"):
            plain(key, getattr(self, key), str)
        for key in ("parent", "mode", "flag", "origin"):
            plain(key, getattr(self, key), str, NoneType)
        plain("mtu", self.mtu, int, NoneType)
        for key in ("ipv6", "ipv6_ra"):
            plain(key, getattr(self, key), bool, NoneType)
        for key in ("gateway_automatic", "share_parent", "internal"):
            plain(key, getattr(self, key), bool)
        # What is no tuple of texts yet becomes one: all that comes later relies on it.
        for key, kinds in (("subnets", CIDRS), ("ip_ranges", CIDRS), ("gateways", ADDRESSES)):
            object.__setattr__(self, key, texts(key, getattr(self, key), *kinds))
        object.__setattr__(self, "aux", pairs("aux", self.aux, *ADDRESSES))
        object.__setattr__(self, "labels", named("labels", self.labels))
        if self.options is not None:
            object.__setattr__(self, "options", named("options", self.options))

    def _as_options(self) -> Iterator[tuple[str, str]]:
        """What `-o` would say of the values; asked before what was left out is filled in."""
        yield from (
            (key, value) for key, value in (("parent", self.parent), (f"{self.driver}_mode", self.mode)) if value
        )
        if self.flag:
            yield "ipvlan_flag", self.flag
        if self.mtu is not None:
            yield "mtu", str(self.mtu)
        if self.share_parent:
            yield "share_parent", "true"
        if self.order != ORDERS[0]:
            yield "ipam_order", self.order
        if self.ipv6_ra is not None:
            yield "ipv6_ra", "on" if self.ipv6_ra else "off"

    def _refuse_advertisements(self) -> None:
        """Refuse to listen to routers where none can be heard."""
        if self.internal:
            why = "an internal network has no default route, and routers advertise one"
            raise OptionInvalid("ipv6_ra", "on", why, ["leave out --internal, or -o ipv6_ra=on"])
        if self.mode in ("l3", "l3s"):
            # Documentation/networking/ipvlan.rst: no multicast in L3 mode.
            why = f"no router advertisement reaches an endpoint in ipvlan mode {self.mode}"
            raise OptionInvalid("ipv6_ra", "on", why, ["-o ipvlan_mode=l2"])

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
            values.update(_option(driver, key, value, dict(options)))
        return cls(name=name, driver=driver, options=tuple(options), **values, **rest)  # type: ignore[arg-type]

    @property
    def wants_gateways(self) -> bool:
        """Whether IPv4 subnets without a gateway get one: not on internal or parentless networks, nor on ipvlan l3 and
        l3s, where no route would go to it.
        """
        leads_out = self.parent is not None and not self.internal
        return self.gateway_automatic and leads_out and self.mode not in ("l3", "l3s")


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = [f"-o {key}={one}" for one in nearly(value, known)]
        raise OptionInvalid(key, value, f"it is one of {', '.join(known)}", near)


def _boolean(key: str, value: str) -> bool:
    _one_of(key, value, _BOOLEANS)
    return value == "true"


_BOOLEANS = ("true", "false")
_SWITCHED = ("on", "off")


def driver_options(driver: str) -> dict[str, tuple[str, ...]]:
    """The keys of `-o` for a driver, with their values, where they are few.

    >>> driver_options("macvlan")["ipam_order"]
    ('lowest', 'next')
    """
    known: dict[str, tuple[str, ...]] = {
        "parent": (), "mtu": (), "share_parent": _BOOLEANS, "ipam_order": ORDERS, "ipv6_ra": _SWITCHED
    }  # fmt: skip
    if driver in MODES:
        known[f"{driver}_mode"] = MODES[driver]
    if driver == "ipvlan":
        known["ipvlan_flag"] = IPVLAN_FLAGS
    return known


def changeable_options() -> dict[str, tuple[str, ...]]:
    """The keys of `-o` that may change while a network is in use, with their values."""
    known = driver_options("macvlan")
    return {key: known[key] for key in _CHANGEABLE}


def _option(driver: str, key: str, value: str, given: Mapping[str, str]) -> dict[str, object]:
    """One `-o KEY=VALUE` of those given, as an argument of NetworkRequest."""
    known = driver_options(driver)
    if key not in known:
        raise OptionUnknown(f"option of driver `{driver}`", key, sorted(known), meant(driver, key, value, given))
    if goes_on(key, value):
        raise OptionInvalid(key, value, "an `-o` takes one KEY=VALUE", meant(driver, key, value, given))
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
            _one_of(key, value, _SWITCHED)
            return {"ipv6_ra": value == "on"}
        case "ipvlan_flag":
            return {"flag": value}
        case _:
            # Empty is the default, as in Docker.
            _one_of(key, value or MODES[driver][0], MODES[driver])
            return {"mode": value}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRequest:
    """What is to change of a network while it is in use. What is left out stays.

    Args:
        ip_ranges: those of a subnet replace all that it has, other subnets keep theirs; (): no subnet has any.
        aux: by name, an address that is to be kept, or None: that of this name is no longer kept.
        labels: by key, a value, or None: the label goes.
        order, share_parent: as of NetworkRequest.

    Raises:
        ArgumentInvalid
    """

    ip_ranges: tuple[str, ...] | None = None
    aux: tuple[tuple[str, str | None], ...] = ()
    labels: tuple[tuple[str, str | None], ...] = ()
    order: str | None = None
    share_parent: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what is of another type; the rest is checked with the network as it would be."""
        plain("order", self.order, str, NoneType)
        plain("share_parent", self.share_parent, bool, NoneType)
        if self.ip_ranges is not None:
            object.__setattr__(self, "ip_ranges", texts("ip_ranges", self.ip_ranges, *CIDRS))
        object.__setattr__(self, "aux", pairs_or_none("aux", self.aux, *ADDRESSES))
        object.__setattr__(self, "labels", pairs_or_none("labels", self.labels))

    @classmethod
    def from_options(cls, options: Sequence[tuple[str, str]], **rest: object) -> UpdateRequest:
        """A request whose options come as text, as with `-o KEY=VALUE`; a repeated key's last value counts.

        Raises:
            OptionUnknown, OptionInvalid: with the options and values that are known.
        """
        values: dict[str, object] = {}
        for key, value in options:
            if key not in _CHANGEABLE and any(key in driver_options(driver) for driver in MODES):
                why = f"it cannot change while the network is there: only {' and '.join(_CHANGEABLE)} can"
                again = "`macvfast network rm NETWORK`, then `macvfast network create` with it"
                raise OptionInvalid(key, value, why, [again])
            if key not in _CHANGEABLE:
                raise OptionUnknown("option of `network update`", key, _CHANGEABLE)
            values.update(_option("macvlan", key, value, dict(options)))
        return cls(**values, **rest)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRequest:
    """A connection of a sandbox to a network, to be made.

    Args:
        network: name, id or id prefix.
        sandbox: name, id or id prefix; in bulk, the name of one to be made where none has it.
        ip, ip6: the addresses to get, from the subnets that contain them; None: automatic.
        mac: the MAC to get; None: made from the IPv4 address.
        ifname: the name of the link in the sandbox, which may then be on the network a second time; None: the first
            free one of eth0, eth1, …
        mtu: bytes, at most the parent's; None: the network's.

    Raises:
        ArgumentInvalid, AddressInvalid, MacInvalid, OptionInvalid
    """

    network: str
    sandbox: str = ""
    ip: Address | None = None
    ip6: Address | None = None
    mac: bytes | None = None
    ifname: str | None = None
    mtu: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no endpoint can have."""
        plain("network", self.network, str)
        plain("sandbox", self.sandbox, str)
        plain("ifname", self.ifname, str, NoneType)
        plain("mtu", self.mtu, int, NoneType)
        if self.ifname is not None:
            _refuse_ifname(self.ifname)
        _refuse_mtu(self.mtu)
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
        """The request with its addresses as text or objects."""
        return cls(
            network=network,
            sandbox=sandbox,
            ip=None if ip is None else parse_address(ip, 4),
            ip6=None if ip6 is None else parse_address(ip6, 6),
            mac=None if mac is None else parse_mac(mac),
        )


def _refuse_ifname(name: str) -> None:
    """Refuse a name that no endpoint's link can have: what the kernel does not take (IFNAMSIZ is 16, and it fills in a
    number for `%d`), and what is something else there, or among the settings of all links.
    """
    if not is_ifname(name) or len(name.encode()) > 15 or "%" in name:
        raise OptionInvalid("ifname", name, "it is 1 to 15 bytes, without white space, `/`, `:` and `%`")
    if name in ("lo", "all", "default"):
        raise OptionInvalid("ifname", name, "every namespace has something of that name")


def _refuse_mtu(mtu: int | None) -> None:
    if mtu is not None and not 68 <= mtu <= 65535:
        raise OptionInvalid("mtu", str(mtu), "an MTU is 68 to 65535 bytes")


# What the native program takes (`rust/init/src/log.rs`).
LEAST_LOG = 8 * 1024
_MOST_LOG = 2**63 - 1

# Of a regular expression: white space, control characters, and what was not UTF-8.
_NOT_A_WORD = r"\s\x00-\x1f\x7f\ud800-\udfff"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFiles:
    """What a sandbox is to have of its own in /etc: hosts, hostname and resolv.conf.

    Args:
        hostname: None: the sandbox's name.
        hosts: names with addresses, for /etc/hosts, besides its own.
        dns, dns_search, dns_options: for /etc/resolv.conf; empty: this host's, name servers on loopback left out.

    Raises:
        ArgumentInvalid, OptionInvalid
    """

    hostname: str | None = None
    hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what a resolver could not read."""
        plain("hostname", self.hostname, str, NoneType)
        pairs("hosts", self.hosts)
        for key in ("dns", "dns_search", "dns_options"):
            several(key, getattr(self, key), str)
        if self.hostname is not None and not _HOSTNAME.match(self.hostname):
            raise OptionInvalid("hostname", self.hostname, "it is 1 to 64 letters, digits, dots and hyphens")
        for name, address in self.hosts:
            if not name or re.search(rf"[#{_NOT_A_WORD}]", name):
                raise OptionInvalid("add-host", f"{name}:{address}", "it has the form NAME:ADDRESS")
            _refuse_no_address("add-host", f"{name}:{address}", address)
        for server in self.dns:
            _refuse_no_address("dns", server, server)
        for word in (*self.dns_search, *self.dns_options):
            if not word or re.search(rf"[#;{_NOT_A_WORD}]", word):
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
        log_max: how many bytes of what it shows are kept where it is detached; None: as many as were said for an
            earlier command of the sandbox, else 16 MiB.

    Raises:
        ArgumentInvalid, OptionInvalid
    """

    argv: tuple[str, ...]
    interactive: bool = False
    tty: bool = False
    detach: bool = False
    rootfs: str | None = None
    auto_remove: bool = False
    join: bool = False
    # Not to be shown: what is secret is often handed over so.
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    workdir: str | None = None
    user: str | None = None
    log_max: int | None = None

    def __post_init__(self) -> None:
        """Refuse a command line or an environment that is none."""
        several("argv", self.argv, str)
        pairs("env", self.env)
        if not self.argv:
            raise OptionInvalid("command", "", "it names no program")
        for word in self.argv:
            if "\0" in word:
                raise OptionInvalid("command", word, "it holds a NUL")
        for name, value in self.env:
            if not name or "=" in name or "\0" in name + value:
                raise OptionInvalid("env", name, "it has the form NAME=VALUE, without a NUL")
        if self.log_max is not None and not LEAST_LOG <= self.log_max <= _MOST_LOG:
            takes = f"it is a number of bytes from {LEAST_LOG} to {_MOST_LOG}"
            raise OptionInvalid("log-max", str(self.log_max), takes)


def parse_size(key: str, text: str) -> int:
    """A size in bytes as text: a number, or one with k, m or g, as Docker has them.

    >>> parse_size("log-max", "16m")
    16777216

    Raises:
        OptionInvalid
    """
    found = re.fullmatch(r"([0-9]{1,15})([kmg]?)b?", text, re.ASCII | re.IGNORECASE)
    if found is None:
        raise OptionInvalid(key, text, "it is a number of bytes, or one with k, m or g: 16m")
    return int(found[1]) << 10 * " kmg".index(found[2].lower() or " ")
