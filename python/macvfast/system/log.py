"""The log of requests to the kernel and of what is done again or undone, on standard error: MACVFAST_LOG, or --verbose.

Entries go to the logger `macvfast` of the standard library, which is loaded only when logging is asked for.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from macvfast.errors import OptionInvalid, escape

if TYPE_CHECKING:
    from logging import Logger, LogRecord

FORMS = ("text", "json")

_logger: Logger | None = None


def start(form: str) -> None:
    """Log from now on, as `text` or `json`; again, do nothing.

    Raises:
        OptionInvalid: it is neither.
    """
    global _logger  # noqa: PLW0603 - a process has one standard error
    if form not in FORMS:
        raise OptionInvalid("MACVFAST_LOG", form, f"it is {' or '.join(FORMS)}", FORMS)
    if _logger is not None:
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
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    _logger = logger


def _line(form: str, created: float, name: str, values: dict[str, object]) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created)) + f".{int(created % 1 * 1000):03}Z"
    if form == "json":
        import json  # noqa: PLC0415

        return json.dumps({"time": stamp, "event": name, **values})
    return " ".join([stamp, name, *(f"{key}={escape(str(value))}" for key, value in values.items())])


def event(name: str, **values: object) -> None:
    """Log something that happened, with its values."""
    if _logger is not None:
        with suppress(OverflowError):
            _logger.info(name, extra={"values": values})


def batch(what: str, requests: int, refused: int, started: float) -> None:
    """Log requests that were sent together; `started`: `time.perf_counter()` before that."""
    if _logger is not None:
        took = round((time.perf_counter() - started) * 1000, 3)
        event("batch", what=what, requests=requests, refused=refused, ms=took)
