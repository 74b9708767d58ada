"""Check values of rows that become part of a path or are compared as times: only what macvfast could have written is
accepted.

A state file may come from elsewhere (`state load`), and macvfast then acts on its contents as root.

Raises (all functions):
    ValueError: macvfast never wrote such a value.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from macvfast.model import is_domain, is_ifname, is_name

if TYPE_CHECKING:
    from macvfast.model import Endpoint, Network, Remembered, Sandbox

_ID = re.compile(r"[0-9a-f]{64}\Z")
_TOKEN = re.compile(r"[0-9a-f]{16}\Z")


def sandbox(one: Sandbox) -> Sandbox:
    """A sandbox whose directory, pin and link in /etc/netns are where they belong."""
    _check("the id of a sandbox", one.id, _ID.match(one.id))
    _check("the name of a sandbox", one.name, is_name(one.name))
    directory, _, name = one.path.rpartition("/")
    if one.made:
        _check(f"the path of sandbox {one.name}", one.path, name == one.name and ".." not in directory.split("/"))
    return one


def endpoint(one: Endpoint) -> Endpoint:
    """An endpoint whose link has a valid name: the settings of the link are in a directory of that name."""
    _check(f"the link of sandbox {one.sandbox}", one.ifname, is_ifname(one.ifname))
    return one


def network(one: Network) -> Network:
    """A network with a valid id and valid names."""
    _check("the id of a network", one.id, _ID.match(one.id))
    _check("the name of a network", one.name, is_name(one.name))
    _check(f"the parent of network {one.name}", one.link, is_ifname(one.link))
    if one.own_domain is not None:
        _check(f"the domain of network {one.name}", one.own_domain, is_domain(one.own_domain))
    return one


def remembered(one: Remembered) -> Remembered:
    """What a container had, as long as a MAC and addresses are."""
    for what, packed, length in (("MAC", one.mac, 6), ("address", one.packed, 4), ("address", one.packed6, 16)):
        # What is wrong is said only where something is: many are read for each address that is given.
        if packed is not None and len(packed) != length:
            _check(f"the {what} that is remembered {one}", packed.hex(), holds=False)
    return one


def link(name: str) -> str:
    """A valid name of a link."""
    _check("a link", name, is_ifname(name))
    return name


def token(text: str) -> str:
    """A valid token of an operation: its file has that name."""
    _check("the owner of an intent", text, _TOKEN.match(text))
    return text


def moment(text: str) -> datetime:
    """A time, in UTC: it is compared with others, and shown.

    Raises:
        OverflowError: in UTC, it is before the year 1 or after 9999.
    """
    found = datetime.fromisoformat(text)
    _check("a time", text, found.tzinfo)
    return found.astimezone(UTC)


def pins(one: Sandbox) -> str:
    """The directory in which the namespace of a sandbox is pinned."""
    return os.path.dirname(one.path)


def _check(what: str, text: str, holds: object) -> None:
    if not holds:
        raise ValueError(f"{what} cannot be `{text}`")
