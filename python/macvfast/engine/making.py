"""What is asked for of new endpoints, and endpoints in the making.

A request never changes. An attempt carries it out: its namespace is opened (`Opened`), its identity is chosen and
recorded (`Making`), and then it is made. Each step's type has what the steps before it decided and did.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from macvfast import plan

if TYPE_CHECKING:
    from macvfast.errors import MacvfastError
    from macvfast.kernel.namespaces import Sysctls
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.plan import EndpointPlan
    from macvfast.requests import EndpointRequest, OwnFiles


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """A sandbox that is to be made.

    Args:
        name: None: the first 12 of its id.
        netns: the path of a namespace that others made, for which it is to stand; None: it gets one of its own.
        opened: where that is opened, if not at its path.
        starts: the caller is about to start a command in it, and gets its namespace open.
        auto_remove: it is removed when that command ends.
        joins: whether a sandbox of that name would do that is there already.
    """

    name: str | None = None
    netns: str | None = None
    opened: str | None = None
    command: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    own_files: OwnFiles | None = None
    starts: bool = False
    auto_remove: bool = False
    joins: bool = False


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """Endpoints that are to be made, of one sandbox that is there, or that is to be made with them; and the id of the
    plugin's request that they are for.
    """

    sandbox: Sandbox | NewSandbox
    endpoints: tuple[EndpointRequest, ...]
    request_id: str | None = None

    @property
    def fresh(self) -> bool:
        """Whether a namespace is to be made for it."""
        return isinstance(self.sandbox, NewSandbox) and self.sandbox.netns is None


@dataclass(slots=True)
class MakingEndpoint:
    """An endpoint that is chosen and recorded, and is being made.

    Attributes:
        held: the families whose default route something before it holds.
        ready: whether its link can be born up, with the settings that the namespace's links are born with.
    """

    network: Network
    endpoint: Endpoint
    held: frozenset[int]
    ready: bool

    def planned(self, parent: int) -> EndpointPlan:
        """Its steps on a parent with that index."""
        return plan.plan_endpoint(self.network, self.endpoint, parent, ready=self.ready, held=self.held)


@dataclass(slots=True)
class Making:
    """A sandbox whose endpoints are chosen and recorded, and are being made in its namespace, which is open.

    Attributes:
        sandbox: as it was before, without these endpoints.
        new: whether it is being made with them.
        sysctls: what the next link in the namespace is born with, where macvfast made it.
    """

    sandbox: Sandbox
    namespace: Namespace
    endpoints: list[MakingEndpoint]
    new: bool = False
    sysctls: Sysctls = ()
    error: MacvfastError | None = None

    @property
    def where(self) -> str:
        """The sandbox, for messages."""
        return f"sandbox `{self.sandbox.name}`"

    @property
    def pairs(self) -> list[tuple[Network, Endpoint]]:
        """The endpoints, each with its network."""
        return [(one.network, one.endpoint) for one in self.endpoints]

    @property
    def with_these(self) -> Sandbox:
        """The sandbox with these endpoints alone."""
        return replace(self.sandbox, endpoints=tuple(one.endpoint for one in self.endpoints))


@dataclass(slots=True)
class Attempt:
    """A request that is being carried out.

    Attributes:
        making: what is made for it, once that is recorded.
        namespace: its namespace, where the caller is about to start a command in it: the caller's to close.
        lock: the lock of that command's keeper, where the sandbox is removed with it: the caller's to hand on or close.
    """

    request: AttachRequest
    making: Making | None = None
    namespace: Namespace | None = None
    lock: int | None = None
    _refused: MacvfastError | None = None

    @property
    def error(self) -> MacvfastError | None:
        """Why it cannot be carried out, if something is in the way: what was met first."""
        return (self.making.error if self.making is not None else None) or self._refused

    def fail(self, error: MacvfastError) -> None:
        """Something is in the way. It is not made any further, but what goes on beside this is not stopped."""
        self._refused = self._refused or error

    def explain(self, error: MacvfastError) -> None:
        """Replace its error by one that says more."""
        if self.making is not None:
            self.making.error = None
        self._refused = error

    @property
    def made(self) -> Making:
        """What was made; it has no error."""
        assert self.making is not None  # noqa: S101 - what has no error is made
        return self.making

    def let_go(self) -> None:
        """Close what is open for a command that will not be started."""
        # Two threads may do so: the one that asked for it and was interrupted, and the one that made it.
        lock = self.take_lock()
        namespace, self.namespace = self.namespace, None
        if lock is not None:
            os.close(lock)
        if namespace is not None:
            namespace.close()

    def take_lock(self) -> int | None:
        """The lock, which is the caller's from now on."""
        lock, self.lock = self.lock, None
        return lock

    @property
    def starts(self) -> bool:
        """Whether the caller is about to start a command in it, and nothing is in the way."""
        return isinstance(self.request.sandbox, NewSandbox) and self.request.sandbox.starts and self.error is None

    def reset(self) -> None:
        """Forget what has become of it, before it is tried again."""
        self.let_go()
        self.making, self._refused = None, None


@dataclass(slots=True)
class Opened:
    """An attempt whose namespace is open.

    Attributes:
        sysctls: what the namespace's links are born with, where it was made for this.
    """

    attempt: Attempt
    namespace: Namespace
    sysctls: Sysctls = ()
