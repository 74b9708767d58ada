"""A call of Podman's becomes a request, or is refused. What needs no network, `info`, `rust/client` answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from macvfast.errors import MacvfastError
from macvfast.model import Attachment, parse_address, parse_mac
from macvfast.plugins.fields import Fields, Unfit
from macvfast.plugins.podman import networks
from macvfast.plugins.podman.results import Words, failed, text_of
from macvfast.plugins.request import CHECK, CONNECT, DISCONNECT, Request
from macvfast.requests import EndpointRequest, OpenNetns

if TYPE_CHECKING:
    from macvfast.host import Host
    from macvfast.plugins.podman.networks import Meant
    from macvfast.plugins.request import Said

ORIGIN = "podman"

CREATE, SETUP, TEARDOWN = "create", "setup", "teardown"

# The longest input that is read.
LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the plugin, as its process has got it.

    Attributes:
        id: of the request, by which one that is repeated is known.
        verb: CREATE, SETUP or TEARDOWN.
        input: what comes on standard input; one that is longer than LONGEST may be cut. None: it cannot be read.
        path: of the container's namespace; empty: none is given.
        netns: a descriptor of it; None: it could not be opened.
    """

    id: str
    verb: str
    input: str | None
    path: str = ""
    netns: int | None = None


def read(call: Call) -> Request | Said:
    """The request that a call makes, or its answer, where nothing is to be done."""
    try:
        said = _decoded(call.input)
        if call.verb == CREATE:
            return _creation(call, said)
        if call.verb in (SETUP, TEARDOWN):
            return _attachment(call, Fields(said))
        return failed(f"`{call.verb}` is none of {CREATE}, {SETUP} and {TEARDOWN}")
    except Unfit as error:
        return failed(str(error))
    except MacvfastError as error:
        return failed(text_of(error))


def _decoded(text: str | None) -> dict[str, object]:
    if text is None:
        raise Unfit("standard input cannot be read")
    if len(text) > LONGEST:
        raise Unfit(f"what is on standard input is longer than {LONGEST} bytes")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise Unfit("what is on standard input is not JSON") from None
    if not isinstance(said, dict):
        raise Unfit("what is on standard input is not a JSON object")
    return said


def _creation(call: Call, said: dict[str, object]) -> Request:
    meant = networks.read(said)
    if meant.dns:
        raise Unfit("Podman has no name server for networks of a plugin: leave out --dns, and give it to `podman run`")
    words = Words()

    def create(host: Host) -> Said:
        return words.created(said, meant.network.make(host), gives=meant.ipam == networks.OURS)

    # One after the other, where the name is the same.
    endpoint = EndpointRequest(network="", sandbox=meant.network.request.name)
    return Request(CHECK, call.id, ORIGIN, None, endpoint, None, words, act=create)


def _attachment(call: Call, fields: Fields) -> Request:
    network, asked = fields.fields("network"), fields.fields("network_options")
    container, ifname = fields.text("container_id"), asked.text("interface_name")
    for name, value in (("container_id", container), ("network_options.interface_name", ifname)):
        if not value:
            raise Unfit(f"{name} is missing")
    conf = network.text("id")
    attachment = Attachment(conf, container, ifname, ORIGIN, fields.text("container_name"))
    if call.verb == TEARDOWN:
        # Whatever has become of the network's options.
        endpoint = EndpointRequest(network="", sandbox=attachment.sandbox)
        netns = None if call.netns is None else OpenNetns(call.netns, call.path)
        return Request(DISCONNECT, call.id, ORIGIN, None, endpoint, netns, Words(going=True), attachment)
    meant = networks.read(network.values())
    if call.netns is None:
        raise Unfit(f"the network namespace {call.path or 'that is missing'} cannot be opened")
    return Request(
        CONNECT, call.id, ORIGIN, None, _endpoint(attachment, asked, meant), OpenNetns(call.netns, call.path),
        Words(meant.dns), attachment, network=meant.network,
    )  # fmt: skip


def _endpoint(attachment: Attachment, asked: Fields, meant: Meant) -> EndpointRequest:
    """The endpoint of a container, with what `podman run` was told."""
    for key, _ in asked.fields("options").texts():
        raise Unfit(f"{key} of --network is no option that macvfast has: ip, ip6, mac and interface_name are")
    addresses: dict[str, str] = {}
    for text in asked.listed("static_ips"):
        family = "ip6" if ":" in text else "ip"
        if family in addresses:
            raise Unfit(f"{addresses[family]} and {text} are of one family: an endpoint has one address of each")
        addresses[family] = text
    mac = asked.text("static_mac")
    ip, ip6 = addresses.get("ip"), addresses.get("ip6")
    return EndpointRequest(
        network="", sandbox=attachment.sandbox, ifname=attachment.ifname, routes=meant.routes,
        gw_priority=meant.gw_priority, ip=None if ip is None else parse_address(ip, 4),
        ip6=None if ip6 is None else parse_address(ip6, 6), mac=parse_mac(mac) if mac else None,
    )  # fmt: skip
