"""What each kind of request asks for, done once with a Host; of those that connect, several as one batch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from macvfast.errors import (
    EndpointNotFound,
    MacvfastError,
    NetworkNotFound,
    ParentNotFound,
    RequestInvalid,
    SandboxBusy,
    SandboxNotFound,
)
from macvfast.model import KEPT_S, HeldAddresses, Sandbox
from macvfast.plan import endpoints
from macvfast.plugins.request import CHECK, COLLECT, CONNECT, DISCONNECT, STATUS, Answer, Kept
from macvfast.requests import NetworkRequest, PluginRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.host import Host
    from macvfast.model import Attachment, Endpoint, Network
    from macvfast.plugins.request import OnDemand, Request, Said

# What is gone already.
_GONE = (NetworkNotFound, SandboxNotFound, EndpointNotFound)


def once(host: Host, request: Request) -> Answer:
    """Do a request, without a keeper.

    Raises:
        MacvfastError: it is not done.
    """
    if request.act is None:
        return _KINDS[request.kind](host, request)
    return Answer(request.act(host), request if request.kind == CONNECT else None)


def connected(host: Host, requests: Sequence[Request]) -> list[Answer | None]:
    """Do what several requests ask for that connect, as one batch. None for each that was not done: `answered` does it,
    or says why not.
    """
    networks: dict[OnDemand | str, str | None] = {}
    wanted: dict[str, PluginRequest] = {}
    with host.at_one_moment():
        known = host.known_requests([one.id for one in requests])
        for one in requests:
            if one.keeper is not None or one.reads is not None or one.netns is None or one.id in known:
                continue
            key = one.network or one.endpoint.network
            if key not in networks:
                networks[key] = _ready_network(host, one)
            if (network := networks[key]) is not None:
                endpoint = replace(one.endpoint, network=network, netns=one.netns)
                wanted[one.id] = PluginRequest(endpoint, one.id, one.attachment)
    made = dict(zip(wanted, host.connect_each([*wanted.values()]), strict=True))
    return [_answer_of(host, one, made.get(one.id)) for one in requests]


def _answer_of(host: Host, request: Request, made: Endpoint | MacvfastError | None) -> Answer | None:
    return None if made is None or isinstance(made, MacvfastError) else Answer(_made(host, request, made), request)


def _made(host: Host, request: Request, endpoint: Endpoint) -> Said:
    return request.words.made(endpoint, partial(host.link_mtu, endpoint))


def _ready_network(host: Host, request: Request) -> str | None:
    """The network of a request that is connected with others; None: it is to be made, or has IPv6, whose addresses are
    waited for.
    """
    try:
        wanted = request.network
        found = _network(host, request.endpoint.network) if wanted is None else wanted.ready(host)
    except MacvfastError:
        return None
    return None if found is None or found.ipv6 else found.id


def undo(host: Host, request: Request) -> None:
    """Remove what a request has made, if that is still there: nobody knows of it, unless it was asked for again."""
    try:
        there = host.take_back(request.id)
        if isinstance(there, HeldAddresses):
            host.detach([there.attachment])[0].result()
        elif there is not None:
            _take_away(host, host.sandbox(there.sandbox_id), there)
    except _GONE:
        pass


def _connect(host: Host, request: Request) -> Answer:
    if request.reads is not None:
        request.reads()
    if (there := _made_before(host, request)) is not None:
        return there
    if request.network is None:
        _network(host, request.endpoint.network)
    if request.netns is None:
        _sandbox(host, request)
    try:
        made = _made_now(host, request)
    except NetworkNotFound:
        if request.network is None:
            raise
        # It was removed, unused as it was, after it was looked at.
        made = _made_now(host, request)
    return Answer(_made(host, request, made), request)


def _made_now(host: Host, request: Request) -> Endpoint:
    wanted, endpoint = request.network, request.endpoint
    if wanted is not None:
        endpoint = replace(endpoint, network=wanted.ensure(host))
    return host.connect(endpoint, netns=request.netns, request_id=request.id, attachment=request.attachment)


def _made_before(host: Host, request: Request) -> Answer | None:
    """The answer to a request that was done already.

    Raises:
        RequestInvalid: its id is that of another one.
    """
    made = host.made_for(request.id)
    if made is None:
        return None
    asked = request.endpoint
    if (
        (request.network is None and asked.network not in (made.network, made.network_id))
        or asked.sandbox not in (made.sandbox, made.sandbox_id)
        or asked.ifname not in (None, made.ifname)
    ):
        raise RequestInvalid("its id is that of another request")
    return Answer(_made(host, request, made))


def _disconnect(host: Host, request: Request) -> Answer:
    if request.attachment is not None:
        # What the kernel still has to do is done behind the answer, by a server; without one, before this process ends.
        # Where others keep the addresses, they give them to the next one at once.
        wait = request.keeper is not None and request.keeper.by_caller
        found = host.detach([request.attachment], wait=wait, netns=request.netns)[0].result()
        if not found and request.absent is not None:
            request.absent()
        return Answer(request.words.gone(found=found))
    try:
        _take_away(host, *_the_endpoint(host, request))
    except _GONE:
        return Answer(request.words.gone(found=False))
    return Answer(request.words.gone(found=True))


def _check(host: Host, request: Request) -> Answer:
    sandbox, endpoint = _the_endpoint(host, request)
    return Answer(request.words.differing(sandbox, endpoint, host.check(sandbox.id)))


def _status(host: Host, request: Request) -> Answer:
    network: str | Network | NetworkRequest | None = None
    try:
        network = _network(host, request.endpoint.network) if request.network is None else request.network.find(host)
        host.refuse_unready(network, needs_address=request.needs_address)
    except SandboxBusy:
        # What is being changed is not waited for, and will be there.
        pass
    except ParentNotFound as error:
        hurts = not isinstance(network, NetworkRequest | None) and bool(host.endpoints(network))
        return Answer(request.words.unready(error, hurts=hurts))
    except MacvfastError as error:
        return Answer(request.words.unready(error, hurts=False))
    return Answer(request.words.ready())


def abandoned(host: Host, request: Request) -> list[Attachment]:
    """The attachments that are here and that the engine of a COLLECT no longer has."""
    kept = request.kept or Kept("", frozenset())
    return [one for one in host.attachments(kept.conf) if one.origin == request.origin and one not in kept.attachments]


def _collect(host: Host, request: Request) -> Answer:
    """Remove what an engine no longer has, and networks that have long been unused, as far as possible; and then say
    what failed.
    """
    kept = request.kept or Kept("", frozenset())
    gone = abandoned(host, request)
    outcomes = host.detach(gone)
    host.prune_networks(kept.has_made, unused_s=KEPT_S)
    if request.absent is not None:
        request.absent()
    outcomes.raise_if_any()
    return Answer(request.words.gone(found=bool(gone)))


_KINDS = {CONNECT: _connect, DISCONNECT: _disconnect, CHECK: _check, STATUS: _status, COLLECT: _collect}


def _take_away(host: Host, sandbox: Sandbox, endpoint: Endpoint) -> None:
    """Remove an endpoint, and with it a sandbox that stood for a given namespace for its sake alone."""
    if sandbox.made or len(sandbox.endpoints) > 1:
        host.disconnect(endpoint.network_id, sandbox, ifname=endpoint.ifname)
    else:
        host.remove_many([sandbox.id])[0].result()


# By the beginning of an id, what is gone would be taken for something else.


def _network(host: Host, key: str) -> Network:
    """The network of exactly that id or name. Raises as `Host.network`."""
    network = host.network(key)
    if key not in (network.id, network.name):
        raise NetworkNotFound(key)
    return network


def _sandbox(host: Host, request: Request) -> Sandbox:
    """The sandbox of exactly that id or name. Raises as `Host.sandbox`."""
    sandbox = host.sandbox(request.endpoint.sandbox)
    if request.endpoint.sandbox not in (sandbox.id, sandbox.name):
        raise SandboxNotFound(request.endpoint.sandbox)
    return sandbox


def _the_endpoint(host: Host, request: Request) -> tuple[Sandbox, Endpoint]:
    """The endpoint that a request names, and its sandbox.

    Raises:
        NetworkNotFound, SandboxNotFound, EndpointNotFound, EndpointAmbiguous
    """
    if request.attachment is not None:
        there = host.attached(request.attachment)
        if not isinstance(there, Sandbox) or not there.endpoints:
            raise SandboxNotFound(request.endpoint.sandbox)
        return there, endpoints.only(there.endpoints)
    network, sandbox = _network(host, request.endpoint.network), _sandbox(host, request)
    return sandbox, endpoints.only(endpoints.attached(network, sandbox, request.endpoint.ifname))
