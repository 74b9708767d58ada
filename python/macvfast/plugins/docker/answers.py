"""What Docker is answered, and what is still to be done for that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from macvfast.model import epoch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from macvfast.errors import MacvfastError
    from macvfast.host import Host
    from macvfast.model import Endpoint, Sandbox
    from macvfast.outcomes import Difference
    from macvfast.plugins.request import Said

# The keys of an error: of the network driver, and of the IPAM driver.
NETWORK, IPAM = "Err", "Error"


class Refused(Exception):
    """What is asked for cannot be done, for a reason that only Docker has to do with; the text says why."""


class Peer(NamedTuple):
    """The dockerd that calls.

    Attributes:
        pid: its process.
        started: when that was started, in clock ticks since boot.
        boot_id: of this boot.
    """

    pid: int
    started: int
    boot_id: str

    @property
    def epoch(self) -> str:
        """This run of dockerd."""
        return epoch_of(self.boot_id, self.pid, self.started)


class Call(NamedTuple):
    """One call.

    Attributes:
        id: a random one.
        method: such as `NetworkDriver.Join`.
        body: as it came.
        peer: who calls.
    """

    id: str
    method: str
    body: bytes
    peer: Peer


@dataclass(frozen=True, slots=True)
class Todo:
    """What is to be done for a call.

    Attributes:
        about: what only one call is done about at a time: an id of Docker's.
        makes: whether it makes something, and does not only remove.
        act: does it; its answer.
        undo: takes back what it has made, by its answer, which Docker has not waited for; None: nothing is left that
            Docker does not mention again.
    """

    about: str
    makes: bool
    act: Callable[[Host], Said] = field(compare=False, repr=False)
    undo: Callable[[Said, Host], None] | None = field(default=None, compare=False, repr=False)


class Words:
    """How a call is answered (`macvfast.plugins.request.Words`).

    Args:
        key: of errors.
    """

    def __init__(self, key: str) -> None:
        self._key = key

    @staticmethod
    def made(endpoint: Endpoint, mtu: Callable[[], int | None]) -> Said:  # noqa: ARG004
        """Docker knows what it has asked for."""
        return {}

    @staticmethod
    def gone(*, found: bool) -> Said:  # noqa: ARG004
        """It may be gone already."""
        return {}

    def differing(self, sandbox: Sandbox, endpoint: Endpoint, differences: Sequence[Difference]) -> Said:  # noqa: ARG002
        """What differs, as an error."""
        return {self._key: "; ".join(one.found for one in differences)} if differences else {}

    @staticmethod
    def ready() -> Said:
        """Nothing more."""
        return {}

    def unready(self, error: MacvfastError, *, hurts: bool) -> Said:  # noqa: ARG002
        """Why."""
        return self.failed(error)

    def failed(self, error: MacvfastError) -> Said:
        """The error with its causes and hints: `docker` shows it on one line."""
        return {self._key: said_of(error)}


def said_of(error: MacvfastError) -> str:
    """An error on one line, with what can be typed.

    >>> from macvfast.errors import NetworkNotFound
    >>> said_of(NetworkNotFound("lab"))  # doctest: +ELLIPSIS
    'there is no network `lab`...'
    """
    return _one_line(error.line, error.hints)


def line_of(error: Mapping[str, Any]) -> str:
    """The same of an error as the server itself says it.

    >>> line_of({"error": "server-failed", "message": "the server has failed", "causes": ["x"], "hints": ["try"]})
    'the server has failed: x (hint: try)'
    """
    return _one_line(": ".join((error["message"], *error["causes"])), error["hints"])


def _one_line(line: str, hints: Sequence[str]) -> str:
    return f"{line} (hint: {'; '.join(hints)})" if hints else line
