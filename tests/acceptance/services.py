"""The sandbox `web`, whose command `--restart` keeps."""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

from tests import netns
from tests.acceptance.serving import state_of
from tests.acceptance.support import ps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.netns import Lan


def run(lan: Lan, policy: str, script: str, *options: str) -> None:
    lan.macvfast("run", "-d", "--name=web", f"--restart={policy}", *options, "sh", "-c", script)


def log(lan: Lan) -> list[str]:
    return lan.macvfast("logs", "web").split("\n")


def wait_for_runs(lan: Lan, count: int) -> None:
    """Wait until the command, which shows a line each time, has started so many times at least."""
    netns.wait_until(lambda: len(log(lan)) >= count, what=f"{count} runs")


def directory_of(lan: Lan) -> Path:
    return lan.state_dir / "sandboxes" / str(ps(lan, "web")["ID"])


def process(lan: Lan, which: str) -> int:
    lines = (directory_of(lan) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{which} "))


def wait_for_state(lan: Lan, state: str) -> None:
    netns.wait_until(lambda: ps(lan, "web")["State"] == state, what=f"state {state}")


@contextlib.contextmanager
def pause(lan: Lan) -> Iterator[None]:
    """Within this, the command waits until it is run again, however long this takes: its keeper is stopped."""
    while True:
        wait_for_state(lan, "restarting")
        keeper = process(lan, "keeper")
        os.kill(keeper, signal.SIGSTOP)
        try:
            netns.wait_until(partial(_is_stopped, keeper), what="that the keeper is stopped")
            # It may have begun the next run just before.
            if ps(lan, "web")["State"] == "restarting":
                yield
                return
        finally:
            os.kill(keeper, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    return state_of(pid) == "T"
