"""The commands on the state itself."""

from __future__ import annotations

from typing import Annotated

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import argument, option
from macvfast.cli.show.changes import replacement_text
from macvfast.errors import escape

File = Annotated[str, argument("FILE", "A copy of the state.")]


@command(
    "state backup",
    changes=False,
    details="""\
The copy is consistent, also while other commands run. An older copy of that name is replaced; anything else of that
name is left as it is.""",
    example="macvfast state backup /var/backups/macvfast.db",
)
def backup(call: Call, file: File) -> int:
    """Write a copy of the state to a file, and print its path."""
    with call.host() as host:
        call.out.line(escape(host.backup_state(file)))
    return 0


@command(
    "state load",
    begins=True,
    details="""\
It first shows which networks and sandboxes only the present state has, and which only FILE has, and asks for
confirmation. The kernel is not changed: links and namespaces that only the replaced state records stay until they are
removed by hand, or with that state.""",
    example="macvfast state load /var/backups/macvfast.db",
)
def load(
    call: Call,
    file: File,
    *,
    force: Annotated[bool, option("-f, --force", "Do not ask for confirmation.")] = False,
    dry_run: Annotated[bool, option("--dry-run", "Only show what would be replaced.")] = False,
) -> int:
    """Replace the state by a copy, and print where the replaced one is kept."""
    with call.host(dry_run=dry_run) as host:
        call.out.lines(replacement_text(host.load_state(file, dry_run=True)))
        call.out.flush()
        if dry_run:
            return 0
        if not force and not call.out.agrees("This replaces the state.", "macvfast state load -f FILE"):
            return 0
        kept = host.load_state(file).kept
    call.out.line(f"the replaced state is kept as {escape(kept or '')}")
    return 0


@command(
    "state adopt",
    details="""\
Use it on a machine that replaces another, on a clone, or if the machine id (machine-id(5)) has changed: before that,
every change of the state is refused. Recorded addresses and MACs are kept, so the other machine must no longer use them
on the same LAN.""",
    example="macvfast state adopt",
)
def adopt(call: Call) -> int:
    """Take over the state of another machine, and say what that machine may still use."""
    with call.host() as host:
        done = host.adopt_state()
    if not done.adopted:
        call.out.line("the state already belongs to this machine")
        return 0
    call.out.line("the state now belongs to this machine; `macvfast restore` creates what is recorded")
    if done.endpoints:
        call.out.line(
            f"endpoints that keep their addresses and MACs: {done.endpoints}; if the other machine still uses these,"
            " remove the sandboxes here"
        )
    return 0
