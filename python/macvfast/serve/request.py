"""What a plugin asks of the server, and what it is answered: JSON, checked field by field."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from macvfast.cli.show.output import problem_fields
from macvfast.errors import RequestInvalid
from macvfast.model import Route, mac_text, parse_address, parse_mac
from macvfast.plugins.cni import calls
from macvfast.plugins.podman import calls as podman
from macvfast.plugins.request import CHECK, CONNECT, DISCONNECT, Request
from macvfast.requests import EndpointRequest, OpenNetns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.errors import MacvfastError
    from macvfast.model import Endpoint, Sandbox
    from macvfast.outcomes import Difference
    from macvfast.plugins.request import Said

# This release's protocol, and the one before it where there is one.
PROTOCOLS = (1,)

# Calls of plugins, in the words of their engines.
CNI, PODMAN = "cni", podman.ORIGIN

T = TypeVar("T")

_ID = re.compile(r"[0-9a-f]{32}\Z", re.ASCII)

# The types of JSON, for messages.
_NAMES = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


def read(body: bytes, descriptors: Sequence[int]) -> Request | Said:
    """The request that comes, or its answer, where nothing is to be done. The descriptors stay the caller's.

    Raises:
        RequestInvalid: it is none.
        InvalidConfig: it asks for what no endpoint can have.
    """
    fields = _Fields.of(body)
    if fields.need("protocol", int) not in PROTOCOLS:
        raise RequestInvalid(f"the server speaks protocol {' and '.join(map(str, PROTOCOLS))}")
    kind, id_ = fields.need("kind", str), fields.need("id", str)
    if kind not in (CONNECT, DISCONNECT, CHECK, CNI, PODMAN):
        raise RequestInvalid("its kind is none that the server knows")
    if not _ID.match(id_):
        raise RequestInvalid("its id is not 32 hex digits")
    state_dir = fields.take("state_dir", str)
    if kind in (CNI, PODMAN):
        made = calls.read(_call(fields, id_, descriptors)) if kind == CNI else _of_podman(fields, id_, descriptors)
        if not isinstance(made, Request):
            return made
        if made.keeper is not None and made.keeper.by_caller:
            # A worker does, which is as its caller: this process waits for nobody's program.
            return {"worker": True}
        return replace(made, state_dir=state_dir)
    origin = fields.take("origin", str)
    network, sandbox, ifname = fields.need("network", str), fields.need("sandbox", str), fields.take("ifname", str)
    if not network:
        raise RequestInvalid("`network` is empty")
    endpoint = EndpointRequest(network=network, sandbox=sandbox, ifname=ifname)
    netns: OpenNetns | None = None
    if kind == CONNECT:
        endpoint = _wanted(fields, endpoint)
        netns = _netns(fields, descriptors)
    elif descriptors:
        raise RequestInvalid("a descriptor came with it")
    fields.end()
    return Request(kind, id_, origin, state_dir, endpoint, netns, Plain())


def _call(fields: _Fields, id_: str, descriptors: Sequence[int]) -> calls.Call:
    """A call of the plugin, with all that its process has got."""
    environment, text = fields.need("environment", dict), fields.take("input", str, shown=False)
    # Earlier releases do not say it.
    program = fields.take("program", str) or ""
    fields.end()
    if not all(isinstance(value, str) for value in environment.values()):
        raise RequestInvalid("`environment` has what is not text")
    return calls.Call(id_, environment, text, descriptors[0] if descriptors else None, program)


def _of_podman(fields: _Fields, id_: str, descriptors: Sequence[int]) -> Request | Said:
    """The request of a call of Podman's, or its answer."""
    text = fields.take("input", str, shown=False)
    words = _Fields(fields.need("call", dict), "`call`")
    fields.end()
    verb, path = words.need("verb", str), words.take("netns", str)
    words.end()
    return podman.read(podman.Call(id_, verb, text, path or "", descriptors[0] if descriptors else None))


class _Fields:
    """The fields of a JSON object, each taken once."""

    def __init__(self, said: object, where: str = "it") -> None:
        if not isinstance(said, dict):
            raise RequestInvalid(f"{where} is not a JSON object")
        self._left = dict(said)

    @classmethod
    def of(cls, body: bytes) -> _Fields:
        try:
            return cls(json.loads(body))
        except (ValueError, RecursionError):
            raise RequestInvalid("it is not JSON") from None

    def take(self, name: str, kind: type[T], *, shown: bool = True) -> T | None:
        """A field; None: it is not there. `shown`: text of it may come into a message, or the record."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        # Not isinstance: true and false are no numbers.
        if type(value) is not kind:
            raise RequestInvalid(f"`{name}` is not {_NAMES[kind]}")
        if shown and isinstance(value, str) and (not value.isprintable() or len(value) > 4096):
            raise RequestInvalid(f"`{name}` is too long, or has characters that cannot be printed")
        return value

    def need(self, name: str, kind: type[T], *, shown: bool = True) -> T:
        """A field that must be there."""
        value = self.take(name, kind, shown=shown)
        if value is None:
            raise RequestInvalid(f"`{name}` is missing")
        return value

    def end(self) -> None:
        """Refuse what nobody has taken."""
        if self._left:
            raise RequestInvalid(f"`{min(self._left)}` is no field of it")


def _wanted(fields: _Fields, plain: EndpointRequest) -> EndpointRequest:
    """The endpoint that is asked for, with addresses, MAC, MTU and routes."""
    ip, ip6, mac = (fields.take(name, str) for name in ("ip", "ip6", "mac"))
    return EndpointRequest(
        network=plain.network, sandbox=plain.sandbox, ifname=plain.ifname, mtu=fields.take("mtu", int),
        ip=None if ip is None else parse_address(ip, 4), ip6=None if ip6 is None else parse_address(ip6, 6),
        mac=None if mac is None else parse_mac(mac),
        routes=tuple(_route(one) for one in fields.take("routes", list) or ()),
    )  # fmt: skip


def _route(said: object) -> Route:
    fields = _Fields(said, "a route")
    destination, via = fields.need("destination", str), fields.take("via", str)
    metric, mtu, advmss = (fields.take(name, int) for name in ("metric", "mtu", "advmss"))
    fields.end()
    return Route.of(destination, via, metric=metric, mtu=mtu, advmss=advmss)


def _netns(fields: _Fields, descriptors: Sequence[int]) -> OpenNetns | None:
    """The namespace whose descriptor came with the request, by the path that its sender has for it."""
    path = fields.take("netns", str)
    if path is None and not descriptors:
        return None
    if path is None or len(descriptors) != 1 or not path.startswith("/"):
        raise RequestInvalid("a namespace is one descriptor, and its absolute path in `netns`")
    return OpenNetns(descriptors[0], path)


class Plain:
    """How a request that came as such is answered (`macvfast.plugins.request.Words`)."""

    @staticmethod
    def made(endpoint: Endpoint, mtu: Callable[[], int | None]) -> Said:  # noqa: ARG004
        """The endpoint that there is now."""
        shown = {
            "network": endpoint.network, "network_id": endpoint.network_id, "sandbox": endpoint.sandbox,
            "sandbox_id": endpoint.sandbox_id, "ifname": endpoint.ifname, "mac": mac_text(endpoint.mac),
            "mtu": endpoint.mtu, "ip": _text(endpoint.ip), "ip6": _text(endpoint.ip6),
            "gateway": _text(endpoint.gateway), "gateway6": _text(endpoint.gateway6),
            "routes": [
                {"destination": str(one.destination), "via": _text(one.via), "metric": one.metric, "mtu": one.mtu,
                 "advmss": one.advmss}
                for one in endpoint.routes
            ],
        }  # fmt: skip
        return {"endpoint": shown}

    @staticmethod
    def gone(*, found: bool) -> Said:
        """Whether there was one."""
        return {"found": found}

    @staticmethod
    def differing(sandbox: Sandbox, endpoint: Endpoint, differences: Sequence[Difference]) -> Said:  # noqa: ARG004
        """Each difference."""
        shown = [{"kind": one.kind, "found": one.found, "obstacle": one.obstacle} for one in differences]
        return {"differences": shown}

    @staticmethod
    def ready() -> Said:
        """Nothing more."""
        return {}

    @staticmethod
    def unready(error: MacvfastError, *, hurts: bool) -> Said:  # noqa: ARG004
        """Why."""
        return problem_fields(error)

    @staticmethod
    def failed(error: MacvfastError) -> Said:
        """The error, as `--format json` shows it."""
        return problem_fields(error)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
