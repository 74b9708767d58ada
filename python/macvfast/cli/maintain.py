"""The commands that hold record and kernel together: restore, check, gc, service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.changes import difference_json, step_json
from macvfast.cli.usage import Usage, see_help
from macvfast.errors import OptionInvalid, RestoreIncomplete, StepFailed, escape

if TYPE_CHECKING:
    from macvfast.cli.arguments import Given
    from macvfast.cli.dispatch import Call

DIFFERENT = 7

# How long `--wait` waits where it is not said: longer than a NIC takes to appear, shorter than people do.
WAIT_S = 60.0


def restore(call: Call) -> int:
    """`restore`."""
    given, out = call.given, call.out
    as_json = _as_json(given)
    dry_run = given.flag("dry-run")
    with call.host() as host:
        plan = host.restore(dry_run=dry_run, wait_s=_seconds(given, "macvfast restore"))
    if as_json:
        out.json_lines(step_json(step, dry_run=dry_run) for step in plan.steps)
        out.json_lines(difference_json(one) | {"Status": "remains"} for one in plan.remaining)
    else:
        out.lines(escape(str(step)) for step in plan.done)
    for step in plan.failed:
        if step.error is not None:
            # For programs, the reason's own code; which step it is says the object of the step.
            out.problem(step.error if as_json else StepFailed(str(step), step.error))
    if plan.remaining and not as_json:
        out.problem(RestoreIncomplete([str(one) for one in plan.remaining]))
    return RestoreIncomplete.exit_status if plan.failed or plan.remaining else 0


def check(call: Call) -> int:
    """`check`."""
    as_json = _as_json(call.given)
    with call.host() as host:
        found = host.check()
    if as_json:
        call.out.json_lines(map(difference_json, found))
    else:
        call.out.lines(escape(str(one)) for one in found)
    return DIFFERENT if found else 0


def gc(call: Call) -> int:
    """`gc`."""
    with call.host() as host:
        freed = host.gc()
    for one in freed:
        if one.error is None:
            call.out.line(escape(f"{one.kind} {one.name}: {one.reason}"))
        else:
            call.out.problem(one.error)
    return max((one.error.exit_status for one in freed if one.error is not None), default=0)


def service_install(call: Call) -> int:
    """`service install`."""
    wait_s = _seconds(call.given, "macvfast service install")
    with call.host() as host:
        path = host.install_service(int(WAIT_S if wait_s is None else wait_s), call.given.text("root"))
    call.out.line(escape(str(path)))
    return 0


def service_uninstall(call: Call) -> int:
    """`service uninstall`: whatever the state is like, or where."""
    from macvfast.host import Host  # noqa: PLC0415 - it needs none that is open

    path = Host.uninstall_service(call.given.text("root"))
    call.out.line(escape(str(path)))
    return 0


def _as_json(given: Given) -> bool:
    """Whether `--format json` was given.

    Raises:
        OptionInvalid
    """
    form = given.text("format") or "text"
    if form not in ("text", "json"):
        raise OptionInvalid("format", form, "it is text or json")
    return form == "json"


def _seconds(given: Given, name: str) -> float | None:
    """How long `--wait` of a command says to wait; None where it does not.

    Raises:
        Usage
    """
    text = given.text("wait")
    if text is None:
        return None
    if not text:
        return WAIT_S
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise Usage(
            f"option `--wait` cannot be `{text}`",
            causes=["it is a number of seconds"],
            hints=[f"--wait={WAIT_S:g}", see_help(name)],
        )
    return float(text)
