"""Commands that a server does: who is served, and the processes that do it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.system.configured import FILE, Places
from macvfast.system.units import client
from tests import netns

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator

    from tests.netns import Lan

COMMAND = str(netns.MACVFAST)


class Typed:
    """What a command line did, and whether a server did it: otherwise the command executes Python."""

    def __init__(self, lan: Lan, *words: str, before: tuple[str, ...] = (), stdin: str = "", env: str = "") -> None:
        trace = lan.state_dir.parent / "trace"
        environment = [env] if env else []
        strace = ("strace", "-qq", "-o", str(trace), "-e", "trace=execve")
        done = lan.host.attempt("env", *environment, *before, *strace, COMMAND, *words, stdin=stdin)
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.served = '"-P", "-m", "macvfast"' not in trace.read_text(encoding="utf-8")

    @property
    def seen(self) -> tuple[int, str, str]:
        """What its caller sees."""
        return self.status, self.out, self.err


@contextlib.contextmanager
def told_by_file(lan: Lan) -> Iterator[None]:
    """Within this, root's file says where everything of a bed is."""
    places = Places(sys.executable, str(lan.state_dir), str(lan.run_dir), str(lan.netns_dir))
    FILE.parent.mkdir(exist_ok=True)
    try:
        FILE.write_text(client(places), encoding="utf-8")
        yield
    finally:
        shutil.rmtree(FILE.parent)


def same_both_ways(lan: Lan, *words: str, stdin: str = "") -> Typed:
    """A command that changes nothing, done by the server and without it, which must look the same; the first."""
    first = when_served(lan, *words, stdin=stdin)
    second = Typed(lan, *words, stdin=stdin, env="MACVFAST_SERVER=off")
    assert not second.served
    assert first.seen == second.seen, words
    return first


def when_served(lan: Lan, *words: str, stdin: str = "", env: str = "") -> Typed:
    """A command that changes nothing, done by a worker: on a busy machine none may be ready in time."""

    def typed() -> Typed | None:
        one = Typed(lan, *words, stdin=stdin, env=env)
        return one if one.served else None

    done = netns.wait_until(typed, timeout_s=30, what="a worker in time")
    assert done is not None
    return done


def following(lan: Lan, sandbox: str) -> tuple[subprocess.Popen[str], int]:
    """`logs --follow`, and the worker that does it."""
    while True:
        before = set(workers(lan))
        typed = lan.host.start(COMMAND, "logs", "--follow", sandbox, process_group=0)
        follower = netns.wait_until(partial(busy_one, [typed.pid, *before]), what="somebody who follows")
        if follower is not None and follower != typed.pid:
            return typed, follower
        # No worker was ready in time.
        typed.kill()
        typed.communicate()


def busy_one(pids: Iterable[int]) -> int | None:
    """The process that follows a log: it has a file of a sandbox open."""
    for pid in pids:
        with contextlib.suppress(OSError):
            if any("/sandboxes/" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")):
                return pid
    return None


def workers(lan: Lan) -> list[int]:
    """The processes below the server."""
    assert lan.server is not None
    said = Path(f"/proc/{server_of(lan)}/task/{server_of(lan)}/children").read_text(encoding="ascii")
    return [int(pid) for pid in said.split()]


def wait_until_idle(lan: Lan) -> None:
    """Until nothing is done: the server's children are three workers that wait for a command, and the engine."""
    netns.wait_until(lambda: len(workers(lan)) == 4, timeout_s=60, what="the end of what the server does")


def engine_of(lan: Lan) -> int:
    """The child of the server that does requests: it alone has an eventfd."""

    def found() -> list[int]:
        return [pid for pid in workers(lan) if "anon_inode:[eventfd]" in opened_by(pid)]

    (engine,) = netns.wait_until(found, what="the engine")
    return engine


def opened_by(pid: int) -> list[str]:
    """What the descriptors of a process lead to; nothing, once it has ended."""
    names = []
    with contextlib.suppress(OSError):
        for one in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                names.append(os.readlink(f"/proc/{pid}/fd/{one}"))
    return names


def server_of(lan: Lan) -> int:
    return int((lan.run_dir / "server.lock").read_text(encoding="ascii"))


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2][0]
