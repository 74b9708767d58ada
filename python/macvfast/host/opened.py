"""A state directory that is opened, and what every call on it needs."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from macvfast.checks import plain
from macvfast.engine.parts import Parts
from macvfast.errors import ArgumentInvalid
from macvfast.model import Network, Sandbox
from macvfast.state.store import DEFAULT_NETNS_DIR, Store
from macvfast.system import configured, limits, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from macvfast.kernel.netlink import Kernel
    from macvfast.outcomes import Note


class Opened:
    """Opened and closed, whatever is asked in between."""

    def __init__(self, store: Store, kernel: Kernel | None = None, netns_dir: str | None = None) -> None:
        if not isinstance(store, Store):
            raise ArgumentInvalid("store", store, "it is a state that is open", hints=["`Host.open(DIRECTORY)`"])
        self._store = store
        pins = netns_dir or configured.directory("netns_dir", DEFAULT_NETNS_DIR)
        self._parts = Parts(store, kernel, pins, lambda note: self.on_note(note))  # noqa: PLW0108 - it may be replaced
        self.on_note: Callable[[Note], None] = lambda _: None

    @classmethod
    def open(cls, state_dir: str | None = None, *, make: bool = True, origin: str | None = None) -> Self:
        """Open the state directory; None: MACVFAST_STATE_DIR, else /var/lib/macvfast. `make`: make it where it is
        missing; otherwise it can only be read. With MACVFAST_LOG, `text` or `json`, requests to the kernel are logged.
        `origin`, "cni", "podman" or "docker", is the engine for which it is opened: what is made carries it, and what
        carries it may be changed and removed. All else that an engine made is refused with MadeByEngine.
        """
        if form := os.environ.get("MACVFAST_LOG"):
            cls.log(form)
        return cls(Store(state_dir, make=make, origin=origin))

    @staticmethod
    def log(form: str = "text") -> None:
        """Write the log on standard error, from now on, as `text` or `json`; else OptionInvalid. Without this call, the
        logger `macvfast` of `logging` passes it to the program's own handlers.
        """
        log.start(form)

    @staticmethod
    def use_all_descriptors() -> None:
        """Raise the soft limit of open files (RLIMIT_NOFILE) to the hard one; commands start with the old one."""
        limits.raise_soft_limit()

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Within this, all that this thread reads of the state is as of one moment, and one look at the file; nothing
        can be changed by it.
        """
        with self._store.reading():
            yield

    def close(self) -> None:
        """Close the state and the sockets; again, or in a forked child, do nothing."""
        self._parts.close()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def key_of(thing: str | Network | Sandbox) -> str:
    """What names a network or sandbox: the text itself, or its id.

    Raises:
        ArgumentInvalid
    """
    plain("network or sandbox", thing, str, Network, Sandbox)
    return thing if isinstance(thing, str) else thing.id
