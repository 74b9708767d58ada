"""Sandboxes as callers see them: what is recorded, with what their commands do now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from macvfast.model import SandboxState
from macvfast.process import keeper
from macvfast.state import lookup
from macvfast.system.machine import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.model import Sandbox
    from macvfast.process.keeper import Patience
    from macvfast.state.store import Store


class States:
    """The sandboxes of a state. Needs no kernel and changes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def each(self) -> Iterator[Sandbox]:
        """All sandboxes, by name, as people count; see `lookup.pages`."""
        patience = keeper.Patience()
        pages = lookup.pages(
            self._store,
            lambda records: records.sandbox_order(shown=True),
            lambda records, numbers: records.sandboxes_numbered(numbers, shown=True),
        )
        return (self._with_state(one, patience) for one in pages)

    def one(self, key: str) -> Sandbox:
        """The sandbox of that id, name, or unambiguous id prefix, in that order.

        Raises:
            SandboxNotFound, NameAmbiguous, SandboxBusy
        """
        with self._store.reading() as records:
            return self._with_state(lookup.one_sandbox(records, self._store, key, shown=True))

    def runs(self, sandbox_id: str) -> bool:
        """Whether a command runs in a sandbox, or is about to be run again."""
        return self._of(sandbox_id)[0].active

    def left_behind(self, ids: Sequence[str]) -> list[str]:
        """Those of the sandboxes that are still to be removed: no other command was started in them meanwhile."""
        with self._store.reading() as records:
            there = records.sandboxes_named(ids)
        going = [id_ for id_ in ids if id_ in there and there[id_].auto_remove]
        return [id_ for id_ in going if not keeper.own_command_runs(self._store.sandbox_dir(id_), boot_id())]

    def _with_state(self, sandbox: Sandbox, patience: Patience | None = None) -> Sandbox:
        state, exit_code = self._of(sandbox.id, patience)
        return sandbox if state is SandboxState.IDLE else replace(sandbox, state=state, exit_code=exit_code)

    def _of(self, sandbox_id: str, patience: Patience | None = None) -> tuple[SandboxState, int | None]:
        return keeper.state(self._store.sandbox_dir(sandbox_id), boot_id(), patience)
