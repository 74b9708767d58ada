"""Calls of Docker: which there are, what they mean, and what is to be done for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from macvfast.errors import InvalidConfig
from macvfast.plugins.docker import endpoints, ipam, networks
from macvfast.plugins.docker.answers import IPAM, NETWORK, Call, Refused, Todo, Words, said_of
from macvfast.plugins.fields import Fields, Unfit
from macvfast.plugins.request import CONNECT, DISCONNECT, NotKept, Request
from macvfast.requests import EndpointRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from macvfast.host import Host
    from macvfast.plugins.request import Said

_ACTIVATE = "Plugin.Activate"
_IMPLEMENTS: Said = {"Implements": ["NetworkDriver", "IpamDriver"]}

# Networks are of one host, and their containers reach all that is on the LAN; Docker is told which gateways are needed.
_CAPABILITIES: Said = {"Scope": "local", "ConnectivityScope": "global", "GwAllocChecker": True}


def _nothing(_: Fields, __: Call) -> Said:
    return {}


# What is read of each call: its answer, or what is to be done for it.
_METHODS: Mapping[str, Callable[[Fields, Call], Said | Todo]] = {
    "NetworkDriver.GetCapabilities": lambda _, __: _CAPABILITIES,
    "NetworkDriver.GwAllocCheck": networks.gateways,
    "NetworkDriver.CreateNetwork": networks.create,
    "NetworkDriver.DeleteNetwork": networks.delete,
    "NetworkDriver.CreateEndpoint": endpoints.create,
    "NetworkDriver.DeleteEndpoint": endpoints.delete,
    "NetworkDriver.EndpointOperInfo": lambda _, __: {"Value": {}},
    "NetworkDriver.Join": endpoints.join,
    "NetworkDriver.Leave": endpoints.leave,
    # Nothing of a LAN is published or discovered.
    "NetworkDriver.ProgramExternalConnectivity": _nothing,
    "NetworkDriver.RevokeExternalConnectivity": _nothing,
    "NetworkDriver.DiscoverNew": _nothing,
    "NetworkDriver.DiscoverDelete": _nothing,
    "IpamDriver.GetCapabilities": ipam.capabilities,
    "IpamDriver.GetDefaultAddressSpaces": ipam.address_spaces,
    "IpamDriver.RequestPool": ipam.request_pool,
    "IpamDriver.ReleasePool": ipam.release_pool,
    "IpamDriver.RequestAddress": ipam.request_address,
    "IpamDriver.ReleaseAddress": ipam.release_address,
}


# What dockerd sends without a body. Any other call that comes without one has lost it: once a connection has broken,
# dockerd repeats its call, and sends the body no more.
_WITHOUT_BODY = frozenset(
    ("NetworkDriver.GetCapabilities", "IpamDriver.GetCapabilities", "IpamDriver.GetDefaultAddressSpaces")
)
_NO_BODY = "the call came without its body, as Docker repeats one whose connection has broken: do it again"


class Answer(NamedTuple):
    """A call that is answered: its HTTP status, and what is said."""

    status: int
    said: Said


OK, BAD, UNKNOWN = 200, 400, 404


def refusal(method: str, text: str) -> Said:
    """An error, in the words of the driver that a method is of."""
    return {_key(method): text}


def _key(method: str) -> str:
    return IPAM if method.startswith("IpamDriver.") else NETWORK


def read(call: Call, keep: Callable[[], bool] = lambda: True) -> Request | Answer:
    """What a call asks to be done; or its answer, where nothing is.

    Args:
        keep: asked once when it is done: whether its answer is still waited for. Otherwise it is taken back.
    """
    key = _key(call.method)
    if call.method == _ACTIVATE:
        return Answer(OK, _IMPLEMENTS)
    method = _METHODS.get(call.method)
    if method is None:
        # Older releases of Docker take this for what a driver need not do.
        return Answer(UNKNOWN, {key: f"macvfast has no {call.method}"})
    try:
        meant = method(Fields(_parsed(call)), call)
    except (Unfit, Refused) as error:
        return Answer(OK, {key: str(error)})
    except InvalidConfig as error:
        return Answer(OK, {key: said_of(error)})
    if not isinstance(meant, Todo):
        return Answer(OK, meant)
    kind = CONNECT if meant.makes else DISCONNECT
    # No sandbox has this name: it says what calls are about.
    about = EndpointRequest(network="", sandbox=f"docker {meant.about}")

    def act(host: Host) -> Said:
        try:
            return _done(meant, host, keep)
        except Refused as error:
            raise NotKept({key: str(error)}) from None

    return Request(kind, call.id, "docker", None, about, None, Words(key), act=act)


def late(call: Call) -> Request | None:
    """What is to be done at once where a call is not done in time; None: nothing. An endpoint's addresses, which Docker
    gives back next, stay taken while its link may be there.
    """
    if call.method not in ("NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"):
        return None
    id_ = Fields(_parsed(call)).text("EndpointID")

    def act(host: Host) -> Said:
        host.keep_linked(id_)
        return {}

    # It waits for nothing that is done about the endpoint itself.
    about = EndpointRequest(network="", sandbox=f"docker late {call.id}")
    return Request(DISCONNECT, f"{call.id} late", "docker", None, about, None, Words(NETWORK), act=act)


def _parsed(call: Call) -> object:
    if not call.body.strip():
        if call.method in _WITHOUT_BODY:
            return {}
        raise Refused(_NO_BODY)
    try:
        return json.loads(call.body)
    except (ValueError, RecursionError):
        raise Unfit("it is not JSON") from None


def _done(meant: Todo, host: Host, keep: Callable[[], bool]) -> Said:
    said = meant.act(host)
    if not keep() and meant.undo is not None:
        meant.undo(said, host)
    return said
