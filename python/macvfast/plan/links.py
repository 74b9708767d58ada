"""The links of a namespace, as a dump of the kernel shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence


class LinkFacts(Protocol):
    """What a dump says of one link."""

    @property
    def ifindex(self) -> int: ...
    @property
    def ifname(self) -> str: ...
    @property
    def altnames(self) -> Sequence[str]: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def port_kind(self) -> str | None: ...
    @property
    def controller(self) -> int | None: ...
    @property
    def mac(self) -> bytes: ...
    @property
    def mtu(self) -> int: ...
    @property
    def up(self) -> bool: ...
    @property
    def loopback(self) -> bool: ...
    @property
    def parent(self) -> int | None: ...
    @property
    def parent_netnsid(self) -> int | None: ...
    @property
    def vid(self) -> int | None: ...
    @property
    def mode(self) -> str | None: ...
    @property
    def group(self) -> int: ...
    @property
    def attributes(self) -> Sequence[tuple[int, int]]: ...


# The kinds of links that share a parent, which carries their MACs.
ON_PARENTS = ("macvlan", "macvtap", "ipvlan", "ipvtap")


class RouteFacts(NamedTuple):
    """A route that is there: its destination, packed, with the length of its prefix (0: a default route), its metric,
    the link it leads to, its gateway, and whether a router advertised it: the kernel adds and removes those. `mtu` and
    `advmss` are as in `model.Route`.
    """

    destination: bytes
    prefix_length: int
    metric: int
    ifindex: int | None
    gateway: bytes | None
    advertised: bool = False
    mtu: int | None = None
    advmss: int | None = None

    @property
    def family(self) -> int:
        """4 or 6."""
        return 4 if len(self.destination) == 4 else 6

    def holds(self, ours: Collection[int]) -> bool:
        """Whether a default route keeps us from adding one of its family. One that a router advertised on a link of
        ours does not: ours stands beside it.
        """
        return not (self.advertised and self.ifindex in ours)


def names(link: LinkFacts) -> tuple[str, ...]:
    """All names of a link. In a namespace, no two links share one."""
    return (link.ifname, *link.altnames)


class Links:
    """The links of one namespace, found by index, by name, and by the link they stand on."""

    def __init__(self, links: Iterable[LinkFacts]) -> None:
        self.by_index = {link.ifindex: link for link in links}
        self._named: dict[str, LinkFacts] = {}
        self._on: dict[int, list[LinkFacts]] = {}
        for link in self.by_index.values():
            if link.parent is not None and link.parent_netnsid is None:
                self._on.setdefault(link.parent, []).append(link)

    def __iter__(self) -> Iterator[LinkFacts]:
        """Each link, in the order of the dump."""
        return iter(self.by_index.values())

    def named(self, name: str) -> LinkFacts | None:
        """The link of that name or alternative name."""
        if not self._named:
            self._named = {known: link for link in self for known in names(link)}
        return self._named.get(name)

    def down_vlans(self, link: LinkFacts) -> list[LinkFacts]:
        """The link, and the links below that its VLANs stand on, down to the one by which frames leave this host, as
        far as this namespace shows them.
        """
        way = [link]
        while link.kind == "vlan" and link.parent_netnsid is None and link.parent in self.by_index:
            link = self.by_index[link.parent]
            way.append(link)
        return way

    def on(self, ifindex: int) -> list[LinkFacts]:
        """The links of this namespace that stand on the one of that index."""
        return self._on.get(ifindex, [])

    def around(self, ifindexes: Iterable[int]) -> set[int]:
        """The indexes of all links whose MACs these links may have to carry: themselves, what stands on them, and the
        bridges and bonds that any of these belong to, with their ports. Links that are gone are left out.
        """
        ports: dict[int, list[LinkFacts]] = {}
        for link in self:
            if link.controller is not None:
                ports.setdefault(link.controller, []).append(link)
        found: set[int] = set()
        todo = [ifindex for ifindex in ifindexes if ifindex in self.by_index]
        while todo:
            ifindex = todo.pop()
            if ifindex in found:
                continue
            found.add(ifindex)
            controller = self.by_index[ifindex].controller
            todo += [link.ifindex for link in (*self.on(ifindex), *ports.get(ifindex, ()))]
            todo += [controller] if controller in self.by_index else []
        return found
