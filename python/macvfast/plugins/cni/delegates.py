"""IPAM plugins of others, executed for a call: with the environment, the umask and the root that its process has.

So only a process that stands for the caller does this, never the server.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from macvfast.errors import escape
from macvfast.plugins.cni.refusals import DELEGATE, Refused
from macvfast.process.programs import keep_exit_statuses, starter
from macvfast.system import limits

if TYPE_CHECKING:
    from collections.abc import Mapping

# How long one call of a plugin may take, and how much it may answer.
TIME_S = 60.0
LONGEST = 1 << 20

# What is shown of an answer that is none.
_SHOWN = 200

# What Python ignores, and a program that it starts would ignore too.
_IGNORED_HERE = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True, slots=True)
class Delegate:
    """An IPAM plugin that a configuration names.

    Attributes:
        name: of its program.
        conf: the configuration, as the runtime gave it.
        path: the directories of CNI_PATH, in which it is looked for.
    """

    name: str
    conf: str
    path: str

    def call(self, command: str, about: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Execute it for a command; its result, empty where it says nothing. `about`: variables that take the place of
        those that its process has.

        Raises:
            Refused: it is not there, has failed, or has not answered in time; its own error, where it gives one.
        """
        status, said = self._run({**(about or {}), "CNI_COMMAND": command})
        if status == 0:
            return self._object(said) if said.strip() else {}
        raise self._error(status, said)

    def allows(self, since: str) -> bool:
        """Whether it speaks that version, or a later one."""
        versions = self.call("VERSION").get("supportedVersions")
        if not isinstance(versions, list):
            raise self._refused("does not say which versions it speaks")
        return any(_parts(one) >= _parts(since) for one in versions if isinstance(one, str))

    def _program(self) -> str:
        directories = [one for one in self.path.split(":") if one]
        if not self.name or "/" in self.name or self.name in (".", ".."):
            raise Refused(DELEGATE, f"invalid plugin name: {self.name}")
        for directory in directories:
            program = os.path.join(directory, self.name)
            with suppress(OSError, ValueError):
                if S_ISREG(os.stat(program).st_mode):
                    return program
        raise Refused(DELEGATE, f'failed to find plugin "{self.name}" in path [{" ".join(directories)}]')

    def _run(self, variables: Mapping[str, str]) -> tuple[int, bytes]:
        """Its exit status, and what it wrote to standard output. Its standard error is this process's."""
        program = self._program()
        keep_exit_statuses()
        with ExitStack() as stack:
            given = stack.enter_context(open(os.memfd_create("conf"), "w+b"))
            given.write(self.conf.encode(errors="surrogateescape"))
            given.seek(0)
            reader, writer = os.pipe()
            answer = stack.enter_context(open(reader, "rb", buffering=0))
            with limits.soft_limit_restored(), open(writer, "wb", buffering=0):
                try:
                    pid = os.posix_spawn(
                        program, [program], {**starter().environment(), **variables},
                        file_actions=[(os.POSIX_SPAWN_DUP2, given.fileno(), 0), (os.POSIX_SPAWN_DUP2, writer, 1)],
                        setpgroup=0, setsigdef=_IGNORED_HERE,
                    )  # fmt: skip
                except OSError as error:
                    raise self._refused(f"cannot be executed: {error.strerror}") from None
            try:
                said = self._read(answer.fileno(), pid)
            except BaseException:
                os.killpg(pid, signal.SIGKILL)
                raise
            finally:
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, said

    def _read(self, answer: int, pid: int) -> bytes:
        """What it writes until it ends: what it leaves behind may hold its output open for ever."""
        until, said = time.monotonic() + TIME_S, bytearray()
        poll = select.poll()
        with open(os.pidfd_open(pid), "rb", buffering=0) as ended:
            poll.register(answer, select.POLLIN)
            poll.register(ended, select.POLLIN)
            while True:
                ready = dict(poll.poll(max(0.0, until - time.monotonic()) * 1000))
                if answer in ready:
                    part = os.read(answer, LONGEST)
                    said += part
                    if not part:
                        poll.unregister(answer)
                elif ready:
                    return bytes(said)
                if len(said) > LONGEST:
                    raise self._refused(f"answers more than {LONGEST} bytes")
                if time.monotonic() > until:
                    raise self._refused(f"has not ended within {TIME_S:.0f} s")

    def _object(self, said: bytes) -> dict[str, Any]:
        with suppress(ValueError, RecursionError):
            found = json.loads(said)
            if isinstance(found, dict):
                return found
        raise self._refused(f"answers no JSON object: {_shown(said)}")

    def _error(self, status: int, said: bytes) -> Refused:
        """Its own error, or that it has none."""
        with suppress(Refused):
            found = self._object(said)
            code, message, details = found.get("code"), found.get("msg"), found.get("details") or ""
            if type(code) is int and isinstance(message, str) and isinstance(details, str):
                return Refused(code, message, details)
        how = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
        return self._refused(f"{how} and no error: {_shown(said)}")

    def _refused(self, why: str) -> Refused:
        return Refused(DELEGATE, f"IPAM plugin `{self.name}` {why}")


def _shown(said: bytes) -> str:
    return f"`{escape(said[:_SHOWN].decode(errors='replace'))}`"


def _parts(version: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, version.split(".")))
    except ValueError:
        return ()
