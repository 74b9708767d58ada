"""The commands on networks."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.filters import chosen, network_filters, prune_filters, to_prune
from macvfast.cli.parameters import (
    LISTED_AS,
    ListForm,
    NetworkKey,
    NetworkKeys,
    NoTrunc,
    Quiet,
    SandboxKey,
    argument,
    cannot_be,
    check_labels,
    check_pairs,
    check_some,
    keys_or_values,
    labels,
    networks,
    offering,
    option,
    pairs,
    repeated,
    split_commas,
)
from macvfast.cli.show.lists import Listing
from macvfast.cli.show.networks import INSPECTED, LISTED, inspected
from macvfast.cli.usage import wrong
from macvfast.errors import Conflict, EndpointNotFound, NetworkNotFound, NotFound, SandboxNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from macvfast.errors import MacvfastError


def _drivers() -> list[str]:
    from macvfast.model import MODES  # noqa: PLC0415 - a list needs none

    return list(MODES)


def _driver_options(call: Call, incomplete: str) -> list[str]:
    from macvfast.requests import driver_options  # noqa: PLC0415 - a list needs none

    known = driver_options(call.params.get("driver") or "macvlan")
    return keys_or_values(incomplete, known, lambda key: _links() if key == "parent" else known.get(key, ()))


def _links() -> list[str]:
    """The links that may be parents, as far as their names say it."""
    try:
        return [name for name in os.listdir("/sys/class/net") if name != "lo"]
    except OSError:
        return []


@command(
    "network create",
    begins=True,
    details="""\
Each gateway, ip-range and aux address belongs to the subnet that contains it; the order does not matter. Without
--gateway, the gateway of an IPv4 subnet is the router of this host's default route, where that is in it, else the first
free address of the ip-range, or else of the subnet; there is none with --internal, without a parent, in ipvlan l3 and
l3s, and on a /31 or /32. IPv6 routers announce themselves. Addresses of this host on the parent are never allocated. An
IPv6 subnet switches IPv6 on.

Options of -o:

\b
  parent=LINK        link of this host; a missing NAME.VID is created
  macvlan_mode=MODE  bridge (default), private, vepa, passthru
  ipvlan_mode=MODE   l2 (default), l3, l3s
  ipvlan_flag=FLAG   bridge (default), private, vepa
  mtu=BYTES          default: the parent's
  share_parent=BOOL  true: shared with networks that say so too
  ipam_order=ORDER   lowest (default): the lowest free address; or next
  ipv6_ra=WHETHER    on or off: whether IPv6 router advertisements are
                     accepted; default: on, but off with --internal and
                     with --gateway=none""",
    example="""\
macvfast network create -d macvlan \\
    --subnet=172.16.86.0/24 \\
    --gateway=172.16.86.1 \\
    -o parent=eth0 pub_net""",
)
def create(
    call: Call,
    name: Annotated[str, argument("NAME", "1 to 128 of A-Z a-z 0-9 _ . -, the first a letter or digit.")],
    *,
    driver: Annotated[
        str, option("-d, --driver DRIVER", "macvlan (default) or ipvlan.", autocompletion=_drivers)
    ] = "macvlan",
    subnet: Annotated[list[str], repeated("--subnet CIDR", "Subnet; may be repeated.", callback=split_commas)],
    ip_range: Annotated[
        list[str], repeated("--ip-range CIDR|FIRST-LAST", "Range for automatic allocation.", callback=split_commas)
    ],
    gateway: Annotated[
        list[str],
        repeated(
            "--gateway ADDRESS|none",
            "Gateway of a subnet; none: no subnet gets an automatic one.",
            callback=split_commas,
            autocompletion=offering("none"),
        ),
    ],
    aux_address: Annotated[
        list[str],
        repeated(
            "--aux-address [NAME=]ADDRESS",
            "Address that is never allocated; its name, where none is given, is the address.",
            callback=check_some,
        ),
    ],
    ipv6: Annotated[
        bool | None, option("--ipv6/--no-ipv6", "Whether endpoints have IPv6 (default: where there is an IPv6 subnet).")
    ] = None,
    internal: Annotated[bool, option("--internal", "No default route in sandboxes.")] = False,
    label: Annotated[
        list[str], repeated("--label KEY[=VALUE]", "Label, for filters; may be repeated.", callback=check_labels)
    ],
    opt: Annotated[
        list[str],
        repeated(
            "-o, --opt KEY=VALUE",
            "Option of the driver; may be repeated.",
            callback=check_pairs,
            autocompletion=_driver_options,
        ),
    ],
) -> int:
    """Create a network on a parent link, and print its id."""
    from macvfast.requests import NetworkRequest  # noqa: PLC0415 - a list needs none

    request = NetworkRequest.from_options(
        name,
        driver=driver or "macvlan",
        options=pairs(opt),
        subnets=tuple(subnet),
        ip_ranges=tuple(ip_range),
        gateways=tuple(one for one in gateway if one != "none"),
        gateway_automatic="none" not in gateway,
        aux=tuple(_aux(text) for text in aux_address),
        ipv6=ipv6,
        internal=internal,
        labels=labels(label),
    )
    with call.host() as host:
        network = host.create_network(request)
    call.out.line(network.id)
    return 0


def _aux(text: str) -> tuple[str, str]:
    """`NAME=ADDRESS`; an address without a name, as the guide's prose has it, is its own name."""
    name, equals, address = text.partition("=")
    return (name, address) if equals else (text, text)


def _filters_offered(call: Call, incomplete: str) -> list[str]:
    filters = network_filters(lambda _: ())

    def values(key: str) -> Iterable[str]:
        match key:
            case "name":
                return networks(call)
            case "driver":
                return _drivers()
            case "scope":
                return ["local"]
        return filters[key].values if key in filters else ()

    return keys_or_values(incomplete, filters, values)


@command(
    "network ls",
    aliases=("list",),
    changes=False,
    listing=True,
    details=f"""\
{LISTED_AS}

Filters: name and id (a part, or a regular expression), driver, label=KEY or label=KEY=VALUE, type (builtin, custom),
dangling (true, false), scope. Different keys must all match; of one key, any value may match, but all labels must.

Also: macvfast network list.""",
    example="macvfast network ls -f driver=macvlan",
)
def ls(
    call: Call,
    *,
    quiet: Quiet = False,
    no_trunc: NoTrunc = False,
    filters: Annotated[
        list[str],
        repeated(
            "-f, --filter KEY=VALUE",
            "Show only what matches; may be repeated.",
            callback=check_pairs,
            autocompletion=_filters_offered,
        ),
    ],
    form: ListForm = "",
) -> int:
    """List networks."""
    listing = Listing(LISTED, form, quiet=quiet, whole=no_trunc)
    with call.host() as host:
        fits = chosen(pairs(filters), network_filters(host.endpoints))
        listing.show(call.out, filter(fits, host.networks()))
    return 0


@command(
    "network inspect",
    changes=False,
    listing=True,
    details="""\
Those that exist are shown even where others do not; the exit status is then 1. Several ip-ranges of one subnet are
separated by commas in its IPRange. --format json prints the same on one line. A TEMPLATE prints what it asks of each
network: {{.Id}}, {{json .Containers}}, {{range .IPAM.Config}}{{.Subnet}} {{end}}.""",
    example="macvfast network inspect pub_net",
)
def inspect(
    call: Call,
    keys: NetworkKeys,
    *,
    form: Annotated[str, option("-f, --format FORMAT", "json, or a TEMPLATE.", autocompletion=offering("json"))] = "",
    more: Annotated[  # noqa: ARG001 - for Docker's sake
        bool, option("-v, --verbose", "Accepted for compatibility; there is nothing more to show.")
    ] = False,
) -> int:
    """Show networks in full, as Docker's JSON."""
    from macvfast.cli.show.templates import Template  # noqa: PLC0415

    template = Template(form, INSPECTED) if form not in ("", "json") else None
    found: list[dict[str, object]] = []
    missing: list[MacvfastError] = []
    with call.host() as host:
        for key in keys:
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


def _changeable(incomplete: str) -> list[str]:
    from macvfast.requests import changeable_options  # noqa: PLC0415 - a list needs none

    known = changeable_options()
    return keys_or_values(incomplete, known, lambda key: known.get(key, ()))


def _check_changed_labels(call: Call, param: Any, value: list[str]) -> list[str]:
    """Refuse what names no label."""
    for text in value or []:
        if text == "-":
            raise cannot_be(call, param, text, f"it has the form {param.metavar}")
    return check_labels(call, param, value)


def _check_ranges(call: Call, param: Any, value: list[str]) -> list[str]:
    """Refuse `none` beside ip-ranges."""
    given: list[str] = split_commas(call, param, value)
    if "none" in given and len(given) > 1:
        raise cannot_be(call, param, "none", "it clears all ip-ranges, and others are given")
    return given


@command(
    "network update",
    details="""\
Endpoints keep their addresses, also those outside a new ip-range. A gateway that was chosen automatically stays. An
ip-range replaces those of the subnet that contains it; other subnets keep theirs. Aux addresses and labels that are not
named stay as they are. Nothing else of a network can be changed: remove it and create it again.

Options of -o:

\b
  share_parent=BOOL  whether others with this option may use the parent
  ipam_order=ORDER   lowest: the lowest free address; or next""",
    example="macvfast network update --ip-range=172.16.86.128/25 pub_net",
)
def update(
    call: Call,
    key: NetworkKey,
    *,
    ip_range: Annotated[
        list[str],
        repeated(
            "--ip-range CIDR|FIRST-LAST|none",
            "Range for automatic allocation; none: clear all ip-ranges.",
            callback=_check_ranges,
            autocompletion=offering("none"),
        ),
    ],
    aux_address: Annotated[
        list[str],
        repeated(
            "--aux-address [NAME=]ADDRESS|NAME=",
            "Address that is never allocated; NAME=: remove that of this name.",
            callback=check_some,
        ),
    ],
    label: Annotated[
        list[str],
        repeated("--label KEY[=VALUE]|KEY-", "Label, for filters; KEY-: remove it.", callback=_check_changed_labels),
    ],
    opt: Annotated[
        list[str],
        repeated(
            "-o, --opt KEY=VALUE",
            "Option of the network; may be repeated.",
            callback=check_pairs,
            autocompletion=_changeable,
        ),
    ],
) -> int:
    """Change a network in use without touching its endpoints, and print its name."""
    from macvfast.requests import UpdateRequest  # noqa: PLC0415 - a list needs none

    request = UpdateRequest.from_options(
        pairs(opt),
        ip_ranges=None if not ip_range else () if ip_range == ["none"] else tuple(ip_range),
        aux=tuple(_changed_aux(text) for text in aux_address),
        labels=tuple(_changed_label(text) for text in label),
    )
    with call.host() as host:
        network = host.update_network(key, request)
    call.out.line(network.name)
    return 0


def _changed_aux(text: str) -> tuple[str, str | None]:
    """As `_aux`; with an empty address, that of the name is taken away."""
    name, address = _aux(text)
    return name, address or (None if name else "")


def _changed_label(text: str) -> tuple[str, str | None]:
    """`KEY=VALUE` or `KEY`; `KEY-` takes the label away."""
    key, equals, value = text.partition("=")
    return (key[:-1], None) if key.endswith("-") and not equals else (key, value)


@command(
    "network rm",
    aliases=("remove",),
    details="""\
A parent that macvfast created is removed with its last network. Of several networks, those that can be are removed; the
exit status is then 3.

Also: macvfast network remove.""",
    example="macvfast network rm pub_net",
)
def rm(
    call: Call,
    keys: NetworkKeys,
    *,
    force: Annotated[bool, option("-f, --force", "Ignore missing networks.")] = False,
) -> int:
    """Remove networks without endpoints, and print each as it was given."""
    with call.host() as host:
        outcomes = host.remove_networks(keys)
    return call.report(outcomes, forgiven=NetworkNotFound if force else None)


def _prune_filters_offered(incomplete: str) -> list[str]:
    return keys_or_values(incomplete, prune_filters({}), lambda _: ())


@command(
    "network prune",
    details="""\
Filters: until=TIME (created before: 10m, 1h30m, 2026-08-20T07:41:09, or seconds since 1970), label=KEY,
label=KEY=VALUE, label!=KEY, label!=KEY=VALUE; all must match.""",
    example="macvfast network prune -f --filter until=24h",
)
def prune(
    call: Call,
    *,
    force: Annotated[bool, option("-f, --force", "Do not ask.")] = False,
    filters: Annotated[
        list[str],
        repeated(
            "--filter KEY=VALUE",
            "Remove only what matches; may be repeated.",
            callback=check_pairs,
            autocompletion=_prune_filters_offered,
        ),
    ],
) -> int:
    """Remove all networks without endpoints, and print their names."""
    fits = to_prune(pairs(filters))
    warning = "This removes all networks that have no endpoints."
    if not force and not call.out.agrees(warning, "macvfast network prune -f"):
        return 0
    with call.host() as host:
        outcomes = host.prune_networks(fits)
    return call.report(outcomes)


def _namespace_of(call: Call, param: Any, value: str | None) -> str | None:
    """The network namespace of a process, by its path."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and value.strip("0")):
        raise cannot_be(call, param, value, "it is the number of a process")
    return f"/proc/{int(value)}/ns/net"


@command(
    "network connect",
    details="""\
With --netns or --pid, SANDBOX is the name of a new sandbox that stands for that namespace, or of one that already does;
macvfast then creates and removes only its own links there.""",
    example="macvfast network connect --ip=172.16.86.10 pub_net web",
)
def connect(
    call: Call,
    network: NetworkKey,
    sandbox: SandboxKey,
    *,
    ip: Annotated[str | None, option("--ip ADDRESS", "IPv4 address (default: the lowest free one).")] = None,
    ip6: Annotated[str | None, option("--ip6 ADDRESS", "IPv6 address (default: the lowest free one).")] = None,
    mac_address: Annotated[
        str | None, option("--mac-address MAC", "MAC address (default: derived from the IP address).")
    ] = None,
    netns: Annotated[
        str | None, option("--netns PATH", "Path of an existing network namespace.", callback=check_some)
    ] = None,
    pid: Annotated[str | None, option("--pid PID", "Network namespace of a process.", callback=_namespace_of)] = None,
) -> int:
    """Connect a sandbox to a network."""
    if netns is not None and pid is not None:
        raise wrong(
            "options `--netns` and `--pid` cannot be given together",
            "each names the one namespace to connect",
            command=call.command_path,
        )
    with call.host() as host:
        host.connect(network, sandbox, ip=ip, ip6=ip6, mac=mac_address, netns=netns or pid)
    return 0


@command("network disconnect", example="macvfast network disconnect pub_net web")
def disconnect(
    call: Call,
    network: NetworkKey,
    sandbox: SandboxKey,
    *,
    force: Annotated[bool, option("-f, --force", "Ignore a missing sandbox or endpoint.")] = False,
) -> int:
    """Disconnect a sandbox from a network."""
    gone = (EndpointNotFound, SandboxNotFound) if force else ()
    with call.host() as host, suppress(*gone):
        host.disconnect(network, sandbox)
    return 0


@command(
    "network import docker",
    begins=True,
    details="""\
Reads what `docker network inspect` prints from FILE (`-`: standard input), or else asks the Engine. The output is a
shell script, which also names what cannot be taken over. Docker's own networks are left as they are: remove them there
before their parents are used here.""",
    example="macvfast network import docker",
)
def import_docker(
    call: Call,
    file: Annotated[str | None, argument("[FILE]", "The output of `docker network inspect NETWORK...`.")] = None,
    *,
    socket: Annotated[
        str | None,
        option("--socket PATH", "The Engine's socket (default: that of DOCKER_HOST, or /var/run/docker.sock)."),
    ] = None,
    apply: Annotated[bool, option("--apply", "Create the networks; print their names.")] = False,
) -> int:
    """Take over Docker's macvlan and ipvlan networks: show how or, with --apply, create them."""
    from macvfast.cli.importing.command import docker  # noqa: PLC0415 - a list needs none

    return docker(call, file, socket, apply=apply)
