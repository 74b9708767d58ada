"""What is recorded of a sandbox, and what was found of it: where its namespace is, and what is in there."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.model import mac_text
from macvfast.plan.drift.parents import ParentState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.plan import LinkFacts, RouteFacts


class NamespaceState(Enum):
    """Where the namespace of a sandbox is."""

    PRESENT = "at its path; where others made it, wherever it is now"
    UNPINNED = "alive, and its path is free"
    GONE = "gone, and its path is free"
    REPLACED = "others made it, and have put another one at its path after a reboot"
    LOST = "others made it, and it is not found any more, or cannot be opened"
    OBSTRUCTED = "something else is at its path, or it cannot be opened"


@dataclass(frozen=True)
class NamespaceEndpoints:
    """The endpoints of all sandboxes that stand for one namespace, in the order of connection."""

    endpoints: tuple[tuple[Network, Endpoint], ...]

    @cached_property
    def ifindexes(self) -> frozenset[int]:
        """The indexes of their links."""
        return frozenset(one.ifindex for _, one in self.endpoints)

    @cached_property
    def _holders(self) -> Mapping[int, tuple[str, int]]:
        holders = plan.default_holders(self.endpoints)
        return {family: (one.sandbox_id, one.position) for family, (_, one) in holders.items()}

    def hold(self, endpoint: Endpoint, family: int) -> bool:
        """Whether the endpoint is the one of them that has the default route of a family."""
        return self._holders.get(family) == (endpoint.sandbox_id, endpoint.position)


@dataclass(frozen=True, slots=True)
class RecordedSandbox:
    """A sandbox as recorded, with its settled endpoints in the order of connection.

    `peers` are all endpoints in its namespace, those of other sandboxes that stand for it included: one of them
    holds the default route.
    """

    sandbox: Sandbox
    endpoints: tuple[tuple[Network, Endpoint], ...]
    peers: NamespaceEndpoints


class NamespaceContents:
    """What is in a namespace, for all sandboxes that stand for it.

    Attributes:
        links: its links, by index.
        defaults: the default routes that are in the way of ours; not those of links that are about to be made anew.
    """

    def __init__(
        self, links: Iterable[LinkFacts], routes: Iterable[RouteFacts], recorded: RecordedSandbox,
        parents: Mapping[str, ParentState],
    ) -> None:  # fmt: skip
        """`recorded` is any of the sandboxes; `routes`: other than default ones only where endpoints have some."""
        self.links = {link.ifindex: link for link in links}
        peers = recorded.peers.ifindexes
        self._strange = {name for link in self.links.values() if link.ifindex not in peers for name in plan.names(link)}
        # What routers advertise is nobody's choice: `create` puts our default route beside it, and so does this.
        ours = peers | self.links.keys() if recorded.sandbox.made else peers
        replaced = set(self._replaced(recorded.peers, parents))
        staying = [one for one in routes if one.ifindex not in replaced]
        self.defaults = [one for one in staying if not one.prefix_length and one.holds(ours)]
        self._by_key: dict[tuple[bytes, int, int], list[RouteFacts]] = {}
        for one in staying:
            self._by_key.setdefault(one[:3], []).append(one)

    def _replaced(self, peers: NamespaceEndpoints, parents: Mapping[str, ParentState]) -> Iterator[int]:
        """The indexes of links that are about to be deleted and made anew."""
        for network, endpoint in peers.endpoints:
            link, parent = self.links.get(endpoint.ifindex), parents.get(network.link, ParentState())
            if link is None or parent.refuses(network) is not None:
                continue
            if plan.ExpectedLink.of(network, endpoint).is_(link) and unmendable(network, endpoint, link, parent):
                yield endpoint.ifindex

    def rivals(self, step: plan.AddRoute) -> list[RouteFacts]:
        """The routes that are there to the same destination with the same metric."""
        return self._by_key.get(step.key, [])

    def has_strange(self, name: str) -> bool:
        """Whether a link of that name is there which is not recorded."""
        return name in self._strange


def unmendable(network: Network, endpoint: Endpoint, link: LinkFacts, parent: ParentState) -> str:
    """What is wrong with an endpoint's link and can only be mended by making it anew, in words; empty where nothing
    is.
    """
    if link.ifname != endpoint.ifname:
        return f"is called {link.ifname}"
    # While its parent is away there is nothing to compare with, and nothing to make it on.
    wanted = endpoint.parent_inside if network.inside else parent.ifindex
    if wanted is not None and link.parent != wanted:
        return f"is on another link than {network.parent if network.inside else network.link}"
    if network.has_own_macs and link.mac != endpoint.mac:
        return f"has MAC {mac_text(link.mac)}, not {mac_text(endpoint.mac)}"
    if link.mode is not None and link.mode != network.mode:
        return f"has mode {link.mode}"
    mtu = endpoint.mtu or network.mtu
    if mtu is not None and link.mtu != mtu:
        return f"has an MTU of {link.mtu}, not {mtu}"
    if link.mtu < plan.needed_mtu(network, endpoint.mtu):
        # The kernel took IPv6 from it for good, and not for as long as its parent's MTU is too small.
        return f"has an MTU of {link.mtu}, too small for IPv6"
    return ""


@dataclass(frozen=True, slots=True)
class FoundSandbox:
    """What was found of a sandbox: where its namespace is, why it is not there, what is in it, and the addresses of the
    sandbox's own links, by index.
    """

    state: NamespaceState
    contents: NamespaceContents
    reason: str = ""
    addresses: Mapping[int, Sequence[tuple[bytes, int]]] = field(default_factory=dict)
