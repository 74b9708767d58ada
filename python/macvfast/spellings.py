"""What people type for an option of a network, in the words of other programs, and what is typed for it here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.model import MODES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Other words for the parent, and for the VLAN that is part of its name here.
_PARENT = (
    "host_iface", "host_if", "host_interface", "parent_iface", "iface", "interface", "dev", "device", "link", "lower",
    "master", "nic",
)  # fmt: skip
_VLAN = ("vlan", "vlan_id", "vlanid", "vid", "tag")


def meant(driver: str, key: str, value: str, given: Mapping[str, str]) -> list[str]:
    """The hint for `-o KEY=VALUE` of which KEY is not known here; none where nobody can tell.

    Args:
        given: all that was given with `-o`.

    >>> meant("macvlan", "vlan", "10,mtu=1500", {"parent": "eth1"})
    ['did you mean `-o parent=eth1.10 -o mtu=1500`?']
    """
    pieces = _pieces(key, value)
    words = (*_PARENT, *_VLAN, "mode", *_KNOWN)
    if not all(key in words and value and "," not in value for key, value in pieces):
        return []
    parent = next((value for key, value in pieces if key in ("parent", *_PARENT)), given.get("parent", "eth0"))
    vid = next((value for key, value in pieces if key in _VLAN), None)
    typed = [] if vid is None else [f"-o parent={parent}.{vid}"]
    for key, value in pieces:
        if key in ("parent", *_PARENT):
            typed += [f"-o parent={value}"] if vid is None else []
        elif key not in _VLAN:
            typed.append(_mode(driver, value) if key == "mode" or key.endswith("_mode") else f"-o {key}={value}")
    return [f"did you mean `{' '.join(typed)}`?"]


def goes_on(key: str, value: str) -> bool:
    """Whether a value goes on with further options, as in `mtu=1500,parent=eth0`."""
    return any(key in (*_PARENT, *_VLAN, "mode", *_KNOWN) for key, _ in _pieces(key, value)[1:])


_KNOWN = ("parent", "mtu", "share_parent", "ipam_order", "ipv6_ra", "ipvlan_flag", "macvlan_mode", "ipvlan_mode")


def _pieces(key: str, value: str) -> Sequence[tuple[str, str]]:
    first, *rest = value.split(",")
    further = [(word.strip(), text) for word, equals, text in (part.partition("=") for part in rest) if equals]
    return [(key, first), *further] if len(further) == len(rest) else [(key, value)]


def _mode(driver: str, value: str) -> str:
    """A mode as the driver that has it takes it."""
    having = [driver, *MODES]
    found = next((name for name in having if value in MODES[name]), driver)
    return f"-o {found}_mode={value}" if found == driver else f"-d {found} -o {found}_mode={value}"
