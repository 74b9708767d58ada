"""The commands on the state itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.changes import replacement_text
from macvfast.errors import escape

if TYPE_CHECKING:
    from macvfast.cli.dispatch import Call


def backup(call: Call) -> int:
    """`state backup`."""
    with call.host() as host:
        call.out.line(escape(host.backup_state(call.given.words[0])))
    return 0


def load(call: Call) -> int:
    """`state load`."""
    (file,) = call.given.words
    with call.host() as host:
        call.out.lines(replacement_text(host.load_state(file, dry_run=True)))
        call.out.flush()
        if call.given.flag("dry-run"):
            return 0
        if not (call.given.flag("force") or call.out.agrees("This replaces the state.", "macvfast state load -f FILE")):
            return 0
        kept = host.load_state(file).kept
    call.out.line(f"the replaced state is kept as {escape(kept or '')}")
    return 0


def adopt(call: Call) -> int:
    """`state adopt`."""
    with call.host() as host:
        done = host.adopt_state()
    if not done.adopted:
        call.out.line("the state is this machine's already")
        return 0
    call.out.line("the state is this machine's from now on; `macvfast restore` makes what is recorded")
    if done.endpoints:
        call.out.line(
            f"addresses and MACs that stay as they are: {done.endpoints}; where the other machine goes on with them,"
            " remove their sandboxes here"
        )
    return 0
