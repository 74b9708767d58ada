"""The queue of sandboxes whose commands have ended: who is told that his is gone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from macvfast.process import autoremove

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

GONE, THERE, LATE = ("a" * 64, "b" * 64, "c" * 64)


def test_who_begins_to_wait_while_the_dead_are_looked_for_goes_on_waiting(tmp_path: Path) -> None:
    """His sandbox is not among those that were found before: it would stay for good."""
    directory = tmp_path / "1"
    directory.mkdir()
    for id_ in (GONE, THERE):
        os.mkfifo(directory / id_)

    def there() -> Collection[str]:
        os.mkfifo(directory / LATE)
        return {THERE}

    autoremove.forget(tmp_path, there)
    assert sorted(os.listdir(directory)) == [THERE, LATE]


def test_a_queue_in_which_nobody_waits_is_taken_away(tmp_path: Path) -> None:
    directory = tmp_path / "1"
    directory.mkdir()
    os.mkfifo(directory / GONE)
    autoremove.forget(tmp_path, lambda: ())
    assert os.listdir(tmp_path) == []
