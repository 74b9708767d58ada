"""The `ipam` of a configuration, in the words of the reference plugin `host-local`: ranges, routes and DNS."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from macvfast.model import Route, is_name
from macvfast.plugins.cni.refusals import BAD_CONFIG, IO, UNSUPPORTED, Refused
from macvfast.plugins.fields import Unfit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.model import Cidr
    from macvfast.plugins.fields import Fields
    from macvfast.plugins.request import Said

# The numbers of a route, with what `Route` calls them; 0 is none.
_ROUTE_NUMBERS = {"priority": "metric", "mtu": "mtu", "advmss": "advmss", "table": "table", "scope": "scope"}

# Of a file of resolv.conf's kind.
_LONGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Range:
    """A range of addresses, as host-local has it: of a subnet, from one address to another, with a gateway."""

    subnet: str
    first: str | None
    last: str | None
    gateway: str | None


# Reading.


def ranges(ipam: Fields) -> Iterator[Range]:
    """The ranges of all sets, those of the old form first; each set has one family, and each family one set."""
    sets = [[ipam]] if ipam.text("subnet") else []
    sets += ipam.nested("ranges")
    if not sets:
        raise Unfit("`ipam` has neither `ranges` nor `subnet`")
    seen: dict[int, str] = {}
    for one in sets:
        if not one:
            raise Unfit("`ipam.ranges` has an empty set")
        found = [_range(fields) for fields in one]
        families = {6 if ":" in one.subnet else 4 for one in found}
        if len(families) > 1:
            raise Unfit(f"{found[0].subnet} and others of its set in `ipam.ranges` are of two families of IP")
        (family,) = families
        if family in seen:
            why = (
                f"a container gets one address of each family, and {seen[family]} and {found[0].subnet} are of two sets"
            )
            raise Refused(UNSUPPORTED, f"`ipam.ranges` has two sets of IPv{family}", why)
        seen[family] = found[0].subnet
        _refuse_two_gateways(found)
        yield from found


def _range(fields: Fields) -> Range:
    subnet, first, last, gateway = (fields.text(key) for key in ("subnet", "rangeStart", "rangeEnd", "gateway"))
    if not subnet:
        raise Unfit(f"{fields.name('subnet')} is missing")
    return Range(subnet, first or None, last or None, gateway or None)


def _refuse_two_gateways(ranges: Sequence[Range]) -> None:
    """Refuse ranges of one subnet that have different gateways."""
    gateways: dict[str, str | None] = {}
    for one in ranges:
        if gateways.setdefault(one.subnet, one.gateway) != one.gateway:
            raise Refused(UNSUPPORTED, f"`ipam.ranges` has two gateways of {one.subnet}", "a subnet has one")


def domain(ipam: Fields) -> str | None:
    """The layer-2 domain that a configuration of ours names, within which an address is given once; None: that of the
    parent. host-local's own may have any key.

    Raises:
        Unfit
    """
    name = ipam.text("domain") if ipam.text("type") == "macvfast" else ""
    if name and not is_name(name):
        raise Unfit(f"{ipam.name('domain')} is `{name}`, which cannot be a name")
    return f"cni:{name}" if name else None


# As host-local completes them.


class Settled(NamedTuple):
    """The subnets of ranges with their gateways, and the ranges that are not all of a subnet."""

    subnets: tuple[str, ...]
    gateways: tuple[str, ...]
    ip_ranges: tuple[str, ...]


def settled(given: Sequence[Range]) -> Settled:
    """What a network has for ranges: where no gateway is given, the first address of a subnet is it.

    Raises:
        Refused
    """
    gateways = {one.subnet: one.gateway for one in given}
    cidrs = {text: _cidr(text) for text in gateways}
    return Settled(
        subnets=tuple(gateways),
        gateways=tuple(gateway or str(cidrs[text][1]) for text, gateway in gateways.items()),
        ip_ranges=tuple(_ip_range(one, cidrs[one.subnet]) for one in given if one.first or one.last),
    )


def _cidr(text: str) -> Cidr:
    """A subnet in which there is an address beside its ends and its gateway."""
    try:
        cidr = ip_network(text) if "/" in text else None
    except ValueError as error:
        raise Refused(BAD_CONFIG, f"`{text}` is not a subnet", str(error)) from None
    if cidr is None or cidr.num_addresses < 4:
        raise Refused(BAD_CONFIG, f"`{text}` is no subnet with addresses for containers", "it has the form 10.1.2.0/24")
    return cidr


def _ip_range(one: Range, cidr: Cidr) -> str:
    end = cidr[-2] if cidr.version == 4 else cidr[-1]
    return f"{one.first or cidr[1]}-{one.last or end}"


# Routes and DNS.


def routes(ipam: Fields) -> Iterator[tuple[Route, Said]]:
    """Each route, with what is said of it, which comes back in the result. Without a gateway, it goes by that of its
    family.

    Raises:
        Refused, Unfit, RouteInvalid
    """
    for fields in ipam.several("routes"):
        destination, gateway = fields.text("dst"), fields.text("gw")
        if not destination:
            raise Unfit(f"{fields.name('dst')} is missing")
        numbers = {key: fields.number(key, most=0xFFFF_FFFF) or None for key in _ROUTE_NUMBERS}
        given = {ours: numbers[key] for key, ours in _ROUTE_NUMBERS.items()}
        said = {"dst": destination, "gw": gateway, **numbers}
        yield Route.of(destination, gateway or None, **given), {key: value for key, value in said.items() if value}


def dns(path: str) -> dict[str, Any]:
    """What the file of `resolvConf` says now, in the words of a result; empty where none is named.

    Raises:
        Refused: it cannot be read.
    """
    if not path:
        return {}
    found: dict[str, Any] = {"nameservers": [], "domain": "", "search": [], "options": []}
    try:
        lines = _regular(path).splitlines()
    except (OSError, ValueError) as error:
        raise Refused(IO, f"`resolvConf` {path} cannot be read", str(error)) from None
    for line in lines:
        word, *values = line.split() or ("",)
        if word == "nameserver":
            found["nameservers"] += values[:1]
        elif word == "domain":
            found["domain"] = "".join(values[:1]) or found["domain"]
        elif word in ("search", "options"):
            found[word] += values
    return {key: value for key, value in found.items() if value}


def _regular(path: str) -> str:
    """The text of a regular file. Of another, such as a pipe, nobody may ever write what is read."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), encoding="utf-8", errors="replace") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a regular file")
        text = file.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST} bytes")
    return text
