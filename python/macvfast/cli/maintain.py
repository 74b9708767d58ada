"""The commands that make record and kernel agree: restore, check, gc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import WAIT_S, LinesForm, cannot_be, offering, option, seconds
from macvfast.cli.show.changes import difference_json, step_json
from macvfast.errors import ORIGINS, RestoreIncomplete, StepFailed, escape

if TYPE_CHECKING:
    from macvfast.host import Host
    from macvfast.outcomes import Freed

DIFFERENT = 7


@command(
    "restore",
    listing=True,
    details="""\
It restores parents that macvfast created, namespaces, links, addresses and routes, after a reboot, a crash or manual
changes. It neither changes nor removes what macvfast did not create; if that is in the way, it is named, and the exit
status is then 3. A second run has nothing to do. Commands are not started again. Sandboxes of `run --rm` whose command
has ended are removed. What containers of CNI had before is released.

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


def _engine(call: Call, param: Any, value: str | None) -> str | None:
    """Refuse what is no engine."""
    if value is not None and value not in ORIGINS:
        raise cannot_be(call, param, value, f"it is one of {', '.join(ORIGINS)}", "macvfast gc --origin podman")
    return value


@command(
    "gc",
    details="""\
It removes sandboxes whose namespace (--netns, --pid) no longer exists, sandboxes of `macvfast run --rm` whose command
has ended or never started, and what interrupted commands left unfinished. Of CNI, it releases what containers had
before the host was started again, what has neither link nor namespace any more, and networks that have been unused for
an hour. Docker is asked, on its socket (that of DOCKER_HOST, or /var/run/docker.sock), which networks, endpoints and
addresses it has, and the others that macvfast has for it are freed, if they are a minute old. An Engine that has none
of the networks may be another one than Docker's: then nothing is freed, and that is said.

With --origin, it also removes all networks, sandboxes and endpoints that an engine made. This is for an engine that was
uninstalled: no other command removes them. Containers that still run lose their links.""",
    example="macvfast gc",
)
def gc(
    call: Call,
    *,
    origin: Annotated[
        str | None,
        option(
            "--origin ENGINE", "Remove all that cni, podman or docker made, too.", callback=_engine,
            autocompletion=offering(*ORIGINS),
        ),
    ] = None,
    force: Annotated[bool, option("-f, --force", "Do not ask.")] = False,
) -> int:  # fmt: skip
    """Remove orphaned and unfinished objects, and print them."""
    with call.host() as host:
        if origin is not None and not force:
            warning = f"This removes all that {origin} made: {_made_by(host, origin)}."
            if not call.out.agrees(warning, f"macvfast gc --origin {origin} -f"):
                return 0
        freed = host.gc(origin=origin)
        of_docker = any(one.origin == "docker" for one in host.networks()) or bool(host.docker_pools())
    if of_docker:
        freed += _forgotten_by_docker(call)
    for one in freed:
        if one.error is None:
            call.out.line(escape(f"{one.kind} {one.name}: {one.reason}"))
        else:
            call.out.problem(one.error)
    return max((one.error.exit_status for one in freed if one.error is not None), default=0)


def _forgotten_by_docker(call: Call) -> list[Freed]:
    """What Docker does not have any more, freed; where it does not answer, or another Engine does, that is said."""
    from macvfast.plugins.docker import api, collecting  # noqa: PLC0415 - where Docker has networks

    try:
        path = api.socket_path()
        with call.host(origin="docker") as host:
            return collecting.collect(host, path)
    except api.NoAnswer as error:
        call.out.aside(f"Docker was not asked what it has: {escape(str(error))}\n")
    except api.Stranger as error:
        call.out.aside(
            f"Nothing of Docker's was freed: {escape(str(error))}. DOCKER_HOST names another Engine; if Docker has "
            "really removed them all, `macvfast gc --origin docker` frees what is left.\n"
        )
    return []


def _made_by(host: Host, origin: str) -> str:
    """How much an engine made, in words."""
    boxes = list(host.sandboxes())
    counts = {
        "network(s)": sum(one.origin == origin for one in host.networks()),
        "sandbox(es)": sum(one.origin == origin for one in boxes),
        "endpoint(s)": sum(one.origin == origin for box in boxes for one in box.endpoints),
    }
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "nothing is recorded of it"
