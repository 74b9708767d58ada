"""The commands that say how things are, to people and to monitoring: status, metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import TextForm
from macvfast.cli.show.text import rfc3339
from macvfast.errors import escape
from macvfast.plugins.docker import api

if TYPE_CHECKING:
    from macvfast.outcomes import ServerStatus


@command(
    "status",
    changes=False,
    listing=True,
    details="Without a server, each command starts Python for itself, and takes longer.",
    example="macvfast status",
)
def status(call: Call, *, form: TextForm = "") -> int:
    """Show the server, where the state is, and how much is recorded."""
    with call.host() as host:
        found = host.status()
    crashing = api.crashing_release()
    counts = {"Networks": found.networks, "Sandboxes": found.sandboxes, "Endpoints": found.endpoints}
    if form == "json":
        shown = None if found.server is None else _server_json(found.server)
        call.out.json_document(
            {"Server": shown, "StateDirectory": found.state_dir, **counts, "CrashingDocker": crashing}
        )
        return 0
    server = "none" if found.server is None else _server_text(found.server)
    rows = {"Server": server, "State directory": escape(found.state_dir), **counts}
    if crashing is not None:
        rows["Docker"] = f"{escape(crashing)} crashes with network drivers that are not its own: 29.0.3 does not"
    call.out.lines(f"{f'{name}:':<17}{value}" for name, value in rows.items())
    return 0


def _server_json(server: ServerStatus) -> dict[str, object]:
    return {
        "Pid": server.pid,
        "Version": server.version,
        "Since": rfc3339(server.since),
        "Served": server.served,
        "Running": server.running,
        "Waiting": server.waiting,
        "RequestsServed": server.requests_served,
        "RequestsRunning": server.requests_running,
    }


def _server_text(server: ServerStatus) -> str:
    calls = f"{server.served} commands done, {server.running} running, {server.waiting} waiting"
    requests = f"{server.requests_served} requests of plugins done, {server.requests_running} running"
    return f"pid {server.pid}, version {escape(server.version)}, since {rfc3339(server.since)}: {calls}; {requests}"


@command(
    "metrics",
    changes=False,
    details="Their names stay the same from release to release.",
    example="macvfast metrics",
)
def metrics(call: Call) -> int:
    """Print networks, sandboxes and the server as metrics in the OpenMetrics text format."""
    from macvfast.cli.show.metrics import Reading, exposition  # noqa: PLC0415 - `status` needs none of it

    with call.host() as host:
        reading = Reading(
            host.status(),
            Counter(box.state for box in host.sandboxes()),
            [(network, host.usage(network)) for network in host.networks()],
        )
    call.out.lines(exposition(reading))
    return 0
