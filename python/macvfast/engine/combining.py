"""What several threads ask for at the same time, done together by one of them: whoever waits for its turn is served by
it.

A caller that finds nobody at work does its own call at once, on its own thread. Those that come meanwhile wait, and the
first of them does for all of them that go together. Nothing is promised about the order of calls that wait at the same
time: what becomes of them is what becomes of them one after the other, in some order.
"""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from macvfast.errors import MacvfastError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

A = TypeVar("A")
T = TypeVar("T")


class QueuedCall(Generic[A, T]):
    """One caller's call, and what became of it.

    Attributes:
        asked: what it asks for.
        kind: only calls of one kind are done together.
        about: of those that are about the same, only one at a time; None: about nothing that another call can name.
    """

    def __init__(self, asked: A, kind: Hashable, about: Hashable | None) -> None:
        self.asked = asked
        self.kind = kind
        self.about = about
        self.ended = False
        self._results: list[T] = []
        self._error: MacvfastError | None = None
        # The queue's own: whether its thread does a batch, which calls are in that, and whether its caller has gone,
        # interrupted.
        self.leads = False
        self.batch: Sequence[QueuedCall[A, T]] = ()
        self.gone = False
        self._wake = threading.Lock()
        self._wake.acquire()

    def end(self, result: T) -> None:
        """It is done, and its caller may go on. What came first counts."""
        if not self.ended:
            self._results = [result]
            self.ended = True
            self._wake.release()

    def fail(self, error: MacvfastError) -> None:
        """It was refused."""
        if not self.ended:
            self._error = error
            self.ended = True
            self._wake.release()

    def lead(self) -> None:
        """Have its thread do the next batch."""
        self.leads = True
        self._wake.release()

    def wait(self) -> None:
        """Until it has ended, or leads."""
        self._wake.acquire()

    def outcome(self) -> T:
        """What it gave, or raised."""
        if self._error is not None:
            raise self._error
        return self._results[0]


class Queue(Generic[A, T]):
    """Calls that are done one batch after the other.

    An interruption, which Python raises where a function begins or a call of one returns, may come at any such place,
    once: what was begun there is gone on with before the interrupted caller leaves.

    Args:
        do: does a batch: ends each of its calls, or leaves it for a later batch; never the first, which is its own
            caller's. What macvfast raises on purpose is what becomes of all that it has not ended; anything else,
            an interruption say, is its own caller's alone, and the others are done by somebody else.
        most: calls in a batch.
    """

    def __init__(self, do: Callable[[Sequence[QueuedCall[A, T]]], None], most: int) -> None:
        self._do = do
        self._most = most
        self._mutex = threading.Lock()
        # Whose thread does a batch that nobody passes on yet; it may have to be woken still.
        self._leader: QueuedCall[A, T] | None = None
        # The threads that do batches, passed on or not.
        self._at_work: set[int] = set()
        self._waiting: list[QueuedCall[A, T]] = []

    def call(self, asked: A, kind: Hashable = None, about: Hashable | None = None) -> T:
        """Have it done, alone or with others: what it gave, or raised."""
        call: QueuedCall[A, T] = QueuedCall(asked, kind, about)
        if threading.get_ident() in self._at_work:
            # Called by what this thread itself is doing for a batch: waiting for that would never end.
            self._do([call])
            return call.outcome()
        try:
            with self._mutex:
                self._waiting.append(call)
                self._begin()
            call.wait()
            if call.leads:
                self._lead(call)
        finally:
            try:
                self._leave(call)
            except BaseException:
                # Interrupted: nobody else would do what is left of it.
                self._leave(call)
                raise
        return call.outcome()

    def pass_on(self, call: QueuedCall[A, T]) -> None:
        """Let the next batch begin, while this one, of which it is the first call, is still waited for."""
        with self._mutex:
            self._pass_on(call)

    def _lead(self, call: QueuedCall[A, T]) -> None:
        me = threading.get_ident()
        with self._mutex:
            self._take(call)
        try:
            self._at_work.add(me)
            self._do(call.batch)
        except MacvfastError as error:
            for one in call.batch:
                # Each of its own: a traceback belongs to one thread.
                one.fail(error if one is call else copy.copy(error))
        finally:
            self._at_work.discard(me)

    def _take(self, call: QueuedCall[A, T]) -> None:
        """Have the call do those that wait and go together with it."""
        batch, rest, about = [call], [], {call.about} - {None}
        for one in self._waiting:
            if len(batch) < self._most and one.kind == call.kind and one.about not in about:
                batch.append(one)
                about |= {one.about} - {None}
            else:
                rest.append(one)
        # At once: no call may be in both, or in neither.
        call.batch, self._waiting = batch, rest

    def _leave(self, call: QueuedCall[A, T]) -> None:
        """Go, done or interrupted: nobody waits for this caller. What is left of its batch waits again."""
        with self._mutex:
            call.gone = True
            left = [one for one in call.batch if one is not call and not one.ended and not one.gone]
            call.batch, self._waiting = (), [*left, *self._waiting]
            if call in self._waiting:
                self._waiting.remove(call)
            self._pass_on(call)

    def _pass_on(self, call: QueuedCall[A, T]) -> None:
        if self._leader is call:
            self._leader = None
        self._begin()

    def _begin(self) -> None:
        """Have the first of those that wait do the next batch, unless somebody does one."""
        if self._leader is None and self._waiting:
            self._leader = self._waiting[0]
        leader = self._leader
        if leader is not None and not leader.leads:
            if leader in self._waiting:
                self._waiting.remove(leader)
            leader.lead()
