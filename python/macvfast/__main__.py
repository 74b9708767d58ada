"""The command `macvfast`, also as `python -m macvfast`.

Until something is begun that must be undone (`cli/interrupts.py`), Ctrl-C just ends the process: Python's own handler
would show where it is. Before anything else, and from `_signal`: `signal` itself takes some milliseconds to load.
"""

from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIG_IGN,
    SIGINT,
    default_int_handler,
    getsignal,
    signal,
)

if getsignal(SIGINT) is default_int_handler:
    signal(SIGINT, SIG_DFL)

import gc
import sys

from macvfast import cli


def main() -> int:
    """Do what the command line says; the exit status."""
    try:
        return cli.main()
    finally:
        # All is done, and its status is to be told.
        signal(SIGINT, SIG_IGN)
        # The process ends, and its memory with it: without this, Python looks for cycles in all that was loaded first.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
