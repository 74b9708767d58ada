"""What an IPAM plugin answers to ADD: its result, in any version."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Any

from macvfast.plugins.cni import addressing
from macvfast.plugins.cni.conf import dns_of
from macvfast.plugins.cni.refusals import BAD_CONFIG, Refused
from macvfast.plugins.fields import Fields, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from macvfast.model import Address, Interface, Route

# The fields of a result before 0.3.0, one for each family.
_OLD = ("ip4", "ip6")


@dataclass(frozen=True, slots=True)
class Given:
    """Addresses that something else keeps, with all that comes with them.

    Attributes:
        addresses: each with the gateway that is named beside it.
        routes: of the endpoint.
        said_routes: the same, as they are in the result.
        dns: the fields that are not empty.
    """

    addresses: tuple[tuple[Interface, Address | None], ...]
    routes: tuple[Route, ...] = ()
    said_routes: tuple[Mapping[str, Any], ...] = ()
    dns: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Given:
        """Read a result.

        Raises:
            Refused, RouteInvalid: it is none, or has what no endpoint can have.
        """
        try:
            fields = Fields(said)
            addresses = tuple(_addresses(fields))
            places = (fields, *(fields.fields(name) for name in _OLD))
            routes = [one for place in places for one in addressing.routes(place)]
        except Unfit as error:
            raise Refused(BAD_CONFIG, str(error)) from None
        made = (_by_gateway(route, addresses) for route, _ in routes)
        # Of two to one destination, the kernel uses the one that is made last.
        each = tuple({route.key: route for route in made}.values())
        return cls(addresses, each, tuple(said for _, said in routes), dns_of(said))


def _by_gateway(route: Route, addresses: tuple[tuple[Interface, Address | None], ...]) -> Route:
    """A route without a gateway goes by that of the first address of its family that has one."""
    gateways = (one for _, one in addresses if one is not None and one.version == route.version)
    return route if route.via is not None else replace(route, via=next(gateways, None))


def interface_of(text: str) -> Interface:
    """An address with the length of its prefix, as `10.1.2.3/24`.

    Raises:
        Refused
    """
    if text.partition("/")[2].isdecimal() and "%" not in text:
        with suppress(ValueError):
            return ip_interface(text)
    raise Refused(
        BAD_CONFIG, f"`{text}` is not an address with the length of its prefix", "it has the form 10.1.2.3/24"
    )


def _addresses(said: Fields) -> Iterator[tuple[Interface, Address | None]]:
    named = [(one, "address") for one in said.several("ips")]
    named += [(old, "ip") for name in _OLD if (old := said.fields(name)).names()]
    for one, key in named:
        gateway = one.text("gateway")
        yield interface_of(one.text(key)), _address(gateway) if gateway else None


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise Refused(BAD_CONFIG, f"`{text}` is not an IP address") from None
