"""Networks that several processes change at once, and that one is killed over, while sandboxes come and go on them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.torture import SEED, judge, sized, worker
from tests.torture.golden import Golden
from tests.torture.test_kills import for_ever, killed_at_random

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = [pytest.mark.needs("root", "netns", "veth", "ip", "macvlan"), pytest.mark.timeout(1200)]

PROCESSES = 8


def first_of(number: int) -> int:
    """Where the ip-range of an update begins."""
    return 100 + number % 50


def updating(one: worker.Worker) -> None:
    """Change `lan` for ever: its ip-range, its aux address and its label are of one number each time."""
    number = int(dict(one.host.network("lan").labels).get("number", "0"))
    while True:
        number += 1
        one._begin([], [str(number)])
        one.host.update_network(
            "lan",
            ip_ranges=[f"172.16.86.{first_of(number)}-172.16.86.254"],
            aux={"kept": f"172.16.86.{10 + number % 50}"},
            labels={"number": str(number)},
        )
        one._end({}, {str(number): True})


def test_after_a_kill_in_the_middle_an_update_is_done_or_never_was(bed: Lan) -> None:
    """While another process works on the network; whatever was acknowledged is there."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    golden = Golden(networks={"0"})
    # So that no endpoint gets what is going to be an aux address.
    bed.api(lambda host: host.update_network("lan", ip_ranges=["172.16.86.100-172.16.86.254"], labels={"number": "0"}))
    others = Golden(networks={"lan", "dual"})
    for _ in range(sized(10, 300)):
        beside = worker.start(bed, others, "p1", chance.randrange(1 << 32), for_ever)
        killed_at_random(worker.start(bed, golden, "w", 0, updating), chance)
        beside.kill()
        beside.wait()
        judge.wait_for_the_kernel(bed)
        bed.api(lambda host: host.restore())
        network = bed.api(lambda host: host.network("lan"))
        number = int(dict(network.labels)["number"])
        acknowledged = max(map(int, golden.networks))
        assert number == acknowledged or str(number) in golden.doubtful_networks
        if number:
            subnet = network.subnets[0]
            assert subnet.ranges == (f"172.16.86.{first_of(number)}-172.16.86.254",)
            assert [str(one) for _, one in subnet.aux] == [f"172.16.86.{10 + number % 50}"]
        golden.networks, golden.doubtful_networks = {str(number)}, set()
        found = judge.assert_agreement(bed)
        others.learn(found.boxes, found.networks)
        assert bed.api(lambda host: host.check()) == []
    print(f"{golden.operations} updates were acknowledged")
    assert golden.operations > 0


def test_of_updates_at_once_none_is_lost(bed: Lan) -> None:
    """Each process changes a label and an aux address of its own, on one of two networks that share a pool, while
    others make and remove sandboxes on both.
    """
    steps = sized(10, 100)
    networks = ("lan", "twin")
    bed.api(lambda host: host.create_network("twin", subnets=["172.16.86.0/24"], parent="eth0", share_parent=True))
    # So that no endpoint gets what is going to be an aux address.
    for network in networks:
        bed.api(lambda host, name=network: host.update_network(name, ip_ranges=["172.16.86.128/25"]))  # type: ignore[misc]

    def change(one: worker.Worker) -> None:
        number = int(one.prefix[1:])
        for step in range(1, steps + 1):
            one.host.update_network(
                networks[number % 2],
                aux={one.prefix: f"172.16.86.{10 * (number + 1) + step % 10}"},
                labels={one.prefix: str(step)},
                order="next" if step % 2 else "lowest",
            )

    def scale(one: worker.Worker) -> None:
        for count in (40, 0, 60, 20):
            assert not one.host.scale(networks[one.prefix == "s1"], one.prefix, count).errors

    processes = [worker.start(bed, Golden(), f"p{number}", 0, change) for number in range(PROCESSES)]
    processes += [worker.start(bed, Golden(), prefix, 0, scale) for prefix in ("s0", "s1")]
    for process in processes:
        while process.hear(None):
            pass
    assert [process.wait() for process in processes] == [0] * (PROCESSES + 2)
    for which, network in enumerate(networks):
        found = bed.api(lambda host, name=network: host.network(name))  # type: ignore[misc]
        mine = [number for number in range(PROCESSES) if number % 2 == which]
        assert dict(found.labels) == {f"p{number}": str(steps) for number in mine}
        expected = {f"p{number}": f"172.16.86.{10 * (number + 1) + steps % 10}" for number in mine}
        assert {name: str(address) for name, address in found.subnets[0].aux} == expected
    judge.wait_for_the_kernel(bed)
    assert len(judge.assert_agreement(bed).boxes) == 40
    assert bed.api(lambda host: host.check()) == []
