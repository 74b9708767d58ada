"""Docker's IPAM driver: pools and addresses. No call says for which network or container it is."""

from __future__ import annotations

import re
from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from macvfast.plugins.docker.answers import Refused, Todo

if TYPE_CHECKING:
    from macvfast.host import Host
    from macvfast.model import Address, Cidr
    from macvfast.plugins.docker.answers import Call
    from macvfast.plugins.fields import Fields
    from macvfast.plugins.request import Said

# Options of `--ipam-opt`: either names the domain within which no address is given twice.
_DOMAINS = ("domain", "parent")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,127}\Z", re.ASCII)


def capabilities(_: Fields, __: Call) -> Said:
    """Docker says again what it has when it has started: it alone knows which of it is still used."""
    return {"RequiresMACAddress": False, "RequiresRequestReplay": True}


def address_spaces(_: Fields, __: Call) -> Said:
    """The names of the address spaces; there are no global ones."""
    return {"LocalDefaultAddressSpace": "macvfast", "GlobalDefaultAddressSpace": "macvfast-global"}


def request_pool(fields: Fields, _: Call) -> Todo:
    """RequestPool."""
    pool, part = fields.text("Pool"), fields.text("SubPool")
    domain = _domain(fields.text("AddressSpace"), fields.fields("Options"))
    cidr = _cidr(pool, "Pool") if pool else None
    if cidr is None and (part or fields.flag("V6")):
        raise Refused("give the subnet, too: --subnet")
    return Todo(domain, makes=True, act=partial(_request_pool, domain, cidr, part))


def _domain(space: str, options: Fields) -> str:
    given = dict(options.texts())
    unknown = [key for key in given if key not in _DOMAINS]
    if unknown:
        raise Refused(f"--ipam-opt `{unknown[0]}` is unknown: {' and '.join(_DOMAINS)} are all that macvfast has")
    names = list(dict.fromkeys(given.values()))
    if len(names) > 1:
        raise Refused("--ipam-opt domain and --ipam-opt parent both name the domain: give one of them")
    name = names[0] if names else space or "macvfast"
    if not _NAME.match(name):
        raise Refused(f"`{name}` is no name of a domain: letters, digits, `_`, `.`, `@` and `-`, 128 at most")
    return f"docker:{name}"


def _cidr(text: str, where: str) -> Cidr:
    try:
        return ip_network(text)
    except ValueError as error:
        raise Refused(f"{where}: {error}") from None


def _request_pool(domain: str, cidr: Cidr | None, part: str, host: Host) -> Said:
    id_, found = host.request_pool(domain, cidr, ip_ranges=[part] if part else [])
    return {"PoolID": id_, "Pool": str(found), "Data": {}}


def release_pool(fields: Fields, _: Call) -> Todo:
    """ReleasePool: Docker forgets it whatever is answered."""
    id_ = fields.text("PoolID")
    return Todo(id_, makes=False, act=partial(_release_pool, id_))


def _release_pool(id_: str, host: Host) -> Said:
    host.release_pool(id_)
    return {}


def request_address(fields: Fields, call: Call) -> Todo:
    """RequestAddress: of a gateway, of an aux address, or for a container."""
    id_, wanted = fields.text("PoolID"), fields.text("Address")
    address = _address(wanted) if wanted else None
    return Todo(id_, makes=True, act=partial(_request_address, id_, address, call.peer.epoch))


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise Refused(f"Address: {error}") from None


def _request_address(id_: str, address: Address | None, epoch: str, host: Host) -> Said:
    return {"Address": str(host.request_address(id_, address, epoch)), "Data": {}}


def release_address(fields: Fields, _: Call) -> Todo:
    """ReleaseAddress."""
    id_, address = fields.text("PoolID"), _address(fields.text("Address"))
    return Todo(id_, makes=False, act=partial(_release_address, id_, address))


def _release_address(id_: str, address: Address, host: Host) -> Said:
    host.release_address(id_, address)
    return {}
