"""An interruption anywhere in the store: nothing of its thread stays behind, and nobody waits for it."""

from __future__ import annotations

import contextlib
import threading
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING

import pytest

from macvfast.state import connections, owners, store
from macvfast.state.records import database
from macvfast.state.store import Store
from tests.netns import forked
from tests.unit.interruption import Interruption

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = (connections.__file__, contextlib.__file__, database.__file__, owners.__file__, store.__file__)


def an_operation(of: Store) -> None:
    """As all of macvfast's: what is begun carries a token, and what became of it is recorded."""
    with of.operation():
        of.owner()
        with of.writing() as records:
            records.set_host("begun", of.owner())
        with of.operation(), of.reading() as records:
            records.host("begun")


def a_look(of: Store) -> None:
    with of.reading() as records:
        records.host("begun")
    of.image()


def interrupt(of: Store, work: Callable[[Store], None], at: int) -> bool:
    """Whether an interruption came at that place; this thread then has nothing of it."""
    interruption = Interruption(at, *FILES)
    interruption.during(lambda: work(of))
    return interruption.came


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("work", [an_operation, a_look])
def test_an_interruption_anywhere_leaves_no_token_no_lock_and_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Store], None]
) -> None:
    """Catches a token that stays until the process ends: whatever carries it is taken for work that goes on, and is
    finished by nobody. And a fork that waits for a connection which nobody has, and whose child is refused the state.
    """
    waited: list[bool] = []
    wait_for = threading.Condition.wait_for

    def watched(condition: threading.Condition, holds: Callable[[], bool], timeout: float | None = None) -> bool:
        waited.append(not holds())
        return wait_for(condition, holds, 0.01 if timeout else None)

    directory = str(tmp_path / "state")
    with closing(Store(directory)) as first, closing(Store(directory)) as other:
        an_operation(first)
        a_look(first)
        monkeypatch.setattr(threading.Condition, "wait_for", watched)
        for at in count():
            came = interrupt(first, work, at)
            assert other.others_at_work() == [], f"a token is left by an interruption at place {at}"
            assert forked(lambda: Store(directory).close()) == 0, f"a connection is left at place {at}"
            thread = threading.Thread(target=an_operation, args=(first,), daemon=True)
            thread.start()
            thread.join(20)
            assert not thread.is_alive(), f"a lock is left at place {at}"
            assert not any(waited), f"somebody waited after an interruption at place {at}"
            if not came:
                break
        assert at > 20
        # Nothing is taken for the work of this thread: this would wait for it.
        closing_ = threading.Thread(target=first.close, daemon=True)
        closing_.start()
        closing_.join(20)
        assert not closing_.is_alive()
