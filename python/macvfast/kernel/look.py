"""What lists ask of this network namespace: nothing else of the kernel is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast import _core
from macvfast.system import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from macvfast.plan import LinkFacts

# Above so many links with addresses, all links are read at once.
_SINGLY = 64


def by_name(netlink: _core.Netlink) -> dict[str, Collection[bytes]]:
    """The packed addresses of each link by each of its names; not those of a link without any, nor IPv6 link-local
    ones, which every link has. Cost: one dump of addresses, and a look at each link that has one.
    """
    found: dict[int, list[bytes]] = {}
    for ifindex, packed in netlink.all_addresses():
        # fe80::/10.
        if len(packed) == 4 or packed[0] != 0xFE or packed[1] >> 6 != 0b10:
            found.setdefault(ifindex, []).append(packed)
    links = netlink.links() if len(found) > _SINGLY else map(netlink.link, found)
    return {
        name: found[link.ifindex]
        for link in links
        if link is not None and link.ifindex in found
        for name in (link.ifname, *link.altnames)
    }


def vlans_of(link: Callable[[int | str], LinkFacts | None], names: Iterable[str]) -> dict[str, tuple[str, int]]:
    """What those of the named links that are VLANs stand on, by name, and their VLAN ids; also of VLANs below them, as
    far as this namespace shows them. Cost: a look at each.
    """
    found: dict[str, tuple[str, int]] = {}
    for name in names:
        there = link(name)
        while there is not None and there.kind == "vlan" and there.vid is not None and name not in found:
            base = None if there.parent is None or there.parent_netnsid is not None else link(there.parent)
            if base is None:
                break
            found[name] = base.ifname, there.vid
            name, there = base.ifname, base
    return found


class Look:
    """A look at the network namespace in which this is made; needs no capability.

    Raises:
        KernelRefused
    """

    def __init__(self) -> None:
        self._netlink = _core.Netlink()

    def boot_id(self) -> str:
        """The kernel's random id of this boot."""
        return machine.boot_id()

    def machine_id(self) -> str | None:
        """A hash of this machine's id; None where it has none."""
        return machine.machine_id()

    def home_cookie(self) -> int:
        """SO_NETNS_COOKIE of the namespace."""
        return self._netlink.cookie

    def own_addresses(self) -> dict[str, Collection[bytes]]:
        """As `by_name`."""
        return by_name(self._netlink)

    def vlans(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        """As `vlans_of`."""
        return vlans_of(self._netlink.link, names)

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()
