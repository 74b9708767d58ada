"""The commands that make record and kernel agree: restore, check, gc."""

from __future__ import annotations

from typing import Annotated

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import WAIT_S, LinesForm, option, seconds
from macvfast.cli.show.changes import difference_json, step_json
from macvfast.errors import RestoreIncomplete, StepFailed, escape

DIFFERENT = 7


@command(
    "restore",
    listing=True,
    details="""\
It restores parents that macvfast created, namespaces, links, addresses and routes, after a reboot, a crash or manual
changes. It neither changes nor removes what macvfast did not create; if that is in the way, it is named, and the exit
status is then 3. A second run has nothing to do. Commands are not started again. Sandboxes of `run --rm` whose command
has ended are removed.

With --wait, it waits for parents that are missing or down, or whose MTU is too small, and then creates what needs
them.""",
    example="macvfast restore --wait=30",
)
def restore(
    call: Call,
    *,
    wait: Annotated[
        str | None,
        option("--wait [=SECONDS]", f"Wait for parents (default: {WAIT_S} seconds).", callback=seconds),
    ] = None,
    dry_run: Annotated[bool, option("--dry-run", "Only print what would be done.")] = False,
    form: LinesForm = "",
) -> int:
    """Create again what is recorded and missing, and print what was done."""
    out, as_json = call.out, form == "json"
    with call.host(dry_run=dry_run) as host:
        plan = host.restore(dry_run=dry_run, wait_s=None if wait is None else float(wait))
    if as_json:
        out.json_lines(step_json(step, dry_run=dry_run) for step in plan.steps)
        out.json_lines(difference_json(one) | {"Status": "remains"} for one in plan.remaining)
    else:
        out.lines(escape(str(step)) for step in plan.done)
    for step in plan.failed:
        if step.error is not None:
            # Programs get the code of the reason; the object of the step says which step it was.
            out.problem(step.error if as_json else StepFailed(str(step), step.error))
    if plan.remaining and not as_json:
        out.problem(RestoreIncomplete([str(one) for one in plan.remaining]))
    return RestoreIncomplete.exit_status if plan.failed or plan.remaining else 0


@command(
    "check",
    changes=False,
    listing=True,
    details="The exit status is 0 if nothing differs, and 7 if something does.",
    example="macvfast check",
)
def check(call: Call, *, form: LinesForm = "") -> int:
    """List each difference between record and kernel on a line; change nothing."""
    with call.host() as host:
        found = host.check()
    if form == "json":
        call.out.json_lines(map(difference_json, found))
    else:
        call.out.lines(escape(str(one)) for one in found)
    return DIFFERENT if found else 0


@command(
    "gc",
    details="""\
It removes sandboxes whose namespace (--netns, --pid) no longer exists, sandboxes of `macvfast run --rm` whose command
has ended or never started, and what interrupted commands left unfinished.""",
    example="macvfast gc",
)
def gc(call: Call) -> int:
    """Remove orphaned and unfinished objects, and print them."""
    with call.host() as host:
        freed = host.gc()
    for one in freed:
        if one.error is None:
            call.out.line(escape(f"{one.kind} {one.name}: {one.reason}"))
        else:
            call.out.problem(one.error)
    return max((one.error.exit_status for one in freed if one.error is not None), default=0)
