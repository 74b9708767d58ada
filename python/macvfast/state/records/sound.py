"""What a row says that is used as a part of a path, or as a time: believed only where macvfast could have written it.

A state file may come from elsewhere (`state load`), and what it says is then done as root.

Raises (all functions):
    ValueError: macvfast never wrote that.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from macvfast.model import is_ifname, is_name

if TYPE_CHECKING:
    from macvfast.model import Endpoint, Network, Sandbox

_ID = re.compile(r"[0-9a-f]{64}\Z")
_TOKEN = re.compile(r"[0-9a-f]{16}\Z")


def sandbox(one: Sandbox) -> Sandbox:
    """A sandbox whose directory, pin and link in /etc/netns lie where they belong."""
    _check("the id of a sandbox", one.id, _ID.match(one.id))
    _check("the name of a sandbox", one.name, is_name(one.name))
    directory, _, name = one.path.rpartition("/")
    if one.made:
        _check(f"the path of sandbox {one.name}", one.path, name == one.name and ".." not in directory.split("/"))
    return one


def endpoint(one: Endpoint) -> Endpoint:
    """An endpoint whose link has a name that a link can have: its settings lie in a directory of that name."""
    _check(f"the link of sandbox {one.sandbox}", one.ifname, is_ifname(one.ifname))
    return one


def network(one: Network) -> Network:
    """A network whose id and names are such."""
    _check("the id of a network", one.id, _ID.match(one.id))
    _check("the name of a network", one.name, is_name(one.name))
    _check(f"the parent of network {one.name}", one.link, is_ifname(one.link))
    return one


def link(name: str) -> str:
    """The name of a link."""
    _check("a link", name, is_ifname(name))
    return name


def token(text: str) -> str:
    """The token of an operation: its file has that name."""
    _check("the owner of an intent", text, _TOKEN.match(text))
    return text


def moment(text: str) -> datetime:
    """A point of time, in UTC: it is compared with others and shown.

    Raises:
        OverflowError: it is before the year 1 or after 9999 there.
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
