"""Calls of plugins in a process of their own, without a server: what comes in, and what is printed."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError
from macvfast.host import Host
from macvfast.plugins.doing import answered
from macvfast.plugins.request import NotKept, Request

if TYPE_CHECKING:
    from macvfast.plugins.request import Said


def text_of(given: bytes) -> str:
    """A text as the native program sends it to a server."""
    return given.decode(errors="replace")


def text_of_input(longest: int) -> str | None:
    """What standard input has, cut behind the longest that is meant; None: it cannot be read."""
    try:
        with open(0, "rb", closefd=False) as file:
            return text_of(file.read(longest + 1))
    except OSError:
        return None


def descriptor(number: str | None) -> int | None:
    """An open namespace that the native program passes on, closed where another program is executed: one that is
    started here, and stays, would keep the namespace alive.
    """
    if number is None:
        return None
    os.set_inheritable(int(number), False)
    return int(number)


def answer(request: Request | Said) -> int:
    """Do a request, or have its answer, and print that; the exit status."""
    said = _said(request) if isinstance(request, Request) else request
    if said["result"] is not None:
        sys.stdout.write(json.dumps(said["result"], separators=(",", ":")) + "\n")
    return 1 if said["status"] else 0


def _said(request: Request) -> Said:
    try:
        with Host.open(origin=request.origin) as host:
            return answered(host, request).said
    except NotKept as error:
        return error.said
    except MacvfastError as error:
        return request.words.failed(error)
    except Exception as error:  # noqa: BLE001 - the runtime is told in its words
        sys.excepthook(*sys.exc_info())
        return request.words.failed(MacvfastError("macvfast has failed", causes=[repr(error)]))
