"""A command line typed at a host that only notes what it is asked for."""

from __future__ import annotations

import io
import shlex
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from macvfast.cli.app import run
from macvfast.cli.show.output import Output
from macvfast.errors import NetworkNotFound, SandboxNotFound
from macvfast.ipam import fullness
from macvfast.model import Endpoint, MadeParent, Network, Sandbox, SandboxDetails, SandboxState, Subnet  # fmt: skip
from macvfast.outcomes import Difference, Freed, Outcome, Outcomes, Plan, Status  # fmt: skip
from macvfast.topology import Topology, arranged
from macvfast.usage import NetworkUsage, PoolUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.errors import MacvfastError
    from macvfast.host import Host
    from macvfast.model import HeldAddresses, NotedEndpoint
    from macvfast.outcomes import Note, ServerStatus, SubnetUsage
    from macvfast.requests import CommandRequest, EndpointRequest, NetworkRequest, OwnFiles, UpdateRequest

MADE_AT = datetime(2026, 8, 20, 7, 41, 9, 500_000, tzinfo=UTC)


def network(name: str = "pub_net", **values: Any) -> Network:
    """The network of the guide's first example, or one that differs from it."""
    defaults: dict[str, Any] = {
        "id": "3fa9c1" + "0" * 58,
        "name": name,
        "driver": "macvlan",
        "mode": "bridge",
        "flag": None,
        "parent": "eth0",
        "link": "eth0",
        "subnets": (Subnet(IPv4Network("172.16.86.0/24"), gateway=IPv4Address("172.16.86.1")),),
        "ipv6": False,
        "ipv6_ra": None,
        "internal": False,
        "mtu": None,
        "share_parent": False,
        "order": "lowest",
        "labels": (),
        "options": (("parent", "eth0"),),
        "created_at": MADE_AT,
    }
    return Network(**{**defaults, **values})


DUAL = network(
    "dual",
    id="7b" * 32,
    subnets=(
        Subnet(IPv6Network("2001:db8:abc8::/64"), gateway=IPv6Address("2001:db8:abc8::10")),
        Subnet(
            IPv4Network("192.168.32.0/24"),
            ranges=("192.168.32.128/25", "192.168.32.10-192.168.32.19"),
            aux=(("exclude_host", IPv4Address("192.168.32.250")),),
        ),
    ),
    ipv6=True,
    labels=(("tier", "web"), ("zone", "")),
)


def endpoint(on: Network | None = None, sandbox: str = "web", **values: Any) -> Endpoint:
    """What `run --ip=172.16.86.10` connects."""
    on = on or network()
    defaults: dict[str, Any] = {
        "network_id": on.id,
        "network": on.name,
        "sandbox_id": "5d" * 32,
        "sandbox": sandbox,
        "position": 0,
        "ifname": "eth0",
        "ifindex": 7001,
        "group": 9,
        "mac": bytes.fromhex("0242ac10560a"),
        "packed": bytes([172, 16, 86, 10]),
        "subnet": on.subnet_of(bytes([172, 16, 86, 10])) or network().subnets[0],
    }
    return Endpoint(**{**defaults, **values})


def sandbox(name: str = "web", **values: Any) -> Sandbox:
    """An idle sandbox with one endpoint."""
    defaults: dict[str, Any] = {
        "id": "5d" * 32,
        "name": name,
        "path": f"/run/netns/{name}",
        "made": True,
        "cookie": 4242,
        "boot_id": "b",
        "created_at": MADE_AT,
        "endpoints": (endpoint(),),
    }
    return Sandbox(**{**defaults, **values})


RUNNING = sandbox("web", command=("/bin/sh", "-c", "sleep 5"), state=SandboxState.RUNNING)
EXITED = sandbox(
    "job", id="aa" * 32, command=("make",), state=SandboxState.EXITED, exit_code=2, labels=(("tier", "ci"),)
)
DUAL_BOX = sandbox(
    "both",
    id="bb" * 32,
    endpoints=(
        endpoint(
            DUAL,
            packed=IPv4Address("192.168.32.128").packed,
            subnet=DUAL.subnet_of(IPv4Address("192.168.32.128").packed),
            packed6=IPv6Address("2001:db8:abc8::2").packed,
            subnet6=DUAL.subnet_of(IPv6Address("2001:db8:abc8::2").packed),
        ),
        endpoint(),
    ),
)


class FakeHost:
    """Answers like a Host; `calls` says what it was asked for, in order."""

    def __init__(
        self, *, networks: Sequence[Network] = (), sandboxes: Sequence[Sandbox] = (), server: ServerStatus | None = None
    ) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.refusals: dict[str, BaseException] = {}
        self.outcomes: dict[str, MacvfastError] = {}
        self.on_note: Callable[[Note], None] = lambda _: None
        self.plan = Plan()
        self.freed: list[Freed] = []
        self.made: Sequence[MadeParent] = ()
        # What the kernel says of sub-interfaces that others made.
        self.vlans: dict[str, tuple[str, int]] = {}
        self.held_addresses: list[HeldAddresses] = []
        self.noted: list[NotedEndpoint] = []
        self._networks = networks
        self._sandboxes = sandboxes
        self._server = server

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if call[0] in self.refusals:
            raise self.refusals[call[0]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def log(self) -> None:
        """What is asked of the kernel is told nowhere: there is none."""

    def names(self) -> list[str]:
        """The names of the calls."""
        return [call[0] for call in self.calls]

    def create_network(self, request: NetworkRequest) -> Network:
        self._note("create_network", request)
        return network(request.name)

    def update_network(self, key: str, request: UpdateRequest) -> Network:
        self._note("update_network", key, request)
        return network(key)

    def docker_pools(self) -> list[object]:
        return []

    def networks(self) -> list[Network]:
        self._note("networks")
        return list(self._networks)

    def network(self, key: str) -> Network:
        self._note("network", key)
        found = [one for one in self._networks if one.name == key or one.id.startswith(key)]
        if not found:
            raise NetworkNotFound(key)
        return found[0]

    def endpoints(self, on: Network) -> list[Endpoint]:
        self._note("endpoints", on.name)
        return [one for box in self._sandboxes for one in box.endpoints if one.network_id == on.id]

    def held(self, on: Network) -> list[HeldAddresses]:
        return [one for one in self.held_addresses if one.network_id == on.id]

    def noted_endpoints(self, on: Network) -> list[NotedEndpoint]:
        return [one for one in self.noted if one.network_id == on.id]

    def usage(self, on: Network) -> list[SubnetUsage]:
        taken = {int(address.ip) for one in self.endpoints(on) for address in one.addresses}
        return [fullness(subnet, {one for one in taken if subnet.first <= one <= subnet.last}) for subnet in on.subnets]

    def pools(self) -> list[NetworkUsage]:
        return [
            NetworkUsage(
                on,
                tuple(
                    PoolUsage(one.subnet, one.total.in_use, one.automatic_free + one.total.in_use)
                    for one in self.usage(on)
                ),
            )
            for on in self.networks()
        ]

    def topology(self) -> Topology:
        ends = [one for box in self._sandboxes for one in box.endpoints]
        alone = [box.name for box in self._sandboxes if not box.endpoints]
        return arranged(self.pools(), ends, self.made, alone, self.vlans)

    def _outcomes(self, names: Sequence[str]) -> Outcomes[str]:
        return Outcomes(
            tuple(Outcome(n, error=self.outcomes[n]) if n in self.outcomes else Outcome(n, value=n) for n in names)
        )

    def remove_networks(self, names: Sequence[str]) -> Outcomes[str]:
        self._note("remove_networks", tuple(names))
        return self._outcomes(names)

    def prune_networks(self, fits: Callable[[Network], bool]) -> Outcomes[str]:
        self._note("prune_networks")
        return self._outcomes([one.name for one in self._networks if fits(one)])

    def create_sandbox(
        self,
        name: str | None = None,
        *,
        endpoints: Sequence[EndpointRequest] = (),
        labels: Sequence[tuple[str, str]] = (),
        own_files: OwnFiles | None = None,
    ) -> Sandbox:
        self._note("create_sandbox", name, tuple(endpoints), tuple(labels), own_files)
        return sandbox(name or "5d" * 6)

    def run(
        self,
        request: CommandRequest,
        name: str | None = None,
        *,
        endpoints: Sequence[EndpointRequest] = (),
        labels: Sequence[tuple[str, str]] = (),
        own_files: OwnFiles | None = None,
    ) -> Sandbox:
        self._note("run", request, name, tuple(endpoints), tuple(labels), own_files)
        return sandbox(name or "5d" * 6)

    def connect(self, request: EndpointRequest, **values: Any) -> Endpoint:
        self._note("connect", request, values)
        return endpoint()

    def disconnect(self, on: str, box: str) -> None:
        self._note("disconnect", on, box)

    def sandboxes(self) -> list[Sandbox]:
        self._note("sandboxes")
        return list(self._sandboxes)

    def sandbox(self, key: str) -> Sandbox:
        self._note("sandbox", key)
        found = [one for one in self._sandboxes if key in (one.name, one.id)]
        if not found:
            raise SandboxNotFound(key)
        return found[0]

    def inspect(self, key: str) -> SandboxDetails:
        return SandboxDetails(sandbox=self.sandbox(key))

    def start_many(self, names: Sequence[str]) -> Outcomes[str]:
        self._note("start_many", tuple(names))
        return self._outcomes(names)

    def stop_many(self, names: Sequence[str], *, wait_s: float | None) -> Outcomes[str]:
        self._note("stop_many", tuple(names), wait_s)
        return self._outcomes(names)

    def restart_many(self, names: Sequence[str], *, wait_s: float | None) -> Outcomes[str]:
        self._note("restart_many", tuple(names), wait_s)
        return self._outcomes(names)

    def remove_many(self, names: Sequence[str], *, force: bool = False) -> Outcomes[str]:
        self._note("remove_many", tuple(names), force)
        return self._outcomes(names)

    def restore(self, *, dry_run: bool = False, wait_s: float | None = None) -> Plan:
        self._note("restore", dry_run, wait_s)
        return self.plan

    def check(self) -> list[Difference]:
        self._note("check")
        return [*(step.mends for step in self.plan.steps), *self.plan.remaining]

    def gc(self, *, origin: str | None = None) -> list[Freed]:
        self._note("gc", origin)
        return self.freed

    def status(self) -> Status:
        counts = len(self._networks), len(self._sandboxes), sum(len(one.endpoints) for one in self._sandboxes)
        return Status("/var/lib/macvfast", *counts, self._server)

    def install_service(
        self, wait_s: int, root: str | None = None, *, now: bool = False, plugins: Sequence[str] = (),
        docker: bool = False,
    ) -> list[Path]:  # fmt: skip
        self._note("install_service", wait_s, root, now, *plugins, *(["docker"] if docker else []))
        return [Path("/etc/macvfast/client.conf"), Path("/etc/systemd/system/macvfast-restore.service")]

    def start(self, key: str, request: CommandRequest) -> None:
        self._note("start", key, request)


class Screen(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


class Said(NamedTuple):
    """What a command line led to."""

    status: int
    out: str
    err: str


def typed(line: str | Sequence[str], host: FakeHost | None = None, *, answer: str = "", screen: bool = False) -> Said:
    """Type a command line as in a shell, without the word `macvfast`."""
    words = shlex.split(line) if isinstance(line, str) else line
    stdout, stderr = Screen() if screen else io.StringIO(), io.StringIO()
    state_dirs: list[str | None] = []

    def open_host(state_dir: str | None, *, make: bool) -> Host:  # noqa: ARG001 - there is nothing to make
        state_dirs.append(state_dir)
        fake = FakeHost() if host is None else host
        fake.calls.append(("open", state_dir))
        return cast("Host", fake)

    out = Output(stdout, stderr, io.StringIO(answer))
    status = run(words, open_host, out)
    return Said(status, stdout.getvalue(), stderr.getvalue())
