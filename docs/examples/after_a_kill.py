"""After a kill: a process ends in the middle of its work, and `restore` finishes or undoes what it had begun."""

from __future__ import annotations

import os
import signal
import sys

from macvfast import Host


def be_killed(done: int, total: int) -> None:
    """End this process as `kill -9` does, once a third is done."""
    if done > total // 3:
        os.kill(os.getpid(), signal.SIGKILL)


def main(parent: str, count: int = 1_000) -> None:
    """Let a child be killed while it creates sandboxes; then bring record and kernel together again."""
    child = os.fork()
    if child == 0:
        with Host.open() as host:
            host.create_network("lan", subnets=["10.86.0.0/16"], parent=parent)
            host.connect_many("lan", [f"w-{number}" for number in range(count)], progress=be_killed)
        os._exit(0)
    os.waitpid(child, 0)
    with Host.open() as host:
        plan = host.restore()
        print(f"{len(plan.done)} steps, {len(plan.failed)} failed; differences now: {len(host.check())}")
        names = [sandbox.name for sandbox in host.sandboxes()]
        print(f"{len(names)} sandboxes are complete, and none is half-made")
        host.remove_many(names).raise_if_any()
        host.remove_networks(["lan"]).raise_if_any()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
