"""The command that shows what stands on what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import offering, one_of, option

if TYPE_CHECKING:
    from macvfast.topology import Topology

_FORMS = ("text", "json", "dot", "svg")


@command(
    "topology",
    changes=False,
    listing=True,
    details="""\
Sandboxes are folded where a network has more than 8, and networks and sub-interfaces where a link has more than 64,
unless with --all; JSON has all of them. How full a subnet is counts the addresses that are given automatically, as in
`macvfast ipam show`.

What --format svg prints is legible on light and on dark pages. Graphviz draws what --format dot prints:
macvfast topology --format dot | dot -Tpng.""",
    example="macvfast topology --format svg",
)
def topology(
    call: Call,
    *,
    every: Annotated[bool, option("-a, --all", "Show all networks and sandboxes.")] = False,
    form: Annotated[
        str,
        option(
            "--format FORMAT",
            "text (default), json, dot or svg.",
            callback=one_of(*_FORMS),
            autocompletion=offering(*sorted(_FORMS)),
        ),
    ] = "",
) -> int:
    """Show parents, networks and sandboxes as they stand on each other, and how full the subnets are."""
    with call.host() as host:
        found = host.topology()
    if form == "json":
        from macvfast.cli.show.topology.fields import fields  # noqa: PLC0415 - of four forms, one is used

        call.out.json_document(fields(found))
    else:
        call.out.text(_drawn(call, found, form, whole=every))
    return 0


def _drawn(call: Call, found: Topology, form: str, *, whole: bool) -> str:
    """The topology as text, dot or SVG."""
    from macvfast.cli.show.topology.tree import tree  # noqa: PLC0415 - JSON needs none

    nodes = tree(found, whole=whole)
    if form == "dot":
        from macvfast.cli.show.topology.dot import dot  # noqa: PLC0415

        return dot(nodes)
    if form == "svg":
        from macvfast.cli.show.topology.svg import svg  # noqa: PLC0415

        return svg(nodes)
    from macvfast.cli.show.topology.lines import ASCII, LINES, Style, text  # noqa: PLC0415

    if not nodes:
        return "no networks\n"
    branches = LINES if call.out.can_show("".join(LINES)) else ASCII
    return text(nodes, Style(call.out.width, branches))
