"""Links as a dump shows them."""

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


# The kinds of links that share a parent: what it carries is theirs.
ON_PARENTS = ("macvlan", "macvtap", "ipvlan", "ipvtap")


class DefaultRoute(NamedTuple):
    """A default route that is there: its family (4 or 6), the link it leaves by, its gateway, and whether a router
    advertised it, so that it comes and goes by itself.
    """

    family: int
    ifindex: int | None
    gateway: bytes | None
    advertised: bool = False

    def holds(self, ours: Collection[int]) -> bool:
        """Whether it is somebody's choice: not what a router advertised on one of our links, beside which our own
        default route stands.
        """
        return not (self.advertised and self.ifindex in ours)


def names(link: LinkFacts) -> tuple[str, ...]:
    """All that a link is called: of a namespace, no two links have a name in common."""
    return (link.ifname, *link.altnames)


class Links:
    """The links of one namespace, as a dump showed them, found by what stands on what."""

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
        """The link of that name or alternative name: what the kernel finds by it."""
        if not self._named:
            self._named = {known: link for link in self for known in names(link)}
        return self._named.get(name)

    def down_vlans(self, link: LinkFacts) -> list[LinkFacts]:
        """The link, and what its VLANs stand on, down to the link by which its frames leave this host, as far as this
        namespace shows that.
        """
        way = [link]
        while link.kind == "vlan" and link.parent_netnsid is None and link.parent in self.by_index:
            link = self.by_index[link.parent]
            way.append(link)
        return way

    def on(self, ifindex: int) -> list[LinkFacts]:
        """The links of this namespace that stand on one of it."""
        return self._on.get(ifindex, [])

    def around(self, ifindexes: Iterable[int]) -> set[int]:
        """Those of the links that are there, with all that stand on them, and the bridges and bonds that any of these
        belong to, with their ports: whose MACs a link may have to carry.
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
