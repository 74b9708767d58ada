"""The commands that show and remove sandboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.filters import SANDBOX_FILTERS, chosen
from macvfast.cli.interrupts import INTERRUPTED, be_careful
from macvfast.cli.parameters import (
    LISTED_AS,
    AnySandboxKey,
    ListForm,
    NoTrunc,
    Quiet,
    SandboxKeys,
    cannot_be,
    filtering,
    is_number,
    keys_or_values,
    networks,
    option,
    pairs,
    sandboxes,
)
from macvfast.cli.show.lists import Listing
from macvfast.cli.show.sandboxes import LISTED
from macvfast.errors import MacvfastError, SandboxNotFound

if TYPE_CHECKING:
    from macvfast.host import Host


def _filters_offered(call: Call, incomplete: str) -> list[str]:
    known = {key: one.values for key, one in SANDBOX_FILTERS.items()}
    return keys_or_values(incomplete, known, {"name": lambda: sandboxes(call), "network": lambda: networks(call)})


@command(
    "ps",
    changes=False,
    listing=True,
    instead="`macvfast ps -a -f name={}` shows a sandbox, `macvfast ps -a -f network={}` those on a network",
    details=f"""\
The status is idle (no command), running, exited, restarting (it has ended, and --restart runs it again), or lost (the
host, or the first process of the command, went down while it was running).

{LISTED_AS}

Filters: name and id (a part, or a regular expression), network, address (one, or a subnet: 172.16.86.0/24), mac,
status, label=KEY or label=KEY=VALUE, origin (cni, podman, docker: the engine that made it). Every key must match, and
every label; of several values of another key, one is enough.""",
    example="macvfast ps -a -f network=pub_net",
)
def ps(
    call: Call,
    *,
    every: Annotated[bool, option("-a, --all", "Show sandboxes whose command has exited, too.")] = False,
    all_origins: Annotated[bool, option("--all-origins", "Show sandboxes that an engine made, too.")] = False,
    quiet: Quiet = False,
    no_trunc: NoTrunc = False,
    filters: Annotated[
        list[str], filtering("-f, --filter", "Show only what matches; may be repeated.", _filters_offered)
    ],
    form: ListForm = "",
) -> int:
    """List sandboxes, but those whose command has exited only with -a, and those of engines only if asked."""
    wanted = pairs(filters)
    # As in Docker, asking for a status shows every sandbox that has it; so does asking for an origin.
    asked = {key for key, _ in wanted}
    exited, of_engines = every or "status" in asked, all_origins or "origin" in asked
    fits = chosen(wanted, SANDBOX_FILTERS)
    listing = Listing(LISTED, form, quiet=quiet, whole=no_trunc)
    with call.host() as host:
        boxes = (box for box in host.sandboxes() if of_engines or box.origin is None)
        listing.show(call.out, (box for box in boxes if fits(box) and (exited or box.state.value != "exited")))
    return 0


def _lines(call: Call, param: Any, value: str | None) -> str | None:
    """Refuse what is no number of lines; None: all of them."""
    if value in (None, "all"):
        return None
    if not is_number(value, digits=15):
        raise cannot_be(call, param, value, "it is a number of lines, or `all`", "--tail 100")
    return value


@command(
    "logs",
    changes=False,
    details="""\
It shows both streams of the commands that `run -d` and `exec -d` started, in the order in which they were written. Only
the last part of long output is kept. With -f, it continues until no command is running in the sandbox, or until
Ctrl-C.""",
    example="macvfast logs -f --tail 100 web",
)
def logs(
    call: Call,
    key: AnySandboxKey,
    *,
    follow: Annotated[bool, option("-f, --follow", "Continue with new output.")] = False,
    tail: Annotated[
        str | None, option("-n, --tail LINES", "Show only the last LINES lines (default: all).", callback=_lines)
    ] = None,
) -> int:
    """Show the output of a sandbox's detached commands."""
    with call.host() as host:
        shown = host.logs(key, tail=None if tail is None else int(tail), follow=follow)
    be_careful()
    # The state is closed by now, so that following a log for days does not keep it open.
    try:
        for piece in shown:
            if not call.out.data(piece):
                break
    except KeyboardInterrupt:
        # This is how a user ends it.
        return INTERRUPTED
    return 0


@command(
    "rm",
    details="""\
It returns once the kernel has released the links. If some of several sandboxes cannot be removed, the others are; the
exit status is then 3.""",
    example="macvfast rm -f web",
)
def rm(
    call: Call,
    keys: SandboxKeys,
    *,
    force: Annotated[bool, option("-f, --force", "End running commands; ignore missing sandboxes.")] = False,
) -> int:
    """Remove sandboxes with all their endpoints, and print each as it was typed."""
    with call.host() as host:
        absent = [key for key in keys if force and not _is_there(host, key)]
        outcomes = host.remove_many(keys, force=force)
    return call.report(outcomes, absent=absent)


def _is_there(host: Host, key: str) -> bool:
    try:
        host.sandbox(key)
    except MacvfastError as error:
        # Any other: ambiguous, or being changed by another process.
        return not isinstance(error, SandboxNotFound)
    return True
