"""What was named does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors.base import MacvfastError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from dataclasses import InitVar


class NotFound(MacvfastError, code="not-found"):
    """What was named does not exist."""


class NetworkNotFound(NotFound, code="network-not-found"):
    network: str
    _text = "network `{network}` not found"
    _cause = "no network has that name, or an id that begins so"
    _hint = "`macvfast network ls` lists them"


class SandboxNotFound(NotFound, code="sandbox-not-found"):
    sandbox: str
    _text = "sandbox `{sandbox}` not found"
    _cause = "no sandbox has that name, or an id that begins so"
    _hint = "`macvfast ps -a` lists them"


class PoolUnknown(NotFound, code="pool-unknown"):
    """Docker speaks of a pool that it has not requested, or that was freed."""

    pool: str
    _text = "there is no pool {pool}"
    _cause = "Docker has not requested it, or it was freed since"
    _hint = "remove the network with `docker network rm`, and create it again"


class NothingToStart(NotFound, code="nothing-to-start"):
    """`start` runs a sandbox's own command again, which only `run` gives it."""

    sandbox: str
    _text = "sandbox `{sandbox}` has no command to start"
    _cause = "`macvfast run` gives a sandbox its own command; with --rm, it runs once"
    _hint = "`macvfast exec {sandbox} COMMAND` runs one in it"


class EndpointNotFound(NotFound, code="endpoint-not-found"):
    network: str
    sandbox: str
    ifname: str | None = None
    _text = "sandbox `{sandbox}` is not connected to network `{network}`"
    _cause = "it has no link `{ifname}` there", "it has no endpoint there"
    _hint = "`macvfast network connect {network} {sandbox}` connects it"


class EndpointAmbiguous(NotFound, code="endpoint-ambiguous"):
    """A sandbox is on one network by several links, and none of them was named."""

    network: str
    sandbox: str
    ifnames: Sequence[str]
    _text = "sandbox `{sandbox}` is connected to network `{network}` more than once"
    _cause = "its links there: {ifnames}"
    _hint = (
        "in Python, `Host.disconnect` takes the `ifname` of the one that is meant\n"
        "`macvfast rm {sandbox}` removes the sandbox with all of them"
    )


class ParentNotFound(NotFound, code="parent-not-found"):
    """The parent link does not exist, and its name is not one for which macvfast makes a sub-interface."""

    parent: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "parent `{parent}` not found"
    _hint = "`ip link` lists the links"


class NameAmbiguous(NotFound, code="name-ambiguous"):
    """An id prefix fits several networks or sandboxes."""

    kind: str
    prefix: str
    matches: Sequence[str]
    _cause = "ids that begin so: {matches}"
    _hint = "give more of the id, or the name"

    def _get_text(self) -> str:
        return f"`{self.prefix}` fits several {'sandboxes' if self.kind == 'sandbox' else f'{self.kind}s'}"


class CommandNotFound(NotFound, code="command-not-found", exit_status=127):
    """The command is not on this host (or in `--rootfs`)."""

    command: str
    hints: InitVar[Sequence[str]] = ()
    _text = "command `{command}` not found"

    def _get_causes(self) -> Sequence[str]:
        return ["there is no such file" if "/" in self.command else "no directory of PATH has it"]

    def _get_hints(self) -> Sequence[str]:
        path = "give the path of a command that exists, or its name"
        return self.hints or [path if "/" in self.command else "install it, or give its whole path"]


class CommandNotStarted(NotFound, code="command-not-started", exit_status=126):
    command: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "command `{command}` cannot be started"
    _hint = "it must be an executable program, or a script whose first line names one: `#!/bin/sh`"
