"""Networks of Docker: what it says of one, and which network of macvfast that is.

Docker never says again what a network was created with: all of it that is needed later is in the record.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from macvfast.errors import AddressOutsideSubnet, AddressTaken, NetworkDiffers, NetworkNotFound
from macvfast.model import Attachment
from macvfast.plugins.docker.answers import Refused, Todo
from macvfast.requests import NetworkRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.host import Host
    from macvfast.model import Address, Cidr, Interface, Network
    from macvfast.plugins.docker.answers import Call
    from macvfast.plugins.fields import Fields
    from macvfast.plugins.request import Said

# Labels of a network of ours: Docker's id of it, and its subnets as Docker has given them.
ID, SUBNETS = "docker.id", "docker.subnets"

# Where Docker has the options of `-o`, and other settings of a network.
_GENERIC, _INTERNAL = "com.docker.network.generic", "com.docker.network.internal"

# Options of ours that say what an option of `docker network create` cannot.
_DRIVER, _GATEWAY = "driver", "gateway"

_ID = re.compile(r"[0-9a-f]{12,64}\Z", re.ASCII)


def id_of(fields: Fields, key: str) -> str:
    """One of Docker's ids.

    Raises:
        Refused
    """
    found = fields.text(key)
    if not _ID.match(found):
        raise Refused(f"{fields.name(key)} is `{found}` where an id is meant")
    return found


def name_of(network_id: str) -> str:
    """What a network of Docker's is called here."""
    return f"docker-{network_id[:12]}"


def attachment_of(network_id: str, endpoint_id: str) -> Attachment:
    """What an endpoint is that has a link in place. Docker has no other name for the link than the endpoint's id."""
    return Attachment(network_id, endpoint_id, "", origin="docker")


@dataclass(frozen=True, slots=True)
class Given:
    """A subnet as Docker has given it to a network. `gateway`: as it is known to Docker, whoever chose it."""

    cidr: Cidr
    gateway: Address | None = None

    @classmethod
    def of(cls, fields: Fields) -> Given:
        """One entry of IPv4Data or IPv6Data.

        Raises:
            Unfit, Refused
        """
        pool, gateway = fields.text("Pool"), fields.text("Gateway")
        try:
            cidr, address = ip_network(pool), ip_interface(gateway).ip if gateway else None
        except ValueError as error:
            raise Refused(f"{fields.name('Pool')}: {error}") from None
        if address is not None and address not in cidr:
            raise Refused(f"{fields.name('Gateway')}: {address} is outside {cidr}")
        # Which stands for none: see `ipam.request_address`.
        none = cidr.version == 6 and cidr.num_addresses > 2 and address == cidr.network_address
        return cls(cidr, None if none else address)


def _options(fields: Fields) -> tuple[dict[str, str], bool]:
    """The options of `-o`, and whether the network is internal."""
    options = fields.fields("Options")
    return dict(options.fields(_GENERIC).texts()), options.flag(_INTERNAL)


def _request(name: str, options: dict[str, str], *, internal: bool) -> NetworkRequest:
    """The request for a network without subnets of its own: its endpoints have the addresses that Docker says.

    Raises:
        InvalidConfig, Refused
    """
    given = dict(options)
    driver = given.pop(_DRIVER, "macvlan")
    if given.pop(_GATEWAY, "none") != "none":
        raise Refused("-o gateway=none is all that this option can be: `--gateway` gives one")
    return NetworkRequest.from_options(
        name, driver=driver, options=tuple(sorted(given.items())), internal=internal, ipv4=False, ipv6=False,
        origin="docker",
    )  # fmt: skip


def _leads_out(options: dict[str, str], request: NetworkRequest) -> bool:
    """Whether endpoints have a default route to a gateway."""
    routed = request.mode not in ("l3", "l3s")
    return _GATEWAY not in options and request.parent is not None and not request.internal and routed


def gateways(fields: Fields, _: Call) -> Said:
    """GwAllocCheck: which families need no gateway that Docker chooses. Of IPv6, routers advertise themselves."""
    options, internal = _options(fields)
    request = _request("docker", options, internal=internal)
    return {"SkipIPv4": not _leads_out(options, request), "SkipIPv6": True}


def create(fields: Fields, _: Call) -> Todo:
    """CreateNetwork."""
    id_ = id_of(fields, "NetworkID")
    options, internal = _options(fields)
    request = _request(name_of(id_), options, internal=internal)
    given = [Given.of(one) for key in ("IPv4Data", "IPv6Data") for one in fields.several(key)]
    leads_out = _leads_out(options, request)
    # A gateway that nothing leads to is only reserved.
    kept = [(str(one.cidr), str(one.gateway) if one.gateway and leads_out else None) for one in given]
    labels = ((ID, id_), (SUBNETS, json.dumps(kept)))
    act = partial(_create, id_, replace(request, labels=labels))
    return Todo(id_, makes=True, act=act, undo=lambda _, host: _remove_unused(host, id_))


def _create(id_: str, request: NetworkRequest, host: Host) -> Said:
    labels = dict(request.labels)
    try:
        there = dict(find(host, id_).labels)
    except Refused:
        there = labels
    try:
        if there.get(SUBNETS) != labels[SUBNETS]:
            was, wanted = _told(there.get(SUBNETS, "[]")), _told(labels[SUBNETS])
            raise NetworkDiffers(request.name, [f"its subnets are {was}, and not {wanted}"])
        host.ensure_network(request)
    except NetworkDiffers as error:
        # Its hint is about networks that macvfast's own command removes.
        raise Refused(f"{error.line} (hint: `docker network rm` removes it)") from None
    return {}


def _told(kept: str) -> str:
    """Subnets as they are kept, in words."""
    some = [f"{cidr} with gateway {gateway}" if gateway else str(cidr) for cidr, gateway in json.loads(kept)]
    return ", ".join(some) or "none"


def delete(fields: Fields, _: Call) -> Todo:
    """DeleteNetwork: Docker forgets it whatever is answered."""
    id_ = id_of(fields, "NetworkID")
    return Todo(id_, makes=False, act=partial(_delete, id_))


def _delete(id_: str, host: Host) -> Said:
    remove(host, id_)
    return {}


def remove(host: Host, id_: str) -> bool:
    """Remove a network, with all that Docker has left on it. Returns whether it was there.

    Raises:
        MacvfastError
    """
    try:
        network = find(host, id_)
    except Refused:
        return False
    host.detach(host.attachments(id_)).raise_if_any()
    for one in host.noted_endpoints(network):
        host.forget_endpoint(one.id)
    host.remove_networks([network.id])[0].result()
    return True


def _remove_unused(host: Host, id_: str) -> None:
    if not host.attachments(id_) and not host.noted_endpoints(find(host, id_)):
        remove(host, id_)


def find(host: Host, id_: str) -> Network:
    """The network of ours that one of Docker's is.

    Raises:
        Refused: there is none.
    """
    name = name_of(id_)
    try:
        found = host.network(name)
    except NetworkNotFound:
        found = None
    if found is None or found.name != name or dict(found.labels).get(ID) != id_:
        raise Refused(
            f"macvfast has no record of network {id_[:12]}: remove it with `docker network rm`, and create it"
        )
    return found


def gateway_of(network: Network, addresses: Sequence[Interface], version: int) -> Address | None:
    """The gateway of the subnet that an endpoint's address of a family is in."""
    for cidr, gateway in _kept(network):
        if gateway is not None and any(one.version == version == cidr.version and one.ip in cidr for one in addresses):
            return gateway
    return None


def refuse_address(network: Network, wanted: Interface) -> None:
    """Refuse an address that no endpoint of a network can have.

    Raises:
        AddressOutsideSubnet, AddressTaken, Refused
    """
    kept = [(cidr, gateway) for cidr, gateway in _kept(network) if cidr.version == wanted.version]
    address = wanted.ip
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise Refused(f"{address} is an address that no container can have")
    within = [(cidr, gateway) for cidr, gateway in kept if address in cidr]
    if not within:
        raise AddressOutsideSubnet(str(address), [str(cidr) for cidr, _ in kept], network.name)
    for cidr, gateway in within:
        if address == gateway:
            raise AddressTaken(str(address), f"the gateway of {cidr}")
        if cidr.num_addresses > 2:
            if address == cidr.network_address:
                raise AddressTaken(str(address), f"the network address of {cidr}")
            if cidr.version == 4 and address == cidr.broadcast_address:
                raise AddressTaken(str(address), f"the broadcast address of {cidr}")


def _kept(network: Network) -> Iterator[tuple[Cidr, Address | None]]:
    for cidr, gateway in json.loads(dict(network.labels).get(SUBNETS, "[]")):
        yield ip_network(cidr), None if gateway is None else ip_address(gateway)


def interface(text: str, where: str, version: int) -> Interface | None:
    """An address with the length of its prefix; None: the text is empty.

    Raises:
        Refused
    """
    if not text:
        return None
    kind = IPv4Interface if version == 4 else IPv6Interface
    try:
        return kind(text)
    except ValueError:
        raise Refused(f"{where} is `{text}` where an IPv{version} address with a prefix length is meant") from None
