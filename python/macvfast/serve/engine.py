"""The engine: a child of the server that has the state open and does the requests of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.host import Host
from macvfast.serve.connections import Connections
from macvfast.serve.work import Work

if TYPE_CHECKING:
    import socket

    from macvfast.serve.calls import Requests


def serve(listener: socket.socket, lifeline: int, counted: Requests, docker: socket.socket | None = None) -> None:
    """Do requests until the lifeline can be read, and then what was asked for before.

    Args:
        listener: where callers connect.
        lifeline: a descriptor.
        counted: where requests are counted.
        docker: where dockerd connects, if anywhere.
    """
    Host.use_all_descriptors()
    counted.start()
    work = Work(counted)
    front = None
    if docker is not None:
        # HTTP is loaded where it is spoken.
        from macvfast.serve.docker import Front  # noqa: PLC0415

        front = Front(docker, lifeline, work)
        front.start()
    Connections(listener, lifeline, work).serve()
    if front is not None:
        front.wait()
    work.close()
