"""Create endpoints: whole sandboxes, or further endpoints of existing sandboxes, many at once or one.

For each chunk: namespaces are created (pinned at no path, so that a crash leaves nothing); one durable transaction
records each intent with its addresses; links and addresses are created in few sends; one durable transaction settles
what succeeded. If there are several chunks, one is created in the kernel while the chunk before it is settled and the
namespaces of the next two are created. What failed is undone by `detach`, which also finishes what a dead process left.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from macvfast import plan
from macvfast.engine.choose import Chooser
from macvfast.engine.make import Maker
from macvfast.engine.making import NewSandbox, Opened
from macvfast.engine.removal import Removal
from macvfast.engine.sandbox_directories import Writing
from macvfast.errors import MacTaken, MacvfastError, NamespaceInvalid, SandboxBusy, UndoFailed
from macvfast.kernel.namespaces import close_all, make_each, open_recorded
from macvfast.model import Sandbox
from macvfast.system import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from macvfast.engine.detach import Detacher
    from macvfast.engine.making import Attempt, Making
    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.kernel.namespaces import Sysctls
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# Sandboxes in one transaction and one send: enough that the cost of the two syncs does not matter, and few enough that
# Ctrl-C and other processes get their turn. The first chunk of several is smaller: until it is recorded, the kernel has
# nothing to do.
CHUNK, FIRST_CHUNK = 128, 32

T = TypeVar("T")


class _Task(Generic[T]):
    """Work on a thread of its own, or, if nothing is to run at the same time, immediately."""

    def __init__(self, work: Callable[[], T], ended: threading.Semaphore, *, beside: bool) -> None:
        """`ended` is released when the work has ended."""
        self._work = work
        self._ended = ended
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="macvfast-chunk") if beside else None
        try:
            if self._thread is not None:
                self._thread.start()
        except RuntimeError:
            # No further thread can be started.
            self._thread = None
        if self._thread is None:
            self._run()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            self._errors.append(error)
        self._ended.release()

    @property
    def ended(self) -> bool:
        """Whether there is a result, or an error."""
        return bool(self._results or self._errors)

    def wait(self) -> None:
        """Wait for its end."""
        if self._thread is not None:
            self._thread.join()

    def left(self) -> T | tuple[()]:
        """What it returned, if it returned anything; it has ended."""
        return self._results[0] if self._results else ()

    def result(self) -> T:
        """Wait for its end; return what it returned, or raise what it raised."""
        self.wait()
        if self._errors:
            raise self._errors[0]
        return self._results[0]


@dataclass(slots=True)
class _Call:
    """What the chunks of one call share.

    Attributes:
        chooser: chooses for all of them.
        ended: released by each task that ends.
        given: given namespaces by their paths; open until the call ends.
        writing: the files of new sandboxes.
    """

    chooser: Chooser
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    given: dict[str, Namespace | MacvfastError] = field(default_factory=dict)
    writing: Writing = field(default_factory=Writing)


@dataclass(slots=True)
class _Chunk:
    """Attempts that are recorded, created and settled together."""

    call: _Call
    attempts: Sequence[Attempt]
    # The attempts that get a new namespace, with the settings of links that are created in it; and these namespaces.
    fresh: list[tuple[Attempt, Sysctls]] = field(default_factory=list)
    namespaces: _Task[list[Namespace]] | None = None
    opened: list[Opened] = field(default_factory=list)
    intent: int = 0
    making: _Task[None] | None = None
    ended: bool = False
    second: bool = False

    @property
    def good(self) -> list[Attempt]:
        return [one for one in self.attempts if one.error is None]

    @property
    def failed(self) -> list[Making]:
        """The sandboxes and endpoints that were recorded and will not be created."""
        return [one.making for one in self.attempts if one.making is not None and one.error is not None]

    def fail(self, error: MacvfastError) -> None:
        """Give up all attempts, each for its own error or for this one."""
        for one in self.attempts:
            one.fail(error)


class Attacher:
    """Creates endpoints, chunk by chunk."""

    def __init__(
        self, store: Store, kernel: Kernel, directories: SandboxDirectories, detacher: Detacher, netns_dir: str
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._directories = directories
        self._detacher = detacher
        self._netns_dir = netns_dir
        self._maker = Maker(store, kernel)

    def attach(
        self, chunks: Iterable[Sequence[Attempt]], ended: Callable[[Sequence[Attempt]], None] = lambda _: None
    ) -> None:
        """Create what is requested. Each attempt ends with all its endpoints created and settled, or with an error and
        nothing created.

        Args:
            chunks: attempts that are recorded, created and settled together, in the order in which addresses are
                allocated; read when they are needed. An attempt that has an error already is skipped.
            ended: called with the attempts of each chunk, in order, when they have ended.
        """
        call = _Call(Chooser(self._store, self._kernel, self._netns_dir))
        coming = (self._chunk(call, attempts) for attempts in chunks)
        current = next(coming, None)
        upcoming = next(coming, None)
        beside = upcoming is not None
        before: _Chunk | None = None

        def end(chunk: _Chunk) -> None:
            self._finish(chunk)
            ended(chunk.attempts)

        try:
            if current is not None:
                self._namespaces(current, None, beside=False)
            while current is not None:
                if upcoming is not None:
                    self._namespaces(upcoming, current.namespaces, beside=True)
                # The chunk before is settled while the kernel creates the namespaces of this chunk, or else its links.
                if before is not None and _is_first(call.ended, before.making, current.namespaces):
                    end(before)
                    before = None
                self._open(current)
                self._choose(current)
                self._start(current, beside=beside)
                if before is not None:
                    end(before)
                before, current, upcoming = current, upcoming, next(coming, None)
            if before is not None:
                end(before)
        except BaseException:
            # After a bug or an interruption, too, what was created is settled, and what was only begun is undone.
            for chunk in (before, current, upcoming):
                if chunk is not None and not chunk.ended:
                    self._break_off(chunk)
            raise
        finally:
            close_all(list(call.given.values()))
            self._directories.report_unseen(call.writing)

    def _chunk(self, call: _Call, attempts: Sequence[Attempt], *, second: bool = False) -> _Chunk:
        """The attempts, with the settings of links in new namespaces: those that the first network needs."""
        chunk = _Chunk(call, attempts, second=second)
        with self._store.reading() as records:
            known: dict[str, Sysctls] = {}
            for one in chunk.good:
                if one.request.fresh:
                    first = next((request.network for request in one.request.endpoints), None)
                    if first is not None and first not in known:
                        found = records.network(first)
                        known[first] = plan.ipv6_sysctls("default", found[0]) if len(found) == 1 else ()
                    chunk.fresh.append((one, () if first is None else known[first]))
        return chunk

    def _break_off(self, chunk: _Chunk) -> None:
        if chunk.making is not None:
            self._finish(chunk)
            return
        if chunk.namespaces is not None:
            chunk.namespaces.wait()
            close_all(chunk.namespaces.left())
        self._give_up(chunk)
        self._close(chunk)

    def _give_up(self, chunk: _Chunk) -> None:
        asked = chunk.attempts[0].request.sandbox
        chunk.fail(SandboxBusy("sandbox", asked.name or "", "interrupted"))
        self._undo(chunk)

    # Namespaces.

    def _namespaces(self, chunk: _Chunk, after: _Task[list[Namespace]] | None, *, beside: bool) -> None:
        """Begin to create the new namespaces of a chunk, in the order of its items, after those of another chunk."""
        wanted = [sysctls for _, sysctls in chunk.fresh]

        def work() -> list[Namespace]:
            if after is not None:
                after.wait()
            return make_each(self._kernel, wanted)

        if wanted:
            chunk.namespaces = _Task(work, chunk.call.ended, beside=beside)

    def _open(self, chunk: _Chunk) -> None:
        """Open the namespace of every attempt: a new one for a new sandbox, the recorded or given one for others."""
        try:
            if chunk.namespaces is not None:
                made = zip(chunk.fresh, chunk.namespaces.result(), strict=True)
                chunk.opened = [Opened(one, namespace, sysctls) for (one, sysctls), namespace in made]
            recorded = [(one, box) for one in chunk.good if isinstance(box := one.request.sandbox, Sandbox)]
            self._hold(chunk, [one for one, _ in recorded], open_recorded(self._kernel, [box for _, box in recorded]))
            self._open_given(chunk)
        except MacvfastError as error:
            chunk.fail(error)

    def _open_given(self, chunk: _Chunk) -> None:
        """Open the given namespaces once more: what is at the path of one may have changed since the call began."""
        given = [
            (one, box, box.opened or box.netns)
            for one in chunk.good
            if isinstance(box := one.request.sandbox, NewSandbox) and box.netns is not None
        ]
        known = chunk.call.given
        paths = list({path: None for _, _, path in given if path not in known})
        if paths:
            known |= zip(paths, self._kernel.open_namespaces(paths), strict=True)
        self._hold(chunk, [one for one, _, _ in given], [_checked(box, known[path]) for _, box, path in given])

    @staticmethod
    def _hold(chunk: _Chunk, attempts: Sequence[Attempt], found: Sequence[Namespace | MacvfastError]) -> None:
        for one, namespace in zip(attempts, found, strict=True):
            if isinstance(namespace, MacvfastError):
                one.fail(namespace)
            else:
                chunk.opened.append(Opened(one, namespace))

    def _close(self, chunk: _Chunk) -> None:
        kept = list(chunk.call.given.values())
        for one in chunk.opened:
            if one.attempt.starts:
                one.attempt.namespace = one.namespace
                kept.append(one.namespace)
        close_all([one.namespace for one in chunk.opened if one.namespace not in kept])
        chunk.opened = []

    # One chunk.

    def _choose(self, chunk: _Chunk) -> None:
        """Record, durably, what is going to be created."""
        items = {id(one.attempt): one for one in chunk.opened if one.attempt.error is None}
        if not items:
            return
        try:
            with self._store.writing() as records:
                # In the order of the requests.
                order = [items[id(one)] for one in chunk.attempts if id(one) in items]
                chunk.intent, chosen = chunk.call.chooser.choose(records, order)
            for attempt, making in chosen:
                attempt.making = making
        except MacvfastError as error:
            chunk.fail(error)

    def _start(self, chunk: _Chunk, *, beside: bool) -> None:
        """Begin to create what was recorded, while the chunk before it goes on; the socket sends the links of that
        chunk first.
        """
        items = chunk.good

        def work() -> None:
            try:
                self._maker.make([one.made for one in items])
            except MacvfastError as error:
                chunk.fail(error)

        chunk.making = _Task(work, chunk.call.ended, beside=beside)
        self._give_files(chunk.call, items)

    def _give_files(self, call: _Call, attempts: Sequence[Attempt]) -> None:
        """Write the files of new sandboxes, while the kernel creates their links."""
        for one in attempts:
            asked = one.request.sandbox
            if isinstance(asked, NewSandbox) and asked.netns is None:
                try:
                    self._directories.give(one.made.with_these, asked.own_files, call.writing)
                    if asked.auto_remove:
                        # Before it is settled: until then, the lock of this operation shows that it goes on.
                        one.lock = self._directories.hold(one.made.sandbox)
                except MacvfastError as error:
                    one.fail(error)

    def _finish(self, chunk: _Chunk) -> None:
        """Settle what was created, undo what failed, and close the namespaces."""
        try:
            if chunk.making is not None:
                chunk.making.result()
            if any(one.making is not None for one in chunk.attempts):
                self._settle(chunk)
        except MacvfastError as error:
            chunk.fail(error)
            self._undo(chunk)
        except BaseException:
            if chunk.making is not None:
                chunk.making.wait()
            self._give_up(chunk)
            raise
        finally:
            chunk.ended = True
            self._close(chunk)
        if not chunk.second:
            self._try_again(chunk.call, [one for one in chunk.attempts if _another_address_may_do(one)])

    def _try_again(self, call: _Call, attempts: Sequence[Attempt]) -> None:
        """Try again, with other addresses, what was refused because of MACs that are not in the record."""
        if not attempts:
            return
        log.event("retry", what="make with other addresses", sandboxes=len(attempts))
        call.chooser.avoid({network.link for one in attempts for network, _ in one.made.pairs})
        for one in attempts:
            one.reset()
        chunk = self._chunk(call, attempts, second=True)
        self._namespaces(chunk, None, beside=False)
        self._open(chunk)
        self._choose(chunk)
        self._start(chunk, beside=False)
        self._finish(chunk)

    def _settle(self, chunk: _Chunk) -> None:
        made = [one.made for one in chunk.good]
        with self._store.writing() as records:
            going = self._begin_undo(records, chunk)
            for one in made:
                self._maker.learn(records, one)
            records.settle(chunk.intent)
        self._directories.refresh(one.sandbox.id for one in made if not one.new)
        if going:
            self._carry_out(chunk, going)

    # Undoing.

    def _undo(self, chunk: _Chunk) -> None:
        """Remove what failed items had begun. Their first error stays."""
        if not chunk.failed:
            return
        try:
            with self._store.writing() as records:
                going = self._begin_undo(records, chunk)
                records.settle(chunk.intent)
        except MacvfastError as error:
            for one in chunk.attempts:
                _note_failure(one, error)
            return
        self._carry_out(chunk, going)

    def _begin_undo(self, records: Records, chunk: _Chunk) -> list[Removal]:
        """Record that what was begun for failed items is going to be removed."""
        failed = chunk.failed
        for attempt in chunk.attempts if failed else ():
            if attempt.error is not None:
                attempt.let_go()
        going = [Removal(one.with_these, one.pairs, whole=one.new, half_made=True) for one in failed]
        self._detacher.mark(records, going)
        return going

    def _carry_out(self, chunk: _Chunk, going: Sequence[Removal]) -> None:
        self._close(chunk)
        log.event("undo", sandboxes=", ".join(one.sandbox.name for one in going))
        self._detacher.carry_out(going)
        failures = {one.sandbox.id: one.error for one in going if one.error is not None}
        for attempt in chunk.attempts:
            if attempt.making is not None and attempt.error is not None:
                _note_failure(attempt, failures.get(attempt.making.sandbox.id))


def _is_first(ended: threading.Semaphore, one: _Task[None] | None, other: _Task[list[Namespace]] | None) -> bool:
    """Wait until one of two tasks ends, if both are running. Returns whether it was the first."""
    if one is None or other is None:
        return False
    while not (one.ended or other.ended):
        ended.acquire()
    return not other.ended


def _another_address_may_do(attempt: Attempt) -> bool:
    automatic = all(request.ip is None and request.mac is None for request in attempt.request.endpoints)
    return automatic and attempt.making is not None and isinstance(attempt.error, MacTaken)


def _note_failure(attempt: Attempt, failure: MacvfastError | None) -> None:
    first = attempt.error
    if failure is None or first is None:
        return
    if isinstance(first, UndoFailed):
        attempt.explain(UndoFailed(first.first, [*first.failures, str(failure)]))
    else:
        attempt.explain(UndoFailed(first, [str(failure)]))


def _checked(box: NewSandbox, found: Namespace | MacvfastError) -> Namespace | MacvfastError:
    """A given namespace, if it is the one that was given; messages have the path that the caller knows."""
    path = box.netns or ""
    if isinstance(found, NamespaceInvalid):
        return NamespaceInvalid(path, found.reason)
    if isinstance(found, MacvfastError) or found.cookie == box.cookie:
        return found
    return NamespaceInvalid(path, "another one came to be there during the call")
