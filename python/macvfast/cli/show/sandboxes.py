"""Sandboxes as `ps` lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.lists import Shape
from macvfast.cli.show.tables import Column
from macvfast.cli.show.text import SHORT_ID, created_at, labels_text

if TYPE_CHECKING:
    from macvfast.model import Sandbox


def _fields(sandbox: Sandbox, whole: bool) -> dict[str, object]:
    """Docker's keys as far as it has them, as text; the exit status is a number or null."""
    return {
        "ID": sandbox.id if whole else sandbox.id[:SHORT_ID],
        "Names": sandbox.name,
        "Networks": _networks(sandbox),
        "Addresses": _addresses(sandbox),
        "Command": _typed(sandbox),
        "State": sandbox.state.value,
        "ExitCode": sandbox.exit_code,
        "CreatedAt": created_at(sandbox.created_at),
        "Labels": labels_text(sandbox.labels),
    }


def _besides(sandbox: Sandbox) -> dict[str, object]:
    return {"Label": dict(sandbox.labels), "Status": _status(sandbox)}


def _row(sandbox: Sandbox, whole: bool) -> tuple[str, ...]:
    return (
        sandbox.id if whole else sandbox.id[:SHORT_ID],
        sandbox.name,
        _networks(sandbox),
        _addresses(sandbox),
        _typed(sandbox),
        _status(sandbox),
    )


def _networks(sandbox: Sandbox) -> str:
    """In the order of eth0, eth1, …."""
    return ",".join(endpoint.network for endpoint in sandbox.endpoints)


def _addresses(sandbox: Sandbox) -> str:
    return ",".join(str(address.ip) for endpoint in sandbox.endpoints for address in endpoint.addresses)


def _typed(sandbox: Sandbox) -> str:
    """The command as a shell would read it."""
    if not sandbox.command:
        return ""
    from shlex import join  # noqa: PLC0415

    return join(sandbox.command)


def _status(sandbox: Sandbox) -> str:
    return sandbox.state.value if sandbox.exit_code is None else f"{sandbox.state.value} ({sandbox.exit_code})"


LISTED: Shape[Sandbox] = Shape(
    columns=(
        Column("SANDBOX ID"),
        Column("NAME", fold=" "),
        Column("NETWORKS", fold=","),
        Column("ADDRESSES", fold=","),
        Column("COMMAND", fold=" "),
        Column("STATUS"),
    ),
    row=_row,
    fields=_fields,
    besides=_besides,
    names=(
        "ID", "Names", "Networks", "Addresses", "Command", "State", "ExitCode", "CreatedAt", "Label", "Labels",
        "Status",
    ),
    headers={"ID": "SANDBOX ID", "CreatedAt": "CREATED AT", "ExitCode": "EXIT CODE"},
)  # fmt: skip
