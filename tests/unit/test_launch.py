"""How the native program around a command is started."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import sysconfig
from errno import E2BIG
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import OptionInvalid
from macvfast.model import SandboxState
from macvfast.process import given, keeper, launch, programs
from macvfast.requests import CommandRequest
from macvfast.system import processes

if TYPE_CHECKING:
    from collections.abc import Callable


def test_what_is_passed_on_waits_while_a_process_becomes_the_keeper() -> None:
    """A signal in between is the command's: it must not kill macvfast half-way, with a sandbox made and nothing run."""
    script = """
from macvfast.process.programs import Program, ThisProcess
ThisProcess().become(Program(['/bin/grep', 'SigBlk', '/proc/self/status']), [])
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    blocked = int(said.split()[1], 16)
    assert {number for number in signal.valid_signals() if blocked >> (number - 1) & 1} == set(programs.PASSED_ON)


@pytest.mark.parametrize("env", [("", "hunter2"), ("A=B", "hunter2"), ("A\0", "hunter2"), ("A", "hunter2\0B=y")])
def test_a_variable_that_would_be_another_is_refused_and_its_value_not_shown(env: tuple[str, str]) -> None:
    """What is handed over has a NUL between two."""
    with pytest.raises(OptionInvalid) as refusal:
        CommandRequest(argv=("true",), env=(env,))
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("argv", [(), ("a\0b",)])
def test_what_no_program_can_be_given_is_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(OptionInvalid):
        CommandRequest(argv=argv)


def test_a_command_is_shown_without_its_variables() -> None:
    assert "hunter2" not in repr(CommandRequest(argv=("true",), env=(("TOKEN", "hunter2"),)))


def test_a_command_line_that_is_too_long_is_no_fault_of_the_program() -> None:
    said = f"{int(E2BIG)} {os.strerror(E2BIG)}"
    error = launch._explained(126, said, CommandRequest(argv=("sh",)), Path("/d"), "web")
    assert list(error.hints) == ["give it fewer or shorter arguments and variables"]
    # As the program itself says it.
    assert error.hints[0].encode() in launch.PROGRAM.read_bytes()


@pytest.mark.parametrize(
    ("policy", "before"), [("always", ["file", "directory"]), ("on-failure:3", ["file", "directory"]), ("no", [])]
)
def test_what_the_next_boot_needs_is_on_the_disk_before_the_program_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, before: list[str]
) -> None:
    """Wrong: it is kept while the command runs, or after the answer."""
    events: list[str] = []
    really = os.fsync

    def sync(descriptor: int) -> None:
        really(descriptor)
        events.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    class Recorder(programs.ThisProcess):
        def start(self, program: programs.Program, lock: list[int]) -> tuple[int, str]:  # noqa: ARG002
            kept = given.kept_in(tmp_path)
            assert kept is not None
            assert (kept[0].argv, kept[0].restart) == (("sleep", "1"), policy)
            events.append(Path(program.argv[0]).name)
            return 0, ""

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(programs, "_starter", Recorder())
    request = CommandRequest(argv=("sleep", "1"), detach=True, restart=policy)
    place = launch.Place(directory=tmp_path, name="web", namespace_fd=0, removal=[], around=launch.here())
    launch.launch(request, place)
    assert events == [*before, "macvfast-init"]


def test_a_guest_runs_no_more_only_when_its_keeper_has_said_so(tmp_path: Path) -> None:
    """Who follows its log would miss the last of it: the keeper still writes when pid 1 has ended."""
    status = tmp_path / "status"
    ended = "boot b\nkeeper 1 1\ninit 1 1\nstate exited\nexit 7\n"
    status.write_text(f"boot b\nkeeper 2 2\ninit 3 3\nstate running\nbefore\n{ended}")

    class Keeper(keeper.Patience):
        asked: processes.Process | None = None

        def wait(self, keeper: processes.Process, until: Callable[[], bool]) -> None:
            self.asked = keeper
            assert not until()
            status.write_text(ended)
            assert until()

    waits = Keeper()
    assert keeper.state(tmp_path, "b", waits) == (SandboxState.EXITED, 7)
    assert waits.asked == processes.Process(2, 2)
    # In another boot, nobody would.
    status.write_text(f"boot a\nkeeper 2 2\ninit 3 3\nstate running\nbefore\n{ended}")
    assert keeper.state(tmp_path, "b", keeper.Patience(0)) == (SandboxState.EXITED, 7)


def test_a_removal_is_done_by_python_where_the_native_command_is_not_installed_for_it_or_would_become_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = [str(Path(sys.executable).with_name("macvfast"))]
    assert programs.own_command() == native
    monkeypatch.setenv("MACVFAST_PYTHON", sys.executable)
    assert programs.own_command() == native
    monkeypatch.setenv("MACVFAST_PYTHON", "/bin/false")
    assert programs.own_command() == [sys.executable, "-P", "-m", "macvfast"]
    monkeypatch.delenv("MACVFAST_PYTHON")
    other = str(tmp_path / "python3")
    monkeypatch.setattr(sys, "executable", other)
    # What is where this Python has its programs, as `pip install --user` leaves them, executes another one.
    assert programs.own_command() == [other, "-P", "-m", "macvfast"]


@pytest.mark.parametrize(
    ("first_line", "found"),
    [
        ("#!{python}", True),
        ("#! {python} ", True),
        ("#!/usr/bin/env python3", False),
        ("#!/bin/sh", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("scheme", ["venv", "posix_user"])
def test_a_removal_is_done_by_the_native_command_that_is_installed_elsewhere_for_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_line: str | None, scheme: str, *, found: bool
) -> None:
    """As `pip install --prefix` or `--user` does it, and a distribution whose own Python it is; another Python's may
    be in the same directory.
    """
    python, scripts = tmp_path / "bin" / "python3", tmp_path / "local" / "bin"
    for one in (python, scripts / "macvfast"):
        one.parent.mkdir(parents=True)
        one.write_text("")
        one.chmod(0o755)
    if first_line is not None:
        (scripts / "macvfast-python").write_text(first_line.format(python=python) + "\n")
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(sysconfig, "get_default_scheme", lambda: "venv")
    monkeypatch.setattr(sysconfig, "get_path", lambda _, wanted: str(scripts if wanted == scheme else tmp_path))
    assert programs.own_command() == ([str(scripts / "macvfast")] if found else [str(python), "-P", "-m", "macvfast"])
