"""Docker Engine, one sandbox at a time: Debian's, unpacked and not installed, with a daemon in this world alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from benches.measure import ROOT, BenchFailed, NotThere, Sample, timed_sample
from benches.ours import NETWORK, command, open_host
from benches.world import GATEWAY, PARENT, SUBNET, Clock, World, must, run
from tests.netns import NETNS_DIR, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where tools/docker-engine unpacks it.
UNPACKED = ROOT / ".cache" / "docker-engine"
CGROUP = "macvfast-bench"
MS = 1e-3


@contextlib.contextmanager
def _engine(world: World) -> Iterator[dict[str, str]]:
    """The environment in which `docker` finds a daemon with an image and a network."""
    if not (UNPACKED / "usr/sbin/dockerd").exists():
        raise NotThere("Docker Engine is not unpacked: tools/docker-engine")
    folder = world.folder / "docker"
    folder.mkdir()
    environment = {
        "PATH": f"{UNPACKED}/usr/sbin:{UNPACKED}/usr/bin:{os.environ['PATH']}",
        "DOCKER_HOST": f"unix://{folder}/docker.sock",
    }
    # It writes to /run and, unless told otherwise, a key to /etc/docker.
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    NETNS_DIR.mkdir()
    (folder / "daemon.json").write_text(json.dumps({"deprecated-key-path": f"{folder}/key.json"}), encoding="ascii")
    options = [
        f"--config-file={folder}/daemon.json", f"--host=unix://{folder}/docker.sock", f"--data-root={folder}/data",
        f"--exec-root={folder}/exec", f"--pidfile={folder}/pid", "--storage-driver=vfs", "--bridge=none",
        "--iptables=false", "--ip6tables=false", "--ip-forward=false", f"--cgroup-parent={CGROUP}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        # The first process of its process namespace: when it is killed, all that it started dies.
        daemon = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "dockerd", *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment},
        )  # fmt: skip

    def answers() -> bool:
        if daemon.poll() is not None:
            raise BenchFailed(f"dockerd ended: {(folder / 'log').read_text(errors='replace')[-500:]}")
        asked = ["docker", "version"]
        told = {**os.environ, **environment}
        return subprocess.run(asked, capture_output=True, check=False, env=told).returncode == 0

    try:
        wait_until(answers, timeout_s=30, what="dockerd's first answer")
        _prepare(folder, environment)
        yield environment
    finally:
        daemon.kill()
        daemon.wait()
        wait_until(_no_cgroups, what="the end of the Engine's control groups")


def _no_cgroups() -> bool:
    """Take away the control groups that it leaves behind; whether they are gone."""
    left = [folder for top in Path("/sys/fs/cgroup").glob(f"**/{CGROUP}") for folder in (top, *top.rglob("*/"))]
    for folder in sorted(left, key=lambda one: len(one.parts), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return not any(folder.exists() for folder in left)


def _prepare(folder: Path, environment: dict[str, str]) -> None:
    """An image of busybox alone, and a network."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise NotThere("Debian package busybox-static is not installed")
    image = folder / "image" / "bin"
    image.mkdir(parents=True)
    shutil.copy(busybox, image / "busybox")
    for name in ("true", "ip"):
        (image / name).symlink_to("busybox")
    run("tar", "-C", image.parent, "-cf", folder / "image.tar", ".")
    run("docker", "import", folder / "image.tar", "image", environment=environment)
    run(
        "docker", "network", "create", "-d", "macvlan", f"--subnet={SUBNET}", f"--gateway={GATEWAY}",
        "-o", f"parent={PARENT}", NETWORK, environment=environment,
    )  # fmt: skip


def docker_run(world: World, count: int, network: str = NETWORK) -> Sample:
    """`docker run --rm … true`, one after the other."""
    with _engine(world) as environment:
        shown = run("docker", "run", "--rm", f"--net={network}", "image", "ip", "-4", "addr", environment=environment)
        must((" 10.20.0." in shown) == (network == NETWORK), f"the container's addresses: {shown}")
        clock = Clock()
        with clock.running():
            for _ in range(count):
                run("docker", "run", "--rm", f"--net={network}", "image", "true", environment=environment)
    return timed_sample(clock.seconds, count, unit_s=MS)


def macvfast_run(world: World, count: int) -> Sample:
    """`macvfast run --rm … true`, one after the other."""
    with open_host(world):
        pass
    shown = run(*command(world, "run", "--rm", f"--net={NETWORK}", "--", "ip", "-4", "addr"))
    must(" 10.20.0." in shown, f"the sandbox's addresses: {shown}")
    arguments = command(world, "run", "--rm", f"--net={NETWORK}", "--", "true")
    clock = Clock()
    with clock.running():
        for _ in range(count):
            run(*arguments)
    world.check_gone([])
    return timed_sample(clock.seconds, count, unit_s=MS)
