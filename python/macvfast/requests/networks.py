"""Requests to create a network and to change one."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import NoneType
from typing import TYPE_CHECKING

from macvfast.checks import named, pairs, pairs_or_none, plain, texts
from macvfast.errors import NameReserved, OptionInvalid, OptionUnknown, nearly
from macvfast.model import (
    IPVLAN_FLAGS,
    MODES,
    RESERVED_NETWORKS,
    check_name,
    check_origin,
    is_ifname,
)
from macvfast.spellings import CHANGEABLE, OPTIONS, driver_options, goes_on, meant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# The objects that may stand for the text of a subnet or ip-range, and of a gateway or aux address.
_CIDRS = (IPv4Network, IPv6Network)
_ADDRESSES = (IPv4Address, IPv6Address)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRequest:
    """A network to be created. Whatever is invalid in itself is refused when the request is built.

    Args:
        name: 1 to 128 of A-Z a-z 0-9 _ . -, the first a letter or digit.
        driver: "macvlan" or "ipvlan".
        subnets, ip_ranges, gateways, aux: as `--subnet`, `--ip-range`, `--gateway`, `--aux-address`, in any order;
            each belongs to the subnet that contains it.
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
        options: what was given with `-o`, for `inspect`; None: derived from the values above.
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
        """Refuse invalid values, and fill in the driver's defaults."""
        self._check_types()
        check_name("network", self.name)
        if self.name in RESERVED_NETWORKS:
            raise NameReserved(self.name)
        if self.driver not in MODES:
            raise OptionUnknown("driver", self.driver, sorted(MODES))
        check_origin(self.origin)
        if self.options is None:
            object.__setattr__(self, "options", tuple(self._as_options()))
        object.__setattr__(self, "mode", self.mode or MODES[self.driver][0])
        if self.driver == "ipvlan":
            object.__setattr__(self, "flag", self.flag or IPVLAN_FLAGS[0])
        elif self.flag is not None:
            raise OptionInvalid("ipvlan_flag", self.flag, "it belongs to the driver `ipvlan`")
        for key, known in driver_options(self.driver).items():
            if known and isinstance(value := getattr(self, OPTIONS[key][0]), str):
                _one_of(key, value, known)
        refuse_mtu(self.mtu)
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
        for key, kinds in (("subnets", _CIDRS), ("ip_ranges", _CIDRS), ("gateways", _ADDRESSES)):
            object.__setattr__(self, key, texts(key, getattr(self, key), *kinds))
        object.__setattr__(self, "aux", pairs("aux", self.aux, *_ADDRESSES))
        object.__setattr__(self, "labels", named("labels", self.labels))
        if self.options is not None:
            object.__setattr__(self, "options", named("options", self.options))

    def _as_options(self) -> Iterator[tuple[str, str]]:
        """The options of `-o` for the values; called before defaults are filled in."""
        for key in driver_options(self.driver):
            field, values = OPTIONS[key]
            value = getattr(self, field)
            if value not in (self.__dataclass_fields__[field].default, ""):
                yield key, next((text for text, meaning in values.items() if meaning == value), str(value))

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


def _option(driver: str, key: str, value: str, given: Mapping[str, str]) -> dict[str, object]:
    """One `-o KEY=VALUE` of those given, as an argument of NetworkRequest."""
    known = driver_options(driver)
    if key not in known:
        raise OptionUnknown(f"option of driver `{driver}`", key, sorted(known), meant(driver, key, value, given))
    if goes_on(key, value):
        raise OptionInvalid(key, value, "an `-o` takes one KEY=VALUE", meant(driver, key, value, given))
    field, values = OPTIONS[key]
    if key == "mtu":
        if not (value.isascii() and value.isdigit() and len(value) <= 5):
            raise OptionInvalid(key, value, "an MTU is 68 to 65535 bytes")
        return {field: int(value)}
    if not values:
        return {field: value}
    if not value and field in ("mode", "flag"):
        # Empty is the default, as in Docker.
        value = next(iter(values))
    _one_of(key, value, tuple(values))
    return {field: values[value]}


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
            object.__setattr__(self, "ip_ranges", texts("ip_ranges", self.ip_ranges, *_CIDRS))
        object.__setattr__(self, "aux", pairs_or_none("aux", self.aux, *_ADDRESSES))
        object.__setattr__(self, "labels", pairs_or_none("labels", self.labels))

    @classmethod
    def from_options(cls, options: Sequence[tuple[str, str]], **rest: object) -> UpdateRequest:
        """A request whose options come as text, as with `-o KEY=VALUE`; a repeated key's last value counts.

        Raises:
            OptionUnknown, OptionInvalid: with the options and values that are known.
        """
        values: dict[str, object] = {}
        for key, value in options:
            if key in OPTIONS and key not in CHANGEABLE:
                why = f"it cannot change while the network is there: only {' and '.join(CHANGEABLE)} can"
                again = "`macvfast network rm NETWORK`, then `macvfast network create` with it"
                raise OptionInvalid(key, value, why, [again])
            if key not in CHANGEABLE:
                raise OptionUnknown("option of `network update`", key, CHANGEABLE)
            values.update(_option("macvlan", key, value, dict(options)))
        return cls(**values, **rest)  # type: ignore[arg-type]


def refuse_mtu(mtu: int | None) -> None:
    """Refuse an MTU that no link has.

    Raises:
        OptionInvalid
    """
    if mtu is not None and not 68 <= mtu <= 65535:
        raise OptionInvalid("mtu", str(mtu), "an MTU is 68 to 65535 bytes")
