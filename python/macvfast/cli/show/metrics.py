"""How things are as metrics, in the text format of OpenMetrics 1.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from macvfast import __version__
from macvfast.model import SandboxState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from macvfast.model import Network
    from macvfast.outcomes import Calls, ServerStatus, Status, SubnetUsage

    # The end of the sample's name, its labels, its value.
    Sample = tuple[str, Mapping[str, str], float]


# Of each subnet: what there is of addresses, and how it is read.
_SUBNET: dict[str, tuple[str, Callable[[SubnetUsage], int]]] = {
    "addresses": ("Addresses of the subnet.", lambda one: one.total.size),
    "used_addresses": ("Addresses that endpoints have.", lambda one: one.total.in_use),
    "automatic_addresses": ("Addresses that may be given automatically.", lambda one: one.automatic_size),
    "free_addresses": ("Free ones of those.", lambda one: one.automatic_free),
    "largest_free_addresses": ("The longest run of free ones.", lambda one: one.automatic_run),
}


class Reading(NamedTuple):
    """What the metrics are made from, as of now."""

    status: Status
    states: Mapping[SandboxState, int]
    networks: Sequence[tuple[Network, Sequence[SubnetUsage]]]


class Family(NamedTuple):
    """One metric with all its samples.

    Attributes:
        name, kind, about: its name, its type, and what it counts, as monitoring shows it.
        samples: none of them: it is left out.
    """

    name: str
    kind: str
    about: str
    samples: Iterable[Sample]


def exposition(reading: Reading) -> Iterator[str]:
    """The lines of all metrics."""
    for family in families(reading):
        samples = list(family.samples)
        if samples:
            yield f"# TYPE {family.name} {family.kind}"
            yield f"# HELP {family.name} {family.about}"
            yield from (f"{family.name}{end}{_labels(labels)} {_number(value)}" for end, labels, value in samples)
    yield "# EOF"


def families(reading: Reading) -> list[Family]:
    """All metrics; docs/metrics.md lists them."""
    status, server = reading.status, reading.status.server
    return [
        Family("macvfast_build", "info", "The macvfast that was asked.", [("_info", {"version": __version__}, 1)]),
        Family("macvfast_networks", "gauge", "Networks.", [("", {}, status.networks)]),
        Family("macvfast_endpoints", "gauge", "Endpoints of all sandboxes.", [("", {}, status.endpoints)]),
        Family("macvfast_sandboxes", "gauge", "Sandboxes by what their command does.", _by_state(reading.states)),
        *_of_subnets(reading.networks),
        Family("macvfast_server_up", "gauge", "Whether a server runs.", [("", {}, server is not None)]),
        *(_of_server(server) if server is not None else []),
    ]


def _by_state(states: Mapping[SandboxState, int]) -> Iterator[Sample]:
    for state in SandboxState:
        yield "", {"state": state.value}, states.get(state, 0)


def _of_subnets(networks: Sequence[tuple[Network, Sequence[SubnetUsage]]]) -> Iterator[Family]:
    labelled = [
        ({"network": network.name, "subnet": str(one.subnet.cidr)}, one)
        for network, subnets in networks
        for one in subnets
    ]
    for name, (about, value) in _SUBNET.items():
        yield Family(f"macvfast_subnet_{name}", "gauge", about, [("", labels, value(one)) for labels, one in labelled])


def _of_server(server: ServerStatus) -> list[Family]:
    started = server.since.timestamp()
    return [
        Family("macvfast_server_start_time_seconds", "gauge", "When it started.", [("", {}, started)]),
        Family("macvfast_server_running", "gauge", "Commands that have begun.", [("", {}, server.running)]),
        Family("macvfast_server_waiting", "gauge", "Commands not taken yet.", [("", {}, server.waiting)]),
        Family(
            "macvfast_server_command_duration_seconds", "histogram", "Commands that the server has done.",
            (sample for calls in server.calls for sample in _histogram("command", calls)),
        ),
        Family(
            "macvfast_server_requests_running", "gauge", "Requests of plugins that have begun.",
            [("", {}, server.requests_running)],
        ),
        Family(
            "macvfast_server_request_duration_seconds", "histogram", "Requests of plugins that the server has done.",
            (sample for calls in server.requests for sample in _histogram("request", calls)),
        ),
    ]  # fmt: skip


def _histogram(what: str, calls: Calls) -> Iterator[Sample]:
    labels = {what: calls.kind, "outcome": calls.outcome}
    for bound, count in zip(calls.bounds_s, calls.within, strict=True):
        yield "_bucket", {**labels, "le": repr(bound)}, count
    yield "_bucket", {**labels, "le": "+Inf"}, calls.count
    yield "_count", labels, calls.count
    yield "_sum", labels, calls.seconds


def _labels(labels: Mapping[str, str]) -> str:
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{shown}}}" if shown else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """An integer in full, however large: a subnet of IPv6 has more addresses than a float is exact for."""
    return str(int(value)) if isinstance(value, int) else repr(value)
