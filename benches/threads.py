"""One process, each of its threads with one sandbox at a time, in a namespace of its own that is there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from benches.measure import timed_sample
from benches.ours import NETWORK, make_sure, open_host, warm_up
from benches.world import Clock, World, must

if TYPE_CHECKING:
    from benches.measure import Sample
    from macvfast import Host


def crowd(world: World, count: int, threads: int, *, remove: bool = True) -> Sample:
    """Connect so many by so many threads, each of which removes its own again or not, timed until all have ended."""
    places = [str(world.namespace(f"given-{number}")) for number in range(threads)]
    failed: list[BaseException] = []

    def work(host: Host, number: int) -> None:
        try:
            for turn in range(count // threads):
                name = f"s-{number}-{turn}"
                host.connect(NETWORK, name, netns=places[number])
                if remove:
                    make_sure(host.remove_many([name]), 1)
        except BaseException as error:  # noqa: BLE001 - it is told below
            failed.append(error)

    clock = Clock()
    with open_host(world) as host:
        warm_up(host)
        workers = [threading.Thread(target=work, args=(host, number)) for number in range(threads)]
        with clock.running():
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        must(not failed, f"{len(failed)} of {threads} threads failed: {failed[:1]}")
        left = 0 if remove else count // threads * threads
        must(sum(1 for _ in host.sandboxes()) == left, f"not {left} sandboxes are there")
        must(host.check() == [], "the kernel has something else than the record")
    return timed_sample(clock.seconds, count // threads * threads)
