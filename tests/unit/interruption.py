"""An interruption, by Ctrl-C or from another thread, at a chosen place of the code under test."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class Interruption:
    """Interrupts this thread once, at the n-th place in some files at which Python looks for signals: where a function
    begins, and where a call of one written in C has returned.
    """

    def __init__(self, at: int, *files: str) -> None:
        self._left = at
        self._files = files
        self.came = False

    def _look(self, frame: FrameType, event: str, _: object) -> None:
        if event not in ("call", "c_return") or frame.f_code.co_filename not in self._files or self.came:
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
