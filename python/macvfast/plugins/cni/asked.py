"""What is asked for of one attachment, in the places where runtimes and people say it: addresses, and a MAC."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

from macvfast.model import parse_mac
from macvfast.plugins.cni.refusals import BAD_CONFIG, BAD_ENVIRONMENT, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.model import Address, Interface
    from macvfast.plugins.cni.conf import Conf

# The capability by which a runtime passes on what a pod is annotated with, and our annotations.
_ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
_IP, _IP6, _MAC = "macvfast.io/ip", "macvfast.io/ip6", "macvfast.io/mac"

# What CNI_ARGS may have without IgnoreUnknown.
_KNOWN = {"IP", "GATEWAY", "MAC", "IgnoreUnknown"}


class Asked:
    """Of several places the first counts that has it: `runtimeConfig`, `args.cni`, CNI_ARGS, and annotations of the
    pod.

    Attributes:
        ips: the addresses, with or without the lengths of their prefixes.
        beside: whether they come from CNI_ARGS, so that `static` has them beside its own.
        mac: the MAC.

    Raises:
        Refused, MacInvalid: something is not of that form.
    """

    def __init__(self, conf: Conf, arguments: str) -> None:
        """Read the configuration, and CNI_ARGS."""
        given = _pairs(arguments)
        runtime, args = conf.runtime(), conf.object("args", "cni")
        annotations = runtime.get(_ANNOTATIONS) or {}
        if not isinstance(annotations, dict):
            raise Refused(BAD_CONFIG, f"`{_ANNOTATIONS}` is not an object")
        first = runtime.get("ips") or args.get("ips")
        listed = _list(given.get("IP"))
        self.beside = not first and bool(listed)
        self.ips = _texts(first or listed or [one for key in (_IP, _IP6) if (one := annotations.get(key))])
        self._gateways = [_address(one) for one in _list(given.get("GATEWAY"))] if self.beside else []
        mac = runtime.get("mac") or args.get("mac") or given.get("MAC") or annotations.get(_MAC)
        if mac is not None and not isinstance(mac, str):
            raise Refused(BAD_CONFIG, "`mac` is not text")
        self.mac = parse_mac(mac) if mac else None

    def addresses(self) -> dict[str, Any]:
        """The addresses, at most one of each family, by the fields of an EndpointRequest.

        Raises:
            Refused
        """
        found: dict[str, Any] = {}
        for text in self.ips:
            address = _address(text)
            key = "ip" if address.version == 4 else "ip6"
            if key in found:
                raise Refused(BAD_CONFIG, f"two addresses of IPv{address.version} are asked for", text)
            found[key] = address
        return found

    def gateway_of(self, address: Interface) -> str | None:
        """The gateway that is asked for beside an address: the last one in its subnet."""
        return next((str(one) for one in reversed(self._gateways) if one in address.network), None)


def _pairs(text: str) -> dict[str, str]:
    """What CNI_ARGS has (`IP=10.1.2.3;MAC=…`)."""
    pairs = [pair.partition("=") for pair in text.split(";") if pair]
    found = {name: value for name, _, value in pairs}
    if any(not equals for _, equals, _ in pairs):
        raise Refused(BAD_ENVIRONMENT, "CNI_ARGS is not `NAME=VALUE;…`", text)
    if found.get("IgnoreUnknown", "").lower() not in ("1", "true"):
        unknown = sorted(found.keys() - _KNOWN)
        if unknown:
            raise Refused(BAD_ENVIRONMENT, f"unknown args [{' '.join(unknown)}]", "IgnoreUnknown=1 passes over them")
    return found


def _list(text: str | None) -> list[str]:
    """The parts of a value that commas separate."""
    return [part.strip() for part in text.split(",")] if text else []


def _texts(said: Any) -> Sequence[str]:
    if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
        raise Refused(BAD_CONFIG, "`ips` is not a list of text")
    return said


def _address(text: str) -> Address:
    """An address, with or without the length of its prefix."""
    try:
        return ip_interface(text).ip
    except ValueError:
        raise Refused(BAD_CONFIG, f"`{text}` is not an IP address") from None
