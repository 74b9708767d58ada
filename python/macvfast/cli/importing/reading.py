"""Where Docker's networks are read: a file, standard input, or the Engine on its socket."""

from __future__ import annotations

import json
import os
import sys

from macvfast.errors import ImportSourceInvalid

DEFAULT_SOCKET = "/var/run/docker.sock"
_TIMEOUT_S = 30

# More than the networks of any Engine take.
_MOST_BYTES = 64 << 20


def read(path: str | None, socket: str | None) -> tuple[list[object], bool]:
    """The networks of a file, of standard input (`-`) or of an Engine, and whether Docker chose gateways for them.

    Raises:
        ImportSourceInvalid
    """
    if path is None:
        return _of_engine(socket or _default_socket())
    try:
        if path == "-":
            # A process can be started without a standard input.
            if sys.stdin is None:
                raise ImportSourceInvalid(path, "standard input is closed")
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ImportSourceInvalid(path, getattr(error, "strerror", None) or str(error)) from None
    return _listed(path, data), True


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
        # The list does not have all that a network's own answer has. What has no id is named by what it is.
        if isinstance(id_, str) and id_.isascii() and id_.isalnum():
            one = _parsed(path, _get(path, f"/networks/{id_}", absent=b"null"))
        # Null: it was removed meanwhile.
        whole += [] if one is None else [one]
    number = str(version.get("Version", "")) if isinstance(version, dict) else ""
    major = number.partition(".")[0]
    return whole, not (major.isascii() and major.isdigit() and int(major[:9]) >= 29)


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
