"""Links as a dump shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class LinkFacts(Protocol):
    """What a dump says of one link."""

    @property
    def ifindex(self) -> int: ...
    @property
    def ifname(self) -> str: ...
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


# A default route that is there: family (4 or 6), the link it leaves by, and its gateway.
DefaultRoute = tuple[int, int | None, bytes | None]


class Links:
    """The links of one namespace, as a dump showed them, found by what stands on what."""

    def __init__(self, links: Iterable[LinkFacts]) -> None:
        self.by_index = {link.ifindex: link for link in links}
        self._on: dict[int, list[LinkFacts]] = {}
        for link in self.by_index.values():
            if link.parent is not None and link.parent_netnsid is None:
                self._on.setdefault(link.parent, []).append(link)

    def __iter__(self) -> Iterator[LinkFacts]:
        """Each link, in the order of the dump."""
        return iter(self.by_index.values())

    def below_vlans(self, link: LinkFacts) -> LinkFacts:
        """The link by which a link's frames leave this host: itself, or what its VLANs stand on, as far as this
        namespace shows that.
        """
        while link.kind == "vlan" and link.parent_netnsid is None and link.parent in self.by_index:
            link = self.by_index[link.parent]
        return link

    def on(self, ifindex: int) -> list[LinkFacts]:
        """The links of this namespace that stand on one of it."""
        return self._on.get(ifindex, [])
