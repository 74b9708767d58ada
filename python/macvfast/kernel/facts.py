"""What this host says of itself without netlink: by /proc, /sys and its descriptors."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import KernelRefused
from macvfast.kernel import holders
from macvfast.system.machine import boot_id, machine_id

if TYPE_CHECKING:
    from collections.abc import Collection

    from macvfast.kernel.holders import Found, Search
    from macvfast.kernel.protocol import Namespace
    from macvfast.kernel.watch import LinkWatch
    from macvfast.plan import LinkFacts

# linux/nsfs.h.
_NS_GET_USERNS = 0xB701


class HostFacts:
    """That part of the kernel which is asked without netlink."""

    def boot_id(self) -> str:
        """The kernel's random id of this boot."""
        return boot_id()

    def machine_id(self) -> str | None:
        """A hash of this machine's id; None where it has none."""
        return machine_id()

    def is_wireless(self, link: LinkFacts) -> bool:
        """Whether a link is a Wi-Fi device, as far as `/sys` shows this namespace's links: no dump says it."""
        shown = Path("/sys/class/net", link.ifname)
        try:
            same = int((shown / "ifindex").read_text(encoding="ascii")) == link.ifindex
        except (OSError, ValueError):
            return False
        return same and (shown / "phy80211").exists()

    def has_ipv6(self) -> bool:
        """Whether this kernel has IPv6: not without the module, nor when booted with `ipv6.disable=1`."""
        return os.path.exists("/proc/sys/net/ipv6")

    def is_of_home(self, namespace: Namespace) -> bool:
        """Whether a namespace belongs to this process's own user namespace. Between one that does and one that does
        not, only root moves links, and only out of the one that does.
        """
        try:
            owner = fcntl.ioctl(namespace.fd, _NS_GET_USERNS)
        except OSError:
            return False
        try:
            there, here = os.fstat(owner), os.stat("/proc/self/ns/user")
        finally:
            os.close(owner)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def holders(self, inodes: Collection[int], *, quick: bool = False, patient: bool = False) -> Found:
        """What keeps namespaces with those inode numbers alive, as far as a second's look at threads and descriptors of
        the host shows, or (`patient`) one of half a minute; `quick`: only at what is mounted here, and at where each
        process is.
        """
        return holders.find(inodes, quick=quick, patient=patient)

    def namespaces(self) -> Search:
        """A path to each network namespace that something holds, as far as a second's look shows."""
        return holders.namespaces()

    def watch_links(self) -> LinkWatch:
        """Listen for changes of the links of the calling thread's network namespace.

        Raises:
            KernelRefused
        """
        from macvfast.kernel.watch import LinkWatch  # noqa: PLC0415 - few wait

        try:
            return LinkWatch()
        except OSError as error:
            raise KernelRefused("listen for changes of links", error.errno or 0) from None
