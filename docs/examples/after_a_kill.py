"""After a kill: a process ends in the middle of its work, and `restore` undoes what it had only begun."""

from __future__ import annotations

import logging
import os
import signal
import sys

from macvfast import Host


class Killer(logging.Handler):
    """Ends this process as `kill -9` does when so many links are there: the last of them are not recorded as made."""

    def __init__(self, links: int) -> None:
        """Wait for that many."""
        super().__init__(logging.INFO)
        self.left = links

    def emit(self, record: logging.LogRecord) -> None:
        """Count the links, which macvfast tells as commands of `ip`."""
        self.left -= "type macvlan" in getattr(record, "values", {}).get("command", "")
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def create(parent: str, count: int) -> None:
    """Create sandboxes, and be killed when nine of ten have their links."""
    logger = logging.getLogger("macvfast")
    logger.setLevel(logging.INFO)
    logger.addHandler(Killer(count * 9 // 10))
    with Host.open() as host:
        host.create_network("lan", subnets=["10.86.0.0/16"], parent=parent)
        host.connect_many("lan", [f"w-{number}" for number in range(count)])


def main(parent: str, count: int = 1_000) -> None:
    """Let a child be killed while it creates sandboxes; then bring record and kernel together again."""
    child = os.fork()
    if child == 0:
        create(parent, count)
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
