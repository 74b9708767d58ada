"""Whether record and kernel agree, by the eyes of other programs: `ip`, `bridge`, the mount table, and SQLite."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from tests.acceptance import support
from tests.netns import NETNS_DIR, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.netns import Lan

# Of a subnet's addresses, those at its ends that nothing gets, per family.
ENDS = {4: 2, 6: 1}

# Name, index, MAC, whether it is up, addresses of global scope.
Link = tuple[str, int, str, bool, tuple[str, ...]]


@dataclass(frozen=True)
class Others:
    """What is on a bed beside host and router, and not macvfast's."""

    # Namespaces in the pins' directory by name, with the links that others have in them; sandboxes may stand for some.
    namespaces: Mapping[str, frozenset[str]] = field(default_factory=dict)
    # Links of the host besides `lo`: those that networks stand on, and others.
    parents: tuple[str, ...] = ("eth0",)
    links: frozenset[str] = frozenset()
    # What others' links on the parents have.
    macs: frozenset[str] = frozenset()
    # Parents that may have forgotten what stood on them.
    emptied: frozenset[str] = frozenset()


NOBODY = Others()


@dataclass(frozen=True)
class Found:
    """What is recorded and settled."""

    boxes: dict[str, dict[str, str]]
    networks: list[str]


def _rows(lan: Lan, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(lan.state_dir / "state.db")) as connection:
        return connection.execute(query).fetchall()


def unsettled(lan: Lan) -> int:
    """How many intents there are."""
    (count,) = _rows(lan, "SELECT count(*) FROM intent")[0]
    return int(count)


def recorded(lan: Lan) -> dict[str, dict[str, str]]:
    """Per sandbox that is recorded, settled or not, its networks with the addresses there."""
    boxes: dict[str, dict[str, str]] = {}
    query = (
        "SELECT s.name, n.name, e.ip, e.ip6 FROM sandbox s LEFT JOIN endpoint e ON s.number = e.sandbox"
        " LEFT JOIN network n ON n.number = e.network ORDER BY s.name, e.position"
    )
    for box, network, *ips in _rows(lan, query):
        on = boxes.setdefault(box, {})
        if network is not None:
            on[network] = " ".join(str(ip_address(ip)) for ip in ips if ip is not None)
    return boxes


def indexes(lan: Lan) -> dict[str, set[int]]:
    """Per namespace in the pins' directory that is recorded, the indexes of the links that are, settled or not."""
    query = "SELECT s.path, e.ifindex FROM sandbox s LEFT JOIN endpoint e ON s.number = e.sandbox"
    found: dict[str, set[int]] = {}
    for path, ifindex in _rows(lan, query):
        found.setdefault(os.path.basename(path), set()).add(ifindex)
    return found


def whose(lan: Lan) -> dict[int, str]:
    """Per index of a link that is recorded, the id of its sandbox."""
    rows = _rows(lan, "SELECT e.ifindex, s.id FROM sandbox s JOIN endpoint e ON s.number = e.sandbox")
    return {int(ifindex): str(id_) for ifindex, id_ in rows}


def first_links(lan: Lan) -> dict[str, str]:
    """Per sandbox that macvfast made and that has any, the link that was connected first."""
    query = (
        "SELECT s.name, e.ifname FROM sandbox s JOIN endpoint e ON s.number = e.sandbox WHERE s.made"
        " ORDER BY e.position DESC"
    )
    return {str(name): str(ifname) for name, ifname in _rows(lan, query)}


def dump(lan: Lan) -> list[str]:
    """All that is recorded."""
    with closing(sqlite3.connect(lan.state_dir / "state.db")) as connection:
        return list(connection.iterdump())


def given_twice(lan: Lan) -> list[bytes]:
    """Addresses that are recorded more than once, settled or not."""
    rows = _rows(lan, "SELECT ip FROM endpoint UNION ALL SELECT ip6 FROM endpoint")
    counts = Counter(ip for (ip,) in rows if ip is not None)
    return [ip for ip, count in counts.items() if count > 1]


def assert_agreement(lan: Lan, others: Others = NOBODY) -> Found:
    """Hold the kernel against the record, and the record's pools against its endpoints; what is recorded."""
    rows = _rows(
        lan,
        "SELECT s.path, n.link, n.mode, e.ifname, e.ifindex, e.mac, e.ip, e.ip6 FROM endpoint e"
        " JOIN sandbox s ON s.number = e.sandbox JOIN network n ON n.number = e.network",
    )
    links: dict[str, set[Link]] = {}
    made = []
    for name, path, is_made in _rows(lan, "SELECT name, path, made FROM sandbox ORDER BY name"):
        links[path] = set()
        made += [name] if is_made else []
    packed: list[bytes] = []
    macs: dict[str, set[str]] = {parent: set() for parent in others.parents}
    for path, parent, mode, ifname, ifindex, mac, *ips in rows:
        given = [ip for ip in ips if ip is not None]
        packed += given
        shown = sorted(str(ip_address(ip)) for ip in given)
        links[path].add((ifname, ifindex, mac.hex(":"), True, tuple(shown)))
        if mode != "passthru":
            macs[parent].add(mac.hex(":"))
    assert given_twice(lan) == []
    for number, cidr, used in _rows(lan, "SELECT number, cidr, used FROM pool"):
        subnet = ip_network(cidr)
        mine = [ip for ip in packed if ip_address(ip) in subnet]
        kept = set()
        for gateway, aux in _rows(lan, f"SELECT gateway, aux FROM subnet WHERE pool = {number}"):
            kept |= {gateway} - {None} | {address for _, address in json.loads(aux)}
        in_use = len(mine) + len(kept) + ENDS[subnet.version]
        assert int(used) == in_use, f"{cidr}: {used} in use, and {len(mine)} endpoints, {sorted(kept)} kept"
    assert _pins(lan, others) == made
    for path, expected in links.items():
        name = os.path.basename(path)
        theirs = others.namespaces.get(name, frozenset())
        there = {link for link in links_of(name) if link[0] not in theirs}
        assert there == expected, f"{name} has {there}, and {expected} is recorded"
    for parent in others.parents:
        left = carried(lan, parent) - others.macs
        assert left == macs[parent] or (parent in others.emptied and left < macs[parent]), f"what {parent} carries"
    assert lan.host.link_names() == sorted({"lo", *others.parents, *others.links})
    assert not support.programs(lan)
    return Found(recorded(lan), sorted(name for (name,) in _rows(lan, "SELECT name FROM network")))


def wait_for_the_kernel(lan: Lan, others: Others = NOBODY) -> None:
    """Until the parents carry nothing but what some namespace has: links of those that just died linger."""

    def quiet() -> bool:
        names = [*mounted(lan, others), *others.namespaces]
        alive = {link[2] for name in names for link in links_of(name)} | others.macs
        return all(carried(lan, parent) <= alive for parent in others.parents)

    wait_until(quiet, what="that the kernel has let go", timeout_s=90)


def carried(lan: Lan, parent: str) -> set[str]:
    """The MACs that a parent carries besides its own."""
    (link,) = lan.host.ip_json("link", "show", "dev", parent)
    return support.filter_macs(lan, parent) - {str(link["address"])}


def mounted(lan: Lan, others: Others = NOBODY) -> list[str]:
    """The namespaces that are mounted in the pins' directory and not known to be others', once each mount."""
    foreign = {lan.host.name, lan.router.name, *others.namespaces}
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        mounts = [line.split() for line in table]
    return sorted(
        os.path.basename(words[4])
        for words in mounts
        if words[4].startswith(f"{NETNS_DIR}/")
        and words[words.index("-") + 1] == "nsfs"
        and os.path.basename(words[4]) not in foreign
    )


def _pins(lan: Lan, others: Others) -> list[str]:
    """The sandboxes' names in the pins' directory, each of them a namespace that is mounted there once."""
    pins = sorted(set(os.listdir(lan.netns_dir)) - {lan.host.name, lan.router.name, *others.namespaces})
    assert mounted(lan, others) == pins, "pins and mounts differ"
    return pins


def links_of(name: str) -> set[Link]:
    """The links of a namespace in the pins' directory besides `lo`."""
    command = ["ip", "-json", "-netns", name, "address", "show"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        (
            link["ifname"],
            link["ifindex"],
            link["address"],
            "UP" in link["flags"],
            tuple(sorted(one["local"] for one in link["addr_info"] if one["scope"] == "global")),
        )
        for link in json.loads(said)
        if link["ifname"] != "lo"
    }
