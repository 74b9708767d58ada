"""Random command lines from the grammar of the commands, with values of the wrong kind: each ends as documented."""

from __future__ import annotations

import io
import logging
import os
import random
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from docs import application
from docs.application import options_of, spellings_of
from macvfast.cli import app
from macvfast.cli.show.output import Output
from macvfast.errors import CommandNotStarted
from macvfast.host import Host
from macvfast.process import launch
from macvfast.system import log
from tests.torture import SEED, sized
from tests.unit.fake_kernel import FakeKernel, Faults, FaultyStore
from tests.unit.machine import Machine, make_networks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from macvfast.cli.commands import Command

pytestmark = pytest.mark.timeout(1800)

# Right for something, which is mostly not what they are given to.
WORDS = """
    lan other box there new web web=3 web=0 eth0 eth1 eth0.50 lo - -- macvlan ipvlan bridge json table none true 0 1 -1
    10.9.0.0/24 10.9.0.7/24 172.16.86.0/24 172.16.86.9 0.0.0.0/0 ::/0 fd00::/64 fd00::1 256.1.1.1 10.9.0.0/33
    10.9.0.0-10.9.0.9 10.9.0.9-10.9.0.0 172.16.86.9,172.16.86.10 node=172.16.86.77 , a,b =x 1e9 99999999999 %s%n
    {{.Name}} {{ parent=eth0 parent=eth1 parent= mtu=0 mtu=99999999999999999999 share_parent=maybe
    macvlan_mode=passthru ipvlan_mode=l3 name=[ label=a=b label status=idle 02:42:ac:10:56:09 ff:ff:ff:ff:ff:ff
    0242ac105609 ../../etc /proc/self/ns/net /proc/7/ns/net /etc/passwd / copy.db missing/copy.db ü ٣
"""
VALUES = (*WORDS.split(), "", " ", "a b", "{{json .}}", "a" * 300, "\x1b[31m", "a\nb", "\udcff")

# Those that reach beyond the state and the kernel that a test can give them.
LEFT_OUT = {"serve", "service install", "service uninstall", "network import docker"}
ALLOWED = {0, 1, 2, 3, 7}
OF_A_COMMAND = {0, 125, 126, 127}
UNCHANGED = {1, 2, 125, 126, 127}


def words_of(option: Any, chance: random.Random) -> list[str]:
    """An option in one of its spellings, with a value, without one, or with one where none belongs."""
    name = chance.choice(spellings_of(option))
    value = chance.choice(VALUES)
    if option.is_flag or option.metavar.startswith("[="):
        return [name if chance.random() < 0.8 else f"{name}={value}"]
    return [[name, value], [f"{name}={value}"], [f"{name}{value}"], [name]][chance.choices(range(4), (10, 6, 1, 1))[0]]


def line(command: Command, common: Sequence[Any], chance: random.Random) -> list[str]:
    """A command line with options, repeated or left out, and about as many arguments as there should be."""
    # What waits for parents that never come, and what is another's matter here.
    known = [*common, *(one for one in options_of(command) if one.name != "wait")]
    groups = [words_of(chance.choice(known), chance) for _ in range(chance.randrange(4))]
    count = max(0, len(command.params) - len(options_of(command)) + chance.choice((0, 0, 0, 0, 1, -1)))
    groups += [[chance.choice(VALUES)] for _ in range(count)]
    if chance.random() < 0.8:
        chance.shuffle(groups)
    return [*command.declared.path.split(), *(word for group in groups for word in group)]


class Bed:
    """A machine with something on it, and a process per command line."""

    def __init__(self, directory: Path) -> None:
        self.machine = Machine(directory)
        make_networks(self.machine)
        self.machine.world.give("/proc/7/ns/net")
        self.machine.host.connect_many("lan", ["box", "there"]).raise_if_any()
        self.directory = directory

    def open(self, state_dir: str | None, *, make: bool, origin: str | None = None) -> Host:
        """What `Host.open` does, on the machine's kernel; the state is made in any case."""
        del make
        faults = Faults()
        # Wherever it is said to be, below the test's own directory: the one of the machine itself is not to be written
        # in.
        place = (
            self.machine.state_dir if state_dir is None else str(self.directory / "said" / state_dir.replace("/", "_"))
        )
        store = FaultyStore(place, faults)
        store.origin = origin
        return Host(store, FakeKernel(self.machine.world, faults), str(self.machine.world.pins_dir))

    def type(self, words: Sequence[str], answer: str) -> tuple[int, str]:
        """Type a command line: its status, and what it said on standard error."""
        stderr = io.StringIO()
        status = app.run(words, self.open, Output(io.StringIO(), stderr, io.StringIO(answer)))
        return status, stderr.getvalue()


@pytest.fixture
def quiet_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `--verbose` begins is not to go on in the tests that follow."""
    logger = logging.getLogger("macvfast")
    level, propagate = logger.level, logger.propagate
    monkeypatch.setattr(log, "_logger", None)
    monkeypatch.setattr(log, "_started", False)
    yield
    logger.handlers.clear()
    logger.propagate = propagate
    logger.setLevel(level)


@pytest.mark.usefixtures("hasty", "quiet_again")
def test_odd_command_lines_end_as_documented_and_refusals_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)

    def not_started(_: object, place: launch.Place) -> None:
        if place.lock is not None:
            os.close(place.lock)
        raise CommandNotStarted("it", "this machine starts nothing")

    monkeypatch.setattr(launch, "launch", not_started)
    monkeypatch.chdir(tmp_path)
    bed = Bed(tmp_path)
    known = [command for path, command in application.commands().items() if path not in LEFT_OUT]
    common = [one for one in app.application().params if not one.is_eager]
    statuses: dict[int, int] = {}
    before = bed.machine.everything()
    for _ in range(sized(1000, 10_000)):
        command = chance.choice(known)
        words = line(command, common, chance)
        status, said = bed.type(words, chance.choice(("", "y\n", "n\n")))
        told = f"seed {SEED}: {shlex.join(words)!r} ended with {status}: {said}"
        assert status in (OF_A_COMMAND | {2} if command.declared.runs else ALLOWED), told
        assert "Traceback" not in said, told
        assert said.replace("\n", "").isprintable(), told
        after = bed.machine.everything()
        if status in UNCHANGED:
            assert said, told
            # What could not be removed yet is tried again by whatever comes next.
            assert after == before or before[0]["intents"], told
        before = after
        statuses[status] = statuses.get(status, 0) + 1
    print(f"statuses: {dict(sorted(statuses.items()))}")
    assert statuses[0] >= 20, "hardly anything was done"
    bed.machine.mend()
    bed.machine.host.close()
