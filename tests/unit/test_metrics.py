"""The metrics, read by Prometheus's own parser, and the page that lists them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from macvfast.outcomes import Calls, ServerStatus
from tests.unit import cli_bed
from tests.unit.cli_bed import DUAL, EXITED, RUNNING, FakeHost, typed

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
SERVER = ServerStatus(
    pid=4242, version="0.1.0", since=datetime(2026, 8, 20, 7, 41, 9, tzinfo=UTC), running=2, waiting=1,
    calls=(
        Calls("network ls", "ok", 3, 0.25, (0.01, 0.1), (1, 2)),
        Calls("run", "failed", 1, 0.5, (0.01, 0.1), (0, 0)),
    ),
    requests=(
        Calls("connect", "ok", 5, 0.125, (0.01, 0.1), (4, 5)),
        Calls("check", "failed", 1, 1.0, (0.01, 0.1), (0, 0)),
    ),
    requests_running=7,
)  # fmt: skip


def read(host: FakeHost) -> dict[str, Metric]:
    said = typed("metrics", host)
    assert (said.status, said.err) == (0, "")
    families = text_string_to_metric_families(said.out)  # type: ignore[no-untyped-call]
    return {family.name: family for family in families}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    """Samples by the values of their labels."""
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_sandboxes_are_counted_by_their_states() -> None:
    found = read(FakeHost(sandboxes=[RUNNING, EXITED, EXITED]))
    assert values(found["macvfast_sandboxes"]) == {
        ("idle",): 0,
        ("running",): 1,
        ("exited",): 2,
        ("restarting",): 0,
        ("lost",): 0,
    }


def test_each_subnet_says_how_full_it_is() -> None:
    found = read(FakeHost(networks=[DUAL]))
    v6, v4 = ("dual", "2001:db8:abc8::/64"), ("dual", "192.168.32.0/24")
    assert values(found["macvfast_subnet_addresses"]) == {v6: 2**64, v4: 256}
    # 128 of the one range and 10 of the other, without the broadcast and an aux address in the first.
    assert values(found["macvfast_subnet_automatic_addresses"])[v4] == 138
    assert values(found["macvfast_subnet_free_addresses"])[v4] == 136
    assert values(found["macvfast_subnet_largest_free_addresses"])[v4] == 122


def test_a_name_with_any_characters_is_what_is_read_back() -> None:
    name = 'a\\b"c\nd'
    found = read(FakeHost(networks=[cli_bed.network(name)]))
    assert list(values(found["macvfast_subnet_addresses"])) == [(name, "172.16.86.0/24")]


def test_with_a_server_its_commands_and_requests_are_counted_and_timed() -> None:
    assert values(read(FakeHost())["macvfast_server_up"]) == {(): 0}
    found = read(FakeHost(server=SERVER))
    assert values(found["macvfast_server_up"]) == {(): 1}
    assert values(found["macvfast_server_running"]) == {(): 2}
    assert values(found["macvfast_server_waiting"]) == {(): 1}
    assert values(found["macvfast_server_requests_running"]) == {(): 7}
    of_requests = values(found["macvfast_server_request_duration_seconds"])
    assert of_requests["connect", "ok", "0.01"] == 4
    assert of_requests["check", "failed", "+Inf"] == 1
    samples = found["macvfast_server_command_duration_seconds"].samples
    of_ls = {(one.name.rpartition("_")[2], one.labels.get("le")): one.value for one in samples[:5]}
    assert {one.labels["command"] for one in samples[:5]} == {"network ls"}
    assert of_ls == {
        ("bucket", "0.01"): 1, ("bucket", "0.1"): 2, ("bucket", "+Inf"): 3, ("count", None): 3, ("sum", None): 0.25,
    }  # fmt: skip


@pytest.mark.parametrize("server", [None, SERVER])
def test_the_page_lists_each_metric_with_its_type_and_labels_and_no_other(server: ServerStatus | None) -> None:
    """Dashboards and alerts are written from it."""
    found = read(FakeHost(networks=[DUAL], sandboxes=[RUNNING], server=server))
    rows = re.findall(r"^\| `(macvfast_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    if server is None:
        rows = [row for row in rows if not row[0].startswith("macvfast_server_") or row[0] == "macvfast_server_up"]
    shown = []
    for family in found.values():
        labels = [name for name in family.samples[0].labels if name != "le"]
        name = f"{family.name}_info" if family.type == "info" else family.name
        shown.append((name, family.type, ", ".join(f"`{label}`" for label in labels)))
    assert shown == [(name, kind, labels.strip()) for name, kind, labels in rows]


# status


def test_status_says_what_is_there_and_that_there_is_no_server() -> None:
    said = typed("status", FakeHost(networks=[DUAL], sandboxes=[RUNNING]))
    assert said.out.splitlines() == [
        "Server:          none", "State directory: /var/lib/macvfast", "Networks:        1", "Sandboxes:       1",
        "Endpoints:       1",
    ]  # fmt: skip


def test_status_says_what_the_server_does() -> None:
    said = typed("status", FakeHost(server=SERVER)).out.splitlines()[0]
    since = "since 2026-08-20T07:41:09Z: 4 commands done, 2 running, 1 waiting"
    requests = "6 requests of plugins done, 7 running"
    assert said == f"Server:          pid 4242, version 0.1.0, {since}; {requests}"
    assert json.loads(typed("status --format json", FakeHost(server=SERVER)).out)["Server"] == {
        "Pid": 4242, "Version": "0.1.0", "Since": "2026-08-20T07:41:09Z", "Served": 4, "Running": 2, "Waiting": 1,
        "RequestsServed": 6, "RequestsRunning": 7,
    }  # fmt: skip
    assert json.loads(typed("status --format json", FakeHost()).out) == {
        "Server": None, "StateDirectory": "/var/lib/macvfast", "Networks": 0, "Sandboxes": 0, "Endpoints": 0,
        "CrashingDocker": None,
    }  # fmt: skip
