"""Whole commands with a server beside them, and without one: `macvfast serve`."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benches.measure import BenchFailed, Sample, timed_sample
from benches.ours import MACVFAST, NETWORK, open_host
from benches.world import PARENT, World, must, run
from macvfast import Host
from tests.asking import Caller, request
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.asking import Said

MS = 1e-3
# The children of a server that waits: three workers and the engine.
CHILDREN = 4
# Callers of the request socket at once.
CALLERS = 8


class Server:
    """A running server."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def children(self) -> set[int]:
        """Its workers and its engine."""
        said = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return {int(pid) for pid in said.split()}

    def is_waiting(self) -> bool:
        """Whether nothing is being done, and everything has been started again."""
        return len(self.children()) == CHILDREN

    def wait(self) -> None:
        """Wait until that is so."""
        wait_until(self.is_waiting, timeout_s=60, what="a server with all its children")

    def memory_mib(self) -> float:
        """The proportional share of the server and its children."""
        self.wait()
        return sum(_pss_kib(pid) for pid in (self.pid, *self.children())) / 1024


def _pss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _environment(world: World) -> dict[str, str]:
    """Of commands and of the server: a run directory of this world's own, whether or not a server is there."""
    return {"MACVFAST_STATE_DIR": str(world.directory / "state"), "MACVFAST_RUN_DIR": str(world.directory / "run")}


@contextlib.contextmanager
def server_of(world: World) -> Iterator[Server]:
    """A server of this world; it has ended afterwards."""
    environment = {**os.environ, **_environment(world)}
    process = subprocess.Popen([MACVFAST, "serve"], stdin=subprocess.DEVNULL, env=environment)
    server = Server(process.pid)
    try:
        wait_until((world.directory / "run" / "command.sock").exists, timeout_s=60, what="the server's socket")
        server.wait()
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BenchFailed("the server does not end") from None


class _Typist:
    """Types commands one after the other, and measures each from its start to its end."""

    def __init__(self, world: World, server: Server | None) -> None:
        self._environment = _environment(world)
        self._server = server
        self.seconds: list[float] = []

    def type(self, *words: str) -> str:
        """One command; what a server should have done and has not, as no worker was ready in time, is not counted."""
        before = self._server.children() if self._server else set()
        begun = time.perf_counter()
        said = run(MACVFAST, *words, environment=self._environment)
        taken = time.perf_counter() - begun
        if self._server is None or self._one_has_gone(self._server, before):
            self.seconds.append(taken)
        return said

    @staticmethod
    def _one_has_gone(server: Server, before: set[int]) -> bool:
        """Whether a worker has ended, as it does with its command."""
        try:
            wait_until(lambda: bool(before - server.children()), timeout_s=2, what="the end of a worker")
        except TimeoutError:
            return False
        return True

    def sample(self) -> Sample:
        """The mean of what was counted."""
        must(self.seconds, "the server did none of the commands")
        return timed_sample(sum(self.seconds), len(self.seconds), unit_s=MS)


@contextlib.contextmanager
def _typist(world: World, *, served: bool) -> Iterator[_Typist]:
    """One whose first command has been typed: it is not counted."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(server_of(world)) if served else None
        typist = _Typist(world, server)
        typist.type("network", "ls")
        typist.seconds.clear()
        yield typist


def _make_state(world: World) -> None:
    """A state in which nothing is recorded."""
    with Host.open(str(world.directory / "state")) as host:
        host.remove_networks([])


def network_ls(world: World, count: int, served: bool) -> Sample:
    """`network ls` in an empty state."""
    _make_state(world)
    with _typist(world, served=served) as typist:
        for _ in range(count):
            said = typist.type("network", "ls")
            must(said.count("\n") == 1, f"`network ls` of nothing prints {said}")
    return typist.sample()


def network_create(world: World, count: int, served: bool) -> Sample:
    """`network create`, each with a subnet of its own, all on one parent."""
    _make_state(world)
    with _typist(world, served=served) as typist:
        for number in range(count):
            options = (f"--subnet=10.21.{number}.0/24", "-o", f"parent={PARENT}", "-o", "share_parent=true")
            typist.type("network", "create", *options, f"n{number}")
    with Host.open(str(world.directory / "state")) as host:
        made = sum(1 for _ in host.networks())
    must(made == count, f"{made} networks, not {count}")
    return typist.sample()


def run_detached(world: World, count: int, served: bool) -> Sample:
    """`run -d … sleep`; what runs is removed when all have been begun."""
    names = [f"s-{number}" for number in range(count)]
    with open_host(world):
        pass
    with _typist(world, served=served) as typist:
        for name in names:
            typist.type("run", "-d", f"--name={name}", f"--net={NETWORK}", "--", "busybox", "sleep", "86400")
        world.check_each(names)
        _remove(world, names)
    return typist.sample()


def _remove(world: World, names: Sequence[str]) -> None:
    run(MACVFAST, "rm", "-f", *names, environment=_environment(world))
    world.check_gone(names)


def run_and_remove(world: World, count: int, served: bool) -> Sample:
    """`run --rm … true`."""
    with open_host(world):
        pass
    words = ("run", "--rm", f"--net={NETWORK}", "--")
    with _typist(world, served=served) as typist:
        shown = typist.type(*words, "ip", "-4", "addr")
        must(" 10.20.0." in shown, f"the sandbox's addresses: {shown}")
        typist.seconds.clear()
        for _ in range(count):
            typist.type(*words, "busybox", "true")
        world.check_gone([])
    return typist.sample()


def memory(world: World, requests: int, commands: int) -> Sample:
    """Of a server and its children, when they have done so many requests and so many commands."""
    names = [f"s-{number}" for number in range(CALLERS)]
    with open_host(world) as host:
        for name in names:
            host.create_sandbox(name)
    with server_of(world) as server:
        for _ in range(commands):
            run(MACVFAST, "network", "ls", environment=_environment(world))
        each = requests // CALLERS
        kinds = [("connect", "disconnect")[turn % 2] for turn in range(each)]
        _ask(world, [[_request(kind, name) for kind in kinds] for name in names])
        world.check_gone([])
        return Sample(server.memory_mib())


def requests(world: World, count: int, callers: int) -> Sample:
    """So many endpoints in given namespaces, each asked for by one request; each caller has one that waits."""
    names = [f"s-{number}" for number in range(count)]
    with open_host(world):
        pass
    for name in names:
        world.namespace(name)
    connects = [_request("connect", name, given=str(world.pins / name)) for name in names]
    with server_of(world):
        # The engine opens the state, and starts its threads.
        _ask(world, [[connects[number], _request("disconnect", names[number])] for number in range(callers)])
        begun = time.perf_counter()
        _ask(world, [connects[number::callers] for number in range(callers)])
        taken = time.perf_counter() - begun
        world.check_each(names)
        _ask(world, [[_request("disconnect", name) for name in names[number::CALLERS]] for number in range(CALLERS)])
    return timed_sample(taken, count)


def _request(kind: str, sandbox: str, *, given: str | None = None) -> Said:
    there = {} if given is None else {"given": given, "netns": given}
    return request(kind, sandbox, network=NETWORK, **there)


def _ask(world: World, deeds: Sequence[Sequence[Said]]) -> None:
    """Have each of several callers send its requests, one after the other. One thread is all of the callers, so that
    they cost the engine little.
    """
    path = str(world.directory / "run" / "request.sock")
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for some in filter(None, deeds):
            caller = stack.enter_context(Caller(path))
            left = iter(some)
            caller.send(next(left))
            selector.register(caller.socket, selectors.EVENT_READ, (caller, left))
        while selector.get_map():
            for key, _ in selector.select():
                caller, left = key.data
                answer = caller.receive()
                must(answer is not None and "error" not in answer, f"the answer: {answer}")
                if (deed := next(left, None)) is None:
                    selector.unregister(caller.socket)
                else:
                    caller.send(deed)
