"""One who is interrupted anywhere within the queue leaves nobody waiting for ever."""

from __future__ import annotations

import sys
import threading
from itertools import count
from typing import TYPE_CHECKING

from macvfast import combining
from macvfast.combining import Call, Queue
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

FOLLOWERS = (2, 3, 4, 5)


class Interruption:
    """Interrupts this thread once, at the n-th place in the queue's code at which Python looks for signals: where a
    function begins, and where a call of one written in C has returned.
    """

    def __init__(self, at: int) -> None:
        self._left = at
        self.came = False

    def _look(self, frame: FrameType, event: str, _: object) -> None:
        if event not in ("call", "c_return") or frame.f_code.co_filename != combining.__file__ or self.came:
            return
        self._left -= 1
        if self._left < 0:
            self.came = True
            raise KeyboardInterrupt

    def during(self, work: Callable[[], object]) -> None:
        before = sys.getprofile()
        sys.setprofile(self._look)
        try:
            work()
        except KeyboardInterrupt:
            assert self.came
        finally:
            sys.setprofile(before)


class Turns:
    """A queue in which 0 is at work, 1 waits, and behind it the followers: 1 does them with its own, ends every other
    one of them, and leaves the rest.
    """

    def __init__(self) -> None:
        self.queue: Queue[int, int] = Queue(self._do, 100)
        self.done: dict[int, int] = {}
        self.threads: list[threading.Thread] = []
        self.begun = threading.Event()

    def start(self, number: int) -> None:
        def run() -> None:
            self.done[number] = self.queue.call(number)

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def _do(self, calls: Sequence[Call[int, int]]) -> None:
        if calls[0].asked == 0:
            self.begun.set()
            wait_until(lambda: self.queue._waiting or self.gone, what="the one that is interrupted")
            for number in FOLLOWERS:
                before = len(self.queue._waiting)
                self.start(number)
                wait_until(lambda before=before: len(self.queue._waiting) > before or self.gone, what="a follower")  # type: ignore[misc]
        for call in calls[::2]:
            call.end(call.asked)

    gone = False

    def interrupt(self, at: int) -> bool:
        """Whether an interruption came at that place; everybody else has been served."""
        self.start(0)
        assert self.begun.wait(20)
        interruption = Interruption(at)
        interruption.during(lambda: self.queue.call(1))
        self.gone = True
        for thread in iter(lambda: self.threads.pop(0) if self.threads else None, None):
            thread.join(20)
            assert not thread.is_alive(), f"a caller hangs after an interruption at place {at}"
        assert self.done == {number: number for number in (0, *FOLLOWERS)}
        assert self.queue._leader is None
        assert self.queue._waiting == []
        return interruption.came


def test_an_interruption_anywhere_in_the_queue_leaves_nobody_waiting() -> None:
    """Catches one that comes after a batch was taken off the queue, or after the next leader was, and before that is
    told: what was taken was lost, and all others waited for ever.
    """
    places = next(at for at in count() if not Turns().interrupt(at))
    assert places > 20
