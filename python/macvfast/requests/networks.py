"""Requests to create a network and to change one."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import NoneType
from typing import TYPE_CHECKING

from macvfast.checks import named, pairs, pairs_or_none, plain, texts
from macvfast.errors import NameReserved, OptionInvalid, OptionUnknown
from macvfast.model import (
    LOOPBACK,
    RESERVED_NETWORKS,
    check_domain,
    check_name,
    check_origin,
    is_ifname,
    is_vid,
)
from macvfast.options import IPVLAN_FLAGS, MODES, OPTIONS, changeable_options, link_options, options_of
from macvfast.spellings import goes_on, meant

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
        inside: whether the parent is a link of each sandbox's own namespace, by that name; of an engine's network.
        mode: of the driver; None: its first ("bridge", "l2").
        flag: ipvlan's; None: "bridge".
        mtu: bytes; None: the parent's.
        link_options: numbers that the kernel is told of each link, by their keys in `-o` (`options.OPTIONS` has them).
        share_parent: whether other networks that say so too may use the parent.
        order: "lowest" or "next", of automatic allocation.
        ipv4: whether there is an IPv4 subnet; False refuses one, so that none is chosen; None: as the subnets say.
        ipv6: None: on where an IPv6 subnet is given; False: off all the same. With `ipv4`, both False: endpoints of an
            engine's network have no addresses.
        ipv6_ra: whether endpoints take addresses and routes from router advertisements; None: unless
            the network is internal, or has no gateway by wish.
        internal: no default route, no automatic gateway.
        options: what was given with `-o`, for `inspect`; None: derived from the values above.
        origin: the engine that it is for, one of ORIGINS; None: that for which the Host is open, if any.
        domain: a layer-2 domain that an engine has named, `ENGINE:NAME`: an address is given once in it; None: that of
            the parent.

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
    link_options: tuple[tuple[str, int], ...] = ()
    share_parent: bool = False
    order: str = "lowest"
    ipv4: bool | None = None
    ipv6: bool | None = None
    ipv6_ra: bool | None = None
    internal: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] | None = None
    origin: str | None = None
    domain: str | None = None
    inside: bool = False

    def __post_init__(self) -> None:
        """Refuse invalid values, and fill in the driver's defaults."""
        self._check_types()
        check_name("network", self.name)
        if self.name in RESERVED_NETWORKS:
            raise NameReserved(self.name)
        if self.driver not in MODES:
            raise _unknown_driver(self.driver)
        check_origin(self.origin)
        check_domain(self.domain)
        self._settle_options()
        object.__setattr__(self, "mode", self.mode or MODES[self.driver][0])
        if self.driver == "ipvlan":
            object.__setattr__(self, "flag", self.flag or IPVLAN_FLAGS[0])
        elif self.flag is not None:
            why = "it belongs to the driver `ipvlan`"
            raise OptionInvalid("ipvlan_flag", self.flag, why, ["--driver=ipvlan, or leave out -o ipvlan_flag"])
        for option in options_of(self.driver).values():
            if option.sets and isinstance(value := getattr(self, option.sets), str):
                option.refuse_unknown(value)
        refuse_mtu(self.mtu)
        self._check_ipv4()
        if self.ipv6_ra:
            self._refuse_advertisements()
        if self.share_parent and self.mode == "passthru":
            why = "a passthru network has its parent to itself"
            raise OptionInvalid("share_parent", "true", why, ["leave out -o share_parent, or -o macvlan_mode=passthru"])
        if self.inside and (self.parent in (None, LOOPBACK) or self.origin is None):
            raise OptionInvalid("parent", str(self.parent), "no link of that name is in the namespace of a sandbox")
        if self.parent is not None and not is_ifname(self.parent):
            base, _, vid = self.parent.replace("/", ":").partition(":")
            hints = [f"did you mean `-o parent={base}.{vid}`?"] if is_ifname(base) and is_vid(vid) else []
            raise OptionInvalid("parent", self.parent, "it cannot be the name of a link", hints)

    def _check_ipv4(self) -> None:
        """Refuse IPv4 where the subnets say something else."""
        given = [subnet for subnet in self.subnets if ":" not in subnet]
        if self.ipv4 is False and given:
            why = f"subnet {given[0]} is of IPv4"
            raise OptionInvalid("--ipv4", "false", why, [f"leave out --ipv4, or --subnet={given[0]}"])
        if self.ipv4 is False and not self.subnets and (self.ipv6 is not False or self.origin is None):
            raise OptionInvalid("--ipv4", "false", "no IPv6 subnet is given", ["--subnet=2001:db8:1::/64"])
        if self.ipv4 and self.subnets and not given:
            raise OptionInvalid("--ipv4", "true", "no IPv4 subnet is given", ["--subnet=192.168.32.0/24"])

    def _check_types(self) -> None:
        for key in ("name", "driver", "order"):
            plain(key, getattr(self, key), str)
        for key in ("parent", "mode", "flag", "origin", "domain"):
            plain(key, getattr(self, key), str, NoneType)
        plain("mtu", self.mtu, int, NoneType)
        for key in ("ipv4", "ipv6", "ipv6_ra"):
            plain(key, getattr(self, key), bool, NoneType)
        for key in ("gateway_automatic", "share_parent", "internal", "inside"):
            plain(key, getattr(self, key), bool)
        # What is no tuple of texts yet becomes one: all that comes later relies on it.
        for key, kinds in (("subnets", _CIDRS), ("ip_ranges", _CIDRS), ("gateways", _ADDRESSES)):
            object.__setattr__(self, key, texts(key, getattr(self, key), *kinds))
        object.__setattr__(self, "aux", pairs("aux", self.aux, *_ADDRESSES))
        object.__setattr__(self, "labels", named("labels", self.labels))
        if self.options is not None:
            object.__setattr__(self, "options", named("options", self.options))

    def _settle_options(self) -> None:
        """Check the options of links, and have them among the options as they are; called before defaults are filled
        in.
        """
        given = named("link_options", self.link_options, int)
        for key, text in given:
            if key not in options_of(self.driver) or OPTIONS[key].attribute is None:
                known = [one.key for one in options_of(self.driver).values() if one.attribute is not None]
                raise OptionUnknown(f"option of links of driver `{self.driver}`", key, known)
            OPTIONS[key].value_of(text)
        values = link_options(given)
        object.__setattr__(self, "link_options", tuple(values.items()))
        others = self._as_options() if self.options is None else self.options
        options = {key: text for key, text in others if key not in OPTIONS or OPTIONS[key].attribute is None}
        options |= {key: str(value) for key, value in values.items()}
        object.__setattr__(self, "options", tuple(options.items()))

    def _as_options(self) -> Iterator[tuple[str, str]]:
        """The options of `-o` for the values of fields."""
        for option in options_of(self.driver).values():
            value = getattr(self, option.sets) if option.sets else ""
            if value != "" and value != self.__dataclass_fields__[option.sets].default:
                typed = (text for text, meaning in option.values.items() if meaning == value)
                yield option.key, next(typed, str(value))

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
            raise _unknown_driver(driver)
        values = _fields(driver, options)
        return cls(name=name, driver=driver, options=tuple(options), **values, **rest)  # type: ignore[arg-type]

    @property
    def wants_subnet(self) -> bool:
        """Whether a subnet is chosen for it: none is given, and its endpoints are to have addresses."""
        return not self.subnets and self.ipv4 is not False

    @property
    def wants_gateways(self) -> bool:
        """Whether IPv4 subnets without a gateway get one: not on internal or parentless networks, nor on ipvlan l3 and
        l3s, where no route would go to it.
        """
        leads_out = self.parent is not None and not self.internal
        return self.gateway_automatic and leads_out and self.mode not in ("l3", "l3s")


def _unknown_options(driver: str, unknown: Sequence[tuple[str, str]], given: Mapping[str, str]) -> OptionUnknown:
    """The error for options that a driver does not have: the first is refused, and hints say something of each."""
    what, known = f"option of driver `{driver}`", sorted(options_of(driver))
    hints: list[str] = []
    for key, value in unknown:
        hints += meant(driver, key, value, given) or OptionUnknown(what, key, known).hints
    if len(unknown) > 1:
        hints = [f"`{key}`: {hint}" for (key, _), hint in zip(unknown, hints, strict=True)]
    return OptionUnknown(what, unknown[0][0], known, hints)


def _unknown_driver(driver: str) -> OptionUnknown:
    """The error for it; a mode that is taken for a driver is one, as in Docker's words for its own bridge."""
    having = next((name for name, modes in MODES.items() if driver in modes), None)
    hints = [f"`{driver}` is a mode here: -d {having} -o {having}_mode={driver}"] if having else []
    return OptionUnknown("driver", driver, sorted(MODES), hints)


def _fields(driver: str, options: Sequence[tuple[str, str]]) -> dict[str, object]:
    """The fields of a request for options of a driver as they were typed.

    Raises:
        OptionUnknown, OptionInvalid
    """
    known = options_of(driver)
    given = dict(options)
    values: dict[str, object] = {}
    unknown = [(key, value) for key, value in given.items() if key not in known]
    if unknown:
        raise _unknown_options(driver, unknown, given)
    for key, value in options:
        option = known[key]
        if goes_on(key, value):
            raise OptionInvalid(key, value, "an `-o` takes one KEY=VALUE", meant(driver, key, value, given))
        meaning = option.value_of(value)
        if option.sets:
            values[option.sets] = meaning
    links = link_options(given.items())
    return values | ({"link_options": tuple(links.items())} if links else {})


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
        changeable = changeable_options()
        for key, value in options:
            if key in OPTIONS and key not in changeable:
                why = f"it cannot change while the network is there: only {' and '.join(sorted(changeable))} can"
                again = "`macvfast network rm NETWORK`, then `macvfast network create` with it"
                raise OptionInvalid(key, value, why, [again])
            if key not in changeable:
                raise OptionUnknown("option of `network update`", key, sorted(changeable))
        values = _fields("macvlan", options)
        return cls(**values, **rest)  # type: ignore[arg-type]


def refuse_mtu(mtu: int | None) -> None:
    """Refuse an MTU that no link has.

    Raises:
        OptionInvalid
    """
    if mtu is not None and not 68 <= mtu <= 65535:
        raise OptionInvalid("mtu", str(mtu), "an MTU is 68 to 65535 bytes", ["-o mtu=1500, for example"])
