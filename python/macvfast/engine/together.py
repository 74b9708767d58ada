"""Combine requests for one sandbox or endpoint each, from several threads, and create and remove many at once."""

from __future__ import annotations

import threading
from copy import copy
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from macvfast.engine.attach import CHUNK
from macvfast.engine.combining import Queue
from macvfast.engine.making import Attempt
from macvfast.engine.removal import RemovalOptions
from macvfast.errors import MacvfastError, NamespaceChanged, UndoFailed
from macvfast.model import Sandbox
from macvfast.outcomes import Outcome
from macvfast.requests import PluginRequest
from macvfast.state.lookup import one_sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.engine.combining import QueuedCall
    from macvfast.engine.making import AttachRequest, NewSandbox
    from macvfast.engine.sandboxes import Sandboxes
    from macvfast.engine.unfinished import UnfinishedWork
    from macvfast.model import Endpoint
    from macvfast.state.store import Store

    Asked = PluginRequest | Callable[[], Attempt]
    Gone = Outcome[str]


class _Leaving(NamedTuple):
    """A sandbox to be removed, or (`network`) to be taken off a network, by the link `ifname` if that is given."""

    sandbox: str
    network: str | None = None
    ifname: str | None = None
    force: bool = False
    # Gets the outcome where nobody waits for the kernel: the first one counts.
    early: SimpleQueue[Gone] | None = None
    # Where its namespace may be beside its path.
    place: str | None = None


def _made(call: QueuedCall[Asked, Attempt]) -> Endpoint | MacvfastError:
    try:
        return call.outcome().made.endpoints[0].endpoint
    except MacvfastError as error:
        return error


class Together:
    """Creations wait for earlier creations, and removals for earlier removals; neither waits for the other, or for the
    kernel to delete links. Two calls about the same sandbox are not combined. Networks are created and removed
    elsewhere, each in its own transaction.
    """

    def __init__(self, store: Store, boxes: Sandboxes, unfinished: UnfinishedWork) -> None:
        self._store = store
        self._boxes = boxes
        self._unfinished = unfinished
        self._making: Queue[Asked, Attempt] = Queue(self._make, CHUNK)
        self._going: Queue[_Leaving, Gone] = Queue(self._take_away, CHUNK)
        # What goes on after `begin_removal` was answered.
        self._removals: dict[threading.Thread, None] = {}

    def create(self, request: AttachRequest) -> Attempt:
        """Create a sandbox with its endpoints."""
        tried: list[Attempt] = []

        def again() -> Attempt:
            tried.append(Attempt(request))
            return tried[-1]

        try:
            return self._making.call(again, about=request.sandbox.name)
        except BaseException:
            for one in tried:
                one.let_go()
            raise

    def connect(self, asked: PluginRequest) -> Endpoint:
        """Make one endpoint of a sandbox."""
        attempt = self._making.call(asked, about=asked.endpoint.sandbox)
        return attempt.made.endpoints[0].endpoint

    def connect_each(self, asked: Sequence[PluginRequest]) -> list[Endpoint | MacvfastError]:
        """Make an endpoint each of several sandboxes; what each is, or why it was not made."""
        calls = self._making.call_all([(one, one.endpoint.sandbox) for one in asked])
        return [_made(call) for call in calls]

    def disconnect(self, network: str, sandbox: str, ifname: str | None) -> Gone:
        """Take a sandbox off a network; `ifname`: which link of it."""
        return self._go(_Leaving(sandbox, network, ifname))

    def remove(self, sandbox: str, *, force: bool, place: str | None = None) -> Gone:
        """Remove a sandbox with all its endpoints; `place`: a path at which its namespace may be, too."""
        return self._go(_Leaving(sandbox, force=force, place=place))

    def begin_removal(self, sandbox: str, place: str | None = None) -> Gone:
        """Remove a sandbox that stands for a namespace which others made, by its id and by force. Returns when this is
        durable and its links are gone from the namespace; a thread of its own does the rest, and `Store.close` waits
        for it. `place`: as of `remove`.
        """
        answer: SimpleQueue[Gone] = SimpleQueue()
        asked = _Leaving(sandbox, force=True, early=answer, place=place)

        def remove() -> None:
            self._removals[threading.current_thread()] = None
            try:
                answer.put(self._go(asked))
            except MacvfastError as error:
                answer.put(Outcome(sandbox, error=error))
            except BaseException as error:
                answer.put(Outcome(sandbox, error=MacvfastError("macvfast has failed", causes=[repr(error)])))
                raise
            finally:
                del self._removals[threading.current_thread()]

        try:
            threading.Thread(target=remove, name="macvfast-remove").start()
        except RuntimeError:
            # No further thread can be started.
            return self.remove(sandbox, force=True, place=place)
        return answer.get()

    @property
    def removes(self) -> bool:
        """Whether something goes on that `begin_removal` began. Until it ends, its addresses are taken."""
        return bool(self._removals)

    def _go(self, asked: _Leaving) -> Gone:
        kind = (asked.network, asked.ifname, asked.force, asked.early is None)
        return self._going.call(asked, kind, asked.sandbox)

    # Making.

    def _make(self, calls: Sequence[QueuedCall[Asked, Attempt]]) -> None:
        with self._unfinished.taken_up():
            begun: list[tuple[QueuedCall[Asked, Attempt], Attempt]] = []
            ids: set[str] = set()
            asked = [call.asked for call in calls if isinstance(call.asked, PluginRequest)]
            connecting = iter(self._boxes.connecting(asked) if asked else ())
            for call in calls:
                if isinstance(call.asked, PluginRequest):
                    request = next(connecting)
                    if isinstance(request, MacvfastError):
                        call.fail(request)
                        continue
                    attempt = Attempt(request)
                else:
                    attempt = call.asked()
                box = attempt.request.sandbox
                if isinstance(box, Sandbox):
                    if box.id in ids:
                        # Two calls named it by its name and by its id: the second is for the next batch.
                        continue
                    ids.add(box.id)
                begun.append((call, attempt))
            interrupted = True
            try:
                if begun:
                    self._boxes.make([attempt for _, attempt in begun])
                interrupted = False
            finally:
                try:
                    self._end_made(begun, interrupted=interrupted)
                except BaseException:
                    # Interrupted: what was created for a call that has not ended would be created again.
                    self._end_made(begun, interrupted=interrupted)
                    raise

    def _end_made(self, begun: Sequence[tuple[QueuedCall[Asked, Attempt], Attempt]], *, interrupted: bool) -> None:
        """End the calls. A call that was undone by an interruption of the first one is left for another batch."""
        raised: set[int] = set()
        for call, attempt in begun:
            if attempt.error is None and attempt.making is not None:
                call.end(attempt)
                if call.gone:
                    attempt.let_go()
            elif attempt.error is not None and (not interrupted or isinstance(attempt.error, UndoFailed)):
                error = self._why(attempt.request.sandbox, attempt.error)
                # An error that refuses several calls is raised on several threads: a traceback belongs to one.
                call.fail(copy(error) if id(error) in raised else error)
                raised.add(id(error))

    def _why(self, sandbox: Sandbox | NewSandbox, error: MacvfastError) -> MacvfastError:
        """What refused an attempt: of a sandbox that is being removed, not that its namespace is gone."""
        if isinstance(error, NamespaceChanged) and isinstance(sandbox, Sandbox):
            try:
                with self._store.reading() as records:
                    one_sandbox(records, self._store, sandbox.id)
            except MacvfastError as truer:
                return truer
        return error

    # Taking away.

    def _take_away(self, calls: Sequence[QueuedCall[_Leaving, Gone]]) -> None:
        first = calls[0]
        with self._unfinished.taken_up() as finished:
            these = self._apart(calls)

            def gone(sandboxes: Sequence[Sandbox]) -> None:
                # Before the others: nobody waits for a sandbox that something else keeps alive.
                for sandbox in sandboxes:
                    if sandbox.id in these:
                        call = these[sandbox.id]
                        call.end(Outcome(call.asked.sandbox, value=sandbox.name))

            def vanished(sandboxes: Sequence[Sandbox]) -> None:
                self._going.pass_on(first)
                for sandbox in sandboxes:
                    call = these.get(sandbox.id, first)
                    outcome = Outcome(call.asked.sandbox, value=sandbox.name)
                    if call.asked.early is not None:
                        call.asked.early.put(outcome)
                    call.end(outcome)

            keys = [call.asked.sandbox for call in these.values()]
            if first.asked.network is not None:
                outcomes = self._boxes.disconnect_many(first.asked.network, keys, first.asked.ifname)
            else:
                options = RemovalOptions(
                    force=first.asked.force,
                    places=[call.asked.place for call in these.values() if call.asked.place is not None],
                    on_let_go=lambda: self._going.pass_on(first),
                    on_gone=gone,
                    on_vanished=None if first.asked.early is None else vanished,
                )
                removed = self._boxes.remove_many(keys, options)
                outcomes = finished.count_sandboxes(removed, force=options.force)
            for call, outcome in zip(these.values(), outcomes, strict=True):
                call.end(outcome)

    def _apart(self, calls: Sequence[QueuedCall[_Leaving, Gone]]) -> dict[str, QueuedCall[_Leaving, Gone]]:
        """Those of the calls that are about different sandboxes, whatever these were called, the first among them."""
        first, *others = calls
        if not others:
            return {"": first}
        with self._store.reading() as records:
            found = records.sandbox_ids([call.asked.sandbox for call in calls])
        if first.asked.sandbox not in found:
            # It is an id prefix, or unknown: one of the other calls may be about the same sandbox.
            return {"": first}
        apart = {found[first.asked.sandbox]: first}
        for call in others:
            if call.asked.sandbox in found:
                apart.setdefault(found[call.asked.sandbox], call)
        return apart
