"""Endpoints that a container engine has announced, whose links it moves itself or has made later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from macvfast.model.addresses import Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedEndpoint:
    """An endpoint that an engine has announced before its container had a namespace. Its addresses are the engine's: it
    says when they are given and when they are free.

    Attributes:
        id: the engine's id of it.
        network_id, network: what it is on.
        mac: its own; None: its link has that of the parent.
        addresses: with the lengths of their prefixes, IPv4 first.
        boot_id: the boot in which it was announced.
        ifname, ifindex: of a link that was made for it in the home namespace, and that the engine moves from there;
            empty and 0: there is none.
        path: where the engine has, or will have, the namespace of the container.
        since: when that link was made, or else when the endpoint was announced.
    """

    id: str
    network_id: str
    network: str
    mac: bytes | None
    addresses: tuple[Interface, ...]
    boot_id: str
    since: datetime
    ifname: str = ""
    ifindex: int = 0
    path: str = ""
