"""The command `scale`."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from macvfast.cli.call import PARTLY, Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import NetworkKey, argument, is_number, option
from macvfast.cli.usage import Failure
from macvfast.model import is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from macvfast.errors import MacvfastError
    from macvfast.outcomes import Outcome

    Progress = Callable[[int, int], None]


# Of a count of sandboxes, at most.
_DIGITS = 9


@command(
    "scale",
    details="""\
The lowest missing numbers are created, and the highest numbers are removed; PREFIX=0 removes all. A sandbox with such a
name that `scale` did not create on the network is left as it is. Without --force, so is a sandbox that runs a command
or has a second network. Sandboxes that were refused are listed, and the exit status is then 3.""",
    example="macvfast scale pub_net web=100",
)
def scale(
    call: Call,
    network: NetworkKey,
    wanted: Annotated[str, argument("PREFIX=COUNT", "Prefix of the names, and how many there are to be.")],
    *,
    progress: Annotated[
        bool | None, option("--progress/--no-progress", "Show a progress bar (default: on a terminal).")
    ] = None,
    force: Annotated[
        bool, option("-f, --force", "Also remove sandboxes that run a command or have a second network.")
    ] = False,
) -> int:
    """Create or remove sandboxes PREFIX-0, PREFIX-1, … until a network has exactly COUNT."""
    prefix, equals, number = wanted.rpartition("=")
    if not (prefix and equals and is_number(number, digits=_DIGITS)):
        why = "COUNT is a number of sandboxes, called PREFIX-0, PREFIX-1, …"
        hint = f"macvfast scale {network} {wanted}=100" if is_name(wanted) else "macvfast scale pub_net web=100"
        if "=" in network and "=" not in wanted:
            hint = f"the network comes first: `macvfast scale {wanted} {network}`"
        if prefix and is_name(prefix):
            most = 10**_DIGITS - 1
            raise call.wrong(
                f"COUNT cannot be `{number}`", f"it is a number, 0 to {most}", f"macvfast scale {network} {prefix}=100"
            )
        raise call.wrong(f"`{wanted}` is not PREFIX=COUNT", why, hint)
    started = time.monotonic()
    with call.host() as host, _bar(call, prefix, wanted=progress is not False) as bar:
        scaled = host.scale(network, prefix, int(number), force=force, progress=bar)
    seconds = time.monotonic() - started
    made, removed = (sum(one.ok for one in many) for many in (scaled.made, scaled.removed))
    what = [f"{made} made"] * bool(made) + [f"{removed} removed"] * bool(removed)
    idle = "nothing done" if scaled.errors else "nothing to do"
    rate = f" in {seconds:.2f} s, {(made + removed) / seconds:.0f}/s" if what else ""
    call.out.line(f"{prefix}: {scaled.count} on {network} ({', '.join(what) or idle}{rate})")
    for problem in _alike([*scaled.made, *scaled.removed]):
        call.out.problem(problem)
    return PARTLY if scaled.errors else 0


def _alike(outcomes: Iterable[Outcome[Any]]) -> Iterator[MacvfastError | Failure]:
    """What was refused, one problem for all items that were refused alike, naming each."""
    groups: dict[str, tuple[MacvfastError, list[str]]] = {}
    for one in outcomes:
        if one.error is not None:
            groups.setdefault(str(one.error), (one.error, []))[1].append(one.name)
    for error, names in groups.values():
        if len(names) == 1 and f"`{names[0]}`" in error.message:
            yield error
        else:
            yield Failure(error.code, f"{_named(names)}: {error.message}", error.causes, error.hints)


def _named(names: Sequence[str]) -> str:
    """Numbered names, in the order of their numbers, for people: those that follow one another by the first and the
    last.
    """
    runs: list[list[str]] = []
    last = -1
    for name in names:
        number = int(name.rpartition("-")[2])
        if runs and number == last + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
        last = number
    what = "sandbox" if len(names) == 1 else f"{len(names)} sandboxes"
    shown = (f"`{run[0]}`" if len(run) == 1 else f"`{run[0]}` to `{run[-1]}`" for run in runs)
    return f"{what} {', '.join(shown)}"


@contextmanager
def _bar(call: Call, prefix: str, *, wanted: bool) -> Iterator[Progress | None]:
    """A bar on a terminal that can show one, with the rate and the time left; nothing elsewhere."""
    if not wanted or not call.out.on_terminal:
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
