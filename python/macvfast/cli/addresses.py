"""The commands on addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.usage import Usage, see_help

if TYPE_CHECKING:
    from macvfast.cli.dispatch import Call


def show(call: Call) -> int:
    """`ipam show`."""
    from macvfast.cli.show.maps import usage_json, usage_text  # noqa: PLC0415

    form = call.given.text("format") or "text"
    if form not in ("text", "json"):
        raise Usage(
            f"`--format` cannot be `{form}`", causes=["it is text or json"], hints=[see_help("macvfast ipam show")]
        )
    with call.host() as host:
        network = host.network(call.given.words[0])
        subnets = host.usage(network)
    if form == "json":
        call.out.json_document([usage_json(network, one) for one in subnets])
    else:
        call.out.text("\n".join(usage_text(network, one) for one in subnets))
    return 0
