"""Sandboxes as `ps` lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.lists import Shape
from macvfast.cli.show.tables import Column
from macvfast.cli.show.text import Object, addresses_json, created_at, labels_text

if TYPE_CHECKING:
    from macvfast.model import Endpoint, Sandbox


def _typed(sandbox: Sandbox) -> str:
    """The command as a shell would read it."""
    if not sandbox.command:
        return ""
    from shlex import join  # noqa: PLC0415

    return join(sandbox.command)


def _status(sandbox: Sandbox) -> str:
    return sandbox.state.value if sandbox.exit_code is None else f"{sandbox.state.value} ({sandbox.exit_code})"


def _endpoint(endpoint: Endpoint) -> Object:
    """An endpoint, with the keys of `network inspect`."""
    return Object({"Network": endpoint.network, "Interface": endpoint.ifname, **addresses_json(endpoint)})


LISTED: Shape[Sandbox] = Shape(
    # Docker's keys as far as a sandbox has them, as text; the exit status is a number or null. Then ours.
    fields={
        "ID": lambda sandbox: sandbox.id,
        "Names": lambda sandbox: sandbox.name,
        # In the order of eth0, eth1, ….
        "Networks": lambda sandbox: ",".join(endpoint.network for endpoint in sandbox.endpoints),
        "Addresses": lambda sandbox: ",".join(str(one.ip) for end in sandbox.endpoints for one in end.addresses),
        "Command": _typed,
        "State": lambda sandbox: sandbox.state.value,
        "ExitCode": lambda sandbox: sandbox.exit_code,
        "CreatedAt": lambda sandbox: created_at(sandbox.created_at),
        "Labels": lambda sandbox: labels_text(sandbox.labels),
        "Endpoints": lambda sandbox: [_endpoint(one) for one in sandbox.endpoints],
    },
    extra={
        "Label": lambda sandbox: dict(sandbox.labels),
        "Status": _status,
        "Origin": lambda sandbox: sandbox.origin or "",
        # What its engine knows it by.
        "Attachment": lambda sandbox: "" if sandbox.attachment is None else sandbox.attachment.path,
    },
    columns={
        "ID": Column("SANDBOX ID", goes=1),
        "Names": Column("NAME"),
        "Networks": Column("NETWORKS", fold=","),
        "Addresses": Column("ADDRESSES", fold=","),
        "Command": Column("COMMAND", fold=" ", goes=2),
        "Status": Column("STATUS"),
        "Origin": Column("ORIGIN", rare=True),
        "Attachment": Column("ATTACHMENT", fold="/", rare=True, goes=3),
    },
)
