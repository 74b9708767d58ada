"""The native half of macvfast: the bitmap allocator, and netlink in batches.

Only `macvfast.ipam` (the allocator) and `macvfast.kernel` (netlink and namespaces) import this module.
Addresses cross the border as packed bytes or `ipaddress` objects, MACs as 6 bytes.

Of pools, everything that takes an address raises AddressInvalid, or AddressOutsideSubnet where it has to be of the
subnet. Whatever asks the kernel does so with the GIL free, and raises KernelRefused or PermissionNeeded where a system
call fails, and ValueError where a socket or namespace is closed or a sysctl is not below `net/`: nothing was done then.
Functions that give one outcome per item have these errors as outcomes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Self, TypeAlias, final, overload

from macvfast.errors import MacvfastError

__all__ = ["Addresses", "Batch", "Link", "Namespace", "Netlink", "Refusal"]
__all__ += ["Pool", "PoolChanges", "Source", "StoredPool"]
__all__ += ["home_cookie", "make_namespaces", "open_namespaces", "pin_namespaces", "unpin_namespaces"]
__all__ += ["links_at", "read_sysctls", "send_each", "send_then", "write_sysctls"]

_Address: TypeAlias = str | int | IPv4Address | IPv6Address
_Subnet: TypeAlias = str | IPv4Network | IPv6Network
_Ranges: TypeAlias = _Subnet | Iterable[_Subnet] | None

@final
class Pool:
    """The addresses of one subnet under management. No kernel, no file.

    A pool hands out addresses automatically from its ip-ranges (the whole subnet where none is given) and
    reserves explicit ones anywhere in the subnet. Reserved automatically: the network and broadcast address of an
    IPv4 subnet, the first address of an IPv6 subnet (RFC 4291 section 2.6.1); nothing on /31, /32, /127, /128
    (RFC 3021, RFC 6164). Memory follows the addresses in use, not the size of the subnet.

    Args:
        subnet: IPv4 /8 to /32 or IPv6 /8 to /128; no host bits set.
        ip_range: one or several CIDRs (`10.0.0.128/25`) or `FIRST-LAST`, within the subnet; they unite.
        gateway: an address of the subnet, never handed out; None: none is reserved.
        aux: names to addresses of the subnet that are never handed out.
        order: "lowest" gives the lowest free address; "next" goes on after the last one given and wraps.

    Raises:
        SubnetInvalid, RangeInvalid, GatewayInvalid, AuxAddressInvalid, AddressInvalid, OptionInvalid
    """

    def __new__(
        cls,
        subnet: _Subnet,
        *,
        ip_range: _Ranges = None,
        gateway: _Address | None = None,
        aux: Mapping[str, _Address] | None = None,
        order: str = "lowest",
    ) -> Self: ...
    subnet: Final[IPv4Network | IPv6Network]
    """The subnet itself."""
    size: Final[int]
    """Addresses in the subnet, reserved ones included: 256 for a /24."""
    @property
    def free(self) -> int:
        """Addresses of the subnet that are not in use; `free + len(pool) == size`."""
    @property
    def available(self) -> int:
        """Free addresses of the ip-ranges that are not avoided: what automatic allocation can still give."""
    def __len__(self) -> int:
        """Addresses in use, the reserved ones included (saturates at 2^63 - 1)."""
    def __contains__(self, address: object, /) -> bool:
        """Whether the address is in use."""
    def allocate(self) -> IPv4Address | IPv6Address:
        """Take one address of the ip-ranges in the pool's order; PoolExhausted where all are in use. At most 0.3 µs."""
    def allocate_many(self, count: int) -> Addresses:
        """Take `count` addresses in the pool's order, or none at all. Whole words at once.

        Raises:
            PoolExhausted: fewer than `count` are free; nothing was taken.
            OptionInvalid: negative, or more than 2^24.
        """
    def reserve(self, address: _Address) -> None:
        """Take the given address, inside or outside the ip-ranges.

        Raises:
            AddressTaken: it is in use, reserved or avoided.
        """
    def release(self, address: _Address) -> bool:
        """Free an address. False if it was free already.

        Raises:
            AddressReserved: it is an end of the subnet, the gateway or an aux address.
        """
    def avoid(self, addresses: Iterable[_Address]) -> None:
        """From now on, give none of these addresses, neither automatically nor where it is asked for; what was avoided
        until now may be given again.

        They stay free, and are no part of what is stored; one that is in use stays so. What is outside of the subnet
        does not matter.
        """
    def role(self, address: _Address) -> str | None:
        """What a reserved address is: "network address", "broadcast address", "subnet-router anycast address",
        "gateway", "aux address `NAME`"; None for any other address.
        """
    def snapshot(self) -> bytes:
        """The whole pool as versioned, checksummed bytes: equal pools give equal bytes."""
    @staticmethod
    def from_snapshot(data: bytes) -> Pool:
        """The pool that `snapshot` saw; SnapshotDamaged where it is truncated, altered, or of an unknown version."""

@final
class Source:
    """Where one network's automatic allocation takes addresses of a pool from, and in which order."""

    def __new__(cls, subnet: _Subnet, *, ip_range: _Ranges, order: str, begin: int, avoid: Iterable[_Address]) -> Self:
        """One for the pool of a subnet; `ip_range` and `order` as of `Pool`. "next" goes on with the ordinal `begin`;
        addresses to `avoid` are given to nobody, though they may be free.
        """
    @property
    def next(self) -> int:
        """The ordinal with which "next" goes on: the one after the last given. 0 where the order is "lowest"."""
    def go_on(self, ordinal: int) -> None:
        """Have "next" go on with an ordinal."""
    ranges: Final[list[tuple[int, int]]]
    """The ip-ranges, sorted and apart from each other: the first and the last address of each."""

@final
class StoredPool:
    """The addresses of one subnet, from which networks give, and whose pages lie in a store."""

    def __new__(
        cls,
        subnet: _Subnet,
        *,
        used: int | None,
        summary: Iterable[tuple[int, bytes]],
        fetch: Callable[[int], bytes | None],
    ) -> Self:
        """A pool of which pages are read through `fetch` when an operation first touches them.

        A page is the 512-byte bitmap of 4,096 ordinals (page n holds ordinals 4096 n to 4096 n + 4095, least
        significant bit of each byte first; a set bit is an address in use). A summary page says the same of 4,096
        pages: a set bit is a page with no free address. `fetch(n)` gives the page's bytes, or None where all is free.

        An operation that needs a page takes effect after `fetch` gave it, or, where `fetch` raises, not at all.

        Args:
            subnet: whose addresses they are.
            used: how many are in use; None: nothing is stored yet.
            summary: the summary pages, by number.
            fetch: reads a page.

        Raises:
            SnapshotDamaged: a page or summary is not 512 bytes long, or count, pages, summary and the subnet's ends
                contradict each other. Operations raise it too, when they read such a page; nothing was changed then.
        """
    @property
    def free(self) -> int:
        """Addresses that are not in use."""
    def __contains__(self, address: _Address, /) -> bool:
        """Whether the address is in use."""
    def allocate(self, source: Source) -> IPv4Address | IPv6Address:
        """Take one address of the source's ip-ranges, in its order; PoolExhausted where all are in use or avoided."""
    def reserve(self, address: _Address) -> None:
        """Take the given address; AddressTaken where it is in use."""
    def release(self, address: _Address) -> bool:
        """Free an address. False if it was free already; AddressReserved for an end of the subnet."""
    def changes(self) -> PoolChanges:
        """What is to be stored since the last call. That counts as stored: where storing fails, read the pool again."""

@final
class PoolChanges:
    """The pages of one pool that differ from what is stored."""

    used: Final[int]
    """Addresses in use."""
    pages: Final[list[tuple[int, bytes | None]]]
    """Changed pages, by number; None where all of the page became free."""
    summary: Final[list[tuple[int, bytes | None]]]
    """Changed summary pages, by number; None where none of its pages is full any more."""

@final
class Addresses(Sequence[IPv4Address | IPv6Address]):
    """Addresses in one buffer, made into objects or text only when asked."""

    packed: Final[bytes]
    """All of them, network byte order, 4 or 16 bytes each."""
    def texts(self) -> list[str]: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> IPv4Address | IPv6Address: ...
    @overload
    def __getitem__(self, index: slice, /) -> Addresses: ...
    def __iter__(self) -> Iterator[IPv4Address | IPv6Address]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Refusal:
    """Why one request of a batch, or one of several namespaces, was not done.

    Attributes:
        errno: the error number, positive. Meaningless where `unknown`.
        text: the kernel's own words (NLMSGERR_ATTR_MSG), where it gave any.
        unknown: no outcome was seen: the reply was lost (ENOBUFS), or the kernel was interrupted (EINTR), unreported.
        operation: what failed, as the rest of "could not …", for one of several namespaces; None for a request.
    """

    errno: Final[int]
    text: Final[str | None]
    unknown: Final[bool]
    operation: Final[str | None]

@final
class Batch:
    """Requests, encoded as they are added, to be sent together. Each method returns the request's position.

    `flags` of links: a link is born with its name, index, MAC, MTU, group and UP in one message, in the namespace
    of `netns` (None: the socket's own) and with NLM_F_CREATE | NLM_F_EXCL.

    A namespace that is closed before the batch is sent is EBADF, and nothing of the batch is done.

    Raises (all link methods):
        ValueError: a name is longer than 15 bytes, empty, `.`, `..`, or holds NUL, `/`, `:`, `%` (a pattern to the
            kernel) or white space; an index is not 1 to 2^31 - 1, a MAC not 6 bytes, a mode unknown; nothing was added.
    """

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def add_macvlan(
        self,
        ifname: str,
        ifindex: int,
        parent: int,
        mode: str,
        *,
        mac: bytes | None = None,
        mtu: int | None = None,
        group: int = 0,
        netns: Namespace | None = None,
        up: bool = True,
        attributes: Sequence[tuple[int, int]] = ...,
    ) -> int:
        """A macvlan on link `parent`; mode "bridge", "private", "vepa" or "passthru". `attributes`: numbers of 32 bits
        (IFLA_MACVLAN_…), each with its value, signed or not; ValueError: a value has more.
        """
    def add_ipvlan(
        self,
        ifname: str,
        ifindex: int,
        parent: int,
        mode: str,
        flag: str,
        *,
        mtu: int | None = None,
        group: int = 0,
        netns: Namespace | None = None,
        up: bool = True,
    ) -> int:
        """An ipvlan on link `parent`; mode "l2", "l3" or "l3s"; flag "bridge", "private" or "vepa"."""
    def add_vlan(self, ifname: str, ifindex: int, parent: int, vid: int, *, up: bool = True) -> int:
        """An 802.1Q sub-interface of link `parent` with VLAN id `vid` (1 to 4094)."""
    def add_dummy(self, ifname: str, ifindex: int, *, up: bool = True) -> int: ...
    def change_macvlan(self, ifindex: int, attributes: Sequence[tuple[int, int]]) -> int:
        """Give a macvlan that is there other values of the same attributes."""
    def set_up(self, ifindex: int) -> int: ...
    def set_mtu(self, ifindex: int, mtu: int) -> int: ...
    def set_group(self, ifindex: int, group: int) -> int: ...
    def add_address(self, ifindex: int, address: bytes, prefix_length: int, *, usual: bool = False) -> int:
        """An address with its connected route; scope global, no broadcast address, IPv6 without DAD (IFA_F_NODAD).
        `usual`: with both, as `ip address add ADDRESS brd +` does it.
        """
    def add_route(
        self,
        ifindex: int,
        destination: bytes,
        prefix_length: int,
        gateway: bytes | None,
        *,
        metric: int | None = None,
        mtu: int | None = None,
        advmss: int | None = None,
        table: int | None = None,
        scope: int | None = None,
        replaces: bool = False,
        beside: bool = False,
    ) -> int:
        """A route by way of `gateway`, or of the link itself; None: the main table, and the scope that fits. Refused
        where there is one with the same destination and metric, IPv6 default routes excepted; `replaces` takes the
        place of that one, which is there; `beside`: it may be there, and the new one goes first (IPv4) or beside it.
        """
    def delete_route(
        self, ifindex: int, destination: bytes, prefix_length: int, gateway: bytes | None, *, metric: int | None = None
    ) -> int:
        """A route that `add_route` made; never one that a router advertised. ESRCH where it is not there."""
    def delete_link(self, ifindex: int, *, nsid: int | None = None) -> int:
        """Delete one link, of the socket's namespace or of the one that it knows by an id (EINVAL where nothing holds
        that any more).
        """
    def delete_group(self, group: int, *, nsid: int | None = None) -> int:
        """Delete every link of a group (not 0) in one go, in the socket's namespace or the one with that id."""
    def give_id(self, netns: Namespace, nsid: int) -> int:
        """Give a namespace an id in the socket's. EEXIST where it has one, or another namespace has that. An id keeps
        nothing alive, and is gone with its namespace.
        """
    def look_for_id(self, nsid: int) -> int:
        """Look whether something holds the namespace with an id. ENOENT where nothing does, also before the kernel has
        taken the namespace down and the id with it.
        """

@final
class Link:
    """One link, as a dump shows it (RTM_NEWLINK).

    Attributes:
        altnames: alternative names.
        kind: IFLA_INFO_KIND: "macvlan", "vlan", "veth", …; None for a physical link.
        port_kind: IFLA_INFO_SLAVE_KIND: what the link is a port of: "bridge", "bond", and so on.
        controller: IFLA_MASTER: index of the bridge or bond that the link is a port of.
        up: IFF_UP: administratively up.
        parent: IFLA_LINK: index of the link it stands on (of a veth: the other end), in `parent_netnsid`'s namespace.
        parent_netnsid: IFLA_LINK_NETNSID: set where the parent lives in another namespace.
        mode: of a macvlan or ipvlan.
        vid: VLAN id of an 802.1Q link.
        attributes: numbers of 32 bits of a macvlan (IFLA_MACVLAN_…), unsigned, each with its value; without the mode.
    """

    ifindex: Final[int]
    ifname: Final[str]
    altnames: Final[list[str]]
    kind: Final[str | None]
    port_kind: Final[str | None]
    controller: Final[int | None]
    mac: Final[bytes]
    mtu: Final[int]
    up: Final[bool]
    loopback: Final[bool]
    group: Final[int]
    parent: Final[int | None]
    parent_netnsid: Final[int | None]
    mode: Final[str | None]
    vid: Final[int | None]
    attributes: Final[list[tuple[int, int]]]

@final
class Netlink:
    """An rtnetlink socket, for as long as it is open, in the network namespace of the thread that opened it.

    Replies carry the kernel's own text (NETLINK_EXT_ACK), dumps are strictly checked (NETLINK_GET_STRICT_CHK) and
    repeated when something changed meanwhile (NLM_F_DUMP_INTR). Safe from several threads: one exchange at a time.
    """

    def __init__(self) -> None: ...
    cookie: Final[int]
    """SO_NETNS_COOKIE of its namespace: unique for the life of the boot. Linux 5.14+."""
    def send(self, batch: Batch) -> dict[int, Refusal]:
        """Send all requests; what was refused, by position. Never raises for a refused request.

        What is sent is what the batch holds at this moment; it can be sent again. Where a send after the first fails
        as a system call, its requests and those after it are refused with that error number.

        Cost: the kernel's own, plus one send per some hundred requests.
        """
    def link(self, key: int | str) -> Link | None:
        """The link of that index, name or alternative name; None if there is none."""
    def links(self, nsid: int | None = None) -> list[Link]:
        """All links of the namespace, by index; or of the one that it knows by an id, none where nothing holds that any
        more.
        """
    def nsids(self) -> list[int]:
        """The ids by which the namespace knows others."""
    def nsid_of(self, netns: Namespace) -> int | None:
        """The id by which the namespace knows another, if it has one."""
    def addresses(self, ifindex: int) -> list[tuple[bytes, int]]:
        """A link's addresses, packed, with their prefix lengths, in the kernel's order; none without the link."""
    def is_tentative(self, ifindex: int, address: bytes) -> bool:
        """Whether duplicates are being looked for of an address that a link has; not where one was found."""
    def all_addresses(self) -> list[tuple[int, bytes]]:
        """The addresses of all links, packed, each after the index of its link, by one dump."""
    def routes(
        self, *, default_only: bool
    ) -> list[tuple[bytes, int, int, int | None, bytes | None, bool, int | None, int | None]]:
        """Routes of the main table: destination, length of its prefix, metric, ifindex, gateway, whether a router
        advertised it (protocol ra), its own mtu and advmss; IPv4 first, then in the kernel's order. Of a route with
        several next hops, each.
        """
    def filter_macs(self, ifindex: int) -> set[bytes]:
        """The MACs in a link's own unicast filter list (RTM_GETNEIGH, PF_BRIDGE): those of all macvlans that are up
        on it in any namespace, dying ones included. Links of a dying namespace appear in no other dump.
        """
    def close(self) -> None:
        """Close the socket. Closing twice is closing once."""

@final
class Namespace:
    """A network namespace, held by a descriptor, with an rtnetlink socket inside. Holding it keeps it alive."""

    @property
    def fd(self) -> int:
        """The descriptor (close-on-exec). ValueError once it is closed; inode and cookie stay known."""
    inode: Final[int]
    """The inode number under `nsfs`: it is reused once the namespace is gone, so it identifies nothing for long."""
    cookie: Final[int]
    """SO_NETNS_COOKIE: unique for the life of the boot."""
    netlink: Final[Netlink]
    sysctls: Final[list[str | None]]
    """The values of those that were asked for when it was opened; None for one that this kernel does not have."""
    def close(self) -> None:
        """Let go of it, the socket included. Closing twice is closing once."""

def links_at(wanted: Sequence[tuple[Netlink, int]]) -> list[Link | None]:
    """A link of each socket's namespace by index; None where there is none."""

def open_namespaces(paths: Sequence[str], sysctls: Sequence[str] = ()) -> list[Namespace | MacvfastError]:
    """The namespaces pinned at, or linked from, paths (`/run/netns/NAME`, `/proc/PID/ns/net`), with the values of
    sysctls in each; one outcome each.

    An outcome may also be NamespaceInvalid: nothing is there, or something else, which is not opened for reading. Some
    15 µs each on one thread, and 5 for each sysctl.
    """

def make_namespaces(count: int, sysctls: Sequence[tuple[str, str]] = (), threads: int = 1) -> list[Namespace | Refusal]:
    """Make network namespaces with `lo` up, pinned nowhere; one outcome each.

    Each is gone when it is dropped, or when the process that holds it dies. `sysctls` (names under `/proc/sys`, as
    `net/ipv6/conf/default/disable_ipv6`) are written inside each before `lo` comes up; one that this kernel does not
    have is skipped. Cost: about 0.4 ms each, spread over `threads` threads made for it.
    """

def pin_namespaces(pins: Sequence[tuple[Namespace, str]]) -> list[MacvfastError | None]:
    """Pin living namespaces, each at a path (a bind mount on a new, empty file); one outcome each.

    The directories of the pins are made, and made shared mounts as `ip netns` does, where they are not. EEXIST where a
    path is taken; nothing is left at the path of a pin that failed. Some 30 µs each.
    """

def unpin_namespaces(paths: Sequence[str]) -> list[MacvfastError | None]:
    """Take pins away (unmount, then delete the file); one outcome each, None also where nothing was there.

    An empty regular file with nothing mounted on it is what a pin leaves behind, and is deleted, too. An outcome may
    also be NamespaceInvalid: something else is there, and is left alone.
    """

def write_sysctls(writes: Sequence[tuple[Namespace, Sequence[tuple[str, str]]]]) -> list[MacvfastError | None]:
    """Write sysctls (names under `/proc/sys`) inside namespaces; one that this kernel does not have is skipped.

    One outcome each. Through a procfs instance of its own: a look-up through `/proc/sys` grows with the number of
    namespaces. Some 30 µs each.
    """

def read_sysctls(namespaces: Sequence[Namespace], names: Sequence[str]) -> list[list[str | None] | MacvfastError]:
    """The values of sysctls inside each namespace; None for one that this kernel does not have. Some 30 µs each."""

def send_each(sends: Sequence[tuple[Netlink, Batch]], threads: int = 1) -> list[dict[int, Refusal]]:
    """Send each batch on its own socket; what was refused of each, as `Netlink.send` gives it.

    Never raises for what the kernel says: where the system call itself fails, position 0 is refused with its error
    number. With one thread, one after the other on the calling thread; with more, on threads made for it, which is
    worth it where the kernel waits (deletions in many namespaces).
    """

def send_then(
    first: tuple[Netlink, Batch], sends: Sequence[tuple[Netlink, Batch]]
) -> tuple[dict[int, Refusal], list[dict[int, Refusal]] | None]:
    """Send one batch and, where nothing of it is refused, the others, one after the other on the calling thread.

    What was refused of the first, as `Netlink.send` gives it, and of the others, as `send_each` does; None where they
    were not sent. What others send on the first socket comes before or after all of this. ValueError also where the
    first socket is among the others.
    """

def home_cookie() -> int:
    """SO_NETNS_COOKIE of the calling thread's network namespace."""
