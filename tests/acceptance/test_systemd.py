"""The units of `service install` under a real systemd."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.errors import ServerLost
from tests import netns
from tests.acceptance import support
from tests.acceptance.serving import COMMAND
from tests.systemd import Systemd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan", "systemd")

SERVICES = Path(__file__).parents[2] / "docs/services.md"


@pytest.fixture
def systemd(lan: Lan, tmp_path: Path) -> Iterator[Systemd]:
    if lan.server is not None:
        pytest.skip("another server does the commands")
    with Systemd(lan.host, tmp_path) as made:
        # Where root alone may write to the tests, `--now` would do the rest.
        made.run(COMMAND, "service", "install", "--root=/")
        made.run("systemctl", "daemon-reload")
        made.run("systemctl", "start", "macvfast.socket")
        yield made
        made.run(COMMAND, "rm", "--force", "nothing", *made.run(COMMAND, "ps", "--all", "--quiet").split())


def server(systemd: Systemd) -> dict[str, Any]:
    """What the server says of itself."""
    shown: dict[str, Any] = json.loads(systemd.run(COMMAND, "status", "--format=json"))
    return shown["Server"] or {}


def be_served(systemd: Systemd) -> None:
    """Type commands until a server has done one: systemd starts it for the first, which may not wait for it."""

    def served() -> bool:
        systemd.run(COMMAND, "network", "ls")
        return bool(server(systemd).get("Served"))

    netns.wait_until(served, timeout_s=60, what="a command that the server does")


def running(systemd: Systemd) -> str:
    return systemd.run(COMMAND, "ps", "--format={{.Names}} {{.State}}")


def test_the_first_command_starts_the_server_where_commands_are(systemd: Systemd) -> None:
    assert systemd.shown("macvfast.service", "ActiveState") == "inactive"
    be_served(systemd)
    pid = systemd.shown("macvfast.service", "MainPID")
    assert str(server(systemd)["Pid"]) == pid
    for kind in ("mnt", "pid", "user", "uts", "ipc", "cgroup", "net"):
        of_both = [systemd.run("readlink", f"/proc/{one}/ns/{kind}") for one in (pid, "self")]
        assert of_both[0] == of_both[1]
    assert systemd.run("cat", f"/proc/{pid}/cgroup").endswith("/system.slice/macvfast.service")


@pytest.mark.parametrize("how", ["restart", "stop", "kill"])
def test_what_becomes_of_the_server_ends_no_sandbox_and_the_next_command_is_done(systemd: Systemd, how: str) -> None:
    systemd.run(COMMAND, "network", "create", *support.PUB_NET, "lan")
    be_served(systemd)
    systemd.run(COMMAND, "run", "-d", "--name=box", "--net=lan", "sleep", "1000")
    before = server(systemd)["Pid"]
    words = ("kill", "--signal=KILL", "--kill-who=main") if how == "kill" else (how,)
    systemd.run("systemctl", *words, "macvfast.service")
    be_served(systemd)
    assert server(systemd)["Pid"] != before
    assert running(systemd) == "box running"
    assert systemd.run(COMMAND, "check") == ""


def test_a_server_that_is_stopped_waits_for_a_command_and_then_kills_what_does_it(systemd: Systemd) -> None:
    """`KillMode=mixed` with the time that is given, here a short one."""
    systemd.run("mkdir", "/etc/systemd/system/macvfast.service.d")
    brief = "echo '[Service]\nTimeoutStopSec=2' > /etc/systemd/system/macvfast.service.d/brief.conf"
    systemd.run("sh", "-c", brief)
    systemd.run("systemctl", "daemon-reload")
    be_served(systemd)
    systemd.run(COMMAND, "run", "-d", "--name=box", "sleep", "1000")
    followed = systemd.start(COMMAND, "logs", "--follow", "box")
    netns.wait_until(lambda: server(systemd)["Running"] == 2, what="the command")
    systemd.run("systemctl", "stop", "macvfast.service")
    _, said = followed.communicate(timeout=60)
    assert followed.returncode == 3
    assert said == support.shown(ServerLost("logs"))
    assert running(systemd) == "box running"


def test_a_unit_of_ones_own_runs_its_command_in_a_sandbox(systemd: Systemd, lan: Lan) -> None:
    """docs/services.md, as it stands there."""
    section = SERVICES.read_text(encoding="utf-8").partition("## As a systemd unit of your own")[2]
    typed, unit = re.findall(r"```(?:ini)?\n(.*?)```", section, re.DOTALL)
    unit = unit.replace("/usr/local/bin/macvfast", COMMAND)
    assert COMMAND in unit
    systemd.run("sh", "-c", 'echo "$0" > /etc/systemd/system/web.service', unit)
    systemd.run(COMMAND, "network", "create", *support.PUB_NET, "pub_net")
    systemd.run(COMMAND, *typed.split()[1:])
    systemd.run("nsenter", f"--net={lan.netns_dir / 'web'}", "ip", "link", "delete", "eth0")
    # Not everything can be restored.
    other = systemd.run(COMMAND, "run", "-d", "--restart=always", "sleep", "1000")
    (lan.state_dir / "sandboxes" / other / "command.json").write_text("{")
    systemd.run("systemctl", "daemon-reload")
    # It begins by having the host restored.
    systemd.run("systemctl", "start", "web.service")
    netns.wait_until(lambda: _answers(lan), what="the web server")
    assert systemd.shown("macvfast-restore.service", "Result") == "exit-code"
    assert "web running" in running(systemd)
    before = systemd.shown("web.service", "MainPID")
    systemd.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", "web.service")
    netns.wait_until(lambda: systemd.shown("web.service", "MainPID") not in ("0", before), what="the next start")
    netns.wait_until(lambda: _answers(lan), what="the web server")
    systemd.run("systemctl", "stop", "web.service")
    assert systemd.shown("web.service", "ActiveState") == "inactive"
    assert systemd.run(COMMAND, "ps", "--all", "--filter=name=web", "--format={{.State}}") == "idle"


def _answers(lan: Lan) -> bool:
    fetch = "import urllib.request; urllib.request.urlopen('http://172.16.86.10/', timeout=5).read()"
    return lan.router.attempt(sys.executable, "-c", fetch).returncode == 0


def test_the_unit_of_restore_brings_back_what_is_missing(systemd: Systemd, lan: Lan) -> None:
    systemd.run(COMMAND, "network", "create", *support.PUB_NET, "lan")
    systemd.run(COMMAND, "create", "--name=box", "--net=lan")
    systemd.run("nsenter", f"--net={lan.netns_dir / 'box'}", "ip", "link", "delete", "eth0")
    systemd.run("systemctl", "start", "macvfast-restore.service")
    assert systemd.shown("macvfast-restore.service", "ActiveState") == "active"
    assert systemd.run(COMMAND, "check") == ""
