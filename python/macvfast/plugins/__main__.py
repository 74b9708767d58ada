"""A plugin's call, done without a server: `python -m macvfast.plugins ID PROGRAM [NETNS]`, as `rust/client` has it.

PROGRAM is the name that it was called by. NETNS is a descriptor of the namespace that CNI_NETNS names; without it, that
could not be opened.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError
from macvfast.host import Host
from macvfast.plugins.cni import calls
from macvfast.plugins.cni.conf import LONGEST
from macvfast.plugins.request import NotKept, Request, answered

if TYPE_CHECKING:
    from macvfast.plugins.request import Said


def main(id_: str, program: str, netns: str | None = None) -> int:
    """Do the call of the environment and standard input; the exit status."""
    environment = {_text(name): _text(value) for name, value in os.environb.items() if name.startswith(b"CNI_")}
    descriptor = None if netns is None else int(netns)
    if descriptor is not None:
        # A program that is started here, and stays, would keep the namespace alive.
        os.set_inheritable(descriptor, False)
    request = calls.read(calls.Call(id_, environment, _input(), descriptor, program))
    said = _said(request) if isinstance(request, Request) else request
    if said["result"] is not None:
        sys.stdout.write(json.dumps(said["result"], separators=(",", ":")) + "\n")
    return 1 if said["status"] else 0


def _input() -> str | None:
    """What standard input has; None: it cannot be read."""
    try:
        with open(0, "rb", closefd=False) as file:
            return _text(file.read(LONGEST + 1))
    except OSError:
        return None


def _text(given: bytes) -> str:
    """As the native program sends it to a server."""
    return given.decode(errors="replace")


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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
