"""Start a command in a sandbox: check it, then hand it to the native program that runs around it.

That program (`rust/init`) is the only one that macvfast starts there; `keeper` reads what it records of the command.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from errno import E2BIG, EAGAIN, EMFILE
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import (
    CommandNotFound,
    CommandNotStarted,
    KernelRefused,
    RootfsInvalid,
    SandboxBusy,
    SandboxNotFound,
    SandboxRestarting,
    SandboxRunning,
    StateUnusable,
    TerminalMissing,
)
from macvfast.process import autoremove, files, given, programs, users
from macvfast.process.programs import Program
from macvfast.process.rootfs import Root
from macvfast.system import capabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.errors import MacvfastError
    from macvfast.process.given import Surroundings
    from macvfast.process.users import User
    from macvfast.requests import CommandRequest

PROGRAM = Path(__file__).parents[1] / "macvfast-init"

# Exit statuses of the program where it does not become the keeper: `rust/init/src/failure.rs`.
_GONE, _RESTARTING, _HELD, _DIRECTORY, _REFUSED, _NO_DIRECTORY, _NOT_FOUND = 119, 120, 121, 122, 123, 124, 127
# The same hint is there.
_WORKDIR = "-w takes a directory that the command can see"

# Names of images, which people type first out of habit from `docker run`.
_IMAGES = frozenset(
    (
        *("alpine", "busybox", "centos", "debian", "fedora", "golang", "hello-world", "httpd"),
        *("mysql", "nginx", "node", "postgres", "python", "redis", "ubuntu"),
    )
)


def check(request: CommandRequest, around: Surroundings, *, inside: bool = False, joined: Root | None = None) -> None:
    """Refuse a command that cannot be started, before anything is made for it.

    Args:
        request: the command.
        around: what it has of the process that asks for it, `here`, or of the one that did.
        inside: it joins a running command, which may see other files than this host's: only terminal and user are
            checked.
        joined: the root of that command, where a user is asked for.

    Raises:
        CommandNotFound, CommandNotStarted, RootfsInvalid, TerminalMissing, UserUnknown, UserNotTrusted,
        PermissionNeeded
    """
    if request.tty and request.interactive and not request.detach and not os.isatty(0):
        raise TerminalMissing
    if request.user is not None:
        capabilities.require("run a command as another user", "CAP_SETGID", "CAP_SETUID")
    user = _user(request, joined)
    if inside:
        return
    if request.rootfs is None:
        _check_command(request, None, user, around)
        return
    with Root(request.rootfs) as root:
        _check_rootfs(root)
        _check_command(request, root, user, around)


def here() -> Surroundings:
    """The surroundings of this process, or of the one that it works for."""
    return given.here(programs.starter().environment())


def _user(request: CommandRequest, joined: Root | None) -> User | None:
    """The user of a command, by the tables of users that it sees."""
    if request.user is None:
        return None
    if request.rootfs is not None:
        with Root(request.rootfs) as root:
            return users.find(request.user, root)
    return users.find(request.user, None if joined is None or joined.is_this_hosts() else joined)


def _check_rootfs(root: Root) -> None:
    for needed in ("proc", "sys"):
        mode = root.mode(needed, follow=False)
        if mode is None or not stat.S_ISDIR(mode):
            raise RootfsInvalid(root.path, f"it has no directory `{needed}` to mount on")


def _check_command(request: CommandRequest, root: Root | None, user: User | None, around: Surroundings) -> None:
    name, workdir = request.argv[0], request.workdir
    if workdir is not None and not stat.S_ISDIR(_mode(workdir, root) or 0):
        raise CommandNotStarted(name, f"there is no directory `{workdir}` to start in", [_WORKDIR])
    if "/" in name:
        above = "/" if root is not None or around.directory is None else around.directory
        candidates = [os.path.join(workdir or above, name)]
    else:
        path = _path_of(request, user, around)
        candidates = [os.path.join(directory, name) for directory in path.split(":") if directory]
    modes = [mode for mode in (_mode(candidate, root) for candidate in candidates) if mode is not None]
    if any(stat.S_ISREG(mode) and mode & 0o111 for mode in modes):
        return
    if modes:
        raise CommandNotStarted(name, "it is not an executable file")
    raise CommandNotFound(name, hints=_image_hint(request.argv))


def _mode(path: str, root: Root | None) -> int | None:
    """The type and mode of what a command sees at a path; None: nothing."""
    if root is not None:
        return root.mode(path)
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return None


def _path_of(request: CommandRequest, user: User | None, around: Surroundings) -> str:
    """The PATH in which a command is searched."""
    asked = dict(request.env).get("PATH")
    if asked is not None:
        return asked
    return around.environment.get("PATH", os.defpath) if user is None else user.path


def _image_hint(argv: Sequence[str]) -> list[str]:
    """The hint where the first word looks like the name of an image."""
    name, rest = argv[0], argv[1:]
    bare = name.rpartition("/")[2].partition(":")[0]
    if bare not in _IMAGES and ":" not in name:
        return []
    line = " ".join(rest) or "/bin/sh"
    return [f"macvfast runs this host's commands, without an image: leave `{name}` out: `… {line}`"]


def removal(state_dir: Path, sandbox_id: str) -> list[str]:
    """The native program's arguments that say what removes a sandbox when its command has ended: one process, for all
    that wait in the state's queue; or, where it cannot enter that, another for it alone.
    """
    command = programs.own_command()
    alone = [*command, "--state-dir", str(state_dir), "rm", "-f", sandbox_id]
    for_all = [*command, "__remove-ended", str(state_dir), str(autoremove.LOCK)]
    words = [*(("--after", word) for word in alone), *(("--after-all", word) for word in for_all)]
    return ["--queue", str(autoremove.queues_in(state_dir)), *(word for pair in words for word in pair)]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command runs.

    Attributes:
        directory: the sandbox's directory.
        name: the sandbox's name.
        namespace_fd: a descriptor of its namespace.
        removal: what removes the sandbox afterwards, as `removal` says it; used with `auto_remove`.
        around: as for `check`.
        pins: the directories in which namespaces are pinned; the command does not see their mounts.
        joined: the root of the running command that this one joins, where a user is asked for.
        lock: a descriptor of the lock that `keeper.hold` took; closed by `launch`. None: there is a keeper, whose
            command this one joins; the directory is as that keeper found it.
    """

    directory: Path
    name: str
    namespace_fd: int
    removal: Sequence[str]
    around: Surroundings
    pins: Sequence[str] = ()
    joined: Root | None = None
    lock: int | None = None


def launch(request: CommandRequest, place: Place) -> None:
    """Start a sandbox's command. Detached: returns when it runs; otherwise this process becomes its keeper.

    Raises:
        CommandNotFound, CommandNotStarted, SandboxRunning, SandboxRestarting, SandboxBusy, SandboxNotFound,
        StateUnusable, KernelRefused, RootfsInvalid, UserUnknown, UserNotTrusted
    """
    lock = [] if place.lock is None else [place.lock]
    try:
        code, said = _started(request, place, lock)
    finally:
        for descriptor in lock:
            os.close(descriptor)
    if code != 0:
        raise _explained(code, said, request, place.directory, place.name)


def _started(request: CommandRequest, place: Place, lock: list[int]) -> tuple[int, str]:
    """Start the program, or become it; its exit status and output. The lock leaves the list once the keeper has it."""
    user = _user(request, place.joined)
    around = place.around
    if not (request.join or request.auto_remove or around.kept):
        given.keep(place.directory, request, around)
    environment = _environment(request, user, around)
    try:
        opened = [("--netns-fd", place.namespace_fd), ("--env-fd", environment), *(("--lock-fd", one) for one in lock)]
        argv = [str(PROGRAM), "join" if request.join else "run"]
        argv += [word for option, descriptor in opened for word in (option, str(descriptor))]
        program = Program([*argv, *_arguments(request, place, user), "--", *request.argv], range(3, len(argv), 2))
        if not request.detach:
            for stream in (sys.stdout, sys.stderr):
                # None where the caller closed it.
                if stream is not None:
                    stream.flush()
            programs.starter().become(program, lock)
        return programs.starter().start(program, lock)
    except OSError as error:
        if error.errno in (EAGAIN, EMFILE):
            raise KernelRefused("start the keeper", error.errno) from None
        # The program itself is missing, or the arguments are too long.
        raise CommandNotStarted(request.argv[0], f"{PROGRAM}: {error.strerror}", _hints(error.errno)) from None
    finally:
        os.close(environment)


def _arguments(request: CommandRequest, place: Place, user: User | None) -> list[str]:
    """What the program is asked for, without descriptors and the command."""
    own_files = place.directory / "etc"
    options: list[tuple[str, object]] = [
        ("--dir", place.directory),
        ("--name", place.name),
        *(("--pins", os.path.abspath(directory)) for directory in place.pins),
        ("--rootfs", None if request.rootfs is None else Path(request.rootfs).absolute()),
        ("--hostname", files.hostname_of(place.directory) or None),
        ("--etc", own_files if own_files.is_dir() else None),
        ("--user", None if user is None else user.argument),
        ("--log-max", request.log_max),
        ("--workdir", request.workdir),
        ("--restart", None if request.restart == "no" else request.restart),
        ("--directory", place.around.directory if place.around.kept else None),
    ]
    flags = {
        # In another root the same number is another user.
        "--beside": user is not None and place.joined is not None and not place.joined.is_this_hosts(),
        "--tty": request.tty,
        "--interactive": request.interactive,
        "--detach": request.detach,
        "--only-env": place.around.kept,
    }
    return [
        *(word for option, value in options if value is not None for word in (option, str(value))),
        *(flag for flag, given in flags.items() if given),
        *(place.removal if request.auto_remove else ()),
    ]


def _environment(request: CommandRequest, user: User | None, around: Surroundings) -> int:
    """A descriptor of the variables that the command gets in addition to this process's environment or, as another
    user or with what was kept, instead of it. In memory: everybody can read command lines, and the native program must
    not obey variables that are meant for the command.
    """
    env = dict(request.env)
    if user is not None:
        env = user.environment(around.environment) | env
    elif around.kept:
        env = {**around.environment, **env}
    descriptor = os.memfd_create("environment", 0)
    with open(descriptor, "wb", closefd=False) as memory:
        memory.write(b"".join(os.fsencode(f"{name}={value}\0") for name, value in env.items()))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _explained(code: int, said: str, request: CommandRequest, directory: Path, name: str) -> MacvfastError:
    """What the program's exit status means; its output is `ERRNO WORDS`."""
    command = request.argv[0]
    number, _, words = said.partition(" ")
    errno = int(number) if number.isdigit() else 0
    if code == _NOT_FOUND:
        return CommandNotFound(command)
    if code == _HELD:
        return SandboxBusy("sandbox", name, "given a command") if request.join else SandboxRunning(name)
    if code == _RESTARTING:
        return SandboxRestarting(name)
    if code == _GONE:
        return SandboxNotFound(name)
    if code == _DIRECTORY:
        return StateUnusable(str(directory), f"cannot {words}: {os.strerror(errno)}")
    if code == _REFUSED:
        return KernelRefused(words, errno)
    if code == _NO_DIRECTORY:
        return CommandNotStarted(command, words, [_WORKDIR])
    if errno:
        return CommandNotStarted(command, words, _hints(errno))
    # It was killed, or the command that it was to join ended.
    again = "run the command again; `dmesg | tail` shows whether the kernel ended it"
    return CommandNotStarted(command, words or f"the program around it ended with {code}: {said}", hints=[again])


def _hints(errno: int | None) -> list[str]:
    """Hints for an errno; `rust/init` has the same."""
    return ["give it fewer or shorter arguments and variables"] if errno == E2BIG else []
