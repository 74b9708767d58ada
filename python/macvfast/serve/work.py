"""Requests, done by threads that share one Host for each origin: its queue does as one batch what waits together."""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from macvfast.cli.show.output import problem_fields
from macvfast.errors import (
    EndpointNotFound,
    MacvfastError,
    NetworkNotFound,
    RequestInvalid,
    SandboxNotFound,
)
from macvfast.plan import endpoints
from macvfast.serve import request as words
from macvfast.serve.hosts import Hosts
from macvfast.serve.request import CHECK, CONNECT
from macvfast.serve.turns import Turns
from macvfast.state.store import DEFAULT_DIR
from macvfast.system import configured

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from macvfast.host import Host
    from macvfast.model import Endpoint, Network, Sandbox
    from macvfast.outcomes import Difference
    from macvfast.serve.request import Request
    from macvfast.serve.turns import Key

# What is gone already.
_GONE = (NetworkNotFound, SandboxNotFound, EndpointNotFound)

# What waits together in the queue of a Host, at the most. Removal waits for the kernel, on threads of its own.
_THREADS = 32

# The form of a sandbox's id.
_AN_ID = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)


class Answer(NamedTuple):
    """What becomes of a request; `made`: it has made something, which goes again if nobody takes the answer."""

    said: dict[str, object]
    made: Request | None = None


class Work:
    """Does requests, with the state that the environment or client.conf names. Those about one sandbox, and those with
    one id, are done one after the other, in the order in which they came.
    """

    def __init__(self) -> None:
        self._state_dir = os.path.abspath(configured.directory("state_dir", DEFAULT_DIR))
        self._hosts = Hosts(self._state_dir)
        self._making = ThreadPoolExecutor(_THREADS, "macvfast-make")
        self._others = ThreadPoolExecutor(_THREADS, "macvfast-wait")
        self._turns = Turns()

    def close(self) -> None:
        """Finish what was begun."""
        self._turns.wait()
        self._making.shutdown()
        self._others.shutdown()
        self._hosts.close()

    def begin(self, request: Request, done: Callable[[Answer], None]) -> None:
        """Do a request; `done` is called on another thread."""
        pool = self._making if request.kind == CONNECT else self._others
        self._in_turn(request, pool, lambda: done(self._answered(request)))

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
            keys = [("request", request.id), ("sandbox", sandbox)]
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

    def _answered(self, request: Request) -> Answer:
        try:
            with self._host(request) as host:
                if request.kind == CONNECT:
                    return self._connect(host, request)
                if request.kind == CHECK:
                    return Answer(words.differing_answer(self._differences(host, request)))
                return Answer(words.gone_answer(found=self._disconnect(host, request)))
        except MacvfastError as error:
            return Answer(problem_fields(error))
        except Exception as error:  # noqa: BLE001 - the caller is told, and the others go on
            sys.excepthook(*sys.exc_info())
            return Answer(problem_fields(MacvfastError("the server has failed", causes=[repr(error)])))

    def _host(self, request: Request) -> AbstractContextManager[Host]:
        """The host of the origin; of another state directory than this one's, none."""
        if request.state_dir not in (None, self._state_dir):
            raise RequestInvalid(f"the server's state is in {self._state_dir}")
        return self._hosts.of(request.origin)

    def _connect(self, host: Host, request: Request) -> Answer:
        there = host.made_for(request.id)
        if there is not None:
            _refuse_other(request, there)
            return Answer(words.made_answer(there))
        _network(host, request)
        if request.netns is None:
            _sandbox(host, request)
        made = host.connect(request.endpoint, netns=request.netns, request_id=request.id)
        return Answer(words.made_answer(made), request)

    def _disconnect(self, host: Host, request: Request) -> bool:
        """Whether there was something to disconnect."""
        try:
            self._take_away(host, _the_endpoint(host, request))
        except _GONE:
            return False
        return True

    def _undo(self, request: Request) -> None:
        with self._host(request) as host, suppress(*_GONE):
            there = host.take_back(request.id)
            if there is not None:
                self._take_away(host, there)

    @staticmethod
    def _take_away(host: Host, endpoint: Endpoint) -> None:
        """Remove an endpoint, and with it a sandbox that stood for a given namespace for its sake alone."""
        sandbox = host.sandbox(endpoint.sandbox_id)
        if sandbox.made or len(sandbox.endpoints) > 1:
            host.disconnect(endpoint.network_id, sandbox, ifname=endpoint.ifname)
        else:
            host.remove_many([sandbox.id])[0].result()

    @staticmethod
    def _differences(host: Host, request: Request) -> list[Difference]:
        endpoint = _the_endpoint(host, request)
        return host.check(endpoint.sandbox_id)


def _refuse_other(request: Request, made: Endpoint) -> None:
    """Refuse a request whose id is that of another one, for which an endpoint was made.

    Raises:
        RequestInvalid
    """
    asked = request.endpoint
    if (
        asked.network not in (made.network, made.network_id)
        or asked.sandbox not in (made.sandbox, made.sandbox_id)
        or asked.ifname not in (None, made.ifname)
    ):
        raise RequestInvalid("its id is that of another request")


# By the beginning of an id, what is gone would be taken for something else.


def _network(host: Host, request: Request) -> Network:
    """The network of exactly that id or name. Raises as `Host.network`."""
    network = host.network(request.endpoint.network)
    if request.endpoint.network not in (network.id, network.name):
        raise NetworkNotFound(request.endpoint.network)
    return network


def _sandbox(host: Host, request: Request) -> Sandbox:
    """The sandbox of exactly that id or name. Raises as `Host.sandbox`."""
    sandbox = host.sandbox(request.endpoint.sandbox)
    if request.endpoint.sandbox not in (sandbox.id, sandbox.name):
        raise SandboxNotFound(request.endpoint.sandbox)
    return sandbox


def _the_endpoint(host: Host, request: Request) -> Endpoint:
    """The endpoint that a request names.

    Raises:
        NetworkNotFound, SandboxNotFound, EndpointNotFound, EndpointAmbiguous
    """
    network, sandbox = _network(host, request), _sandbox(host, request)
    return endpoints.only(endpoints.attached(network, sandbox, request.endpoint.ifname))
