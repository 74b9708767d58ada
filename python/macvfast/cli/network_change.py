"""The commands that create networks and change them."""

from __future__ import annotations

from typing import Annotated, Any

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import (
    NetworkKey,
    argument,
    cannot_be,
    check_labels,
    check_pairs,
    check_some,
    drivers,
    keys_or_values,
    labels,
    offering,
    option,
    pairs,
    refuse_no_pairs,
    repeated,
    split_commas,
)
from macvfast.options import OPTIONS, changeable_options, help_of, options_of


def _driver_options(call: Call, incomplete: str) -> list[str]:
    known = options_of(call.params.get("driver") or "macvlan")
    return keys_or_values(incomplete, {key: one.values for key, one in known.items()}, {"parent": _links})


def _check_options(call: Call, param: Any, value: list[str]) -> list[str]:
    """Refuse what is not KEY=VALUE."""
    return refuse_no_pairs(call, param, value, _meant)


def _meant(text: str) -> str:
    """What `-o eth0` and `-o parent = eth0` mean."""
    if text in OPTIONS:
        return f"without spaces: -o {text}={OPTIONS[text].metavar}"
    key, colon, given = text.partition(":")
    if colon and key in OPTIONS:
        return f"-o {key}={given}"
    return f"-o parent={text}" if text in _links() or text.rpartition(".")[0] in _links() else ""


def _links() -> list[str]:
    """The links that may be parents, as far as their names say it."""
    import socket  # noqa: PLC0415 - only completion and a mistake need it

    return [name for _, name in socket.if_nameindex() if name != "lo"]


@command(
    "network create",
    begins=True,
    details="""\
Each gateway, ip-range and aux address belongs to the subnet that contains it; the order does not matter.

Without --gateway, a gateway is chosen for each IPv4 subnet: the router of this host's default route if the subnet
contains it, otherwise the first free address of the ip-range, or of the subnet if the range has none. No gateway is
chosen with --internal, without a parent, in the ipvlan modes l3 and l3s, or for a /31 or /32. IPv6 routers announce
themselves.

Addresses of this host on the parent are never allocated. An IPv6 subnet switches IPv6 on.

Options of -o:

\b
"""
    + help_of(OPTIONS.values()),
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
        str, option("-d, --driver DRIVER", "macvlan (default) or ipvlan.", autocompletion=drivers)
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
            "Address that is never allocated (default name: the address).",
            callback=check_some,
        ),
    ],
    ipv4: Annotated[
        bool | None, option("--ipv4/--no-ipv4", "Whether it has IPv4 (default: where there is an IPv4 subnet).")
    ] = None,
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
            callback=_check_options,
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
        ipv4=ipv4,
        ipv6=ipv6,
        internal=internal,
        labels=labels(label),
    )
    with call.host() as host:
        network = host.create_network(request)
    call.out.line(network.id)
    return 0


def _aux(text: str) -> tuple[str, str]:
    """`NAME=ADDRESS`; an address without a name is its own name."""
    name, equals, address = text.partition("=")
    return (name, address) if equals else (text, text)


def _changeable(incomplete: str) -> list[str]:
    return keys_or_values(incomplete, {key: one.values for key, one in changeable_options().items()})


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
Endpoints keep their addresses, even outside a new ip-range. A gateway that was chosen automatically stays. A new
ip-range replaces all ranges of the subnet that contains it; other subnets keep theirs. Aux addresses and labels that
are not named stay. Nothing else of a network can be changed: remove the network and create it again.

Options of -o:

\b
"""
    + help_of(changeable_options().values()).replace(" (default)", ""),
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

    if not (ip_range or aux_address or label or opt):
        hint = "--ip-range, --aux-address, --label and -o change a network"
        raise call.wrong(f"`{call.command_path}` needs an option", "nothing is given that is to change", hint)
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
    """As `_aux`; an empty address removes the one of that name."""
    name, address = _aux(text)
    return name, address or (None if name else "")


def _changed_label(text: str) -> tuple[str, str | None]:
    """`KEY=VALUE` or `KEY`; `KEY-` removes the label."""
    key, equals, value = text.partition("=")
    return (key[:-1], None) if key.endswith("-") and not equals else (key, value)
