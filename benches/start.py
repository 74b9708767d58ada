"""Whole commands, and what a large record costs those whom it does not concern."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from benches.measure import SCRATCH_VARIABLE, Sample, timed_sample
from benches.networks import create, make_parents, network_request
from benches.ours import MACVFAST, NETWORK, make_sure, open_host, warm_up
from benches.world import Clock, World, must
from macvfast import Host

if TYPE_CHECKING:
    from collections.abc import Sequence

MS = 1e-3


def _call(arguments: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command that must succeed; how many lines it printed."""
    done = subprocess.run(
        arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment,
        close_fds=False,
    )  # fmt: skip
    must(done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stderr}")
    return done.stdout.count("\n")


def _environment(world: World) -> dict[str, str]:
    return {**os.environ, "MACVFAST_STATE_DIR": str(world.directory / "state")}


def import_typer(world: World, count: int) -> Sample:
    """The start of a Python that loads typer."""
    clock = Clock()
    for _ in range(count):
        with clock.running():
            _call([sys.executable, "-I", "-c", "import typer"], _environment(world))
    return timed_sample(clock.seconds, count, unit_s=MS)


def listing(world: World, count: int, command: str, size: str = "") -> Sample:
    """`network ls` or `ps`, whole command, in an empty state or in a large one."""
    _fill(world, size)
    arguments = [str(MACVFAST), *command.split()]
    lines = 1 + (_counts(size)[command == "ps"] if size else 0)
    must(_call(arguments, _environment(world)) == lines, f"`{command}` does not print {lines} lines")
    clock = Clock()
    for _ in range(count):
        with clock.running():
            _call(arguments, _environment(world))
    return timed_sample(clock.seconds, count, unit_s=MS)


def connect(world: World, count: int, size: str = "") -> Sample:
    """One `Host.connect` after the other, for real, in an empty state or in a large one."""
    names = [f"s-{number}" for number in range(count)]
    _fill(world, size)
    with Host.open(str(world.directory / "state")) if size else open_host(world) as host:
        warm_up(host)
        for name in names:
            host.create_sandbox(name)
        clock = Clock()
        with clock.running():
            for name in names:
                host.connect(NETWORK, name)
    world.check_each(names)
    return timed_sample(clock.seconds, count, unit_s=MS)


# The large record: made for real in a world of its own, by the API, and used as a file in others. There its links and
# namespaces do not exist: what thousands of links cost the kernel is measured elsewhere.


def _counts(size: str) -> tuple[int, int]:
    """Networks and endpoints of "NETWORKS+ENDPOINTS"."""
    networks, endpoints = size.split("+")
    return int(networks), int(endpoints)


def make_record(world: World, size: str) -> Sample:
    """Make a state with so many networks, all but one on parents of their own, and so many endpoints on that one."""
    networks, endpoints = _counts(size)
    parents = make_parents(world, networks - 1)
    with open_host(world) as host:
        create(host, [network_request(n, parent) for n, parent in enumerate(parents)])
        names = [f"there-{n}" for n in range(endpoints)]
        make_sure(host.connect_many(NETWORK, names), endpoints)
        world.check_each(names)
    # A state that names no home namespace takes the first that it is used in: another world's.
    with closing(sqlite3.connect(world.directory / "state" / "state.db")) as state, state:
        state.execute("DELETE FROM host WHERE key IN ('boot_id', 'home_cookie')")
    shutil.copytree(world.directory / "state", _record(size))
    return Sample(0)


def _record(size: str) -> Path:
    return Path(os.environ[SCRATCH_VARIABLE]) / f"record-{size}"


def _fill(world: World, size: str) -> None:
    """Begin with the large state; an empty size: with one in which nothing is recorded."""
    state = world.directory / "state"
    if size:
        shutil.copytree(_record(size), state)
    else:
        with Host.open(str(state)) as host:
            host.remove_networks([])
        must((state / "state.db").exists(), "no state was made")
