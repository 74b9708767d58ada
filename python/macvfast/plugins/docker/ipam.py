"""Docker's IPAM driver: pools and addresses. No call says for which network or container it is."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from macvfast.model import is_ifname, is_name
from macvfast.plugins.docker.answers import Refused, Todo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from macvfast.host import Host
    from macvfast.model import Address, Cidr
    from macvfast.plugins.docker.answers import Call, Peer
    from macvfast.plugins.fields import Fields
    from macvfast.plugins.request import Said

# Options of `--ipam-opt`: either names the domain within which no address is given twice.
_DOMAINS = ("domain", "parent")

# The address space, and the domain of pools for which neither option is given.
_SPACE = "macvfast"

# What an address is for, in the options of its request.
_KIND, _GATEWAY = "RequestAddressType", "com.docker.network.gateway"


def capabilities(_: Fields, __: Call) -> Said:
    """Docker says again what it has when it has started: it alone knows which of it is still used."""
    return {"RequiresMACAddress": False, "RequiresRequestReplay": True}


def address_spaces(_: Fields, __: Call) -> Said:
    """The names of the address spaces; there are no global ones."""
    return {"LocalDefaultAddressSpace": _SPACE, "GlobalDefaultAddressSpace": "macvfast-global"}


def request_pool(fields: Fields, call: Call) -> Todo:
    """RequestPool."""
    pool, part = fields.text("Pool"), fields.text("SubPool")
    domain, parent = domain_of(dict(fields.fields("Options").texts()), _given(fields, "AddressSpace"))
    cidr = _cidr(pool, "Pool") if pool else None
    if cidr is None and (part or fields.flag("V6")):
        raise Refused("give the subnet, too: --subnet")
    ranges = (part,) if part else ()
    return Todo(
        domain or parent, makes=True, act=partial(_request_pool, (domain, parent), cidr, ranges, call.peer),
        undo=lambda said, host: host.release_pool(str(said["PoolID"]), epoch=call.peer.epoch),
    )  # fmt: skip


def domain_of(given: Mapping[str, str], space: str = "") -> tuple[str, str]:
    """The domain that options of `--ipam-opt` name, or else the parent whose domain it is.

    Raises:
        Refused
    """
    unknown = [key for key in given if key not in _DOMAINS]
    if unknown:
        raise Refused(f"--ipam-opt `{unknown[0]}` is unknown: {' and '.join(_DOMAINS)} are all that macvfast has")
    if len(given) > 1:
        raise Refused("--ipam-opt domain and --ipam-opt parent both say which domain it is: give one of them")
    if (parent := given.get("parent")) is not None:
        if not is_ifname(parent):
            raise Refused(f"--ipam-opt parent: `{parent}` cannot be the name of a link")
        return "", parent
    name = given.get("domain", space or _SPACE)
    if not is_name(name):
        raise Refused(f"`{name}` is no name of a domain: 1 to 128 of A-Z a-z 0-9 _ . -, a letter or digit first")
    return f"docker:{name}", ""


def _given(fields: Fields, key: str) -> str:
    """A text that no call is without.

    Raises:
        Unfit, Refused
    """
    text = fields.text(key)
    if not text:
        raise Refused(f"{fields.name(key)} is missing")
    return text


def _cidr(text: str, where: str) -> Cidr:
    try:
        return ip_network(text)
    except ValueError as error:
        raise Refused(f"{where}: {error}") from None


def _request_pool(where: tuple[str, str], cidr: Cidr | None, ranges: tuple[str, ...], peer: Peer, host: Host) -> Said:
    domain = where[0] or host.domain_of_parent(where[1])
    id_, found = host.request_pool(domain, cidr, ip_ranges=ranges, epoch=peer.epoch)
    return {"PoolID": id_, "Pool": str(found), "Data": {}}


def release_pool(fields: Fields, _: Call) -> Todo:
    """ReleasePool: Docker forgets it whatever is answered."""
    id_ = _given(fields, "PoolID")
    return Todo(id_, makes=False, act=partial(_release_pool, id_))


def _release_pool(id_: str, host: Host) -> Said:
    host.release_pool(id_)
    return {}


def request_address(fields: Fields, call: Call) -> Todo:
    """RequestAddress: of a gateway, of an aux address, or for a container."""
    id_, wanted = _given(fields, "PoolID"), fields.text("Address")
    address = _address(wanted) if wanted else None
    gateway = fields.fields("Options").text(_KIND) == _GATEWAY
    epoch = call.peer.epoch
    return Todo(
        id_, makes=True, act=partial(_request_address, id_, address, epoch, gateway),
        undo=lambda said, host: host.release_address(id_, ip_interface(str(said["Address"])).ip, epoch=epoch),
    )  # fmt: skip


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise Refused(f"Address: {error}") from None


def _request_address(id_: str, address: Address | None, epoch: str, gateway: bool, host: Host) -> Said:
    return {"Address": str(host.request_address(id_, address, epoch, gateway=gateway)), "Data": {}}


def release_address(fields: Fields, _: Call) -> Todo:
    """ReleaseAddress."""
    id_, address = _given(fields, "PoolID"), _address(_given(fields, "Address"))
    return Todo(id_, makes=False, act=partial(_release_address, id_, address))


def _release_address(id_: str, address: Address, host: Host) -> Said:
    host.release_address(id_, address)
    return {}
