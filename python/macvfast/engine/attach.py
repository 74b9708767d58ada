"""Create endpoints: whole sandboxes, or further endpoints of existing sandboxes, many at once or one.

For each chunk: namespaces are created (pinned at no path, so that a crash leaves nothing); one durable transaction
records each intent with its addresses; links and addresses are created in few sends; one durable transaction settles
what succeeded. If there are several chunks, one is created in the kernel while the chunk before it is settled and the
namespaces of the next two are created. What failed is undone by `detach`, which also finishes what a dead process left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast import plan
from macvfast.engine.choose import Chooser
from macvfast.engine.chunk import Call, Chunk, Task, is_first
from macvfast.engine.make import Maker
from macvfast.engine.making import NewSandbox
from macvfast.engine.open_namespaces import Opener
from macvfast.engine.removal import Removal
from macvfast.errors import MacTaken, MacvfastError, SandboxBusy, UndoFailed
from macvfast.kernel.namespaces import close_all
from macvfast.system import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from macvfast.engine.detach import Detacher
    from macvfast.engine.making import Attempt
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
        self.opener = Opener(kernel)

    def attach(
        self, chunks: Iterable[Sequence[Attempt]], ended: Callable[[Sequence[Attempt]], None] = lambda _: None,
        shared: dict[str, Namespace] | None = None,
    ) -> None:  # fmt: skip
        """Create what is requested. Each attempt ends with all its endpoints created and settled, or with an error and
        nothing created.

        Args:
            chunks: attempts that are recorded, created and settled together, in the order in which addresses are
                allocated; read when they are needed. An attempt that has an error already is skipped.
            ended: called with the attempts of each chunk, in order, when they have ended.
            shared: given namespaces that several chunks need, by the path that opens them; the caller closes them.
        """
        call = Call(Chooser(self._store, self._kernel, self._netns_dir), shared or {})
        coming = (self._chunk(call, attempts) for attempts in chunks)
        current = next(coming, None)
        upcoming = next(coming, None)
        beside = upcoming is not None
        before: Chunk | None = None

        def end(chunk: Chunk) -> None:
            self._finish(chunk)
            ended(chunk.attempts)

        try:
            if current is not None:
                self.opener.begin(current, None, beside=False)
            while current is not None:
                if upcoming is not None:
                    self.opener.begin(upcoming, current.namespaces, beside=True)
                # The chunk before is settled while the kernel creates the namespaces of this chunk, or else its links.
                if before is not None and is_first(call.ended, before.making, current.namespaces):
                    end(before)
                    before = None
                self.opener.open(current)
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
            self._directories.report_unseen(call.writing)

    def _chunk(self, call: Call, attempts: Sequence[Attempt], *, second: bool = False) -> Chunk:
        """The attempts, with the settings of links in new namespaces: those that the first network needs."""
        chunk = Chunk(call, attempts, second=second)
        if not (call.full or any(one.request.fresh for one in chunk.good)):
            return chunk
        with self._store.reading() as records:
            call.full.refuse(records, chunk.good, self._netns_dir)
            known: dict[str, Sysctls] = {}
            for one in chunk.good:
                if one.request.fresh:
                    first = next((request.network for request in one.request.endpoints), None)
                    if first is not None and first not in known:
                        found = records.network(first)
                        known[first] = plan.link_sysctls("default", found[0]) if len(found) == 1 else ()
                    chunk.fresh.append((one, () if first is None else known[first]))
        return chunk

    def _break_off(self, chunk: Chunk) -> None:
        if chunk.making is not None:
            self._finish(chunk)
            return
        if chunk.namespaces is not None:
            chunk.namespaces.wait()
            close_all(chunk.namespaces.left())
        self._give_up(chunk)
        self.opener.close(chunk)

    def _give_up(self, chunk: Chunk) -> None:
        asked = chunk.attempts[0].request.sandbox
        chunk.fail(SandboxBusy("sandbox", asked.name or "", "interrupted"))
        self._undo(chunk)

    # One chunk.

    def _choose(self, chunk: Chunk) -> None:
        """Record, durably, what is going to be created."""
        try:
            chunk.call.chooser.look_into([one for one in chunk.opened if one.attempt.error is None])
            items = {id(one.attempt): one for one in chunk.opened if one.attempt.error is None}
            if not items:
                return
            with self._store.writing() as records:
                # In the order of the requests.
                order = [items[id(one)] for one in chunk.attempts if id(one) in items]
                chunk.intent, chosen = chunk.call.chooser.choose(records, order)
                chunk.call.full.note(records, chunk.attempts)
            for attempt, making in chosen:
                attempt.making = making
        except MacvfastError as error:
            chunk.fail(error)

    def _start(self, chunk: Chunk, *, beside: bool) -> None:
        """Begin to create what was recorded, while the chunk before it goes on; the socket sends the links of that
        chunk first.
        """
        items = chunk.good

        def work() -> None:
            try:
                self._maker.make([one.made for one in items])
            except MacvfastError as error:
                chunk.fail(error)

        chunk.making = Task(work, chunk.call.ended, beside=beside)
        self._give_files(chunk.call, items)

    def _give_files(self, call: Call, attempts: Sequence[Attempt]) -> None:
        """Write the files of new sandboxes, while the kernel creates their links."""
        for one in attempts:
            asked = one.request.sandbox
            if isinstance(asked, NewSandbox) and one.request.fresh:
                try:
                    self._directories.give(one.made.with_these, asked.own_files, call.writing)
                    if asked.starts:
                        # Before it is settled: until then, the lock of this operation shows that it goes on.
                        one.lock = self._directories.hold(one.made.sandbox)
                except MacvfastError as error:
                    one.fail(error)

    def _finish(self, chunk: Chunk) -> None:
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
            self.opener.close(chunk)
        if not chunk.second:
            self._try_again(chunk.call, [one for one in chunk.attempts if _another_address_may_do(one)])

    def _try_again(self, call: Call, attempts: Sequence[Attempt]) -> None:
        """Try again, with other addresses, what was refused because of MACs that are not in the record."""
        if not attempts:
            return
        log.event("retry", what="make with other addresses", sandboxes=len(attempts))
        call.chooser.avoid({network.link for one in attempts for network, _ in one.made.pairs})
        for one in attempts:
            one.reset()
        chunk = self._chunk(call, attempts, second=True)
        self.opener.begin(chunk, None, beside=False)
        self.opener.open(chunk)
        self._choose(chunk)
        self._start(chunk, beside=False)
        self._finish(chunk)

    def _settle(self, chunk: Chunk) -> None:
        made = [one.made for one in chunk.good]
        with self._store.writing() as records:
            going = self._begin_undo(records, chunk)
            for one in made:
                self._maker.learn(records, one)
            _forget(records, chunk.good)
            records.settle(chunk.intent)
        self._directories.refresh(one.sandbox.id for one in made if not one.new)
        if going:
            self._carry_out(chunk, going)

    # Undoing.

    def _undo(self, chunk: Chunk) -> None:
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

    def _begin_undo(self, records: Records, chunk: Chunk) -> list[Removal]:
        """Record that what was begun for failed items is going to be removed."""
        failed = chunk.failed
        for attempt in chunk.attempts if failed else ():
            if attempt.error is not None:
                attempt.let_go()
        going = [
            Removal(one.with_these, one.pairs, whole=one.new, half_made=True, siblings=[*one.siblings, *one.pairs])
            for one in failed
        ]
        self._detacher.mark(records, going)
        return going

    def _carry_out(self, chunk: Chunk, going: Sequence[Removal]) -> None:
        self.opener.close(chunk)
        log.event("undo", sandboxes=", ".join(one.sandbox.name for one in going))
        self._detacher.carry_out(going)
        failures = {one.sandbox.id: one.error for one in going if one.error is not None}
        for attempt in chunk.attempts:
            if attempt.making is not None and attempt.error is not None:
                _note_failure(attempt, failures.get(attempt.making.sandbox.id))


def _forget(records: Records, made: Sequence[Attempt]) -> None:
    """Have what is made remembered no longer: neither of its container, nor of others that had its addresses."""
    if records.remembers():
        for one in made:
            for endpoint in one.made.endpoints:
                records.forget_given(endpoint.endpoint, one.request.attachment)


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
