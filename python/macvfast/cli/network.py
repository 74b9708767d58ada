"""The commands on networks."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from macvfast.cli.filters import Filter, chosen, has_label, matches, to_prune
from macvfast.cli.show.lists import Listing
from macvfast.cli.show.networks import INSPECTED, LISTED, inspected
from macvfast.cli.usage import Usage, given_nothing, see_help
from macvfast.errors import Conflict, EndpointNotFound, NetworkNotFound, NotFound, SandboxNotFound

if TYPE_CHECKING:
    from macvfast.cli.arguments import Given
    from macvfast.cli.dispatch import Call
    from macvfast.errors import MacvfastError
    from macvfast.host import Host
    from macvfast.model import Network
    from macvfast.requests import NetworkRequest


def create(call: Call) -> int:
    """`network create`."""
    request = requested(call.given)
    with call.host() as host:
        network = host.create_network(request)
    call.out.line(network.id)
    return 0


def requested(given: Given) -> NetworkRequest:
    """The network that a `network create` asks for.

    Raises:
        NameInvalid, OptionUnknown, OptionInvalid
    """
    from macvfast.requests import NetworkRequest  # noqa: PLC0415 - a list needs none

    gateways = given.many("gateway")
    return NetworkRequest.from_options(
        given.words[0],
        driver=given.text("driver") or "macvlan",
        options=given.pairs("opt"),
        subnets=given.many("subnet"),
        ip_ranges=given.many("ip-range"),
        gateways=tuple(gateway for gateway in gateways if gateway != "none"),
        gateway_automatic="none" not in gateways,
        aux=tuple(_aux(text) for text in given.many("aux-address")),
        ipv6=given.choice("ipv6"),
        internal=given.flag("internal"),
        labels=tuple(dict(given.pairs("label")).items()),
    )


def _aux(text: str) -> tuple[str, str]:
    """`NAME=ADDRESS`; an address without a name, as the guide's prose has it, is its own name."""
    name, equals, address = text.partition("=")
    return (name, address) if equals else (text, text)


def ls(call: Call) -> int:
    """`network ls`."""
    listing = Listing(
        LISTED, call.given.text("format"), quiet=call.given.flag("quiet"), whole=call.given.flag("no-trunc")
    )
    with call.host() as host:
        fits = chosen(call.given.pairs("filter"), _filters(host))
        listing.show(call.out, filter(fits, host.networks()))
    return 0


def _filters(host: Host) -> dict[str, Filter[Network]]:
    return {
        "name": Filter(lambda network, value: matches(network.name, value)),
        "id": Filter(lambda network, value: matches(network.id, value)),
        "driver": Filter(lambda network, value: network.driver == value),
        "label": Filter(lambda network, value: has_label(network.labels, value)),
        "scope": Filter(lambda _, value: value == "local"),
        # Docker's own networks (bridge, host, none) are builtin.
        "type": Filter(lambda _, value: value == "custom", ("builtin", "custom")),
        "dangling": Filter(
            lambda network, value: (value in ("true", "1")) != bool(host.endpoints(network)),
            ("true", "false", "1", "0"),
        ),
    }


def inspect(call: Call) -> int:
    """`network inspect`."""
    from macvfast.cli.show.templates import Template  # noqa: PLC0415

    given = call.given
    form = given.text("format") or ""
    template = Template(form, INSPECTED) if form not in ("", "json") else None
    found: list[dict[str, object]] = []
    missing: list[MacvfastError] = []
    with call.host() as host:
        for key in given.words:
            try:
                network = host.network(key)
                found.append(inspected(network, host.endpoints(network)))
            except (NotFound, Conflict) as error:
                missing.append(error)
    if template is not None:
        call.out.lines(template.render(one) for one in found)
    elif form == "json":
        call.out.json_lines([found])
    else:
        call.out.json_document(found)
    for problem in missing:
        call.out.problem(problem)
    return 1 if missing else 0


def rm(call: Call) -> int:
    """`network rm`."""
    with call.host() as host:
        outcomes = host.remove_networks(call.given.words)
    return call.report(outcomes, forgiven=NetworkNotFound if call.given.flag("force") else None)


def prune(call: Call) -> int:
    """`network prune`."""
    fits = to_prune(call.given.pairs("filter"))
    question = "This removes all networks that have no endpoints."
    if not (call.given.flag("force") or call.out.agrees(question, "macvfast network prune -f")):
        return 0
    with call.host() as host:
        outcomes = host.prune_networks(fits)
    return call.report(outcomes)


def connect(call: Call) -> int:
    """`network connect`."""
    given = call.given
    network, sandbox = given.words
    with call.host() as host:
        host.connect(
            network,
            sandbox,
            ip=given.text("ip"),
            ip6=given.text("ip6"),
            mac=given.text("mac-address"),
            netns=_netns(given.text("netns"), given.text("pid")),
        )
    return 0


def _netns(path: str | None, pid: str | None) -> str | None:
    """The namespace of `--netns` or `--pid` as a path."""
    hints = [see_help("macvfast network connect")]
    if path is not None and pid is not None:
        raise Usage(
            "options `--netns` and `--pid` cannot be given together",
            causes=["each names the one namespace to connect"],
            hints=hints,
        )
    if path == "":
        raise given_nothing("--netns", "macvfast network connect", "PATH")
    if pid is None:
        return path
    if not (pid.isascii() and pid.isdigit() and pid.strip("0")):
        raise Usage(f"option `--pid` cannot be `{pid}`", causes=["it is the number of a process"], hints=hints)
    return f"/proc/{int(pid)}/ns/net"


def disconnect(call: Call) -> int:
    """`network disconnect`."""
    network, sandbox = call.given.words
    gone = (EndpointNotFound, SandboxNotFound) if call.given.flag("force") else ()
    with call.host() as host, suppress(*gone):
        host.disconnect(network, sandbox)
    return 0
