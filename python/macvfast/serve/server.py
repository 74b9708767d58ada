"""The parent of workers and engine: small, with one thread, and neither state nor netlink open. It forks a warm
interpreter ahead of each command line, and one that does the requests of plugins.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from macvfast import __version__
from macvfast.process.programs import PASSED_ON
from macvfast.serve import worker
from macvfast.serve.calls import PLUGIN, TAKEN, WORD_SIZE, Calls, Requests, kind_of, said
from macvfast.serve.peer import Standing
from macvfast.system import server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from macvfast.serve.directory import RunDirectory

# What a worker may be sent.
_DEFAULT = (*PASSED_ON, signal.SIGALRM, signal.SIGCHLD, signal.SIGCONT, signal.SIGTSTP, signal.SIGWINCH)

# Workers that wait for a command line each, and all of them together, at the most.
_IDLE = 3
_MOST = 256

# `timeout` and others send a signal to the process, and then to its group: told twice within this is told once.
_SAME_S = 0.5

# How long to wait before what failed for want of something is tried again.
_AGAIN_S = 0.5


class _Pipes(NamedTuple):
    """What parent and workers share.

    Attributes:
        lifeline: readable, for a worker that waits, when the parent has ended or stops.
        held: the parent's end of that.
        taken: where a worker says that it has got a command line.
        heard: the parent's end of that.
    """

    lifeline: int
    held: int
    taken: int
    heard: int


class Server:
    """Serves command lines and requests until it is told to stop.

    Args:
        directory: where clients connect.
        main: does the command line of `sys.argv`, or (True) the call of a plugin whose words are there.
        engine: does requests: those who connect to a socket, until a descriptor can be read; and counts them. The last
            socket is Docker's.
        docker: the path of Docker's socket; None: there is none.
    """

    def __init__(
        self, directory: RunDirectory, main: Callable[[bool], int],
        engine: Callable[[socket.socket, int, Requests, socket.socket | None], None], docker: str | None = None,
    ) -> None:  # fmt: skip
        self._requests = directory.listener("request.sock")
        self._asked = directory.listener(server.STATUS)
        self._docker = None if docker is None else directory.elsewhere(docker)
        # Last: whoever sees it may use the others.
        self._listener = directory.listener(server.COMMANDS)
        for one in (self._listener, self._asked):
            one.setblocking(False)
        self._lock = directory.lock
        self._main = main
        self._serve_requests = engine
        self._counted = Requests()
        self._calls = Calls(self._counted)
        # The child that does requests, if there is one; and when it was started.
        self._engine = 0
        self._engine_at = -_AGAIN_S
        self._standing = Standing.of("self")
        self._installation = worker.Installation.of(__version__, sys.executable)
        self._idle: set[int] = set()
        self._busy: set[int] = set()
        self._stopping = False
        self._told_at = 0.0
        lifeline, held = os.pipe()
        heard, taken = os.pipe()
        self._pipes = _Pipes(lifeline, held, taken, heard)

    def serve(self) -> None:
        """Serve until SIGTERM or SIGINT, and then until what was begun has ended."""
        waking, wake = os.pipe()
        for end in (waking, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        gc.collect()
        # What was loaded is never collected, so that workers go on sharing its memory.
        gc.freeze()
        while not (self._stopping and not self._busy and not self._idle and not self._engine):
            self._fork_ahead()
            self._fork_engine()
            # What could not be forked is tried again.
            wanting = not self._stopping and (len(self._idle) < _IDLE or not self._engine)
            asked, listens = self._asked.fileno(), self._listener.fileno()
            awaited = [waking, self._pipes.heard, asked]
            if self._stopping or not self._idle:
                awaited.append(listens)
            ready = select.select(awaited, [], [], _AGAIN_S if wanting else None)[0]
            if asked in ready:
                self._tell()
            if listens in ready:
                self._turn_away()
            self._hear_signals(waking)
            self._hear_workers()
            self._reap()

    def _tell(self) -> None:
        """Tell one who asks how the server is; it is less than a socket takes at once."""
        with suppress(OSError):
            connection, _ = self._asked.accept()
            with connection:
                connection.setblocking(False)
                connection.sendall(self._calls.shown())

    def _turn_away(self) -> None:
        """Have one whom no worker takes do without at once. Where systemd listens, its socket outlives this process,
        and who connects would wait.
        """
        with suppress(OSError):
            self._listener.accept()[0].close()

    def _hear_signals(self, waking: int) -> None:
        with suppress(BlockingIOError):
            for number in os.read(waking, 4096):
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._stop()

    def _hear_workers(self) -> None:
        while select.select([self._pipes.heard], [], [], 0)[0]:
            # Each word was written at once.
            pid = self._calls.hear(os.read(self._pipes.heard, WORD_SIZE))
            if pid in self._idle:
                self._idle.remove(pid)
                self._busy.add(pid)

    def _stop(self) -> None:
        """Take no more command lines; those that were begun go on. Told once more, end them, too."""
        if not self._stopping:
            self._stopping = True
            self._told_at = time.monotonic()
            self._close_requests()
            os.close(self._pipes.held)
        elif time.monotonic() - self._told_at > _SAME_S:
            for pid in filter(None, (*self._busy, self._engine)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _close_requests(self) -> None:
        """Leave the sockets of requests to others."""
        self._requests.close()
        if self._docker is not None:
            self._docker.close()

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                # What it said before it ended.
                self._hear_workers()
                self._calls.ended(*ended)
                pid = ended[0]
                self._idle.discard(pid)
                self._busy.discard(pid)
                if pid == self._engine:
                    self._engine = 0

    def _fork_engine(self) -> None:
        """Have a child that does requests; one that ends as soon as it begins is not started again at once."""
        if self._stopping or self._engine or time.monotonic() < self._engine_at + _AGAIN_S:
            return
        self._engine_at = time.monotonic()
        try:
            self._engine = os.fork()
        except OSError:
            return
        if self._engine:
            return
        try:
            self._become_child()
            self._listener.close()
            for end in (self._pipes.taken, self._pipes.heard):
                os.close(end)
            self._serve_requests(self._requests, self._pipes.lifeline, self._counted, self._docker)
        except BaseException:  # noqa: BLE001 - shown, and another one is started
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)

    def _become_child(self) -> None:
        """In a child: leave alone what is the parent's."""
        self._asked.close()
        for end in (self._pipes.held, self._lock):
            os.close(end)
        os.setsid()
        signal.set_wakeup_fd(-1)
        # Whatever the server was started with: what the caller ignores is never passed on.
        for number in _DEFAULT:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _fork_ahead(self) -> None:
        while not self._stopping and len(self._idle) < _IDLE and len(self._idle) + len(self._busy) < _MOST:
            try:
                pid = os.fork()
            except OSError:
                # No memory or no pids: the clients do without.
                return
            if pid == 0:
                self._work()
            self._idle.add(pid)

    def _work(self) -> NoReturn:
        """In the worker: wait for a command line, run it, and end."""
        try:
            self._become_child()
            self._close_requests()
            while True:
                ready, _, _ = select.select([self._listener.fileno(), self._pipes.lifeline], [], [])
                if self._pipes.lifeline in ready:
                    break
                try:
                    connection, _ = self._listener.accept()
                except BlockingIOError:
                    # Another worker has it.
                    continue
                except OSError:
                    time.sleep(_AGAIN_S)
                    continue
                with suppress(OSError):
                    os.write(self._pipes.taken, said(TAKEN))
                    self._listener.close()
                    for end in (self._pipes.lifeline, self._pipes.heard):
                        os.close(end)
                    worker.serve(connection, self._standing, self._installation, self._begin)
                    break
        finally:
            os._exit(0)

    def _begin(self, is_call: bool) -> int:
        """In the worker: say which command has begun, and do it, or the call of a plugin; its exit status."""
        with suppress(OSError):
            os.write(self._pipes.taken, said(PLUGIN if is_call else kind_of(sys.argv[1:])))
        os.close(self._pipes.taken)
        return self._main(is_call)
