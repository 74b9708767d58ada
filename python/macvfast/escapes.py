"""Links of ours that are not where they are recorded: whether they are gone, or live on elsewhere.

The owner of a namespace can move a link to another namespace and give it another MAC. As long as a parent carries a MAC
that nothing known has, such a link may have it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.carriers import Away, Carriers
from macvfast.errors import MacvfastError
from macvfast.model import mac_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from macvfast.kernel import Kernel, Namespace
    from macvfast.model import Endpoint, Network
    from macvfast.plan import LinkFacts
    from macvfast.store import Store

# How long MACs that nothing known has may take to go: those of links that others are just deleting.
PATIENCE_S = 0.3


@dataclass(frozen=True, slots=True)
class Escape:
    """A link that lives on, or may: the MACs that may be its, and the links that may be it: a path to the namespace
    (None: the home namespace; "": nothing leads there), name and MAC.
    """

    parent: str
    macs: tuple[str, ...]
    found: tuple[tuple[str | None, str, str], ...]

    @property
    def holder(self) -> str | None:
        """The link of the home namespace that may be it, for messages."""
        return next((f"link `{ifname}` of this namespace" for path, ifname, _ in self.found if path is None), None)

    def __str__(self) -> str:
        for path, ifname, mac in self.found:
            where = "this namespace" if path is None else f"the namespace at {path}" if path else "another namespace"
            return f"link {ifname} with MAC {mac} of {where} may be it"
        return f"{self.parent} carries MAC {', '.join(self.macs)}, which nothing known has"


class Escapes:
    """Tells the links that are gone from those that have escaped; the host is searched once."""

    def __init__(
        self, store: Store, kernel: Kernel, worn: Collection[bytes] = (), *, search: bool = True, notes: bool = True
    ) -> None:
        """`worn` are MACs that links of ours are known to have, beside the recorded ones; `search`: whether other
        namespaces than this one are looked at; `notes`: as of Carriers.
        """
        self._searches = search
        self._kernel = kernel
        self._carriers = Carriers(store, kernel, notes=notes)
        self._worn = set(worn)
        with store.reading() as records:
            self._recorded = records.known_links()
        self._seen: list[tuple[str | None, LinkFacts, bool]] | None = None

    def judge(
        self, missing: Sequence[tuple[Network, Endpoint]], moved: Mapping[int, LinkFacts], *, dying: bool = False
    ) -> dict[int, Escape | Away | MacvfastError]:
        """What has escaped, or cannot be known, of links that are not where they are recorded, by index.

        Args:
            missing: the endpoints.
            moved: see `moved_from`.
            dying: whether parents may still carry the MACs of links that are gone.
        """
        indexes = {one.ifindex for _, one in missing}
        found = {ifindex: (self._path_of(link), link) for ifindex, link in moved.items() if ifindex in indexes}
        if dying:
            self._worn |= {one.mac for _, one in missing}
        strange, unseen = self._strange(missing, found.keys())
        if strange or any(not network.has_own_macs for network, _ in missing):
            for path, link, _ in self._search():
                if link.ifindex in indexes:
                    found.setdefault(link.ifindex, (path, link))
            strange = self._wait(strange, missing, found.keys())
        verdicts: dict[int, Escape | Away | MacvfastError] = {}
        for network, endpoint in missing:
            macs = strange.get(network.link, set())
            if network.link in unseen and network.has_own_macs:
                verdicts[endpoint.ifindex] = unseen[network.link]
            elif endpoint.ifindex in found:
                path, link = found[endpoint.ifindex]
                verdicts[endpoint.ifindex] = _escape(network.link, {link.mac}, [(path, link)])
            elif macs and network.has_own_macs:
                where = [(path, link) for path, link, _ in self._seen or () if link.mac in macs]
                verdicts[endpoint.ifindex] = _escape(network.link, macs, where)
        return verdicts

    def _strange(
        self, missing: Sequence[tuple[Network, Endpoint]], found: Collection[int]
    ) -> tuple[dict[str, set[bytes]], dict[str, Away | MacvfastError]]:
        """The MACs that parents carry and nothing known has, and what keeps from looking at parents."""
        mine = {one.ifindex for _, one in missing}
        known = self._worn | {mac for ifindex, mac in self._recorded.items() if ifindex not in mine}
        known |= {link.mac for link in self._kernel.links() if link.ifindex not in mine}
        for _, link, trusted in self._seen or ():
            # What has another index is not ours, or ours in its place: but for what its owner could have brought there.
            if link.ifindex not in mine and (trusted or link.ifindex in self._recorded):
                known.add(link.mac)
        strange: dict[str, set[bytes]] = {}
        unseen: dict[str, Away | MacvfastError] = {}
        for parent in {network.link for network, one in missing if network.has_own_macs and one.ifindex not in found}:
            carried = self._carriers.macs(parent)
            if isinstance(carried, Away | MacvfastError):
                unseen[parent] = carried
            elif carried - known:
                strange[parent] = carried - known
        return strange, unseen

    def _wait(
        self, strange: dict[str, set[bytes]], missing: Sequence[tuple[Network, Endpoint]], found: Collection[int]
    ) -> dict[str, set[bytes]]:
        """What of it does not go by itself soon."""
        deadline = time.monotonic() + PATIENCE_S
        while strange:
            strange, _ = self._strange(missing, found)
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        return strange

    def _path_of(self, wanted: LinkFacts) -> str | None:
        same = [path for path, link, _ in self._search() if (link.ifindex, link.mac) == (wanted.ifindex, wanted.mac)]
        return same[0] if same else ""

    def _search(self) -> list[tuple[str | None, LinkFacts, bool]]:
        """The links on parents in all namespaces that can be found: where, and whether nobody but root of this host's
        user namespace could have brought them there.
        """
        if self._seen is None:
            self._seen = [(None, link, True) for link in self._kernel.links() if link.kind in plan.ON_PARENTS]
            home = self._kernel.home_cookie()
            for path in self._kernel.namespaces().paths if self._searches else ():
                (opened,) = self._kernel.open_namespaces([path])
                if isinstance(opened, MacvfastError):
                    continue
                try:
                    links = () if opened.cookie == home else self._kernel.links_in(opened)
                    trusted = self._kernel.is_of_home(opened)
                finally:
                    opened.close()
                self._seen += [(path, link, trusted) for link in links if link.kind in plan.ON_PARENTS]
        return self._seen


def moved_from(kernel: Kernel, namespace: Namespace, indexes: Collection[int]) -> dict[int, LinkFacts]:
    """Links with these indexes in namespaces that one knows: the kernel gives an id to where a link is moved to."""
    found = {}
    for nsid in kernel.ids(namespace):
        for link in kernel.links_by_id(nsid, namespace):
            if link.ifindex in indexes and link.kind in plan.ON_PARENTS:
                found[link.ifindex] = link
    return found


def _escape(parent: str, macs: Collection[bytes], found: Sequence[tuple[str | None, LinkFacts]]) -> Escape:
    return Escape(
        parent,
        tuple(sorted(mac_text(mac) for mac in macs)),
        tuple((path, link.ifname, mac_text(link.mac)) for path, link in found),
    )
