"""Several threads that ask for one thing each: done together, and yet as if one after the other."""

from __future__ import annotations

import random
import threading
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from macvfast.engine.combining import Queue, QueuedCall
from macvfast.engine.sandbox_directories import SandboxDirectories
from macvfast.errors import (
    AlreadyConnected,
    EndpointNotFound,
    MacvfastError,
    NamespaceNameTaken,
    PoolExhausted,
    SandboxBusy,
    SandboxExists,
    SandboxNotFound,
)
from macvfast.requests import EndpointRequest
from tests.netns import wait_until
from tests.unit.fake_kernel import FakeKernel
from tests.unit.test_combining import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from macvfast.host import Host
    from macvfast.model import Sandbox
    from tests.unit.machine import Machine


# The twin: what macvfast's Host would give if each call waited for the one before it.

# No hex digits: they would be the beginnings of ids.
NAMES = ("w", "x", "y", "z")
NETWORKS = ("one", "two")
# Of a /29 with its gateway.
ADDRESSES = tuple(f"10.{1 + number}.0.{last}" for number in (0, 1) for last in range(2, 7))
POOLS = {"one": ADDRESSES[:5], "two": ADDRESSES[5:]}


class Asked(NamedTuple):
    """One call."""

    what: str
    name: str
    network: str


def golden(state: dict[str, dict[str, str]], asked: Asked) -> str:
    """Change a state (sandbox, network, address), and say what came of it."""
    what, name, network = asked
    there = state.get(name)
    if what == "create" and there is not None:
        return "there"
    if what != "create" and there is None:
        return "missing"
    if what == "remove":
        del state[name]
        return "done"
    on = {} if there is None else there
    if what == "disconnect":
        return "missing" if on.pop(network, None) is None else "done"
    if network in on:
        return "there"
    taken = {box[network] for box in state.values() if network in box}
    free = [address for address in POOLS[network] if address not in taken]
    if not free:
        return "exhausted"
    state[name] = on
    on[network] = free[0]
    return free[0]


def really(host: Host, asked: Asked) -> str:
    what, name, network = asked
    try:
        if what == "create":
            box = host.create_sandbox(name, endpoints=[EndpointRequest(network=network)])
            return str(box.endpoints[0].addresses[0].ip)
        if what == "connect":
            return str(host.connect(network, name).addresses[0].ip)
        if what == "disconnect":
            host.disconnect(network, name)
        else:
            host.remove_many([name]).raise_if_any()
    except (SandboxExists, NamespaceNameTaken, AlreadyConnected):
        return "there"
    except (SandboxNotFound, EndpointNotFound):
        return "missing"
    except PoolExhausted:
        return "exhausted"
    except SandboxBusy:
        return "busy"
    return "done"


class OneAtATime:
    """A kernel whose fakes are not made for threads."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        """The kernel's own, under a lock."""
        method = getattr(self._kernel, name)

        def locked(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                return method(*arguments, **named)

        return locked


@pytest.fixture
def host(machine: Machine) -> Host:
    """A Host that several threads may use, whose networks are `lan` and `other`."""
    one_at_a_time: Any = OneAtATime(machine.host._parts.given_kernel)
    machine.host._parts.given_kernel = one_at_a_time
    return machine.host


class Turns:
    """Threads that ask while the first of them is held up at some point: it calls `begin` there."""

    def __init__(self) -> None:
        self.begun, self._go_on = threading.Event(), threading.Event()

    def begin(self) -> None:
        """The first is there, and goes on when all others wait."""
        self.begun.set()
        assert self._go_on.wait(20)

    def take(self, queue: Queue[Any, Any], names: Sequence[str], ask: Callable[[str], object]) -> dict[object, object]:
        """Have a thread ask for each name, one after the other; what each gave or raised."""
        threads = Threads()
        for at, name in enumerate(names):
            threads.call(name, partial(ask, name))
            if at == 0:
                assert self.begun.wait(20)
            else:
                wait_until(lambda at=at: len(queue._waiting) == at, what="a waiting call")  # type: ignore[misc]
        self._go_on.set()
        return threads.join()


def create(host: Host) -> Callable[[str], object]:
    """Makes a sandbox with an endpoint."""
    return lambda name: host.create_sandbox(name, endpoints=[EndpointRequest(network="lan")])


def explained(
    before: dict[str, dict[str, str]], calls: Sequence[Asked], results: Sequence[str], after: dict[str, dict[str, str]]
) -> bool:
    """Whether some order of the calls gives these results, and that state."""
    about = [asked.name for asked in calls]
    removals = [asked.name for asked in calls if asked.what == "remove"]
    # Refused because of another; or what was to go was going already.
    nothing = [
        (results[at] == "busy" and about.count(calls[at].name) > 1)
        or (results[at] == "done" and calls[at].what == "remove" and removals.count(calls[at].name) > 1)
        for at in range(len(calls))
    ]
    for order in permutations(range(len(calls))):
        state = {name: dict(on) for name, on in before.items()}
        fits = ((nothing[at] and _idle(state, calls[at])) or golden(state, calls[at]) == results[at] for at in order)
        if all(fits) and state == after:
            return True
    return False


def _idle(state: dict[str, dict[str, str]], asked: Asked) -> bool:
    """Whether a call that may come to nothing does so here: a removal only of what is not there."""
    return asked.what != "remove" or asked.name not in state


@pytest.mark.parametrize("seed", range(6))
def test_what_becomes_of_calls_at_once_becomes_of_them_in_some_order(
    machine: Machine, host: Host, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Catches two about one sandbox in one batch, an address that is given twice, and an outcome that goes to another
    caller.
    """
    sizes: list[int] = []
    take = Queue._take

    def counted(queue: Queue[Any, Any], call: QueuedCall[Any, Any]) -> None:
        take(queue, call)
        sizes.append(len(call.batch))

    monkeypatch.setattr(Queue, "_take", counted)
    host.remove_networks(["other"]).raise_if_any()
    for number, name in enumerate(NETWORKS, 1):
        host.create_network(name, subnets=[f"10.{number}.0.0/29"], parent="eth1", share_parent=True)
    random_ = random.Random(seed)
    state: dict[str, dict[str, str]] = {}
    turns = 0
    # On a busy machine, threads that begin at once may come one after the other for a while.
    while turns < 12 or max(sizes) == 1:
        turns += 1
        calls = [
            Asked(random_.choice(("create", "create", "connect", "disconnect", "remove")), *names)
            for names in zip(random_.choices(NAMES, k=5), random_.choices(NETWORKS, k=5), strict=True)
        ]
        together = threading.Barrier(len(calls))
        threads = Threads()

        def run(asked: Asked, together: threading.Barrier = together) -> str:
            together.wait(20)
            return really(host, asked)

        for at, asked in enumerate(calls):
            threads.call(at, lambda asked=asked: run(asked))  # type: ignore[misc]
        became = threads.join()
        results = [str(became[at]) for at in range(len(calls))]
        after = {box.name: {one.network: str(one.addresses[0].ip) for one in box.endpoints} for box in host.sandboxes()}
        assert explained(state, calls, results, after), (state, list(zip(calls, results, strict=True)), after)
        state = after
    host.remove_many(list(state)).raise_if_any()
    machine.assert_record_is_true()


def test_one_that_cannot_be_made_takes_no_other_with_it(machine: Machine, host: Host) -> None:
    host.create_sandbox("taken")
    threads = Threads()
    for name in ("taken", *"abcdefgh"):
        asked = [EndpointRequest.of("lan", ip="172.16.86.9" if name in "gh" else None)]
        threads.call(name, lambda name=name, asked=asked: host.create_sandbox(name, endpoints=asked))  # type: ignore[misc]
    results = threads.join()
    assert isinstance(results["taken"], SandboxExists)
    refused = [name for name, one in results.items() if isinstance(one, MacvfastError)]
    assert len(refused) == 2
    assert {"taken"} < set(refused) < {"taken", "g", "h"}
    made = {box.name for box in host.sandboxes()} - {"taken"}
    assert made == {str(name) for name in results.keys() - set(refused)}
    machine.assert_record_is_true()


def test_an_interruption_in_the_kernel_undoes_the_ones_own_and_the_others_are_made(
    machine: Machine, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches others that are told "interrupted", or nothing at all, because of one who pressed Ctrl-C."""
    sizes: list[int] = []
    turns = Turns()
    add_links = FakeKernel.add_links

    def interrupted(self: FakeKernel, steps: Any, then: Any = ()) -> Any:
        sizes.append(len(steps))
        if len(sizes) == 1:
            turns.begin()
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return add_links(self, steps, then)

    monkeypatch.setattr(FakeKernel, "add_links", interrupted)
    names = ["first", "stopped", "one", "two", "three"]
    results = turns.take(host._parts.engine._together._making, names, create(host))
    assert isinstance(results.pop("stopped"), KeyboardInterrupt)
    assert {name: getattr(box, "name", box) for name, box in results.items()} == {name: name for name in results}
    assert sizes == [1, 4, 3]
    assert {box.name for box in host.sandboxes()} == set(results)
    machine.assert_record_is_true()


def test_an_interruption_while_others_are_told_does_not_make_theirs_again(
    machine: Machine, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches others that are told that there is a sandbox of that name already: their own."""
    turns = Turns()
    add_links, end = FakeKernel.add_links, QueuedCall.end
    told: list[object] = []

    def held(self: FakeKernel, steps: Any, then: Any = ()) -> Any:
        if not turns.begun.is_set():
            turns.begin()
        return add_links(self, steps, then)

    def interrupted(call: QueuedCall[Any, Any], result: Any) -> None:
        told.append(call)
        if len(told) == 3:
            raise KeyboardInterrupt
        end(call, result)

    monkeypatch.setattr(FakeKernel, "add_links", held)
    monkeypatch.setattr(QueuedCall, "end", interrupted)
    results = turns.take(host._parts.engine._together._making, ["first", "stopped", "one", "two"], create(host))
    assert isinstance(results.pop("stopped"), KeyboardInterrupt)
    assert {name: getattr(box, "name", box) for name, box in results.items()} == {name: name for name in results}
    machine.assert_record_is_true()


def test_an_interruption_after_sandboxes_were_removed_takes_them_from_nobody(
    machine: Machine, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches others that are told that there is no such sandbox: it has just gone for them."""
    names = ["first", "stopped", "one", "two"]
    for name in names:
        host.create_sandbox(name, endpoints=[EndpointRequest(network="lan")])
    turns = Turns()
    remove = SandboxDirectories.remove
    removals: list[int] = []

    def kept(call: QueuedCall[Any, Any]) -> None:
        """No batch begins before the one at work has ended."""

    def interrupted(self: SandboxDirectories, sandboxes: Iterable[Sandbox]) -> None:
        removals.append(1)
        if len(removals) == 1:
            turns.begin()
        if len(removals) == 2:
            raise KeyboardInterrupt
        remove(self, sandboxes)

    queue = host._parts.engine._together._going
    monkeypatch.setattr(queue, "pass_on", kept)
    monkeypatch.setattr(SandboxDirectories, "remove", interrupted)
    results = turns.take(queue, names, lambda name: host.remove_many([name])[0])
    assert isinstance(results.pop("stopped"), KeyboardInterrupt)
    assert {name: getattr(one, "value", one) for name, one in results.items()} == {name: name for name in results}
    machine.assert_record_is_true()
