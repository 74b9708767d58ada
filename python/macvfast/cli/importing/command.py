"""`network import docker`: what `docker network inspect` says, as networks of macvfast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.importing.converting import convert_all
from macvfast.cli.importing.reading import read
from macvfast.cli.importing.script import lines, plugin_lines, remarks
from macvfast.cli.parameters import argument, option
from macvfast.errors import MacvfastError, NetworkExists, escape
from macvfast.outcomes import Outcome, Outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from macvfast.cli.importing.converting import Converted


@command(
    "network import docker",
    begins=True,
    details="""\
It reads the output of `docker network inspect` from FILE (`-`: standard input), or otherwise asks the Engine. It prints
a shell script, which also names what cannot be imported. The networks stay in Docker: remove them there before macvfast
uses their parents.

With --as-plugin, the script is one of Docker's own commands: it removes each network, which no container may be on, and
creates it with macvfast as its driver (docs/docker-plugin.md).""",
    example="macvfast network import docker",
)
def docker(
    call: Call,
    file: Annotated[str | None, argument("[FILE]", "The output of `docker network inspect NETWORK...`.")] = None,
    *,
    socket: Annotated[
        str | None,
        option("--socket PATH", "The Engine's socket (default: that of DOCKER_HOST, or /var/run/docker.sock)."),
    ] = None,
    apply: Annotated[bool, option("--apply", "Create the networks, and print their names.")] = False,
    as_plugin: Annotated[
        bool, option("--as-plugin", "Print what makes them networks of Docker's with macvfast as the driver.")
    ] = False,
) -> int:
    """Import Docker's macvlan and ipvlan networks: print the commands or, with --apply, create them."""
    if file is not None and socket is not None:
        both = "a FILE and `--socket` cannot be given together"
        raise call.wrong(both, "both say where the networks are read", "give one of them")
    if apply and as_plugin:
        both = "`--apply` and `--as-plugin` cannot be given together"
        raise call.wrong(both, "what Docker is to do is only printed", "give one of them")
    networks, gateways = read(file, socket)
    converted = convert_all(networks, automatic_gateways=gateways)
    if as_plugin:
        call.out.lines(line for one in converted for line in plugin_lines(one))
        return 0
    if apply:
        return _apply(call, converted)
    with call.host() as host:
        there = {network.name for network in host.networks()}
    call.out.lines(line for one in converted for line in lines(one, there))
    if any(one.request for one in converted):
        call.out.aside("Nothing was created. Run the lines above, or use `--apply`.\n")
    return 0


def _apply(call: Call, converted: Sequence[Converted]) -> int:
    """Make what can be made; the names of it."""
    outcomes: list[Outcome[str]] = []
    with call.host() as host:
        for one in converted:
            if one.request is None:
                continue
            try:
                outcomes.append(Outcome(one.name, value=host.create_network(one.request).id))
            except NetworkExists:
                call.out.aside(f"network `{escape(one.name)}` exists already\n")
            except MacvfastError as error:
                outcomes.append(Outcome(one.name, error=error))
    call.out.aside("".join(f"{line}\n" for one in converted for line in remarks(one)))
    return call.report(Outcomes(tuple(outcomes)))
