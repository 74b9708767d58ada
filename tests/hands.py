"""Random hands on a host: what they do to it by its API, and what must hold then, whatever kernel it stands on."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from macvfast.errors import MacvfastError
from macvfast.model import Route
from macvfast.outcomes import Plan
from macvfast.requests import EndpointRequest
from tests.unit.fake_kernel import Crash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeVar

    from macvfast.host import Host
    from macvfast.model import Endpoint
    from tests.unit.fake_kernel import Faults

    T = TypeVar("T")

# Per sandbox and network, the addresses there.
Addresses = dict[tuple[str, str], set[str]]


class Machine(Protocol):
    """A kernel, a state, and processes that come and go."""

    faults: Faults

    def call(self, act: Callable[[Host], T]) -> T:
        """What a function gives, or raises, that the process of now calls with its host."""

    def restart(self) -> None:
        """Another process, after the last has ended."""

    def addresses(self) -> Addresses:
        """What is recorded, settled or not."""

    def everything(self) -> object:
        """Record and kernel, for comparison."""

    def wait_for_the_kernel(self) -> None:
        """Until nothing is dying any more."""

    def assert_record_is_true(self) -> None:
        """Each recorded link is there as recorded, and nothing else is."""


network_names = st.runner().flatmap(lambda hands: st.sampled_from(sorted(hands.networks)))
# No hexadecimal digits: a sandbox that is not there would be taken for the beginning of another's id.
SANDBOXES = ("x", "y", "z")
sandbox_names = st.sampled_from(SANDBOXES)
# Of a subnet's addresses, which one; None: any.
numbers = st.none() | st.integers(0, 7)
steps = st.integers(1, 25)


class Hands(RuleBasedStateMachine):
    """Operations in any order; each may be refused, fail at a step, or end with the process."""

    # Few names, small subnets and shared parents: so that operations meet.
    networks: ClassVar[Mapping[str, Mapping[str, Any]]]
    # The path of a namespace that others made.
    given: str
    machine: Machine
    # How long a restore may wait for parents.
    wait_s: ClassVar[float] = 60

    def __init__(self) -> None:
        super().__init__()
        # What callers were told, and did not ask to be taken away since.
        self.acknowledged: Addresses = {}
        self.in_given: set[str] = set()

    def make_networks(self) -> None:
        for name in self.networks:
            self.create_network(name)

    def do(self, act: Callable[[Host], T]) -> T | None:
        """What it gives; None where it was refused, or died."""
        try:
            return self.machine.call(act)
        except MacvfastError:
            return None
        except Crash:
            self.machine.restart()
            return None

    def told(self, endpoints: Iterable[Endpoint]) -> None:
        """These were acknowledged."""
        for one in endpoints:
            self.acknowledged[one.sandbox, one.network] = {str(address.ip) for address in one.addresses}

    def forget(self, sandboxes: Iterable[str], network: str | None = None) -> None:
        """Sandboxes, or their endpoints on a network, may be gone from now on."""
        names = set(sandboxes)
        for name, on in list(self.acknowledged):
            if name in names and network in (None, on):
                del self.acknowledged[name, on]

    def request(self, network: str, sandbox: str, number: int | None) -> EndpointRequest:
        subnet = ip_network(self.networks[network]["subnets"][0])
        return EndpointRequest.of(network, sandbox, ip=None if number is None else str(subnet[number]))

    # What is asked of the host.

    @rule(name=network_names)
    def create_network(self, name: str) -> None:
        self.do(lambda host: host.create_network(name, **self.networks[name]))

    @rule(name=network_names, places=st.lists(st.integers(0, 7), max_size=2), aux=numbers, following=st.booleans())
    def update_network(self, name: str, places: list[int], aux: int | None, following: bool) -> None:
        subnet = ip_network(self.networks[name]["subnets"][0])
        self.do(
            lambda host: host.update_network(
                name,
                ip_ranges=[f"{subnet[place]}-{subnet[min(place + 2, 7)]}" for place in places],
                aux={"kept": None if aux is None else str(subnet[aux])},
                order="next" if following else "lowest",
            )
        )

    @rule(names=st.lists(network_names, max_size=3))
    def remove_networks(self, names: list[str]) -> None:
        self.do(lambda host: host.remove_networks(names))

    @rule(name=sandbox_names, networks=st.lists(network_names, max_size=3), routed=st.booleans())
    def create_sandbox(self, name: str, networks: list[str], routed: bool) -> None:
        places = sorted(self.networks)
        routes = {network: (Route.of(f"10.9.{places.index(network)}.0/24"),) if routed else () for network in networks}
        requests = [EndpointRequest(network=network, routes=routes[network]) for network in networks]
        made = self.do(lambda host: host.create_sandbox(name, endpoints=requests))
        if made is not None:
            self.told(made.endpoints)

    @rule(network=network_names, name=sandbox_names, number=numbers)
    def connect(self, network: str, name: str, number: int | None) -> None:
        ip = self.request(network, name, number).ip
        made = self.do(lambda host: host.connect(network, name, ip=ip))
        if made is not None:
            self.told([made])

    @rule(network=network_names, wanted=st.lists(st.tuples(sandbox_names, numbers), max_size=4), given=st.booleans())
    def connect_many(self, network: str, wanted: list[tuple[str, int | None]], given: bool) -> None:
        requests = [self.request(network, name, number) for name, number in wanted]
        if given:
            self.in_given |= {name for name, _ in wanted}
        outcomes = self.do(lambda host: host.connect_many(network, requests, netns=self.given if given else None))
        self.told(one.value for one in outcomes or () if one.value is not None)

    @rule(network=network_names, name=sandbox_names)
    def disconnect(self, network: str, name: str) -> None:
        self.forget([name], network)
        self.do(lambda host: host.disconnect(network, name))

    @rule(names=st.lists(sandbox_names, max_size=3))
    def remove(self, names: list[str]) -> None:
        self.forget(names)
        self.do(lambda host: host.remove_many(names))

    @rule(wait=st.booleans())
    def restore(self, wait: bool) -> None:
        self.do(lambda host: host.restore(wait_s=self.wait_s if wait else None))

    @rule()
    def gc(self) -> None:
        self.forget(self.in_given)
        self.do(lambda host: host.gc())

    @rule()
    def check(self) -> None:
        before = self.machine.everything()
        self.do(lambda host: host.check())
        if not self.machine.faults.crashed:
            assert self.machine.everything() == before

    # What becomes of its processes.

    @rule(step=steps, onwards=st.booleans(), only=st.sampled_from(["", "store", "make", "configure"]))
    def let_a_step_fail(self, step: int, onwards: bool, only: str) -> None:
        self.machine.faults.arm(fail_at=step, onwards=onwards, only=only)

    @rule(step=steps)
    def let_the_process_die(self, step: int) -> None:
        self.machine.faults.arm(crash_at=step)

    @rule()
    def heal(self) -> None:
        self.machine.faults.arm()

    @rule()
    def restart(self) -> None:
        self.machine.restart()

    # What must hold.

    def put_right(self) -> None:
        """Others end what they do to the host, and take out of its way what they put there."""
        raise NotImplementedError

    @rule()
    def mend(self) -> None:
        """After one restore, the record is what is there; a second one has nothing to do, and check nothing to say."""
        self.machine.faults.arm()
        self.put_right()
        self.machine.wait_for_the_kernel()
        plan = self.machine.call(lambda host: host.restore())
        assert [f"{step}: {step.error}" for step in plan.failed] == []
        assert plan.remaining == ()
        self.machine.assert_record_is_true()
        before = self.machine.everything()
        assert [str(one) for one in self.machine.call(lambda host: host.check())] == []
        assert self.machine.call(lambda host: host.restore()) == Plan()
        assert self.machine.everything() == before
        recorded = self.machine.addresses()
        lost = {key: ips for key, ips in self.acknowledged.items() if recorded.get(key) != ips}
        assert lost == {}, f"acknowledged and not, or otherwise, recorded: {lost} {recorded}"
