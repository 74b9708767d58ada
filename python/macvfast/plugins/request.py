"""One attachment of a sandbox to a network, as an engine asks for it: done with a Host, and answered in its words."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from macvfast.errors import (
    AlreadyConnected,
    EndpointNotFound,
    Incomplete,
    MacvfastError,
    NetworkNotFound,
    ParentNotFound,
    RequestInvalid,
    SandboxBusy,
    SandboxNotFound,
)
from macvfast.model import KEPT_S, HeldAddresses, Sandbox
from macvfast.plan import endpoints
from macvfast.requests import NetworkRequest, PluginRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.host import Host
    from macvfast.model import Attachment, Endpoint, Network
    from macvfast.outcomes import Difference
    from macvfast.requests import EndpointRequest, OpenNetns

CONNECT, DISCONNECT, CHECK, STATUS, COLLECT = "connect", "disconnect", "check", "status", "collect"

# What is gone already.
_GONE = (NetworkNotFound, SandboxNotFound, EndpointNotFound)

# How long to wait for another process that is making or removing what is to go, and how long before it is looked at
# again: at first, and at the most.
_BUSY_S = 60.0
_LOOK_S, _LOOK_AGAIN_S = 0.005, 0.05
# How long what is connected already may be what a server has just made for the same request: it is found then, or goes.
_TAKEN_BACK_S = 1.0

Said = dict[str, object]
T = TypeVar("T")


class Words(Protocol):
    """How a request is answered."""

    def made(self, endpoint: Endpoint, mtu: Callable[[], int | None]) -> Said:
        """The endpoint that there is now; `mtu` looks up which its link has."""

    def gone(self, *, found: bool) -> Said:
        """There is no such endpoint any more; `found`: there was one."""

    def differing(self, sandbox: Sandbox, endpoint: Endpoint, differences: Sequence[Difference]) -> Said:
        """What is not as it is recorded."""

    def ready(self) -> Said:
        """It could be done."""

    def unready(self, error: MacvfastError, *, hurts: bool) -> Said:
        """Why it could not be done now; `hurts`: what there is already is without its network."""

    def failed(self, error: MacvfastError) -> Said:
        """Why it was not done."""


class OnDemand(Protocol):
    """A network that is made when it is first needed."""

    def ensure(self, host: Host) -> str:
        """Have it there, as it is wanted; its name."""

    def find(self, host: Host) -> str | NetworkRequest:
        """Its name, if it is there; else the request that makes it."""

    def ready(self, host: Host) -> Network | None:
        """The network, if it is there as it is wanted."""


class Kept(NamedTuple):
    """Those attachments of a configuration that its engine still has.

    Attributes:
        has_made: says whether a network was made for the configuration.
    """

    conf: str
    attachments: frozenset[Attachment]
    has_made: Callable[[Network], bool] = lambda _: False


class NotKept(Exception):
    """What others keep was not given, or cannot be read: what the caller is answered."""

    def __init__(self, said: Said) -> None:
        super().__init__(said)
        self.said = said


class Keeper(Protocol):
    """Who keeps the addresses of an attachment, where the pools of its network do not.

    Attributes:
        by_caller: whether programs are executed for it, as by the caller. The server does no such request.
    """

    by_caller: bool

    def give(self, request: Request) -> Request:
        """The request with the addresses that the attachment gets. Where this fails, nothing is kept.

        Raises:
            NotKept, MacvfastError
        """

    def take_back(self) -> None:
        """Free what was given, and is not used: as far as that can be done."""

    def release(self) -> None:
        """Free what was given; nothing where that is free. Raises as `give`."""

    def ask(self, kind: str) -> None:
        """Ask it for its part of a request of another kind. Raises as `give`, where that is not as it should be."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be done with one attachment of a sandbox to a network, or with all that an engine no longer has; or
    whether one could be made.

    Attributes:
        kind: CONNECT, DISCONNECT, CHECK, STATUS or COLLECT.
        id: of the request, by which one that is repeated is known.
        origin: the engine that it is for; None: a person's.
        state_dir: where its sender has the state; None: wherever the server has it.
        endpoint: its network is empty where an attachment says what is meant.
        netns: the sandbox's namespace, where it is to stand for a given one.
        words: how it is answered.
        attachment: what it is about, where the engine knows it so; else what `endpoint` says.
        needs_address: of STATUS, whether a network without a free address counts as unready.
        kept: of COLLECT, which attachments of a configuration stay.
        network: where it is made when it is first needed; else what `endpoint` says.
        absent: has go what only others know: called where what is to go is not known here, and by COLLECT.
        keeper: of its addresses, if that is not the network.
        reads: of CONNECT, reads the files that its answer needs; each time anew, and before anything is made.
        act: what is done in the place of all else; its answer.
    """

    kind: str
    id: str
    origin: str | None
    state_dir: str | None
    endpoint: EndpointRequest
    netns: OpenNetns | None
    words: Words = field(compare=False, repr=False)
    attachment: Attachment | None = None
    needs_address: bool = False
    kept: Kept | None = None
    network: OnDemand | None = None
    absent: Callable[[], None] | None = field(default=None, compare=False, repr=False)
    keeper: Keeper | None = field(default=None, compare=False, repr=False)
    reads: Callable[[], None] | None = field(default=None, compare=False, repr=False)
    act: Callable[[Host], Said] | None = field(default=None, compare=False, repr=False)


class Answer(NamedTuple):
    """What becomes of a request; `made`: it has made something, which goes again if nobody takes the answer."""

    said: Said
    made: Request | None = None


def answered(host: Host, request: Request) -> Answer:
    """Do a request.

    Raises:
        MacvfastError: it is not done.
        NotKept: the keeper of its addresses has not done its part, or a file cannot be read.
    """
    keeper = request.keeper
    if keeper is None:
        return _patiently(host, request)
    if not keeper.by_caller or request.attachment is None:
        return _kept_elsewhere(host, request, keeper)
    # Programs give and free for as long as nothing of it is recorded.
    with _waiting(host, partial(host.take_turn, request.attachment)):
        return _kept_elsewhere(host, request, keeper)


def _kept_elsewhere(host: Host, request: Request, keeper: Keeper) -> Answer:
    """Do a request about what others keep. Raises as `answered`."""
    if request.kind == CONNECT:
        if keeper.by_caller:
            # Asked once more, it would give the same again, or refuse; and then free what the container has.
            _waiting(host, partial(_refuse_attached, host, request))
        given = keeper.give(request)
        try:
            return _patiently(host, given)
        except BaseException:
            keeper.take_back()
            raise
    if request.kind != DISCONNECT:
        try:
            return _patiently(host, request)
        finally:
            # Whatever became of our part.
            keeper.ask(request.kind)
    try:
        answer = _patiently(host, request)
    except Incomplete:
        # It is recorded to go, and nobody will ask again.
        keeper.release()
        raise
    keeper.release()
    return answer


def _refuse_attached(host: Host, request: Request) -> None:
    if request.attachment is not None and request.netns is not None:
        host.refuse_attached(request.attachment, request.netns)


def _patiently(host: Host, request: Request) -> Answer:
    """Do a request. Raises as `_waiting`."""
    return _waiting(host, partial(_once, host, request))


def _once(host: Host, request: Request) -> Answer:
    if request.act is None:
        return _KINDS[request.kind](host, request)
    return Answer(request.act(host), request if request.kind == CONNECT else None)


def _waiting(host: Host, do: Callable[[], T]) -> T:
    """Do something about what a request is about. While another process makes or removes that, this waits: that may be
    a server that does the same request, or takes it back.

    Raises:
        MacvfastError: it is not done.
    """
    begun, look_s = time.monotonic(), _LOOK_S
    while True:
        try:
            return do()
        except (SandboxBusy, AlreadyConnected) as error:
            if time.monotonic() > begun + (_BUSY_S if isinstance(error, SandboxBusy) else _TAKEN_BACK_S):
                raise
        # What a process left that died is finished, or undone, before any change: this is one.
        host.remove_networks([])
        time.sleep(look_s)
        look_s = min(2 * look_s, _LOOK_AGAIN_S)


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


def _collect(host: Host, request: Request) -> Answer:
    """Remove what an engine no longer has, and networks that have long been unused, as far as possible; and then say
    what failed.
    """
    kept = request.kept or Kept("", frozenset())
    gone = [one for one in host.attachments(kept.conf) if one.origin == request.origin and one not in kept.attachments]
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
