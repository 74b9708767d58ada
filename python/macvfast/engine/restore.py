"""Create what is recorded and missing, and repair what differs, and nothing else: parents, then sandboxes in chunks."""

from __future__ import annotations

import time
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from macvfast.engine.make import new_ifindex
from macvfast.engine.observe import CHUNK, Observer
from macvfast.engine.parents import Parents
from macvfast.engine.repair import Repairer, step_of
from macvfast.errors import MacvfastError, ParentNotFound
from macvfast.outcomes import Plan, Step
from macvfast.plan import commands
from macvfast.plan.drift.parents import MakeParent
from macvfast.state.lookup import one_sandbox
from macvfast.state.records import RESTORED
from macvfast.system import limits, log

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from macvfast.engine.sandbox_directories import SandboxDirectories
    from macvfast.engine.unfinished import Finished
    from macvfast.kernel.netlink import Kernel
    from macvfast.model import MadeParent
    from macvfast.outcomes import Difference
    from macvfast.plan.drift.parents import ChangeParent, ParentDrift
    from macvfast.state.records import Records
    from macvfast.state.store import Store

# How often another index of a parent is tried if a link has that index already.
_INDEX_TRIES = 4


class Restorer:
    """Restores a host: repairs what differs from the record."""

    def __init__(self, store: Store, kernel: Kernel, directories: SandboxDirectories) -> None:
        self._store = store
        self._directories = directories
        self._kernel = kernel
        self._observer = Observer(store, kernel)
        self._repairer = Repairer(store, kernel, directories, self._observer)
        self._parents = Parents(kernel)

    # Looking.

    def plan(self) -> Plan:
        """What a restore would do now. Changes nothing."""
        parents = self._observer.parents()
        steps = [step_of(step) for step in parents.steps]
        remaining = list(parents.blocked.values())
        escapes = self._observer.escapes()
        for recorded in self._observer.sandboxes():
            with self._observer.look(recorded, parents.states, escapes) as seen:
                for one in seen:
                    steps += [step_of(step) for step in one.drift.steps]
                    remaining += one.drift.blocked
            steps += self._directories.lacking([one.sandbox for one in recorded], self._kernel.boot_id())
        return Plan(steps=tuple(steps), remaining=tuple(remaining))

    def check(self, sandbox: str) -> tuple[list[Difference], list[Difference]]:
        """What differs about one sandbox, and about its parents, however it would be mended.

        Raises:
            SandboxNotFound, NameAmbiguous, SandboxBusy
        """
        with self._store.reading() as records:
            recorded = self._observer.settled(records, [one_sandbox(records, self._store, sandbox)])
        parents = self._observer.parents()
        found: list[Difference] = []
        with self._observer.look(recorded, parents.states, self._observer.escapes()) as seen:
            for one in seen:
                found += [*(step.mends for step in one.drift.steps), *one.drift.blocked]
        lacking = self._directories.lacking([one.sandbox for one in recorded], self._kernel.boot_id())
        found += [step.mends for step in lacking]
        return found, parents.under(network for one in recorded for network, _ in one.endpoints)

    # Repairing.

    def restore(self, finished: Finished, wait_s: float | None, start: Callable[[Collection[str]], list[Step]]) -> Plan:
        """Repair all that can be repaired. With `wait_s`, continue for that time while a parent has to appear, come up,
        get its name back, or get the MTU that is needed.

        Args:
            finished: the outcome of the work that others left unfinished.
            wait_s: seconds; None: do not wait.
            start: starts the commands that are to run, but not in the sandboxes that it is given: those that are not
                whole yet.
        """
        steps = {one.mends: one for one in finished.steps}
        remaining = [replace(one.mends, obstacle="it cannot be finished yet") for one in finished.left]
        with nullcontext() if wait_s is None else closing(self._kernel.watch_links()) as watch:
            deadline = time.monotonic() + (wait_s or 0)
            while True:
                tried, blocked = self._pass()
                steps |= {step.mends: step for step in tried}
                partial = {
                    one.sandbox for one in (*blocked, *(step.mends for step in tried if step.error)) if one.sandbox
                }
                steps |= {step.mends: step for step in start(partial)}
                left_s = deadline - time.monotonic()
                # A parent that disappeared after it was looked up may come back like any other.
                waits = any(one.waits for one in blocked) or any(isinstance(one.error, ParentNotFound) for one in tried)
                if watch is None or left_s <= 0 or not waits:
                    break
                watch.wait(left_s)
        return Plan(steps=tuple(steps.values()), remaining=(*remaining, *blocked))

    def _pass(self) -> tuple[list[Step], list[Difference]]:
        """Repair what can be repaired now. Returns the steps that were tried, and what still differs."""
        parents = self._observer.parents()
        steps = self._mend_parents(parents)
        if steps:
            # The parents that exist now, with their new indexes; those that failed are shown as steps.
            failed = {step.mends for step in steps if step.error is not None}
            parents = self._observer.parents()
            for step in parents.steps:
                if step.mends in failed and isinstance(step, MakeParent):
                    link = step.made.link
                    parents.states[link] = replace(parents.states[link], obstacle=f"parent {link} is missing")
        remaining = list(parents.blocked.values())
        escapes = self._observer.escapes()
        for recorded in self._observer.sandboxes():
            # First: a sandbox whose namespace is created again is shown with its files.
            steps += self._directories.mend([one.sandbox for one in recorded], self._kernel.boot_id())
            tried, blocked = self._repairer.repair(recorded, parents.states, escapes)
            steps += tried
            remaining += blocked
        return steps, remaining

    # Parents.

    def _mend_parents(self, parents: ParentDrift) -> list[Step]:
        steps: list[Step] = []
        # A parent on another parent of ours comes after it.
        for _, some in groupby(parents.steps, key=lambda step: step.depth):
            level = list(some)
            making = [self._on_base(step) for step in level if isinstance(step, MakeParent)]
            baseless = [step for step in making if step.made.base is not None and step.base is None]
            steps += [
                step_of(step, ParentNotFound(step.made.link, f"`{step.made.base}` is not there")) for step in baseless
            ]
            making = [step for step in making if step.made.base is None or step.base is not None]
            for chunk in limits.chunks(making, CHUNK):
                steps += self._make_parents(chunk)
            steps += [step_of(step, self._change(step)) for step in level if not isinstance(step, MakeParent)]
        return steps

    def _change(self, step: ChangeParent) -> MacvfastError | None:
        """Change a parent of ours that exists. Returns why this failed, if it did."""
        try:
            self._kernel.change_parent(step.ifindex, step.mtu)
            log.change(lambda: [commands.change_parent(step.link, step.mtu)])
        except MacvfastError as error:
            return error
        return None

    def _on_base(self, step: MakeParent) -> MakeParent:
        """The step, with the base that was created (again) before it."""
        if not step.depth or step.made.base is None:
            return step
        return replace(step, base=self._kernel.link(step.made.base))

    def _make_parents(self, wanted: Sequence[MakeParent]) -> list[Step]:
        """Create parents of ours again; their new indexes are durable first."""
        errors: dict[Difference, MacvfastError | None] = {}
        todo = list(wanted)
        for tries_left in reversed(range(_INDEX_TRIES)):
            with self._store.writing() as records:
                intent = records.begin(self._store.owner(), RESTORED)
                noted = [(step, self._note_parent(records, step.made, intent)) for step in todo]
            making = [(step, made) for step, made in noted if made is not None]
            outcomes = self._parents.make([(made, step.base) for step, made in making])
            with self._store.writing() as records:
                records.settle(intent)
            todo = []
            for (step, made), refused in zip(making, outcomes, strict=True):
                if refused is not None and refused.index_taken and tries_left:
                    todo.append(replace(step, made=made))
                else:
                    errors[step.mends] = None if refused is None else refused.error
            if not todo:
                break
        # A parent without an outcome was created by another operation in the meantime.
        tried = [step for step in wanted if step.mends in errors]
        return [step_of(step, errors[step.mends]) for step in tried]

    def _note_parent(self, records: Records, seen: MadeParent, intent: int) -> MadeParent | None:
        """Record the index that a parent is going to have, unless its record has changed since it was read."""
        busy = records.made_parent_intent(seen.link)
        if records.made_parent(seen.link) != seen or (busy is not None and self._store.owner_lives(busy.owner)):
            return None
        made = replace(seen, ifindex=new_ifindex(), boot_id=self._kernel.boot_id())
        records.delete_made_parent(seen.link)
        records.add_made_parent(made, intent)
        return made
