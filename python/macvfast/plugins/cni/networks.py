"""Which network of macvfast a configuration of the reference plugins `macvlan` and `ipvlan` means.

It is `cni-NAME` by the configuration's name, made when the first container is attached. Its labels say what it was made
from: a configuration that has not changed is known by one of them. What a network in use may see changed is changed.
Where more has changed, there is another network, whose name ends with what says so. Both may share a parent and a pool.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from macvfast.errors import (
    MacvfastError,
    NetworkDiffers,
    NetworkNotFound,
    ParentNotFound,
    ParentTaken,
    SandboxBusy,
    SubnetTaken,
)
from macvfast.model import ON_DEMAND, parse_mac
from macvfast.options import MODES, OPTIONS
from macvfast.plan.desired import begins_in
from macvfast.plugins.cni import addressing, hostlocal
from macvfast.plugins.cni.conf import OURS
from macvfast.plugins.cni.refusals import BAD_CONFIG, UNSUPPORTED, Refused
from macvfast.plugins.fields import Fields, Unfit
from macvfast.requests import NetworkRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from macvfast.host import Host
    from macvfast.model import Network
    from macvfast.plugins.cni.conf import Conf
    from macvfast.plugins.request import Said

# Labels of a network: the name of its configuration, what of that cannot change, and all of it. The last one is there
# when all that belongs to the network is.
CONF, FIXED, WHOLE = "cni.conf", "cni.fixed", "cni.whole"

# Keys that only a configuration of the reference plugins has.
_REFERENCE = ("master", "mode", "ipam", "vlan", "driver", "linkInContainer")

# What their `bcqueuelen` is here.
_QUEUE = next(option.key for option in OPTIONS.values() if "bcqueuelen" in option.also)

# How often a network is looked for that others change at the same time.
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """The network that a configuration means.

    Attributes:
        conf: the configuration's name.
        driver, mode, link_options: as of NetworkRequest.
        link: of the home namespace; empty: that of its default route, when the network is made.
        vlan: the sub-interface of it that is the parent.
        subnets, gateways, ip_ranges: as of NetworkRequest, a gateway for each subnet; none: its endpoints have no
            addresses, or such as something else keeps.
        directory: where host-local keeps what it has given in this network; None: nothing is looked for.
        domain, inside: as of NetworkRequest.
    """

    conf: str
    driver: str
    mode: str
    link: str
    vlan: int | None
    link_options: tuple[tuple[str, int], ...]
    subnets: tuple[str, ...]
    gateways: tuple[str, ...]
    ip_ranges: tuple[str, ...]
    directory: str | None
    domain: str | None = None
    inside: bool = False

    @property
    def whole(self) -> str:
        """By what a network is known that was made from the same configuration."""
        return _digest(self._fixed(), self.ip_ranges, self.directory)[:16]

    @property
    def fixed(self) -> str:
        """The same, of what cannot change while the network is there."""
        return _digest(self._fixed())[:8]

    def _fixed(self) -> Sequence[object]:
        own = ([] if self.domain is None else [self.domain]) + (["inside"] if self.inside else [])
        return [self.driver, self.mode, self.link, self.vlan, self.link_options, self.subnets, self.gateways, *own]

    def request(self, name: str, link: str) -> NetworkRequest:
        """The request for it, by that name and on that link.

        Raises:
            InvalidConfig
        """
        return NetworkRequest(
            name=name, driver=self.driver, mode=self.mode, link_options=self.link_options, origin="cni",
            domain=self.domain, inside=self.inside,
            parent=link if self.vlan is None else f"{link}.{self.vlan}",
            # A passthru link has its parent to itself.
            share_parent=self.mode != "passthru", order="next",
            ipv4=None if self.subnets else False, ipv6=None if self.subnets else False,
            subnets=self.subnets, gateways=self.gateways, ip_ranges=self.ip_ranges, gateway_automatic=False,
            labels=((CONF, self.conf), (FIXED, self.fixed)),
        )  # fmt: skip

    @property
    def begins_with_ipv6(self) -> bool:
        """Whether the first range is of IPv6; results have the addresses in the order of the ranges."""
        return ":" in "".join(self.subnets[:1])

    def find(self, host: Host) -> str | NetworkRequest:
        """The name of the network, if it is there; else the request that makes it.

        Raises:
            ParentNotFound, InvalidConfig
        """
        found, name = self._made(host)
        return name if found is not None else self.request(name, _link(host, self))

    def ready(self, host: Host) -> Network | None:
        """The network that was made for it, if that is as it is wanted."""
        found = self._made(host)[0]
        return found if found is not None and found.label(WHOLE) == self.whole else None

    def ensure(self, host: Host, *, ahead: bool = False) -> str:
        """Have the network there, made or changed where it is not as it is wanted; its name.

        Args:
            host: open for CNI.
            ahead: no container is attached yet: until then, host-local gives addresses, and is looked at again.

        Raises:
            MacvfastError
        """
        for tries_left in reversed(range(_TRIES)):
            found, name = self._made(host)
            if found is not None and found.label(WHOLE) == self.whole and not ahead:
                return name
            try:
                _make(host, self, name)
            except NetworkDiffers:
                # Another configuration of that name came first.
                if not tries_left:
                    raise
            except (SubnetTaken, ParentTaken):
                if not tries_left or not _remove_unused(host, self):
                    raise
            else:
                if ahead or _is_now_whole(host, self, name):
                    return name
        raise SandboxBusy("network", f"cni-{self.conf}", "changed")

    def _made(self, host: Host) -> tuple[Network | None, str]:
        """The network that was made for it, and its name; else the name that it would get."""
        plain = f"cni-{self.conf}"
        first = _network(host, plain)
        if first is not None and first.label(FIXED) == self.fixed:
            return first, plain
        name = f"{plain}-{self.fixed}"
        second = _network(host, name)
        if second is not None and second.label(FIXED) == self.fixed:
            return second, name
        return None, plain if first is None else name


@dataclass(frozen=True, slots=True)
class Meant:
    """What a configuration of the reference plugins means.

    Attributes:
        network: to which a container is attached.
        endpoint: what its endpoint has, by the names of EndpointRequest.
        routes: as they come back in the result.
        resolv_conf: the file with the name servers of the result, where the configuration has no `dns` itself; empty:
            none.
    """

    network: Wanted
    endpoint: Mapping[str, Any]
    routes: Sequence[Said]
    resolv_conf: str


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


# Reading.


def is_meant(conf: Conf) -> bool:
    """Whether a configuration is one of the reference plugins', and names no network of macvfast."""
    said = conf.said
    if said.get("network") is not None:
        return False
    # Of any type: whoever reads it refuses what is no text.
    return said.get("type") in [*MODES] or any(said.get(key) is not None for key in _REFERENCE)


# For as long as the configuration is kept.
_MEANT: WeakKeyDictionary[Conf, Meant] = WeakKeyDictionary()


def read(conf: Conf) -> Meant:
    """What a configuration means; of the same one, found out once.

    Raises:
        Refused: it has something wrong, or what macvfast cannot do.
        InvalidConfig
    """
    found = _MEANT.get(conf)
    if found is None:
        found = _MEANT[conf] = _read(conf)
    return found


def _read(conf: Conf) -> Meant:
    fields = Fields(conf.said)
    try:
        ipam = fields.fields("ipam")
        if ipam.text("type") not in OURS:
            # Others have words of their own for the rest.
            ipam = Fields({})
        routes = [*addressing.routes(ipam)]
        mac = fields.text("mac")
        endpoint: dict[str, Any] = {
            "mtu": fields.number("mtu", most=0xFFFF) or None, "routes": tuple(route for route, _ in routes),
            "mac": parse_mac(mac) if mac else None,
        }  # fmt: skip
        network = _network_of(conf.name, fields)
        return Meant(network, endpoint, [said for _, said in routes], ipam.text("resolvConf"))
    except Unfit as error:
        raise Refused(BAD_CONFIG, str(error)) from None


def to_attach(conf: Conf) -> Meant | None:
    """What a configuration means to ADD; None: it names a network of macvfast.

    Raises:
        Refused, InvalidConfig: as `read`; and where ipvlan would take its link or addresses from the plugin before it.
    """
    if not is_meant(conf):
        return None
    meant = read(conf)
    chained = meant.network.driver == "ipvlan" and bool(conf.object("prevResult"))
    if chained and not (meant.network.link and conf.object("ipam")):
        why = "`master` and `ipam` say what ipvlan otherwise takes from the plugin before it"
        raise Refused(UNSUPPORTED, "`prevResult` is not supported in place of `master` and `ipam`", why)
    return meant


def let_go(conf: Conf, release: Callable[[str], None]) -> None:
    """Have files of host-local's go, by what deletes them in its directory; what is wrong with the configuration, or
    with its files, is nothing to containers that go.
    """
    with suppress(Refused, MacvfastError):
        if is_meant(conf) and (directory := read(conf).network.directory) is not None:
            release(directory)


def _network_of(name: str, conf: Fields) -> Wanted:
    inside = conf.flag("linkInContainer")
    if inside and (not conf.text("master") or conf.number("vlan", most=4094)):
        why = "`master` is the name of a link that is in the container already"
        raise Refused(UNSUPPORTED, "`linkInContainer` is not supported without `master`, or with `vlan`", why)
    driver, mode = _driver(conf)
    ipam = conf.fields("ipam")
    kind = ipam.text("type")
    if not kind and ipam.names():
        raise Unfit("`ipam` has no `type`; it is empty where containers get no addresses")
    if kind == "macvfast" and ipam.text("network"):
        why = "`network` beside `type`, without `master`, names a network of macvfast"
        raise Refused(UNSUPPORTED, "`network` of `ipam` is not supported where macvfast makes the links", why)
    queue = conf.number("bcqueuelen", most=0xFFFF_FFFF)
    if queue and driver != "macvlan":
        raise Unfit("`bcqueuelen` belongs to macvlan")
    directory = f"{ipam.text('dataDir') or hostlocal.DEFAULT_DIR}/{name}"
    addresses = addressing.settled([*addressing.ranges(ipam)] if kind in OURS else [])
    return Wanted(
        conf=name, driver=driver, mode=mode, link=conf.text("master"), vlan=conf.number("vlan", most=4094) or None,
        link_options=((_QUEUE, queue),) if queue else (),
        **addresses._asdict(), directory=directory if kind in OURS else None, inside=inside,
        domain=addressing.domain(ipam) or (f"cni:{name}" if inside else None),
    )  # fmt: skip


def _driver(conf: Fields) -> tuple[str, str]:
    """Driver and mode: what `driver` says, or else the plugin's name, or else the mode, which only one driver has."""
    mode = conf.text("mode")
    having = next((driver for driver, modes in MODES.items() if mode in modes), None)
    if mode and having is None:
        known = " ".join(mode for modes in MODES.values() for mode in modes)
        raise Unfit(f"mode is `{mode}`, which is none of {known}")
    kind = conf.text("type")
    driver = conf.text("driver") or (kind if kind in MODES else having or "macvlan")
    if driver not in MODES:
        raise Unfit(f"driver is `{driver}`, which is neither macvlan nor ipvlan")
    if having not in (None, driver):
        raise Unfit(f"mode is `{mode}`, which {driver} does not have: {' '.join(MODES[driver])}")
    return driver, mode or MODES[driver][0]


def described(wanted: Wanted) -> str:
    """A network, and how many addresses of it host-local has given, in one line.

    Raises:
        StateProblem
    """
    parent = wanted.link or "the link of the default route"
    parent += " of the container" if wanted.inside else ""
    on = parent if wanted.vlan is None else f"VLAN {wanted.vlan} on {parent}"
    words = [f"cni-{wanted.conf}: {wanted.driver} {wanted.mode} on {on}", *wanted.subnets]
    words += [f"ip-range {one}" for one in wanted.ip_ranges]
    words += [] if wanted.domain is None else [f"domain {wanted.domain}"]
    if wanted.directory is not None:
        words.append(f"taken in {wanted.directory}: {len(hostlocal.kept_in(wanted.directory).files)}")
    return ", ".join(words)


# Making.


def _make(host: Host, wanted: Wanted, name: str) -> None:
    """Make a network, or change it, and keep what host-local has given; nobody takes it for whole before that."""
    request = wanted.request(name, _link(host, wanted))
    kept = hostlocal.Kept({}, ()) if wanted.directory is None else hostlocal.kept_in(wanted.directory)
    host.ensure_network(request)
    host.reserve(name, kept.files, last=kept.last)


def _is_now_whole(host: Host, wanted: Wanted, name: str) -> bool:
    """Say of a network that it is as it is wanted, and have its ranges so in the same step: another configuration of
    that name may have changed them meanwhile. False: it has more, and is not said to be so.
    """
    done = host.update_network(name, labels={WHOLE: wanted.whole}, ip_ranges=wanted.ip_ranges)
    # Those of a subnet of which none are wanted stay.
    if all(any(begins_in(one, text) for text in wanted.ip_ranges) for one in done.subnets if one.ranges):
        return True
    host.update_network(name, labels={WHOLE: None})
    return False


def _link(host: Host, wanted: Wanted) -> str:
    """The link of the home namespace that the network is on, or whose sub-interface it is on."""
    link = wanted.link or host.default_link()
    if link is None:
        raise ParentNotFound("default", "`master` is empty, and this host has no default route")
    return link


def _network(host: Host, name: str) -> Network | None:
    """The network of exactly that name."""
    with suppress(NetworkNotFound):
        return host.network(name)
    return None


def is_of(conf: str, network: Network) -> bool:
    """Whether a network was made for the configuration of that name."""
    # A person may give such a label, too.
    return network.origin == ON_DEMAND and network.label(CONF) == conf


def _remove_unused(host: Host, wanted: Wanted) -> bool:
    """Remove networks that were made for the same configuration as it was before, and that nobody uses."""
    return any(outcome.ok for outcome in host.prune_networks(partial(is_of, wanted.conf)))
