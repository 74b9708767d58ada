"""What the command asks of a host, without one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Self, cast

from macvfast.cli.app import application, perform
from macvfast.cli.call import Session
from macvfast.cli.line import Line
from macvfast.cli.show.output import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.host import Host
    from macvfast.requests import NetworkRequest


class Asked(Exception):
    """A network was asked for."""


class _Asking:
    """A host that creates no network, but says which."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def create_network(self, request: NetworkRequest) -> Any:
        raise Asked(request)


def network_request(words: Sequence[str]) -> NetworkRequest:
    """What the command makes of the words after `network create`.

    Raises:
        Usage, MacvfastError: what the command would show.
    """
    out = Output(io.StringIO(), io.StringIO(), None)
    session = Session(out, lambda _, make: cast("Host", _Asking()))  # noqa: ARG005 - there is nothing to make
    try:
        perform(Line(application()), ["network", "create", *words], session)
    except Asked as asked:
        request: NetworkRequest = asked.args[0]
        return request
    raise AssertionError(f"{words} ask for no network")
