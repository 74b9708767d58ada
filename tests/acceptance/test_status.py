"""`macvfast status` and `macvfast metrics` of a host with networks and sandboxes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.acceptance.support import create_pub_net

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def metrics(lan: Lan) -> dict[tuple[str, ...], float]:
    """Samples by name and the values of their labels."""
    families = text_string_to_metric_families(lan.macvfast("metrics"))  # type: ignore[no-untyped-call]
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_what_is_recorded_is_counted(lan: Lan) -> None:
    create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=idle")
    lan.macvfast("run", "-d", "--net=pub_net", "--name=busy", "sleep", "1000")
    lan.macvfast("create", "--name=apart")
    found = json.loads(lan.macvfast("status", "--format=json"))
    assert (found["Networks"], found["Sandboxes"], found["Endpoints"]) == (1, 3, 2)
    assert found["StateDirectory"] == str(lan.state_dir)
    said = metrics(lan)
    assert said["macvfast_sandboxes", "idle"] == 2
    assert said["macvfast_sandboxes", "running"] == 1
    subnet = "pub_net", "172.16.86.0/24"
    assert said["macvfast_subnet_used_addresses", *subnet] == 2
    shown = json.loads(lan.macvfast("ipam", "show", "pub_net", "--format=json"))[0]
    assert said["macvfast_subnet_free_addresses", *subnet] == shown["Automatic"]["Free"]
