"""Requests for new endpoints, and endpoints that are being created.

A request never changes. An attempt carries it out: its namespace is opened (`Opened`), its identity is chosen and
recorded (`Making`), and then it is created. The type of each step has what the steps before it decided and did.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.errors import NamespaceInvalid

if TYPE_CHECKING:
    from macvfast.errors import MacvfastError
    from macvfast.kernel.namespaces import Sysctls
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Attachment, Endpoint, Network, Sandbox
    from macvfast.plan import EndpointPlan
    from macvfast.requests import EndpointRequest, OpenNetns, OwnFiles


@dataclass(frozen=True, slots=True)
class GivenNetns:
    """A namespace that macvfast did not create: its path, as it is recorded and shown, and by which it is opened."""

    path: str
    opened: str

    @classmethod
    def of(cls, netns: str | OpenNetns) -> GivenNetns:
        """What a caller gave. A path becomes independent of the current directory of this process.

        Raises:
            NamespaceInvalid
        """
        given = netns if isinstance(netns, str) else netns.path
        try:
            given.encode()
            path = str(Path(given).absolute())
        except UnicodeEncodeError:
            raise NamespaceInvalid(given, "its path is not UTF-8") from None
        except OSError as error:
            raise NamespaceInvalid(given, f"there is no current directory: {error.strerror}") from None
        return cls(path, path if isinstance(netns, str) else netns.opened)


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """A sandbox that is going to be created.

    Attributes:
        name: None: the first 12 of its id.
        starts: the caller is about to start a command in it, and gets its open namespace.
        auto_remove: it is removed when that command ends.
        joins: whether an existing sandbox of that name is accepted instead.
    """

    name: str | None = None
    command: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    own_files: OwnFiles | None = None
    starts: bool = False
    auto_remove: bool = False
    joins: bool = False


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """Endpoints that are going to be created, of one sandbox that exists or is created with them.

    Attributes:
        given: the namespace for which the sandbox stands, if macvfast did not create it and it is named by the caller.
        request_id: the id of the plugin's request for them.
        attachment: what the new sandbox stands for, if that is an attachment of an engine.
    """

    sandbox: Sandbox | NewSandbox
    endpoints: tuple[EndpointRequest, ...]
    given: GivenNetns | None = None
    request_id: str | None = None
    attachment: Attachment | None = None

    @property
    def fresh(self) -> bool:
        """Whether a namespace is created for it."""
        return isinstance(self.sandbox, NewSandbox) and self.given is None

    @property
    def in_ours(self) -> bool:
        """Whether macvfast creates its namespace, or created it."""
        return self.fresh if isinstance(self.sandbox, NewSandbox) else self.sandbox.made


@dataclass(slots=True)
class MakingEndpoint:
    """An endpoint that is chosen and recorded, and is being created.

    Attributes:
        held: the default routes that other endpoints have.
        ready: whether its link can be created up, with the settings of new links in the namespace.
    """

    network: Network
    endpoint: Endpoint
    held: plan.Held
    ready: bool

    def planned(self, parent: int) -> EndpointPlan:
        """Its steps on a parent with that index."""
        return plan.plan_endpoint(self.network, self.endpoint, parent, ready=self.ready, held=self.held)


@dataclass(slots=True)
class Making:
    """A sandbox whose endpoints are chosen and recorded, and are being created in its namespace, which is open.

    Attributes:
        sandbox: as it was before, without these endpoints.
        siblings: the endpoints that it has besides.
        new: whether it is created with them.
        sysctls: the settings of the next link in the namespace, if macvfast created that.
    """

    sandbox: Sandbox
    namespace: Namespace
    endpoints: list[MakingEndpoint]
    siblings: tuple[tuple[Network, Endpoint], ...] = ()
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
        """The sandbox with only these endpoints."""
        return replace(self.sandbox, endpoints=tuple(one.endpoint for one in self.endpoints))


@dataclass(slots=True)
class Attempt:
    """A request that is being carried out.

    Attributes:
        making: what is created for it, once that is recorded.
        namespace: its open namespace, if the caller is about to start a command in it; the caller closes it.
        lock: the lock of that command's keeper; the caller passes it on or closes it.
    """

    request: AttachRequest
    making: Making | None = None
    namespace: Namespace | None = None
    lock: int | None = None
    _refused: MacvfastError | None = None

    @property
    def error(self) -> MacvfastError | None:
        """Why it cannot be carried out, if it cannot: the first reason that was found."""
        return (self.making.error if self.making is not None else None) or self._refused

    def fail(self, error: MacvfastError) -> None:
        """Give the attempt up. It is not continued, but steps that are already running are not stopped."""
        self._refused = self._refused or error

    def explain(self, error: MacvfastError) -> None:
        """Replace its error by one that says more."""
        if self.making is not None:
            self.making.error = None
        self._refused = error

    @property
    def made(self) -> Making:
        """What was created; it has no error."""
        assert self.making is not None  # noqa: S101 - what has no error is made
        return self.making

    def let_go(self) -> None:
        """Close what is open for a command that will not be started."""
        # Two threads may do this: the one that asked for it and was interrupted, and the one that created it.
        lock = self.take_lock()
        namespace, self.namespace = self.namespace, None
        if lock is not None:
            os.close(lock)
        if namespace is not None:
            namespace.close()

    def take_lock(self) -> int | None:
        """The lock, which belongs to the caller from now on."""
        lock, self.lock = self.lock, None
        return lock

    @property
    def starts(self) -> bool:
        """Whether the caller is about to start a command in it, and it has no error."""
        return isinstance(self.request.sandbox, NewSandbox) and self.request.sandbox.starts and self.error is None

    def reset(self) -> None:
        """Forget its outcome, before it is tried again."""
        self.let_go()
        self.making, self._refused = None, None


@dataclass(slots=True)
class Opened:
    """An attempt whose namespace is open.

    Attributes:
        sysctls: the settings of new links in the namespace, if it was created for this.
    """

    attempt: Attempt
    namespace: Namespace
    sysctls: Sysctls = ()
