"""Which network of macvfast one of Podman's is: `podman-NAME`, which a label ties to Podman's own id.

It is made when Podman makes its own, and again when a container comes to it and it is missing. Podman never says that a
network has been removed: its own files say so (`engine/forgotten.py`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError, NetworkDiffers, NetworkNotFound, ParentTaken, SandboxBusy, SubnetTaken
from macvfast.model import PODMAN_ID, Route
from macvfast.options import MODES, OPTIONS, options_of
from macvfast.plugins.fields import Fields, Unfit
from macvfast.requests import NetworkRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from macvfast.host import Host
    from macvfast.model import Cidr, Network

# What Podman's own drivers have, and `-o` of macvfast does not.
_THEIRS = DRIVER, MODE, VLAN, METRIC, NO_DEFAULT_ROUTE, GATEWAY = (
    "driver", "mode", "vlan", "metric", "no_default_route", "gateway",
)  # fmt: skip

# What Podman takes for a switch (Go's strconv.ParseBool).
_SWITCHES = dict.fromkeys(("1", "t", "true"), True) | dict.fromkeys(("0", "f", "false"), False)

# The metric of a default route of Podman's own drivers where none is given.
_METRIC = 100

# Who gives the addresses.
OURS, PODMANS, NOBODY = "", "host-local", "none"

# How often a network is looked for that others change at the same time.
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """A network, as Podman has it.

    Attributes:
        id: by which Podman knows it.
        request: for the network; its name may have to be another one.
        ip_ranges: as of NetworkRequest. Gateways are chosen without regard to them, as Podman does.
    """

    id: str
    request: NetworkRequest
    ip_ranges: tuple[str, ...]

    def find(self, host: Host) -> str | NetworkRequest:
        """The name of the network, if it is there; else the request that makes it."""
        found, name = self._made(host)
        return name if found is not None else replace(self.request, name=name)

    def ready(self, host: Host) -> Network | None:
        """The network, if it is there."""
        return self._made(host)[0]

    def ensure(self, host: Host) -> str:
        """Have it there; its name. Raises as `make`."""
        return self.make(host).name

    def make(self, host: Host) -> Network:
        """Have it there, recorded anew if it is missing.

        Raises:
            MacvfastError: it cannot be made, and nothing is changed.
        """
        for tries_left in reversed(range(_TRIES)):
            found, name = self._made(host)
            if found is not None:
                return found
            if name != self.request.name and host.remove_forgotten():
                # Podman has no second network of that name: it may get the plain one.
                _, name = self._made(host)
            try:
                return self._make(host, name)
            except NetworkNotFound:
                # Another process took it for forgotten.
                if not tries_left:
                    raise
            except (SubnetTaken, ParentTaken, NetworkDiffers):
                # What stands in its way may be what Podman no longer has.
                if not tries_left or not host.remove_forgotten():
                    raise
        raise SandboxBusy("network", self.request.name, "changed")

    def _make(self, host: Host, name: str) -> Network:
        # Until it has the label, it is no network of Podman's, and gc takes it for one that a process left which died.
        labels = {PODMAN_ID: self.id}
        if not self.ip_ranges:
            return host.ensure_network(replace(self.request, name=name, labels=tuple(labels.items())))
        was_there = _network(host, name) is not None
        made = host.ensure_network(replace(self.request, name=name))
        try:
            return host.update_network(made.id, ip_ranges=self.ip_ranges, labels=labels)
        except MacvfastError:
            if not was_there:
                host.remove_networks([made.id])
            raise

    def _made(self, host: Host) -> tuple[Network | None, str]:
        """The network, and its name; else the name that it would get: a longer one where the plain one is that of
        another network that Podman has, or had. Nothing is changed.
        """
        plain = self.request.name
        first = _network(host, plain)
        their_id = None if first is None else first.label(PODMAN_ID)
        if first is None or their_id is None:
            return None, plain
        if their_id == self.id:
            return first, plain
        name = f"{plain}-{self.id[:8]}"
        second = _network(host, name)
        has_it = second is not None and second.label(PODMAN_ID) == self.id
        return second if has_it else None, name


def _network(host: Host, name: str) -> Network | None:
    """The network of exactly that name."""
    with suppress(NetworkNotFound):
        found = host.network(name)
        return found if found.name == name and found.origin == "podman" else None
    return None


@dataclass(frozen=True, slots=True)
class Meant:
    """What a network of Podman's is, and what its containers have.

    Attributes:
        network: which network.
        routes: of each endpoint, beside what the network gives.
        gw_priority: as of EndpointRequest.
        dns: name servers of the network.
        ipam: who gives the addresses: OURS, PODMANS or NOBODY.
    """

    network: Wanted
    routes: tuple[Route, ...]
    gw_priority: int | None
    dns: tuple[str, ...]
    ipam: str


def read(said: object) -> Meant:
    """What a network is, as Podman says it.

    Raises:
        Unfit: it has something wrong, or what macvfast cannot do.
        InvalidConfig
    """
    fields = Fields(said)
    name, id_ = fields.text("name"), fields.text("id")
    if not name or not id_:
        raise Unfit(f"the network has no {'id' if name else 'name'}")
    options = dict(fields.fields("options").texts())
    driver, rest = _driver(options)
    parent = _parent(fields, options)
    internal = fields.flag("internal")
    ipam = _ipam(fields)
    subnets = [*_subnets(fields)]
    begins = _first_is_gateway(driver, rest, parent)
    gateways = [] if options.get(GATEWAY) == "none" or (internal and not any(one.gateway for one in subnets)) else [
        gateway for one in subnets if (gateway := one.gateway or one.chosen(always=begins)) is not None
    ]  # fmt: skip
    shared = parent is not None and rest.get("macvlan_mode") != "passthru"
    rest = ({"share_parent": "true"} if shared else {}) | rest
    none = not subnets and ipam == NOBODY
    request = NetworkRequest.from_options(
        f"podman-{name}", driver=driver, options=[*rest.items(), *([("parent", parent)] if parent else [])],
        origin="podman", internal=internal, subnets=tuple(one.cidr for one in subnets), gateways=tuple(gateways),
        gateway_automatic=options.get(GATEWAY) != "none", ipv4=False if none else None,
        ipv6=False if none else fields.flag("ipv6_enabled") or None,
    )  # fmt: skip
    ranges = tuple(one.range for one in subnets if one.range is not None)
    priority, metric = _defaults(options)
    routes = (*_routes(fields), *(_default_routes(gateways, metric) if metric is not None and not internal else ()))
    return Meant(Wanted(id_, request, ranges), routes, priority, tuple(fields.listed("network_dns_servers")), ipam)


def _ipam(fields: Fields) -> str:
    """Who gives the addresses: macvfast, unless Podman was told otherwise."""
    driver = fields.fields("ipam_options").text("driver")
    if driver == "dhcp":
        raise Unfit("the IPAM driver dhcp does not go with macvfast: leave it out, and give --subnet")
    if driver not in (OURS, PODMANS, NOBODY):
        raise Unfit(f"the IPAM driver is {driver}, which is none of {PODMANS} and {NOBODY}")
    return driver


def _driver(options: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The driver, and the options of `-o` as macvfast has them.

    Raises:
        Unfit
    """
    mode = options.get(MODE)
    implied = "ipvlan" if any(key.startswith("ipvlan_") for key in options) or mode in MODES["ipvlan"] else "macvlan"
    driver = options.get(DRIVER, implied)
    if driver not in MODES:
        raise Unfit(f"-o driver is `{driver}`, which is neither macvlan nor ipvlan")
    if GATEWAY in options and options[GATEWAY] != "none":
        raise Unfit(f"-o gateway is `{options[GATEWAY]}`: it can only be none; --gateway names one")
    rest = {key: value for key, value in options.items() if key not in _THEIRS and key != "parent"}
    if mode is not None:
        rest.setdefault(f"{driver}_mode", mode)
    if unknown := [key for key in rest if key not in OPTIONS]:
        known = " ".join(sorted({*options_of(driver), *_THEIRS}))
        raise Unfit(f"-o {unknown[0]} is none of the options: {known}")
    return driver, rest


def _parent(fields: Fields, options: Mapping[str, str]) -> str | None:
    """The parent: `-o parent`, or `--interface-name`, with `-o vlan` as its sub-interface."""
    parent = options.get("parent") or fields.text("network_interface") or None
    vlan = options.get(VLAN)
    if vlan is None:
        return parent
    if _number(vlan, 4094) is None:
        raise Unfit(f"-o vlan is `{vlan}`, where a number of 1 to 4094 is meant")
    if parent is None:
        raise Unfit(f"-o vlan={vlan} needs a parent: -o parent=eth0")
    return f"{parent}.{int(vlan)}"


def _number(text: str, most: int) -> int | None:
    """The number of 1 to `most` that a text is. One of thousands of digits is none that Python reads."""
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    return int(text) if digits and 1 <= int(text) <= most else None


def _switch(options: Mapping[str, str], key: str) -> bool:
    text = options.get(key, "false")
    if text.lower() not in _SWITCHES:
        raise Unfit(f"-o {key} is `{text}`, where true or false is meant")
    return _SWITCHES[text.lower()]


def _defaults(options: Mapping[str, str]) -> tuple[int | None, int | None]:
    """The priority of the default route among those of a container, and its metric where one is given."""
    text = options.get(METRIC)
    if text is not None and _number(text, (1 << 31) - 1) is None:
        raise Unfit(f"-o metric is `{text}`, where a number of 1 to {(1 << 31) - 1} is meant")
    if _switch(options, NO_DEFAULT_ROUTE):
        return None, None
    return (0, None) if text is None else (_METRIC - int(text), int(text))


@dataclass(frozen=True, slots=True)
class _Subnet:
    cidr: str
    parsed: Cidr
    gateway: str | None
    range: str | None

    def chosen(self, *, always: bool) -> str | None:
        """The gateway that Podman gives a subnet which has none, where macvfast itself would choose none."""
        if not always and self.parsed.version == 4 and self.parsed.prefixlen < self.parsed.max_prefixlen - 1:
            return None
        single = self.parsed.prefixlen == self.parsed.max_prefixlen
        return str(self.parsed.network_address + (0 if single else 1))


def _subnets(fields: Fields) -> Iterator[_Subnet]:
    for one in fields.several("subnets"):
        text = one.text("subnet")
        try:
            parsed = ip_network(text)
        except ValueError as error:
            raise Unfit(f"{one.name('subnet')}: {error}") from None
        lease = one.fields("lease_range")
        first, last = lease.text("start_ip"), lease.text("end_ip")
        ends = [first or str(parsed.network_address), last or str(parsed.broadcast_address)]
        gateway = one.text("gateway") or None
        for key, address in (("lease_range", ends[0]), ("lease_range", ends[1]), ("gateway", gateway)):
            try:
                if address is not None:
                    ip_address(address)
            except ValueError as error:
                raise Unfit(f"{one.name(key)}: {error}") from None
        yield _Subnet(str(parsed), parsed, gateway, "-".join(ends) if first or last else None)


def _first_is_gateway(driver: str, options: Mapping[str, str], parent: str | None) -> bool:
    """Whether macvfast itself would choose no gateway for any subnet."""
    return parent is None or options.get(f"{driver}_mode") in ("l3", "l3s")


def _routes(fields: Fields) -> Iterator[Route]:
    """The routes of `--route`."""
    for one in fields.several("routes"):
        kind = one.text("route_type")
        if kind not in ("", "unicast"):
            raise Unfit(f"{one.name('route_type')} is {kind}: macvfast has routes that lead somewhere alone")
        metric = one.number("metric", most=0xFFFF_FFFF) or None
        yield Route.of(one.text("destination"), one.text("gateway") or None, metric=metric)


def _default_routes(gateways: list[str], metric: int) -> Iterator[Route]:
    """The default routes with a metric of their own, one for each family."""
    for version, everywhere in ((4, "0.0.0.0/0"), (6, "::/0")):
        gateway = next((one for one in gateways if ip_address(one).version == version), None)
        if gateway is not None:
            yield Route.of(everywhere, gateway, metric=metric)
