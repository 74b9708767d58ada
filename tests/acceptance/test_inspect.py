"""`macvfast inspect`: a sandbox as Docker shows a container."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import netns
from tests.acceptance.support import check_error, create_pub_net, link_of, ps

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def _inspect(lan: Lan, *names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lan.macvfast("inspect", *names))
    return found


def test_it_shows_the_command_its_state_and_its_place_on_the_network(lan: Lan) -> None:
    network = create_pub_net(lan)
    id_ = lan.macvfast(
        *("run", "-d", "--name=web", "--net=pub_net", "--ip=172.16.86.10", "-l", "tier=front", "-e", "TOKEN=hunter2"),
        *("-w/tmp", "-u0", "--restart=on-failure:4", "sh", "-c", "sleep 1000"),
    )
    (web,) = _inspect(lan, "web")
    assert (web["Id"], web["Name"], web["Path"], web["Args"]) == (id_, "web", "sh", ["-c", "sleep 1000"])
    state = web["State"]
    assert (state["Status"], state["Running"], state["Restarting"], state["ExitCode"]) == ("running", True, False, 0)
    assert Path(f"/proc/{state['Pid']}/ns/net").stat().st_ino == lan.sandbox("web").inode
    assert web["HostConfig"] == {
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 4}, "AutoRemove": False,
    }  # fmt: skip
    assert web["Config"] == {
        "Hostname": "web", "User": "0", "Tty": False, "OpenStdin": False, "Env": ["TOKEN"],
        "Cmd": ["sh", "-c", "sleep 1000"], "WorkingDir": "/tmp", "Rootfs": "", "Labels": {"tier": "front"},
    }  # fmt: skip
    link = link_of(lan, "web")
    assert web["NetworkSettings"]["SandboxKey"] == str(lan.netns_dir / "web")
    shown = web["NetworkSettings"]["Networks"]["pub_net"]
    assert (shown["NetworkID"], shown["IPAddress"], shown["IPPrefixLen"]) == (network, "172.16.86.10", 24)
    assert (shown["Gateway"], shown["MacAddress"]) == ("172.16.86.1", link["address"])
    assert (shown["Ifname"], shown["Ifindex"]) == ("eth0", link["ifindex"])
    assert "hunter2" not in lan.macvfast("inspect", "web")


def test_a_sandbox_without_a_command_has_the_same_keys(lan: Lan) -> None:
    lan.macvfast("create", "--name=idle")
    lan.macvfast("run", "--name=done", "true")
    idle, done = _inspect(lan, "idle", "done")
    assert idle.keys() == done.keys()
    assert (idle["State"]["Status"], idle["Path"], idle["State"]["Pid"]) == ("idle", "", 0)
    assert (done["State"]["Status"], done["State"]["ExitCode"]) == ("exited", 0)


def test_it_counts_how_often_a_command_was_run_again(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=web", "--restart=always", "false")
    netns.wait_until(lambda: _inspect(lan, "web")[0]["RestartCount"] >= 4, what="four restarts")
    netns.wait_until(lambda: _inspect(lan, "web")[0]["State"]["Restarting"], what="a pause")
    assert _inspect(lan, "web")[0]["State"]["ExitCode"] == 1


def test_a_template_prints_the_fields_that_it_names_and_refuses_others(lan: Lan) -> None:
    create_pub_net(lan)
    lan.macvfast("run", "-d", "--name=web", "--net=pub_net", "sleep", "1000")
    template = "{{.State.Status}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}{{.RestartCount}}"
    assert lan.macvfast("inspect", "-f", template, "web") == "running 172.16.86.2 0"
    assert lan.macvfast("inspect", "-f", "{{.State.Pid}}", "web").isdigit()
    check_error(lan.attempt("inspect", "-f", "{{.Mounts}}", "web"), 2)


def test_what_is_there_is_shown_and_what_is_not_is_an_error(lan: Lan) -> None:
    create_pub_net(lan)
    lan.macvfast("create", "--name=web")
    done = lan.attempt("inspect", "nobody", "web", "pub_net")
    said = check_error(done, 1, errors=2)
    assert [one["Name"] for one in json.loads(done.stdout)] == ["web"]
    assert "sandbox `nobody` not found" in said
    assert "`macvfast network inspect pub_net`" in said
    assert ps(lan, "web")["State"] == "idle"


def test_one_that_is_damaged_keeps_no_other_from_being_shown(lan: Lan) -> None:
    for name in ("web", "db"):
        lan.macvfast("run", f"--name={name}", "true")
    (lan.state_dir / "sandboxes" / str(ps(lan, "web")["ID"]) / "command.json").write_text("{")
    done = lan.attempt("inspect", "db", "web")
    assert "command.json is damaged" in check_error(done, 1)
    assert [one["Name"] for one in json.loads(done.stdout)] == ["db"]
