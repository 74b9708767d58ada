"""One attachment of a sandbox to a network, as an engine asks for it, and as it is answered in its words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.errors import MacvfastError
    from macvfast.host import Host
    from macvfast.model import Attachment, Endpoint, Network, Sandbox
    from macvfast.outcomes import Difference
    from macvfast.requests import EndpointRequest, NetworkRequest, OpenNetns

CONNECT, DISCONNECT, CHECK, STATUS, COLLECT = "connect", "disconnect", "check", "status", "collect"

Said = dict[str, object]


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

    def release(self, other: Attachment | None = None) -> None:
        """Free what was given, or what another attachment was given; nothing where that is free. Raises as `give`."""

    def collects(self) -> bool:
        """Whether it frees what is left itself, where it is asked to. Raises as `give`."""

    def ask(self, kind: str) -> None:
        """Ask it for its part of a request of another kind; for that of COLLECT only where it `collects`. Raises as
        `give`, where that is not as it should be.
        """


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
