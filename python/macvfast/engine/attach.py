"""The engine that makes endpoints: whole sandboxes, or further endpoints of sandboxes that are there, many at once
or one.

Per chunk: namespaces are made (bound to no name, so that a crash leaves nothing), one durable transaction notes every
intent with its addresses, links and addresses are made in few sends, one durable transaction settles what succeeded.
Of several chunks, one is made in the kernel while the one before it is settled, and the namespaces of the next two are
made. What failed is undone by `detach`, which also finishes what a dead process left.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from macvfast import plan
from macvfast.engine.choose import Chooser
from macvfast.engine.make import Maker, Wanted
from macvfast.engine.removal import Removal
from macvfast.errors import MacTaken, MacvfastError, SandboxBusy, UndoFailed
from macvfast.kernel.namespaces import close_all, make_each, open_recorded
from macvfast.system import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from macvfast.engine.detach import Detacher
    from macvfast.kernel.namespaces import Sysctls
    from macvfast.kernel.protocol import Kernel, Namespace
    from macvfast.model import Sandbox
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# Sandboxes in one transaction and one send: large enough that the two syncs vanish, small enough that Ctrl-C and
# others get a turn. The first of several is smaller: the kernel has nothing to do until it is noted.
CHUNK, FIRST_CHUNK = 128, 32

T = TypeVar("T")


class _Task(Generic[T]):
    """Something done on a thread of its own, or, where nothing is to go on beside it, at once."""

    def __init__(self, work: Callable[[], T], ended: threading.Semaphore, *, beside: bool) -> None:
        """Say with `ended` when it has."""
        self._work = work
        self._ended = ended
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="macvfast-chunk") if beside else None
        try:
            if self._thread is not None:
                self._thread.start()
        except RuntimeError:
            # No further one may be started.
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
        """What it gave, if it gave anything; it has ended."""
        return self._results[0] if self._results else ()

    def result(self) -> T:
        """Wait for it; what it gave, or raised."""
        self.wait()
        if self._errors:
            raise self._errors[0]
        return self._results[0]


@dataclass(slots=True)
class _Chunk:
    """Items that are noted, made and settled together."""

    items: Sequence[Wanted]
    intent: int = 0
    fresh: _Task[list[Namespace]] | None = None
    # Why items did not get their files, by their places.
    unwritten: dict[int, MacvfastError] = field(default_factory=dict)
    making: _Task[None] | None = None
    ended: bool = False
    second: bool = False

    @property
    def good(self) -> list[Wanted]:
        return [item for item in self.items if item.error is None]

    def fail(self, error: MacvfastError) -> None:
        """None of them is made, for that reason or one of its own."""
        for item in self.items:
            item.error = item.error or error


class Attacher:
    """Makes endpoints, chunk by chunk."""

    def __init__(self, store: Store, kernel: Kernel, detacher: Detacher, netns_dir: str) -> None:
        self._store = store
        self._folders = detacher.folders
        self._kernel = kernel
        self._detacher = detacher
        self._netns_dir = netns_dir
        self._maker = Maker(store, kernel)
        self._chooser = Chooser(store, kernel, netns_dir)
        # Released by each task that ends.
        self._ended = threading.Semaphore(0)
        # Given namespaces by their paths: held as long as a call goes on.
        self._given: dict[str, Namespace | MacvfastError] = {}

    def attach(
        self, chunks: Iterable[Sequence[Wanted]], ended: Callable[[Sequence[Wanted]], None] = lambda _: None
    ) -> None:
        """Make what is wanted; each item ends with all of its endpoints made and settled, or with an error and
        nothing made.

        Args:
            chunks: items that are noted, made and settled together, in the order in which addresses are given; read
                as they are needed. An item that has an error already is passed over.
            ended: told of the items of each chunk, in order, once they have ended.
        """
        self._chooser = Chooser(self._store, self._kernel, self._netns_dir)
        coming = iter(chunks)
        current = self._next(coming)
        upcoming = self._next(coming)
        beside = upcoming is not None
        before: _Chunk | None = None

        def end(chunk: _Chunk) -> None:
            self._finish(chunk)
            ended(chunk.items)

        try:
            if current is not None:
                self._namespaces(current, None, beside=False)
            while current is not None:
                if upcoming is not None:
                    self._namespaces(upcoming, current.fresh, beside=True)
                # What comes before is settled while the kernel makes this chunk's namespaces, or else its links.
                if before is not None and self._is_first(before.making, current.fresh):
                    end(before)
                    before = None
                self._open(current)
                self._choose(current)
                self._start(current, beside=beside)
                if before is not None:
                    end(before)
                before, current, upcoming = current, upcoming, self._next(coming)
            if before is not None:
                end(before)
        except BaseException:
            # A bug or an interruption: what was made is settled, what was only begun is undone all the same.
            for chunk in (before, current, upcoming):
                if chunk is not None and not chunk.ended:
                    self._break_off(chunk)
            raise
        finally:
            close_all(list(self._given.values()))
            self._given.clear()
            self._folders.tell()

    def _is_first(self, one: _Task[None] | None, other: _Task[list[Namespace]] | None) -> bool:
        """Wait for one of two to end, if both are going on; whether it was the first."""
        if one is None or other is None:
            return False
        while not (one.ended or other.ended):
            self._ended.acquire()
        return not other.ended

    def _next(self, coming: Iterator[Sequence[Wanted]]) -> _Chunk | None:
        items = next(coming, None)
        if items is None:
            return None
        self._prepare(items)
        return _Chunk(items)

    def _break_off(self, chunk: _Chunk) -> None:
        if chunk.making is not None:
            self._finish(chunk)
            return
        if chunk.fresh is not None:
            chunk.fresh.wait()
            close_all(chunk.fresh.left())
        self._give_up(chunk)
        self._close(chunk)

    def _give_up(self, chunk: _Chunk) -> None:
        chunk.fail(SandboxBusy("sandbox", chunk.items[0].name or "", "interrupted"))
        self._undo(chunk)

    # Namespaces.

    def _prepare(self, wanted: Sequence[Wanted]) -> None:
        """Note what the links of new namespaces are going to be born with: what the first network wants."""
        with self._store.reading() as records:
            known: dict[str, Sysctls] = {}
            for item in wanted:
                item.new = item.sandbox is None
                if item.fresh and item.requests:
                    key = item.requests[0].network
                    if key not in known:
                        found = records.network(key)
                        known[key] = plan.ipv6_sysctls("default", found[0]) if len(found) == 1 else ()
                    item.sysctls = known[key]

    def _namespaces(self, chunk: _Chunk, after: _Task[list[Namespace]] | None, *, beside: bool) -> None:
        """Begin to make the new namespaces of a chunk, in the order of its items, when those of another are made."""
        fresh = [item.sysctls for item in chunk.good if item.fresh]

        def work() -> list[Namespace]:
            if after is not None:
                after.wait()
            return make_each(self._kernel, fresh)

        if fresh:
            chunk.fresh = _Task(work, self._ended, beside=beside)

    def _open(self, chunk: _Chunk) -> None:
        """Hold the namespace of every item: new ones for new sandboxes, the recorded or given ones for others."""
        try:
            if chunk.fresh is not None:
                made = chunk.fresh.result()
                for item, namespace in zip([one for one in chunk.good if one.fresh], made, strict=True):
                    item.namespace = namespace
            self._open_others(chunk)
        except MacvfastError as error:
            chunk.fail(error)

    def _open_others(self, chunk: _Chunk) -> None:
        recorded = [item for item in chunk.good if item.sandbox is not None]
        opened = open_recorded(self._kernel, [cast("Sandbox", item.sandbox) for item in recorded])
        _hold(recorded, opened)
        given = [item for item in chunk.good if item.sandbox is None and item.netns is not None]
        paths = list({cast("str", item.netns): None for item in given if item.netns not in self._given})
        if paths:
            self._given |= zip(paths, self._kernel.open_namespaces(paths), strict=True)
        _hold(given, [self._given[cast("str", item.netns)] for item in given])

    def _close(self, chunk: _Chunk) -> None:
        kept = self._given.values()
        close_all([item.namespace for item in chunk.items if item.namespace not in kept])
        for item in chunk.items:
            item.namespace = None

    # One chunk.

    def _choose(self, chunk: _Chunk) -> None:
        """Note, durably, what is going to be made."""
        if not chunk.good:
            return
        try:
            with self._store.writing() as records:
                chunk.intent = self._chooser.choose(records, chunk.items)
            for item in chunk.good:
                item.recorded = True
        except MacvfastError as error:
            chunk.fail(error)

    def _start(self, chunk: _Chunk, *, beside: bool) -> None:
        """Begin to make what was noted: beside the chunk before it, whose links the socket sends first."""
        items = chunk.good

        def work() -> None:
            try:
                self._maker.make(items)
            except MacvfastError as error:
                chunk.fail(error)

        chunk.making = _Task(work, self._ended, beside=beside)
        self._give_files(chunk, items)

    def _give_files(self, chunk: _Chunk, items: Sequence[Wanted]) -> None:
        """Write the files of new sandboxes, while the kernel makes their links."""
        for item in items:
            if item.new and item.made:
                try:
                    self._folders.give(_with_endpoints(item), item.own_files)
                    if item.auto_remove:
                        # Before it is settled: until then, this operation's own lock says that it goes on.
                        item.lock = self._folders.hold(cast("Sandbox", item.sandbox))
                except MacvfastError as error:
                    chunk.unwritten[id(item)] = error

    def _finish(self, chunk: _Chunk) -> None:
        """Settle what was made, undo what failed, and let go of the namespaces."""
        try:
            if chunk.making is not None:
                chunk.making.result()
            for item in chunk.items:
                item.error = item.error or chunk.unwritten.get(id(item))
            if any(item.recorded for item in chunk.items):
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
            self._try_again([item for item in chunk.items if _another_address_may_do(item)])

    def _try_again(self, items: Sequence[Wanted]) -> None:
        """Make with other addresses what was refused because of MACs that the record knows nothing of."""
        if not items:
            return
        log.tell("retry", what="make with other addresses", sandboxes=len(items))
        self._chooser.avoid({network.link for item in items for network, _ in item.endpoints})
        for item in items:
            item.reset()
        chunk = _Chunk(items, second=True)
        self._prepare(items)
        self._namespaces(chunk, None, beside=False)
        self._open(chunk)
        self._choose(chunk)
        self._start(chunk, beside=False)
        self._finish(chunk)

    def _settle(self, chunk: _Chunk) -> None:
        with self._store.writing() as records:
            going = self._begin_undo(records, chunk)
            for item in chunk.good:
                self._maker.learn(records, item)
            records.settle(chunk.intent)
        self._folders.refresh(cast("Sandbox", item.sandbox).id for item in chunk.good if not item.new)
        if going:
            self._carry_out(chunk, going)

    # Undoing.

    def _undo(self, chunk: _Chunk) -> None:
        """Take away what failed items had begun; their error stays the first one."""
        if not any(item.recorded and item.error is not None for item in chunk.items):
            return
        try:
            with self._store.writing() as records:
                going = self._begin_undo(records, chunk)
                records.settle(chunk.intent)
        except MacvfastError as error:
            for item in chunk.items:
                _note_failure(item, error)
            return
        self._carry_out(chunk, going)

    def _begin_undo(self, records: Records, chunk: _Chunk) -> list[Removal]:
        """Note that what was begun for failed items is about to go."""
        failed = [item for item in chunk.items if item.recorded and item.error is not None]
        if not failed:
            return []
        for item in failed:
            item.let_go()
        going = [
            Removal(_with_endpoints(item), list(item.endpoints), whole=item.new, half_made=True) for item in failed
        ]
        self._detacher.mark(records, going)
        return going

    def _carry_out(self, chunk: _Chunk, going: Sequence[Removal]) -> None:
        self._close(chunk)
        log.tell("undo", sandboxes=", ".join(one.sandbox.name for one in going))
        self._detacher.carry_out(going)
        failures = {one.sandbox.id: one.error for one in going if one.error is not None}
        for item in chunk.items:
            if item.sandbox is not None and item.error is not None:
                _note_failure(item, failures.get(item.sandbox.id))


def _another_address_may_do(item: Wanted) -> bool:
    automatic = all(request.ip is None and request.mac is None for request in item.requests)
    return automatic and item.recorded and isinstance(item.error, MacTaken)


def _with_endpoints(item: Wanted) -> Sandbox:
    return replace(cast("Sandbox", item.sandbox), endpoints=tuple(endpoint for _, endpoint in item.endpoints))


def _hold(items: Sequence[Wanted], opened: Sequence[Namespace | MacvfastError]) -> None:
    for item, one in zip(items, opened, strict=True):
        if isinstance(one, MacvfastError):
            item.error = one
        else:
            item.namespace = one


def _note_failure(item: Wanted, failure: MacvfastError | None) -> None:
    if failure is None or item.error is None:
        return
    if isinstance(item.error, UndoFailed):
        item.error = UndoFailed(item.error.first, [*item.error.failures, str(failure)])
    else:
        item.error = UndoFailed(item.error, [str(failure)])
