"""How the native program around a command is started."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from macvfast import launch
from macvfast.errors import OptionInvalid
from macvfast.requests import CommandRequest


def test_what_is_passed_on_waits_while_a_process_becomes_the_keeper() -> None:
    """A signal in between is the command's: it must not kill macvfast half-way, with a sandbox made and nothing run."""
    script = "from macvfast import launch; launch._become(['/bin/grep', 'SigBlk', '/proc/self/status'])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    blocked = int(said.split()[1], 16)
    assert {number for number in signal.valid_signals() if blocked >> (number - 1) & 1} == set(launch._PASSED_ON)


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
