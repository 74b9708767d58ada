"""`macvfast start`, `stop` and `restart`: a sandbox's own command, ended and run again as it was given."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import KernelRefused, SandboxRunning
from macvfast.process import keeper, stopping
from macvfast.requests import CommandRequest
from tests import netns
from tests.acceptance.support import check_error, ps, refused

if TYPE_CHECKING:
    from macvfast.host import Host
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")

# Says when it is asked to end, and does.
OBEYS = "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.01; done"
# Does not end when it is asked to.
STUBBORN = "trap 'echo no' TERM; echo up; while :; do sleep 0.01; done"


def _wait_for_log(lan: Lan, name: str, text: str) -> None:
    netns.wait_until(lambda: lan.macvfast("logs", name) == text, what=f"the log {text!r}")


def _kept(lan: Lan, name: str) -> Path:
    return lan.state_dir / "sandboxes" / str(ps(lan, name)["ID"]) / "command.json"


def test_a_stopped_command_starts_again_at_the_same_address(lan: Lan) -> None:
    lan.macvfast("network", "create", "--subnet=10.9.0.0/24", "-o", "parent=eth0", "lan")
    lan.macvfast("run", "-d", "--net=lan", "--name=web", "sh", "-c", OBEYS)
    _wait_for_log(lan, "web", "up")
    before = ps(lan, "web")
    assert lan.macvfast("stop", "web") == "web"
    stopped = ps(lan, "web")
    assert (stopped["State"], stopped["ExitCode"]) == ("exited", 5)
    assert lan.macvfast("start", "web") == "web"
    _wait_for_log(lan, "web", "up\nasked\nup")
    after = ps(lan, "web")
    assert after["State"] == "running"
    assert (after["ID"], after["Addresses"]) == (before["ID"], before["Addresses"])
    assert "macvlan" in lan.macvfast("exec", "web", "ip", "-d", "link", "show", "eth0")


def test_what_runs_stays_when_it_is_started_and_what_does_not_is_stopped_already(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=web", "sleep", "1000")
    first = lan.macvfast("exec", "web", "cat", "/proc/1/stat")
    assert lan.macvfast("start", "web") == "web"
    assert lan.macvfast("exec", "web", "cat", "/proc/1/stat").split()[21] == first.split()[21]
    lan.macvfast("create", "--name=idle")
    assert lan.macvfast("stop", "idle", "web", "web") == "idle\nweb\nweb"
    assert lan.macvfast("stop", "web") == "web"
    assert ps(lan, "idle")["State"] == "idle"


def test_a_command_that_does_not_end_is_killed_after_the_time_that_was_given(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=web", "sh", "-c", STUBBORN)
    _wait_for_log(lan, "web", "up")
    lan.macvfast("stop", "-t", "1", "web")
    assert ps(lan, "web")["ExitCode"] == 137
    # It was asked first.
    assert lan.macvfast("logs", "web") == "up\nno"


def test_restart_runs_the_command_once_more(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=web", "sh", "-c", OBEYS)
    _wait_for_log(lan, "web", "up")
    assert lan.macvfast("restart", "web") == "web"
    _wait_for_log(lan, "web", "up\nasked\nup")
    lan.macvfast("stop", "web")
    assert lan.macvfast("restart", "web") == "web"
    assert ps(lan, "web")["State"] == "running"


def test_it_starts_with_its_own_environment_directory_and_options_wherever_start_is_typed(
    lan: Lan, tmp_path: Path
) -> None:
    script = 'echo "$SECRET/$OF_THE_CALLER/$OF_START"; pwd; id -u; sleep 1000'
    run = ["run", "-d", "--name=web", "-e", "SECRET=hunter2", "-w", str(tmp_path), "sh", "-c", script]
    lan.host.run("env", "OF_THE_CALLER=é\n1", netns.MACVFAST, *run)
    shown = f"hunter2/é\n1/\n{tmp_path}\n0"
    _wait_for_log(lan, "web", shown)
    lan.macvfast("stop", "-t0", "web")
    lan.host.run("env", "OF_START=wrong", "OF_THE_CALLER=wrong", netns.MACVFAST, "start", "web")
    _wait_for_log(lan, "web", f"{shown}\n{shown}")


def test_what_is_kept_is_for_root_alone_and_no_process_shows_it(lan: Lan) -> None:
    typed = 'umask 0; exec "$@"'
    lan.host.run(
        "sh", "-c", typed, "sh", netns.MACVFAST, "run", "-d", "--name=web", "-e", "SECRET=hunter2", "sleep", "9"
    )
    assert stat.S_IMODE(_kept(lan, "web").stat().st_mode) == 0o600
    lan.macvfast("restart", "-t0", "web")
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"hunter2" not in line.read_bytes()
        except OSError:
            continue


def test_a_command_that_was_waited_for_starts_again_detached(lan: Lan) -> None:
    lan.macvfast("run", "--name=web", "echo", "shown")
    assert lan.macvfast("start", "web") == "web"
    _wait_for_log(lan, "web", "shown")


@pytest.mark.parametrize("make", [["create"], ["run", "--rm", "-d"]])
def test_what_has_no_command_of_its_own_to_start_again_is_refused(lan: Lan, make: list[str]) -> None:
    lan.macvfast(*make, "--name=web", *([] if make == ["create"] else ["sleep", "1000"]))
    if make == ["create"]:
        assert "has no command to start" in refused(lan, "start", "web")
    assert "has no command to start" in refused(lan, "restart", "web")
    assert ps(lan, "web")["State"] == ("idle" if make == ["create"] else "running")


def test_a_sandbox_of_rm_that_is_stopped_is_removed(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--rm", "--name=web", "sleep", "1000")
    assert lan.macvfast("stop", "-t0", "web") == "web"
    netns.wait_until(lambda: not lan.macvfast("ps", "-aq"), what="the removal")


def test_a_guest_is_not_the_command_that_start_means_and_stop_ends_it(lan: Lan) -> None:
    lan.macvfast("run", "--name=web", "true")
    lan.macvfast("exec", "-d", "web", "sleep", "1000")
    assert "runs a command" in refused(lan, "start", "web")
    assert lan.macvfast("stop", "-t0", "web") == "web"
    after = ps(lan, "web")
    assert (after["State"], after["ExitCode"]) == ("exited", 0)


def test_of_several_each_is_tried_and_those_that_are_refused_are_named(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=a", "sleep", "1000")
    for verb in ("stop", "start", "restart"):
        done = lan.attempt(verb, "nobody", "a", "none")
        said = check_error(done, 3, errors=2)
        assert done.stdout == "a\n"
        assert "`nobody`" in said
        assert "`none`" in said


@pytest.mark.parametrize("text", ["", "{", "[]", '{"argv": 5}', "[" * 100000])
def test_a_damaged_command_is_said_and_nothing_is_started_or_ended(lan: Lan, text: str) -> None:
    lan.macvfast("run", "-d", "--name=web", "sleep", "1000")
    _kept(lan, "web").write_text(text)
    assert "command.json is damaged" in refused(lan, "restart", "web")
    assert ps(lan, "web")["State"] == "running"
    lan.macvfast("rm", "-f", "web")


@pytest.mark.parametrize(
    "wrong", [{"tty": 1}, {"argv": [1]}, {"env": [["A", 2]]}, {"environment": {"A": 1}}, {"directory": "a\0b"},
              {"log_max": True}, {"user": 0}, {"argv": []}]
)  # fmt: skip
def test_each_value_that_was_kept_is_checked(lan: Lan, wrong: dict[str, object]) -> None:
    lan.macvfast("run", "--name=web", "true")
    kept = _kept(lan, "web")
    kept.write_text(json.dumps(json.loads(kept.read_text()) | wrong))
    assert "command.json is damaged" in refused(lan, "start", "web")


def test_a_program_that_has_gone_is_missed_before_the_running_one_is_ended(lan: Lan, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nsleep 1000\n")
    program.chmod(0o755)
    lan.macvfast("run", "-d", "--name=web", str(program))
    program.unlink()
    assert "not found" in refused(lan, "restart", "web")
    assert ps(lan, "web")["State"] == "running"
    lan.macvfast("stop", "-t0", "web")
    assert "not found" in refused(lan, "start", "web")


def test_several_starts_at_once_start_one_command_and_all_succeed(lan: Lan) -> None:
    lan.macvfast("run", "-d", "--name=web", "sh", "-c", "echo up; sleep 1000")
    lan.macvfast("stop", "-t0", "web")
    shown: list[str] = []
    threads = [threading.Thread(target=lambda: shown.append(lan.macvfast("start", "web"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shown == ["web"] * 6
    assert lan.macvfast("logs", "web") == "up\nup"


@pytest.mark.parametrize("value", ["-2", "x", "", "1.5", "9999999"])
def test_a_time_that_is_no_number_of_seconds_is_a_usage_error(lan: Lan, value: str) -> None:
    lan.macvfast("run", "-d", "--name=web", "sleep", "1000")
    refused(lan, "stop", f"--time={value}", "web", status=2)
    assert ps(lan, "web")["State"] == "running"


def test_of_a_caller_only_what_the_command_of_another_user_gets_is_kept(lan: Lan) -> None:
    lan.host.environment |= {"SECRET": "hunter2", "TERM": "vt100"}
    lan.macvfast("run", "--name=web", "-u", "nobody", "-e", "GIVEN=1", "env")
    assert "hunter2" not in _kept(lan, "web").read_text()
    lan.macvfast("start", "web")
    said = lan.macvfast("logs", "-f", "web").splitlines()
    assert {"TERM=vt100", "GIVEN=1", "USER=nobody"} <= set(said)


def test_a_stop_whose_keeper_does_not_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that nobody lets go, which no kill reaches."""
    monkeypatch.setattr(stopping, "KILL_S", 0.05)
    lock = keeper.hold(tmp_path)
    assert lock is not None
    try:
        stop = stopping.Stop(tmp_path, "a boot", 1, wait_s=0)
        stopping.stop_all([stop])
        # As the removal by force asks for it.
        with pytest.raises(KernelRefused, match="its keeper does not end"):
            stopping.kill(tmp_path, "a boot", 1, last=True)
        assert (tmp_path / "lock").exists()
    finally:
        os.close(lock)
    assert "its keeper does not end" in str(getattr(stop.error, "reason", None))


def test_a_start_that_comes_second_does_not_change_what_is_kept(lan: Lan) -> None:
    """The next start, or boot, would run another command than the one that runs now."""
    lan.macvfast("run", "--name=web", "true")
    kept = _kept(lan, "web")
    before = kept.read_text()
    lock = keeper.hold(kept.parent)
    assert lock is not None

    def start(host: Host) -> str:
        with pytest.raises(SandboxRunning):
            host.start("web", CommandRequest(argv=("sleep", "1000"), detach=True))
        return "refused"

    assert lan.api(start) == "refused"
    assert (kept.read_text(), ps(lan, "web")["Command"]) == (before, "true")
    os.close(lock)
