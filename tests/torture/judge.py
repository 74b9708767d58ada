"""Whether record and kernel agree, by the eyes of other programs: `ip`, `bridge`, the mount table, and SQLite."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from tests.acceptance import support
from tests.netns import NETNS_DIR, wait_until

if TYPE_CHECKING:
    from tests.netns import Lan

# Of a subnet's addresses, those that nothing gets: gateway and, per family, the reserved ends.
RESERVED = {4: 3, 6: 2}


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


def assert_agreement(lan: Lan) -> Found:
    """Hold the kernel against the record, and the record's pools against its endpoints; what is recorded."""
    rows = _rows(
        lan,
        "SELECT s.name, n.name, e.ifname, e.ifindex, e.mac, e.ip, e.ip6 FROM endpoint e"
        " JOIN sandbox s ON s.number = e.sandbox JOIN network n ON n.number = e.network ORDER BY e.position",
    )
    names = sorted(name for (name,) in _rows(lan, "SELECT name FROM sandbox"))
    boxes: dict[str, dict[str, str]] = {name: {} for name in names}
    links: dict[str, set[tuple[Any, ...]]] = {name: set() for name in names}
    packed: list[bytes] = []
    for box, network, ifname, ifindex, mac, *ips in rows:
        given = [ip for ip in ips if ip is not None]
        packed += given
        shown = [str(ip_address(ip)) for ip in given]
        boxes[box][network] = " ".join(shown)
        links[box].add((ifname, ifindex, mac.hex(":"), True, tuple(sorted(shown))))
    assert len(packed) == len(set(packed)), "an address was given twice"
    for cidr, used in _rows(lan, "SELECT cidr, used FROM subnet"):
        subnet = ip_network(cidr)
        mine = [ip for ip in packed if ip_address(ip) in subnet]
        assert int(used) == len(mine) + RESERVED[subnet.version], f"{cidr}: {used} in use, and {len(mine)} endpoints"
    assert _pins(lan) == names
    for name in names:
        assert _links(name) == links[name], name
    macs = {mac.hex(":") for _, _, _, _, mac, _, _ in rows}
    assert support.filter_macs(lan) - {_parent_mac(lan)} == macs, "what the parent carries"
    assert lan.host.link_names() == ["eth0", "lo"]
    assert not support.programs(lan)
    return Found(boxes, sorted(name for (name,) in _rows(lan, "SELECT name FROM network")))


def wait_for_the_kernel(lan: Lan) -> None:
    """Until the parent carries nothing but what some namespace has: links of those that just died linger."""

    def quiet() -> bool:
        alive = {link[2] for name in _mounted(lan) for link in _links(name)}
        return support.filter_macs(lan) - {_parent_mac(lan)} == alive

    wait_until(quiet, what="that the kernel has let go", timeout_s=90)


def _parent_mac(lan: Lan) -> str:
    (link,) = lan.host.ip_json("link", "show", "dev", "eth0")
    return str(link["address"])


def _mounted(lan: Lan) -> list[str]:
    """The namespaces of sandboxes that are mounted in the pins' folder, once each."""
    ours = {lan.host.name, lan.router.name}
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        mounts = [line.split() for line in table]
    return sorted(
        os.path.basename(words[4])
        for words in mounts
        if words[4].startswith(f"{NETNS_DIR}/")
        and words[words.index("-") + 1] == "nsfs"
        and os.path.basename(words[4]) not in ours
    )


def _pins(lan: Lan) -> list[str]:
    """The sandboxes' names in the pins' folder, each of them a namespace that is mounted there once."""
    pins = sorted(set(os.listdir(lan.netns_dir)) - {lan.host.name, lan.router.name})
    assert _mounted(lan) == pins, "pins and mounts differ"
    return pins


def _links(name: str) -> set[tuple[Any, ...]]:
    """The links of a sandbox besides `lo`: name, index, MAC, whether up, addresses of global scope."""
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
