"""macvfast's sides: through its Python API in a process that has used it once, or as a whole command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benches.floor import TARGET
from benches.measure import Sample, timed_sample
from benches.world import GATEWAY, PARENT, SUBNET, Clock, World, must
from macvfast import EndpointRequest, Host

if TYPE_CHECKING:
    from collections.abc import Sequence

MACVFAST = Path(sys.executable).parent / "macvfast"
NETWORK = "net"


def open_host(world: World) -> Host:
    """A host with its state on the disk, and one network on the parent."""
    host = Host.open(str(world.directory / "state"))
    host.create_network(NETWORK, subnets=[SUBNET], gateways=[GATEWAY], parent=PARENT)
    return host


def command(world: World, *arguments: str) -> list[str]:
    """A macvfast command line for this world's state."""
    return [str(MACVFAST), "--state-dir", str(world.directory / "state"), *arguments]


def make_sure(outcomes: Any, count: int) -> None:
    """Every item succeeded."""
    must(len(outcomes) == count, f"{len(outcomes)} outcomes, not {count}")
    must(not outcomes.failed, f"{len(outcomes.failed)} refused: {outcomes.failed[:1]}")


def connect_timed(
    host: Host, names: Sequence[str | EndpointRequest], netns: str | None = None, calls: int = 1
) -> Clock:
    """Connect, in so many equal calls one after the other, timed."""
    clock = Clock()
    each = len(names) // calls
    for at in range(0, each * calls, each):
        with clock.running():
            outcomes = host.connect_many(NETWORK, names[at : at + each], netns=netns, progress=clock.mark)
        make_sure(outcomes, each)
    return clock


def links(world: World, count: int, steps: int = 1, calls: int = 1) -> Sample:
    """Links in one namespace that is there."""
    target, other = world.namespace(TARGET), world.namespace("other")
    names = [f"s-{number}" for number in range(count)]
    with open_host(world) as host:
        make_sure(host.connect_many(NETWORK, ["first"], netns=str(other)), 1)
        make_sure(host.remove_many(["first"]), 1)
        clock = connect_timed(host, names, str(target), calls)
        world.check_one(TARGET, count)
    return timed_sample(clock.seconds, count, clock.marks, steps=steps)


def delete_links(world: World, count: int) -> Sample:
    """Remove all links of one namespace that is there and stays."""
    target, other = world.namespace(TARGET), world.namespace("other")
    names = [f"s-{number}" for number in range(count)]
    clock = Clock()
    with open_host(world) as host:
        make_sure(host.connect_many(NETWORK, ["first"], netns=str(other)), 1)
        make_sure(host.connect_many(NETWORK, names, netns=str(target)), count)
        make_sure(host.remove_many(["first"]), 1)
        world.check_one(TARGET, count)
        with clock.running():
            outcomes = host.remove_many(names)
        make_sure(outcomes, count)
    world.check_empty(TARGET)
    return timed_sample(clock.seconds, count)


def endpoints(world: World, count: int) -> Sample:
    """An endpoint each for sandboxes that are there."""
    names = [f"s-{number}" for number in range(count)]
    with open_host(world) as host:
        warm_up(host)
        for name in names:
            host.create_sandbox(name)
        clock = connect_timed(host, names)
    # A sandbox that was made without an endpoint keeps the kernel's default until it gets one.
    world.check_each(names)
    return timed_sample(clock.seconds, count)


def given(world: World, count: int) -> Sample:
    """An endpoint each in namespaces that something else created."""
    paths = [world.namespace(f"s-{number}") for number in range(count)]
    asked = [EndpointRequest(network=NETWORK, sandbox=path.name, netns=str(path)) for path in paths]
    with open_host(world) as host:
        warm_up(host)
        clock = connect_timed(host, asked)
    world.check_each([path.name for path in paths])
    return timed_sample(clock.seconds, count)


def sandboxes(world: World, count: int, steps: int = 1, calls: int = 1) -> Sample:
    """Sandboxes made with their endpoints."""
    names = [f"s-{number}" for number in range(count)]
    with open_host(world) as host:
        warm_up(host)
        clock = connect_timed(host, names, calls=calls)
    world.check_each(names)
    return timed_sample(clock.seconds, count, clock.marks, steps=steps)


def scale(world: World, count: int) -> Sample:
    """The same by one command."""
    with open_host(world):
        pass
    clock = Clock()
    with clock.running():
        done = subprocess.run(
            command(world, "scale", "--no-progress", NETWORK, f"s={count}"),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    must(done.returncode == 0, f"`macvfast scale` ended with {done.returncode}: {done.stderr}")
    world.check_each([f"s-{number}" for number in range(count)])
    return timed_sample(clock.seconds, count)


def remove_sandboxes(world: World, count: int) -> Sample:
    """Remove sandboxes, until the parent holds none of their links."""
    names = [f"s-{number}" for number in range(count)]
    clock = Clock()
    with open_host(world) as host:
        warm_up(host)
        make_sure(host.connect_many(NETWORK, names), count)
        world.check_each(names)
        with clock.running():
            outcomes = host.remove_many(names)
        make_sure(outcomes, count)
    world.check_gone(names)
    return timed_sample(clock.seconds, count)


def warm_up(host: Host) -> None:
    """One sandbox, made and removed: modules are loaded, the state's file and the sockets are open."""
    make_sure(host.connect_many(NETWORK, ["first"]), 1)
    make_sure(host.remove_many(["first"]), 1)


# The most memory that a process has held. VmHWM, not what wait4 says: that counts what was there before the exec.
_PEAK = """
import sys
from pathlib import Path
from macvfast.cli import main
status = main(sys.argv[1:])
print(Path("/proc/self/status").read_text(), file=sys.stderr)
sys.exit(status)
"""


def peak_memory(world: World, count: int) -> Sample:
    """Of this process, once it has made so many sandboxes by one call, and before the judges take any."""
    names = [f"s-{number}" for number in range(count)]
    with open_host(world) as host:
        warm_up(host)
        outcomes = host.connect_many(NETWORK, names)
        peak = _peak_mib(Path("/proc/self/status").read_text(encoding="ascii"))
        make_sure(outcomes, count)
    world.check_each(names)
    return Sample(peak)


def scale_memory(world: World, count: int) -> Sample:
    """Of a `scale` from its start to its end."""
    with open_host(world):
        pass
    arguments = command(world, "scale", "--no-progress", NETWORK, f"s={count}")[1:]
    done = subprocess.run([sys.executable, "-c", _PEAK, *arguments], capture_output=True, text=True, check=False)
    must(done.returncode == 0, f"`macvfast scale` ended with {done.returncode}: {done.stderr}")
    world.check_each([f"s-{number}" for number in range(count)])
    return Sample(_peak_mib(done.stderr))


def _peak_mib(status: str) -> float:
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
