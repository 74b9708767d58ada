"""The commands on addresses."""

from __future__ import annotations

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import AnyNetworkKey, TextForm


@command(
    "ipam show",
    changes=False,
    listing=True,
    details="""\
Each cell of the map is one address, or a block of several; the line below the map says how many. In a cell of several
addresses, a digit says how much is in use: 1 is up to a tenth, 9 is nearly all. If none is in use, the cell shows what
else there is.

Of an IPv6 subnet, the map shows only the part in which something is used or kept.""",
    example="macvfast ipam show pub_net",
)
def show(call: Call, key: AnyNetworkKey, *, form: TextForm = "") -> int:
    """Show how full a network's subnets are, in numbers and as a map."""
    from macvfast.cli.show.maps import usage_json, usage_text  # noqa: PLC0415

    with call.host() as host:
        network = host.network(key)
        subnets = host.usage(network)
    if form == "json":
        call.out.json_document([usage_json(network, one) for one in subnets])
    else:
        call.out.text("\n".join(usage_text(network, one) for one in subnets))
    return 0
