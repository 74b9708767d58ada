"""The door to the native program around a sandbox's command: start it, read what it recorded, end it.

The program (`rust/init`) runs as two processes, pid 1 inside the sandbox and a keeper outside; what it records lies
in the sandbox's folder of the state directory. A pid is believed only with its start time.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import stat
import sys
import time
from dataclasses import dataclass
from errno import ETIMEDOUT
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from macvfast import capabilities, etc, users
from macvfast.errors import (
    CommandNotFound,
    CommandNotStarted,
    KernelRefused,
    RootfsInvalid,
    SandboxBusy,
    SandboxRunning,
    StateUnusable,
    TerminalMissing,
)
from macvfast.model import SandboxState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.errors import MacvfastError
    from macvfast.requests import CommandRequest

PROGRAM = Path(__file__).with_name("macvfast-init")

# How long a killed pid 1, and then its keeper, may take to be gone. SIGKILL is not refused: only a stuck kernel is
# slower.
KILL_S = 10.0

# A pid is below PID_MAX_LIMIT (linux/threads.h).
PID_MAX = 4 * 1024 * 1024

# What the keeper passes on to the command: `rust/init/src/signals.rs`.
_PASSED_ON = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)

# Statuses of the program itself where it is not the keeper that ends: `rust/init/src/failure.rs`.
_HELD, _FOLDER, _REFUSED, _NOT_FOUND = 121, 122, 123, 127

# First words that people carry over from `docker run`.
_IMAGES = frozenset(
    (
        *("alpine", "busybox", "centos", "debian", "fedora", "golang", "hello-world", "httpd"),
        *("mysql", "nginx", "node", "postgres", "python", "redis", "ubuntu"),
    )
)


@dataclass(frozen=True, slots=True)
class Process:
    """A process, named so that its pid cannot mean another: pid and start time (clock ticks since boot, proc(5))."""

    pid: int
    start_time: int

    def alive(self) -> bool:
        """Whether it is there and no zombie."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] not in ("Z", "X") and int(fields[19]) == self.start_time

    def open(self) -> int | None:
        """A pidfd of it; None if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive():
            return descriptor
        os.close(descriptor)
        return None


@dataclass(frozen=True, slots=True)
class Status:
    """What the keeper recorded of a command."""

    boot_id: str
    keeper: Process
    init: Process
    state: str
    exit_code: int | None


# Between the status of a command that is a guest (`exec` where nothing ran) and the one that counts again after it.
_BEFORE = "\nbefore\n"


def read_status(directory: Path) -> Status | None:
    """The recorded status of what was last started in a sandbox; None where nothing was, or only guests that have
    ended.
    """
    text = _read(directory)
    return _parse(directory, text.partition(_BEFORE)[0]) if text else None


def _read(directory: Path) -> str:
    try:
        return (directory / "status").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StateUnusable(str(directory), f"cannot read its status: {error.strerror or error}") from None


def _parse(directory: Path, text: str) -> Status:
    fields = {key: rest.split() for key, _, rest in (line.partition(" ") for line in text.splitlines())}
    try:
        ended = fields["state"][0] == "exited"
        return Status(
            boot_id=fields["boot"][0],
            keeper=_process(fields["keeper"]),
            init=_process(fields["init"]),
            state=fields["state"][0],
            exit_code=int(fields["exit"][0]) if ended else None,
        )
    except (KeyError, IndexError, ValueError):
        raise StateUnusable(str(directory), "its status file is damaged") from None


def _process(words: Sequence[str]) -> Process:
    """A pid and a start time, as recorded.

    Raises:
        IndexError, ValueError: they are none.
    """
    pid, start_time = int(words[0]), int(words[1])
    if not 0 <= pid <= PID_MAX or start_time < 0:
        raise ValueError
    return Process(pid, start_time)


def state(directory: Path, boot_id: str) -> tuple[SandboxState, int | None]:
    """What a sandbox's command does now, and its exit status where it has ended by itself; lost, where its status is
    damaged.
    """
    try:
        return _state(directory, boot_id)
    except StateUnusable:
        return SandboxState.LOST, None


def _state(directory: Path, boot_id: str) -> tuple[SandboxState, int | None]:
    text, guest, before = _read(directory).partition(_BEFORE)
    if guest:
        status = _parse(directory, text)
        if status.boot_id == boot_id and status.init.alive():
            return SandboxState.RUNNING, None
        text = before
    if not text:
        return SandboxState.IDLE, None
    status = _parse(directory, text)
    if status.state == "exited":
        return SandboxState.EXITED, status.exit_code
    if status.state == "running" and status.boot_id == boot_id and status.init.alive():
        return SandboxState.RUNNING, None
    if status.state == "running" and status.boot_id == boot_id and status.keeper.alive():
        # pid 1 has just ended and the keeper is about to say how: look again.
        _wait_dead(status.keeper, KILL_S, until=lambda: _state_of(directory) != "running")
        fresh = read_status(directory)
        if fresh is not None and fresh.state == "exited":
            return SandboxState.EXITED, fresh.exit_code
    return SandboxState.LOST, None


def kill(directory: Path, boot_id: str) -> None:
    """End a sandbox's command with all that it started: done when pid 1 is dead and the keeper has recorded it.

    Raises:
        KernelRefused: it would not die.
        StateUnusable: its status is damaged, and a keeper is there.
    """
    deadline = time.monotonic() + KILL_S
    while True:
        unlocked = _is_unlocked(directory)
        try:
            status = read_status(directory)
        except StateUnusable:
            if unlocked:
                return
            raise
        if status is not None and status.boot_id == boot_id:
            _kill(status.init)
        # Otherwise a keeper is about to start its command, or to record its end.
        if unlocked or time.monotonic() > deadline:
            return
        time.sleep(0.002)


def _kill(process: Process) -> None:
    """Kill a process and wait until it is dead."""
    descriptor = process.open()
    if descriptor is None:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        # poll, which has no limit of 1,024 descriptors.
        death = select.poll()
        death.register(descriptor, select.POLLIN)
        if not death.poll(KILL_S * 1000):
            raise KernelRefused(f"end process {process.pid}", ETIMEDOUT, reason="it does not die")
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def remove(directory: Path) -> None:
    """Delete a sandbox's folder with its status, log and files; one that is gone already stays so."""
    etc.remove(directory)
    shutil.rmtree(directory, ignore_errors=True)


def check(request: CommandRequest, *, inside: bool = False) -> None:
    """Refuse a command that could not be started, before anything is made for it.

    Args:
        request: the command.
        inside: it is to join a running command, whose files may be others than this host's; only the terminal is
            checked.

    Raises:
        CommandNotFound, CommandNotStarted, RootfsInvalid, TerminalMissing, UserUnknown, PermissionNeeded
    """
    if request.tty and request.interactive and not request.detach and not os.isatty(0):
        raise TerminalMissing
    if request.user is not None:
        _check_user(request.user, request.rootfs, inside=inside)
    if inside:
        return
    root = Path("/")
    if request.rootfs is not None:
        root = Path(request.rootfs)
        _check_rootfs(root)
    name = request.argv[0]
    # In another root file system a symbolic link points elsewhere than it does here.
    if request.workdir is not None and request.rootfs is None and not os.path.isdir(request.workdir):
        raise CommandNotStarted(
            name, f"there is no folder `{request.workdir}` to start in", ["-w takes a folder of this host"]
        )
    if "/" in name:
        candidates = [Path(name) if request.rootfs is None else root / name.lstrip("/")]
    else:
        candidates = [root / folder.lstrip("/") / name for folder in _path_of(request).split(":") if folder]
    found = False
    for candidate in candidates:
        try:
            mode = candidate.stat().st_mode
        except OSError:
            # Within another root file system a symbolic link points elsewhere than it does here.
            if request.rootfs is not None and os.path.islink(candidate):
                return
            continue
        found = True
        if stat.S_ISREG(mode) and mode & 0o111:
            return
    if found:
        raise CommandNotStarted(name, "it is not an executable file")
    raise CommandNotFound(name, hints=_image_hint(request.argv))


def _path_of(request: CommandRequest) -> str:
    """Where the command is looked for."""
    return dict(request.env).get("PATH", os.environ.get("PATH", os.defpath))


def _image_hint(argv: Sequence[str]) -> list[str]:
    """What to say where the first word looks like an image's name."""
    name, rest = argv[0], argv[1:]
    bare = name.rpartition("/")[2].partition(":")[0]
    if bare not in _IMAGES and ":" not in name:
        return []
    line = " ".join(rest) or "/bin/sh"
    return [f"macvfast runs this host's commands, without an image: leave `{name}` out: `… {line}`"]


def _check_user(user: str, rootfs: str | None, *, inside: bool) -> None:
    capabilities.require("run a command as another user", "CAP_SETGID", "CAP_SETUID")
    if not inside:
        users.find(user, rootfs)


def _check_rootfs(root: Path) -> None:
    # Of a path that cannot be, Path.is_dir raises.
    if not os.path.isdir(root):
        raise RootfsInvalid(str(root), "it is not a directory")
    for needed in ("proc", "sys"):
        if not os.path.isdir(root / needed):
            raise RootfsInvalid(str(root), f"it has no folder `{needed}` to mount on")


def launch(request: CommandRequest, directory: Path, name: str, namespace_fd: int, removal: Sequence[str]) -> None:
    """Start a sandbox's command: detached, returns when it runs; otherwise this process becomes its keeper.

    Args:
        request: the command.
        directory: the sandbox's folder; made where it is missing.
        name: the sandbox's name.
        namespace_fd: a descriptor of its namespace.
        removal: the command that removes the sandbox afterwards; used with `auto_remove`.

    Raises:
        CommandNotFound, CommandNotStarted, SandboxRunning, SandboxBusy, StateUnusable, KernelRefused
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateUnusable(str(directory), error.strerror or str(error)) from None
    arguments = ["join" if request.join else "run"]
    arguments += ["--netns-fd", str(namespace_fd), "--dir", str(directory), "--name", name]
    if request.rootfs is not None:
        arguments += ["--rootfs", str(Path(request.rootfs).absolute())]
    if request.auto_remove:
        arguments += [word for part in removal for word in ("--after", part)]
    arguments += [*_own(directory), *_of_the_command(request)]
    for flag, given in (("--tty", request.tty), ("--interactive", request.interactive), ("--detach", request.detach)):
        if given:
            arguments.append(flag)
    argv = [str(PROGRAM), *arguments, "--", *request.argv]
    try:
        os.set_inheritable(namespace_fd, True)
        if not request.detach:
            _become(argv)
        code, said = _start_detached(argv)
    except OSError as error:
        # Of the program itself: it is not there, or the arguments are too many.
        raise CommandNotStarted(request.argv[0], f"{PROGRAM}: {error.strerror}") from None
    if code != 0:
        raise _explained(code, said, request, directory, name)


def _own(directory: Path) -> list[str]:
    """What the sandbox has of its own, as arguments."""
    hostname = etc.hostname_of(directory)
    arguments = ["--hostname", hostname] if hostname else []
    return [*arguments, "--etc", str(directory / "etc")] if (directory / "etc").is_dir() else arguments


def _of_the_command(request: CommandRequest) -> list[str]:
    """What the command has of its own, as arguments."""
    arguments: list[str] = []
    env = dict(request.env)
    if request.user is not None:
        user = users.find(request.user, request.rootfs)
        arguments += ["--user", user.argument]
        env.setdefault("HOME", user.home)
    arguments += [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
    return [*arguments, "--workdir", request.workdir] if request.workdir is not None else arguments


def _become(argv: list[str]) -> NoReturn:
    """Become the program. A signal that comes meanwhile waits for it, and is passed on; it kills nobody half-way."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        os.execv(argv[0], argv)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_detached(argv: list[str]) -> tuple[int, str]:
    """Run the program until it knows whether the command has started; its exit status, and what it says."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # As whoever started this process had it: the kernel would keep the exit status to itself.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reader, writer = os.pipe()
    with open(reader, encoding="utf-8", errors="replace") as pipe:
        try:
            pid = os.posix_spawn(argv[0], argv, dict(os.environ), file_actions=[(os.POSIX_SPAWN_DUP2, writer, 2)])
        finally:
            os.close(writer)
        said = pipe.read(4096).strip()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def _explained(code: int, said: str, request: CommandRequest, directory: Path, name: str) -> MacvfastError:
    """What the program's status means; it says `ERRNO WORDS`."""
    command = request.argv[0]
    number, _, words = said.partition(" ")
    errno = int(number) if number.isdigit() else 0
    if code == _NOT_FOUND:
        return CommandNotFound(command)
    if code == _HELD:
        return SandboxBusy("sandbox", name, "given a command") if request.join else SandboxRunning(name)
    if code == _FOLDER:
        return StateUnusable(str(directory), f"cannot {words}: {os.strerror(errno)}")
    if code == _REFUSED:
        return KernelRefused(words, errno)
    if errno:
        return CommandNotStarted(command, words)
    # It, or what it was to run beside, was ended meanwhile.
    again = "give the same command again; `dmesg | tail` shows whether the kernel ended it"
    return CommandNotStarted(command, words or f"the program around it ended with {code}: {said}", hints=[again])


def removal_command(state_dir: Path, sandbox_id: str) -> list[str]:
    """The command line that removes a sandbox by force, in a process of its own."""
    return [sys.executable, "-P", "-m", "macvfast", "--state-dir", str(state_dir), "rm", "-f", sandbox_id]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may hold spaces and parentheses; the state comes first."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(") ")[2].split()


def _state_of(directory: Path) -> str:
    status = read_status(directory)
    return "" if status is None else status.state


def _wait_dead(process: Process, seconds: float, until: object = None) -> None:
    """Wait for a process to end, or for `until()`, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while process.alive() and time.monotonic() < deadline:
        if callable(until) and until():
            return
        time.sleep(0.002)


def _is_unlocked(directory: Path) -> bool:
    """Whether no keeper is there: it holds the lock until it has recorded how its command ended."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise StateUnusable(str(directory), f"cannot open its lock: {error.strerror or error}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
