"""The log of requests to the kernel (DEBUG) and of what is changed, done again or undone (INFO).

Entries go to the logger `macvfast` of the standard library, as those of any library: it has no handler that writes, and
the program's own handlers get them. `start` (MACVFAST_LOG, --verbose) writes them on standard error instead. `logging`
takes milliseconds to load, and is loaded by `start` only; a program that has not loaded it listens to nothing.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from macvfast.errors import OptionInvalid, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from logging import Logger, LogRecord

FORMS = ("text", "json")

_logger: Logger | None = None
_started = False

# The levels of `logging`.
_DEBUG, _INFO = 10, 20


def start(form: str) -> None:
    """Write the log on standard error from now on, as `text` or `json`; again, do nothing.

    Raises:
        OptionInvalid: it is neither.
    """
    global _logger, _started
    if form not in FORMS:
        raise OptionInvalid("MACVFAST_LOG", form, f"it is {' or '.join(FORMS)}", FORMS)
    if _started:
        return
    try:
        import logging  # noqa: PLC0415 - takes milliseconds to load
    except OverflowError:
        # It does not read a clock past 2262: that is no reason to fail, here and below.
        return

    class Formatter(logging.Formatter):
        def format(self, record: LogRecord) -> str:
            """One line."""
            return _line(form, record.created, record.getMessage(), getattr(record, "values", {}))

    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    logger = logging.getLogger("macvfast")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    _logger, _started = logger, True


def _listened_to(level: int) -> Logger | None:
    """The logger, if somebody wants entries of that level."""
    global _logger  # noqa: PLW0603
    if _logger is None:
        logging = sys.modules.get("logging")
        # While it is being loaded, it has no loggers yet.
        if logging is None or not hasattr(logging, "NullHandler") or not hasattr(logging, "getLogger"):
            return None
        logger: Logger = logging.getLogger("macvfast")
        logger.addHandler(logging.NullHandler())
        _logger = logger
    return _logger if _logger.isEnabledFor(level) else None


def _line(form: str, created: float, name: str, values: dict[str, object]) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created)) + f".{int(created % 1 * 1000):03}Z"
    if form == "json":
        import json  # noqa: PLC0415

        return json.dumps({"time": stamp, "event": name, **values})
    if "command" in values:
        # To be copied as it is.
        return f"{stamp} + {escape(str(values['command']))}"
    return " ".join([stamp, name, *(f"{key}={escape(str(value))}" for key, value in values.items())])


def change(commands: Callable[[], Iterable[str]]) -> None:
    """Log what was changed, as the commands that do so by hand; they are asked for only if somebody listens."""
    if _listened_to(_INFO) is not None:
        for command in commands():
            _write(_INFO, "change", {"command": command})


def event(name: str, **values: object) -> None:
    """Log something that is done again or undone, with its values."""
    _write(_INFO, name, values)


def _write(level: int, name: str, values: dict[str, object]) -> None:
    logger = _listened_to(level)
    if logger is not None:
        with suppress(OverflowError):
            logger.log(level, name, extra={"values": values})


def batch(what: str, requests: int, refused: int, started: float) -> None:
    """Log requests that were sent together; `started`: `time.perf_counter()` before that."""
    if _listened_to(_DEBUG) is not None:
        took = round((time.perf_counter() - started) * 1000, 3)
        _write(_DEBUG, "batch", {"what": what, "requests": requests, "refused": refused, "ms": took})
