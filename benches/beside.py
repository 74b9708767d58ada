"""What commands that run in some of many sandboxes cost the others."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from benches.measure import Sample, timed_sample
from benches.ours import NETWORK, make_sure, open_host, warm_up
from benches.world import Clock, World, must
from macvfast import CommandRequest, SandboxState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast import Host


@contextlib.contextmanager
def _running(host: Host, names: Sequence[str]) -> Iterator[None]:
    """A command runs in each of these sandboxes; they are removed afterwards."""
    try:
        for name in names:
            host.start(name, CommandRequest(argv=("sleep", "86400"), detach=True))
        yield
    finally:
        make_sure(host.remove_many(names, force=True), len(names))


def _names(count: int, commands: int) -> tuple[list[str], list[str]]:
    """Of sandboxes without commands, and of those with."""
    return [f"s-{number}" for number in range(count)], [f"busy-{number}" for number in range(commands)]


def removal(world: World, count: int, commands: int, items: int) -> Sample:
    """Remove so many of `count` sandboxes by one call while commands run in others, until the parent holds none of
    their links.
    """
    names, busy = _names(count, commands)
    clock = Clock()
    with open_host(world) as host:
        warm_up(host)
        make_sure(host.connect_many(NETWORK, names + busy), count + commands)
        with _running(host, busy):
            with clock.running():
                outcomes = host.remove_many(names[:items])
            make_sure(outcomes, items)
            world.check_gone(names[:items], left=count + commands - items)
            world.check_each(names[items:] + busy)
    return timed_sample(clock.seconds, items)


def memory(world: World, count: int, commands: int) -> Sample:
    """What so many commands beside `count` sandboxes have the kernel take, in MiB."""
    names, busy = _names(count, commands)
    with open_host(world) as host:
        warm_up(host)
        make_sure(host.connect_many(NETWORK, names + busy), count + commands)
        before = _kernel_mib()
        with _running(host, busy):
            taken = _kernel_mib() - before
            run = sum(sandbox.state is SandboxState.RUNNING for sandbox in host.sandboxes())
            must(run == commands, f"{run} commands run, not {commands}")
    # Few commands take less than others give back meanwhile; a page is the least that is seen.
    return Sample(max(taken, 4 / 1024))


def _kernel_mib() -> float:
    """What the kernel has for itself where mounts are kept, of the whole machine."""
    words = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    return sum(int(size) / 1024 for name, size, *_ in words if name in {"Slab:", "Percpu:"})
