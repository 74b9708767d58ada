"""The run directory: root's own, with the sockets on which clients find the server."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING, Self

from macvfast.errors import RunDirectoryUnusable, ServerRunning
from macvfast.system import server, trusted

if TYPE_CHECKING:
    from pathlib import Path
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
        if os.environ.get("LISTEN_PID") == str(os.getpid()):
            for number in range(int(os.environ.get("LISTEN_FDS", "0"))):
                found = socket.socket(fileno=_HANDED_OVER + number)
                if os.path.basename(str(found.getsockname())) == name:
                    return found
                found.detach()
        path = self.path / name
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
        except OSError as error:
            listener.close()
            raise RunDirectoryUnusable(str(self.path), error.strerror or str(error)) from None
        finally:
            os.umask(before)
        self._sockets.append(path)
        listener.listen(_BACKLOG)
        return listener
