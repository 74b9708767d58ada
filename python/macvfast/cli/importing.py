"""`network import docker`: what `docker network inspect` says, as networks of macvfast."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from macvfast.cli.arguments import Usage, see_help
from macvfast.cli.docker_networks import converted
from macvfast.errors import ImportSourceInvalid, MacvfastError, NetworkExists, escape
from macvfast.outcomes import Outcome, Outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.cli.dispatch import Call
    from macvfast.cli.docker_networks import Found
    from macvfast.requests import NetworkRequest

DEFAULT_SOCKET = "/var/run/docker.sock"
_TIMEOUT_S = 30

# More than the networks of any Engine take.
_MOST_BYTES = 64 << 20


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
    found = converted(networks, automatic_gateways=gateways)
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
    yield " ".join(map(_quoted, ["macvfast", "network", "create", *flags(one.request)]))


def _quoted(word: str) -> str:
    """A word as a shell reads it back; what a terminal would act on is written as an escape of bash, zsh and POSIX."""
    from shlex import quote  # noqa: PLC0415

    if word.isprintable():
        return quote(word)
    bytes_ = word.encode()
    shown = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\{byte:03o}" for byte in bytes_)
    return f"$'{''.join(shown)}'"


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


# Where the networks are read from.


def _read(path: str | None, socket: str | None) -> tuple[list[object], bool]:
    """The networks of a file, of standard input (`-`) or of an Engine; and whether its subnets have gateways by
    themselves.

    Raises:
        ImportSourceInvalid
    """
    if path is None:
        return _of_engine(socket or _default_socket())
    try:
        if path == "-":
            data = _standard_input().read(_MOST_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ImportSourceInvalid(path, getattr(error, "strerror", None) or str(error)) from None
    return _listed(path, data), True


def _standard_input() -> BinaryIO:
    # A process can be started without one.
    if sys.stdin is None:
        raise ImportSourceInvalid("-", "standard input is closed")
    return sys.stdin.buffer


def _listed(source: str, data: bytes) -> list[object]:
    networks = _parsed(source, data)
    named = [one for one in networks if isinstance(one, dict) and "Name" in one] if isinstance(networks, list) else []
    if not isinstance(networks, list) or (networks and not named):
        raise ImportSourceInvalid(source, "it is not what `docker network inspect NETWORK...` prints")
    return networks


def _parsed(source: str, data: bytes) -> object:
    if len(data) > _MOST_BYTES:
        raise ImportSourceInvalid(source, f"it has more than {_MOST_BYTES >> 20} MiB")
    try:
        parsed: object = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ImportSourceInvalid(source, "it is not UTF-8") from None
    except (ValueError, RecursionError):
        # What is nested too deeply is no answer of Docker's either.
        raise ImportSourceInvalid(source, "it is not JSON") from None
    return parsed


def _default_socket() -> str:
    given = os.environ.get("DOCKER_HOST", "")
    if given and not given.startswith("unix://"):
        raise ImportSourceInvalid(given, "DOCKER_HOST is not a socket of this host")
    return given.removeprefix("unix://") or DEFAULT_SOCKET


def _of_engine(path: str) -> tuple[list[object], bool]:
    # Without a version in the path, an Engine answers in its own.
    version = _parsed(path, _get(path, "/version"))
    whole: list[object] = []
    for one in _listed(path, _get(path, "/networks")):
        id_ = one.get("Id") if isinstance(one, dict) else None
        # The list is without what only one network's own answer has. What has no id is named by what it is.
        whole.append(_one_of_engine(path, id_) if isinstance(id_, str) and id_.isascii() and id_.isalnum() else one)
    number = str(version.get("Version", "")) if isinstance(version, dict) else ""
    major = number.partition(".")[0]
    return [one for one in whole if one is not None], not (major.isascii() and major.isdigit() and int(major[:9]) >= 29)


def _one_of_engine(path: str, id_: str) -> object:
    """What an Engine says of one network; None where it has gone meanwhile."""
    data = _get(path, f"/networks/{id_}", absent=b"null")
    return _parsed(path, data)


def _get(path: str, what: str, absent: bytes | None = None) -> bytes:
    """Ask an Engine on its socket; `absent` is what an answer of 404 means.

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
        data = answer.read(_MOST_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImportSourceInvalid(path, f"no Docker Engine answers there: {reason}") from None
    finally:
        connection.close()
    if answer.status == http.client.NOT_FOUND and absent is not None:
        return absent
    if answer.status != http.client.OK:
        raise ImportSourceInvalid(path, f"the Engine said {answer.status} to {what}")
    return data
