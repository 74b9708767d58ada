"""What would be done with Docker's networks, as lines of a shell script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from macvfast.cli.importing.converting import Converted
    from macvfast.requests import NetworkRequest


def lines(one: Converted, there: set[str]) -> Iterator[str]:
    """What would be done with a network, as lines of a shell script."""
    for remark in remarks(one):
        yield f"# {remark}"
    if one.request is None:
        return
    if one.name in there:
        yield f"# {escape(one.name)}: exists already"
        return
    yield " ".join(map(_quoted, ["macvfast", "network", "create", *flags(one.request)]))


def plugin_lines(one: Converted) -> Iterator[str]:
    """What makes of one of Docker's networks the same with macvfast as its driver, as lines of a shell script. Docker
    has to be asked for both: it keeps no two networks of a name.
    """
    for remark in remarks(one):
        yield f"# {remark}"
    if one.request is None:
        return
    yield " ".join(map(_quoted, ["docker", "network", "rm", one.name]))
    yield " ".join(map(_quoted, ["docker", "network", "create", *_plugin_flags(one.request)]))


def _plugin_flags(request: NetworkRequest) -> list[str]:
    """What is typed after `docker network create` for a request: what only macvfast's command has is an option."""
    words = [word for word in flags(request) if word not in ("--gateway=none", "--no-ipv6")][2:-1]
    ipv6 = request.ipv6 is not False and any(":" in subnet for subnet in request.subnets)
    words += ["--ipv6"] if ipv6 else []
    words += [] if request.driver == "macvlan" else ["-o", f"driver={request.driver}"]
    words += [] if request.gateway_automatic or request.gateways else ["-o", "gateway=none"]
    return ["-d", "macvfast", "--ipam-driver", "macvfast", *words, request.name]


def _quoted(word: str) -> str:
    """A word as a shell reads it back; what a terminal would act on is written as an escape of bash, zsh and POSIX."""
    from shlex import quote  # noqa: PLC0415

    if word.isprintable():
        return quote(word)
    bytes_ = word.encode()
    shown = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\{byte:03o}" for byte in bytes_)
    return f"$'{''.join(shown)}'"


def remarks(one: Converted) -> list[str]:
    """What is to be known of a network: why it is not imported, and what is different."""
    why = [f"not imported: {one.why_not}"] if one.request is None else []
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
