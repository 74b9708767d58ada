"""What is asked of the kernel, told on standard error by those who ask for it: MACVFAST_LOG, or --verbose.

Nothing is loaded otherwise. What is told goes to the logger `macvfast` of the standard library.
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
    """Tell from now on, as `text` or `json`. Starting twice is starting once.

    Raises:
        OptionInvalid: it is neither.
    """
    global _logger  # noqa: PLW0603 - a process has one standard error
    if form not in FORMS:
        raise OptionInvalid("MACVFAST_LOG", form, f"it is {' or '.join(FORMS)}", FORMS)
    if _logger is not None:
        return
    try:
        import logging  # noqa: PLC0415 - only who asks for it waits for it
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


def _line(form: str, created: float, event: str, values: dict[str, object]) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created)) + f".{int(created % 1 * 1000):03}Z"
    if form == "json":
        import json  # noqa: PLC0415

        return json.dumps({"time": stamp, "event": event, **values})
    told = " ".join(f"{key}={escape(str(value))}" for key, value in values.items())
    return f"{stamp} {event} {told}"


def tell(event: str, **values: object) -> None:
    """Tell of something that happened once, with its values."""
    if _logger is not None:
        with suppress(OverflowError):
            _logger.info(event, extra={"values": values})


def sent(what: str, requests: int, refused: int, started: float) -> None:
    """Tell of requests that were sent together, in `time.perf_counter()` since `started`."""
    if _logger is not None:
        took = round((time.perf_counter() - started) * 1000, 3)
        tell("batch", what=what, requests=requests, refused=refused, ms=took)
