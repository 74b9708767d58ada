"""One Python process that connects and disconnects for a long time: nothing of it grows."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.torture import judge, sized

if TYPE_CHECKING:
    from macvfast.host import Host
    from tests.netns import Lan

pytestmark = [pytest.mark.needs("root", "netns", "veth", "ip", "macvlan"), pytest.mark.timeout(3600)]

# What the allocator may keep for itself between two looks. A leak of 100 bytes a round is more than that in the long
# form; in the short one, one of 10 KiB.
_SLACK_KIB = 3000


def resident_kib() -> int:
    """The memory that this process holds of its own."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError("the kernel does not say")


def held() -> dict[str, object]:
    """What a process can forget to give back: descriptors by what they lead to, threads, mounts."""
    gc.collect()
    kinds = []
    for name in os.listdir("/proc/self/fd"):
        try:
            kinds.append(os.readlink(f"/proc/self/fd/{name}").partition(":")[0])
        except FileNotFoundError:
            continue
    return {
        "descriptors": sorted(kinds),
        "threads": threading.active_count(),
        "kernel's threads": len(os.listdir("/proc/self/task")),
        "mounts": len(Path("/proc/self/mountinfo").read_text(encoding="ascii", errors="replace").splitlines()),
    }


def test_connecting_and_disconnecting_again_and_again_leaves_nothing_in_the_process(bed: Lan) -> None:
    rounds = sized(300, 10_000)
    seen: list[tuple[dict[str, object], int]] = []

    def use(host: Host) -> None:
        for name in ("a", "b"):
            host.create_sandbox(name)
        for number in range(rounds):
            # After the first, every module is loaded and every buffer has its size.
            if number in (min(50, rounds // 4), rounds - 1):
                seen.append((held(), resident_kib()))
            host.connect("lan", "a")
            if number % 30 == 0:
                host.connect_many("dual", ["a", "b"]).raise_if_any()
                host.disconnect_many("dual", ["a", "b"]).raise_if_any()
            host.disconnect("lan", "a")
        host.remove_many(["a", "b"]).raise_if_any()

    bed.api(use)
    (before, memory_before), (after, memory_after) = seen
    print(f"{memory_after - memory_before} KiB more after {rounds} rounds")
    assert after == before
    assert memory_after - memory_before < _SLACK_KIB
    judge.wait_for_the_kernel(bed)
    assert judge.assert_agreement(bed).boxes == {}
