"""One host: its networks, sandboxes and endpoints, made and removed.

Here store, allocator and kernel are brought together, in that order: what is about to be done is durable first, then
done, then settled. `attach` and `detach` are the engines for endpoints; networks and their parents are made and
removed in `networks`.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

from macvfast import keeper
from macvfast.errors import (
    EndpointNotFound,
    HomeNamespaceOther,
    MacvfastError,
    NamespaceChanged,
    NamespaceInvalid,
    NotFound,
    SandboxBusy,
    SandboxNotFound,
    SandboxRunning,
)
from macvfast.lookup import one_network, one_sandbox
from macvfast.model import (
    Address,
    CommandRequest,
    Endpoint,
    EndpointRequest,
    Network,
    NetworkRequest,
    Outcome,
    Outcomes,
    Sandbox,
    SandboxState,
    check_name,
    pairs,
)
from macvfast.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from macvfast.attach import Attacher, Wanted
    from macvfast.detach import Detacher
    from macvfast.kernel import Kernel, NetlinkKernel
    from macvfast.networks import Networks

# Rows that are being made are nobody's business yet; those being removed still hold their addresses.
_VISIBLE = "(intent IS NULL OR removing = 1)"

DEFAULT_NETNS_DIR = "/run/netns"

# How long `rm` waits for another process that is removing the same sandbox.
_OTHERS_S = 10.0


class Host:
    """The networks and sandboxes of one state directory. A context manager; safe from several threads.

    The network namespace in which the kernel is first needed is the home namespace: its links are the parents.

    Raises (all methods):
        StateUnusable, StateBusy, StateCorrupt, StateNewer: the state directory cannot be used.
        HomeNamespaceOther: the state belongs to another namespace (what changes something only).
    """

    def __init__(self, store: Store, kernel: Kernel | None = None, netns_dir: str | None = None) -> None:
        self._store = store
        self._given_kernel = kernel
        self._own_kernel: NetlinkKernel | None = None
        self._lock = threading.Lock()
        self._netns_dir = netns_dir or os.environ.get("MACVFAST_NETNS_DIR") or DEFAULT_NETNS_DIR

    @classmethod
    def open(cls, state_dir: str | None = None) -> Host:
        """Open the state; None: MACVFAST_STATE_DIR, else /var/lib/macvfast. It is made where it is missing."""
        return cls(Store(state_dir))

    def close(self) -> None:
        """Close the state and the socket. Closing twice is closing once."""
        with self._lock:
            if self._own_kernel is not None:
                self._own_kernel.close()
                self._own_kernel = None
        self._store.close()

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
        if self._given_kernel is not None:
            return self._given_kernel
        from macvfast.kernel import NetlinkKernel  # noqa: PLC0415

        with self._lock:
            if self._own_kernel is None:
                self._own_kernel = NetlinkKernel()
            return self._own_kernel

    def _detacher(self) -> Detacher:
        from macvfast.detach import Detacher  # noqa: PLC0415

        return Detacher(self._store, self._kernel)

    def _attacher(self) -> Attacher:
        from macvfast.attach import Attacher  # noqa: PLC0415

        return Attacher(self._store, self._kernel, self._detacher(), self._netns_dir)

    def _networks(self) -> Networks:
        from macvfast.networks import Networks  # noqa: PLC0415

        return Networks(self._store, self._kernel)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Around whatever changes something: what it begins and does not settle is, at its end, anyone's to finish."""
        with self._store.operation():
            self._begin()
        # Another operation: what the first could not finish may be what this one is about.
        with self._store.operation():
            yield

    def _begin(self) -> None:
        """Before anything is changed: make sure that this is the home namespace, and finish what the dead left."""
        boot_id, cookie = self._kernel.boot_id(), str(self._kernel.home_cookie())
        with self._store.reading() as records:
            known = (records.host("boot_id"), records.host("home_cookie"))
        if known != (boot_id, cookie):
            if known[0] == boot_id:
                raise HomeNamespaceOther(str(self._store.directory))
            with self._store.writing() as records:
                records.set_host("boot_id", boot_id)
                records.set_host("home_cookie", cookie)
        self._detacher().finish()
        self._networks().finish()

    # Networks.

    def create_network(
        self,
        name: str | NetworkRequest,
        *,
        driver: str = "macvlan",
        subnets: Sequence[str] = (),
        ip_ranges: Sequence[str] = (),
        gateways: Sequence[str] | None = (),
        aux: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        parent: str | None = None,
        mode: str | None = None,
        flag: str | None = None,
        mtu: int | None = None,
        share_parent: bool = False,
        order: str = "lowest",
        ipv6: bool | None = None,
        ipv6_ra: bool = True,
        internal: bool = False,
        labels: Mapping[str, str] | Iterable[tuple[str, str]] = (),
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
        if not isinstance(request, NetworkRequest):
            request = NetworkRequest(
                name=request, driver=driver, subnets=tuple(subnets), ip_ranges=tuple(ip_ranges),
                gateways=tuple(gateways or ()),
                gateway_automatic=gateways is not None, aux=pairs(aux), parent=parent, mode=mode, flag=flag, mtu=mtu,
                share_parent=share_parent, order=order, ipv6=ipv6, ipv6_ra=ipv6_ra, internal=internal,
                labels=pairs(labels),
            )  # fmt: skip
        with self._changing():
            return self._networks().create(request)

    def networks(self) -> Iterator[Network]:
        """All networks, by name, as they are now: they may be changed while they are gone through."""
        with self._store.reading() as records:
            return iter([*records.networks(_VISIBLE)])

    def network(self, key: str) -> Network:
        """The network of that id, name, or unambiguous id prefix, in that order.

        Raises:
            NetworkNotFound, NameAmbiguous, SandboxBusy
        """
        with self._store.reading() as records:
            return one_network(records, self._store, key)

    def endpoints(self, network: Network) -> list[Endpoint]:
        """The endpoints of a network, by sandbox name."""
        with self._store.reading() as records:
            return [*records.endpoints("network_id = ?", (network.id,), shown=True)]

    def remove_networks(self, names: Iterable[str]) -> Outcomes[str]:
        """Remove networks that have no endpoints, each with its parent where macvfast made that and nothing else
        stands on it.

        Returns:
            Per name, the network's name, or NetworkNotFound, NameAmbiguous, NetworkInUse, RemovalUnfinished.
        """
        with self._changing():
            remove = self._networks().remove
            return Outcomes(tuple(_outcome(name, remove) for name in names))

    def prune_networks(self) -> Outcomes[str]:
        """Remove all networks that have no endpoints."""
        with self._store.reading() as records:
            unused = [n.name for n in records.networks(f"{_VISIBLE} AND id NOT IN (SELECT network_id FROM endpoint)")]
        return self.remove_networks(unused)

    # Sandboxes.

    def create_sandbox(
        self,
        name: str | None = None,
        *,
        endpoints: Sequence[EndpointRequest] = (),
        command: Sequence[str] = (),
        labels: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    ) -> Sandbox:
        """Make a sandbox connected to the given networks, all of them or nothing.

        Args:
            name: None: the first 12 of its id.
            endpoints: the first is `eth0` and holds the default route.
            command: what is going to be started in it, for `ps`.
            labels: for people and filters.

        Raises:
            NameInvalid, SandboxExists, NamespaceNameTaken
            NetworkNotFound, PoolExhausted, AddressTaken, AddressOutsideSubnet, MacTaken, PassthruOccupied,
            ParentNotFound KernelRefused, PermissionNeeded
        """
        if name is not None:
            check_name("sandbox", name)
        from macvfast.attach import Wanted  # noqa: PLC0415

        wanted = Wanted(tuple(endpoints), name=name, command=tuple(command), labels=pairs(labels))
        with self._changing():
            return self._attached(wanted)

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
        request = EndpointRequest.of(_key(network), _key(sandbox), ip=ip, ip6=ip6, mac=mac)
        with self._changing():
            resolved = self.network(request.network)
            made = self._attached(self._wanted(replace(request, network=resolved.id), netns))
            return next(endpoint for endpoint in made.endpoints if endpoint.network_id == resolved.id)

    def connect_many(
        self, network: str | Network, sandboxes: Iterable[str | EndpointRequest], *, netns: str | None = None
    ) -> Outcomes[Endpoint]:
        """Connect many sandboxes to a network; those that do not exist are made.

        Args:
            network: itself, or its id, name or id prefix.
            sandboxes: names, or requests with addresses (their own `network` is not read).
            netns: one namespace that all of them stand for.

        Returns:
            One outcome per item, in the order asked; a refused one takes no other with it and leaves nothing.
        """
        with self._changing():
            return self._connected_many(_key(network), sandboxes, netns)

    def _connected_many(
        self, network: str, sandboxes: Iterable[str | EndpointRequest], netns: str | None
    ) -> Outcomes[Endpoint]:
        resolved = self.network(network)
        wanted: list[Wanted] = []
        refused: dict[int, MacvfastError] = {}
        names: list[str] = []
        for position, item in enumerate(sandboxes):
            given = EndpointRequest(network=resolved.id, sandbox=item) if isinstance(item, str) else item
            names.append(given.sandbox)
            request = EndpointRequest(
                network=resolved.id, sandbox=given.sandbox, ip=given.ip, ip6=given.ip6, mac=given.mac
            )
            try:
                wanted.append(self._wanted(request, netns, make=True))
            except MacvfastError as error:
                refused[position] = error
        done = iter(self._attacher().attach(wanted))
        outcomes: list[Outcome[Endpoint]] = []
        for position, name in enumerate(names):
            if position in refused:
                outcomes.append(Outcome(name, error=refused[position]))
                continue
            one = next(done)
            outcomes.append(Outcome(name, error=one.error) if one.error else Outcome(name, value=one.endpoints[0][1]))
        return Outcomes(tuple(outcomes))

    def _wanted(self, request: EndpointRequest, netns: str | None, *, make: bool = False) -> Wanted:
        """The sandbox a request speaks of: one that is there, a new one for a given namespace, or (`make`) a new
        one.
        """
        may_be_new = make or netns is not None
        found: Sandbox | None = None
        try:
            with self._store.reading() as records:
                found = one_sandbox(records, self._store, request.sandbox)
        except NotFound:
            if not may_be_new:
                raise
        if may_be_new and found is not None and request.sandbox not in (found.name, found.id):
            # The name of one to be made is not another's id prefix.
            found = None
        if netns is not None:
            path = _absolute(netns)
            namespace = self._kernel.open_namespace(path)
            try:
                self._refuse_given(path, namespace.cookie, found)
            finally:
                namespace.close()
            netns = path
        from macvfast.attach import Wanted  # noqa: PLC0415

        return Wanted((request,), name=request.sandbox, sandbox=found, netns=netns if found is None else None)

    def _refuse_given(self, path: str, cookie: int, found: Sandbox | None) -> None:
        """A given namespace is not the home namespace, and is the one that an existing sandbox of that name stands
        for.
        """
        if cookie == self._kernel.home_cookie():
            raise NamespaceInvalid(path, "it is the home namespace, which holds the parents")
        if found is not None and (found.cookie != cookie or found.boot_id != self._kernel.boot_id()):
            raise NamespaceChanged(found.name, path, "the sandbox stands for another namespace")

    def _attached(self, wanted: Wanted) -> Sandbox:
        done = self._attacher().attach([wanted])[0]
        if done.error is not None:
            raise done.error
        assert done.sandbox is not None  # noqa: S101 - settled items have one
        return self.sandbox(done.sandbox.id)

    def disconnect(self, network: str | Network, sandbox: str | Sandbox) -> None:
        """Take a sandbox off a network; its link and addresses are gone when this returns.

        Raises:
            NetworkNotFound, SandboxNotFound, EndpointNotFound, SandboxBusy, RemovalUnfinished
        """
        with self._changing():
            self._disconnect(_key(network), _key(sandbox))

    def _disconnect(self, network: str, sandbox: str) -> str:
        with self._store.reading() as records:
            net = one_network(records, self._store, network)
            box = one_sandbox(records, self._store, sandbox)
        for endpoint in box.endpoints:
            if endpoint.network_id == net.id:
                error = self._detacher().disconnect(box, endpoint)
                if error is not None:
                    raise error
                return sandbox
        raise EndpointNotFound(net.name, box.name)

    def disconnect_many(self, network: str | Network, sandboxes: Iterable[str]) -> Outcomes[str]:
        """Take sandboxes off a network; one outcome per name."""
        with self._changing():
            return Outcomes(tuple(_outcome(name, partial(self._disconnect, _key(network))) for name in sandboxes))

    def sandboxes(self) -> Iterator[Sandbox]:
        """All sandboxes by name, as they are now, with what their commands do."""
        with self._store.reading() as records:
            found = [*records.sandboxes(_VISIBLE, shown=True)]
        return map(self._with_state, found)

    def sandbox(self, key: str) -> Sandbox:
        """The sandbox of that id, name, or unambiguous id prefix, in that order.

        Raises:
            SandboxNotFound, NameAmbiguous, SandboxBusy
        """
        with self._store.reading() as records:
            return self._with_state(one_sandbox(records, self._store, key, shown=True))

    def _with_state(self, sandbox: Sandbox) -> Sandbox:
        state, exit_code = keeper.state(self._store.sandbox_dir(sandbox.id), _boot_id())
        return sandbox if state is SandboxState.IDLE else replace(sandbox, state=state, exit_code=exit_code)

    def remove_many(self, sandboxes: Iterable[str], *, force: bool = False) -> Outcomes[str]:
        """Remove sandboxes with all their endpoints; done when the kernel has let go of their links.

        Args:
            sandboxes: ids, names or id prefixes.
            force: end running commands; what is gone already counts as removed.

        Returns:
            Per item, the sandbox's name, or SandboxNotFound, SandboxRunning, SandboxBusy, NamespaceHeld,
            RemovalUnfinished.
        """
        keys = list(sandboxes)
        unfinished = self._unfinished(keys)
        with self._changing():
            return self._removed(keys, unfinished, force=force)

    def _removed(self, keys: list[str], unfinished: dict[str, str], *, force: bool) -> Outcomes[str]:
        found: dict[str, Sandbox] = {}
        errors: dict[str, MacvfastError] = {}
        for key in keys:
            try:
                found[key] = self._to_remove(key)
            except SandboxNotFound as error:
                if not force and key not in unfinished:
                    errors[key] = error
            except MacvfastError as error:
                errors[key] = error
        unique = list({sandbox.id: sandbox for sandbox in found.values()}.values())
        failures = self._remove_patiently(unique, force=force)
        outcomes: list[Outcome[str]] = []
        for key in keys:
            failed = errors.get(key) or (failures.get(found[key].id) if key in found else None)
            name = found[key].name if key in found else unfinished.get(key, key)
            outcomes.append(Outcome(key, error=failed) if failed else Outcome(key, value=name))
        return Outcomes(tuple(outcomes))

    def _remove_patiently(self, sandboxes: Sequence[Sandbox], *, force: bool) -> dict[str, MacvfastError]:
        """Remove sandboxes; one that another process has begun to change since it was looked for is waited for. Gives
        what is in the way, by id.
        """
        failures: dict[str, MacvfastError] = {}
        deadline = time.monotonic() + _OTHERS_S
        todo = {sandbox.id: sandbox for sandbox in sandboxes}
        while todo:
            refusals = self._detacher().remove([*todo.values()], force=force)
            for sandbox, error in zip([*todo.values()], refusals, strict=True):
                if isinstance(error, SandboxBusy) and time.monotonic() < deadline:
                    continue
                del todo[sandbox.id]
                if error is not None:
                    failures[sandbox.id] = error
            time.sleep(0.01 if todo else 0)
        return failures

    def _unfinished(self, keys: Iterable[str]) -> dict[str, str]:
        """Names of sandboxes whose removal was begun and not finished, by what they were called here: it may be
        finished before they are looked for.
        """
        names: dict[str, str] = {}
        with self._store.reading() as records:
            for key in keys:
                found = records.sandbox(key)
                intent = records.sandbox_intent(found[0].id) if len(found) == 1 else None
                if intent is not None and intent[1]:
                    names[key] = found[0].name
        return names

    def _to_remove(self, key: str) -> Sandbox:
        """The sandbox to be removed; one that another process is removing is waited for."""
        deadline = time.monotonic() + _OTHERS_S
        while True:
            try:
                with self._store.reading() as records:
                    return one_sandbox(records, self._store, key, removing=True)
            except SandboxBusy:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    # Commands.

    def check_command(self, request: CommandRequest, sandbox: Sandbox | None = None) -> None:
        """Refuse a command that could not be started, before anything is made for it.

        Raises:
            CommandNotFound, CommandNotStarted, RootfsInvalid, TerminalMissing
        """
        keeper.check(request, inside=request.join and sandbox is not None and sandbox.state is SandboxState.RUNNING)

    def start(self, sandbox: Sandbox, request: CommandRequest) -> None:
        """Start a command in a sandbox and return when it runs; its output goes to the sandbox's log.

        Raises:
            CommandNotFound, CommandNotStarted, SandboxRunning, NamespaceChanged
        """
        self._launch(sandbox, request)

    def replace_process(self, sandbox: Sandbox, request: CommandRequest) -> NoReturn:
        """Start a command in a sandbox and become its keeper: this process ends with the command's exit status.

        Raises:
            SandboxRunning, NamespaceChanged
        """
        self._launch(sandbox, request)
        raise AssertionError  # the process was replaced

    def _launch(self, sandbox: Sandbox, request: CommandRequest) -> None:
        fresh = self.sandbox(sandbox.id)
        running = fresh.state is SandboxState.RUNNING
        if running and not request.join:
            raise SandboxRunning(fresh.name)
        if not running:
            with self._store.writing() as records:
                records.set_command(fresh.id, request.argv)
        namespace = self._attacher().open_recorded(fresh)
        try:
            removal = keeper.removal_command(self._store.directory, fresh.id)
            directory = self._store.sandbox_dir(fresh.id)
            if not request.detach:
                self.close()
            keeper.launch(request, directory, fresh.name, namespace.fd, removal)
        finally:
            namespace.close()


def _key(thing: str | Network | Sandbox) -> str:
    """What finds a network or sandbox: the text that names it, or its own id."""
    return thing if isinstance(thing, str) else thing.id


def _outcome(name: str, act: Callable[[str], str]) -> Outcome[str]:
    """What becomes of one item."""
    try:
        return Outcome(name, value=act(name))
    except MacvfastError as error:
        return Outcome(name, error=error)


def _absolute(path: str) -> str:
    """A namespace's path as it is recorded: not relative to where this process happens to be."""
    try:
        path.encode()
        return str(Path(path).absolute())
    except UnicodeEncodeError:
        raise NamespaceInvalid(path, "its path is not UTF-8") from None
    except OSError as error:
        raise NamespaceInvalid(path, f"there is no current directory: {error.strerror}") from None


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
