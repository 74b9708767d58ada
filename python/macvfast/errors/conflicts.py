"""Something else has what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from macvfast.errors.base import MacvfastError, listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from dataclasses import KW_ONLY, InitVar

    from macvfast.errors.base import Template


class Conflict(MacvfastError, code="conflict"):
    """Something else has what was asked for."""

    _hint: ClassVar[Template] = "`ip link` and `macvfast network ls` show what is there"


# Names.


class NetworkExists(Conflict, code="network-exists"):
    network: str
    _text = "network `{network}` exists already"
    _cause = "network names are unique"
    _hint = "choose another name, or remove it first: `macvfast network rm {network}`"


class SandboxExists(Conflict, code="sandbox-exists"):
    sandbox: str
    _text = "sandbox `{sandbox}` exists already"
    _cause = "sandbox names are unique"
    _hint = "choose another name, or remove it first: `macvfast rm -f {sandbox}`"


class NotScaled(Conflict, code="sandbox-not-scaled"):
    """`scale` leaves a sandbox alone that it did not make, although the name is one of its own."""

    sandbox: str
    network: str
    _text = "sandbox `{sandbox}` is left as it is"
    _cause = "`scale` did not make it on network `{network}`"
    _hint = "choose another prefix, or remove it first: `macvfast rm -f {sandbox}`"


class SandboxOnOthers(Conflict, code="sandbox-on-others"):
    """`scale` does not remove a sandbox that is connected to other networks too."""

    sandbox: str
    network: str
    _text = "sandbox `{sandbox}` is left as it is"
    _cause = "it is connected to other networks than `{network}` too"
    _hint = "`scale --force` removes it nevertheless"


class NetworkDiffers(Conflict, code="network-differs"):
    """A network exists, and differs from what is asked for in what cannot be changed."""

    network: str
    differences: Sequence[str]
    _text = "network `{network}` differs from the request"
    _hint = "request what is recorded, choose another name, or remove it first: `macvfast network rm {network}`"

    def _get_causes(self) -> Sequence[str]:
        return self.differences


# The engines whose plugins make networks, sandboxes and endpoints.
ORIGINS = ("cni", "podman", "docker")

# What a command of an engine removes; {}: the name.
_ENGINES = {
    ("network", "podman"): "`podman network rm {}`, then `macvfast gc`",
    ("network", "docker"): "`docker network rm {}`",
    ("sandbox", "podman"): "`podman ps -a` shows the container, and `podman rm` removes it",
    ("sandbox", "docker"): "`docker ps -a` shows the container, and `docker rm` removes it",
    ("endpoint", "podman"): "`podman network disconnect`",
    ("endpoint", "docker"): "`docker network disconnect`",
}


class MadeByEngine(Conflict, code="made-by-engine"):
    """A network, sandbox or endpoint belongs to the engine that made it, and only that engine changes it."""

    kind: str
    name: str
    origin: str
    _text = "{kind} `{name}` belongs to {origin}"
    _cause = "{origin} made it, and changes and removes it itself"

    def _get_hints(self) -> Sequence[str]:
        known = _ENGINES.get((self.kind, self.origin), "the container runtime removes it, by the CNI command DEL")
        gone = f"if {self.origin} is gone for good: `macvfast gc --origin {self.origin}` removes all that it made"
        # In the record, the engine is part of the name.
        return [known.format(self.name.removeprefix(f"{self.origin}-")), gone]


class EndpointOfEngine(Conflict, code="endpoint-of-engine"):
    """A sandbox to which an engine connected a network is not removed without being asked twice."""

    sandbox: str
    origin: str
    _text = "sandbox `{sandbox}` has an endpoint that belongs to {origin}"
    _cause = "{origin} would still count on it"
    _hint = "disconnect it with {origin}, or remove both: `macvfast rm -f {sandbox}`"


# Namespaces and where they are pinned.


class NamespaceNameTaken(Conflict, code="namespace-name-taken"):
    sandbox: str
    path: str
    _text = "sandbox `{sandbox}` cannot be pinned"
    _cause = "`{path}` exists already, and macvfast did not make it"
    _hint = "choose another name"


class PinsLocked(Conflict, code="pins-locked"):
    """A process holds the lock of the directory of the pins, which is needed once to make it a shared mount."""

    operation: str
    holders: Sequence[str]
    _text = "could not {operation}"
    _cause = "its lock is held by {holders:plain}", "its lock is held by a process that is not seen here"

    def _get_hints(self) -> Sequence[str]:
        pids = [words[1] for holder in self.holders if len(words := holder.split()) > 1]
        return [f"end that: `kill {' '.join(pids)}`" if pids else "`lslocks` on the host shows who holds it"]


class PinsUnsafe(Conflict, code="pins-unsafe"):
    """Other users could replace a new pin by something of theirs."""

    operation: str
    reason: str
    _text = "could not {operation}"
    _hint = "name a directory that only root can write to with MACVFAST_NETNS_DIR (default: /run/netns)"


class NamespaceChanged(Conflict, code="namespace-changed"):
    """The namespace at a sandbox's path is not the recorded one."""

    sandbox: str
    path: str
    reason: str
    _: KW_ONLY
    restorable: bool = False
    _text = "sandbox `{sandbox}` is not at `{path}`"
    _hint = "`macvfast rm -f {sandbox}` removes it; then create it again"

    def _get_hints(self) -> Sequence[str]:
        return ["`macvfast restore` brings it back"] if self.restorable else super()._get_hints()


# Parents, subnets and addresses.


class ParentTaken(Conflict, code="parent-taken"):
    """Another network, or a link that macvfast did not make, uses the parent."""

    network: str
    parent: str
    reason: str
    hints: InitVar[Sequence[str]] = ()
    _text = "network `{network}` cannot use parent `{parent}`"
    _hint = "give another link with -o parent=NAME: `macvfast network ls` shows which are taken"


class SubnetTaken(Conflict, code="subnet-taken"):
    subnet: str
    other: str
    network: str
    _text = "subnet `{subnet}` is taken"
    _cause = "it overlaps `{other}` of network `{network}` on the same LAN"
    _hint = "give another --subnet, or remove `{network}` first: `macvfast network rm {network}`"


class PoolTaken(Conflict, code="pool-taken"):
    """Docker has requested a pool of a subnet that overlaps it, in the same layer-2 domain."""

    subnet: str
    other: str
    domain: str
    _text = "subnet `{subnet}` is taken"
    _cause = "Docker has the pool `{other}` in the domain `{domain}` already"
    _hint = (
        "`docker network ls` shows its networks; `--ipam-opt domain=NAME` is another domain; what Docker no longer"
        " knows, `macvfast gc` frees"
    )


class AddressTaken(Conflict, code="address-taken"):
    address: str
    holder: str | None = None
    hints: InitVar[Sequence[str]] = ()
    _text = "address {address} is taken"
    _cause = "it is {holder}", "it is in use"
    _hint = "give another address, or leave it out for the next free one"


class PoolExhausted(MacvfastError, code="pool-exhausted"):
    """No address is free for automatic allocation.

    `ranges` are the ip-ranges, if every subnet has some. `free_outside`: the subnets have free addresses outside them.
    `all_kept`: none was ever to be given, because the ip-ranges have nothing but the gateway, aux addresses and the
    ends of the subnet.
    """

    subnets: Sequence[str]
    network: str | None = None
    family: str = ""
    _: KW_ONLY
    ranges: Sequence[str] = ()
    free_outside: bool = False
    all_kept: bool = False

    def _get_text(self) -> str:
        whose = f"network `{self.network}`" if self.network else "the pool"
        return f"no free {self.family + ' ' if self.family else ''}address in {whose}"

    def _get_causes(self) -> Sequence[str]:
        taken = "kept: for the gateway, an aux address or the subnet itself" if self.all_kept else "in use"
        where = f"ip-range {listed(self.ranges)}" if self.ranges else listed(self.subnets)
        return [f"every address of {where} for automatic allocation is {taken}"]

    def _get_hints(self) -> Sequence[str]:
        hints = ["release an address, or take a larger subnet"]
        if self.network:
            hints = [f"remove a sandbox that is not needed: `macvfast ps -a -f network={self.network}` lists them"]
        if self.all_kept:
            hints = ["make the network again with a larger subnet or --ip-range, another --gateway, or --gateway=none"]
        if self.all_kept and self.network:
            hints.append(f"`macvfast ipam show {self.network}` shows what each address is kept for")
        if self.free_outside:
            hints.append(f"give an address outside the ip-range with --ip{'6' if self.family == 'IPv6' else ''}")
        return hints


class MacTaken(Conflict, code="mac-taken"):
    mac: str
    holder: str
    _text = "MAC {mac} is taken"
    _cause = "{holder} has it"
    _hint = "give another --mac-address, or leave it out for one that is free"


class ServiceTaken(Conflict, code="service-taken"):
    path: str
    _text = "the service cannot be installed or uninstalled"
    _cause = "`{path}` exists, and macvfast did not write it"
    _hint = "rm {path}"


class PluginTaken(Conflict, code="plugin-taken"):
    path: str
    _text = "the plugin cannot be installed or uninstalled"
    _cause = "`{path}` is another program"
    _hint = "--cni=DIR names another directory, which the runtime is to search first"


# What is in use.


class NetworkInUse(Conflict, code="network-in-use"):
    """A network with endpoints is not removed."""

    network: str
    sandboxes: Sequence[str]
    origins: Sequence[str] = ()
    _text = "network `{network}` has endpoints"
    _cause = (
        "connected: {sandboxes}\nendpoints of {origins:plain} are among them, which {origins:plain} must disconnect",
        "connected: {sandboxes}",
    )

    def _get_hints(self) -> Sequence[str]:
        if self.origins or not self.sandboxes:
            return [f"`macvfast network inspect {self.network}` shows them"]
        first = self.sandboxes[0]
        return [f"`macvfast network disconnect {self.network} {first}`, or `macvfast rm -f {first}`"]


class PassthruOccupied(Conflict, code="passthru-occupied"):
    network: str
    sandbox: str
    _text = "passthru network `{network}` takes one endpoint only"
    _cause = "sandbox `{sandbox}` is connected"
    _hint = "`macvfast network disconnect {network} {sandbox}`"


class AlreadyConnected(Conflict, code="already-connected"):
    """The sandbox has an endpoint on that network already, or on one with an overlapping subnet."""

    sandbox: str
    network: str
    reason: str | None = None
    _text = "sandbox `{sandbox}` cannot be connected to network `{network}`"
    _cause = "{reason}", "it is connected already"
    _hint = "`macvfast network disconnect {network} {sandbox}` disconnects it first"

    def _get_hints(self) -> Sequence[str]:
        own = f"`macvfast create --net={self.network}` makes another sandbox for it"
        return [own] if self.reason else super()._get_hints()


class SandboxRunning(Conflict, code="sandbox-running"):
    """A sandbox runs one command at a time, and with a running command it is removed only by force."""

    sandbox: str
    _text = "sandbox `{sandbox}` runs a command"
    _cause = "its command is still running"
    _hint = "`macvfast stop {sandbox}` ends it, and `macvfast rm -f {sandbox}` removes the sandbox, too"


class SandboxRestarting(Conflict, code="sandbox-restarting"):
    """A command was to join another one, which has ended and waits before it is run again."""

    sandbox: str
    _text = "sandbox `{sandbox}` is restarting"
    _cause = "its command has ended, and --restart runs it again after a pause"
    _hint = "run this again when `macvfast ps` shows it running; `macvfast logs {sandbox}` may say why it ends"


class SandboxBusy(Conflict, code="being-changed"):
    """Another macvfast process is making or removing the sandbox or network, or died while doing so."""

    kind: str
    name: str
    doing: str
    by: str | None = None
    _text = "{kind} `{name}` is being {doing}"
    _cause = "{by}", "another macvfast process began it"
    _hint = "wait until that is done, then run the command again"


class ServerBusy(Conflict, code="server-busy"):
    waiting: int
    _text = "the server has too much to do"
    _cause = "{waiting} connections are open"
    _hint = "ask again when some of them have ended, or do without a server"


class ServerRunning(Conflict, code="server-running"):
    path: str
    pid: str
    _text = "a server is running already"
    _cause = "process {pid} serves in `{path}`"
    _hint = "leave it, or end it: `kill {pid}`"
