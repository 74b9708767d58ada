"""Turns of processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from typing import TYPE_CHECKING

from macvfast.state.turns import Turn
from tests.netns import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def is_free(directory: Path, about: str) -> bool:
    turn = Turn.take(directory, about)
    if turn is not None:
        turn.give_up()
    return turn is not None


def test_one_at_a_time_has_the_turn_of_a_thing_and_others_do_not_wait_for_it(tmp_path: Path) -> None:
    with Turn.take(tmp_path, "one") as first:  # type: ignore[union-attr]
        assert first is not None
        assert not is_free(tmp_path, "one")
        assert is_free(tmp_path, "two")
    assert is_free(tmp_path, "one")
    assert stat.S_IMODE((tmp_path / "turns").stat().st_mode) == 0o600


def test_a_program_that_was_started_meanwhile_has_the_turn_until_it_is_given_up(tmp_path: Path) -> None:
    turn = Turn.take(tmp_path, "one")
    assert turn is not None
    program = subprocess.Popen(["sleep", "1000"], close_fds=False)
    turn.give_up()
    assert is_free(tmp_path, "one")
    program.kill()
    program.wait()


def test_of_a_process_that_is_killed_a_program_that_it_has_started_has_the_turn(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        Turn.take(tmp_path, "one")
        os.set_inheritable(reader, True)
        os.posix_spawn("/bin/cat", ["cat"], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)])
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert not is_free(tmp_path, "one")
    # It ends with its input.
    os.close(reader)
    os.close(writer)
    wait_until(lambda: is_free(tmp_path, "one"))
