"""Tell systemd of units: the one program of others' that macvfast starts by itself."""

from __future__ import annotations

import os

from macvfast.errors import SystemdRefused
from macvfast.process.programs import environment_here

_PROGRAM = "/usr/bin/systemctl"


def tell(*words: str) -> None:
    """Run `systemctl` with those words.

    Raises:
        SystemdRefused: it failed, or is not there.
    """
    argv = [_PROGRAM, "--no-ask-password", *words]
    command = " ".join(["systemctl", *words])
    reader, writer = os.pipe()
    with open(reader, encoding="utf-8", errors="replace") as pipe:
        try:
            outputs = [(os.POSIX_SPAWN_DUP2, writer, number) for number in (1, 2)]
            pid = os.posix_spawn(_PROGRAM, argv, environment_here(), file_actions=outputs)
        except OSError as error:
            raise SystemdRefused(command, error.strerror or str(error)) from None
        finally:
            os.close(writer)
        said = pipe.read()
    if status := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise SystemdRefused(command, said.strip() or f"its exit status was {status}")
