"""Sandboxes with their endpoints, as they are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from macvfast.model.addresses import mac_text
from macvfast.model.networks import HasAddresses

if TYPE_CHECKING:
    from datetime import datetime

    from macvfast.model.addresses import Route
    from macvfast.model.attachments import Attachment


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(HasAddresses):
    """A sandbox's link on a network, as it is recorded.

    `position` counts the sandbox's endpoints in the order of connection. `mtu` is its own; None: the network's.
    `routes` are its own, beside those to its subnets; a default route among them is in the place of the network's.
    Of several endpoints that could hold the default route of a family, the one with the highest `gw_priority` does, and
    of those the one that was connected first; None: it never does. `origin` is as of Network. `parent_inside`
    is the index of its parent in the sandbox's own namespace, where the network has it there; else None.
    """

    network_id: str
    network: str
    sandbox_id: str
    sandbox: str
    position: int
    ifname: str
    ifindex: int
    group: int
    mac: bytes
    mtu: int | None = None
    routes: tuple[Route, ...] = ()
    origin: str | None = None
    gw_priority: int | None = 0
    parent_inside: int | None = None

    @property
    def id(self) -> str:
        """64 hex digits that are this endpoint's alone."""
        # Slow to load, and asked for by `inspect` only.
        from hashlib import sha256  # noqa: PLC0415

        return sha256(f"{self.network_id}/{self.sandbox_id}/{self.position}".encode()).hexdigest()

    @property
    def mac_address(self) -> str:
        """Its MAC as text, such as `02:42:ac:10:56:0a`."""
        return mac_text(self.mac)


class SandboxState(Enum):
    """What a sandbox's command does. Namespace, links and addresses stay in every state."""

    IDLE = "idle"
    RUNNING = "running"
    EXITED = "exited"
    RESTARTING = "restarting"
    LOST = "lost"

    @property
    def active(self) -> bool:
        """Whether its command runs, or has ended and is about to be run again."""
        return self in (SandboxState.RUNNING, SandboxState.RESTARTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A network namespace with a name, as it is recorded.

    `made` is False where something else made the namespace (`--netns`, `--pid`); `path` then is what was given.
    `inode` is its number under nsfs: used again by another when it is gone, so it only says where to look.
    `auto_remove` says that the sandbox goes with its command (`--rm`).
    `exit_code` is set when exited: the command's own, or 128 and the signal that ended it. `origin` is as of Network.
    `attachment` is what an engine knows its one endpoint by.
    """

    id: str
    name: str
    path: str
    made: bool
    cookie: int
    boot_id: str
    created_at: datetime
    inode: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    auto_remove: bool = False
    state: SandboxState = SandboxState.IDLE
    exit_code: int | None = None
    endpoints: tuple[Endpoint, ...] = ()
    origin: str | None = None
    attachment: Attachment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxDetails:
    """A sandbox with what its own command was given, and what is known of it now.

    Attributes:
        hostname: of its commands; empty: this host's.
        pid: of the first process of its command, while that runs.
        restarts: how often the command was run again by its restart policy since it was started.
        restart: that policy: `no`, `on-failure`, `on-failure:N`, `always` or `unless-stopped`.
        variables: the names of the variables that it was given.
        tty, interactive, user, workdir, rootfs: as CommandRequest has them.
    """

    sandbox: Sandbox
    hostname: str = ""
    pid: int | None = None
    restarts: int = 0
    restart: str = "no"
    variables: tuple[str, ...] = ()
    tty: bool = False
    interactive: bool = False
    user: str | None = None
    workdir: str | None = None
    rootfs: str | None = None
