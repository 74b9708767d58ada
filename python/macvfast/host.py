"""One host: its networks, sandboxes and endpoints, made and removed.

Here store, allocator and kernel are brought together, in that order: what is about to be done is durable first, then
done, then settled. `attach` and `detach` are the engines for endpoints; networks and their parents are made and
removed in `networks`.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

from macvfast.checks import named, pairs, plain, several, texts
from macvfast.engine.carriers import own_addresses
from macvfast.errors import HomeNamespaceOther, MacvfastError, SandboxRunning, StateUnusable
from macvfast.model import Address, Cidr, Endpoint, Network, Sandbox, SandboxState, check_name
from macvfast.state import home
from macvfast.state.lookup import one_network, one_sandbox
from macvfast.state.store import DEFAULT_NETNS_DIR, Store
from macvfast.system import limits, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from macvfast.checks import Pairs, Several
    from macvfast.engine.collect import Freer
    from macvfast.engine.folders import Folders
    from macvfast.engine.networks import Networks
    from macvfast.engine.restore import Restorer
    from macvfast.engine.sandboxes import Sandboxes
    from macvfast.engine.together import Together
    from macvfast.kernel.netlink import NetlinkKernel
    from macvfast.kernel.protocol import Kernel
    from macvfast.outcomes import Adoption, Difference, Freed, Note, Outcomes, Plan, Replacement, Scaled, SubnetUsage
    from macvfast.process.keeper import Patience
    from macvfast.process.rootfs import Root
    from macvfast.requests import CommandRequest, EndpointRequest, NetworkRequest, OwnFiles

# Rows that a listing reads at a time.
_PAGE = 256


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
        self._own_together: Together | None = None
        self._lock = threading.Lock()
        # Of sandboxes that are to go with a command, until that is started.
        self._locks: dict[str, int] = {}
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
        self._let_go(list(self._locks))
        with self._lock:
            if self._own_kernel is not None:
                self._own_kernel.close()
                self._own_kernel = None

    def _let_go(self, ids: Iterable[str]) -> None:
        """Start no command any more in sandboxes that were to go with one."""
        with self._lock:
            for descriptor in filter(None, [self._locks.pop(id_, None) for id_ in ids]):
                os.close(descriptor)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    # The parts. Each is loaded when it is first needed: a listing needs none of them.

    @property
    def _kernel(self) -> Kernel:
        self._store.check_open()
        if self._given_kernel is not None:
            return self._given_kernel
        from macvfast.kernel.netlink import NetlinkKernel  # noqa: PLC0415

        with self._lock:
            # Closed in this very moment, it opens nothing.
            self._store.check_open()
            if self._own_kernel is None:
                self._own_kernel = NetlinkKernel()
            return self._own_kernel

    @property
    def _together(self) -> Together:
        self._store.check_open()
        with self._lock:
            if self._own_together is None:
                from macvfast.engine.together import Together  # noqa: PLC0415

                self._own_together = Together(self._store, self._boxes, self._changing)
            return self._own_together

    def _boxes(self) -> Sandboxes:
        from macvfast.engine.sandboxes import Sandboxes  # noqa: PLC0415

        return Sandboxes(self._store, self._kernel, self._folders(), self._netns_dir)

    def _folders(self) -> Folders:
        from macvfast.engine.folders import Folders  # noqa: PLC0415

        return Folders(self._store, self._netns_dir, self.on_note)

    def _networks(self) -> Networks:
        from macvfast.engine.networks import Networks  # noqa: PLC0415

        return Networks(self._store, self._kernel, self.on_note)

    @contextmanager
    def _changing(self, *, mending: bool = False) -> Iterator[None]:
        """Around whatever changes something: what it begins and does not settle is, at its end, anyone's to finish.
        `mending`: what others left is what it is about, so that it may search the host for it.
        """
        with self._store.operation():
            home.claim(self._store, self._kernel)
            self._finish(mending=mending)
        # Another operation: what the first could not finish may be what this one is about.
        with self._store.operation():
            yield

    @contextmanager
    def _changing_many(self, *, mending: bool = False) -> Iterator[None]:
        """The same around what is done to many, whose namespaces are open meanwhile."""
        # First: who waits for descriptors is in nobody's way.
        with limits.share(), self._changing(mending=mending):
            yield

    def _finish(self, *, mending: bool) -> None:
        """Finish or undo what the dead left."""
        self._boxes().detacher.finish(patient=mending)
        self._networks().remover.finish()

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
        from macvfast.requests import ADDRESSES, CIDRS, NetworkRequest  # noqa: PLC0415

        request = name
        if not isinstance(request, NetworkRequest):
            request = NetworkRequest(
                name=request, driver=driver, subnets=texts("subnets", subnets, *CIDRS),
                ip_ranges=texts("ip_ranges", ip_ranges, *CIDRS),
                gateways=() if gateways is None else texts("gateways", gateways, *ADDRESSES),
                gateway_automatic=gateways is not None, aux=pairs("aux", aux, *ADDRESSES), parent=parent, mode=mode,
                flag=flag, mtu=mtu, share_parent=share_parent, order=order, ipv6=ipv6, ipv6_ra=ipv6_ra,
                internal=internal, labels=named("labels", labels),
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
        from macvfast.requests import NetworkRequest  # noqa: PLC0415

        asked = several("requests", requests, NetworkRequest)
        with self._changing():
            return self._networks().create_many(asked)

    def networks(self) -> Iterator[Network]:
        """All networks, by name, as people count. They may be changed while they are gone through: some hundred are
        read at a time, without what was made since.
        """
        with self._store.reading() as records:
            order = records.network_order()
        for start in range(0, len(order), _PAGE):
            with self._store.reading() as records:
                page = records.networks_numbered(order[start : start + _PAGE])
            yield from page

    def network(self, key: str) -> Network:
        """The network of that id, name, or unambiguous id prefix, in that order.

        Raises:
            NetworkNotFound, NameAmbiguous, SandboxBusy
        """
        with self._store.reading() as records:
            return one_network(records, self._store, key)

    def endpoints(self, network: str | Network) -> list[Endpoint]:
        """The endpoints of a network, itself or its id, name or id prefix, by sandbox name. Raises as `network`."""
        with self._store.reading() as records:
            id_ = one_network(records, self._store, network).id if isinstance(network, str) else network.id
            return records.endpoints_on(id_, shown=True)

    def usage(self, network: str | Network) -> list[SubnetUsage]:
        """How full the subnets of a network, itself or its id, name or id prefix, are, in the order they were given.
        Raises as `network`.
        """
        from macvfast.plan.usage import usage  # noqa: PLC0415

        found = self.network(network) if isinstance(network, str) else network
        return usage(found, self.endpoints(found), self._own_addresses(found))

    def _own_addresses(self, network: Network) -> tuple[Address, ...]:
        """What this host itself has on a network's parent, where this is the home namespace. Needs no capability."""
        from macvfast.kernel.netlink import NetlinkKernel  # noqa: PLC0415

        look = NetlinkKernel(changes=False) if self._given_kernel is None else None
        kernel = look or self._kernel
        try:
            home.is_here(self._store, kernel)
            return own_addresses(kernel, network.link)
        except HomeNamespaceOther:
            return ()
        finally:
            if look is not None:
                look.close()

    def remove_networks(self, names: Several[str]) -> Outcomes[str]:
        """Remove networks that have no endpoints, each with its parent where macvfast made that and nothing else
        stands on it; `on_note` is told of one that stays.

        Returns:
            Per name, the network's name, or NetworkNotFound, NameAmbiguous, NetworkInUse, RemovalUnfinished.
        """
        keys = several("names", names, str)
        unfinished = self._networks().remover.unfinished(keys)
        with self._changing():
            return self._networks().remover.remove_many(keys, unfinished)

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
        from macvfast.engine.make import Wanted  # noqa: PLC0415
        from macvfast.requests import EndpointRequest  # noqa: PLC0415

        wanted = Wanted(
            several("endpoints", endpoints, EndpointRequest), name=name, command=texts("command", command),
            labels=named("labels", labels), own_files=own_files, auto_remove=auto_remove,
        )  # fmt: skip
        made, lock = self._together.create(wanted.again, name)
        if lock is not None:
            with self._lock:
                self._locks[made.id] = lock
        return self._with_state(made)

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
        from macvfast.requests import EndpointRequest  # noqa: PLC0415

        request = EndpointRequest.of(_key(network), _key(sandbox), ip=ip, ip6=ip6, mac=mac)
        if netns is not None:
            # Another thread may be the one that opens it.
            netns = netns.replace("/proc/thread-self/", f"/proc/self/task/{threading.get_native_id()}/")
        return self._together.connect(lambda boxes: boxes.wanted(request, netns), request.sandbox)

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
        from macvfast.requests import EndpointRequest  # noqa: PLC0415

        asked = several("sandboxes", sandboxes, str, EndpointRequest)
        with self._changing_many():
            return self._boxes().connect_many(_key(network), asked, netns, progress=progress)

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
        from macvfast.engine.scale import Scaler  # noqa: PLC0415

        plain("prefix", prefix, str)
        plain("count", count, int)
        with self._changing_many():
            scaler = Scaler(self._store, self._boxes())
            return scaler.scale(_key(network), prefix, count, force=force, progress=progress)

    def disconnect(self, network: str | Network, sandbox: str | Sandbox) -> None:
        """Take a sandbox off a network; its link and addresses are gone when this returns.

        Raises:
            NetworkNotFound, SandboxNotFound, EndpointNotFound, SandboxBusy, RemovalUnfinished
        """
        from macvfast.outcomes import Outcomes  # noqa: PLC0415

        Outcomes((self._together.disconnect(_key(network), _key(sandbox)),)).raise_if_any()

    def disconnect_many(self, network: str | Network, sandboxes: Several[str]) -> Outcomes[str]:
        """Take sandboxes off a network; one outcome per name."""
        asked = several("sandboxes", sandboxes, str)
        with self._changing_many():
            return self._boxes().disconnect_many(_key(network), asked)

    def sandboxes(self) -> Iterator[Sandbox]:
        """All sandboxes by name, as people count, with what their commands do. They may be changed while they are gone
        through: some hundred are read at a time, without what was made since.
        """
        from macvfast.process import keeper  # noqa: PLC0415

        patience = keeper.Patience()
        with self._store.reading() as records:
            order = records.sandbox_order(shown=True)
        for start in range(0, len(order), _PAGE):
            with self._store.reading() as records:
                page = records.sandboxes_numbered(order[start : start + _PAGE], shown=True)
            yield from (self._with_state(one, patience) for one in page)

    def sandbox(self, key: str) -> Sandbox:
        """The sandbox of that id, name, or unambiguous id prefix, in that order.

        Raises:
            SandboxNotFound, NameAmbiguous, SandboxBusy
        """
        with self._store.reading() as records:
            return self._with_state(one_sandbox(records, self._store, key, shown=True))

    def _with_state(self, sandbox: Sandbox, patience: Patience | None = None) -> Sandbox:
        from macvfast.process import keeper  # noqa: PLC0415

        state, exit_code = keeper.state(self._store.sandbox_dir(sandbox.id), _boot_id(), patience)
        return sandbox if state is SandboxState.IDLE else replace(sandbox, state=state, exit_code=exit_code)

    def remove_many(self, sandboxes: Several[str], *, force: bool = False) -> Outcomes[str]:
        """Remove sandboxes with all their endpoints; done when the kernel has let go of their links.

        Args:
            sandboxes: ids, names or id prefixes.
            force: end running commands; what is gone already counts as removed.

        Returns:
            Per item, the sandbox's name, or SandboxNotFound, SandboxRunning, SandboxBusy, NamespaceHeld,
            RemovalUnfinished.
        """
        return self._remove_many(several("sandboxes", sandboxes, str), force=force)

    def _remove_many(
        self, keys: Sequence[str], *, force: bool, gone: Callable[[Sequence[Sandbox]], None] | None = None
    ) -> Outcomes[str]:
        """The same; `gone` is told of sandboxes that are, while others are waited for."""
        from macvfast.outcomes import Outcomes  # noqa: PLC0415

        boxes = self._boxes()
        unfinished = boxes.unfinished(keys)
        ended: dict[str, str] = {}
        if self._locks:
            with self._store.reading() as records:
                self._let_go(records.sandbox_ids(keys).values())
        if force:
            home.refuse_other(self._store, self._kernel)
            ended = boxes.end_commands(keys)
        try:
            if gone is not None:
                boxes.detacher.on_gone = gone
            elif len(keys) == 1:
                return Outcomes((self._together.remove(keys[0], force=force),))
            with self._changing_many():
                return boxes.remove_many(keys, unfinished, force=force)
        except StateUnusable as error:
            if not ended:
                raise
            # Something was done all the same.
            return boxes.only_ended(keys, ended, error)

    @classmethod
    def remove_ended(cls, state_dir: str, shown: Callable[[MacvfastError], str]) -> None:
        """Remove the sandboxes that were to go with commands which have ended, until none waits for that: called once
        for all, by the process that the program around one of the commands started.

        Args:
            state_dir: the state directory.
            shown: an error as the program around a command is to say it.
        """
        from macvfast.process import autoremove  # noqa: PLC0415

        def remove(ids: list[str], gone: Callable[[Iterable[str]], None]) -> dict[str, str]:
            try:
                with cls.open(state_dir) as host:
                    going = host._ended(ids)  # noqa: SLF001 - its own
                    outcomes = host._remove_many(  # noqa: SLF001
                        going, force=True, gone=lambda some: gone([one.id for one in some])
                    )
            except MacvfastError as error:
                return dict.fromkeys(ids, shown(error))
            return {id_: shown(one.error) for id_, one in zip(going, outcomes, strict=True) if one.error is not None}

        autoremove.serve(autoremove.queues_in(Path(state_dir)), remove)

    def _ended(self, ids: Sequence[str]) -> list[str]:
        """Those of the sandboxes that are still to go: not what was given another command since."""
        from macvfast.process import keeper  # noqa: PLC0415

        with self._store.reading() as records:
            there = records.sandboxes_named(ids)
        return [
            id_
            for id_ in ids
            if id_ in there
            and there[id_].auto_remove
            and not keeper.own_command_runs(self._store.sandbox_dir(id_), _boot_id())
        ]

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
        if dry_run:
            home.is_here(self._store, self._kernel)
            steps = self._freer().left_behind()
            plan = self._restorer().plan()
            going = {step.mends.sandbox for step in steps}
            steps += [step for step in plan.steps if step.mends.sandbox not in going]
            steps += [one.step for one in self._folders().left(self._kernel.boot_id())]
            remaining = [one for one in plan.remaining if one.sandbox is None or one.sandbox not in going]
            return replace(plan, steps=tuple(steps), remaining=tuple(remaining))
        restorer = self._restorer()
        finished = restorer.unfinished()
        with self._changing_many(mending=True):
            # First: what is to go is not made again.
            steps = self._freer().remove_left_behind()
            steps += self._folders().clear(self._kernel.boot_id())
            done = restorer.restore(finished, wait_s)
            return replace(done, steps=(*steps, *done.steps))

    def check(self) -> list[Difference]:
        """All that differs between record and kernel. Changes nothing."""
        found = self.restore(dry_run=True)
        return [*(step.mends for step in found.steps), *found.remaining]

    def gc(self) -> list[Freed]:
        """Free what dead owners left: sandboxes that stand for a given namespace that is gone, sandboxes that were to
        go with a command (`--rm`) that has ended or was never started, and what processes that died left half-made.
        """
        freer = self._freer()
        finished = freer.unfinished()
        with self._changing_many(mending=True):
            return freer.free(finished)

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

    def _freer(self) -> Freer:
        from macvfast.engine.collect import Freer  # noqa: PLC0415

        return Freer(self._store, self._kernel, self._boxes().detacher)

    def _restorer(self) -> Restorer:
        from macvfast.engine.restore import Restorer  # noqa: PLC0415

        return Restorer(self._store, self._kernel, self._folders())

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
        from macvfast.system.machine import machine_id  # noqa: PLC0415

        return home.Here(_boot_id(), machine_id())

    # Commands.

    def check_command(self, request: CommandRequest, sandbox: str | Sandbox | None = None) -> None:
        """Refuse a command that could not be started, before anything is made for it.

        Raises:
            CommandNotFound, CommandNotStarted, RootfsInvalid, TerminalMissing, UserUnknown, UserNotTrusted
        """
        from macvfast.process import launch  # noqa: PLC0415

        if isinstance(sandbox, str):
            sandbox = self.sandbox(sandbox)
        inside = request.join and sandbox is not None and sandbox.state is SandboxState.RUNNING
        with self._root_joined(sandbox, request) as root:
            launch.check(request, inside=inside, joined=root)

    def start(self, sandbox: str | Sandbox, request: CommandRequest) -> None:
        """Start a command in a sandbox and return when it runs; its output goes to the sandbox's log.

        Raises:
            CommandNotFound, CommandNotStarted, SandboxRunning, NamespaceChanged
        """
        self._launch(sandbox, request)

    def replace_process(self, sandbox: str | Sandbox, request: CommandRequest) -> NoReturn:
        """Start a command in a sandbox and become its keeper: this process ends with the command's exit status.

        Raises:
            SandboxRunning, NamespaceChanged
        """
        self._launch(sandbox, request)
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
        from macvfast.process import keeper, logs  # noqa: PLC0415

        directory = self._store.sandbox_dir(self.sandbox(_key(sandbox)).id)

        def running() -> bool:
            return keeper.state(directory, _boot_id())[0] is SandboxState.RUNNING

        return logs.read(directory, tail, running if follow else None)

    @contextmanager
    def _root_joined(self, sandbox: Sandbox | None, request: CommandRequest) -> Iterator[Root | None]:
        """The root of the running command that this one is to join, where it says who its user is."""
        if sandbox is None or request.user is None or not request.join or sandbox.state is not SandboxState.RUNNING:
            yield None
            return
        from macvfast.process import keeper  # noqa: PLC0415

        root = keeper.root_of_command(self._store.sandbox_dir(sandbox.id), sandbox.inode)
        with nullcontext() if root is None else root as joined:
            yield joined

    def _launch(self, sandbox: str | Sandbox, request: CommandRequest) -> None:
        fresh = self.sandbox(_key(sandbox))
        running = fresh.state is SandboxState.RUNNING
        if running and not request.join:
            raise SandboxRunning(fresh.name)
        # What `exec` starts is a guest: the sandbox's command, and whether it goes with that, stay what they were.
        recorded = (fresh.command, fresh.auto_remove) == (tuple(request.argv), request.auto_remove)
        from macvfast.kernel.namespaces import open_recorded  # noqa: PLC0415
        from macvfast.process import launch  # noqa: PLC0415

        (namespace,) = open_recorded(self._kernel, [fresh])
        if isinstance(namespace, MacvfastError):
            raise namespace
        try:
            if not (request.join or recorded):
                with self._store.writing() as records:
                    records.set_command(fresh.id, request.argv, auto_remove=request.auto_remove)
            self._folders().complete(fresh)
            removal = launch.Removal.of(self._store.directory, fresh.id)
            with self._lock:
                lock = self._locks.pop(fresh.id, None)
            directory = self._store.sandbox_dir(fresh.id)
            if not request.detach:
                self.close()
            pins = sorted({DEFAULT_NETNS_DIR, self._netns_dir})
            with self._root_joined(fresh, request) as root:
                launch.launch(request, launch.Place(directory, fresh.name, namespace.fd, removal, pins, root, lock))
        finally:
            namespace.close()


def _key(thing: str | Network | Sandbox) -> str:
    """What finds a network or sandbox: the text that names it, or its own id."""
    return thing if isinstance(thing, str) else thing.id


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
