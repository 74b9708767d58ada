"""One host: its networks, sandboxes and endpoints, as callers in Python see them.

`Host` checks and converts what is given, calls what does it, and gives or raises what came of it. What changes
something is the `Engine`'s, loaded with all that it needs when it is first used: a listing needs only the state.
"""

from __future__ import annotations

import os
import threading
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

import macvfast
from macvfast.checks import named, plain, several, texts
from macvfast.errors import MacvfastError
from macvfast.model import Address, Cidr, Endpoint, Network, Sandbox, check_name
from macvfast.process.locks import Locks
from macvfast.state import home, lookup
from macvfast.state.store import DEFAULT_NETNS_DIR, Store
from macvfast.system import limits, log, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from macvfast.checks import Pairs, Several
    from macvfast.engine.commands import Commands
    from macvfast.engine.engine import Engine
    from macvfast.engine.states import States
    from macvfast.kernel.netlink import NetlinkKernel
    from macvfast.kernel.protocol import Kernel
    from macvfast.outcomes import Adoption, Difference, Freed, Note, Outcomes, Plan, Replacement, Scaled, SubnetUsage
    from macvfast.requests import CommandRequest, EndpointRequest, NetworkRequest, OwnFiles


class Host:
    """The networks and sandboxes of one state directory. A context manager; safe from several threads.

    The network namespace in which the kernel is first needed is the home namespace: its links are the parents.

    `on_note` is called, on the thread that is at it, with what a person should know of something that succeeded: a
    link of macvfast's own that had to stay, a parent that is not what its name says, files that `ip netns exec` does
    not find. It does nothing until it is set.

    Raises (all methods):
        StateUnusable, StateBusy, StateCorrupt, StateNewer: the state directory cannot be used.
        HostClosed, HostForked: it was closed, or opened by the process that this one was forked from.
        HomeNamespaceOther, StateForeign: the state belongs to another namespace, or another machine (what changes
            something only).
    """

    def __init__(self, store: Store, kernel: Kernel | None = None, netns_dir: str | None = None) -> None:
        self._store = store
        self._given_kernel = kernel
        self._own_kernel: NetlinkKernel | None = None
        self._built: Engine | None = None
        self._lock = threading.RLock()
        self._locks = Locks()
        self._netns_dir = netns_dir or os.environ.get("MACVFAST_NETNS_DIR") or DEFAULT_NETNS_DIR
        self.on_note: Callable[[Note], None] = lambda _: None

    @classmethod
    def open(cls, state_dir: str | None = None, *, make: bool = True) -> Host:
        """Open the state; None: MACVFAST_STATE_DIR, else /var/lib/macvfast.

        Args:
            state_dir: its directory.
            make: make it where it is missing; otherwise nothing is recorded there, and only a look at it is allowed.

        With MACVFAST_LOG, `text` or `json`, what is asked of the kernel is told on standard error.
        """
        if form := os.environ.get("MACVFAST_LOG"):
            cls.tell(form)
        return cls(Store(state_dir, make=make))

    @staticmethod
    def tell(form: str = "text") -> None:
        """Tell on standard error, from now on, what is asked of the kernel: `text`, or `json`.

        Raises:
            OptionInvalid
        """
        log.start(form)

    @staticmethod
    def use_all_descriptors() -> None:
        """Let this process have as many files open as it may (RLIMIT_NOFILE); its commands have what it had."""
        limits.raise_soft_limit()

    def close(self) -> None:
        """Close the state and the socket. Closing twice is closing once; in a forked child it does nothing."""
        if self._store.forked:
            return
        # First, since it waits for what goes on in other threads.
        self._store.close()
        self._locks.close()
        with self._lock:
            if self._own_kernel is not None:
                self._own_kernel.close()
                self._own_kernel = None

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    # The parts, each loaded and built when it is first used.

    @property
    def _kernel(self) -> Kernel:
        self._store.check_open()
        if self._given_kernel is not None:
            return self._given_kernel
        with self._lock:
            # Closed in this very moment, it opens nothing.
            self._store.check_open()
            if self._own_kernel is None:
                self._own_kernel = self._open_kernel(changes=True)
            return self._own_kernel

    @staticmethod
    def _open_kernel(*, changes: bool) -> NetlinkKernel:
        from macvfast.kernel.netlink import NetlinkKernel  # noqa: PLC0415

        return NetlinkKernel(changes=changes)

    @property
    def _engine(self) -> Engine:
        self._store.check_open()
        with self._lock:
            if self._built is None:
                from macvfast.engine.engine import Engine  # noqa: PLC0415

                self._built = Engine(self._store, self._kernel, self._netns_dir, self._locks, self._note)
            return self._built

    def _note(self, note: Note) -> None:
        self.on_note(note)

    @property
    def _commands(self) -> Commands:
        from macvfast.engine.commands import Commands  # noqa: PLC0415

        return Commands(self._store, self._states, self._locks, self._netns_dir, self._note)

    @property
    def _states(self) -> States:
        from macvfast.engine.states import States  # noqa: PLC0415

        return States(self._store)

    # Networks.

    def create_network(
        self,
        name: str | NetworkRequest,
        *,
        driver: str = "macvlan",
        subnets: Several[str | Cidr] = (),
        ip_ranges: Several[str | Cidr] = (),
        gateways: Several[str | Address] | None = (),
        aux: Pairs[str | Address] = (),
        parent: str | None = None,
        mode: str | None = None,
        flag: str | None = None,
        mtu: int | None = None,
        share_parent: bool = False,
        order: str = "lowest",
        ipv6: bool | None = None,
        ipv6_ra: bool | None = None,
        internal: bool = False,
        labels: Pairs[str] = (),
    ) -> Network:
        """Make a network, and its parent where that is a sub-interface or dummy link of its own.

        Args:
            name: its name, or the whole request as a value.
            driver, subnets, ip_ranges, aux, parent, mode, flag, mtu, share_parent, order, ipv6, ipv6_ra, internal,
                labels: see
                NetworkRequest.
            gateways: (): each subnet reserves one by itself where Docker's does; None: none does.

        Raises:
            InvalidConfig: what was asked for cannot be; its subclasses say what of it.
            NetworkExists, ParentNotFound, ParentTaken, ParentUnusable, SubnetTaken
            KernelFeatureMissing, KernelRefused, PermissionNeeded: the parent could not be made.
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
        (outcome,) = self.create_networks([request])
        if outcome.error is not None:
            raise outcome.error
        assert outcome.value is not None  # noqa: S101 - what was not refused is there
        return outcome.value

    def create_networks(self, requests: Several[NetworkRequest]) -> Outcomes[Network]:
        """Make many networks, as `create_network` each: all VLANs of a parent in one call.

        Returns:
            One outcome per request, in the order asked; a refused one takes no other with it and leaves nothing.
        """
        return self._engine.create_networks(several("requests", requests, macvfast.NetworkRequest))

    def networks(self) -> Iterator[Network]:
        """All networks, by name, as people count. They may be changed while they are gone through: some hundred are
        read at a time, without what was made since.
        """
        return lookup.each_network(self._store)

    def network(self, key: str) -> Network:
        """The network of that id, name, or unambiguous id prefix, in that order.

        Raises:
            NetworkNotFound, NameAmbiguous, SandboxBusy
        """
        with self._store.reading() as records:
            return lookup.one_network(records, self._store, key)

    def endpoints(self, network: str | Network) -> list[Endpoint]:
        """The endpoints of a network, itself or its id, name or id prefix, by sandbox name. Raises as `network`."""
        with self._store.reading() as records:
            found = lookup.one_network(records, self._store, network) if isinstance(network, str) else network
            return records.endpoints_on(found.id, shown=True)

    def usage(self, network: str | Network) -> list[SubnetUsage]:
        """How full the subnets of a network, itself or its id, name or id prefix, are, in the order they were given.
        Raises as `network`.
        """
        from macvfast.engine.fullness import usage  # noqa: PLC0415

        found = self.network(network) if isinstance(network, str) else network
        # One that changes nothing needs no capability.
        with (
            nullcontext(self._given_kernel)
            if self._given_kernel
            else closing(self._open_kernel(changes=False)) as kernel
        ):
            return usage(self._store, kernel, found, self.endpoints(found))

    def remove_networks(self, names: Several[str]) -> Outcomes[str]:
        """Remove networks that have no endpoints, each with its parent where macvfast made that and nothing else
        stands on it; `on_note` is told of one that stays.

        Returns:
            Per name, the network's name, or NetworkNotFound, NameAmbiguous, NetworkInUse, RemovalUnfinished.
        """
        return self._engine.remove_networks(several("names", names, str))

    def prune_networks(self, fits: Callable[[Network], bool] = lambda _: True) -> Outcomes[str]:
        """Remove all networks that have no endpoints, or those of them that fit."""
        with self._store.reading() as records:
            unused = [network.name for network in records.unused_networks() if fits(network)]
        return self.remove_networks(unused)

    # Sandboxes.

    def create_sandbox(
        self,
        name: str | None = None,
        *,
        endpoints: Several[EndpointRequest] = (),
        command: Several[str] = (),
        labels: Pairs[str] = (),
        own_files: OwnFiles | None = None,
        auto_remove: bool = False,
    ) -> Sandbox:
        """Make a sandbox connected to the given networks, all of them or nothing.

        Args:
            name: None: the first 12 of its id.
            endpoints: the first is `eth0` and holds the default route.
            command: what is going to be started in it, for `ps`.
            labels: for people and filters.
            own_files: what is asked for of its own files in /etc, which its commands and `ip netns exec` see.
            auto_remove: it goes with the command that this process is about to start in it, or with this process.

        Raises:
            NameInvalid, SandboxExists, NamespaceNameTaken
            NetworkNotFound, PoolExhausted, AddressTaken, AddressOutsideSubnet, MacTaken, PassthruOccupied,
            ParentNotFound KernelRefused, PermissionNeeded
        """
        if name is not None:
            check_name("sandbox", name)
        return self._engine.create_sandbox(
            name, several("endpoints", endpoints, macvfast.EndpointRequest), command=texts("command", command),
            labels=named("labels", labels), own_files=own_files, auto_remove=auto_remove,
        )  # fmt: skip

    def connect(
        self,
        network: str | Network,
        sandbox: str | Sandbox,
        *,
        ip: str | Address | None = None,
        ip6: str | Address | None = None,
        mac: str | bytes | None = None,
        netns: str | None = None,
    ) -> Endpoint:
        """Connect a sandbox to a network.

        Args:
            network: itself, or its id, name or id prefix.
            sandbox: the same; with `netns`, the name of a new sandbox that stands for that namespace, or of one that
                does already.
            ip: the IPv4 address; None: automatic.
            ip6: the IPv6 address; None: automatic.
            mac: the MAC; None: made from the address.
            netns: the path of a namespace that something else made.

        Raises:
            NetworkNotFound, SandboxNotFound, AlreadyConnected, NamespaceInvalid, NamespaceChanged, and as
            create_sandbox.
        """
        request = macvfast.EndpointRequest.of(_key(network), _key(sandbox), ip=ip, ip6=ip6, mac=mac)
        if netns is not None:
            # Another thread may be the one that opens it.
            netns = netns.replace("/proc/thread-self/", f"/proc/self/task/{threading.get_native_id()}/")
        return self._engine.connect(request, netns)

    def connect_many(
        self, network: str | Network, sandboxes: Several[str | EndpointRequest], *, netns: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Outcomes[Endpoint]:  # fmt: skip
        """Connect many sandboxes to a network; those that do not exist are made.

        Args:
            network: itself, or its id, name or id prefix.
            sandboxes: names, or requests with addresses (their own `network` is not read).
            netns: one namespace that all of them stand for.
            progress: told, time and again, how many more have ended, refused ones among them.

        Returns:
            One outcome per item, in the order asked; a refused one takes no other with it and leaves nothing.
        """
        asked = several("sandboxes", sandboxes, str, macvfast.EndpointRequest)
        return self._engine.connect_many(_key(network), asked, netns, progress)

    def scale(
        self,
        network: str | Network,
        prefix: str,
        count: int,
        *,
        force: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Scaled:
        """Have exactly `count` sandboxes `prefix-0`, `prefix-1`, … on a network: the lowest missing numbers are made,
        the highest are removed.

        Args:
            network: itself, or its id, name or id prefix.
            prefix: of their names.
            count: 0 removes them all.
            force: remove also what runs a command or has a second network.
            progress: told, time and again, how many items are done, of how many.

        Returns:
            What was made and removed. A sandbox of such a name that `scale` did not make is left as it is, its number
            is not skipped, and it is among the refused.

        Raises:
            NetworkNotFound, NameAmbiguous, NameInvalid, OptionInvalid
        """
        plain("prefix", prefix, str)
        plain("count", count, int)
        return self._engine.scale(_key(network), prefix, count, force=force, progress=progress)

    def disconnect(self, network: str | Network, sandbox: str | Sandbox) -> None:
        """Take a sandbox off a network; its link and addresses are gone when this returns.

        Raises:
            NetworkNotFound, SandboxNotFound, EndpointNotFound, SandboxBusy, RemovalUnfinished
        """
        outcome = self._engine.disconnect(_key(network), _key(sandbox))
        if outcome.error is not None:
            raise outcome.error

    def disconnect_many(self, network: str | Network, sandboxes: Several[str]) -> Outcomes[str]:
        """Take sandboxes off a network; one outcome per name."""
        asked = several("sandboxes", sandboxes, str)
        return self._engine.disconnect_many(_key(network), asked)

    def sandboxes(self) -> Iterator[Sandbox]:
        """All sandboxes by name, as people count, with what their commands do. They may be changed while they are gone
        through: some hundred are read at a time, without what was made since.
        """
        return self._states.each()

    def sandbox(self, key: str) -> Sandbox:
        """The sandbox of that id, name, or unambiguous id prefix, in that order.

        Raises:
            SandboxNotFound, NameAmbiguous, SandboxBusy
        """
        return self._states.one(key)

    def remove_many(self, sandboxes: Several[str], *, force: bool = False) -> Outcomes[str]:
        """Remove sandboxes with all their endpoints; done when the kernel has let go of their links.

        Args:
            sandboxes: ids, names or id prefixes.
            force: end running commands; what is gone already counts as removed.

        Returns:
            Per item, the sandbox's name, or SandboxNotFound, SandboxRunning, SandboxBusy, NamespaceHeld,
            RemovalUnfinished.
        """
        return self._engine.remove_sandboxes(several("sandboxes", sandboxes, str), force=force)

    @classmethod
    def remove_ended(cls, state_dir: str, shown: Callable[[MacvfastError], str]) -> None:
        """Remove the sandboxes that were to go with commands which have ended, until none waits for that: called once
        for all, by the process that the program around one of the commands started.

        Args:
            state_dir: the state directory.
            shown: an error as the program around a command is to say it.
        """
        from macvfast.process import autoremove  # noqa: PLC0415

        def remove(ids: list[str], on_gone: Callable[[Iterable[str]], None]) -> dict[str, str]:
            try:
                with cls.open(state_dir) as host:
                    errors = host._engine.remove_ended(ids, on_gone)  # noqa: SLF001 - its own
            except MacvfastError as error:
                errors = dict.fromkeys(ids, error)
            return {id_: shown(error) for id_, error in errors.items()}

        autoremove.serve(autoremove.queues_in(Path(state_dir)), remove)

    # Record and kernel.

    def restore(self, *, dry_run: bool = False, wait_s: float | None = None) -> Plan:
        """Make again what is recorded and missing, undo what was half-made, remove what was to go with a command that
        does not run any more (`--rm`), and touch nothing else. A second time there is nothing to do. Commands that ran
        are not started again.

        Args:
            dry_run: only say what would be done.
            wait_s: for so long, wait for parents that are missing, down, renamed, or have too small an MTU, and go on
                as each changes; None: do not.
        """
        return self._engine.plan() if dry_run else self._engine.restore(wait_s)

    def check(self) -> list[Difference]:
        """All that differs between record and kernel. Changes nothing."""
        found = self.restore(dry_run=True)
        return [*(step.mends for step in found.steps), *found.remaining]

    def gc(self) -> list[Freed]:
        """Free what dead owners left: sandboxes that stand for a given namespace that is gone, sandboxes that were to
        go with a command (`--rm`) that has ended or was never started, and what processes that died left half-made.
        """
        return self._engine.gc()

    def install_service(self, wait_s: int, root: str | None = None) -> Path:
        """Write and enable a systemd unit that restores this state at boot, before the network is declared online.

        Args:
            wait_s: how long it waits for parents, at most.
            root: below which the files of a system lie that is not running; None: this system.

        Returns:
            The unit's file.

        Raises:
            SystemdMissing, ServiceTaken, ServiceUnsafe, ServiceUnwritable, PermissionNeeded
        """
        from macvfast.system import service  # noqa: PLC0415

        return service.install(self._store.directory, wait_s, root)

    @staticmethod
    def uninstall_service(root: str | None = None) -> Path:
        """Disable that unit and take it away; gives its file. Raises as install_service."""
        from macvfast.system import service  # noqa: PLC0415

        return service.uninstall(root)

    # Copies of the state.

    def backup_state(self, file: str) -> str:
        """Write a copy of the state to a file, whole as of one moment, while others go on; an older copy there is
        replaced. Gives its path.

        Raises:
            BackupInvalid: something else is there.
        """
        from macvfast.state.backup import backup  # noqa: PLC0415

        return str(backup(self._store, file))

    def load_state(self, file: str, *, dry_run: bool = False) -> Replacement:
        """Bring a copy back in place of the state, which is kept beside it; `restore` then has the kernel follow. Where
        the copy is of another machine's state (`foreign`), `adopt_state` takes that over before.

        Args:
            file: a copy that `backup_state` wrote.
            dry_run: change nothing, only compare.

        Raises:
            BackupInvalid, StateNewer: it is none, or of a later macvfast.
            StateBusy: another operation goes on.
        """
        from macvfast.state.backup import compare, load  # noqa: PLC0415

        return (compare if dry_run else load)(self._store, file, self._netns_dir, self._here())

    def adopt_state(self) -> Adoption:
        """Take over a state that another machine made: on its disk, a clone of that, or from a backup. What is recorded
        keeps its addresses and MACs; no new one is made with that machine's key. One that is this machine's already
        stays as it is.

        Raises:
            StateBusy: an operation goes on.
        """
        return home.adopt(self._store, self._here())

    def _here(self) -> home.Here:
        """This boot and this machine; no capability is needed."""
        if self._given_kernel is not None:
            return home.Here(self._given_kernel.boot_id(), self._given_kernel.machine_id())
        return home.Here(machine.boot_id(), machine.machine_id())

    # Commands.

    def check_command(self, request: CommandRequest, sandbox: str | Sandbox | None = None) -> None:
        """Refuse a command that could not be started, before anything is made for it.

        Raises:
            CommandNotFound, CommandNotStarted, RootfsInvalid, TerminalMissing, UserUnknown, UserNotTrusted
        """
        self._commands.check(request, self.sandbox(sandbox) if isinstance(sandbox, str) else sandbox)

    def start(self, sandbox: str | Sandbox, request: CommandRequest) -> None:
        """Start a command in a sandbox and return when it runs; its output goes to the sandbox's log.

        Raises:
            CommandNotFound, CommandNotStarted, SandboxRunning, NamespaceChanged
        """
        self._commands.start(_key(sandbox), request, lambda: self._kernel, self.close)

    def replace_process(self, sandbox: str | Sandbox, request: CommandRequest) -> NoReturn:
        """Start a command in a sandbox and become its keeper: this process ends with the command's exit status.

        Raises:
            SandboxRunning, NamespaceChanged
        """
        self.start(sandbox, request)
        raise AssertionError  # the process was replaced

    def logs(self, sandbox: str | Sandbox, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """What a sandbox's detached commands have shown, in pieces; the state may be closed before they are read.

        Args:
            sandbox: itself, or its id, name or id prefix.
            tail: only so many of the last lines; None: all that is kept.
            follow: go on with what is added, for as long as something runs in it.

        Raises:
            SandboxNotFound, NameAmbiguous, SandboxBusy, StateUnusable
        """
        return self._commands.logs(_key(sandbox), tail, follow=follow)


def _key(thing: str | Network | Sandbox) -> str:
    """What finds a network or sandbox: the text that names it, or its own id."""
    return thing if isinstance(thing, str) else thing.id
