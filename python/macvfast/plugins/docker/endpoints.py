"""Endpoints of Docker's containers: announced, joined, left, deleted.

Where the namespace of a container is there when it joins (from Docker 28 on, and in containers that run), its link is
made in it. Otherwise it is made in the home namespace by a name, from where dockerd moves it, and where dockerd puts it
back when the container has left.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from macvfast.errors import MacvfastError, NamespaceInvalid
from macvfast.model import mac_text, parse_mac
from macvfast.plugins.docker import networks
from macvfast.plugins.docker.answers import Refused, Todo
from macvfast.requests import EndpointRequest, OpenNetns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from macvfast.host import Host
    from macvfast.model import Interface, NotedEndpoint
    from macvfast.plugins.docker.answers import Call
    from macvfast.plugins.fields import Fields
    from macvfast.plugins.request import Said

# `--network name=NETWORK,driver-opt=macvfast.name=NAME`: whose MAC it is.
_OURS, _NAME = "macvfast.", "macvfast.name"

# What dockerd's links in a container are called, with numbers.
_PREFIX = "eth"


class _Announced(NamedTuple):
    """What Docker says of an endpoint; `owner`: whose MAC it has, where none is given."""

    id: str
    addresses: list[Interface]
    mac: bytes | None
    owner: str | None


def _ids(fields: Fields) -> tuple[str, str]:
    return networks.id_of(fields, "NetworkID"), networks.id_of(fields, "EndpointID")


def create(fields: Fields, _: Call) -> Todo:
    """CreateEndpoint: it is noted, with its MAC, before its link is there."""
    network_id, id_ = _ids(fields)
    asked = fields.fields("Interface")
    both = (
        networks.interface(asked.text(key), asked.name(key), version)
        for key, version in (("Address", 4), ("AddressIPv6", 6))
    )
    mac = asked.text("MacAddress")
    announced = _Announced(
        id_, [one for one in both if one is not None], parse_mac(mac) if mac else None,
        _owner(fields.fields("Options")),
    )  # fmt: skip
    act = partial(_create, network_id, announced)
    return Todo(id_, makes=True, act=act, undo=lambda _, host: _forget_unlinked(network_id, id_, host))


def _owner(options: Fields) -> str | None:
    """The name whose MAC an endpoint has.

    Raises:
        Refused: an option is none of ours that there is.
    """
    unknown = [key for key in options.names() if key.startswith(_OURS) and key != _NAME]
    if unknown:
        raise Refused(f"driver-opt `{unknown[0]}` is unknown: `{_NAME}` is all that macvfast has")
    return options.text(_NAME) or None


def _create(network_id: str, announced: _Announced, host: Host) -> Said:
    network = networks.find(host, network_id)
    id_, addresses, mac, owner = announced
    for one in addresses:
        networks.refuse_address(network, one)
    noted = host.note_endpoint(network, id_, addresses, mac=mac, owner=owner)
    # What was given must not come back.
    return {"Interface": {"MacAddress": mac_text(noted.mac)} if mac is None and noted.mac is not None else {}}


def _forget_unlinked(network_id: str, id_: str, host: Host) -> None:
    """Forget an endpoint, unless it was announced before, and has a link."""
    noted = host.noted_endpoint(id_)
    if noted is not None and not noted.ifindex and host.attached(networks.attachment_of(network_id, id_)) is None:
        host.forget_endpoint(id_)


def join(fields: Fields, call: Call) -> Todo:
    """Join: the link is made."""
    network_id, id_ = _ids(fields)
    key = fields.text("SandboxKey")
    if not key.startswith("/"):
        raise Refused(f"SandboxKey is `{key}` where an absolute path is meant")
    return Todo(id_, makes=True, act=partial(_join, network_id, id_, key, call.peer.pid))


def _join(network_id: str, id_: str, key: str, pid: int, host: Host) -> Said:
    network = networks.find(host, network_id)
    noted = host.noted_endpoint(id_)
    if noted is None or noted.network_id != network.id:
        raise Refused(f"endpoint {id_[:12]} was not created on network {network_id[:12]}")
    path = _seen_from(pid, key)
    said: Said = {"DisableGatewayService": True}
    for word, version in (("Gateway", 4), ("GatewayIPv6", 6)):
        gateway = networks.gateway_of(network, noted.addresses, version)
        if gateway is not None:
            said[word] = str(gateway)
    if not _made_in_place(host, network_id, noted, path):
        lent = host.lend_link(network, id_, path)
        said["InterfaceName"] = {"SrcName": lent.ifname, "DstPrefix": _PREFIX}
    return said


def _made_in_place(host: Host, network_id: str, noted: NotedEndpoint, path: str) -> bool:
    """Make the link in the container's namespace; False: there is none yet."""
    attachment = networks.attachment_of(network_id, noted.id)
    with _opened(path) as descriptor:
        if descriptor is None:
            return False
        request = EndpointRequest(
            network=noted.network_id, sandbox=attachment.sandbox, mac=noted.mac, elsewhere=noted.addresses,
            gw_priority=None, netns=OpenNetns(descriptor, path),
        )  # fmt: skip
        if host.attached(attachment) is not None:
            # It was asked for before, and its answer got lost.
            host.detach([attachment])[0].result()
        try:
            host.connect(request, attachment=attachment)
        except NamespaceInvalid:
            return False
    return True


@contextmanager
def _opened(path: str) -> Iterator[int | None]:
    """What is at a path, open; None: nothing is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _seen_from(pid: int, path: str) -> str:
    """A path of dockerd's, as this process gets there: dockerd may have a mount namespace of its own."""
    try:
        if os.path.samestat(os.stat(f"/proc/{pid}/ns/mnt"), os.stat("/proc/self/ns/mnt")):
            return path
    except OSError:
        return path
    # An absolute symbolic link, which nearly every system has there, would lead out of that root directory.
    return f"/proc/{pid}/root{path.removeprefix('/var') if path.startswith('/var/run/') else path}"


def leave(fields: Fields, _: Call) -> Todo:
    """Leave: a link in place goes; one that dockerd has moved comes back after this."""
    network_id, id_ = _ids(fields)
    return Todo(id_, makes=False, act=partial(_leave, network_id, id_))


def _leave(network_id: str, id_: str, host: Host) -> Said:
    with _kept_where_it_fails(host, id_):
        host.detach([networks.attachment_of(network_id, id_)])[0].result()
    return {}


@contextmanager
def _kept_where_it_fails(host: Host, id_: str) -> Iterator[None]:
    """Have an endpoint's addresses stay taken if it cannot be removed: Docker gives them back all the same."""
    try:
        yield
    except Exception:
        with suppress(MacvfastError):
            host.keep_linked(id_)
        raise


def delete(fields: Fields, _: Call) -> Todo:
    """DeleteEndpoint: nothing of it is left."""
    network_id, id_ = _ids(fields)
    return Todo(id_, makes=False, act=partial(_delete, network_id, id_))


def _delete(network_id: str, id_: str, host: Host) -> Said:
    _leave(network_id, id_, host)
    with _kept_where_it_fails(host, id_):
        host.forget_endpoint(id_)
    return {}
