"""Where Docker's networks are read: a file, standard input, or the Engine on its socket."""

from __future__ import annotations

import json
import os
import sys

from macvfast.errors import ImportSourceInvalid
from macvfast.plugins.docker import api


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
            data = sys.stdin.buffer.read(api.MOST_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(api.MOST_BYTES + 1)
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
    if len(data) > api.MOST_BYTES:
        raise ImportSourceInvalid(source, f"it has more than {api.MOST_BYTES >> 20} MiB")
    try:
        parsed: object = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ImportSourceInvalid(source, "it is not UTF-8") from None
    except (ValueError, RecursionError):
        # What is nested too deeply is no answer of Docker's either.
        raise ImportSourceInvalid(source, "it is not JSON") from None
    return parsed


def _default_socket() -> str:
    try:
        return api.socket_path()
    except api.NoAnswer as error:
        raise ImportSourceInvalid(os.environ["DOCKER_HOST"], str(error)) from None


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
    try:
        return api.get(path, what, absent)
    except api.NoAnswer as error:
        raise ImportSourceInvalid(path, str(error)) from None
