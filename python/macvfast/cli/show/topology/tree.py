"""The topology as one tree of what is shown, whatever draws it; what is many is folded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from macvfast.cli.show.text import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.model import Endpoint, Network
    from macvfast.topology import Link, NetworkOnLink, Topology
    from macvfast.usage import PoolUsage

# Shown of what stands on one link, and of the sandboxes of one network.
LINKS = 64
SANDBOXES = 8

# Sandboxes whose names count up are one line from so many on.
_RUN = 3
_NUMBERED = re.compile(r"(.*?)([0-9]+)\Z", re.ASCII)

UNCONNECTED = "on no network"


class Node(NamedTuple):
    """Something that is shown.

    Attributes:
        kind: link, network, pool, sandbox (or several), or more: what is folded.
        title: its name.
        notes: what else is said of it.
        share: how full a pool is; None of all else.
        children: what stands on it.
    """

    kind: str
    title: str
    notes: tuple[str, ...] = ()
    share: float | None = None
    children: tuple[Node, ...] = ()


def tree(topology: Topology, *, whole: bool = False) -> list[Node]:
    """What is shown of a topology; `whole`: nothing is folded."""
    nodes = _links(topology.links, whole=whole)
    if topology.unconnected:
        boxes = _folded([Node("sandbox", name) for name in topology.unconnected], whole=whole)
        nodes.append(Node("more", UNCONNECTED, children=boxes))
    return nodes


def _links(links: Sequence[Link], *, whole: bool) -> list[Node]:
    shown = links if whole or len(links) <= LINKS else links[:LINKS]
    nodes = [_link(link, whole=whole) for link in shown]
    if rest := links[len(shown) :]:
        networks = [one for link in rest for one in _networks_above(link)]
        nodes.append(_more(len(rest), "link", "links", networks))
    return nodes


def _link(link: Link, *, whole: bool) -> Node:
    shown = link.networks if whole or len(link.networks) <= LINKS else link.networks[:LINKS]
    children = [_network(one, whole=whole) for one in shown]
    if rest := link.networks[len(shown) :]:
        children.append(_more(len(rest), "network", "networks", rest))
    notes = [*([] if link.vid is None else [f"VLAN {link.vid}"]), *(["dummy link"] if link.kind == "dummy" else [])]
    return Node("link", link.name, tuple(notes), children=(*children, *_links(link.links, whole=whole)))


def _more(count: int, one: str, several: str, networks: Sequence[NetworkOnLink]) -> Node:
    """What stands for that many things, on which these networks are."""
    title = f"{count_text(count)} more {one if count == 1 else several}"
    boxes = _counted(sum(len(each.endpoints) for each in networks), "endpoint")
    return Node("more", title, (boxes,) if one == "network" else (_counted(len(networks), "network"), boxes))


def _counted(count: int, what: str) -> str:
    """`1 network`, `2 networks`."""
    return f"{count_text(count)} {what}{'' if count == 1 else 's'}"


def _networks_above(link: Link) -> list[NetworkOnLink]:
    return [*link.networks, *(one for upper in link.links for one in _networks_above(upper))]


def _network(one: NetworkOnLink, *, whole: bool) -> Node:
    boxes = _folded([_sandbox(endpoint) for endpoint in one.endpoints], whole=whole)
    return Node(
        "network", one.network.name, _about(one.network), children=(*(_pool(pool) for pool in one.pools), *boxes)
    )


def _about(network: Network) -> tuple[str, ...]:
    """What a person should know of a network."""
    mode = " ".join(filter(None, (network.driver, network.mode, network.flag if network.flag != "bridge" else None)))
    notes = [mode]
    if network.parent not in (None, network.link):
        notes.append(f"parent {network.parent}")
    if network.internal:
        notes.append("internal")
    if network.origin is not None:
        notes.append(f"of {network.origin}")
    return tuple(notes)


def _pool(pool: PoolUsage) -> Node:
    gateway = () if pool.subnet.gateway is None else (f"gateway {pool.subnet.gateway}",)
    use = f"{count_text(pool.in_use)} of {count_text(pool.capacity)} in use"
    return Node("pool", str(pool.subnet.cidr), (use, *gateway), pool.share)


def _sandbox(endpoint: Endpoint) -> Node:
    ifname = () if endpoint.ifname == "eth0" else (endpoint.ifname,)
    return Node("sandbox", endpoint.sandbox, (*ifname, *(str(one.ip) for one in endpoint.addresses)))


def _folded(boxes: Sequence[Node], *, whole: bool) -> tuple[Node, ...]:
    """Sandboxes, or where they are many: those whose names count up as one, and at most so many."""
    if whole or len(boxes) <= SANDBOXES:
        return tuple(boxes)
    folded: list[tuple[Node, int]] = []
    for run in _runs(boxes):
        if len(run) < _RUN:
            folded += ((one, 1) for one in run)
        else:
            folded.append(
                (
                    Node("sandbox", f"{run[0].title} to {run[-1].title}", (f"{count_text(len(run))} sandboxes",)),
                    len(run),
                )
            )
    if len(folded) <= SANDBOXES:
        return tuple(node for node, _ in folded)
    rest = sum(count for _, count in folded[SANDBOXES - 1 :])
    return (*(node for node, _ in folded[: SANDBOXES - 1]), Node("more", f"{count_text(rest)} more sandboxes"))


def _runs(boxes: Sequence[Node]) -> list[list[Node]]:
    """Sandboxes, with those together whose names count up: w-8, w-9, w-10, or w08, w09, w10."""
    runs: list[list[Node]] = []
    expected = ""
    for box in boxes:
        if box.title == expected:
            runs[-1].append(box)
        else:
            runs.append([box])
        found = _NUMBERED.match(box.title)
        expected = "" if found is None else f"{found[1]}{int(found[2]) + 1:0{len(found[2])}}"
    return runs
