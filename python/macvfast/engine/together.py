"""Sandboxes and endpoints that are asked for one at a time, by several threads: made and removed many at once."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, NamedTuple

from macvfast.engine.attach import CHUNK
from macvfast.engine.combining import Queue
from macvfast.engine.making import Attempt
from macvfast.errors import MacvfastError, NamespaceChanged, UndoFailed
from macvfast.model import Sandbox
from macvfast.outcomes import Outcome
from macvfast.state.lookup import one_sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from macvfast.engine.combining import QueuedCall
    from macvfast.engine.making import AttachRequest, NewSandbox
    from macvfast.engine.sandboxes import Sandboxes
    from macvfast.engine.unfinished import Finished
    from macvfast.model import Endpoint
    from macvfast.state.store import Store

    Asked = Callable[[Sandboxes], Attempt]
    Gone = Outcome[str]


class _Leaving(NamedTuple):
    """A sandbox that is to go, or (`network`) that is to leave a network, by the link `ifname` where that is said."""

    sandbox: str
    network: str | None = None
    ifname: str | None = None
    force: bool = False


class Together:
    """What is made waits for what is made before it, and what goes for what goes; neither for the other, nor for the
    kernel to let go. Two calls about one sandbox are not done together. Networks are made and removed elsewhere, each
    in a transaction of its own.
    """

    def __init__(
        self, store: Store, boxes: Callable[[], Sandboxes], changing: Callable[[], AbstractContextManager[Finished]]
    ) -> None:
        self._store = store
        self._boxes = boxes
        self._changing = changing
        self._making: Queue[Asked, Attempt] = Queue(self._make, CHUNK)
        self._going: Queue[_Leaving, Gone] = Queue(self._take_away, CHUNK)

    def create(self, request: AttachRequest) -> Attempt:
        """Make a sandbox with its endpoints."""
        tried: list[Attempt] = []

        def again(_: Sandboxes) -> Attempt:
            tried.append(Attempt(request))
            return tried[-1]

        try:
            return self._making.call(again, about=request.sandbox.name)
        except BaseException:
            for one in tried:
                one.let_go()
            raise

    def connect(self, asked: Callable[[Sandboxes], AttachRequest], sandbox: str) -> Endpoint:
        """Make one endpoint of a sandbox.

        Args:
            asked: gives what is asked for, when its turn has come.
            sandbox: what the sandbox is called here.
        """
        attempt = self._making.call(lambda boxes: Attempt(asked(boxes)), about=sandbox)
        return attempt.made.endpoints[0].endpoint

    def disconnect(self, network: str, sandbox: str, ifname: str | None) -> Gone:
        """Take a sandbox off a network; `ifname`: which link of it."""
        return self._go(_Leaving(sandbox, network, ifname))

    def remove(self, sandbox: str, *, force: bool) -> Gone:
        """Remove a sandbox with all its endpoints."""
        return self._go(_Leaving(sandbox, force=force))

    def _go(self, asked: _Leaving) -> Gone:
        return self._going.call(asked, (asked.network, asked.ifname, asked.force), asked.sandbox)

    # Making.

    def _make(self, calls: Sequence[QueuedCall[Asked, Attempt]]) -> None:
        with self._changing():
            boxes = self._boxes()
            begun: list[tuple[QueuedCall[Asked, Attempt], Attempt]] = []
            ids: set[str] = set()
            for call in calls:
                try:
                    attempt = call.asked(boxes)
                except MacvfastError as error:
                    call.fail(error)
                    continue
                box = attempt.request.sandbox
                if isinstance(box, Sandbox):
                    if box.id in ids:
                        # It was called by its name, and by its id: the second is for the next batch.
                        continue
                    ids.add(box.id)
                begun.append((call, attempt))
            interrupted = True
            try:
                if begun:
                    boxes.make([attempt for _, attempt in begun])
                interrupted = False
            finally:
                try:
                    self._end_made(begun, interrupted=interrupted)
                except BaseException:
                    # Interrupted: what was made for a call that has not ended would be made again.
                    self._end_made(begun, interrupted=interrupted)
                    raise

    def _end_made(self, begun: Sequence[tuple[QueuedCall[Asked, Attempt], Attempt]], *, interrupted: bool) -> None:
        """End the calls; one that an interruption of the first undid is left for another batch."""
        raised: set[int] = set()
        for call, attempt in begun:
            if attempt.error is None and attempt.making is not None:
                call.end(attempt)
                if call.gone:
                    attempt.let_go()
            elif attempt.error is not None and (not interrupted or isinstance(attempt.error, UndoFailed)):
                error = self._why(attempt.request.sandbox, attempt.error)
                # What refused several is raised on several threads: a traceback belongs to one.
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
        boxes = self._boxes()
        boxes.detacher.on_let_go = lambda: self._going.pass_on(first)
        if first.asked.network is not None:
            self._disconnect(boxes, first.asked.network, first.asked.ifname, calls)
        else:
            self._remove(boxes, calls, force=first.asked.force)

    def _disconnect(
        self, boxes: Sandboxes, network: str, ifname: str | None, calls: Sequence[QueuedCall[_Leaving, Gone]]
    ) -> None:
        with self._changing():
            self._end(self._apart(calls), lambda keys: boxes.disconnect_many(network, keys, ifname))

    @staticmethod
    def _end(
        these: dict[str, QueuedCall[_Leaving, Gone]], take_away: Callable[[Sequence[str]], Sequence[Gone]]
    ) -> None:
        outcomes = take_away([call.asked.sandbox for call in these.values()])
        for call, outcome in zip(these.values(), outcomes, strict=True):
            call.end(outcome)

    def _remove(self, boxes: Sandboxes, calls: Sequence[QueuedCall[_Leaving, Gone]], *, force: bool) -> None:
        with self._changing() as finished:
            these = self._apart(calls)

            def gone(sandboxes: Sequence[Sandbox]) -> None:
                # Before the others: nobody waits for a sandbox that something else keeps alive.
                for sandbox in sandboxes:
                    if sandbox.id in these:
                        call = these[sandbox.id]
                        call.end(Outcome(call.asked.sandbox, value=sandbox.name))

            boxes.detacher.on_gone = gone
            self._end(these, lambda keys: finished.count_sandboxes(boxes.remove_many(keys, force=force), force=force))

    def _apart(self, calls: Sequence[QueuedCall[_Leaving, Gone]]) -> dict[str, QueuedCall[_Leaving, Gone]]:
        """Those of the calls that are about different sandboxes, whatever these were called, the first among them."""
        first, *others = calls
        if not others:
            return {"": first}
        with self._store.reading() as records:
            found = records.sandbox_ids([call.asked.sandbox for call in calls])
        if first.asked.sandbox not in found:
            # The beginning of an id, or nothing: one of the others may be about the same.
            return {"": first}
        apart = {found[first.asked.sandbox]: first}
        for call in others:
            if call.asked.sandbox in found:
                apart.setdefault(found[call.asked.sandbox], call)
        return apart
