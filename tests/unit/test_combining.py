"""What waits for its turn is done by one of those that wait, whoever is interrupted meanwhile."""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING

import pytest

from macvfast.engine import combining
from macvfast.engine.combining import Queue, QueuedCall
from macvfast.errors import StateBusy
from tests.netns import wait_until
from tests.unit.interruption import Interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


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

    def _do(self, calls: Sequence[QueuedCall[int, int]]) -> None:
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


def test_of_several_calls_of_one_thread_any_may_lead_the_next_batch() -> None:
    """One that was left for a later batch comes before one that waits for its turn. Catches a thread that waits for the
    one, while it is to work for the other.
    """
    batches: list[list[int]] = []

    def do(calls: Sequence[QueuedCall[int, int]]) -> None:
        batches.append([call.asked for call in calls])
        for call in calls:
            if call.asked != 3 or len(batches) > 1:
                call.end(call.asked + 1)

    queue: Queue[int, int] = Queue(do, most=10)
    threads = Threads()
    asked = [(1, "a"), (2, "a"), (3, "b")]
    threads.call("several", lambda: [one.outcome() for one in queue.call_all(asked)])
    assert threads.join() == {"several": [2, 3, 4]}
    assert batches == [[1, 3], [3, 2]]


def test_several_calls_of_one_thread_are_done_at_once_and_with_those_of_others() -> None:
    held = Held()
    held.ask(0)
    asked = [(1, "a"), (2, "b"), (3, "a"), (4, None)]
    several = held.threads.call("several", lambda: [one.outcome() for one in held.queue.call_all(asked, "")])
    wait_until(lambda: len(held.queue._waiting) == 4, what="waiting calls")
    held.ask(5)
    held.ask(6, about="b")
    assert held.go_on() == {0: 1, "several": [2, 3, 4, 5], 5: 6, 6: 7}
    assert held.batches == [[0], [1, 2, 4, 5], [3, 6]]
    assert not several.is_alive()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_who_is_interrupted_with_several_calls_leaves_none_of_them_behind(error: BaseException) -> None:
    """What was to be done with them for others is done by one of these."""
    held = Held(fails=error)
    asked = [(number, None) for number in range(3)]
    held.threads.call("several", lambda: held.queue.call_all([*asked, (3, "a"), (4, "a")], ""))
    assert held.begun.wait(20)
    held.ask(5)
    assert held.go_on() == {"several": error, 5: 6}
    assert held.batches == [[0, 1, 2, 3], [5]]


def test_what_is_raised_on_purpose_is_what_becomes_of_all_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets an exception of its own: one that several threads raise collects all of their tracebacks."""
    held = Held()
    held.ask(0)
    for number in (1, 2, 3):
        held.ask(number)

    def refuse(calls: Sequence[QueuedCall[int, int]]) -> None:
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

    def do(calls: Sequence[QueuedCall[int, int]]) -> None:
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
    wait = QueuedCall.wait

    def interrupted(call: QueuedCall[int, int]) -> QueuedCall[int, int]:
        if call.asked == 1:
            if leads:
                wait(call)
            raise KeyboardInterrupt
        return wait(call)

    monkeypatch.setattr(combining.QueuedCall, "wait", interrupted)
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

    def do(calls: Sequence[QueuedCall[int, int]]) -> None:
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


def test_who_asks_in_the_middle_of_its_own_batch_does_not_wait_for_itself() -> None:
    """Such as a program that is told of something by `on_note`, and makes another sandbox."""
    batches: list[list[int]] = []

    def do(calls: Sequence[QueuedCall[int, int]]) -> None:
        batches.append([call.asked for call in calls])
        within = queue.call(2) if len(batches) == 1 else 0
        for call in calls:
            call.end(call.asked + within)

    queue: Queue[int, int] = Queue(do, 10)
    threads = Threads()
    threads.call(1, lambda: queue.call(1))
    assert threads.join() == {1: 3}
    assert batches == [[1], [2]]
    assert queue.call(4) == 4


FOLLOWERS = (2, 3, 4, 5)


class Turns:
    """A queue in which 0 is at work, 1 waits, and behind it the followers: 1 does them with its own, ends every other
    one of them, and leaves the rest.
    """

    def __init__(self) -> None:
        self.queue: Queue[int, int] = Queue(self._do, 100)
        self.done: dict[int, int] = {}
        self.threads: list[threading.Thread] = []
        self.begun = threading.Event()

    def start(self, number: int) -> None:
        def run() -> None:
            self.done[number] = self.queue.call(number)

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def _do(self, calls: Sequence[QueuedCall[int, int]]) -> None:
        if calls[0].asked == 0:
            self.begun.set()
            wait_until(lambda: self.queue._waiting or self.gone, what="the one that is interrupted")
            for number in FOLLOWERS:
                before = len(self.queue._waiting)
                self.start(number)
                wait_until(lambda before=before: len(self.queue._waiting) > before or self.gone, what="a follower")  # type: ignore[misc]
        for call in calls[::2]:
            call.end(call.asked)

    gone = False

    def interrupt(self, at: int) -> bool:
        """Whether an interruption came at that place; everybody else has been served."""
        self.start(0)
        assert self.begun.wait(20)
        interruption = Interruption(at, combining.__file__)
        interruption.during(lambda: self.queue.call(1))
        self.gone = True
        for thread in iter(lambda: self.threads.pop(0) if self.threads else None, None):
            thread.join(20)
            assert not thread.is_alive(), f"a caller hangs after an interruption at place {at}"
        assert self.done == {number: number for number in (0, *FOLLOWERS)}
        assert self.queue._leader is None
        assert self.queue._waiting == []
        return interruption.came


def test_an_interruption_anywhere_in_the_queue_leaves_nobody_waiting() -> None:
    """Catches one that comes after a batch was taken off the queue, or after the next leader was, and before that is
    told: what was taken was lost, and all others waited for ever.
    """
    places = next(at for at in count() if not Turns().interrupt(at))
    assert places > 20
