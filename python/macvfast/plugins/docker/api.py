"""A Docker Engine, asked on its own socket: by commands, never by what answers its calls, for which it waits."""

from __future__ import annotations

import json
import os
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from macvfast.plugins.fields import Fields, Unfit

if TYPE_CHECKING:
    from collections.abc import Collection

    from macvfast.model import Address

DEFAULT_SOCKET = "/var/run/docker.sock"

# How long an Engine may take: one that lists its networks, and one that says only which it is.
_TIMEOUT_S, _QUICKLY_S = 30.0, 1.0

# More than the networks of any Engine take.
MOST_BYTES = 64 << 20

# Releases that crash with network drivers that are not their own (moby#51554).
_CRASHING = ("29.0.0", "29.0.1", "29.0.2")


# IPAM drivers of Engines and of Podman, which answers as one. A plugin's name is that of its socket.
_OWN_IPAM = ("", "default", "null", "none", "host-local", "dhcp")


class NoAnswer(Exception):
    """There is no Engine, or it says what no Engine says: the text is why."""


class Stranger(Exception):
    """An Engine, or what answers as one, that has nothing of what macvfast has for Docker: the text says so."""


def socket_path() -> str:
    """The Engine's socket: that of DOCKER_HOST, or the usual one.

    Raises:
        NoAnswer: DOCKER_HOST names an Engine elsewhere.
    """
    given = os.environ.get("DOCKER_HOST", "")
    if given and not given.startswith("unix://"):
        raise NoAnswer("DOCKER_HOST is not a socket of this host")
    return given.removeprefix("unix://") or DEFAULT_SOCKET


def get(path: str, what: str, absent: bytes | None = None, timeout_s: float = _TIMEOUT_S) -> bytes:
    """Ask an Engine on its socket; `absent` is what an answer of 404 means. More than MOST_BYTES are cut off.

    Raises:
        NoAnswer
    """
    import http.client  # noqa: PLC0415 - few commands ask
    import socket  # noqa: PLC0415

    connection = http.client.HTTPConnection("docker", timeout=timeout_s)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(timeout_s)
    try:
        connection.sock.connect(path)
        connection.request("GET", what)
        answer = connection.getresponse()
        data = answer.read(MOST_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoAnswer(f"no Docker Engine answers there: {reason}") from None
    finally:
        connection.close()
    if answer.status == http.client.NOT_FOUND and absent is not None:
        return absent
    if answer.status != http.client.OK:
        raise NoAnswer(f"the Engine said {answer.status} to {what}")
    return data


def endpoints(path: str, ids: Collection[str]) -> dict[str, set[str]]:
    """Those of the networks with these ids that an Engine has, each with the ids of its endpoints.

    Raises:
        NoAnswer
    """
    try:
        there = {one.text("Id") for one in _list(_parsed(get(path, "/networks")))}
        return {id_: _endpoints_of(_network(path, id_).fields("Containers")) for id_ in ids if id_ in there}
    except Unfit as error:
        raise NoAnswer(f"of its networks, {error}") from None


def _network(path: str, id_: str) -> Fields:
    """What an Engine says of one; nothing: it has just gone."""
    return Fields(_parsed(get(path, f"/networks/{id_}", absent=b"{}")))


class Used(NamedTuple):
    """What a network of an Engine has of an IPAM driver.

    Attributes:
        pools: its subnets, each with its range, as they were given; empty: none.
        addresses: of aux addresses and containers, and of gateways that were given.
        options: of the IPAM driver.
    """

    pools: list[tuple[str, str]]
    addresses: set[Address]
    options: dict[str, str]


def ipam(path: str) -> list[Used]:
    """What the networks of an Engine have whose IPAM driver is a plugin, such as macvfast.

    Raises:
        NoAnswer
    """
    found: list[Used] = []
    try:
        for one in _list(_parsed(get(path, "/networks"))):
            id_ = one.text("Id")
            if one.fields("IPAM").text("Driver") not in _OWN_IPAM and id_.isalnum() and id_.isascii():
                network = _network(path, id_)
                found.append(_used(network.fields("IPAM"), network.fields("Containers")))
    except (Unfit, ValueError) as error:
        raise NoAnswer(f"of its networks, {error}") from None
    return found


def _used(said: Fields, containers: Fields) -> Used:
    pools: list[tuple[str, str]] = []
    addresses: set[str] = set()
    for one in said.several("Config"):
        pools.append((one.text("Subnet"), one.text("IPRange")))
        addresses.add(one.text("Gateway"))
        addresses.update(address for _, address in one.fields("AuxiliaryAddresses").texts())
    for name in containers.names():
        one = containers.fields(name)
        addresses.update(one.text(key) for key in ("IPv4Address", "IPv6Address"))
    parsed = {ip_address(one.partition("/")[0]) for one in addresses if one}
    return Used(pools, parsed, dict(said.fields("Options").texts()))


def _endpoints_of(containers: Fields) -> set[str]:
    # One that no container has joined yet is named by its id.
    return {containers.fields(name).text("EndpointID") or name.removeprefix("ep-") for name in containers.names()}


def crashing_release() -> str | None:
    """The release of this host's Engine, if that is known to crash with drivers such as macvfast."""
    try:
        version = Fields(_parsed(get(socket_path(), "/version", timeout_s=_QUICKLY_S))).text("Version")
    except (NoAnswer, Unfit):
        return None
    return version if version.partition("-")[0].partition("+")[0] in _CRASHING else None


def _parsed(data: bytes) -> object:
    if len(data) > MOST_BYTES:
        raise NoAnswer(f"its answer has more than {MOST_BYTES >> 20} MiB")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise NoAnswer("its answer is not JSON") from None


def _list(said: object) -> list[Fields]:
    return Fields({"networks": said}).several("networks")
