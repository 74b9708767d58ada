"""What a container has in its namespace after a call, as `ip` and its settings show it, as values by paths."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Netns

Flat = dict[str, Any]

# What is another each time, or says where something is.
_NUMBERS = ("ifindex", "link_index", "link_netnsid", "link", "permaddr")
# What the kernel makes of a MAC.
_LINK_LOCAL = re.compile(r"fe80::[0-9a-f:]+")
_SETTINGS = "cd /proc/sys/net; grep -rs '' ipv4/conf/{0} ipv6/conf/{0} ipv6/conf/lo"


def end_state(container: Netns, ifname: str) -> Flat:
    """All of it."""
    state: Flat = {}
    for link in wait_until(lambda: _settled(container), what="carriers, and the detection of duplicates"):
        addresses = link.pop("addr_info")
        state |= _flat(f"link/{link['ifname']}", link)
        for one in addresses:
            local = _LINK_LOCAL.sub("link-local", one.pop("local"))
            state |= _flat(f"address/{link['ifname']}/{local}", one)
    for family in ("-4", "-6"):
        for route in container.ip_json(family, "route", "show", "table", "all"):
            key = " ".join(str(route.get(word, "")) for word in ("type", "dst", "gateway", "dev", "table", "metric"))
            state |= _flat(f"route/{_LINK_LOCAL.sub('link-local', key)}", route)
    for one in container.ip_json("neighbour", "show", "nud", "permanent"):
        state |= _flat(f"neighbour/{one['dst']}", one)
    settings = container.attempt("sh", "-c", _SETTINGS.format(shlex.quote(ifname))).stdout.splitlines()
    return state | {f"setting/{name}": value for name, _, value in (line.partition(":") for line in settings)}


def _settled(container: Netns) -> list[dict[str, Any]]:
    """The links with their addresses, once the kernel has nothing more to find out about them."""
    links = container.ip_json("address", "show")
    # An ipvlan never says more of itself.
    told = [one for one in links if one.get("linkinfo", {}).get("info_kind") != "ipvlan" and one["ifname"] != "lo"]
    unknown = [one for one in told if one["operstate"] == "UNKNOWN"]
    tentative = [one for link in links for one in link["addr_info"] if one.get("tentative")]
    return [] if unknown or tentative else links


def flat(what: str, value: object) -> Flat:
    """The values within a value of JSON, by their paths."""
    return dict(_leaves(what, value))


def _flat(what: str, shown: dict[str, Any]) -> Flat:
    kept = {key: value for key, value in shown.items() if key not in _NUMBERS}
    return {path: _LINK_LOCAL.sub("link-local", value) if isinstance(value, str) else value
            for path, value in _leaves(what, kept)}  # fmt: skip


def _leaves(path: str, value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _leaves(f"{path}/{key}", one)
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        for number, one in enumerate(value):
            yield from _leaves(f"{path}/{number}", one)
    else:
        yield path, value
