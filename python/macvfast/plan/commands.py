"""The commands of iproute2 that would do what a step does: what `--verbose` shows. All can be typed as they are."""

from __future__ import annotations

from ipaddress import ip_address
from shlex import quote
from typing import TYPE_CHECKING

from macvfast.model import mac_text
from macvfast.options import ip_words, kernel_attributes
from macvfast.plan.steps import AddAddress, AddRoute, DeleteRoute, SetUp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.model import MadeParent
    from macvfast.plan.endpoints import EndpointPlan
    from macvfast.plan.steps import AddLink, Configure

# Where `ip netns` keeps its namespaces.
_PINS = ("/run/netns/", "/var/run/netns/")


def _name(path: str) -> str:
    """What `ip` calls a namespace: its name, or else its path."""
    return next((path.removeprefix(pins) for pins in _PINS if path.startswith(pins)), path)


def _ip(path: str) -> str:
    """`ip`, inside a namespace. `-n` takes no paths."""
    name = _name(path)
    return f"nsenter --net={quote(path)} ip" if "/" in name else f"ip -n {quote(name)}"


def write_sysctls(path: str, sysctls: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Write settings inside a namespace."""
    if sysctls:
        yield f"nsenter --net={quote(path)} sysctl -qew {' '.join(f'{name}={value}' for name, value in sysctls)}"


def create_netns(path: str, sysctls: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Create a namespace, pinned at a path, with its settings for new links and `lo` up."""
    name, file = _name(path), quote(path)
    yield f"touch {file} && unshare --net={file} true" if "/" in name else f"ip netns add {quote(name)}"
    yield from write_sysctls(path, sysctls)
    yield f"{_ip(path)} link set lo up"


def pin_netns(found: str, path: str) -> str:
    """Pin at a path the namespace to which another path leads: for /proc, as the kernel follows it."""
    return f"touch {quote(path)} && mount --no-canonicalize --bind {quote(found)} {quote(path)}"


def delete_netns(path: str) -> str:
    """Delete the pin of a namespace."""
    name, file = _name(path), quote(path)
    return f"umount {file} && rm {file}" if "/" in name else f"ip netns delete {quote(name)}"


def create_endpoint(path: str, parent: str, steps: EndpointPlan) -> Iterator[str]:
    """Create a link on a parent, in a namespace, and configure it."""
    yield _add_link(path, parent, steps.link)
    yield from write_sysctls(path, steps.link_sysctls)
    yield from configure(path, steps.link.ifname, steps.configure)


def configure(path: str, ifname: str, steps: Sequence[Configure]) -> Iterator[str]:
    """Configure a link in a namespace."""
    for step in steps:
        yield f"{_ip(path)} {_configure(quote(ifname), step)}"


def delete_link(path: str, ifname: str) -> str:
    """Delete a link from a namespace."""
    return f"{_ip(path)} link delete {quote(ifname)}"


def delete_unreachable_link(sandbox: str, ifname: str) -> str:
    """What no command of iproute2 does, as a comment: delete a link from a namespace to which no path leads."""
    return f"# link {ifname} of sandbox {sandbox}: deleted by the id of its namespace, to which no path leads"


def change_parent(link: str, mtu: int | None) -> str:
    """Give a sub-interface or a dummy its MTU; None: bring it up."""
    return f"ip link set {quote(link)} {'up' if mtu is None else f'mtu {mtu}'}"


def create_parent(made: MadeParent) -> str:
    """Create a sub-interface or a dummy, and bring it up."""
    on = "" if made.base is None else f"link {quote(made.base)} "
    kind = "dummy" if made.base is None else f"vlan id {made.vid}"
    return f"ip link add {on}name {quote(made.link)} index {made.ifindex} up type {kind}"


def delete_parent(link: str) -> str:
    """Delete a sub-interface or a dummy."""
    return f"ip link delete {quote(link)}"


def _add_link(path: str, parent: str, link: AddLink) -> str:
    words = [
        f"ip link add link {quote(parent)} name {quote(link.ifname)} index {link.ifindex} netns {quote(_name(path))}"
    ]
    if link.mac is not None:
        words.append(f"address {mac_text(link.mac)}")
    if link.mtu is not None:
        words.append(f"mtu {link.mtu}")
    words += [f"group {link.group}", *(["up"] if link.up else []), f"type {link.driver} mode {link.mode}"]
    words += [] if link.flag is None else [link.flag]
    return " ".join([*words, *ip_words(link.driver, link.attributes)])


def _configure(ifname: str, step: Configure) -> str:
    match step:
        case AddAddress():
            # Of IPv6, duplicates are not looked for: addresses are unique by the record.
            of_4, of_6 = (" brd +", "") if step.usual else ("", " nodad")
            ending = of_4 if len(step.address) == 4 else of_6
            return f"address add {ip_address(step.address)}/{step.prefix_length} dev {ifname}{ending}"
        case AddRoute():
            verb = "replace" if step.replaces else "prepend" if step.beside else "add"
            return f"route {verb} {_route(ifname, step)}"
        case DeleteRoute():
            return f"route delete {_route(ifname, step.added)}"
        case SetUp():
            return f"link set {ifname} up"
        case _:
            words = ip_words("macvlan", kernel_attributes(step.options))
            return f"link set {ifname} type macvlan {' '.join(words)}"


def _route(ifname: str, step: AddRoute) -> str:
    words = [f"{ip_address(step.destination)}/{step.prefix_length}"]
    words += [] if step.gateway is None else [f"via {ip_address(step.gateway)}"]
    words.append(f"dev {ifname}")
    for word in ("metric", "table", "scope", "mtu", "advmss"):
        value = getattr(step, word)
        words += [] if value is None else [f"{word} {value}"]
    return " ".join(words)
