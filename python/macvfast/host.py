"""One host: its networks, sandboxes and endpoints, as callers in Python see them.

`Host` checks and converts arguments, calls the part that does the work, and returns or raises the result. The engine,
which makes all changes, is loaded when it is first used: a listing needs only the state.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Self

import macvfast
from macvfast.checks import plain, several
from macvfast.engine.parts import Parts, remove_ended
from macvfast.state import home, lookup
from macvfast.state.store import DEFAULT_NETNS_DIR, Store
from macvfast.system import configured, limits, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from macvfast.checks import Pairs, Several
    from macvfast.errors import MacvfastError
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import Address, Cidr, Endpoint, Network, Sandbox
    from macvfast.outcomes import Adoption, Difference, Freed, Note, Outcomes, Plan, Replacement, Scaled, SubnetUsage
    from macvfast.requests import (
        CommandRequest,
        EndpointRequest,
        NetworkRequest,
        OpenNetns,
        OwnFiles,
        SandboxRequest,
        UpdateRequest,
    )


class Host:
    """The networks and sandboxes of one state directory. A context manager; safe from several threads.

    The network namespace in which the kernel is first needed is the home namespace: its links are the parents. Networks
    and sandboxes are named by id, name or unambiguous id prefix, in that order, or given as values.

    Attributes:
        on_note: called, on the thread that does the work, with what a person should know of something that succeeded,
            such as a link of macvfast's own that had to stay. Does nothing until it is set.

    Raises (all methods):
        StateUnusable, StateBusy, StateCorrupt, StateNewer: the state directory cannot be used.
        HostClosed, HostForked: it was closed, or opened by the process that this one was forked from.
        HomeNamespaceOther, StateForeign: the state belongs to another namespace, or another machine (changes only).
    """

    def __init__(self, store: Store, kernel: Kernel | None = None, netns_dir: str | None = None) -> None:
        self._store = store
        pins = netns_dir or configured.directory("netns_dir", DEFAULT_NETNS_DIR)
        self._parts = Parts(store, kernel, pins, lambda note: self.on_note(note))  # noqa: PLW0108 - it may be replaced
        self.on_note: Callable[[Note], None] = lambda _: None

    @classmethod
    def open(cls, state_dir: str | None = None, *, make: bool = True, origin: str | None = None) -> Host:
        """Open the state directory; None: MACVFAST_STATE_DIR, else /var/lib/macvfast. `make`: make it where it is
        missing; otherwise it can only be read. With MACVFAST_LOG, `text` or `json`, requests to the kernel are logged.
        `origin`, "cni", "podman" or "docker", is the engine for which it is opened: what is made carries it, and what
        carries it may be changed and removed. All else that an engine made is refused with MadeByEngine.
        """
        if form := os.environ.get("MACVFAST_LOG"):
            cls.log(form)
        return cls(Store(state_dir, make=make, origin=origin))

    @staticmethod
    def log(form: str = "text") -> None:
        """Log requests to the kernel on standard error, from now on, as `text` or `json`; else OptionInvalid."""
        log.start(form)

    @staticmethod
    def use_all_descriptors() -> None:
        """Raise the soft limit of open files (RLIMIT_NOFILE) to the hard one; commands start with the old one."""
        limits.raise_soft_limit()

    def close(self) -> None:
        """Close the state and the sockets; again, or in a forked child, do nothing."""
        self._parts.close()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # Networks.

    def create_network(
        self, name: str | NetworkRequest, *, driver: str = "macvlan", subnets: Several[str | Cidr] = (),
        ip_ranges: Several[str | Cidr] = (), gateways: Several[str | Address] | None = (),
        aux: Pairs[str | Address] = (), parent: str | None = None, mode: str | None = None, flag: str | None = None,
        mtu: int | None = None, share_parent: bool = False, order: str = "lowest", ipv6: bool | None = None,
        ipv6_ra: bool | None = None, internal: bool = False, labels: Pairs[str] = (),
    ) -> Network:  # fmt: skip
        """Create a network and, if needed, its parent.

        Args:
            name: the name, or a whole NetworkRequest, which also explains the other arguments.
            gateways: (): each subnet reserves one where Docker would; None: no subnet has one.

        Raises:
            InvalidConfig: the request is invalid; subclasses say why. NetworkExists, ParentNotFound, ParentTaken,
                ParentUnusable, SubnetTaken
            KernelFeatureMissing, KernelRefused, PermissionNeeded: the parent could not be created.
        """
        request = name
        if not isinstance(request, macvfast.NetworkRequest):
            request = macvfast.NetworkRequest(
                name=request, driver=driver, subnets=subnets, ip_ranges=ip_ranges,  # type: ignore[arg-type]
                gateways=() if gateways is None else gateways,  # type: ignore[arg-type]
                gateway_automatic=gateways is not None, aux=aux, labels=labels,  # type: ignore[arg-type]
                parent=parent, mode=mode, flag=flag, mtu=mtu, share_parent=share_parent, order=order, ipv6=ipv6,
                ipv6_ra=ipv6_ra, internal=internal,
            )  # fmt: skip
        return self.create_networks([request])[0].result()

    def create_networks(self, requests: Several[NetworkRequest]) -> Outcomes[Network]:
        """Create networks. One outcome per request, in order. A refused one leaves nothing and stops no other."""
        return self._parts.engine.create_networks(several("requests", requests, macvfast.NetworkRequest))

    def ensure_network(self, request: NetworkRequest) -> Network:
        """Create a network if it is missing; change it if it differs only in what `update_network` may change. Waits up
        to ten seconds for another process that creates or removes it.

        Raises:
            NetworkDiffers: it exists and differs in what cannot be changed; nothing is changed.
            AddressTaken: an endpoint has a requested aux address.
            SandboxBusy: it is still being created or removed. Also as `create_network`.
        """
        plain("request", request, macvfast.NetworkRequest)
        return self._parts.engine.ensure_network(request)

    def update_network(
        self, network: str | Network, request: UpdateRequest | None = None, *,
        ip_ranges: Several[str | Cidr] | None = None, aux: Pairs[str | Address | None] = (),
        labels: Pairs[str | None] = (), order: str | None = None, share_parent: bool | None = None,
    ) -> Network:  # fmt: skip
        """Change a network without touching its endpoints, and return it as it is then. What is left out stays.
        Addresses in use outside a new ip-range stay, too, and so does a gateway that was chosen automatically.

        Args:
            request: all changes as a value, in place of the other arguments.
            ip_ranges: they replace all of the subnets that contain them; (): no subnet has any.
            aux: addresses by name; None removes one.
            labels: values by key; None removes one.
            order: of automatic allocation, "lowest" or "next".
            share_parent: whether other networks with this option may use the parent.

        Raises:
            NetworkNotFound, NameAmbiguous, SandboxBusy, RangeInvalid, AuxAddressInvalid, OptionInvalid
            AddressTaken: an endpoint has a requested aux address.
            ParentTaken: another network is on the parent, so `share_parent` cannot become false.
        """
        request = request or macvfast.UpdateRequest(
            ip_ranges=ip_ranges, aux=aux, labels=labels,  # type: ignore[arg-type]
            order=order, share_parent=share_parent,
        )  # fmt: skip
        plain("request", request, macvfast.UpdateRequest)
        return self._parts.engine.update_network(_key(network), request)

    def networks(self) -> Iterator[Network]:
        """All networks, sorted by name (numbers by value). Some hundred are read at a time. Changes in the meantime are
        allowed; networks created after the start are left out.
        """
        return lookup.each_network(self._store)

    def network(self, key: str) -> Network:
        """The network of that id, name or id prefix. Raises NetworkNotFound, NameAmbiguous or SandboxBusy."""
        return lookup.network(self._store, key)

    def endpoints(self, network: str | Network) -> list[Endpoint]:
        """The endpoints of a network, by sandbox name. Raises as `network`."""
        return lookup.endpoints_of(self._store, network)

    def usage(self, network: str | Network) -> list[SubnetUsage]:
        """How full the subnets of a network are, in their order. Raises as `network`."""
        return self._parts.usage(network)

    def remove_networks(self, names: Several[str]) -> Outcomes[str]:
        """Remove networks without endpoints, and parents that macvfast created and that nothing else uses. Outcomes:
        the name, or NetworkNotFound, NameAmbiguous, NetworkInUse, RemovalUnfinished.
        """
        return self._parts.engine.remove_networks(several("names", names, str))

    def prune_networks(self, fits: Callable[[Network], bool] = lambda _: True) -> Outcomes[str]:
        """Remove all networks without endpoints that fit; networks of engines are skipped."""
        return self.remove_networks(lookup.prunable(self._store, fits))

    # Sandboxes.

    def create_sandbox(
        self, name: str | None = None, *, endpoints: Several[EndpointRequest] = (), command: Several[str] = (),
        labels: Pairs[str] = (), own_files: OwnFiles | None = None,
    ) -> Sandbox:  # fmt: skip
        """Create a sandbox with all the endpoints, or nothing.

        Args:
            name: None: the first 12 characters of its id.
            endpoints: the first is `eth0` and has the default route.
            command: the command that `ps` shows; `run` starts one.
            own_files: its own files in /etc, which its commands and `ip netns exec` see.

        Raises:
            NameInvalid, SandboxExists, NamespaceNameTaken, NetworkNotFound, ParentNotFound, PassthruOccupied
            PoolExhausted, AddressTaken, AddressOutsideSubnet, MacTaken, KernelRefused, PermissionNeeded
        """
        request = _sandbox(name, endpoints, command, labels, own_files)
        return self._parts.engine.create_sandbox(request).made.with_these

    def connect(
        self, network: str | Network | EndpointRequest, sandbox: str | Sandbox = "", *,
        ip: str | Address | None = None, ip6: str | Address | None = None, mac: str | bytes | None = None,
        netns: str | OpenNetns | None = None, request_id: str | None = None,
    ) -> Endpoint:  # fmt: skip
        """Connect a sandbox to a network.

        Args:
            network: or a whole EndpointRequest, in place of `sandbox`, `ip`, `ip6` and `mac`.
            ip, ip6: the addresses; None: automatic.
            mac: None: derived from the address.
            netns: a namespace that macvfast did not create, by its path, or open. `sandbox` is then the name of a new
                sandbox that stands for it, or of one that already does.
            request_id: an id by which `made_for` finds the endpoint.

        Raises:
            NetworkNotFound, SandboxNotFound, AlreadyConnected, NamespaceInvalid, NamespaceChanged
            ArgumentInvalid: there is no sandbox, or something is given beside a whole request. As `create_sandbox`.
        """
        from macvfast.requests.endpoints import to_connect  # noqa: PLC0415 - a listing needs no requests

        request = to_connect(network, sandbox, ip=ip, ip6=ip6, mac=mac)
        if isinstance(netns, str):
            # It may be opened on another thread.
            netns = netns.replace("/proc/thread-self/", f"/proc/self/task/{threading.get_native_id()}/")
        return self._parts.engine.connect(request, netns, request_id)

    def made_for(self, request_id: str) -> Endpoint | None:
        """What `connect` created with that `request_id`; waits for who is still at it. It is not taken back then."""
        return lookup.made_for(self._store, request_id)

    def take_back(self, request_id: str) -> Endpoint | None:
        """What `made_for` would find, unless it ever did: for the caller to remove, and not found again."""
        return lookup.take_back(self._store, request_id)

    def connect_many(
        self, network: str | Network, sandboxes: Several[str | EndpointRequest], *, netns: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Outcomes[Endpoint]:  # fmt: skip
        """Connect many sandboxes to a network, and create those that do not exist. One outcome per item, in order. A
        refused one leaves nothing and stops no other.

        Args:
            sandboxes: names, or requests with addresses (their own `network` is not read).
            netns: one namespace that all of them stand for.
            progress: called with how many more have ended, including refused ones.
        """
        asked = several("sandboxes", sandboxes, str, macvfast.EndpointRequest)
        return self._parts.engine.connect_many(_key(network), asked, netns, progress)

    def scale(
        self, network: str | Network, prefix: str, count: int, *, force: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Scaled:  # fmt: skip
        """Create or remove sandboxes `prefix-0`, `prefix-1`, … until a network has exactly `count`: the lowest missing
        numbers are created, the highest removed. A sandbox with such a name that `scale` did not create stays and is
        refused.

        Args:
            force: also remove sandboxes that run a command or have a second network.
            progress: called with how many items are done, and of how many.

        Raises:
            NetworkNotFound, NameAmbiguous, NameInvalid, OptionInvalid
        """
        plain("prefix", prefix, str)
        plain("count", count, int)
        return self._parts.engine.scale(_key(network), prefix, count, force=force, progress=progress)

    def disconnect(self, network: str | Network, sandbox: str | Sandbox, *, ifname: str | None = None) -> None:
        """Disconnect a sandbox from a network. When this returns, its link no longer exists and its addresses are free.
        `ifname` names the link if the sandbox has several there.

        Raises:
            NetworkNotFound, SandboxNotFound, EndpointNotFound, EndpointAmbiguous, SandboxBusy, RemovalUnfinished
        """
        plain("ifname", ifname, str, NoneType)
        self._parts.engine.disconnect(_key(network), _key(sandbox), ifname).result()

    def disconnect_many(self, network: str | Network, sandboxes: Several[str]) -> Outcomes[str]:
        """Disconnect sandboxes from a network. One outcome per name."""
        return self._parts.engine.disconnect_many(_key(network), several("sandboxes", sandboxes, str))

    def sandboxes(self) -> Iterator[Sandbox]:
        """All sandboxes, with what their commands do; sorted and read as by `networks`."""
        return self._parts.states.each()

    def sandbox(self, key: str) -> Sandbox:
        """The sandbox of that id, name or id prefix. Raises SandboxNotFound, NameAmbiguous or SandboxBusy."""
        return self._parts.states.one(key)

    def remove_many(self, sandboxes: Several[str], *, force: bool = False) -> Outcomes[str]:
        """Remove sandboxes with all their endpoints. Returns when the kernel has released their links. Outcomes: the
        name, or SandboxNotFound, SandboxRunning, SandboxBusy, NamespaceHeld, RemovalUnfinished.

        Args:
            force: end running commands; count what no longer exists as removed.
        """
        return self._parts.engine.remove_sandboxes(several("sandboxes", sandboxes, str), force=force)

    @classmethod
    def remove_ended(cls, state_dir: str, shown: Callable[[MacvfastError], str]) -> None:
        """Remove sandboxes whose commands (`--rm`) have ended, until none is waiting. Called in a process that the
        keeper of one of them starts for all. `shown` gives the text of an error, which a keeper prints.
        """
        remove_ended(Path(state_dir), lambda: cls.open(state_dir)._parts, shown)  # noqa: SLF001 - its own

    # Record and kernel.

    def restore(self, *, dry_run: bool = False, wait_s: float | None = None) -> Plan:
        """Create what is recorded and missing, undo what is half-created, and remove sandboxes whose commands (`--rm`)
        no longer run. Nothing else is changed, and commands are not started again. A second call has nothing to do.

        Args:
            dry_run: only return what would be done.
            wait_s: how long to wait for parents that are missing, down, renamed, or have too small an MTU.
        """
        return self._parts.engine.plan() if dry_run else self._parts.engine.restore(wait_s)

    def check(self, sandbox: str | Sandbox | None = None) -> list[Difference]:
        """All differences between record and kernel; with a sandbox, only those that concern it. Changes nothing."""
        if sandbox is not None:
            return self._parts.engine.check(_key(sandbox))
        found = self.restore(dry_run=True)
        return [*(step.mends for step in found.steps), *found.remaining]

    def gc(self, *, origin: str | None = None) -> list[Freed]:
        """Remove sandboxes that stand for a given namespace which no longer exists, sandboxes whose command (`--rm`)
        has ended or was never started, and what dead processes left unfinished. `origin`: also everything that this
        engine, which was uninstalled, created.
        """
        return self._parts.gc(origin)

    def status(self) -> macvfast.Status:
        """How much is recorded, and what a server says about itself, if one runs."""
        return self._parts.status()

    def install_service(self, wait_s: int, root: str | None = None, *, now: bool = False) -> list[Path]:
        """Write and enable systemd units, and return all files. One unit restores this state at boot, before
        network-online.target, and waits at most `wait_s` for parents; the others are the server. `root`: the root
        directory of a system that is not running. `now`: start the server immediately, not only from the next boot on.

        Raises:
            ServiceTaken, ServiceUnsafe, ServiceUnwritable, PermissionNeeded, SystemdRefused
        """
        return self._parts.install_service(wait_s, root, now=now)

    @staticmethod
    def uninstall_service(root: str | None = None) -> list[Path]:
        """Disable and remove all of these files, and return them. Sandboxes stay. Raises as `install_service`."""
        from macvfast.engine import service  # noqa: PLC0415

        return service.uninstall(root)

    # Copies of the state.

    def backup_state(self, file: str) -> str:
        """Write a backup of the state, from one moment, to a file, while others may change the state. An older backup
        is replaced. Returns the absolute path. Raises BackupInvalid if something else is at that path.
        """
        from macvfast.state.backup import backup  # noqa: PLC0415

        return str(backup(self._store, file))

    def load_state(self, file: str, *, dry_run: bool = False) -> Replacement:
        """Replace the state by a backup; the old one is kept. Then `restore`, and before it `adopt_state` if `foreign`.

        Args:
            dry_run: only compare, and change nothing.

        Raises:
            BackupInvalid, StateNewer: it is not a backup, or is from a later version.
            StateBusy: another operation is running.
        """
        from macvfast.state.backup import compare, load  # noqa: PLC0415

        return (compare if dry_run else load)(self._store, file, self._parts.netns_dir, self._parts.here)

    def adopt_state(self) -> Adoption:
        """Take over the state of another machine: its disk, a clone, or a backup. Addresses and MACs stay; new MACs are
        derived with another key. A state of this machine stays as it is. Raises StateBusy.
        """
        return home.adopt(self._store, self._parts.here)

    # Commands.

    def run(
        self, request: CommandRequest, name: str | None = None, *, endpoints: Several[EndpointRequest] = (),
        labels: Pairs[str] = (), own_files: OwnFiles | None = None,
    ) -> Sandbox:  # fmt: skip
        """Create a sandbox and start a command in it, both or neither. Detached: returns when the command runs, whose
        output goes to the sandbox's log. Otherwise this process becomes its keeper, and ends with its exit status.

        Args:
            request: the command. With `auto_remove`, the sandbox is removed when it ends.
            name, endpoints, labels, own_files: as for `create_sandbox`.

        Raises:
            CommandNotFound, CommandNotStarted, RootfsInvalid, TerminalMissing, UserUnknown, UserNotTrusted
            UndoFailed: the sandbox still exists. Also as `create_sandbox`.
        """
        return self._parts.run(request, _sandbox(name, endpoints, request.argv, labels, own_files))

    def start(self, sandbox: str | Sandbox, request: CommandRequest) -> None:
        """Start a command in a sandbox, as `run`. Raises as that and `sandbox`; SandboxRunning, NamespaceChanged."""
        self._parts.commands.start(_key(sandbox), request, lambda: self._parts.kernel)

    def logs(self, sandbox: str | Sandbox, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """The output of a sandbox's detached commands, in pieces, which can be read after `close`. Raises as `sandbox`.

        Args:
            tail: only the last lines, that many; None: all that is kept.
            follow: continue with new output while a command runs in it.
        """
        return self._parts.commands.logs(_key(sandbox), tail, follow=follow)


def _sandbox(
    name: str | None, endpoints: Several[EndpointRequest], command: Several[str], labels: Pairs[str],
    own_files: OwnFiles | None,
) -> SandboxRequest:  # fmt: skip
    from macvfast.requests import SandboxRequest  # noqa: PLC0415 - a listing needs no requests

    return SandboxRequest(
        name=name, endpoints=endpoints, command=command, labels=labels, own_files=own_files,  # type: ignore[arg-type]
    )  # fmt: skip


def _key(thing: str | Network | Sandbox) -> str:
    """What names a network or sandbox: the text itself, or its id."""
    return thing if isinstance(thing, str) else thing.id
