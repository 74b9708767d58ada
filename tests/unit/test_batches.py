"""What waits together is done together, by one thread."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from macvfast.serve.batches import Batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


def test_what_comes_while_a_batch_is_done_is_the_next_one_and_closing_waits_for_all() -> None:
    done: list[list[int]] = []
    begun, may_go_on = threading.Event(), threading.Event()

    def do(some: Sequence[int]) -> None:
        done.append([*some])
        begun.set()
        assert may_go_on.wait(20)

    batches = Batches(do, most=4)
    batches.add(0)
    assert begun.wait(20)
    for number in range(1, 7):
        batches.add(number)
    may_go_on.set()
    batches.close()
    assert done == [[0], [1, 2, 3, 4], [5, 6]]


def test_a_batch_that_fails_is_shown_and_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: shown.append(kind))
    done: list[int] = []
    second = threading.Event()

    def do(some: Sequence[int]) -> None:
        if 0 in some:
            raise ZeroDivisionError
        done.extend(some)
        second.set()

    batches = Batches(do, most=1)
    batches.add(0)
    batches.add(1)
    assert second.wait(20)
    batches.close()
    assert (done, shown) == ([1], [ZeroDivisionError])
