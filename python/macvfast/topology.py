"""What stands on what: parents, the sub-interfaces on them, networks, and the endpoints on these."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from macvfast.model import natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
        vid: the VLAN of a sub-interface, whoever made it, as far as it is known.
        links: the sub-interfaces on it.
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
        links: those that stand on no other.
        unconnected: the names of the sandboxes that are on no network.
    """

    links: tuple[Link, ...]
    unconnected: tuple[str, ...]


def arranged(
    networks: Iterable[NetworkUsage], endpoints: Iterable[Endpoint], made: Iterable[MadeParent],
    unconnected: Iterable[str], vlans: Mapping[str, tuple[str, int]],
) -> Topology:  # fmt: skip
    """The topology of what is recorded.

    Args:
        networks: all of them.
        endpoints: those of all networks.
        made: the links that macvfast made; those on which nothing stands are left out.
        unconnected: names of sandboxes.
        vlans: of sub-interfaces that others made, by name, what they stand on and their VLAN ids.
    """
    by_network: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_network.setdefault(endpoint.network_id, []).append(endpoint)
    on_link: dict[str, list[NetworkOnLink]] = {}
    for network, pools in networks:
        there = sorted(by_network.get(network.id, ()), key=lambda one: natural(one.sandbox))
        on_link.setdefault(network.link, []).append(NetworkOnLink(network, pools, tuple(there)))
    records = {one.link: one for one in made}
    bases = {name: (one.base, one.vid) for name, one in records.items()}
    bases |= {name: one for name, one in vlans.items() if name not in records}
    below = _below(on_link, bases)
    uppers: dict[str, list[str]] = {}
    for link, base in below.items():
        uppers.setdefault(base, []).append(link)

    def link_of(name: str) -> Link:
        kind = records[name].kind if name in records else None
        vid = bases[name][1] if name in bases else None
        networks = sorted(on_link.get(name, ()), key=lambda one: natural(one.network.name))
        return Link(name, kind, vid, tuple(map(link_of, _sorted(uppers.get(name, ())))), tuple(networks))

    roots = {*on_link, *uppers}.difference(below)
    return Topology(tuple(map(link_of, _sorted(roots))), tuple(_sorted(unconnected)))


def links_of_others(networks: Iterable[NetworkUsage], made: Iterable[MadeParent]) -> set[str]:
    """The links on which all of it stands that macvfast did not make."""
    records = {one.link: one for one in made}
    bases = {one.base for one in records.values() if one.base is not None}
    return {*(one.network.link for one in networks), *bases}.difference(records)


def _below(links: Iterable[str], bases: Mapping[str, tuple[str | None, int | None]]) -> dict[str, str]:
    """What each of the links stands on, and what that stands on."""
    below: dict[str, str] = {}
    for link in links:
        while link not in below:
            base = lowest = bases.get(link, (None, None))[0]
            # The record and the kernel may know links by names of different times: no link stands on itself.
            while lowest is not None and lowest != link:
                lowest = below.get(lowest)
            if base is None or lowest == link:
                break
            below[link] = base
            link = base
    return below


def _sorted(names: Iterable[str]) -> Sequence[str]:
    return sorted(names, key=natural)
