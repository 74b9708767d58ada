"""The command that shows sandboxes in full."""

from __future__ import annotations

from typing import Annotated

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import AnySandboxKeys, offering, option
from macvfast.cli.show.details import INSPECTED, inspected


@command(
    "inspect",
    changes=False,
    listing=True,
    details="""\
If some of the sandboxes do not exist, the others are shown; the exit status is then 1. Of variables, only the names are
shown: their values may be secret.

--format json prints the same on one line. A TEMPLATE prints the fields that it names of each sandbox:
{{.State.Status}}, {{json .NetworkSettings.Networks}}, {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}.""",
    example="macvfast inspect web",
)
def inspect(
    call: Call,
    keys: AnySandboxKeys,
    *,
    form: Annotated[str, option("-f, --format FORMAT", "json, or a TEMPLATE.", autocompletion=offering("json"))] = "",
) -> int:
    """Show sandboxes in full, as Docker's JSON."""
    from macvfast.cli.show.inspection import Inspection  # noqa: PLC0415

    inspection = Inspection(form, INSPECTED)
    with call.host() as host:
        return inspection.show(call.out, keys, lambda key: inspected(host.inspect(key)))
