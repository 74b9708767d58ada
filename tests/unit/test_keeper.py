"""How the native program around a command is started."""

from __future__ import annotations

import signal
import subprocess
import sys

from macvfast import keeper


def test_what_is_passed_on_waits_while_a_process_becomes_the_keeper() -> None:
    """A signal in between is the command's: it must not kill macvfast half-way, with a sandbox made and nothing run."""
    script = "from macvfast import keeper; keeper._become(['/bin/grep', 'SigBlk', '/proc/self/status'])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    blocked = int(said.split()[1], 16)
    assert {number for number in signal.valid_signals() if blocked >> (number - 1) & 1} == set(keeper._PASSED_ON)
