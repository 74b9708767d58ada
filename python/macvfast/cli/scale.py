"""The command `scale`."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from macvfast.cli.arguments import Usage, see_help
from macvfast.cli.dispatch import PARTLY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from macvfast.cli.dispatch import Call

    Progress = Callable[[int, int], None]


def scale(call: Call) -> int:
    """`scale`."""
    network, wanted = call.given.words
    prefix, count = _wanted(wanted)
    started = time.monotonic()
    with call.host() as host, _bar(call, prefix) as progress:
        scaled = host.scale(network, prefix, count, force=call.given.flag("force"), progress=progress)
    seconds = time.monotonic() - started
    made, removed = (sum(one.ok for one in many) for many in (scaled.made, scaled.removed))
    what = [f"{made} made"] * bool(made) + [f"{removed} removed"] * bool(removed)
    rate = f" in {seconds:.2f} s, {(made + removed) / seconds:.0f}/s" if what else ""
    call.out.line(f"{prefix}: {scaled.count} on {network} ({', '.join(what) or 'nothing to do'}{rate})")
    for error in scaled.errors:
        call.out.problem(error)
    return PARTLY if scaled.errors else 0


def _wanted(word: str) -> tuple[str, int]:
    """`web=1000` as a prefix and a count.

    Raises:
        Usage
    """
    prefix, equals, count = word.rpartition("=")
    if not (prefix and equals and count.isascii() and count.isdigit() and len(count) <= 9):
        raise Usage(
            f"`{word}` is not PREFIX=COUNT",
            causes=["COUNT is a number of sandboxes, called PREFIX-0, PREFIX-1, …"],
            hints=["macvfast scale pub_net web=100", see_help("macvfast scale")],
        )
    return prefix, int(count)


@contextmanager
def _bar(call: Call, prefix: str) -> Iterator[Progress | None]:
    """A bar on a terminal that can show one, with the rate and the time left; nothing elsewhere."""
    if call.given.choice("progress") is False or not call.out.on_terminal:
        yield None
        return
    # Slow to load, and only for a terminal.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        # Where the cursor cannot move, all that rich shows is an empty line.
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(prefix, total=None, rate="")
        started = time.monotonic()

        def show(done: int, total: int) -> None:
            seconds = max(time.monotonic() - started, 1e-9)
            progress.update(task, completed=done, total=total, rate=f"{done / seconds:.0f}/s" if done else "")

        yield show
