"""The commands on addresses."""

from __future__ import annotations

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import NetworkKey, TextForm


@command(
    "ipam show",
    changes=False,
    listing=True,
    details="""\
A cell of the map is one address, or as many as it says. Where a cell is several addresses, a digit says how much of it
is in use: 1 is up to a tenth, 9 is nearly all. Where none is in use, the cell shows what else is there.

Of an IPv6 subnet, only the part that holds anything is mapped.""",
    example="macvfast ipam show pub_net",
)
def show(call: Call, key: NetworkKey, *, form: TextForm = "") -> int:
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
