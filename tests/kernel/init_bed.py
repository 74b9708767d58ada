"""A sandbox without the rest of macvfast: a namespace and a directory, for the native program to run commands in."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shlex
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import macvfast
from tests import netns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

CLONE_NEWNET = 0x40000000


PROGRAM = Path(os.environ.get("MACVFAST_INIT") or Path(macvfast.__file__).with_name("macvfast-init"))


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = 60) -> T:
    """Ask `condition` until its answer is true, and return that answer."""
    end = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.002)
    return answer


@dataclass(frozen=True)
class Process:
    """A process by pid and start time."""

    pid: int
    start_time: int

    def state(self) -> str:
        """One letter as in ps, or nothing if it is gone."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return fields[0] if int(fields[19]) == self.start_time else ""

    def alive(self) -> bool:
        """Whether it runs; a zombie does not."""
        return self.state() not in {"", "Z", "X"}

    def dead(self) -> bool:
        """Whether it is gone, or a zombie."""
        return not self.alive()

    def children(self) -> list[int]:
        """The pids of its children, zombies included."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


def _new_netns() -> int:
    """A descriptor of a network namespace that nothing else holds."""
    found: list[int] = []

    def make() -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0:
            found.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert found, "no network namespace could be made"
    return found[0]


class Bed:
    """One sandbox: its namespace with a link `eth0`, and its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "sandbox"
        self.directory.mkdir()
        # macvfast takes it before it starts a command, and deletes it with the sandbox.
        (self.directory / "lock").touch()
        self.marks = directory / "marks"
        self.netns = _new_netns()
        self._started: list[subprocess.Popen[bytes]] = []
        link = ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0"]
        subprocess.run(["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.netns}", *link], check=True)

    @property
    def inode(self) -> int:
        """Of the namespace."""
        return os.fstat(self.netns).st_ino

    def close(self) -> None:
        """End everything that the test started."""
        processes: list[Process] = []
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            processes = [self.init, self.keeper]
            if processes[0].alive():
                os.kill(processes[0].pid, signal.SIGKILL)
        for started in self._started:
            if started.poll() is None:
                started.kill()
            started.wait()
            for stream in (started.stdin, started.stdout, started.stderr):
                if stream is not None:
                    stream.close()
        for process in processes:
            wait_until(process.dead, f"the end of {process}")
        os.close(self.netns)

    def line(self, *command: str, options: Sequence[str] = (), join: bool = False) -> list[str]:
        """The command line that runs `command` in the sandbox or, to `join`, beside what runs there."""
        place = ["--netns-fd", str(self.netns), "--dir", str(self.directory), "--name", "web"]
        return [str(PROGRAM), "join" if join else "run", *place, *options, "--", *command]

    def run(
        self,
        *command: str,
        options: Sequence[str] = (),
        stdin: bytes | None = None,
        pass_fds: Sequence[int] = (),
        **others: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the sandbox to its end, with its output, which is read up to the end of the pipes."""
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            self.line(*command, options=options),
            input=stdin,
            capture_output=True,
            timeout=30,
            check=False,
            pass_fds=(self.netns, *pass_fds),
            **others,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(
        self,
        *command: str,
        options: Sequence[str] = (),
        before: str = ":",
        start_new_session: bool = False,
        pipesize: int = -1,
    ) -> subprocess.Popen[bytes]:
        """Start a command in the sandbox, in the foreground, with unbuffered pipes on its streams.

        `before` is what the shell that starts the program does first; the others are those of `start_line`.
        """
        line = ["sh", "-c", f"{before}; exec {shlex.join(self.line(*command, options=options))}"]
        return self.start_line(line, start_new_session=start_new_session, pipesize=pipesize)

    def start_line(
        self, line: Sequence[str], *, start_new_session: bool = False, pipesize: int = -1
    ) -> subprocess.Popen[bytes]:
        """Start a command line, with unbuffered pipes on its streams. `pipesize` is how much they hold."""
        process = subprocess.Popen(
            line,
            bufsize=0,
            pass_fds=[self.netns],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=start_new_session,
            pipesize=pipesize,
        )
        self._started.append(process)
        return process

    def detach(self, *command: str, options: Sequence[str] = ()) -> None:
        """Start a command in the sandbox that must start, detached."""
        done = self.run(*command, options=["--detach", *options])
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def join(
        self, *command: str, options: Sequence[str] = (), stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command beside the one that runs, where one does."""
        with self.joining(*command, options=options) as process:
            out, error = process.communicate(stdin, timeout=30)
        return subprocess.CompletedProcess(process.args, process.returncode, out.decode(), error.decode())

    def joining(self, *command: str, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a command beside the one that runs, where one does, with unbuffered pipes on its streams."""
        return self.start_line(self.line(*command, options=options, join=True))

    @property
    def status(self) -> Mapping[str, list[str]]:
        """The recorded status, less the one before it: the words after each line's first."""
        text, _, _ = (self.directory / "status").read_text(encoding="ascii").partition("\nbefore\n")
        return {words[0]: words[1:] for words in map(str.split, text.splitlines())}

    @property
    def state(self) -> str:
        """The recorded state, with the exit status where there is one: `exited 3`; nothing before the first record."""
        try:
            status = self.status
        except FileNotFoundError:
            return ""
        return " ".join(status["state"] + status.get("exit", []))

    @property
    def init(self) -> Process:
        """The recorded pid 1."""
        return Process(*map(int, self.status["init"]))

    @property
    def keeper(self) -> Process:
        """The recorded keeper."""
        return Process(*map(int, self.status["keeper"]))

    def keeper_of_the_command(self) -> int:
        """The pid of the keeper, once it is recorded."""
        self.wait_for_state("running")
        return self.keeper.pid

    @staticmethod
    def process(pid: int) -> Process:
        """A process that is there."""
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return Process(pid, int(fields[19]))

    @property
    def log(self) -> str:
        """What the detached command has shown."""
        return (self.directory / "log").read_bytes().decode()

    def wait_for_state(self, state: str) -> None:
        """Wait until that is the recorded state."""
        wait_until(lambda: self.state == state, f"state {state} (now: {self.state})")

    def inside(self) -> list[str]:
        """The command lines of all that lives in the sandbox: what joins it is still outside, with another one."""
        lines = map(_command_line, netns.processes_in({self.inode}))
        return [" ".join(line) for line in lines if line]

    def around(self) -> list[list[str]]:
        """The command lines of all that was told of the sandbox's directory, and lives."""
        lines = (_command_line(int(directory.name)) for directory in Path("/proc").glob("[0-9]*"))
        return [line for line in lines if str(self.directory) in line]

    def after(self, script: str) -> list[str]:
        """Options that have the keeper run a shell script last; `$1` is the sandbox's directory, `$2` for marks."""
        words = ["sh", "-c", script, "sh", str(self.directory), str(self.marks)]
        return [part for word in words for part in ("--after", word)]


def read_line(process: subprocess.Popen[bytes], timeout_s: float = 60) -> str:
    """The next line of a process's output, from an unbuffered pipe."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], timeout_s)[0]:
            raise TimeoutError(f"no line within {timeout_s:g} s; so far {line!r}")
        if not (byte := os.read(descriptor, 1)):
            break
        line += byte
    return line.decode().rstrip("\n")


def _command_line(pid: int) -> list[str]:
    """The words of a process's command line; none where it is gone, or a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")[:-1]
    return []
