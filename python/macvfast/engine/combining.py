"""Combine calls of several threads: one of the threads carries out, as one batch, what several have asked for.

A caller that finds no batch running carries out its own call immediately, on its own thread. Callers that arrive in the
meantime wait. Then the first of them carries out all waiting calls that can go together. Nothing is promised about the
order of calls that wait at the same time: the result is that of one after the other, in some order.
"""

from __future__ import annotations

import copy
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from macvfast.errors import MacvfastError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

A = TypeVar("A")
T = TypeVar("T")


class QueuedCall(Generic[A, T]):
    """The call of one caller, and its outcome.

    Attributes:
        asked: the request.
        kind: only calls of one kind are carried out together.
        about: of calls about the same thing, only one is carried out at a time; None: nothing that another call can
            name.
        news: of its caller: gets the call when it has ended, and before that, if its thread is to carry out a batch.
    """

    def __init__(self, asked: A, kind: Hashable, about: Hashable | None, news: SimpleQueue[QueuedCall[A, T]]) -> None:
        self.asked = asked
        self.kind = kind
        self.about = about
        self.ended = False
        self._results: list[T] = []
        self._error: MacvfastError | None = None
        # Used by the queue: whether its thread carries out a batch; which calls are in that batch; whether its caller
        # was interrupted and has left.
        self.leads = False
        self.batch: Sequence[QueuedCall[A, T]] = ()
        self.gone = False
        self._news = news

    def end(self, result: T) -> None:
        """The call is done, and its caller continues. The first outcome counts."""
        if not self.ended:
            self._results = [result]
            self.ended = True
            self._news.put(self)

    def fail(self, error: MacvfastError) -> None:
        """The call was refused."""
        if not self.ended:
            self._error = error
            self.ended = True
            self._news.put(self)

    def lead(self) -> None:
        """Have its thread carry out the next batch."""
        self.leads = True
        self._news.put(self)

    def wait(self) -> QueuedCall[A, T]:
        """Wait until one of the calls of its caller has ended, or leads, and give that."""
        return self._news.get()

    def outcome(self) -> T:
        """Return its result, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._results[0]


class Queue(Generic[A, T]):
    """Calls that are carried out one batch after the other.

    Python may raise an interruption wherever a function begins or a call in it returns. Wherever that happens, once,
    the work that was begun there is continued before the interrupted caller leaves.

    Args:
        do: carries out a batch: ends each of its calls, or leaves it for a later batch; never the first, which belongs
            to the thread that calls it. An error that macvfast raises on purpose becomes the outcome of all calls that
            have not ended. Any other exception, such as an interruption, is raised in this thread alone, and another
            thread carries out the rest.
        most: the largest number of calls in a batch.
    """

    def __init__(self, do: Callable[[Sequence[QueuedCall[A, T]]], None], most: int) -> None:
        self._do = do
        self._most = most
        self._mutex = threading.Lock()
        # The call whose thread carries out a batch that is not passed on yet; it may not have been woken yet.
        self._leader: QueuedCall[A, T] | None = None
        # The threads that carry out batches, passed on or not.
        self._at_work: set[int] = set()
        self._waiting: list[QueuedCall[A, T]] = []

    def call(self, asked: A, kind: Hashable = None, about: Hashable | None = None) -> T:
        """Carry out a call, alone or with others. Returns its result."""
        (call,) = self.call_all([(asked, about)], kind)
        return call.outcome()

    def call_all(self, asked: Iterable[tuple[A, Hashable | None]], kind: Hashable = None) -> list[QueuedCall[A, T]]:
        """Carry out several calls of this thread, each with what it is about, together and with others. Returns them in
        their order, ended.
        """
        news: SimpleQueue[QueuedCall[A, T]] = SimpleQueue()
        calls = [QueuedCall(one, kind, about, news) for one, about in asked]
        if threading.get_ident() in self._at_work:
            # This thread itself is carrying out a batch: waiting for that batch would never end.
            for call in calls:
                self._do([call])
            return calls
        try:
            with self._mutex:
                self._waiting += calls
                self._begin()
            while [call for call in calls if not call.ended]:
                # Any of them may be the next that is to lead.
                call = calls[0].wait()
                if not call.ended:
                    self._lead(call)
                    self._leave([call])
        finally:
            try:
                self._leave(calls)
            except BaseException:
                # Interrupted: nobody else would carry out the rest of the batch.
                self._leave(calls)
                raise
        return calls

    def pass_on(self, call: QueuedCall[A, T]) -> None:
        """Let the next batch begin, while this one, whose first call is given, is still waited for."""
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
                # An exception for each: a traceback belongs to one thread.
                one.fail(error if one is call else copy.copy(error))
        finally:
            self._at_work.discard(me)

    def _take(self, call: QueuedCall[A, T]) -> None:
        """Let this call lead those waiting calls that can go together with it."""
        batch, rest, about = [call], [], {call.about} - {None}
        for one in self._waiting:
            if len(batch) < self._most and one.kind == call.kind and one.about not in about:
                batch.append(one)
                about |= {one.about} - {None}
            else:
                rest.append(one)
        # In one step: no call may be in both lists, or in neither.
        call.batch, self._waiting = batch, rest

    def _leave(self, calls: Sequence[QueuedCall[A, T]]) -> None:
        """Leave the queue, done or interrupted. The rest of their batches waits again."""
        with self._mutex:
            for call in calls:
                call.gone = True
            for call in calls:
                left = [one for one in call.batch if not one.ended and not one.gone]
                call.batch, self._waiting = (), [*left, *self._waiting]
                if call in self._waiting:
                    self._waiting.remove(call)
                self._pass_on(call)

    def _pass_on(self, call: QueuedCall[A, T]) -> None:
        if self._leader is call:
            self._leader = None
        self._begin()

    def _begin(self) -> None:
        """Let the first waiting call lead the next batch, unless a batch is being carried out."""
        if self._leader is None and self._waiting:
            self._leader = self._waiting[0]
        leader = self._leader
        if leader is not None and not leader.leads:
            if leader in self._waiting:
                self._waiting.remove(leader)
            leader.lead()
