"""macvfast as the IPAM plugin of another plugin, which makes the link: addresses are held for it, and let go."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError, NetworkNotFound
from macvfast.model import LOOPBACK, HeldAddresses
from macvfast.options import MODES
from macvfast.plugins.cni import addressing, hostlocal
from macvfast.plugins.cni.networks import Wanted
from macvfast.plugins.cni.refusals import BAD_CONFIG, UNKNOWN_CONTAINER, UNSUPPORTED, Refused
from macvfast.plugins.fields import Fields, Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from macvfast.host import Host
    from macvfast.model import Address, Attachment
    from macvfast.plugins.cni.conf import Conf
    from macvfast.plugins.cni.results import Words
    from macvfast.plugins.request import Said


def is_meant(conf: Conf, program: str) -> bool:
    """Whether a call is one of the plugin that makes the link, to its IPAM plugin of that name."""
    return program not in ("", conf.said.get("type")) and program == conf.object("ipam").get("type")


@dataclass(frozen=True, slots=True)
class Pool:
    """Where the addresses of a configuration come from, and what comes back with them.

    Attributes:
        named: a network of macvfast; empty: the one that is made for the configuration.
        wanted: that one.
        routes: of the result.
        resolv_conf: the file with the name servers of the result; empty: none.
    """

    named: str
    wanted: Wanted | None
    routes: Sequence[Said]
    resolv_conf: str

    @classmethod
    def of(cls, conf: Conf) -> Pool:
        """Read a configuration.

        Raises:
            Refused, RouteInvalid
        """
        fields = Fields(conf.said)
        try:
            ipam = fields.fields("ipam")
            named = ipam.text("network")
            if named and addressing.domain(ipam) is not None:
                why = "the addresses of the network that is named are in the domain that it has"
                raise Refused(UNSUPPORTED, "`domain` of `ipam` is not supported beside `network`", why)
            routes = [said for _, said in addressing.routes(ipam)]
            return cls(named, None if named else _wanted(conf.name, fields), routes, ipam.text("resolvConf"))
        except Unfit as error:
            raise Refused(BAD_CONFIG, str(error)) from None

    def hold(self, words: Words, request: tuple[str, Attachment], asked: Mapping[str, Address], host: Host) -> Said:
        """Hold addresses for the id of a request and its attachment: the answer. Raises as `Host.hold`, and as
        `Words.dns_of`.
        """
        dns = words.dns_of(self.resolv_conf)
        network = self.named if self.wanted is None else self.wanted.ensure(host)
        if host.network(network).name != network:
            # By the beginning of an id, another one would be taken.
            raise NetworkNotFound(network)
        id_, attachment = request
        return words.held(host.hold(network, attachment, request_id=id_, **asked), self.routes, dns)


def check(words: Words, attachment: Attachment, host: Host) -> Said:
    """Whether the addresses are held that the runtime knows: the answer."""
    held = host.attached(attachment)
    if not isinstance(held, HeldAddresses):
        return words.refused(Refused(UNKNOWN_CONTAINER, f"{attachment} has no addresses"))
    return words.still_held(held)


def let_go(conf: Conf, release: Callable[[str], None]) -> None:
    """As `networks.let_go`."""
    with suppress(Refused, MacvfastError):
        wanted = Pool.of(conf).wanted
        if wanted is not None and wanted.directory is not None:
            release(wanted.directory)


def _wanted(name: str, conf: Fields) -> Wanted:
    """The network that has the addresses: on the link on which `macvlan` and `ipvlan` make theirs, so that it shares
    them with other networks there; else on none: on the loopback link nothing is made.
    """
    ipam, kind = conf.fields("ipam"), conf.text("type")
    driver, link = (kind, conf.text("master")) if kind in MODES else ("macvlan", LOOPBACK)
    return Wanted(
        conf=name, driver=driver, mode=MODES[driver][0], link=link, vlan=None, link_options=(),
        **addressing.settled([*addressing.ranges(ipam)] if ipam.names() else [])._asdict(),
        directory=f"{ipam.text('dataDir') or hostlocal.DEFAULT_DIR}/{name}", domain=addressing.domain(ipam),
    )  # fmt: skip
