"""The logger `macvfast`, as a program sees it that uses the library."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from macvfast.system import log

if TYPE_CHECKING:
    import pytest


def test_records_reach_the_program_s_own_handlers_with_levels_and_values(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="macvfast"):
        log.batch("make links", 3, 1, 0.0)
        log.event("retry", sandboxes=2)
    levels = [(one.name, one.levelname, one.getMessage()) for one in caplog.records]
    assert levels == [("macvfast", "DEBUG", "batch"), ("macvfast", "INFO", "retry")]
    batch, retry = [getattr(one, "values") for one in caplog.records]  # noqa: B009 - mypy does not know it
    assert (batch["what"], batch["requests"], batch["refused"]) == ("make links", 3, 1)
    assert retry == {"sandboxes": 2}


def test_at_the_level_info_requests_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="macvfast"):
        log.batch("make links", 3, 1, 0.0)
        log.event("undo", sandboxes="a")
    assert [one.getMessage() for one in caplog.records] == ["undo"]


def said_by(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_it_writes_nothing_by_itself_and_does_not_load_logging() -> None:
    """Catches a handler on standard error, and a start that takes milliseconds longer."""
    program = "import sys; from macvfast.system import log; log.event('undo'); print('logging' in sys.modules)"
    assert said_by(program) == "False\n"
    shown = "import logging; from macvfast.system import log; log.event('undo'); one = logging.getLogger('macvfast'); "
    assert said_by(f"{shown}print(one.propagate, one.level, *map(type, one.handlers))") == (
        "True 0 <class 'logging.NullHandler'>\n"
    )


def test_a_program_that_logs_only_what_went_wrong_gets_nothing_twice() -> None:
    program = "import logging; from macvfast.system import log; logging.basicConfig(level='INFO'); log.event('undo')"
    assert said_by(program) == "INFO:macvfast:undo\n"
