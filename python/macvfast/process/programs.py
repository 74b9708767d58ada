"""How the native program around a command is started: by this process, or by the one that it works for."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

from macvfast.system import limits, native

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

# What the keeper passes on to the command: `rust/signals`.
PASSED_ON = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)


# How often to look whether a signal has come before a wait.
_LOOK_MS = 50


class Program(NamedTuple):
    """The native program with its arguments.

    Attributes:
        argv: the path of the program first.
        descriptors: which of these words are numbers of descriptors that it gets.
    """

    argv: list[str]
    descriptors: Sequence[int] = ()


def own_command() -> list[str]:
    """The words before those of a command line of this macvfast: the native command, which a server may do, where it is
    installed with this Python and would become no other; else Python.
    """
    program = native.program()
    is_named = os.environ.get("MACVFAST_PYTHON") in (None, "", sys.executable)
    return [str(program)] if program and is_named else [sys.executable, "-P", "-m", "macvfast"]


class Starter(Protocol):
    """Starts the program. Its terminal, process group, parent, cgroup and limits are those of the process that does.

    Attributes:
        at_once: how many it starts at the same time, on as many threads.
    """

    at_once: int

    def become(self, program: Program, lock: list[int]) -> NoReturn:
        """Become the program. Signals that arrive meanwhile wait for it, and it passes them on.

        Args:
            program: the program.
            lock: a descriptor that nobody but the program may keep then.

        Raises:
            OSError: it cannot be executed.
        """

    def start(self, program: Program, lock: list[int]) -> tuple[int, str]:
        """Run the program until it knows whether the command has started; its exit status, and what it wrote to
        standard error.

        Args:
            program: the program.
            lock: a descriptor that nobody but the program may keep meanwhile; it leaves the list when it is closed.

        Raises:
            OSError: it cannot be executed.
        """

    def environment(self) -> dict[str, str]:
        """The environment that the program is started with."""


class ThisProcess:
    """Starts programs from this process."""

    # They mostly wait: for the disk, and for each other's turn in the kernel.
    at_once = 8

    def __init__(self) -> None:
        # What is handed on to one program is not handed on to another one.
        self._turn = threading.Lock()

    def become(self, program: Program, lock: list[int]) -> NoReturn:  # noqa: ARG002 - it is this process then
        """As Starter has it."""
        _hand_on(program)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        try:
            with limits.soft_limit_restored():
                os.execve(program.argv[0], program.argv, self.environment())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def start(self, program: Program, lock: list[int]) -> tuple[int, str]:
        """As Starter has it."""
        keep_exit_statuses()
        environment = self.environment()
        reader, writer = os.pipe()
        with open(reader, encoding="utf-8", errors="replace") as pipe:
            try:
                with self._turn, limits.soft_limit_restored():
                    _hand_on(program)
                    actions = [(os.POSIX_SPAWN_DUP2, writer, 2)]
                    pid = os.posix_spawn(program.argv[0], program.argv, environment, file_actions=actions)
                    # Before the output is read: a keeper that fails is done only when the removal of the sandbox, which
                    # waits for this lock, is done.
                    while lock:
                        os.close(lock.pop())
            except OSError as error:
                # posix_spawn(3) takes no descriptor that the limit of the program does not allow.
                if error.errno != errno.EBADF:
                    raise
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
            finally:
                os.close(writer)
            said = report_of(pipe)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said

    def environment(self) -> dict[str, str]:
        """As Starter has it: this process's, without the LC_CTYPE that Python adds where the locale is C (PEP 538)."""
        environment = environment_here()
        if environment.get("LC_CTYPE") == "C.UTF-8" and not _was_given(b"LC_CTYPE="):
            del environment["LC_CTYPE"]
        return environment


def keep_exit_statuses() -> None:
    """Have the kernel keep the exit statuses of this process's children. It discards them while SIGCHLD is ignored,
    which a process inherits.
    """
    if signal.getsignal(signal.SIGCHLD) is not signal.SIG_IGN:
        return
    from ctypes import CDLL, c_int  # noqa: PLC0415 - seldom needed

    # Python's own `signal` works on the main thread only, and services are started on several.
    CDLL(None).signal(c_int(signal.SIGCHLD), None)


def environment_here() -> dict[str, str]:
    """This process's environment, without a variable that has no name. The kernel takes one, and Python reads it, but
    starts no program with it.
    """
    return {name: value for name, value in os.environ.items() if name}


def report_of(pipe: TextIO) -> str:
    """Wait for what a program writes to standard error. Python does not act on a signal that comes just before it
    waits: no wait is long.
    """
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while not poll.poll(_LOOK_MS):
        pass
    return pipe.read(4096).strip()


def _hand_on(program: Program) -> None:
    for place in program.descriptors:
        os.set_inheritable(int(program.argv[place]), True)


def _was_given(beginning: bytes) -> bool:
    """Whether this process was started with a variable that begins so."""
    try:
        with open("/proc/self/environ", "rb") as given:
            return any(variable.startswith(beginning) for variable in given.read().split(b"\0"))
    except OSError:
        return True


_starter: Starter = ThisProcess()


def starter() -> Starter:
    """What starts programs for this process."""
    return _starter


def start_by(another: Starter) -> None:
    """Have something else start the programs of this process."""
    global _starter  # noqa: PLW0603 - a worker works for one caller
    _starter = another
