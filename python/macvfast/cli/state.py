"""The commands on the state itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.arguments import Usage
from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.cli.dispatch import Call
    from macvfast.outcomes import Replacement

# Names on one line.
_SHOWN = 10


def backup(call: Call) -> int:
    """`state backup`."""
    with call.host() as host:
        call.out.line(escape(host.backup_state(call.given.words[0])))
    return 0


def load(call: Call) -> int:
    """`state load`."""
    (file,) = call.given.words
    with call.host() as host:
        call.out.lines(_compared(host.load_state(file, dry_run=True)))
        call.out.flush()
        if call.given.flag("dry-run") or not _agreed(call):
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


def _agreed(call: Call) -> bool:
    if call.given.flag("force"):
        return True
    answer = call.out.ask("This replaces the state. Are you sure? [y/N] ")
    if answer is None:
        raise Usage(
            "`macvfast state load` was not told whether to go on",
            causes=["standard input ended without an answer"],
            hints=["macvfast state load -f FILE"],
        )
    return answer.lower() in ("y", "yes")


def _compared(change: Replacement) -> Iterator[str]:
    for kind in ("network", "sandbox"):
        before, after = (sum(one == kind for one, _ in all_) for all_ in (change.now, change.then))
        word = "networks" if kind == "network" else "sandboxes"
        yield f"{word}: {before} now, {after} in {escape(change.file)}"
        for words, names in (("only now", change.only_now), ("only in the copy", change.only_then)):
            if found := [name for one, name in names if one == kind]:
                yield f"  {words}: {_listed(found)}"
    if change.foreign:
        yield "it is another machine's state: `macvfast state adopt` takes it over afterwards"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(map(escape, names[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
