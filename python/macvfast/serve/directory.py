"""The run directory: root's own, with the sockets on which clients find the server."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Self

from macvfast.errors import RunDirectoryUnusable, ServerRunning
from macvfast.system import server, trusted

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# Connections that wait to be taken.
_BACKLOG = 1024

# The first descriptor that systemd hands over (sd_listen_fds(3)).
_HANDED_OVER = 3


class RunDirectory:
    """The directory of one server; made where it is missing (0700).

    Attributes:
        path: the directory.
        lock: a descriptor; while it is open, no other server can start there.

    Raises:
        ServerRunning: another server has it.
        RunDirectoryUnusable: others may change it, or it cannot be made.
    """

    def __init__(self) -> None:
        self.path = server.directory()
        self._sockets: list[Path] = []
        try:
            trusted.make_directory(self.path, 0o700)
            os.close(trusted.open_directory(self.path))
            self.lock = trusted.open_file(self.path / "server.lock", os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise RunDirectoryUnusable(str(self.path), error.strerror or str(error)) from None
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self.lock, 20, 0).decode("ascii", "replace").strip()
            os.close(self.lock)
            raise ServerRunning(str(self.path), owner or "?") from None
        os.truncate(self.lock, 0)
        os.pwrite(self.lock, f"{os.getpid()}\n".encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in self._sockets:
            path.unlink(missing_ok=True)
        os.close(self.lock)

    def listener(self, name: str) -> socket.socket:
        """The socket of that name: systemd's, where it has started this process for it, or a new one."""
        return _handed_over(lambda path: os.path.basename(path) == name) or self._new(self.path / name)

    def elsewhere(self, path: str) -> socket.socket:
        """The socket at a path that others have chosen: systemd's, or a new one. Its directory is made where it is
        missing (0700: dockerd makes /run/docker like that).

        Raises:
            RunDirectoryUnusable: something else answers there, or it cannot be made.
        """
        found = _handed_over(lambda there: there == path)
        if found is not None:
            return found
        place = Path(path)
        try:
            for one in (*reversed(place.parent.parents), place.parent):
                trusted.make_directory(one, 0o700)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
                there.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return self._new(place)
        except OSError as error:
            raise RunDirectoryUnusable(str(place.parent), error.strerror or str(error)) from None
        raise RunDirectoryUnusable(str(place.parent), f"another program answers at {place.name}")

    def _new(self, path: Path) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
        except OSError as error:
            listener.close()
            raise RunDirectoryUnusable(str(path.parent), error.strerror or str(error)) from None
        finally:
            os.umask(before)
        self._sockets.append(path)
        listener.listen(_BACKLOG)
        return listener


def _handed_over(is_it: Callable[[str], bool]) -> socket.socket | None:
    """The socket that systemd has handed over, by its path."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    for number in range(int(os.environ.get("LISTEN_FDS", "0"))):
        found = socket.socket(fileno=_HANDED_OVER + number)
        if is_it(str(found.getsockname())):
            return found
        found.detach()
    return None
