"""Whether links of ours that are not where they are recorded still exist elsewhere.

The owner of a namespace can move a link to another namespace and give it another MAC: also a MAC that a link on another
parent has, or one that belongs to another of our links that does not have it. As long as a parent carries a MAC that no
known link on it has, a missing link may have this MAC.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from macvfast import plan
from macvfast.engine.carriers import Away, Carriers
from macvfast.errors import MacvfastError
from macvfast.kernel.namespaces import close_all, open_recorded
from macvfast.model import mac_text
from macvfast.system import limits

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.plan import LinkFacts
    from macvfast.state.store import Store

# How long the number of unknown MACs may take to fall: others may be deleting the links that have them.
PATIENCE_S = 0.3

# How long, at most, the links of other namespaces are read. A link that was not read explains no MAC.
READ_S = 1.0

# Sandboxes that are looked at together: their namespaces are open at the same time.
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Escape:
    """A link that exists elsewhere, or may.

    Attributes:
        parent: the link that it is on.
        macs: the MACs that it may have.
        found: the links that it may be: the path to the namespace (None: the home namespace; "": no path leads there),
            name and MAC.
    """

    parent: str
    macs: tuple[str, ...]
    found: tuple[tuple[str | None, str, str], ...]

    @property
    def holder(self) -> str | None:
        """The link of the home namespace that it may be, for messages."""
        return next((f"link `{ifname}` of this namespace" for path, ifname, _ in self.found if path is None), None)

    def __str__(self) -> str:
        for path, ifname, mac in self.found:
            where = "this namespace" if path is None else f"the namespace at {path}" if path else "another namespace"
            return f"link {ifname} with MAC {mac} of {where} may be it"
        return f"{self.parent} carries MAC {', '.join(self.macs)}, which nothing known has"


class _Ours(NamedTuple):
    """A link of ours that is where it is recorded."""

    ifindex: int
    mac: bytes
    parent: str

    def stands_in(self, home: plan.Links, around: Collection[int]) -> bool:
        """Whether its parent is one of the links with those indexes."""
        parent = home.named(self.parent)
        return parent is not None and parent.ifindex in around


class Escapes:
    """Tells links that no longer exist from links that have escaped. Searches the host at most once."""

    def __init__(
        self,
        store: Store,
        kernel: Kernel,
        changed_macs: Collection[bytes] = (),
        *,
        search: bool = True,
        notes: bool = True,
    ) -> None:
        """`changed_macs`: MACs that links of ours are known to have, beside the recorded ones; `search`: whether other
        namespaces are read; `notes`: as for Carriers.
        """
        self._searches = search
        self._store = store
        self._kernel = kernel
        self._carriers = Carriers(store, kernel, notes=notes)
        self._changed_macs = set(changed_macs)
        # Those that were seen, by index.
        self._ours: dict[int, _Ours] = {}
        self._seen: list[tuple[str | None, LinkFacts, bool]] | None = None

    def judge(
        self, missing: Sequence[tuple[Network, Endpoint]], moved: Mapping[int, LinkFacts], *, hidden: bool = False
    ) -> dict[int, Escape | Away | MacvfastError]:
        """What has escaped, or cannot be known, of links that are not where they are recorded, by index.

        Args:
            missing: the endpoints.
            moved: see `moved_from`.
            hidden: whether one may be down, so that no parent carries its MAC: a link that was found missing earlier,
                and whose namespace no longer says where it was moved.
        """
        indexes = {one.ifindex for _, one in missing}
        found = {ifindex: (self._path_of(link), link) for ifindex, link in moved.items() if ifindex in indexes}
        strange, unseen = self._strange(missing, found.keys())
        if strange or hidden or any(not network.lists_macs for network, _ in missing):
            for path, link, _ in self._search():
                if link.ifindex in indexes:
                    found.setdefault(link.ifindex, (path, link))
            strange = self._wait(strange, missing, found.keys())
        verdicts: dict[int, Escape | Away | MacvfastError] = {}
        for network, endpoint in missing:
            macs = strange.get(network.link, set())
            if network.link in unseen and network.lists_macs:
                verdicts[endpoint.ifindex] = unseen[network.link]
            elif endpoint.ifindex in found:
                path, link = found[endpoint.ifindex]
                verdicts[endpoint.ifindex] = _escape(network.link, {link.mac}, [(path, link)])
            elif macs and network.lists_macs:
                where = [(path, link) for path, link, _ in self._seen or () if link.mac in macs]
                verdicts[endpoint.ifindex] = _escape(network.link, macs, where)
        return verdicts

    def _strange(
        self, missing: Sequence[tuple[Network, Endpoint]], found: Collection[int]
    ) -> tuple[dict[str, set[bytes]], dict[str, Away | MacvfastError]]:
        """The MACs of parents that no known link has; and for parents that cannot be read, why."""
        mine = {one.ifindex for _, one in missing}
        # A link with another index is not ours, unless the owner of the link could have brought it there.
        elsewhere = [link for _, link, trusted in self._seen or () if trusted and link.ifindex not in mine]
        home = plan.Links(self._kernel.links())
        strange: dict[str, set[bytes]] = {}
        unseen: dict[str, Away | MacvfastError] = {}
        for parent in {network.link for network, one in missing if network.lists_macs and one.ifindex not in found}:
            carried = self._carriers.macs(parent)
            if isinstance(carried, Away | MacvfastError):
                unseen[parent] = carried
                continue
            around = home.around(self._carriers.indexes(parent))
            left = carried - self._changed_macs - {link.mac for link in elsewhere if link.parent in around}
            left -= {home.by_index[one].mac for one in around if one not in mine and home.by_index[one].up}
            left -= self._placed(home, around, mine)
            if left:
                self._look_at_ours(left)
                left -= self._placed(home, around, mine)
            if left:
                strange[parent] = left
        return strange, unseen

    def _placed(self, home: plan.Links, around: Collection[int], mine: Collection[int]) -> set[bytes]:
        """The MACs of our links that were seen where they are recorded, on parents with those indexes."""
        return {one.mac for one in self._ours.values() if one.ifindex not in mine and one.stands_in(home, around)}

    def _look_at_ours(self, macs: Collection[bytes] | None = None) -> None:
        """Read which of our links are where they are recorded, and which MACs they have: the links recorded with these
        MACs, or all links. A link that another process is creating or removing counts as having the recorded MAC.

        Cost: some 50 µs for each sandbox.
        """
        with self._store.reading() as records:
            alive = {id_ for id_, one in records.intents().items() if self._store.owner_lives(one.owner)}
            changing = {
                ifindex
                for ifindex, (id_, intent) in records.changing_links().items()
                if intent in alive and not records.has_missing_links(id_)
            }
            numbers = {number for number, mac in records.macs() if macs is None or mac in macs}
            boxes = records.sandboxes_numbered(sorted(numbers), shown=False)
            networks = {one.network_id: records.network_of(one) for box in boxes for one in box.endpoints}
        boxes = [one for one in boxes if one.boot_id == self._kernel.boot_id()]
        for some in limits.chunks(boxes, _CHUNK, each=2):
            found = self._look_at(some, networks, changing)
            self._ours |= {one.ifindex: one for one in found}

    def _look_at(
        self, boxes: Sequence[Sandbox], networks: Mapping[str, Network], changing: Collection[int]
    ) -> list[_Ours]:
        opened = open_recorded(self._kernel, boxes, search=False)
        try:
            wanted = [
                (namespace, endpoint)
                for box, namespace in zip(boxes, opened, strict=True)
                for endpoint in box.endpoints
                if not isinstance(namespace, MacvfastError)
            ]
            links = self._kernel.links_at([(namespace, one.ifindex) for namespace, one in wanted]) if wanted else []
        finally:
            close_all(opened)
        there = {
            one.ifindex: link.mac
            for (_, one), link in zip(wanted, links, strict=True)
            if link is not None and plan.ExpectedLink.of(networks[one.network_id], one).is_(link)
        }
        return [
            _Ours(one.ifindex, there.get(one.ifindex, one.mac), networks[one.network_id].link)
            for box in boxes
            for one in box.endpoints
            if one.ifindex in there or one.ifindex in changing
        ]

    def _wait(
        self, strange: dict[str, set[bytes]], missing: Sequence[tuple[Network, Endpoint]], found: Collection[int]
    ) -> dict[str, set[bytes]]:
        """The MACs that are still unknown after some time. While their number falls, links are just being deleted."""
        fewest, deadline = _count(strange), time.monotonic() + PATIENCE_S
        while strange and time.monotonic() < deadline:
            time.sleep(0.01)
            strange, _ = self._strange(missing, found)
            if _count(strange) < fewest:
                fewest, deadline = _count(strange), time.monotonic() + PATIENCE_S
        if strange:
            # The owners may have given our links other MACs.
            self._look_at_ours()
            strange, _ = self._strange(missing, found)
        return strange

    def _path_of(self, wanted: LinkFacts) -> str | None:
        same = [path for path, link, _ in self._search() if (link.ifindex, link.mac) == (wanted.ifindex, wanted.mac)]
        return same[0] if same else ""

    def _search(self) -> list[tuple[str | None, LinkFacts, bool]]:
        """The links on parents in all namespaces that can be found, each with the path, and with whether only root of
        this host's user namespace could have brought it there.
        """
        if self._seen is None:
            self._seen = [(None, link, True) for link in self._kernel.links() if link.kind in plan.ON_PARENTS]
            home = self._kernel.home_cookie()
            paths = self._kernel.namespaces().paths if self._searches else ()
            deadline = time.monotonic() + READ_S
            for path in paths:
                if time.monotonic() > deadline:
                    break
                (opened,) = self._kernel.open_namespaces([path])
                if isinstance(opened, MacvfastError):
                    continue
                try:
                    links = () if opened.cookie == home else self._kernel.links(opened)
                    trusted = self._kernel.is_of_home(opened)
                finally:
                    opened.close()
                self._seen += [(path, link, trusted) for link in links if link.kind in plan.ON_PARENTS]
        return self._seen


def _count(strange: Mapping[str, set[bytes]]) -> int:
    return sum(map(len, strange.values()))


def moved_from(kernel: Kernel, namespace: Namespace, indexes: Collection[int]) -> dict[int, LinkFacts]:
    """Links with these indexes in the namespaces that this namespace has ids for: the kernel gives an id to the
    namespace to which a link is moved.
    """
    found = {}
    for nsid in kernel.ids(namespace):
        for link in kernel.links(namespace, nsid):
            if link.ifindex in indexes and link.kind in plan.ON_PARENTS:
                found[link.ifindex] = link
    return found


def _escape(parent: str, macs: Collection[bytes], found: Sequence[tuple[str | None, LinkFacts]]) -> Escape:
    return Escape(
        parent,
        tuple(sorted(mac_text(mac) for mac in macs)),
        tuple((path, link.ifname, mac_text(link.mac)) for path, link in found),
    )
