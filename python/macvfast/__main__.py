"""The command `macvfast`, also as `python -m macvfast`.

Until something is begun that must be undone (`cli/interrupts.py`), Ctrl-C just ends the process: Python's own handler
would show where it is. Before anything else, and from `_signal`: `signal` itself takes some milliseconds to load. The
native command (`rust/client`), which executes this, has blocked it until here, unless its caller had.
"""

from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIG_IGN,
    SIG_UNBLOCK,
    SIGINT,
    default_int_handler,
    getsignal,
    pthread_sigmask,
    signal,
)

if getsignal(SIGINT) is default_int_handler:
    signal(SIGINT, SIG_DFL)

import sys

if "interrupts-wait" in sys._xoptions:  # noqa: SLF001 - the documented place of `-X` (sys)
    pthread_sigmask(SIG_UNBLOCK, (SIGINT,))

import gc
import os

from macvfast import cli


def main() -> int:
    """Do what the command line says; the exit status."""
    _hold_standard_streams()
    try:
        return cli.main(serve=_serve)
    finally:
        # All is done, and its status is to be told.
        signal(SIGINT, SIG_IGN)
        # The process ends, and its memory with it: without this, Python looks for cycles in all that was loaded first.
        gc.freeze()


def _hold_standard_streams() -> None:
    """Let nothing that is opened have the numbers of standard streams that are closed: a command that is started has
    these closed, too, and a worker gets its caller's there.
    """
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(null)


def _serve(docker: str | None) -> int:
    from macvfast.serve.warm import serve  # noqa: PLC0415 - one command needs it

    return serve(main, docker)


if __name__ == "__main__":
    sys.exit(main())
