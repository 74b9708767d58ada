"""Calls of CNI plugins, as a container runtime makes them: one at a time, and by many processes at once. macvfast's own
plugin, with a server and without, and the reference plugins; netavark, and a bare program, called in the same way.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benches.floor import fill_each
from benches.measure import BenchFailed, timed_sample
from benches.ours import MACVFAST, make_sure
from benches.peers import CNI, NAME, NETAVARK, Cni, for_netavark, netavark_configuration
from benches.served import server_of
from benches.world import FLOOR, must
from macvfast import Host
from macvfast.system import configured, units
from macvfast.system.configured import Places
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benches.measure import Sample
    from benches.world import World

MS = 1e-3
# Of one run, beside which a call is one of many.
_WARMED = 4


class Plugin(NamedTuple):
    """A program that is called, and the file with its configuration; what it answers is written to another file."""

    program: Path
    configuration: Path
    answer: Path = Path(os.devnull)

    def call(self, action: str, container: str, netns: Path) -> int:
        """Start one call; its process."""
        environment = {
            "CNI_COMMAND": action, "CNI_CONTAINERID": container, "CNI_NETNS": str(netns), "CNI_IFNAME": "eth0",
            "CNI_PATH": str(CNI.parent), "PATH": os.environ["PATH"],
        }  # fmt: skip
        streams = [
            (os.POSIX_SPAWN_OPEN, 0, str(self.configuration), os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.answer), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        return os.posix_spawn(self.program, [str(self.program)], environment, file_actions=streams)

    def done(self, action: str, container: str, netns: Path) -> None:
        """One call that must succeed."""
        _end(self.call(action, container, netns), f"{action} by {self.program}")

    def adding(self, directory: Path, name: str) -> Plugin:
        """The same, whose answer to ADD is kept."""
        return self._replace(answer=directory / f"{name}.result")

    def checking(self, directory: Path, name: str) -> Plugin:
        """The same, with that answer in its configuration, as CHECK has it."""
        conf = json.loads(self.configuration.read_bytes())
        result = json.loads((directory / f"{name}.result").read_bytes())
        file = directory / f"{name}.conf"
        file.write_text(json.dumps(conf | {"prevResult": result}), encoding="ascii")
        return self._replace(configuration=file)


def _end(process: int, what: str) -> None:
    """Wait for a program that must succeed."""
    _, status = os.waitpid(process, 0)
    if status:
        raise BenchFailed(f"{what}: exit status {os.waitstatus_to_exitcode(status)}")


def one_by_one(world: World, action: str, fill: int, items: int, served: bool | None) -> Sample:
    """Calls one after the other, with `fill` others there. `served`: with a server or without; None: the reference."""
    names = [f"c-{number}" for number in range(items)]
    paths = {name: world.namespace(name) for name in ("warm", *names)}
    with ExitStack() as stack:
        plugin = _plugin(world, stack, fill, served)
        for _ in range(_WARMED):
            plugin.done("ADD", "warm", paths["warm"])
            plugin.done("DEL", "warm", paths["warm"])
        seconds = 0.0
        for name in names:
            adds = plugin.adding(world.directory, name) if action == "CHECK" else plugin
            begun = time.perf_counter()
            adds.done("ADD", name, paths[name])
            seconds += (time.perf_counter() - begun) if action == "ADD" else 0
        _settle(world, fill + items)
        world.check_each(names, total=fill + items)
        if action != "ADD":
            calls = {
                name: plugin.checking(world.directory, name) if action == "CHECK" else plugin for name in names
            }  # fmt: skip
            begun = time.perf_counter()
            for name, called in calls.items():
                called.done(action, name, paths[name])
            seconds = time.perf_counter() - begun
        if action == "DEL":
            _settle(world, fill)
    return timed_sample(seconds, items, unit_s=MS)


def status(world: World, fill: int, items: int) -> Sample:
    """Calls of STATUS one after the other, with a server and `fill` attachments there."""
    with ExitStack() as stack:
        plugin = _plugin(world, stack, fill, served=True)
        conf = json.loads(plugin.configuration.read_bytes()) | {"cniVersion": "1.1.0"}
        plugin.configuration.write_text(json.dumps(conf), encoding="ascii")
        plugin.done("STATUS", "none", world.pins)
        begun = time.perf_counter()
        for _ in range(items):
            plugin.done("STATUS", "none", world.pins)
        seconds = time.perf_counter() - begun
    return timed_sample(seconds, items, unit_s=MS)


def nothing(world: World, items: int) -> Sample:
    """What starting a process costs the same caller: `/bin/true`."""
    plugin = Plugin(Path("/bin/true"), Path(os.devnull))
    begun = time.perf_counter()
    for _ in range(items):
        plugin.done("ADD", "nothing", world.pins)
    return timed_sample(time.perf_counter() - begun, items, unit_s=MS)


def bare(world: World, fill: int, items: int) -> Sample:
    """The floor of an ADD: a program that makes one link in a namespace that is there, and records nothing."""
    fill_each(world, fill)
    names = [f"c-{number}" for number in range(items)]
    paths = [world.namespace(name) for name in names]
    streams = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    begun = time.perf_counter()
    for number, path in enumerate(paths):
        words = [str(FLOOR), "links", str(path), str(world.parent_index), str(fill + number), "1"]
        _end(os.posix_spawn(FLOOR, words, {}, file_actions=streams), "the floor's program")
    seconds = time.perf_counter() - begun
    world.check_each(names, total=fill + items)
    return timed_sample(seconds, items, unit_s=MS)


def netavark(world: World, action: str, fill: int, items: int) -> Sample:
    """Set-up and teardown by netavark, one after the other; its caller has chosen the addresses."""
    calls = {}
    for number, name in enumerate(for_netavark(world, fill, items)):
        calls[name] = file = world.directory / f"{name}.conf"
        file.write_text(netavark_configuration(name, fill + number), encoding="ascii")
    seconds = {"setup": _netavark_each(world, "setup", calls)}
    world.check_each([*calls], total=fill + items)
    if action == "DEL":
        seconds["teardown"] = _netavark_each(world, "teardown", calls)
        _settle(world, fill)
    return timed_sample(seconds["setup" if action == "ADD" else "teardown"], items, unit_s=MS)


def _netavark_each(world: World, doing: str, calls: Mapping[str, Path]) -> float:
    """The seconds that all calls take."""
    begun = time.perf_counter()
    for name, file in calls.items():
        words = [str(NETAVARK), doing, str(world.pins / name)]
        streams = [
            (os.POSIX_SPAWN_OPEN, 0, str(file), os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ]
        _end(os.posix_spawn(NETAVARK, words, {"PATH": os.environ["PATH"]}, file_actions=streams), f"netavark {doing}")
    return time.perf_counter() - begun


def at_once(world: World, processes: int, each: int, served: bool | None) -> Sample:
    """ADDs by so many processes, each of which calls when its last call has ended. `served`: None: the reference."""
    names = [[f"c-{at}-{number}" for number in range(each)] for at in range(processes)]
    everyone = [name for some in names for name in some]
    paths = {name: world.namespace(name) for name in ("warm", *everyone)}
    with ExitStack() as stack:
        plugin = _plugin(world, stack, 0, served)
        plugin.done("ADD", "warm", paths["warm"])
        plugin.done("DEL", "warm", paths["warm"])
        seconds = _crowd(names, lambda name: plugin.done("ADD", name, paths[name]))
        world.check_each(everyone)
    return timed_sample(seconds, len(everyone), unit_s=MS)


def nothing_at_once(world: World, processes: int, each: int) -> Sample:
    """What starting a process costs the same callers: `/bin/true`."""
    plugin = Plugin(Path("/bin/true"), Path(os.devnull))
    names = [["nothing"] * each for _ in range(processes)]
    seconds = _crowd(names, lambda name: plugin.done("ADD", name, world.pins))
    return timed_sample(seconds, processes * each, unit_s=MS)


def _crowd(names: Sequence[Sequence[str]], call: Callable[[str], None]) -> float:
    """Have a process for each list of names, which all begin at the same moment; the seconds until all have ended."""
    begin_read, begin_write = os.pipe()
    children = []
    for some in names:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(begin_write)
                os.read(begin_read, 1)
                for name in some:
                    call(name)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    os.close(begin_read)
    begun = time.perf_counter()
    os.close(begin_write)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    seconds = time.perf_counter() - begun
    must(not any(statuses), "a caller's call failed")
    return seconds


def _plugin(world: World, stack: ExitStack, fill: int, served: bool | None) -> Plugin:
    """The plugin, with so many others there, and a server until the stack is left."""
    file = world.directory / "plugin.conf"
    if served is None:
        file.write_text(Cni(world, fill).configuration, encoding="ascii")
        return Plugin(CNI, file)
    # Only the type differs.
    conf = json.loads(Cni(world, 0).configuration) | {"type": "macvfast"}
    file.write_text(json.dumps(conf), encoding="ascii")
    # A plugin knows nothing but what root's file says: this world has an /etc of its own.
    configured.FILE.parent.mkdir(exist_ok=True)
    directories = (world.directory / "state", world.directory / "run", world.pins)
    text = units.client(Places(sys.executable, *map(str, directories)))
    configured.FILE.write_text(text, encoding="utf-8")
    if served:
        stack.enter_context(server_of(world))
    plugin = Plugin(MACVFAST, file)
    if fill:
        _fill(world, plugin, fill)
    return plugin


def _fill(world: World, plugin: Plugin, count: int) -> None:
    """Have that many others in the plugin's network, which its first call makes."""
    first = world.namespace("filler")
    for action in ("ADD", "DEL"):
        plugin.done(action, "filler", first)
    _settle(world, 0)
    with Host.open(str(world.directory / "state"), origin="cni") as host:
        make_sure(host.connect_many(f"cni-{NAME}", [f"f-{number}" for number in range(count)]), count)


def _settle(world: World, total: int) -> None:
    """Wait, off the clock, for what goes on behind an answer."""
    wait_until(lambda: world.filter_size() == total, timeout_s=60, what=f"{total} MACs on the parent")
