"""Every comparison: its sides, its counts in a full and in a quick run, and the goals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benches import beside, commands, floor, given, networks, ours, peers, plugins, start, threads, writers
from benches.measure import Goal, Group, Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from benches.measure import Sample

# Labels that the goals, the table and the plots know the sides by.
OURS = "macvfast"
OURS_GIVEN = "macvfast, given namespaces"
SCALE = "macvfast scale"
IN_CALLS = "macvfast, in many calls"
FLOOR = "floor (C, no record)"
IP = "ip -batch"
IP_IPV6 = "ip -batch, IPv6 left on"
PYROUTE2 = "pyroute2"
CNI = "CNI macvlan + host-local"
NETNS_CNI = "ip netns + CNI"
NETAVARK = "netavark"
EMPTY, LARGE = "nothing recorded", "all recorded"
# Of endpoints that share a namespace.
MAKING, CHECK, GC = "making them", "check", "gc, the namespace gone"
RESTORE, RESTORE_ALL = "restore, nothing missing", "restore, all links missing"


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    links: tuple[int, ...]
    sandboxes: tuple[int, ...]
    removals: tuple[int, ...]
    endpoints: int
    given: tuple[int, ...]
    growth: int
    """The count whose way is cut into many steps: one of `links` and of `sandboxes`."""
    growth_steps: int
    memory: tuple[int, ...]
    record: str
    networks: int
    beside: int
    """Sandboxes without a command, beside those that have one."""
    commands: tuple[int, ...]
    removed: int
    """Of the former, by one call."""
    calls: int
    """Whole commands timed in one run of a side."""
    each_thread: int
    """Items of one thread."""
    served: int
    """Commands, and requests, that one server does."""
    held: tuple[int, ...]
    """Attachments that are there beside those of a plugin's calls."""
    plugin_calls: int
    """One after the other in one run of a side."""
    crowd: int
    """Calls of each of the processes that call a plugin at once."""
    asked: int
    """Endpoints, a request each."""
    requests: int
    """That one server does, and no commands."""
    slow: int
    """Items, at most, of what costs 10 ms and more each."""
    rounds: int
    slow_rounds: int
    """Where a side takes seconds."""
    warm_up: bool


FULL = Size(
    links=(16, 256, 1_000, 4_000, 10_000), sandboxes=(1, 16, 256, 1_000, 4_096, 10_000),
    removals=(1, 16, 256, 1_000, 4_000), endpoints=1_000, given=(250, 1_000, 4_000), growth=10_000, growth_steps=40,
    memory=(1_000, 10_000), record="4094+10000", networks=1_000, beside=4_000, commands=(0, 50, 200), removed=1_000,
    calls=10, each_thread=40, served=10_000, asked=640, requests=100_000, held=(0, 1_000, 10_000),
    plugin_calls=100, crowd=62, slow=60, rounds=7, slow_rounds=5, warm_up=True,
)  # fmt: skip
QUICK = Size(
    links=(64,), sandboxes=(64,), removals=(16,), endpoints=32, given=(32,), growth=64, growth_steps=4, memory=(32, 64),
    record="20+50", networks=16, beside=8, commands=(0, 2), removed=4, calls=1, each_thread=2, served=32, asked=32,
    requests=320, held=(0, 8), plugin_calls=2, crowd=2, slow=2, rounds=1, slow_rounds=1, warm_up=False,
)  # fmt: skip

# Of one process, that connect one at a time.
THREADS = 16

# From this count on a run takes seconds.
SLOW = 4_000


def groups(size: Size) -> list[Group]:
    """All groups of a run of that size, in the order they are run."""
    return [
        *(_links(size, count) for count in size.links),
        *(_deletion(size, count) for count in size.removals),
        _endpoints(size),
        *(_given(size, count) for count in size.given),
        *(_sandboxes(size, count) for count in size.sandboxes),
        *(_removal(size, count) for count in size.removals),
        *(_networks(size, vlan=vlan) for vlan in (False, True)),
        *(_networks_shared(size, cpu=cpu) for cpu in (False, True)),
        *(_threads(size, remove=remove) for remove in (True, False)),
        *_writers(size),
        _start(size),
        _record(size),
        *_commands(size),
        _memory(size),
        *commands.groups(size),
        *plugins.groups(size),
    ]


def _goal_count(counts: tuple[int, ...], wanted: int) -> int:
    """The count that stands for one of a full run in this one."""
    return wanted if wanted in counts else counts[-1]


def _rounds(size: Size, count: int) -> int:
    if count >= 2 * SLOW:
        return min(3, size.slow_rounds)
    return size.slow_rounds if count >= SLOW else size.rounds


def _steps(size: Size, count: int) -> int:
    """Into how many steps the way is cut: quarters, or as many as a plot of growth has."""
    return size.growth_steps if count == size.growth else min(4, count)


def _ours(size: Size, count: int, run: Callable[..., Sample]) -> list[Side]:
    """In one call; where growth is looked at, in many as well."""
    steps = {"count": count, "steps": _steps(size, count)}
    sides = [Side(OURS, run, steps)]
    if count == size.growth:
        sides.append(Side(IN_CALLS, run, {**steps, "calls": size.growth_steps}, f"{size.growth_steps} calls"))
    return sides


def _fill(size: Size, count: int) -> dict[str, int]:
    """A few items among as many others as there are on average while so many are made."""
    items = min(count, size.slow)
    return {"fill": (count - items) // 2, "items": items}


def _filled_note(fill: dict[str, int]) -> str:
    return f"{fill['items']} items beside {fill['fill']} others, counted per item"


def _links(size: Size, count: int) -> Group:
    sides = [
        *_ours(size, count, ours.links),
        Side(FLOOR, floor.links, {"count": count, "steps": _steps(size, count)}),
    ]
    goals = []
    if count == _goal_count(size.links, 1_000):
        sides.append(Side(PYROUTE2, peers.pyroute2_links, {"count": count}))
        goals.append(Goal(f"{count:,} links UP with addresses in one namespace", OURS, FLOOR, at_most=1.10))
    if count < 2 * SLOW:
        sides.append(Side(IP, peers.ip_links, {"count": count}))
    if count == _goal_count(size.links, 4_000):
        left_on = "IPv6 is on in the namespace: not the same end state"
        sides.append(Side(IP_IPV6, peers.ip_links, {"count": count, "ipv6": True}, left_on))
        goals += [
            Goal(f"{count:,} such links", OURS, IP, at_most=1.0),
            Goal(f"{count:,} such links, IPv6 left on on their side only", OURS, IP_IPV6, times_faster=3),
        ]
    title = f"{count:,} links in one namespace that is there"
    return Group(f"links-{count}", title, sides, _rounds(size, count), count, goals=goals, warm_up=size.warm_up)


def _deletion(size: Size, count: int) -> Group:
    few = {"count": count, "items": min(count, size.slow)}
    note = f"{few['items']} of {count:,} links, counted per item"
    sides = [
        Side(OURS, ours.delete_links, {"count": count}),
        Side(FLOOR, floor.delete, {"count": count}),
        Side(IP, peers.ip_delete, few, note),
        Side(PYROUTE2, peers.pyroute2_delete, few, note),
    ]
    goals = []
    if count == _goal_count(size.removals, 1_000):
        work = f"delete {count:,} links of one namespace"
        goals = [Goal(work, OURS, other, times_faster=80) for other in (IP, PYROUTE2)]
    title = f"deleting {count:,} links of one namespace that stays"
    return Group(f"delete-{count}", title, sides, size.slow_rounds, count, goals=goals, warm_up=size.warm_up)


def _endpoints(size: Size) -> Group:
    count, fill = size.endpoints, _fill(size, size.endpoints)
    sides = [
        Side(OURS, ours.endpoints, {"count": count}),
        Side(OURS_GIVEN, ours.given, {"count": count}, "each request names its own, created by others"),
        Side(CNI, peers.cni_endpoints, fill, _filled_note(fill)),
        Side(NETAVARK, peers.netavark_endpoints, fill, f"{_filled_note(fill)}; podman would choose the address"),
    ]
    goals = [
        Goal(f"{count:,} endpoints in namespaces that are there", OURS, CNI, times_faster=50),
        Goal(f"{count:,} endpoints in namespaces that are there", OURS, NETAVARK, times_faster=0),
        Goal(f"{count:,} endpoints, each in a given namespace", OURS_GIVEN, CNI, times_faster=50),
    ]
    title = f"{count:,} endpoints, each in a namespace that is there"
    return Group(f"endpoints-{count}", title, sides, size.rounds, count, goals=goals, warm_up=size.warm_up)


def _given(size: Size, count: int) -> Group:
    with_count = {"count": count}
    sides = [
        Side(MAKING, given.making, with_count),
        Side(CHECK, given.check, with_count),
        Side(RESTORE, given.restore, with_count),
        Side(RESTORE_ALL, given.restore, {**with_count, "missing": True}),
        Side(GC, given.gc, with_count),
    ]
    title = f"{count:,} endpoints that share one namespace"
    goals = [Goal(f"{side.label}: {title}", side.label, MAKING, at_most=2.0) for side in sides[1:]]
    return Group(f"given-{count}", title, sides, size.slow_rounds, count, goals=goals, warm_up=size.warm_up)


def _sandboxes(size: Size, count: int) -> Group:
    fill = _fill(size, count)
    work = f"{count:,} sandboxes, namespaces made too"
    sides = [
        Side(FLOOR, floor.sandboxes, {"count": count, "steps": _steps(size, count)}),
        *_ours(size, count, ours.sandboxes),
    ]
    goals = []
    if count in {_goal_count(size.sandboxes, 1_000), _goal_count(size.sandboxes, 4_096)}:
        goals.append(Goal(work, OURS, FLOOR, at_most=1.10))
        goals.append(Goal(f"{work}, each quarter", OURS, FLOOR, at_most=1.10, by_steps=True))
    if count < SLOW:
        note = f"{_filled_note(fill)}; IPv6 off and `lo` up are not on the clock"
        sides.append(Side(NETNS_CNI, peers.cni_sandboxes, fill, note))
    if count == _goal_count(size.sandboxes, 1_000):
        sides.append(Side(SCALE, ours.scale, {"count": count}, "the whole command"))
        goals.append(Goal(f"{work}, from Python", OURS, NETNS_CNI, times_faster=22))
        goals.append(Goal(f"{work}, by one command", SCALE, NETNS_CNI, times_faster=18))
    return Group(f"sandboxes-{count}", work, sides, _rounds(size, count), count, goals=goals, warm_up=size.warm_up)


def _removal(size: Size, count: int) -> Group:
    fill = _fill(size, count)
    sides = [
        Side(OURS, ours.remove_sandboxes, {"count": count}),
        Side(FLOOR, floor.removal, {"count": count}),
        Side(NETNS_CNI, peers.cni_removal, fill, _filled_note(fill)),
    ]
    goals = []
    if count == _goal_count(size.removals, 1_000):
        sides.append(Side(NETAVARK, peers.netavark_removal, fill, _filled_note(fill)))
        goals = [Goal(f"remove {count:,} sandboxes", OURS, NETNS_CNI, times_faster=75)]
    title = f"removing {count:,} sandboxes, until the parent holds none of their links"
    return Group(f"removal-{count}", title, sides, size.slow_rounds, count, goals=goals, warm_up=size.warm_up)


def _networks(size: Size, *, vlan: bool) -> Group:
    count = size.networks
    with_vlan = {"count": count, "vlan": vlan}
    one_by_one, removal = "macvfast, one by one", "macvfast, removal"
    sides = [
        Side(OURS, networks.networks, with_vlan),
        Side(one_by_one, networks.networks, {**with_vlan, "at_once": False}),
        Side(removal, networks.networks_removal, with_vlan),
    ]
    goals = [Goal(f"{count:,} networks on parents that are there", OURS, one_by_one, times_faster=0)]
    title = f"{count:,} networks on parents that are there"
    if vlan:
        ip, ip_removal = "ip -batch, the sub-interfaces alone", "ip -batch, their removal"
        few = {"count": count, "items": min(count, size.slow)}
        sides.append(Side(ip, networks.ip_vlans, {"count": count}))
        sides.append(Side(ip_removal, networks.ip_vlans_removal, few, f"{few['items']} items, counted per item"))
        title = f"{count:,} networks, each with its sub-interface"
        goals = [Goal(title, OURS, ip), Goal(f"removing {title}", removal, ip_removal, times_faster=0)]
    name = f"networks{'-vlan' if vlan else ''}-{count}"
    return Group(name, title, sides, size.slow_rounds, count, goals=goals, warm_up=size.warm_up)


def _networks_shared(size: Size, *, cpu: bool) -> Group:
    """Whether networks cost more where all take from one pool; `cpu`: macvfast alone, on a kernel in memory."""
    count = size.networks
    shared, own = "macvfast, one subnet", "macvfast, a subnet each"
    run = networks.on_one_parent_in_memory if cpu else networks.on_one_parent
    sides = [
        Side(
            f"{label}{', removal' if removal else ''}", run,
            {"count": count, "one_subnet": label == shared, "removal": removal},
        )
        for removal in (False, True)
        for label in (shared, own)
    ]  # fmt: skip
    suffix = ", CPU time without a kernel" if cpu else ""
    work = f"{count:,} networks with one subnet on one parent{suffix}"
    goals = [
        Goal(f"{what}{work}", f"{shared}{side}", f"{own}{side}", at_most=1.5)
        for what, side in (("", ""), ("removing ", ", removal"))
    ]
    name = f"networks-shared{'-cpu' if cpu else ''}-{count}"
    title = f"{count:,} networks on one parent{suffix}"
    return Group(name, title, sides, size.slow_rounds, count, goals=goals, warm_up=size.warm_up)


def _threads(size: Size, *, remove: bool) -> Group:
    one, many = "one thread", f"{THREADS} threads"
    sides = [
        Side(label, threads.crowd, {"count": size.each_thread * number, "threads": number, "remove": remove})
        for label, number in ((one, 1), (many, THREADS))
    ]
    what = "connected and removed" if remove else "connected"
    goals = [Goal(f"{what} one at a time by {THREADS} threads of one process", many, one, times_faster=4)]
    title = f"endpoints in namespaces that are there, {what} one at a time"
    name = "threads" if remove else "threads-connect"
    return Group(name, title, sides, size.rounds, goals=goals, warm_up=size.warm_up)


def _writers(size: Size) -> list[Group]:
    """What the turns of threads that write give, against SQLite's own way to wait, and what they cost."""
    one, many, apart = "one thread", f"{THREADS} threads", f"{THREADS} threads, SQLite's own way to wait"
    counts = {one: 1, many: THREADS, apart: THREADS}
    arguments = {
        label: {"threads": number, "each": THREADS * size.each_thread // number, "apart": label == apart}
        for label, number in counts.items()
    }
    faster = Goal(f"a write of {many} to one state", many, apart, times_faster=0)
    fairer = Goal(f"the slowest write of {many} to one state", many, apart, times_faster=10)
    return [
        Group(
            "writers", "writes of one process to one state",
            [Side(label, writers.rate, arguments[label]) for label in counts], size.rounds, goals=[faster],
            warm_up=size.warm_up,
        ),
        Group(
            "writers-slowest", "the slowest write of one process to one state",
            [Side(label, writers.slowest, arguments[label]) for label in (many, apart)], size.rounds, unit="ms",
            goals=[fairer], warm_up=size.warm_up,
        ),
    ]  # fmt: skip


def _start(size: Size) -> Group:
    listing = {"count": size.calls, "command": "network ls"}
    sides = [
        Side("network ls", start.listing, listing),
        Side("python -I -c 'import typer'", start.import_typer, {"count": size.calls}),
    ]
    goals = [Goal("start of a command (`network ls`, empty state)", sides[0].label, sides[1].label, at_most=1.6)]
    return Group("start", "whole processes", sides, size.rounds, unit="ms", goals=goals, warm_up=size.warm_up)


def _record(size: Size) -> Group:
    networks_, endpoints = size.record.split("+")
    sides, goals = [], []
    for label, at in ((EMPTY, ""), (LARGE, size.record)):
        sides += [
            Side(f"network ls, {label}", start.listing, {"count": size.calls, "command": "network ls", "size": at}),
            Side(f"ps, {label}", start.listing, {"count": size.calls, "command": "ps", "size": at}),
            Side(f"connect, {label}", start.connect, {"count": 2 * size.calls, "size": at}),
        ]
    beside = f"beside {int(networks_):,} networks and {int(endpoints):,} endpoints"
    for what, limit in (("connect", 1.2), ("network ls", None), ("ps", None)):
        goals.append(Goal(f"{what} {beside}", f"{what}, {LARGE}", f"{what}, {EMPTY}", at_most=limit))
    return Group(
        "record", f"commands {beside}", sides, size.rounds, unit="ms", goals=goals, warm_up=size.warm_up,
        prepare=(Side("record", start.make_record, {"size": size.record}),),
    )  # fmt: skip


def _commands(size: Size) -> list[Group]:
    """What commands cost those who remove other sandboxes, and how much memory they take beside many."""
    count, most = size.beside, size.commands[-1]
    labels = {0: "no command runs", most: "many commands run"}
    removals = [
        Side(
            labels.get(number, f"{number:,} commands run"), beside.removal,
            {"count": count, "commands": number, "items": size.removed}, f"{number:,} commands" if number else "",
        )
        for number in size.commands
    ]  # fmt: skip
    work = f"remove {size.removed:,} of {count:,} sandboxes while {most:,} commands run"
    slower = Goal(work, removals[-1].label, removals[0].label, at_most=1.5)
    memory = [
        Side(label, beside.memory, {"count": there, "commands": most}, f"{most:,} commands, {there:,} sandboxes")
        for label, there in (("commands alone", 0), ("commands beside many sandboxes", count))
    ]
    work = f"memory that {most:,} commands beside {count:,} sandboxes have the kernel take"
    larger = Goal(work, memory[1].label, memory[0].label, at_most=2)
    title = f"removing {size.removed:,} of {count:,} sandboxes while commands run in others"
    rounds = min(3, size.slow_rounds)
    return [
        Group("commands-removal", title, removals, rounds, goals=[slower], warm_up=False),
        Group(
            "commands-memory", "memory that commands have the kernel take", memory, rounds, unit="MiB",
            goals=[larger], warm_up=False,
        ),
    ]  # fmt: skip


def _memory(size: Size) -> Group:
    sides = [
        Side(f"{count:,} sandboxes", ours.peak_memory, {"count": count}, "one call, its outcomes kept")
        for count in (0, *size.memory)
    ]
    largest = size.memory[-1]
    sides.append(Side(f"macvfast scale, {largest:,}", ours.scale_memory, {"count": largest}, "the whole command"))
    return Group("memory", "peak memory of one process", sides, min(2, size.rounds), unit="MiB", warm_up=False)
