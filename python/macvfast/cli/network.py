"""The commands on networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.filters import chosen, network_filters, prune_filters, to_prune
from macvfast.cli.parameters import (
    LISTED_AS,
    AnyNetworkKeys,
    ListForm,
    NetworkKeys,
    NoTrunc,
    Quiet,
    drivers,
    filtering,
    ignored,
    keys_or_values,
    networks,
    offering,
    option,
    pairs,
)
from macvfast.cli.show.lists import Listing
from macvfast.cli.show.networks import INSPECTED, LISTED, inspected
from macvfast.errors import Conflict, NetworkNotFound, NotFound

if TYPE_CHECKING:
    from macvfast.cli.show.text import Object
    from macvfast.model import Network
    from macvfast.usage import NetworkUsage


def _filters_offered(call: Call, incomplete: str) -> list[str]:
    known = {key: one.values for key, one in network_filters(lambda _: ()).items()}
    live = {"name": lambda: networks(call), "driver": drivers, "scope": lambda: ["local"]}
    return keys_or_values(incomplete, known, live)


@command(
    "network ls",
    changes=False,
    listing=True,
    instead="`macvfast network inspect {}` shows one network, `macvfast network ls -f name={}` those of such a name",
    details=f"""\
{LISTED_AS}

Filters: name and id (a part, or a regular expression), driver, label=KEY or label=KEY=VALUE, type (builtin, custom),
dangling (true, false), scope, origin (cni, podman, docker: the engine that made it). Every key must match, and every
label; of several values of another key, one is enough.

IN USE shows of each subnet how many addresses endpoints have, and how many they can have automatically.

Also: macvfast network list.""",
    example="macvfast network ls -f driver=macvlan",
)
def ls(
    call: Call,
    *,
    quiet: Quiet = False,
    no_trunc: NoTrunc = False,
    filters: Annotated[
        list[str], filtering("-f, --filter", "Show only what matches; may be repeated.", _filters_offered)
    ],
    form: ListForm = "",
) -> int:
    """List networks."""
    listing = Listing(LISTED, form, quiet=quiet, whole=no_trunc)
    with call.host() as host:
        fits = chosen(pairs(filters), network_filters(host.endpoints))
        # How full pools are is counted only for those who see it.
        listed = host.pools() if listing.shows("InUse") else map(_not_counted, host.networks())
        listing.show(call.out, (one for one in listed if fits(one.network)))
    return 0


def _not_counted(network: Network) -> NetworkUsage:
    # Of no use where nothing is listed.
    from macvfast.usage import NetworkUsage  # noqa: PLC0415

    return NetworkUsage(network, ())


@command(
    "network inspect",
    changes=False,
    listing=True,
    details="""\
If some of the networks do not exist, the others are shown; the exit status is then 1. Several ip-ranges of one subnet
are separated by commas in its IPRange. Status counts the addresses of each subnet: IPsInUse are those in use or kept,
DynamicIPsAvailable those that can still be allocated automatically.

--format json prints the same on one line. A TEMPLATE prints the fields that it names of each network: {{.ID}},
{{json .Containers}}, {{range .IPAM.Config}}{{.Subnet}} {{end}}.""",
    example="macvfast network inspect pub_net",
)
def inspect(
    call: Call,
    keys: AnyNetworkKeys,
    *,
    form: Annotated[str, option("-f, --format FORMAT", "json, or a TEMPLATE.", autocompletion=offering("json"))] = "",
    more: Annotated[bool, ignored("-v, --verbose", "there is nothing more to show")] = False,  # noqa: ARG001
) -> int:
    """Show networks in full, as Docker's JSON."""
    from macvfast.cli.show.inspection import Inspection  # noqa: PLC0415

    inspection = Inspection(form, INSPECTED)
    # Which addresses are in use is looked up only for those who see it.
    counted = inspection.template is None or inspection.template.may_name("Status")
    with call.host() as host:

        def look(key: str) -> Object:
            network = host.network(key)
            return inspected(
                network, host.endpoints(network), host.usage(network) if counted else (), host.held(network),
                host.noted_endpoints(network),
            )  # fmt: skip

        return inspection.show(call.out, keys, look, (NotFound, Conflict))


@command(
    "network rm",
    details="""\
A parent that macvfast created is removed with its last network. If some of several networks cannot be removed, the
others are; the exit status is then 3.

Also: macvfast network remove.""",
    example="macvfast network rm pub_net",
)
def rm(
    call: Call,
    keys: NetworkKeys,
    *,
    force: Annotated[bool, option("-f, --force", "Ignore missing networks.")] = False,
) -> int:
    """Remove networks without endpoints, and print each as it was typed."""
    with call.host() as host:
        outcomes = host.remove_networks(keys)
    return call.report(outcomes, forgiven=NetworkNotFound if force else None)


def _prune_filters_offered(incomplete: str) -> list[str]:
    return keys_or_values(incomplete, dict.fromkeys(prune_filters({}), ()))


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
    force: Annotated[bool, option("-f, --force", "Do not ask for confirmation.")] = False,
    filters: Annotated[
        list[str], filtering("--filter", "Remove only what matches; may be repeated.", _prune_filters_offered)
    ],
) -> int:
    """Remove all networks without endpoints, and print their names below `Deleted Networks:`."""
    fits = to_prune(pairs(filters))
    warning = "This removes all networks that have no endpoints."
    if not force and not call.out.agrees(warning, "macvfast network prune -f"):
        return 0
    with call.host() as host:
        outcomes = host.prune_networks(fits)
    return call.report(outcomes, header="Deleted Networks:")
