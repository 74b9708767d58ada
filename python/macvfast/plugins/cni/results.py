"""How a call is answered: the status of the plugin and what it prints, in the version of its configuration."""

from __future__ import annotations

import sys
from copy import copy
from typing import TYPE_CHECKING, Any

from macvfast import errors
from macvfast.model import mac_text
from macvfast.plugins.cni import addressing
from macvfast.plugins.cni.conf import NEWEST
from macvfast.plugins.cni.refusals import BAD_CONFIG, DIFFERS, LIMITED, NOT_AVAILABLE, Refused, refused
from macvfast.plugins.request import NotKept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from macvfast.errors import MacvfastError
    from macvfast.model import Address, Endpoint, HeldAddresses, Sandbox
    from macvfast.model.networks import HasAddresses
    from macvfast.outcomes import Difference
    from macvfast.plugins.cni.conf import Conf
    from macvfast.plugins.cni.given import Given
    from macvfast.plugins.cni.networks import Meant
    from macvfast.plugins.request import Said


# The versions whose addresses have a version, and whose results have `dns`, empty or not.
_OLD = ("0.3.1", "0.4.0")
# What routes have in versions before 1.1.0.
_PLAIN = ("dst", "gw")


def done(result: Said | None = None) -> Said:
    """It is done; None: nothing is printed."""
    return {"status": 0, "result": result}


def failed(version: str, error: Refused) -> Said:
    """It is not done, and why."""
    result = {"cniVersion": version, "code": error.code, "msg": error.message}
    return {"status": 1, "result": {**result, "details": error.details} if error.details else result}


class Words:
    """How the request of a call is answered (`macvfast.plugins.request.Words`).

    Args:
        environment: the variables of the call.
        conf: its configuration.
        inode: of the namespace that CNI_NETNS names; None: it could not be opened.
        meant: what the configuration means to the reference plugins, where it is theirs.
    """

    def __init__(
        self, environment: Mapping[str, str], conf: Conf, inode: int | None, meant: Meant | None = None
    ) -> None:
        self._conf = conf
        self._ifname = environment.get("CNI_IFNAME", "")
        self._netns = environment.get("CNI_NETNS", "")
        self._command = command = environment["CNI_COMMAND"]
        self._inode = inode
        self._given: Given | None = None
        # Read before anything is made: a configuration that is refused has no effect.
        self._dns = conf.dns() if command == "ADD" else {}
        self._meant = meant
        self._kept = _kept_addresses(conf) if command == "CHECK" else set()

    def with_(self, given: Given) -> Words:
        """The words for an attachment whose addresses something else keeps."""
        words = copy(self)
        words._given = given  # noqa: SLF001
        return words

    def read_dns(self) -> None:
        """Have the name servers of the file that the configuration names, where it says none itself. Raises as
        `dns_of`.
        """
        found = self.dns_of("" if self._meant is None else self._meant.resolv_conf)
        self._dns = self._dns or found

    def dns_of(self, path: str) -> dict[str, Any]:
        """What a file of name servers says now.

        Raises:
            NotKept: it cannot be read.
        """
        try:
            return addressing.dns(path)
        except Refused as error:
            raise NotKept(self.refused(error)) from None

    def made(self, endpoint: Endpoint, mtu: Callable[[], int | None]) -> Said:
        """What ADD prints."""
        interface: Said = {"name": endpoint.ifname, "mac": mac_text(endpoint.mac), "sandbox": self._netns}
        if self._conf.version == NEWEST and (size := mtu()) is not None:
            interface["mtu"] = size
        addresses = [*(_addresses(endpoint) if self._given is None else self._given.addresses)]
        if self._meant is not None and self._meant.network.begins_with_ipv6:
            addresses.reverse()
        dns = self._dns or (self._given.dns if self._given is not None else {})
        return self._result(addresses, self._routes(endpoint), dns, interface)

    def held(self, held: HeldAddresses, routes: Iterable[Said], dns: Mapping[str, Any]) -> Said:
        """What ADD of an IPAM plugin prints."""
        return self._result(_addresses(held), routes, dns, None)

    def _result(
        self, addresses: Iterable[tuple[Any, Address | None]], routes: Iterable[Mapping[str, Any]],
        dns: Mapping[str, Any], interface: Said | None,
    ) -> Said:  # fmt: skip
        old, full = self._conf.version in _OLD, self._conf.version == NEWEST
        ips = [
            {**({"version": str(one.ip.version)} if old else {}), "address": str(one),
             **({"gateway": str(gateway)} if gateway is not None else {}),
             **({"interface": 0} if interface is not None else {})}
            for one, gateway in addresses
        ]  # fmt: skip
        result: Said = {"cniVersion": self._conf.version}
        if interface is not None:
            result["interfaces"] = [interface]
        if ips:
            result["ips"] = ips
        if not full:
            routes = [{key: value for key, value in one.items() if key in _PLAIN} for one in routes]
        if routes := [*routes]:
            result["routes"] = routes
        return done({**result, "dns": dns} if dns or old else result)

    def _routes(self, endpoint: Endpoint) -> Iterable[Mapping[str, Any]]:
        """As whoever gave them says them."""
        if self._given is not None:
            return self._given.said_routes
        return _routes(endpoint) if self._meant is None else self._meant.routes

    def gone(self, *, found: bool) -> Said:  # noqa: ARG002
        """What is gone already is gone."""
        return done()

    def differing(self, sandbox: Sandbox, endpoint: Endpoint, differences: Sequence[Difference]) -> Said:
        """What CHECK finds."""
        found = [str(one) for one in differences]
        if self._inode != sandbox.inode:
            found.insert(0, "it is attached to another network namespace")
        return self._told(found + self._forgotten(endpoint))

    def still_held(self, held: HeldAddresses) -> Said:
        """What CHECK of an IPAM plugin finds."""
        return self._told(self._forgotten(held))

    def _forgotten(self, attached: HasAddresses) -> list[str]:
        return [
            f"prevResult does not have the address {one}" for one in attached.addresses if str(one) not in self._kept
        ]

    def _told(self, found: Sequence[str]) -> Said:
        if found:
            return self.refused(Refused(DIFFERS, f"`{self._ifname}` is not as it was attached", "; ".join(found)))
        return done()

    def refused(self, error: Refused) -> Said:
        """Why another plugin has not done its part."""
        return failed(self._conf.version, error)

    def failed(self, error: MacvfastError) -> Said:
        """Why it is not done."""
        if self._command == "DEL" and self._conf.delegate() is None:
            return self._not_gone(error)
        if self._command == "STATUS":
            return self.unready(error, hurts=False)
        return failed(self._conf.version, refused(error))

    def ready(self) -> Said:
        """STATUS has nothing to say."""
        return done()

    def unready(self, error: MacvfastError, *, hurts: bool) -> Said:
        """What STATUS finds."""
        why = refused(error)
        code = LIMITED if hurts else NOT_AVAILABLE
        return failed(self._conf.version, Refused(code, why.message, why.details))

    def _not_gone(self, error: MacvfastError) -> Said:
        """A runtime that is told of a failure keeps a container that is dead: it is only told where a program of others
        has the address. What is recorded to be removed is removed by the next change; the rest is said to whoever reads
        the log, and GC frees it.
        """
        if not isinstance(error, errors.Incomplete):
            sys.stderr.write(f"macvfast: DEL of `{self._ifname}`, network `{self._conf.name}`: {error}\n")
        return done()


def _kept_addresses(conf: Conf) -> set[str]:
    """The addresses of the result that the runtime has kept."""
    kept = conf.object("prevResult")
    if not kept:
        raise Refused(BAD_CONFIG, "Required prevResult missing")
    ips = kept.get("ips") or []
    if not isinstance(ips, list):
        raise Refused(BAD_CONFIG, "`ips` of prevResult is not a list")
    return {str(one.get("address")) for one in ips if isinstance(one, dict)}


def _addresses(endpoint: HasAddresses) -> Iterator[tuple[Any, Address | None]]:
    """Each address with its prefix length, and the gateway of its family."""
    for one, gateway in ((endpoint.ip, endpoint.gateway), (endpoint.ip6, endpoint.gateway6)):
        if one is not None:
            yield one, gateway


def _routes(endpoint: Endpoint) -> Iterator[Mapping[str, Any]]:
    """The default routes of a network that the configuration names; it gives the endpoint no others."""
    for destination, gateway in (("0.0.0.0/0", endpoint.gateway), ("::/0", endpoint.gateway6)):
        if gateway is not None:
            yield {"dst": destination, "gw": str(gateway)}
