"""`macvfast logs`, and commands that show without end: what is kept is bounded, and a full disk is in nobody's way."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.support import at_terminal, check_error, ps, refused

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def test_the_log_shows_both_streams_and_its_last_lines(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=box", "sh", "-c", "echo one; echo two >&2; echo three")
    netns.wait_until(lambda: ps(lan, "box")["State"] == "exited", what="the end of the command")
    assert lan.macvfast("logs", "box") == "one\ntwo\nthree"
    assert lan.macvfast("logs", "--tail=2", "box") == "two\nthree"
    assert lan.macvfast("logs", "-n", "all", "box") == "one\ntwo\nthree"
    assert lan.macvfast("logs", "--tail", "0", "box") == ""
    # Nothing runs that could add to it.
    assert lan.macvfast("logs", "-f", "box") == "one\ntwo\nthree"


def test_what_had_no_command_or_one_that_was_waited_for_has_an_empty_log(lan: Lan) -> None:
    lan.macvfast("create", "--name=idle")
    lan.macvfast("run", "--name=box", "echo", "shown")
    assert lan.macvfast("logs", "idle") == lan.macvfast("logs", "box") == ""


def test_bytes_come_as_they_were_shown(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=box", "printf", r"\377\000\033")
    netns.wait_until(lambda: ps(lan, "box")["State"] == "exited", what="the end of the command")
    done = subprocess.run(
        lan.host.command(netns.MACVFAST, "logs", "box"),
        env={**os.environ, **lan.host.environment},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"\xff\x00\x1b"


def test_who_follows_sees_what_comes_until_the_command_ends_or_they_leave(lan: Lan) -> None:
    lan.macvfast(
        "run", "-d", "--name=box", "sh", "-c", "echo one; trap 'echo two; exit' USR1; while :; do sleep 0.01; done"
    )
    with at_terminal(lan, "logs", "-f", "box") as leaves, at_terminal(lan, "logs", "-f", "box") as stays:
        for person in (leaves, stays):
            person.wait_for("one\r\n")
        leaves.type("\x03")
        assert leaves.wait() == 130
        assert "error" not in leaves.screen
        os.kill(support.pid_one(lan), signal.SIGUSR1)
        stays.wait_for("two\r\n")
        assert stays.wait() == 0


def test_who_follows_is_done_when_the_sandbox_is_removed(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=box", "sh", "-c", "echo one; exec sleep 1000")
    with at_terminal(lan, "logs", "-f", "box") as person:
        person.wait_for("one\r\n")
        lan.macvfast("rm", "-f", "box")
        assert person.wait() == 0


def test_a_log_has_no_more_than_was_asked_for(lan: Lan) -> None:
    id_ = lan.macvfast("run", "-d", "--name=box", "--log-max=100k", "yes")
    folder = lan.state_dir / "sandboxes" / id_
    netns.wait_until((folder / "log.1").exists, what="the second file")
    os.kill(support.pid_one(lan), signal.SIGTERM)
    netns.wait_until(lambda: ps(lan, "box")["State"] == "exited", what="the end of the command")
    assert 50 * 1024 < sum((folder / name).stat().st_size for name in ("log", "log.1")) <= 100 * 1024
    assert set(lan.macvfast("logs", "box").splitlines()) == {"y"}


@pytest.mark.parametrize("size", ["8191", "0", "-1", "many", "1t"])
def test_what_is_no_size_of_a_log_is_refused(lan: Lan, size: str) -> None:
    assert "log-max" in refused(lan, "run", "-d", f"--log-max={size}", "true", status=125)


def test_the_size_of_a_log_that_there_is_not_is_refused(lan: Lan) -> None:
    assert "needs -d" in refused(lan, "run", "--log-max=1m", "true", status=125)


def test_what_is_no_number_of_lines_or_no_sandbox_is_refused(lan: Lan) -> None:
    assert "`--tail`" in refused(lan, "logs", "--tail=some", "box", status=2)
    check_error(lan.attempt("logs", "box"), 1)
