"""`network import docker`: what `docker network inspect` says, as networks of macvfast."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from macvfast.cli.arguments import Usage, see_help
from macvfast.errors import ImportSourceInvalid, MacvfastError, NetworkExists, escape
from macvfast.model import MODES
from macvfast.outcomes import Outcome, Outcomes
from macvfast.requests import NetworkRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from macvfast.cli.dispatch import Call

DEFAULT_SOCKET = "/var/run/docker.sock"
_TIMEOUT_S = 30

# Docker's drivers ignore every option but these.
_OPTIONS = {"macvlan": ("parent", "macvlan_mode"), "ipvlan": ("parent", "ipvlan_mode", "ipvlan_flag")}


@dataclass
class Found:
    """One of Docker's networks: the request that makes the same, or why there is none, and what to know of it."""

    name: str
    request: NetworkRequest | None = None
    why_not: str = ""
    notes: list[str] = field(default_factory=list)


def docker(call: Call) -> int:
    """`network import docker`."""
    given = call.given
    path = given.words[0] if given.words else None
    if path is not None and given.text("socket") is not None:
        raise Usage(
            "a FILE and `--socket` cannot be given together",
            causes=["both say where the networks are read"],
            hints=["give one of them", see_help("macvfast network import docker")],
        )
    networks, gateways = _read(path, given.text("socket"))
    found = [one for network in networks if (one := convert(network, automatic_gateways=gateways)) is not None]
    found = _with_company(sorted(found, key=lambda one: one.name))
    if given.flag("apply"):
        return _apply(call, found)
    with call.host() as host:
        there = {network.name for network in host.networks()}
    call.out.lines(line for one in found for line in _lines(one, there))
    if any(one.request for one in found):
        call.out.aside("Nothing was made. `--apply` makes these networks; or run the lines above.\n")
    return 0


def _apply(call: Call, found: Sequence[Found]) -> int:
    """Make what can be made; the names of it."""
    outcomes: list[Outcome[str]] = []
    with call.host() as host:
        for one in found:
            if one.request is None:
                continue
            try:
                outcomes.append(Outcome(one.name, value=host.create_network(one.request).id))
            except NetworkExists:
                call.out.aside(f"network `{escape(one.name)}` is there already\n")
            except MacvfastError as error:
                outcomes.append(Outcome(one.name, error=error))
    call.out.aside("".join(f"{line}\n" for one in found for line in _remarks(one)))
    return call.report(Outcomes(tuple(outcomes)))


def _lines(one: Found, there: set[str]) -> Iterator[str]:
    """What would be done with a network, as lines of a shell script."""
    for remark in _remarks(one):
        yield f"# {remark}"
    if one.request is None:
        return
    if one.name in there:
        yield f"# {escape(one.name)}: there already"
        return
    from shlex import join  # noqa: PLC0415

    yield join(["macvfast", "network", "create", *flags(one.request)])


def _remarks(one: Found) -> list[str]:
    why = [f"not taken over: {one.why_not}"] if one.request is None else []
    return [f"{escape(one.name)}: {escape(remark)}" for remark in (*why, *one.notes)]


def flags(request: NetworkRequest) -> list[str]:
    """What is typed after `network create` for a request."""
    words = ["-d", request.driver]
    words += [f"--subnet={subnet}" for subnet in request.subnets]
    words += [f"--ip-range={ip_range}" for ip_range in request.ip_ranges]
    words += [f"--gateway={gateway}" for gateway in request.gateways]
    words += [] if request.gateway_automatic else ["--gateway=none"]
    words += [f"--aux-address={name}={address}" for name, address in request.aux]
    words += ["--no-ipv6"] if request.ipv6 is False else []
    words += ["--internal"] if request.internal else []
    words += [f"--label={key}={value}" for key, value in request.labels]
    words += [word for key, value in request.options or () for word in ("-o", f"{key}={value}")]
    return [*words, request.name]


def convert(network: Mapping[str, Any], *, automatic_gateways: bool = True) -> Found | None:
    """One element of `docker network inspect`; None for one that every Engine has.

    Args:
        network: the element.
        automatic_gateways: whether a subnet without a gateway has one all the same, as Docker's have up to 28.
    """
    name, driver = str(network.get("Name", "")), str(network.get("Driver", ""))
    if name in ("bridge", "host", "none"):
        return None
    found = Found(name)
    if driver not in MODES:
        found.why_not = f"its driver is {driver or 'unknown'}, not macvlan or ipvlan"
    elif network.get("ConfigOnly"):
        found.why_not = "it is a mere configuration for others (--config-only)"
    elif (network.get("IPAM") or {}).get("Driver", "default") != "default":
        found.why_not = f"its addresses come from {network['IPAM']['Driver']}"
    else:
        try:
            _convert(found, network, driver, automatic_gateways=automatic_gateways)
        except (MacvfastError, ValueError, AttributeError, TypeError) as error:
            found.why_not = str(error)
    return found


def _convert(found: Found, network: Mapping[str, Any], driver: str, *, automatic_gateways: bool) -> None:
    """Fill in the request and the notes.

    Raises:
        MacvfastError, ValueError, AttributeError, TypeError: it is not a network that macvfast can have, or not one
            of Docker's.
    """
    options = dict(network.get("Options") or {})
    ignored = sorted(key for key in options if key not in _OPTIONS[driver])
    found.notes += [f"without option {key}, which Docker's driver ignores too" for key in ignored]
    subnets: list[str] = []
    ranges: list[str] = []
    gateways: list[str] = []
    aux: list[tuple[str, str]] = []
    without = []
    for config in network["IPAM"].get("Config") or []:
        cidr = ip_network(config["Subnet"], strict=False)
        subnets.append(str(cidr))
        if config.get("IPRange"):
            ranges += _range(found, cidr, str(config["IPRange"]))
        if config.get("Gateway"):
            gateways.append(str(config["Gateway"]).partition("/")[0])
        else:
            without.append(str(cidr))
        aux += [(key, str(value)) for key, value in (config.get("AuxiliaryAddresses") or {}).items()]
    if without and automatic_gateways:
        found.notes.append(f"the gateway of {', '.join(without)} is its first free address, as with Docker up to 28")
    if containers := network.get("Containers"):
        names = ", ".join(sorted(str(one.get("Name")) for one in containers.values()))
        found.notes.append(f"its containers are not taken over: {names}")
    ipv6_unused = any(":" in subnet for subnet in subnets) and not network.get("EnableIPv6")
    found.request = NetworkRequest.from_options(
        found.name,
        driver=driver,
        options=[(key, str(value)) for key, value in options.items() if key in _OPTIONS[driver]],
        subnets=tuple(subnets),
        ip_ranges=tuple(ranges),
        gateways=tuple(gateways),
        gateway_automatic=automatic_gateways,
        aux=tuple(aux),
        ipv6=False if ipv6_unused else None,
        internal=bool(network.get("Internal")),
        labels=tuple((network.get("Labels") or {}).items()),
    )


def _range(found: Found, cidr: IPv4Network | IPv6Network, text: str) -> list[str]:
    """An ip-range as Docker means it: cut to its network; one that is not within the subnet does nothing."""
    wanted = ip_network(text, strict=False)
    if type(wanted) is type(cidr) and wanted.subnet_of(cidr):  # type: ignore[arg-type]
        return [str(wanted)]
    found.notes.append(f"without ip-range {text}, which is not within {cidr} and which Docker ignores too")
    return []


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
                from dataclasses import replace  # noqa: PLC0415

                options = (*(request.options or ()), ("share_parent", "true"))
                one.request = replace(request, share_parent=True, options=options)
    return list(found)


# Where the networks are read from.


def _read(path: str | None, socket: str | None) -> tuple[list[Mapping[str, Any]], bool]:
    """The networks of a file, of standard input (`-`) or of an Engine; and whether its subnets have gateways by
    themselves.

    Raises:
        ImportSourceInvalid
    """
    if path is None:
        return _of_engine(socket or _default_socket())
    try:
        if path == "-":
            text = sys.stdin.read()
        else:
            with open(path, encoding="utf-8") as file:
                text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ImportSourceInvalid(path, getattr(error, "strerror", None) or "it is not UTF-8") from None
    return _listed(path, text), True


def _listed(source: str, text: str) -> list[Mapping[str, Any]]:
    try:
        networks = json.loads(text)
    except ValueError:
        raise ImportSourceInvalid(source, "it is not JSON") from None
    if not isinstance(networks, list) or not all(isinstance(one, dict) and "Name" in one for one in networks):
        raise ImportSourceInvalid(source, "it is not what `docker network inspect NETWORK...` prints")
    return networks


def _default_socket() -> str:
    given = os.environ.get("DOCKER_HOST", "")
    return given.removeprefix("unix://") if given.startswith("unix://") else DEFAULT_SOCKET


def _of_engine(path: str) -> tuple[list[Mapping[str, Any]], bool]:
    # Without a version in the path, an Engine answers in its own.
    version = json.loads(_get(path, "/version"))
    networks = _listed(path, _get(path, "/networks"))
    whole = [json.loads(_get(path, f"/networks/{one['Id']}")) for one in networks]
    major = str(version.get("Version", "")).partition(".")[0] if isinstance(version, dict) else ""
    return whole, not (major.isdigit() and int(major) >= 29)


def _get(path: str, what: str) -> str:
    """Ask an Engine on its socket.

    Raises:
        ImportSourceInvalid: there is none that answers.
    """
    import http.client  # noqa: PLC0415
    import socket  # noqa: PLC0415

    connection = http.client.HTTPConnection("docker", timeout=_TIMEOUT_S)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(_TIMEOUT_S)
    try:
        connection.sock.connect(path)
        connection.request("GET", what)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImportSourceInvalid(path, f"no Docker Engine answers there: {reason}") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ImportSourceInvalid(path, f"the Engine said {answer.status} to {what}")
    return text
