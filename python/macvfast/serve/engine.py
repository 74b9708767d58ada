"""The engine: a child of the server that has the state open and does the requests of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.host import Host
from macvfast.serve.connections import Connections
from macvfast.serve.work import Work

if TYPE_CHECKING:
    import socket


def serve(listener: socket.socket, lifeline: int) -> None:
    """Do requests until the lifeline can be read, and then what was asked for before.

    Args:
        listener: where callers connect.
        lifeline: a descriptor.
    """
    Host.use_all_descriptors()
    work = Work()
    Connections(listener, lifeline, work).serve()
    work.close()
