"""The parents of endpoints as they are now, whatever their names are and wherever they are.

A parent is known by the index that it had when links were created on it in this boot. Another link may have its name
now, and the parent may have been moved to another namespace, with the links on it.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from macvfast import plan
from macvfast.errors import InvalidConfig, KernelRefused, MacvfastError, ParentNotFound
from macvfast.state.records import ParentLink

if TYPE_CHECKING:
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Address, Network
    from macvfast.plan import LinkFacts
    from macvfast.state.records import Records
    from macvfast.state.store import Store


class Away(NamedTuple):
    """A parent that is in another namespace, so that its links cannot be seen: the path to that namespace, and the name
    that the parent has in it.
    """

    path: str
    ifname: str


def parent_inside(kernel: Kernel, network: Network, namespace: Namespace, index: int | None = None) -> LinkFacts:
    """The link of a sandbox's own namespace on which its endpoint on a network is created. `index`: that which it was
    created on before; the owner of the namespace may have given its name to another.

    Raises:
        ParentNotFound
    """
    name = str(network.parent)
    link = kernel.link(name if index is None else index, namespace)
    if link is None:
        if index is not None:
            why = f"the link of that index, {index}, is gone from the namespace of the sandbox"
            raise ParentNotFound(name, why, hints=["the container is to be attached anew, by its runtime"])
        why = f"network `{network.name}` needs it in the namespace of its sandbox"
        raise ParentNotFound(name, why, hints=["the plugin before this one makes it there"])
    return link


def parent_of(records: Records, kernel: Kernel, network: Network) -> LinkFacts:
    """The link on which a network's endpoints are created.

    Raises:
        ParentNotFound: it does not exist, or has another name now.
    """
    link = kernel.link(network.link)
    if link is not None:
        return link
    links = records.parent_links(network.link, kernel.boot_id())
    renamed = kernel.link(links[-1].ifindex) if links else None
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
    """Reads the MACs that parents carry for the links on them. Where a parent is, is looked up once."""

    def __init__(self, store: Store, kernel: Kernel, *, notes: bool = True) -> None:
        """`notes`: whether to record parents that no longer exist, so that no later operation searches for them."""
        self._notes = notes
        self._store = store
        self._kernel = kernel
        self._links: dict[str, list[ParentLink]] = {}
        # Parents that are not in the home namespace: where they are, or why this is not known; None: nowhere.
        self._lost: dict[int, Away | MacvfastError | None] = {}

    def indexes(self, name: str) -> list[int]:
        """The indexes of the links that the endpoints on a parent may be on."""
        return [one.ifindex for one in self._of(name)]

    def macs(self, name: str) -> set[bytes] | Away | MacvfastError:
        """The MACs that a parent carries for the links on it; or in which other namespace it is, or why this is not
        known. A parent that no longer exists carries none: the links on it ended with it.
        """
        found: set[bytes] = set()
        for one in self._of(name):
            carried = self._kernel.filter_macs(one.ifindex)
            # This is asked after reading the list: a link that is not here has an empty list.
            if self._kernel.link(one.ifindex) is not None:
                found |= carried
                continue
            if one.ifindex not in self._lost:
                self._lost[one.ifindex] = self._look_for(name, one)
            lost = self._lost[one.ifindex]
            if lost is not None:
                return lost
        return found

    def _of(self, name: str) -> list[ParentLink]:
        if name not in self._links:
            with self._store.reading() as records:
                self._links[name] = records.parent_links(name, self._kernel.boot_id())
            if not self._links[name] and (link := self._kernel.link(name)) is not None:
                # The endpoints were recorded by a version of macvfast that did not record the parent.
                self._links[name] = [ParentLink(link.ifindex, link.mac)]
        return self._links[name]

    def _look_for(self, name: str, one: ParentLink) -> Away | MacvfastError | None:
        home = self._kernel.home_cookie()
        search = self._kernel.namespaces()
        everywhere = True
        for path in search.paths:
            (opened,) = self._kernel.open_namespaces([path])
            if isinstance(opened, InvalidConfig):
                # Namespace or path no longer exist, or it is a namespace of another kind.
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

    def _forget(self, name: str, one: ParentLink) -> None:
        """Record, if possible, that a parent no longer exists: each search looks into every namespace of the host."""
        with suppress(MacvfastError), self._store.writing() as records:
            # It may have come back in the meantime.
            if self._kernel.link(one.ifindex) is None:
                records.forget_parent_link(name, one, self._kernel.boot_id())


def own_addresses(kernel: Kernel, link: str) -> tuple[Address, ...]:
    """The addresses that the home namespace itself has on a parent; none if there is no such link. Cost: two requests,
    however many links there are.
    """
    found = kernel.link(link)
    return () if found is None else addresses_of(kernel, found)


def addresses_of(kernel: Kernel, link: LinkFacts) -> tuple[Address, ...]:
    """The addresses of a link of the home namespace."""
    return tuple(ip_address(packed) for packed, _ in kernel.addresses(link.ifindex))
