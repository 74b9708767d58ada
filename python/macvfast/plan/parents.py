"""Whether a link may be a network's parent, beside what stands on it; and what is made where there is no such link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from macvfast.errors import OptionInvalid, ParentNotFound, ParentTaken, ParentUnusable
from macvfast.model import IFNAME_MAX, VID_MAX, VID_MIN, is_vid
from macvfast.options import OPTIONS, link_options
from macvfast.plan.links import ON_PARENTS, names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from macvfast.model import Network
    from macvfast.plan.links import LinkFacts, Links
    from macvfast.requests import NetworkRequest

# IEEE 802-2014 section 8.2.
MAC_BYTES = 6

# RFC 8200 section 5: on a link with less, the kernel has no IPv6.
IPV6_MTU_MIN = 1280


@dataclass(frozen=True, slots=True)
class SubInterface:
    """An 802.1Q link to be made: `base.vid`."""

    ifname: str
    base: str
    vid: int


def sub_interface(parent: str) -> SubInterface:
    """What is made for a parent that does not exist: `eth0.50` is VLAN 50 on `eth0`.

    Raises:
        ParentNotFound: the name has no `.VID`.
        OptionInvalid: the VLAN id is not 1 to 4094, or the name is longer than 15 bytes.
    """
    base, dot, vid = parent.rpartition(".")
    if not dot or not base:
        raise ParentNotFound(
            parent, "no link has that name, and it is not of the form NAME.VID", hints=["`ip link` lists the links"]
        )
    if not is_vid(vid):
        raise OptionInvalid(
            "parent",
            parent,
            f"`{vid}` is not a VLAN id: {VID_MIN} to {VID_MAX}, without leading zeros",
            [f"-o parent={base}.{VID_MIN}, or another of them"],
        )
    if len(parent.encode()) > IFNAME_MAX:
        raise OptionInvalid(
            "parent",
            parent,
            f"a link's name has at most {IFNAME_MAX} bytes",
            [f"ip link add link {base} name vlan{vid} up type vlan id {vid}", f"-o parent=vlan{vid} then takes it"],
        )
    return SubInterface(parent, base, int(vid))


def refuse_parent(link: LinkFacts, links: Links, request: NetworkRequest | Network) -> None:
    """Refuse a link that cannot carry the network's endpoints, naming the culprit.

    Args:
        link: the parent.
        links: the links of the home namespace, which show some of what stands on it.
        request: the network that wants it.

    Raises:
        ParentUnusable: `lo`, no Ethernet link, a port of something, itself a macvlan or ipvlan, claimed by links that
            are not ours.
    """
    if link.loopback and request.origin is not None:
        # An engine's network there has addresses for links that something else makes, and makes none itself.
        return
    if link.loopback:
        raise ParentUnusable(
            link.ifname,
            "it is the loopback link: no frame leaves by it",
            ["leave out -o parent for a network within this host"],
        )
    if link.kind in ON_PARENTS:
        lower = links.by_index.get(link.parent or 0) if link.parent_netnsid is None else None
        where = f" with -o parent={lower.ifname}" if lower else ""
        raise ParentUnusable(
            link.ifname,
            f"it is itself {'an' if link.kind.startswith('i') else 'a'} {link.kind}; the kernel would silently "
            "take the link below it",
            hints=[f"use that link{where}"],
        )
    _refuse_other_frames(link)
    refuse_port(link, links)
    for upper in links.on(link.ifindex):
        _refuse_stranger(link, upper, request)


def refuse_port(link: LinkFacts, links: Links, vids: tuple[int, ...] = ()) -> None:
    """Refuse a port of a bridge or bond, and a VLAN on one: the bridge or bond takes the frames that arrive there.

    Args:
        link: the link that exists.
        links: the links of the home namespace.
        vids: the VLAN that is to be made on it, if any.

    Raises:
        ParentUnusable
    """
    for below in links.down_vlans(link):
        if below.controller is not None:
            controller = links.by_index.get(below.controller)
            name = f"`{controller.ifname}`" if controller else "another link"
            what = "it" if below is link else f"`{below.ifname}` below it"
            instead = ".".join(map(str, (controller.ifname, *reversed(vids)))) if controller else ""
            raise ParentUnusable(
                link.ifname,
                f"{what} is a port of {below.port_kind or 'link'} {name}",
                hints=[f"-o parent={instead}"] if controller else [],
            )
        if below.vid is not None:
            vids = (*vids, below.vid)


def _refuse_other_frames(link: LinkFacts) -> None:
    """Refuse a link that is not Ethernet, such as a tunnel of IP packets: the kernel answers with a bare EINVAL
    (`macvlan_port_create`, `ipvlan_port_create`).
    """
    if len(link.mac) != MAC_BYTES:
        raise ParentUnusable(link.ifname, "it is no Ethernet link: what it carries has no MACs")


def unlike_its_name(link: LinkFacts, links: Links, name: str) -> str | None:
    """In words, what a link called `NAME.VID` is that is not VLAN VID of NAME; None where it is, or where its name has
    another form.
    """
    base, _, vid = name.rpartition(".")
    if not base or not is_vid(vid):
        return None
    below = links.by_index.get(link.parent or 0) if link.parent_netnsid is None else None
    if link.kind != "vlan":
        what = f"a {link.kind} link" if link.kind else "a link of its own"
    elif link.vid == int(vid) and (below is None or base in names(below)):
        return None
    else:
        what = f"VLAN {link.vid} on " + (f"`{below.ifname}`" if below else "a link of another namespace")
    return f"{what}, not VLAN {vid} on `{base}`"


def refuse_wireless(link: LinkFacts, device: LinkFacts, request: NetworkRequest) -> None:
    """Refuse a link whose frames leave by a Wi-Fi device, where endpoints have MACs of their own: a station's frames
    have room for one source address (IEEE 802.11-2020 section 9.3.2), and the access point accepts no other.

    Raises:
        ParentUnusable
    """
    if request.driver == "macvlan" and request.mode != "passthru":
        what = "it" if device.ifname == link.ifname else f"`{device.ifname}` below it"
        raise ParentUnusable(
            link.ifname,
            f"{what} is a Wi-Fi device: its access point drops what comes from any MAC but the device's own",
            ["ipvlan endpoints have their parent's MAC: --driver=ipvlan", "or a wired link: -o parent=NAME"],
        )


def refuse_mtu(network: Network, parent: str, parent_mtu: int) -> None:
    """Refuse a network to be made whose MTU, or whose parent's, no endpoint could have.

    Raises:
        OptionInvalid: its MTU is larger than the parent's, or too small for IPv6 (RFC 8200 section 5).
        ParentUnusable: the parent's is too small for IPv6.
    """
    if network.mtu is not None:
        hint = f"-o mtu={parent_mtu}, or `ip link set {parent} mtu {network.mtu}` first"
        refuse_own_mtu(network, network.mtu, parent, parent_mtu, [hint])
    refuse_parent_mtu(network, parent, parent_mtu)


def needed_mtu(network: Network, own: int | None = None) -> int:
    """The least MTU with which a parent can carry the network's endpoints, or one that has an MTU of its own."""
    return max(own or network.mtu or 0, IPV6_MTU_MIN if network.ipv6 else 0)


def refuse_own_mtu(network: Network, own: int, parent: str, parent_mtu: int, hints: Sequence[str] = ()) -> None:
    """Refuse an MTU that no endpoint can have; `hints` are for one that is larger than the parent's.

    Raises:
        OptionInvalid: it is larger than the parent's, or too small for IPv6 (RFC 8200 section 5).
    """
    if own > parent_mtu:
        raise OptionInvalid("mtu", str(own), f"parent `{parent}` has an MTU of {parent_mtu}", hints)
    if network.ipv6 and own < IPV6_MTU_MIN:
        raise OptionInvalid("mtu", str(own), f"IPv6 needs one of at least {IPV6_MTU_MIN}")


def refuse_parent_mtu(network: Network, parent: str, parent_mtu: int, own: int | None = None) -> None:
    """Refuse a parent whose MTU is, or has become, too small for the network's endpoints, or for one that has an MTU of
    its own.

    Raises:
        ParentUnusable
    """
    needed = needed_mtu(network, own)
    if parent_mtu < needed:
        why = f"its MTU of {parent_mtu} is less than the {needed} of network `{network.name}`"
        if network.mtu != needed:
            why = f"its MTU of {parent_mtu} is too small for IPv6, which needs {needed}"
        raise ParentUnusable(parent, why, [f"ip link set {parent} mtu {needed}"])


def refuse_company(parent: str, request: NetworkRequest, sharing: Iterable[Network]) -> None:
    """Refuse a parent that other networks have, unless all of them share it and the kernel allows that.

    Raises:
        ParentTaken
    """
    for other in sharing:
        if request.inside or other.inside:
            # Their parents are in the namespaces of their sandboxes.
            continue
        _refuse_neighbour(parent, request, other)


def _refuse_neighbour(parent: str, request: NetworkRequest, other: Network) -> None:
    remove = f"remove `{other.name}` first: `macvfast network rm {other.name}`"
    if request.driver != other.driver:
        raise ParentTaken(
            request.name,
            parent,
            f"{other.driver} network `{other.name}` holds it, and a parent has one driver",
            [remove],
        )
    if "passthru" in (request.mode, other.mode):
        raise ParentTaken(
            request.name, parent, f"network `{other.name}` holds it, and passthru shares with nobody", [remove]
        )
    if not (request.share_parent and other.share_parent):
        raise ParentTaken(request.name, parent, f"network `{other.name}` holds it", _sharing(request, other, remove))
    _refuse_other_limits(parent, request, other, remove)
    if request.driver == "ipvlan" and (request.mode, request.flag) != (other.mode, other.flag):
        raise ParentTaken(
            request.name,
            parent,
            f"ipvlan's mode and flag belong to the parent, and network `{other.name}` has {other.mode}, {other.flag}",
            [f"-o ipvlan_mode={other.mode} -o ipvlan_flag={other.flag}"],
        )


def _sharing(request: NetworkRequest, other: Network, remove: str) -> list[str]:
    """What is typed to have two networks on one parent."""
    share = "-o share_parent=true"
    if other.origin is not None and not other.share_parent:
        # Only the engine that made it may change or remove it.
        return [f"`{other.name}` belongs to {other.origin}, and shares with nobody: give another parent"]
    ours = [] if request.share_parent else [f"{share} here"]
    theirs = [] if other.share_parent else [f"`macvfast network update {share} {other.name}`"]
    return [", then ".join(theirs + ours), f"or {remove}"]


def _refuse_other_limits(parent: str, request: NetworkRequest, other: Network, remove: str) -> None:
    """Refuse other values of what the kernel keeps once for all links of a parent, whoever said it last."""
    ours, theirs = dict(request.link_options), link_options(other.options)
    for key in sorted({*ours, *theirs}):
        attribute = OPTIONS[key].attribute
        if attribute is None or not attribute.of_parent:
            continue
        mine, found = ours.get(key, attribute.unset), theirs.get(key, attribute.unset)
        if mine != found:
            why = f"{key} belongs to the parent, and network `{other.name}` has {found}"
            raise ParentTaken(request.name, parent, why, [f"-o {key}={found}, or {remove}"])


def _refuse_stranger(link: LinkFacts, upper: LinkFacts, request: NetworkRequest | Network) -> None:
    """Refuse a parent on which a macvlan or ipvlan stands that is not ours, where ours cannot stand beside it."""
    if upper.kind not in ON_PARENTS:
        return
    driver = upper.kind.replace("tap", "lan")
    if driver != request.driver:
        raise ParentUnusable(
            link.ifname,
            f"{upper.kind} link `{upper.ifname}` holds it, and a parent has one driver",
            [f"ip link del {upper.ifname}"],
        )
    if "passthru" in (request.mode, upper.mode):
        raise ParentUnusable(
            link.ifname,
            f"{upper.kind} link `{upper.ifname}` stands on it, and passthru shares with nobody",
            [f"ip link del {upper.ifname}"],
        )
    if driver == "ipvlan" and upper.mode is not None and upper.mode != request.mode:
        # The kernel would change the mode of the links that are there (`ipvlan_set_port_mode`).
        raise ParentUnusable(
            link.ifname,
            f"{upper.kind} link `{upper.ifname}` has it in mode {upper.mode}, and the mode belongs to the parent",
            [f"-o ipvlan_mode={upper.mode}", f"ip link del {upper.ifname}"],
        )


def refuse_base(base: LinkFacts | None, wanted: SubInterface, links: Links) -> None:
    """Refuse a base on which the sub-interface cannot be made.

    Raises:
        ParentNotFound: there is no base.
        ParentUnusable: the base is down, cannot carry VLANs, or has that VLAN under another name.
    """
    if base is None:
        raise ParentNotFound(
            wanted.ifname, f"neither it nor `{wanted.base}` exists", hints=[_missing_base(wanted.base, links)]
        )
    if base.loopback:
        raise ParentUnusable(base.ifname, "it is the loopback link: no frame leaves by it")
    _refuse_other_frames(base)
    if not base.up:
        raise ParentUnusable(
            base.ifname, "it is down, and a VLAN on it cannot come up", [f"ip link set {base.ifname} up"]
        )
    for link in links.on(base.ifindex):
        if link.kind == "vlan" and link.vid == wanted.vid:
            raise ParentUnusable(
                base.ifname, f"link `{link.ifname}` is VLAN {wanted.vid} on it already", [f"-o parent={link.ifname}"]
            )


def _missing_base(base: str, links: Links) -> str:
    """The hint where the base of a sub-interface is missing: a VLAN on a link that is there can be made."""
    below, _, vid = base.rpartition(".")
    if not is_vid(vid) or links.named(below) is None:
        return "`ip link` lists the links"
    return f"a VLAN in a VLAN: `ip link add link {below} name {base} up type vlan id {vid}` first"
