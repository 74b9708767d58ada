"""`network import docker`: what `docker network inspect` says, as networks of macvfast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.importing.converting import converted
from macvfast.cli.importing.reading import read
from macvfast.cli.importing.script import lines, remarks
from macvfast.cli.usage import wrong
from macvfast.errors import MacvfastError, NetworkExists, escape
from macvfast.outcomes import Outcome, Outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.cli.call import Call
    from macvfast.cli.importing.converting import Found


def docker(call: Call, path: str | None, socket: str | None, *, apply: bool) -> int:
    """Show how Docker's networks are taken over, or take them over; the exit status.

    Args:
        call: of the command `network import docker`.
        path: of a file with what `docker network inspect` prints; None: the Engine is asked.
        socket: the Engine's; None: where Docker's own command has it.
        apply: whether to create the networks.
    """
    if path is not None and socket is not None:
        raise wrong(
            "a FILE and `--socket` cannot be given together",
            "both say where the networks are read",
            "give one of them",
            command="macvfast network import docker",
        )
    networks, gateways = read(path, socket)
    found = converted(networks, automatic_gateways=gateways)
    if apply:
        return _apply(call, found)
    with call.host() as host:
        there = {network.name for network in host.networks()}
    call.out.lines(line for one in found for line in lines(one, there))
    if any(one.request for one in found):
        call.out.aside("Nothing was made. `--apply` makes these networks; or run the lines above.\n")
    return 0


def _apply(call: Call, found: Sequence[Found]) -> int:
    """Make what can be made; the names of it."""
    outcomes: list[Outcome[str]] = []
    with call.host() as host:
        for one in found:
            if one.request is None:
                continue
            try:
                outcomes.append(Outcome(one.name, value=host.create_network(one.request).id))
            except NetworkExists:
                call.out.aside(f"network `{escape(one.name)}` is there already\n")
            except MacvfastError as error:
                outcomes.append(Outcome(one.name, error=error))
    call.out.aside("".join(f"{line}\n" for one in found for line in remarks(one)))
    return call.report(Outcomes(tuple(outcomes)))
