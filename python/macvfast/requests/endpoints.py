"""What can be asked for of an endpoint, a sandbox on a network; and of a sandbox with all its endpoints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv6Interface
from types import NoneType
from typing import TYPE_CHECKING, NamedTuple

from macvfast.checks import named, plain, several, texts
from macvfast.errors import ArgumentInvalid, OptionInvalid, RouteInvalid
from macvfast.model import Address, Route, check_name, is_ifname, parse_address, parse_mac
from macvfast.requests.networks import refuse_mtu

if TYPE_CHECKING:
    from macvfast.model import Attachment, Interface, Network, Sandbox
    from macvfast.requests.commands import OwnFiles

# The kernel has no part in it: as large as a number that a person types.
_GW_PRIORITY_END = 1 << 31
GW_PRIORITY = f"it is a number, {-_GW_PRIORITY_END} to {_GW_PRIORITY_END - 1}, or none"

_IFNAME = "a name such as eth1"

_HELP = "`help(macvfast.Host.connect)` says what it takes"


def is_gw_priority(number: int) -> bool:
    """Whether an endpoint can have it as its `gw_priority`."""
    return -_GW_PRIORITY_END <= number < _GW_PRIORITY_END


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRequest:
    """A connection of a sandbox to a network, to be made.

    Args:
        network: name, id or id prefix.
        sandbox: name, id or id prefix; in bulk, the name of one to be made where none has it.
        ip, ip6: the addresses to get, from the subnets that contain them; None: automatic.
        mac: the MAC to get; None: made from the IPv4 address.
        ifname: the name of the link in the sandbox, which may then be on the network a second time; None: the first
            free one of eth0, eth1, …
        mtu: bytes, at most the parent's; None: the network's.
        routes: by its link, beside those to its subnets. A default route is in the place of the network's own of that
            family; which of a sandbox's networks gives it, `gw_priority` says.
        gw_priority: of the networks of a sandbox that have a default route, the one with the highest number gives it,
            and of those the one that was connected first; None: this one never does.
        netns: a namespace that macvfast did not create, by its path, or open; the sandbox stands for it. None: the
            sandbox's own.
        labels: values by key, of the sandbox if it is created with the endpoint.
        elsewhere: addresses that something else keeps, with the lengths of their prefixes. The network then has no
            subnets, and the endpoint these addresses alone.

    Raises:
        ArgumentInvalid, AddressInvalid, MacInvalid, OptionInvalid, RouteInvalid
    """

    network: str
    sandbox: str = ""
    ip: Address | None = None
    ip6: Address | None = None
    mac: bytes | None = None
    ifname: str | None = None
    mtu: int | None = None
    routes: tuple[Route, ...] = ()
    netns: str | OpenNetns | None = None
    labels: tuple[tuple[str, str], ...] = ()
    gw_priority: int | None = 0
    elsewhere: tuple[Interface, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no endpoint can have."""
        plain("network", self.network, str)
        plain("sandbox", self.sandbox, str)
        plain("ifname", self.ifname, str, NoneType)
        plain("mtu", self.mtu, int, NoneType)
        plain("gw_priority", self.gw_priority, int, NoneType)
        if self.gw_priority is not None and not is_gw_priority(self.gw_priority):
            raise OptionInvalid("gw-priority", str(self.gw_priority), GW_PRIORITY, ["--gw-priority=1, for example"])
        if self.ifname is not None:
            _refuse_ifname(self.ifname)
        refuse_mtu(self.mtu)
        self._check_addresses()
        if self.mac is not None:
            parse_mac(self.mac)
        if self.netns is not None:
            plain("netns", self.netns, str, OpenNetns)
        if self.labels:
            object.__setattr__(self, "labels", named("labels", self.labels))
        if self.routes:
            object.__setattr__(self, "routes", several("routes", self.routes, Route))
            for number, route in enumerate(self.routes):
                if any(route.key == earlier.key for earlier in self.routes[:number]):
                    raise RouteInvalid(str(route), "the same destination is given twice with one metric")
                if route.is_default and self.gw_priority is None:
                    raise RouteInvalid(str(route), "without a gw_priority, an endpoint has no default route")

    def _check_addresses(self) -> None:
        """Refuse addresses that no link can have; of those that something else keeps, IPv4 comes first."""
        if self.ip is not None:
            parse_address(self.ip, 4)
        if self.ip6 is not None:
            parse_address(self.ip6, 6)
        if not self.elsewhere:
            return
        given = several("elsewhere", self.elsewhere, IPv4Interface, IPv6Interface)
        for one in given:
            parse_address(str(one.ip), one.version)
        if self.ip is not None or self.ip6 is not None:
            raise ArgumentInvalid("elsewhere", given, "the network is asked for an address, too")
        if len({one.ip for one in given}) < len(given):
            raise ArgumentInvalid("elsewhere", given, "an address is given twice")
        object.__setattr__(self, "elsewhere", tuple(sorted(given, key=lambda one: one.version)))

    @classmethod
    def of(
        cls,
        network: str,
        sandbox: str = "",
        *,
        ip: str | Address | None = None,
        ip6: str | Address | None = None,
        mac: str | bytes | None = None,
        ifname: str | None = None,
        gw_priority: int | None = 0,
    ) -> EndpointRequest:
        """The request with its addresses as text or objects."""
        return cls(
            network=network,
            sandbox=sandbox,
            ip=None if ip is None else parse_address(ip, 4),
            ip6=None if ip6 is None else parse_address(ip6, 6),
            mac=None if mac is None else parse_mac(mac),
            ifname=ifname,
            gw_priority=gw_priority,
        )


def to_connect(
    network: str | Network | EndpointRequest, sandbox: str | Sandbox, *, ip: str | Address | None,
    ip6: str | Address | None, mac: str | bytes | None, netns: str | OpenNetns | None,
) -> EndpointRequest:  # fmt: skip
    """The request to connect a sandbox that exists, or that a given namespace gets.

    Args:
        network: or a whole request, beside which nothing else can be given.
    """
    name = sandbox if isinstance(sandbox, str) else sandbox.id
    if isinstance(network, EndpointRequest):
        request = network
        for argument, value in (("sandbox", name or None), ("ip", ip), ("ip6", ip6), ("mac", mac)):
            if value is not None:
                raise ArgumentInvalid(argument, value, "the EndpointRequest says it", hints=[_HELP])
    else:
        key = network if isinstance(network, str) else network.id
        request = EndpointRequest.of(key, name, ip=ip, ip6=ip6, mac=mac)
    if netns is not None:
        if request.netns is not None:
            raise ArgumentInvalid("netns", netns, "the EndpointRequest says it", hints=[_HELP])
        request = replace(request, netns=netns)
    if not request.sandbox:
        raise ArgumentInvalid("sandbox", request.sandbox, "it says what is connected", hints=[_HELP])
    return request


@dataclass(frozen=True, slots=True)
class OpenNetns:
    """A namespace that something else made, and that is open here.

    Args:
        descriptor: open as long as it is connected to something; it stays the caller's.
        path: what it is called, in messages and in the record. It need not lead to the namespace.

    Raises:
        ArgumentInvalid
    """

    descriptor: int
    path: str

    def __post_init__(self) -> None:
        """Refuse other types."""
        plain("descriptor", self.descriptor, int)
        plain("path", self.path, str)

    @property
    def opened(self) -> str:
        """What leads there while it is open."""
        return f"/proc/self/fd/{self.descriptor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """A sandbox with all its endpoints, to be made.

    Args:
        name: None: the first 12 characters of its id.
        endpoints: the first is `eth0` and has the default route.
        command: the command that it is said to have.
        labels: values by key.
        own_files: its own files in /etc.

    Raises:
        ArgumentInvalid, NameInvalid
    """

    name: str | None = None
    endpoints: tuple[EndpointRequest, ...] = ()
    command: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    own_files: OwnFiles | None = None

    def __post_init__(self) -> None:
        """Refuse what no sandbox can have; keep what is given in other collections as tuples."""
        if self.name is not None:
            check_name("sandbox", self.name)
        object.__setattr__(self, "endpoints", several("endpoints", self.endpoints, EndpointRequest))
        for position, one in enumerate(self.endpoints):
            for argument, value in (("netns", one.netns), ("labels", one.labels)):
                if value:
                    why = f"its {argument} are the sandbox's, and it is given by `connect` only"
                    raise ArgumentInvalid("endpoints", one, why, position)
        object.__setattr__(self, "command", texts("command", self.command))
        object.__setattr__(self, "labels", named("labels", self.labels))


def _refuse_ifname(name: str) -> None:
    """Refuse a name that no endpoint's link can have: what the kernel does not take (IFNAMSIZ is 16, and it fills in a
    number for `%d`), and what is something else there, or among the settings of all links.
    """
    if not is_ifname(name) or len(name.encode()) > 15 or "%" in name:
        raise OptionInvalid("ifname", name, "it is 1 to 15 bytes, without white space, `/`, `:` and `%`", [_IFNAME])
    if name in ("lo", "all", "default"):
        raise OptionInvalid("ifname", name, "every namespace has something of that name", [_IFNAME])


class PluginRequest(NamedTuple):
    """One endpoint, as a plugin's request asks for it.

    Attributes:
        endpoint: the sandbox exists, or stands for the namespace that is given.
        id: by which what was made for it is found; None: it is not.
        attachment: what the engine calls it.
    """

    endpoint: EndpointRequest
    id: str | None = None
    attachment: Attachment | None = None
