"""The parents of endpoints as they are now, whatever their names are and wherever they are.

A parent is known by the index that it had when links were made on it, in the same boot. Another link may have its name
by now, and it may have been moved to another namespace, with the links on it.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from macvfast import plan
from macvfast.errors import InvalidConfig, KernelRefused, MacvfastError, ParentNotFound
from macvfast.state.records import Stood

if TYPE_CHECKING:
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Address, Network
    from macvfast.plan import LinkFacts
    from macvfast.state.records import Records
    from macvfast.state.store import Store


class Away(NamedTuple):
    """A parent in another namespace: what is on it cannot be seen. `path` leads there, where it is called `ifname`."""

    path: str
    ifname: str


def parent_of(records: Records, kernel: Kernel, network: Network) -> LinkFacts:
    """The link that a network's endpoints are to be made on.

    Raises:
        ParentNotFound: it is gone, or has another name now.
    """
    link = kernel.link(network.link)
    if link is not None:
        return link
    stood = records.stood_on(network.link, kernel.boot_id())
    renamed = kernel.link(stood[-1].ifindex) if stood else None
    if renamed is not None:
        raise ParentNotFound(
            network.link,
            f"network `{network.name}` needs it, and it is called `{renamed.ifname}` now",
            hints=[f"`ip link set {renamed.ifname} name {network.link}`"],
        )
    raise ParentNotFound(
        network.link,
        f"network `{network.name}` needs it, and it is gone",
        hints=["`macvfast restore` brings it back: macvfast made it"]
        if records.made_parent(network.link) is not None
        else [f"`ip link` lists the links: macvfast did not make `{network.link}`, and cannot bring it back"],
    )


class Carriers:
    """Reads the MACs that parents carry for links on them; where a parent is, is looked up once."""

    def __init__(self, store: Store, kernel: Kernel, *, notes: bool = True) -> None:
        """`notes`: whether it is recorded which of them are gone, so that nobody looks for them again."""
        self._notes = notes
        self._store = store
        self._kernel = kernel
        self._stood: dict[str, list[Stood]] = {}
        # Those that are not in the home namespace: where they are, or why that is not known; None: nowhere.
        self._lost: dict[int, Away | MacvfastError | None] = {}

    def indexes(self, name: str) -> list[int]:
        """The indexes of the links that endpoints on a parent may stand on."""
        return [one.ifindex for one in self._of(name)]

    def macs(self, name: str) -> set[bytes] | Away | MacvfastError:
        """The MACs that a parent carries for links on it; or where else it is, or why that is not known. One that is
        gone carries none: the links on it went with it.
        """
        found: set[bytes] = set()
        for one in self._of(name):
            carried = self._kernel.filter_macs(one.ifindex)
            # After that look: the list of what is not here is empty.
            if self._kernel.link(one.ifindex) is not None:
                found |= carried
                continue
            if one.ifindex not in self._lost:
                self._lost[one.ifindex] = self._look_for(name, one)
            lost = self._lost[one.ifindex]
            if lost is not None:
                return lost
        return found

    def _of(self, name: str) -> list[Stood]:
        if name not in self._stood:
            with self._store.reading() as records:
                self._stood[name] = records.stood_on(name, self._kernel.boot_id())
            if not self._stood[name] and (link := self._kernel.link(name)) is not None:
                # Recorded by a macvfast that did not note it.
                self._stood[name] = [Stood(link.ifindex, link.mac)]
        return self._stood[name]

    def _look_for(self, name: str, one: Stood) -> Away | MacvfastError | None:
        home = self._kernel.home_cookie()
        search = self._kernel.namespaces()
        everywhere = True
        for path in search.paths:
            (opened,) = self._kernel.open_namespaces([path])
            if isinstance(opened, InvalidConfig):
                # It has gone since, or what led to it has; or it is a namespace of another kind.
                everywhere = everywhere and os.path.exists(path)
                continue
            if isinstance(opened, MacvfastError):
                return opened
            try:
                links = self._kernel.links(opened) if opened.cookie != home else ()
            finally:
                opened.close()
            for link in links:
                same = link.ifindex == one.ifindex or name in plan.names(link)
                if same and link.mac == one.mac and link.kind not in plan.ON_PARENTS:
                    return Away(path, link.ifname)
        if not search.complete:
            return KernelRefused(f"find `{name}` within a second: too many descriptors are open here", errno.ETIMEDOUT)
        if everywhere and self._notes:
            self._forget(name, one)
        return None

    def _forget(self, name: str, one: Stood) -> None:
        """Record that it is gone, if that can be done: each search looks into every namespace of the host."""
        with suppress(MacvfastError), self._store.writing() as records:
            # Unless it has come back meanwhile.
            if self._kernel.link(one.ifindex) is None:
                records.forget_stood(name, one, self._kernel.boot_id())


def own_addresses(kernel: Kernel, link: str) -> tuple[Address, ...]:
    """The addresses that the home namespace itself has on a parent; none where there is no such link. Two short looks,
    whatever the number of links.
    """
    found = kernel.link(link)
    return () if found is None else tuple(ip_address(packed) for packed, _ in kernel.addresses(found.ifindex))
