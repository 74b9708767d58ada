"""What a Docker Engine says of its networks, as requests for the same: checked field by field, nothing made up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast.cli.importing.fields import Fields, Unfit
from macvfast.errors import MacvfastError
from macvfast.model import MODES, natural
from macvfast.requests import NetworkRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.model import Cidr

# Docker's drivers ignore every option but these.
_OPTIONS = {"macvlan": ("parent", "macvlan_mode"), "ipvlan": ("parent", "ipvlan_mode", "ipvlan_flag")}

# What every Engine has.
_OWN = ("bridge", "host", "none")


@dataclass
class Found:
    """One of Docker's networks: the request that makes the same, or why there is none, and what to know of it."""

    name: str
    request: NetworkRequest | None = None
    why_not: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass
class _Subnets:
    """The subnets of one network as they are read, one after the other."""

    cidrs: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    gateways: list[str] = field(default_factory=list)
    aux: list[tuple[str, str]] = field(default_factory=list)
    without_gateway: list[str] = field(default_factory=list)


def converted(networks: Iterable[object], *, automatic_gateways: bool) -> list[Found]:
    """All networks of a list, by name, as far as they are not Docker's own; those on one parent share it."""
    found: list[Found] = []
    names: set[str] = set()
    for position, network in enumerate(networks, start=1):
        one = convert(network, position, automatic_gateways=automatic_gateways)
        if one is None:
            continue
        if one.request is not None and one.name in names:
            one.request, one.why_not = None, "another network of that name comes before it"
        names.add(one.name)
        found.append(one)
    return _with_company(sorted(found, key=lambda one: natural(one.name)))


def convert(network: object, position: int = 1, *, automatic_gateways: bool = True) -> Found | None:
    """One element of `docker network inspect`; None for one that every Engine has.

    Args:
        network: the element.
        position: which of the list it is: what an element without a name is called by.
        automatic_gateways: whether a subnet without a gateway has one all the same, as Docker's have up to 28.
    """
    found = Found(f"element {position}")
    try:
        fields = Fields(network)
        found.name = fields.text("Name") or found.name
        if found.name in _OWN:
            return None
        _convert(found, fields, automatic_gateways=automatic_gateways)
    except (Unfit, MacvfastError) as error:
        found.why_not = str(error)
    return found


def _convert(found: Found, network: Fields, *, automatic_gateways: bool) -> None:
    """Fill in the request and the notes.

    Raises:
        Unfit, MacvfastError: it is not a network that macvfast can have, or not one of Docker's.
    """
    if not network.text("Name"):
        raise Unfit("it has no Name")
    driver, ipam = network.text("Driver"), network.fields("IPAM")
    if driver not in MODES:
        raise Unfit(f"its driver is {driver}, not macvlan or ipvlan" if driver else "it has no Driver")
    if network.flag("ConfigOnly"):
        raise Unfit("it is a mere configuration for others (--config-only)")
    if ipam.text("Driver") not in ("", "default"):
        raise Unfit(f"its addresses come from {ipam.text('Driver')}")
    options = dict(network.fields("Options").texts())
    ignored = sorted(key for key in options if key not in _OPTIONS[driver])
    found.notes += [f"without option {key}, which Docker's driver ignores too" for key in ignored]
    ipv4 = network.flag("EnableIPv4", absent=True)
    subnets = _Subnets()
    for config in ipam.several("Config"):
        _read_subnet(found, config, subnets, ipv4=ipv4)
    # Only Engines from 29 on say what becomes of a network's addresses; theirs choose no gateway by themselves.
    automatic_gateways = automatic_gateways and "Status" not in network.names()
    source = network.fields("ConfigFrom").text("Network")
    missing = "subnet" if not subnets.cidrs else "parent" if source and not options.get("parent") else ""
    if missing:
        whose = f": its configuration is that of network {source} (--config-from)" if source else ""
        raise Unfit(f"no {missing} is said{whose}")
    if subnets.without_gateway and automatic_gateways:
        found.notes.append(
            f"no gateway is said for {', '.join(subnets.without_gateway)}: what `network create` chooses is taken"
        )
    if containers := network.fields("Containers").names():
        names = (network.fields("Containers").fields(key).text("Name") or key for key in containers)
        found.notes.append(f"its containers are not taken over: {', '.join(sorted(names, key=natural))}")
    # Docker from 29 on chooses none, and its IPv6 endpoints listen to routers.
    none_chosen = not automatic_gateways and any(":" not in cidr for cidr in subnets.without_gateway)
    ipv6_unused = any(":" in cidr for cidr in subnets.cidrs) and not network.flag("EnableIPv6")
    taken = [(key, value) for key, value in options.items() if key in _OPTIONS[driver]]
    hears = not ipv6_unused and not network.flag("Internal") and options.get("ipvlan_mode") not in ("l3", "l3s")
    if none_chosen and hears and any(":" in cidr for cidr in subnets.without_gateway):
        taken.append(("ipv6_ra", "on"))
    found.request = NetworkRequest.from_options(
        found.name,
        driver=driver,
        options=taken,
        subnets=tuple(subnets.cidrs),
        ip_ranges=tuple(subnets.ranges),
        gateways=tuple(subnets.gateways),
        gateway_automatic=not none_chosen,
        aux=tuple(subnets.aux),
        ipv6=False if ipv6_unused else None,
        internal=network.flag("Internal"),
        labels=tuple(_labels(found, network.fields("Labels"))),
    )


def _read_subnet(found: Found, config: Fields, subnets: _Subnets, *, ipv4: bool) -> None:
    """Take one element of IPAM.Config in."""
    if not config.text("Subnet"):
        raise Unfit(f"no subnet is said: {config.name('Subnet')} is missing")
    cidr = _cidr(config, "Subnet")
    if cidr.version == 4 and not ipv4:
        found.notes.append(f"without subnet {cidr}: IPv4 is off there")
        return
    subnets.cidrs.append(str(cidr))
    if config.text("IPRange"):
        wanted = _cidr(config, "IPRange")
        # Docker cuts a range to its network.
        if type(wanted) is type(cidr) and wanted.subnet_of(cidr):  # type: ignore[arg-type]
            subnets.ranges.append(str(wanted))
        else:
            text = config.text("IPRange")
            found.notes.append(f"without ip-range {text}, which is not within {cidr} and which Docker ignores too")
    if config.text("Gateway"):
        # Docker 1.12 says it with a prefix length.
        gateway = config.text("Gateway").partition("/")[0]
        subnets.gateways.append(_address(config.name("Gateway"), gateway, cidr))
    else:
        subnets.without_gateway.append(str(cidr))
    aux = config.fields("AuxiliaryAddresses")
    for name, address in aux.texts():
        if not name or "=" in name:
            raise Unfit(f"{config.name('AuxiliaryAddresses')} has an address of the name `{name}`")
        subnets.aux.append((name, _address(aux.name(name), address, cidr)))


def _cidr(config: Fields, key: str) -> Cidr:
    text = config.text(key)
    try:
        # An address alone is none of Docker's subnets.
        found = ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        found = None
    if found is None or "%" in text:
        raise Unfit(f"{config.name(key)} is `{text}`, which is no subnet")
    return found


def _address(name: str, text: str, cidr: IPv4Network | IPv6Network) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise Unfit(f"{name} is `{text}`, which is no address") from None
    if "%" in text or address.version != cidr.version or address not in cidr:
        raise Unfit(f"{name} is `{text}`, which is not within {cidr}")
    return str(address)


def _labels(found: Found, labels: Fields) -> Iterable[tuple[str, str]]:
    for key, value in labels.texts():
        if key and "=" not in key:
            yield key, value
        else:
            found.notes.append(f"without label `{key}`, whose name no --label can give")


def _with_company(found: Sequence[Found]) -> list[Found]:
    """Networks that have a parent together, as with Docker from 27 on, say so."""
    by_parent: dict[str, list[Found]] = {}
    for one in found:
        if one.request is not None and one.request.parent is not None:
            by_parent.setdefault(one.request.parent, []).append(one)
    for together in by_parent.values():
        for one in together if len(together) > 1 else ():
            request = one.request
            if request is not None and request.mode != "passthru":
                options = (*(request.options or ()), ("share_parent", "true"))
                one.request = replace(request, share_parent=True, options=options)
    return list(found)
