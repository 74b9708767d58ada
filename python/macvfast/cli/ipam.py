"""The commands on addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import TextForm, argument, networks

if TYPE_CHECKING:
    from macvfast.host import Host

_OPTIONAL = argument("[NETWORK]", "Id, name, or unambiguous prefix of the id (default: all).", autocompletion=networks)


@command(
    "ipam show",
    changes=False,
    listing=True,
    details="""\
Without a network, each subnet is one line: how many addresses endpoints have of those that are given automatically, and
how many are free. Gateways, aux addresses, reservations, the subnet's own ends and the host's own addresses are not
counted.

With a network, each cell of the map is one address, or a block of several; the line below the map says how many. In a
cell of several addresses, a digit says how much is in use: 1 is up to a tenth, 9 is nearly all. If none is in use, the
cell shows what else there is. Of an IPv6 subnet, the map shows only the part in which something is used or kept.""",
    example="macvfast ipam show pub_net",
)
def show(call: Call, key: Annotated[str | None, _OPTIONAL] = None, *, form: TextForm = "") -> int:
    """Show how full subnets are: a line for each, or a network's in numbers and as a map."""
    with call.host() as host:
        if key is None:
            _show_all(call, host, form)
        else:
            _show_one(call, host, key, form)
    return 0


def _show_all(call: Call, host: Host, form: str) -> None:
    from macvfast.cli.show.pools import pool_json, pools_table  # noqa: PLC0415

    if form == "json":
        call.out.json_document([pool_json(one.network, pool) for one in host.pools() for pool in one.pools])
    else:
        call.out.table(*pools_table(host.pools()))


def _show_one(call: Call, host: Host, key: str, form: str) -> None:
    from macvfast.cli.show.maps import usage_json, usage_text  # noqa: PLC0415

    network = host.network(key)
    subnets = host.usage(network)
    if form == "json":
        call.out.json_document([usage_json(network, one) for one in subnets])
    else:
        call.out.text("\n".join(usage_text(network, one) for one in subnets))
