"""What a host must survive: kills at any instant, many processes at once, failing system calls, odd words, long use.

In a short form these are tests like all others; `make torture` runs them in their long form.
"""

from __future__ import annotations

import os
import random

LONG = os.environ.get("MACVFAST_TORTURE") == "long"
SEED = int(os.environ.get("MACVFAST_TORTURE_SEED") or random.SystemRandom().randrange(1 << 32))


def sized(short: int, long: int) -> int:
    """How many of something: in this form of the run."""
    return long if LONG else short
