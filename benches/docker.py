"""Docker's commands, to a daemon of the world's own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benches.measure import BenchFailed, NotThere, timed_sample
from benches.ours import NETWORK
from benches.world import GATEWAY, PARENT, SUBNET, Clock, World, must, run
from tests.parity.engine import UNPACKED, Engine, EngineUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benches.measure import Sample

MS = 1e-3
# In the image that the Engine is given.
TRUE = ("alpine", "busybox", "true")


@contextlib.contextmanager
def _engine(world: World) -> Iterator[dict[str, str]]:
    """The environment in which `docker` finds a daemon of this world's own, with the network."""
    if not (UNPACKED / "usr/sbin/dockerd").exists():
        raise NotThere("Docker Engine is not unpacked: tools/docker-engine")
    try:
        with Engine(world.directory / "docker", (PARENT,)) as engine:
            environment = engine.namespace.environment
            run(
                "docker", "network", "create", "-d", "macvlan", f"--subnet={SUBNET}", f"--gateway={GATEWAY}",
                "-o", f"parent={PARENT}", NETWORK, environment=environment,
            )  # fmt: skip
            yield environment
    except (AssertionError, EngineUnusable, TimeoutError) as error:
        raise BenchFailed(f"Docker Engine does not run here: {error}") from error


def docker_run(world: World, count: int, network: str = NETWORK) -> Sample:
    """`docker run --rm … true`, one after the other."""
    with _engine(world) as environment:
        net = f"--net={network}"
        shown = run("docker", "run", "--rm", net, "alpine", "ip", "-4", "addr", environment=environment)
        must((" 10.20.0." in shown) == (network == NETWORK), f"the container's addresses: {shown}")
        clock = Clock()
        with clock.running():
            for _ in range(count):
                run("docker", "run", "--rm", net, *TRUE, environment=environment)
    return timed_sample(clock.seconds, count, unit_s=MS)


def docker_ls(world: World, count: int) -> Sample:
    """`docker network ls`, one after the other."""
    with _engine(world) as environment:
        shown = run("docker", "network", "ls", environment=environment)
        must(f" {NETWORK} " in shown, f"the networks: {shown}")
        clock = Clock()
        with clock.running():
            for _ in range(count):
                run("docker", "network", "ls", environment=environment)
    return timed_sample(clock.seconds, count, unit_s=MS)
