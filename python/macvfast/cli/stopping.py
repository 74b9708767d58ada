"""The commands that start sandboxes' own commands again, and end them."""

from __future__ import annotations

from typing import Annotated, Any

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import SandboxKeys, cannot_be, is_number, option


def _seconds(call: Call, param: Any, value: str) -> Any:
    """Refuse what is no number of seconds; Docker's -1 is to wait for as long as it takes."""
    if value != "-1" and not is_number(value, digits=6):
        raise cannot_be(call, param, value, "it is a number of seconds, or -1: without end", "-t 10")
    return value


Time = Annotated[
    str,
    option(
        "-t, --time, --timeout SECONDS",
        "Kill a command that has not ended after SECONDS (default: 10; -1: never).",
        callback=_seconds,
    ),
]

# Docker's time.
_DEFAULT = "10"


def _wait(seconds: str) -> float | None:
    return None if seconds == "-1" else float(seconds)


@command(
    "start",
    details="""\
A command runs again as `macvfast run` was given it: with its options, environment and working directory, and always
detached: `macvfast logs` shows its output. One that is running is left as it is.""",
    example="macvfast start web",
)
def start(call: Call, keys: SandboxKeys) -> int:
    """Start the commands of sandboxes again, and print each sandbox as it was typed."""
    with call.host() as host:
        return call.report(host.start_many(keys))


@command(
    "stop",
    details="""\
A command gets SIGTERM, and SIGKILL if it has not ended by then. Sandboxes and their addresses stay.""",
    example="macvfast stop -t 30 web",
)
def stop(call: Call, keys: SandboxKeys, *, time: Time = _DEFAULT) -> int:
    """End the commands of sandboxes, and print each sandbox as it was typed."""
    with call.host() as host:
        return call.report(host.stop_many(keys, wait_s=_wait(time)))


@command(
    "restart",
    details="""\
A command that cannot be started again is not ended.""",
    example="macvfast restart web",
)
def restart(call: Call, keys: SandboxKeys, *, time: Time = _DEFAULT) -> int:
    """End the commands of sandboxes and start them again; print each sandbox as it was typed."""
    with call.host() as host:
        return call.report(host.restart_many(keys, wait_s=_wait(time)))
