"""The chunks in which endpoints are created, and the work of one chunk that goes on beside that of another."""

from __future__ import annotations

import copy
import os
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from macvfast.engine.making import NewSandbox
from macvfast.engine.sandbox_directories import Writing
from macvfast.errors import PoolExhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from macvfast.engine.choose import Chooser
    from macvfast.engine.making import Attempt, Making, Opened
    from macvfast.errors import MacvfastError
    from macvfast.kernel.namespaces import Sysctls
    from macvfast.kernel.protocol import Namespace
    from macvfast.requests import EndpointRequest
    from macvfast.state.records import PoolRow, Records

T = TypeVar("T")


class Task(Generic[T]):
    """Work on a thread of its own, or, if nothing is to run at the same time, immediately."""

    def __init__(self, work: Callable[[], T], ended: threading.Semaphore, *, beside: bool) -> None:
        """`ended` is released when the work has ended."""
        self._work = work
        self._ended = ended
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="macvfast-chunk") if beside else None
        try:
            if self._thread is not None:
                self._thread.start()
        except RuntimeError:
            # No further thread can be started.
            self._thread = None
        if self._thread is None:
            self._run()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            self._errors.append(error)
        self._ended.release()

    @property
    def ended(self) -> bool:
        """Whether there is a result, or an error."""
        return bool(self._results or self._errors)

    def wait(self) -> None:
        """Wait for its end."""
        if self._thread is not None:
            self._thread.join()

    def left(self) -> T | tuple[()]:
        """What it returned, if it returned anything; it has ended."""
        return self._results[0] if self._results else ()

    def result(self) -> T:
        """Wait for its end; return what it returned, or raise what it raised."""
        self.wait()
        if self._errors:
            raise self._errors[0]
        return self._results[0]


class FullPools:
    """The pools of one call in which no address was free, for the requests that found them so."""

    def __init__(self) -> None:
        self._found: dict[EndpointRequest, tuple[PoolExhausted, str, list[PoolRow]]] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._found)

    def note(self, records: Records, attempts: Sequence[Attempt]) -> None:
        """Note the pools that have refused an attempt, within the transaction that has."""
        errors = {_like(one): one.error for one in attempts if isinstance(one.error, PoolExhausted)}
        for like, error in errors.items():
            networks = records.network(like.network) if like is not None else ()
            if like is not None and len(networks) == 1:
                self._found[like] = (error, networks[0].id, list(records.pools(networks[0].id)))

    def refuse(self, records: Records, attempts: Sequence[Attempt], netns_dir: str) -> None:
        """Refuse attempts that ask for the same of pools that are as they were, before a namespace is created for them.
        An attempt that has another reason to be refused, such as its name, is left to find it.
        """
        full = {
            like: error for like, (error, id_, rows) in self._found.items() if list(records.pools(id_)) == rows
        }  # fmt: skip
        for one in attempts if full else ():
            like = _like(one)
            name = one.request.endpoints[0].sandbox if like is not None else ""
            if like in full and name and not os.path.lexists(os.path.join(netns_dir, name)):
                # An exception for each: a traceback belongs to one.
                one.fail(copy.copy(full[like]))


def _like(attempt: Attempt) -> EndpointRequest | None:
    """What a new sandbox on one network asks for, apart from what is its own; None: it is another attempt."""
    request = attempt.request
    if not request.fresh or not isinstance(request.sandbox, NewSandbox) or len(request.endpoints) != 1:
        return None
    return replace(request.endpoints[0], sandbox="", labels=())


@dataclass(slots=True)
class Call:
    """What the chunks of one call share.

    Attributes:
        chooser: chooses for all of them.
        shared: given namespaces that several chunks need, by the path that opens them; open until the call ends.
        ended: released by each task that ends.
        writing: the files of new sandboxes.
        full: pools that had no free address.
    """

    chooser: Chooser
    shared: dict[str, Namespace]
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    writing: Writing = field(default_factory=Writing)
    full: FullPools = field(default_factory=FullPools)


@dataclass(slots=True)
class Chunk:
    """Attempts that are recorded, created and settled together."""

    call: Call
    attempts: Sequence[Attempt]
    # The attempts that get a new namespace, with the settings of links that are created in it; and these namespaces.
    fresh: list[tuple[Attempt, Sysctls]] = field(default_factory=list)
    namespaces: Task[list[Namespace]] | None = None
    opened: list[Opened] = field(default_factory=list)
    intent: int = 0
    making: Task[None] | None = None
    ended: bool = False
    second: bool = False

    @property
    def good(self) -> list[Attempt]:
        """Those that have no error so far."""
        return [one for one in self.attempts if one.error is None]

    @property
    def failed(self) -> list[Making]:
        """The sandboxes and endpoints that were recorded and will not be created."""
        return [one.making for one in self.attempts if one.making is not None and one.error is not None]

    def fail(self, error: MacvfastError) -> None:
        """Give up all attempts, each for its own error or for this one."""
        for one in self.attempts:
            one.fail(error)


def is_first(ended: threading.Semaphore, one: Task[None] | None, other: Task[list[Namespace]] | None) -> bool:
    """Wait until one of two tasks ends, if both are running. Returns whether it was the first."""
    if one is None or other is None:
        return False
    while not (one.ended or other.ended):
        ended.acquire()
    return not other.ended
