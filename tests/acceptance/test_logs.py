"""`macvfast logs`, and commands that show without end: what is kept is bounded, and a full disk is in nobody's way."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.support import at_terminal, check_error, fill, listed, ps, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    directory = lan.state_dir / "sandboxes" / id_
    netns.wait_until((directory / "log.1").exists, what="the second file")
    os.kill(support.pid_one(lan), signal.SIGTERM)
    netns.wait_until(lambda: ps(lan, "box")["State"] == "exited", what="the end of the command")
    assert 50 * 1024 < sum((directory / name).stat().st_size for name in ("log", "log.1")) <= 100 * 1024
    assert set(lan.macvfast("logs", "box").splitlines()) == {"y"}


@pytest.mark.parametrize("size", ["8191", "0", "-1", "many", "1t"])
def test_what_is_no_size_of_a_log_is_refused(lan: Lan, size: str) -> None:
    assert "log-max" in refused(lan, "run", "-d", f"--log-max={size}", "true", status=125)


def test_the_size_of_a_log_that_there_is_not_is_refused(lan: Lan) -> None:
    assert "needs -d" in refused(lan, "run", "--log-max=1m", "true", status=125)


def test_what_is_no_number_of_lines_or_no_sandbox_is_refused(lan: Lan) -> None:
    assert "`--tail`" in refused(lan, "logs", "--tail=some", "box", status=2)
    check_error(lan.attempt("logs", "box"), 1)


# A disk that is full.


@pytest.fixture
def filler(lan: Lan, tmp_path: Path) -> Iterator[Path]:
    """The state is on a small file system; a file to fill it with."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", place], check=True)
    lan.state_dir = place / "state"
    lan.host.environment["MACVFAST_STATE_DIR"] = str(lan.state_dir)
    try:
        yield place / "filler"
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_what_shows_without_end_leaves_room_for_everything_else(lan: Lan, filler: Path) -> None:
    """The log alone filled the file system before, and nothing went any more."""
    support.create_pub_net(lan)
    id_ = lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "--log-max=1m", "yes")
    netns.wait_until((lan.state_dir / "sandboxes" / id_ / "log.1").exists, what="the second file")
    lan.macvfast("create", "--net=pub_net", "--name=other")
    assert [one["Names"] for one in listed(lan, "ps")] == ["box", "other"]
    assert not filler.exists()
    lan.macvfast("rm", "-f", "box", "other")


def test_on_a_full_disk_there_is_everything_to_see_and_force_makes_room(lan: Lan, filler: Path) -> None:
    support.create_pub_net(lan)
    id_ = lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "--log-max=1m", "yes")
    netns.wait_until((lan.state_dir / "sandboxes" / id_ / "log.1").exists, what="the second file")
    fill(filler)
    assert ps(lan, "box")["State"] == "running"
    assert lan.macvfast("logs", "--tail=1", "box") == "y"
    # Who has it open keeps nobody else out.
    assert lan.api(lambda host: [len([*host.networks()]), ps(lan, "box")["State"], len([*host.sandboxes()])]) == [
        1,
        "running",
        1,
    ]
    assert lan.macvfast("rm", "-f", "box") == "box"
    assert support.programs(lan) == []
    assert lan.sandbox_names() == []
    assert support.filter_macs(lan) == set()
    lan.macvfast("create", "--net=pub_net", "--name=box", "--ip=172.16.86.2")


def test_force_ends_a_command_on_a_full_disk_also_where_that_makes_no_room(lan: Lan, filler: Path) -> None:
    support.create_pub_net(lan)
    lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    fill(filler)
    said = check_error(lan.attempt("rm", "-f", "box"), 3)
    assert "its command is ended" in said
    assert "`macvfast rm -f box`" in said
    assert support.programs(lan) == []
    assert ps(lan, "box")["State"] != "running"
    check_error(lan.attempt("create", "--name=other"), 1)
    filler.unlink()
    assert lan.macvfast("rm", "-f", "box") == "box"
    assert support.filter_macs(lan) == set()


def test_on_a_full_disk_stop_ends_what_is_not_run_again_and_refuses_what_would_be(lan: Lan, filler: Path) -> None:
    lan.macvfast("run", "-d", "--name=once", "sleep", "1000")
    lan.macvfast("run", "-d", "--name=always", "--restart=always", "sleep", "1000")
    fill(filler)
    assert lan.macvfast("stop", "-t0", "once") == "once"
    assert "cannot note the stop: No space left on device" in check_error(lan.attempt("stop", "-t0", "always"), 1)
    assert ps(lan, "always")["State"] == "running"
    filler.unlink()
    assert lan.macvfast("stop", "-t0", "always", "once") == "always\nonce"


def test_on_a_full_disk_force_ends_what_is_run_again_and_again(lan: Lan, filler: Path) -> None:
    lan.macvfast("run", "-d", "--name=box", "--restart=always", "false")
    netns.wait_until(lambda: ps(lan, "box")["State"] == "restarting", what="a pause")
    fill(filler)
    lan.attempt("rm", "-f", "box")
    assert support.programs(lan) == []
    filler.unlink()
    assert lan.macvfast("rm", "-f", "box") == "box"
