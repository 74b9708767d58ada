"""Several threads that ask for one thing each: done together, and yet as if one after the other."""

from __future__ import annotations

import random
import threading
from itertools import permutations
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from macvfast import combining
from macvfast.combining import Call, Queue
from macvfast.errors import (
    AlreadyConnected,
    EndpointNotFound,
    MacvfastError,
    NamespaceNameTaken,
    PoolExhausted,
    SandboxBusy,
    SandboxExists,
    SandboxNotFound,
    StateBusy,
)
from macvfast.requests import EndpointRequest
from tests.netns import wait_until
from tests.unit.fake_kernel import FakeKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.host import Host
    from tests.unit.machine import Machine


class Threads:
    """Threads that call, and what became of each."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.results: dict[object, object] = {}

    def call(self, name: object, work: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                self.results[name] = work()
            except BaseException as error:  # noqa: BLE001 - looked at by the test
                self.results[name] = error

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def join(self) -> dict[object, object]:
        """What each gave or raised; none hangs."""
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive(), "a caller hangs"
        return self.results


class Held:
    """A queue that adds one to what it is asked, and whose first batch goes on only when it may."""

    def __init__(self, *, fails: BaseException | None = None, most: int = 100) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        self.fails = fails
        self.queue: Queue[int, int] = Queue(self._do, most)
        self.threads = Threads()

    def _do(self, calls: Sequence[Call[int, int]]) -> None:
        self.batches.append(sorted(call.asked for call in calls))
        if not self.begun.is_set():
            self.begun.set()
            assert self.may_go_on.wait(20)
            if self.fails is not None:
                raise self.fails
        for call in calls:
            call.end(call.asked + 1)

    def ask(self, number: int, kind: str = "", about: str | None = None) -> threading.Thread:
        """Ask on a thread, and see that it waits in the queue, but for the first."""
        before = len(self.queue._waiting)
        first = self.queue._leader is None
        thread = self.threads.call(number, lambda: self.queue.call(number, kind, about))
        if first:
            assert self.begun.wait(20)
        else:
            wait_until(lambda: len(self.queue._waiting) > before, what="a waiting call")
        return thread

    def go_on(self) -> dict[object, object]:
        self.may_go_on.set()
        results = self.threads.join()
        assert self.queue._leader is None
        assert self.queue._waiting == []
        return results


def test_what_waits_is_done_at_once_by_one_of_those_that_wait() -> None:
    held = Held()
    for number in range(10):
        held.ask(number)
    assert held.go_on() == {number: number + 1 for number in range(10)}
    assert held.batches == [[0], [1, 2, 3, 4, 5, 6, 7, 8, 9]]


def test_two_about_the_same_and_two_of_different_kinds_are_not_done_together() -> None:
    held = Held(most=3)
    held.ask(0)
    for number, about in enumerate(("a", "a", "b", None, None, "a"), 1):
        held.ask(number, about=about)
    held.ask(7, kind="other")
    assert held.go_on() == {number: number + 1 for number in range(8)}
    assert held.batches == [[0], [1, 3, 4], [2, 5], [6], [7]]


def test_what_is_raised_on_purpose_is_what_becomes_of_all_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets an exception of its own: one that several threads raise collects all of their tracebacks."""
    held = Held()
    held.ask(0)
    for number in (1, 2, 3):
        held.ask(number)

    def refuse(calls: Sequence[Call[int, int]]) -> None:
        raise StateBusy(f"/{len(calls)}", 1.0)

    held.may_go_on.set()
    held.threads.threads[0].join(20)
    monkeypatch.setattr(held.queue, "_do", refuse)
    results = held.go_on()
    refused = [one for one in results.values() if isinstance(one, StateBusy)]
    assert len({id(one) for one in refused}) == len(refused)
    assert all(isinstance(one, StateBusy) or one == number + 1 for number, one in results.items())  # type: ignore[operator]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_who_is_interrupted_in_the_middle_takes_no_other_with_it(error: BaseException) -> None:
    """The others of the batch are done by one of them; catches a queue that waits for a leader that has gone."""
    held = Held()
    held.ask(0)
    for number in (1, 2, 3):
        held.ask(number)
    begun: list[int] = []
    really = held._do

    def do(calls: Sequence[Call[int, int]]) -> None:
        begun.append(len(calls))
        if len(begun) == 1:
            calls[1].end(calls[1].asked + 1)
            raise error
        really(calls)

    held.queue._do = do
    results = held.go_on()
    assert [results.pop(0), results.pop(1)] == [1, error]
    assert results == {2: 3, 3: 4}
    assert begun == [3, 1]


@pytest.mark.parametrize("leads", [False, True])
def test_who_is_interrupted_while_it_waits_goes_and_the_others_are_done(
    monkeypatch: pytest.MonkeyPatch, leads: bool
) -> None:
    """In a batch of nobody's, or in the very moment in which it was to lead."""
    held = Held()
    wait = Call.wait

    def interrupted(call: Call[int, int]) -> None:
        if call.asked == 1:
            if leads:
                wait(call)
            raise KeyboardInterrupt
        wait(call)

    monkeypatch.setattr(combining.Call, "wait", interrupted)
    held.ask(0)
    if leads:
        held.ask(1)
    else:
        held.threads.call(1, lambda: held.queue.call(1)).join(20)
    held.ask(2)
    held.ask(3)
    results = held.go_on()
    assert isinstance(results.pop(1), KeyboardInterrupt)
    assert results == {0: 1, 2: 3, 3: 4}
    assert held.batches == [[0], [2, 3]]


def test_the_next_batch_begins_while_the_one_before_it_is_waited_for() -> None:
    released = threading.Event()
    batches: list[list[int]] = []

    def do(calls: Sequence[Call[int, int]]) -> None:
        batches.append([call.asked for call in calls])
        if len(batches) == 1:
            queue.pass_on(calls[0])
            assert released.wait(20)
        for call in calls:
            call.end(call.asked)

    queue: Queue[int, int] = Queue(do, 10)
    threads = Threads()
    threads.call(1, lambda: queue.call(1))
    wait_until(lambda: batches, what="the first batch")
    assert queue.call(2) == 2
    released.set()
    assert threads.join() == {1: 1}


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
    machine: Machine, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Catches two about one sandbox in one batch, an address that is given twice, and an outcome that goes to another
    caller.
    """
    sizes: list[int] = []
    take = Queue._take

    def counted(queue: Queue[Any, Any], call: Call[Any, Any]) -> None:
        take(queue, call)
        sizes.append(len(call.batch))

    monkeypatch.setattr(Queue, "_take", counted)
    host = machine.host
    host._given_kernel = OneAtATime(host._given_kernel)
    host.remove_networks(["other"]).raise_if_any()
    for number, name in enumerate(NETWORKS, 1):
        host.create_network(name, subnets=[f"10.{number}.0.0/29"], parent="eth1", share_parent=True)
    random_ = random.Random(seed)
    state: dict[str, dict[str, str]] = {}
    for _ in range(12):
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
    assert max(sizes) > 1, "nothing was done together"
    host.remove_many(list(state)).raise_if_any()
    machine.assert_record_is_true()


def test_one_that_cannot_be_made_takes_no_other_with_it(machine: Machine) -> None:
    host = machine.host
    host._given_kernel = OneAtATime(host._given_kernel)
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
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches others that are told "interrupted", or nothing at all, because of one who pressed Ctrl-C."""
    host = machine.host
    kernel = host._given_kernel
    host._given_kernel = OneAtATime(kernel)
    sizes: list[int] = []
    begun, go_on = threading.Event(), threading.Event()
    add_links = FakeKernel.add_links

    def interrupted(self: FakeKernel, steps: Any, then: Any = ()) -> Any:
        sizes.append(len(steps))
        if len(sizes) == 1:
            begun.set()
            assert go_on.wait(20)
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return add_links(self, steps, then)

    monkeypatch.setattr(FakeKernel, "add_links", interrupted)
    threads = Threads()
    queue = host._together._making
    names = ["first", "stopped", "one", "two", "three"]
    for at, name in enumerate(names):
        threads.call(name, lambda name=name: host.create_sandbox(name, endpoints=[EndpointRequest(network="lan")]))  # type: ignore[misc]
        if at == 0:
            assert begun.wait(20)
        else:
            wait_until(lambda at=at: len(queue._waiting) == at, what="a waiting call")  # type: ignore[misc]
    go_on.set()
    results = threads.join()
    assert isinstance(results.pop("stopped"), KeyboardInterrupt)
    assert {name: getattr(box, "name", box) for name, box in results.items()} == {name: name for name in results}
    assert sizes == [1, 4, 3]
    assert {box.name for box in host.sandboxes()} == set(results)
    machine.assert_record_is_true()


def test_an_interruption_while_others_are_told_does_not_make_theirs_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches others that are told that there is a sandbox of that name already: their own."""
    host = machine.host
    kernel = host._given_kernel
    host._given_kernel = OneAtATime(kernel)
    begun, go_on = threading.Event(), threading.Event()
    add_links, end = FakeKernel.add_links, Call.end
    told: list[object] = []

    def held(self: FakeKernel, steps: Any, then: Any = ()) -> Any:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(20)
        return add_links(self, steps, then)

    def interrupted(call: Call[Any, Any], result: Any) -> None:
        told.append(call)
        if len(told) == 3:
            raise KeyboardInterrupt
        end(call, result)

    monkeypatch.setattr(FakeKernel, "add_links", held)
    monkeypatch.setattr(Call, "end", interrupted)
    threads = Threads()
    queue = host._together._making
    for at, name in enumerate(["first", "stopped", "one", "two"]):
        threads.call(name, lambda name=name: host.create_sandbox(name, endpoints=[EndpointRequest(network="lan")]))  # type: ignore[misc]
        if at == 0:
            assert begun.wait(20)
        else:
            wait_until(lambda at=at: len(queue._waiting) == at, what="a waiting call")  # type: ignore[misc]
    go_on.set()
    results = threads.join()
    assert isinstance(results.pop("stopped"), KeyboardInterrupt)
    assert {name: getattr(box, "name", box) for name, box in results.items()} == {name: name for name in results}
    machine.assert_record_is_true()
