"""Calls as a runtime makes them, one after another, about a few containers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.cni.sides import Conf

# What somebody does to a container behind the plugin's back, in its namespace; the link is {0}.
TAMPERING = {
    "address flushed": "ip address flush dev {0} scope global",
    "address added": "ip address add 192.0.2.77/32 dev {0}",
    "link deleted": "ip link delete {0}",
    "link renamed": "ip link set {0} down; ip link set {0} name other; ip link set other up",
    "link of another kind": "ip link delete {0};"
    " ip link add {0} address 02:00:00:00:00:01 type veth peer far-{0} address 02:00:00:00:00:02",
    "MAC changed": "ip link set {0} address 02:00:00:00:00:99",
    "default route deleted": "ip route delete default dev {0} || true",
    "link down": "ip link set {0} down",
    "MTU changed": "ip link set {0} mtu 1300",
}


@dataclass(frozen=True)
class Step:
    """One call, or tampering.

    Attributes:
        verb: ADD, CHECK, DEL, GC, STATUS, or a key of TAMPERING.
        where: the number of a container, and the name of a link.
        variables: of the environment, in the places of those that every call has; None: without that one.
        fields: of the configuration, beside those of the story.
        text: what the plugin gets in the place of a configuration.
        named: what the call is called besides by its verb, where the plugins differ about it.
    """

    verb: str
    where: tuple[int, str] = (0, "net1")
    variables: dict[str, str | None] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    text: str | None = None
    named: str = ""


@dataclass(frozen=True)
class Story:
    """A configuration, and what is done with it in order; `detects` and `has_link` are as of Side, `ids` the
    containers' ids with the place of a number. `exact`: it gives the same addresses; otherwise, calls in it may fail
    that have a part in which is the next one.
    """

    conf: Conf
    steps: tuple[Step, ...]
    detects: bool = False
    exact: bool = True
    ids: str = "container-{}"
    has_link: bool = False
