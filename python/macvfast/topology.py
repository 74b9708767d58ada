"""What stands on what: parents, the sub-interfaces on them, networks, and the endpoints on these."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from macvfast.model import natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.model import Endpoint, MadeParent, Network
    from macvfast.usage import NetworkUsage, PoolUsage


class NetworkOnLink(NamedTuple):
    """A network, how full its pools are, and its endpoints by sandbox name."""

    network: Network
    pools: tuple[PoolUsage, ...]
    endpoints: tuple[Endpoint, ...]


class Link(NamedTuple):
    """A link with what stands on it.

    Attributes:
        name: the link's own.
        kind: of one that macvfast made, `vlan` or `dummy`; None: it is used as it is.
        vid: the VLAN of a `vlan`.
        links: the sub-interfaces that macvfast made on it.
        networks: those whose parent it is.
    """

    name: str
    kind: str | None
    vid: int | None
    links: tuple[Link, ...]
    networks: tuple[NetworkOnLink, ...]


class Topology(NamedTuple):
    """All that is recorded, at one moment, each list by name, as people count.

    Attributes:
        links: those that stand on no other of the record.
        unconnected: the names of the sandboxes that are on no network.
    """

    links: tuple[Link, ...]
    unconnected: tuple[str, ...]


def arranged(
    networks: Iterable[NetworkUsage], endpoints: Iterable[Endpoint], made: Iterable[MadeParent],
    unconnected: Iterable[str],
) -> Topology:  # fmt: skip
    """The topology of what is recorded.

    Args:
        networks: all of them.
        endpoints: those of all networks.
        made: the links that macvfast made; those on which nothing stands are left out.
        unconnected: names of sandboxes.
    """
    by_network: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_network.setdefault(endpoint.network_id, []).append(endpoint)
    on_link: dict[str, list[NetworkOnLink]] = {}
    for network, pools in networks:
        there = sorted(by_network.get(network.id, ()), key=lambda one: natural(one.sandbox))
        on_link.setdefault(network.link, []).append(NetworkOnLink(network, pools, tuple(there)))
    records = {one.link: one for one in made}
    uppers: dict[str, list[str]] = {}
    below: dict[str, str] = {}
    todo = list(on_link)
    while todo:
        link = todo.pop()
        record = records.get(link)
        if record is not None and record.base is not None and link not in below:
            below[link] = record.base
            uppers.setdefault(record.base, []).append(link)
            todo.append(record.base)

    def link_of(name: str) -> Link:
        record = records.get(name)
        kind, vid = (None, None) if record is None else (record.kind, record.vid)
        networks = sorted(on_link.get(name, ()), key=lambda one: natural(one.network.name))
        return Link(name, kind, vid, tuple(map(link_of, _sorted(uppers.get(name, ())))), tuple(networks))

    roots = {*on_link, *uppers}.difference(below)
    return Topology(tuple(map(link_of, _sorted(roots))), tuple(_sorted(unconnected)))


def _sorted(names: Iterable[str]) -> Sequence[str]:
    return sorted(names, key=natural)
