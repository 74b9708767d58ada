"""Requests: what connects is done as a batch, by one thread; all else by threads that share one Host of each engine."""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from macvfast.errors import MacvfastError, RequestInvalid
from macvfast.plugins.doing import answered
from macvfast.plugins.kinds import connected, undo
from macvfast.plugins.request import CONNECT, STATUS, Answer, NotKept
from macvfast.serve.batches import Batches
from macvfast.serve.calls import FAILED, OK
from macvfast.serve.hosts import Hosts
from macvfast.serve.request import Plain
from macvfast.serve.turns import Turns
from macvfast.state.store import DEFAULT_DIR
from macvfast.system import configured

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from macvfast.host import Host
    from macvfast.plugins.request import Request
    from macvfast.serve.calls import Requests
    from macvfast.serve.turns import Key

# What waits together in the queue of a Host, at the most. Removal waits for the kernel, on threads of its own.
_THREADS = 32
# What only looks, every few seconds, waits behind none of it.
_LOOKING_THREADS = 2

# Requests that are done together, at most.
_BATCH = 64

# The form of a sandbox's id.
_AN_ID = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)


class _Waiting(NamedTuple):
    """A request, whether its caller still waits, and how its answer is said."""

    request: Request
    is_wanted: Callable[[], bool]
    say: Callable[[Answer, str], None]


def _keys(request: Request) -> list[Key]:
    """What only one is done about at a time, where the sandbox is given by its name."""
    return [("request", request.id), ("sandbox", request.endpoint.sandbox)]


class Work:
    """Does requests, with the state that the environment or client.conf names. Those about one sandbox, and those with
    one id, are done one after the other, in the order in which they came.

    Args:
        counted: where they are counted.
    """

    def __init__(self, counted: Requests) -> None:
        self._counted = counted
        self._state_dir = os.path.abspath(configured.directory("state_dir", DEFAULT_DIR))
        self._hosts = Hosts(self._state_dir)
        self._batches = Batches(self._connect, _BATCH)
        self._making = ThreadPoolExecutor(_THREADS, "macvfast-make")
        # One of its threads is there from the beginning.
        self._making.submit(int)
        self._others = ThreadPoolExecutor(_THREADS, "macvfast-wait")
        self._looking = ThreadPoolExecutor(_LOOKING_THREADS, "macvfast-look")
        self._turns = Turns()

    def close(self) -> None:
        """Finish what was begun."""
        self._turns.wait()
        self._batches.close()
        self._making.shutdown()
        self._others.shutdown()
        self._looking.shutdown()
        self._hosts.close()

    def begin(
        self, request: Request, done: Callable[[Answer], None], is_wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Do a request. On another thread, when its turn has come, `is_wanted` is asked: what nobody waits for any more
        is not begun, as its caller may have done it otherwise, and more after it. Then `done` is called.
        """
        pool = self._making if request.kind == CONNECT else self._others
        begun = self._counted.begin()

        def say(answer: Answer, outcome: str) -> None:
            self._counted.end(request.kind, outcome, begun)
            done(answer)

        if request.kind == STATUS:
            self._looking.submit(self._run, [], lambda: say(*self._answered(request)))
            return
        one = _Waiting(request, is_wanted, say)
        if request.kind == CONNECT and request.netns is not None and not _AN_ID.match(request.endpoint.sandbox):
            self._turns.take(_keys(request), lambda: self._batches.add(one))
        else:
            self._in_turn(request, pool, lambda: self._alone(one))

    def _connect(self, waiting: Sequence[_Waiting]) -> None:
        """Do what connects as one batch for each engine; what that does not do is done alone."""
        for _, some in groupby(waiting, lambda one: (one.request.origin, one.request.state_dir)):
            these = [one for one in some if self._still_wanted(one)]
            if not these:
                continue
            answers: Sequence[Answer | None] = [None] * len(these)
            try:
                with self._host(these[0].request) as host:
                    answers = connected(host, [one.request for one in these])
            except Exception as error:  # noqa: BLE001 - told when it is done alone
                if not isinstance(error, MacvfastError):
                    sys.excepthook(*sys.exc_info())
            both = [*zip(these, answers, strict=True)]
            for one, answer in both:
                if answer is not None:
                    self._run(_keys(one.request), partial(one.say, answer, OK))
            for one, answer in both:
                if answer is None:
                    # Where no further thread can be started, one that there is does it.
                    with suppress(RuntimeError):
                        self._making.submit(self._run, _keys(one.request), partial(self._alone, one))

    def _still_wanted(self, one: _Waiting) -> bool:
        """Whether it is; else its turn ends."""
        if one.is_wanted():
            return True
        self._run(_keys(one.request), partial(one.say, Answer({}), FAILED))
        return False

    def _alone(self, one: _Waiting) -> None:
        one.say(*(self._answered(one.request) if one.is_wanted() else (Answer({}), FAILED)))

    def take_back(self, request: Request) -> None:
        """Remove what a request has made, if that is still there: nobody knows of it, unless it was asked for again."""
        self._in_turn(request, self._others, lambda: self._undo(request))

    # Turns. The kinds of keys, in their order: "request", "id" and "sandbox".

    def _in_turn(self, request: Request, pool: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        sandbox = request.endpoint.sandbox
        if _AN_ID.match(sandbox):
            keys = [("request", request.id), ("id", sandbox)]
            self._turns.take(keys, lambda: pool.submit(self._by_name, request, keys, pool, work))
        else:
            keys = _keys(request)
            self._turns.take(keys, lambda: pool.submit(self._run, keys, work))

    def _by_name(self, request: Request, keys: list[Key], pool: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        """Go on in the turn of the sandbox that a request names by its id: others may say its name."""
        name = request.endpoint.sandbox
        with suppress(Exception), self._host(request) as host:
            name = host.sandbox(name).name
        keys = [*keys, ("sandbox", name)]
        self._turns.take(keys[-1:], lambda: pool.submit(self._run, keys, work))

    def _run(self, keys: list[Key], work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:  # noqa: BLE001 - shown, and the others go on
            sys.excepthook(*sys.exc_info())
        self._turns.end(keys)

    # What is done.

    def _answered(self, request: Request) -> tuple[Answer, str]:
        """The answer, and whether it is one to what was asked. Where the server cannot do it, no answer in the words of
        the request: a plugin then does it without a server.
        """
        try:
            if (problem := self._elsewhere(request)) is not None:
                return Answer(Plain.failed(problem)), FAILED
            with self._host(request) as host:
                return answered(host, request), OK
        except NotKept as error:
            return Answer(error.said), FAILED
        except MacvfastError as error:
            return Answer(request.words.failed(error)), FAILED
        except Exception as error:  # noqa: BLE001 - the caller is told, and the others go on
            sys.excepthook(*sys.exc_info())
            return Answer(Plain.failed(MacvfastError("the server has failed", causes=[repr(error)]))), FAILED

    def _elsewhere(self, request: Request) -> RequestInvalid | None:
        """Why a request is not for this server: it is about another state directory."""
        if request.state_dir in (None, self._state_dir):
            return None
        return RequestInvalid(f"the server's state is in {self._state_dir}")

    def _host(self, request: Request) -> AbstractContextManager[Host]:
        """The host of the origin; of another state directory than this one's, none."""
        if (problem := self._elsewhere(request)) is not None:
            raise problem
        return self._hosts.of(request.origin)

    def _undo(self, request: Request) -> None:
        with self._host(request) as host:
            undo(host, request)
