"""Docker's networks as requests for the same networks: checked field by field, never completed by guesses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError
from macvfast.model import natural
from macvfast.options import MODES, OPTIONS
from macvfast.plugins.fields import Fields, Unfit
from macvfast.requests import NetworkRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.model import Cidr

# Docker's drivers ignore every option but these.
_OPTIONS = {
    driver: tuple(key for key, one in OPTIONS.items() if one.docker and driver in one.drivers) for driver in MODES
}

# Every Engine has these.
_OWN = ("bridge", "host", "none")


@dataclass
class Converted:
    """One of Docker's networks: the request that creates the same network, or why there is none; and remarks on it."""

    name: str
    request: NetworkRequest | None = None
    why_not: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass
class _Subnets:
    """The subnets of one network, as they are read one after the other."""

    cidrs: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    gateways: list[str] = field(default_factory=list)
    aux: list[tuple[str, str]] = field(default_factory=list)
    without_gateway: list[str] = field(default_factory=list)


def convert_all(networks: Iterable[object], *, automatic_gateways: bool) -> list[Converted]:
    """Convert the networks that are not Docker's own; sorted by name, and those on one parent share it."""
    all_: list[Converted] = []
    names: set[str] = set()
    for position, network in enumerate(networks, start=1):
        one = convert(network, position, automatic_gateways=automatic_gateways)
        if one is None:
            continue
        if one.request is not None and one.name in names:
            one.request, one.why_not = None, "another network of that name comes before it"
        names.add(one.name)
        all_.append(one)
    _share_parents(all_)
    return sorted(all_, key=lambda one: natural(one.name))


def convert(network: object, position: int = 1, *, automatic_gateways: bool = True) -> Converted | None:
    """Convert one element of `docker network inspect`; None for a network that every Engine has.

    Args:
        network: the element.
        position: its place in the list, which names an element that has no name.
        automatic_gateways: whether Docker chose a gateway for a subnet that shows none (up to release 28).
    """
    converted = Converted(f"element {position}")
    try:
        fields = Fields(network)
        converted.name = fields.text("Name") or converted.name
        if converted.name in _OWN:
            return None
        # Only releases from 29 on have a Status, and they choose no gateway.
        automatic_gateways = automatic_gateways and "Status" not in fields.names()
        converted.request = _request(converted, fields, automatic_gateways=automatic_gateways)
    except (Unfit, MacvfastError) as error:
        converted.why_not = error.line if isinstance(error, MacvfastError) else str(error)
    return converted


def _request(converted: Converted, network: Fields, *, automatic_gateways: bool) -> NetworkRequest:
    """The request for the same network; what is different goes into the notes.

    Raises:
        Unfit, MacvfastError: it is not a network that macvfast can have, or not one of Docker's.
    """
    driver = _driver(network)
    options = dict(network.fields("Options").texts())
    ignored = sorted(key for key in options if key not in _OPTIONS[driver])
    converted.notes += [f"without option {key}, which Docker's driver ignores too" for key in ignored]
    subnets = _read_subnets(converted, network, parent=options.get("parent"))
    if containers := network.fields("Containers").names():
        names = (network.fields("Containers").fields(key).text("Name") or key for key in containers)
        converted.notes.append(f"its containers are not imported: {', '.join(sorted(names, key=natural))}")
    internal = network.flag("Internal")
    no_ipv6 = any(":" in cidr for cidr in subnets.cidrs) and not network.flag("EnableIPv6")
    no_gateway = not automatic_gateways and any(":" not in cidr for cidr in subnets.without_gateway)
    taken = [(key, value) for key, value in options.items() if key in _OPTIONS[driver]]
    # Docker from 29 on chooses no gateway, and its IPv6 endpoints listen to routers all the same.
    routed = not no_ipv6 and not internal and options.get("ipvlan_mode") not in ("l3", "l3s")
    if no_gateway and routed and any(":" in cidr for cidr in subnets.without_gateway):
        taken.append(("ipv6_ra", "on"))
    request = NetworkRequest.from_options(
        converted.name,
        driver=driver,
        options=taken,
        subnets=tuple(subnets.cidrs),
        ip_ranges=tuple(subnets.ranges),
        gateways=tuple(subnets.gateways),
        gateway_automatic=not no_gateway,
        aux=tuple(subnets.aux),
        ipv6=False if no_ipv6 else None,
        internal=internal,
        labels=tuple(_labels(converted, network.fields("Labels"))),
    )
    # Of IPv6, and of a network that leads nowhere, none is chosen.
    without = [cidr for cidr in subnets.without_gateway if ":" not in cidr and request.wants_gateways]
    if without:
        converted.notes.append(f"no gateway is given for {', '.join(without)}: `network create` chooses one")
    return request


def _driver(network: Fields) -> str:
    """The driver of a network that can be imported, as far as that shows before its subnets are read."""
    if not network.text("Name"):
        raise Unfit("it has no Name")
    driver, ipam = network.text("Driver"), network.fields("IPAM").text("Driver")
    if driver not in MODES:
        raise Unfit(f"its driver is {driver}, not macvlan or ipvlan" if driver else "it has no Driver")
    if network.flag("ConfigOnly"):
        raise Unfit("it is only a configuration for others (--config-only)")
    if ipam not in ("", "default"):
        raise Unfit(f"its addresses come from {ipam}")
    return driver


def _read_subnets(converted: Converted, network: Fields, parent: str | None) -> _Subnets:
    """Read the elements of IPAM.Config.

    Raises:
        Unfit: also where a network has its subnets or its parent from another one's configuration.
    """
    subnets = _Subnets()
    ipv4 = network.flag("EnableIPv4", absent=True)
    for config in network.fields("IPAM").several("Config"):
        _read_subnet(converted, config, subnets, ipv4=ipv4)
    source = network.fields("ConfigFrom").text("Network")
    missing = "subnet" if not subnets.cidrs else "parent" if source and not parent else ""
    if missing:
        whose = f": its configuration is that of network {source} (--config-from)" if source else ""
        raise Unfit(f"no {missing} is given{whose}")
    return subnets


def _read_subnet(converted: Converted, config: Fields, subnets: _Subnets, *, ipv4: bool) -> None:
    """Read one element of IPAM.Config."""
    if not config.text("Subnet"):
        raise Unfit(f"no subnet is given: {config.name('Subnet')} is missing")
    cidr = _cidr(config, "Subnet")
    if cidr.version == 4 and not ipv4:
        converted.notes.append(f"without subnet {cidr}: IPv4 is off there")
        return
    subnets.cidrs.append(str(cidr))
    if config.text("IPRange"):
        wanted = _cidr(config, "IPRange")
        # Docker cuts a range to its network.
        if type(wanted) is type(cidr) and wanted.subnet_of(cidr):  # type: ignore[arg-type]
            subnets.ranges.append(str(wanted))
        else:
            text = config.text("IPRange")
            converted.notes.append(f"without ip-range {text}, which is not within {cidr} and which Docker ignores too")
    if config.text("Gateway"):
        # Docker 1.12 shows it with a prefix length.
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
        # Docker's subnets are never an address alone.
        found = ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        found = None
    if found is None or "%" in text or not found.prefixlen:
        raise Unfit(f"{config.name(key)} is `{text}`, which is not a subnet")
    return found


def _address(name: str, text: str, cidr: IPv4Network | IPv6Network) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise Unfit(f"{name} is `{text}`, which is not an address") from None
    if "%" in text or address.version != cidr.version or address not in cidr:
        raise Unfit(f"{name} is `{text}`, which is not within {cidr}")
    return str(address)


def _labels(converted: Converted, labels: Fields) -> Iterable[tuple[str, str]]:
    for key, value in labels.texts():
        if key and "=" not in key:
            yield key, value
        else:
            converted.notes.append(f"without label `{key}`, whose name cannot be given with --label")


def _share_parents(all_: Sequence[Converted]) -> None:
    """Let networks on one parent say that they share it, as Docker allows from release 27 on; passthru never can."""
    parents = Counter(one.request.parent for one in all_ if one.request is not None)
    for one in all_:
        request = one.request
        if request is None or request.parent is None or parents[request.parent] == 1 or request.mode == "passthru":
            continue
        options = (*(request.options or ()), ("share_parent", "true"))
        one.request = replace(request, share_parent=True, options=options)
