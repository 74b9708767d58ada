"""`run --restart`: a command that has ended runs again as Docker's policies say, also after kills and a reboot."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from macvfast.cli.show.output import problem_text
from macvfast.errors import CommandNotStarted, SandboxRestarting
from macvfast.model import SandboxState
from macvfast.process import keeper
from macvfast.requests import CommandRequest
from macvfast.system.processes import process_of
from tests import netns
from tests.acceptance import services
from tests.acceptance.support import another_boot, check_error, lose_everything, ps, refused

if TYPE_CHECKING:
    from pathlib import Path

    from macvfast.host import Host
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def test_a_command_that_ends_is_run_again_in_the_same_sandbox(lan: Lan) -> None:
    lan.macvfast("network", "create", "--subnet=10.9.0.0/24", "-o", "parent=eth0", "lan")
    services.run(lan, "always", 'echo "$0 $SECRET $(pwd) $(hostname -I)"', "--net=lan", "-w/tmp", "-e", "SECRET=x")
    services.wait_for_runs(lan, 3)
    assert set(services.log(lan)) == {"sh x /tmp 10.9.0.2 "}


@pytest.mark.parametrize(("policy", "runs"), [("on-failure:2", 3), ("on-failure:1", 2)])
def test_a_command_that_fails_is_run_again_as_often_as_was_said(lan: Lan, policy: str, runs: int) -> None:
    services.run(lan, policy, "echo run; exit 7")
    services.wait_for_state(lan, "exited")
    assert (ps(lan, "web")["ExitCode"], services.log(lan)) == (7, ["run"] * runs)


def test_on_failure_a_command_that_succeeds_is_not_run_again(lan: Lan) -> None:
    services.run(lan, "on-failure", "echo run; exit 0")
    services.wait_for_state(lan, "exited")
    assert services.log(lan) == ["run"]


def test_while_it_waits_its_state_says_so_and_it_counts_as_running(lan: Lan) -> None:
    services.run(lan, "always", "echo run; exit 3")
    with services.pause(lan):
        assert ps(lan, "web")["ExitCode"] == 3
        assert "web" in lan.macvfast("ps", "-f", "status=restarting")
        assert "restarting (3)" in lan.macvfast("ps")
        assert "runs a command" in refused(lan, "rm", "web")
    assert lan.macvfast("start", "web") == "web"


def test_stop_ends_it_while_it_waits_and_start_begins_it_anew(lan: Lan) -> None:
    services.run(lan, "always", "echo run; exit 3")
    services.wait_for_runs(lan, 5)
    services.wait_for_state(lan, "restarting")
    assert lan.macvfast("stop", "web") == "web"
    stopped = ps(lan, "web")
    assert (stopped["State"], stopped["ExitCode"]) == ("exited", 3)
    before = len(services.log(lan))
    lan.macvfast("start", "web")
    services.wait_for_runs(lan, before + 3)


def test_rm_ends_it_while_it_waits_and_leaves_nothing(lan: Lan) -> None:
    services.run(lan, "always", "echo run")
    services.wait_for_runs(lan, 5)
    services.wait_for_state(lan, "restarting")
    keeper = services.process(lan, "keeper")
    assert lan.macvfast("rm", "-f", "web") == "web"
    netns.wait_until(lambda: not process_of(keeper).alive(), what="the end of the keeper")
    assert lan.macvfast("ps", "-aq") == ""


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_stop_ends_a_running_one_for_good(lan: Lan, policy: str) -> None:
    services.run(lan, policy, "trap 'exit 9' TERM; echo run; while :; do sleep 0.01; done")
    services.wait_for_runs(lan, 1)
    keeper = services.process(lan, "keeper")
    lan.macvfast("stop", "web")
    netns.wait_until(lambda: not process_of(keeper).alive(), what="the end of the keeper")
    assert (ps(lan, "web")["ExitCode"], services.log(lan)) == (9, ["run"])
    assert lan.macvfast("restore") == ""
    assert ps(lan, "web")["State"] == "exited"


def test_restart_by_hand_keeps_the_policy(lan: Lan) -> None:
    services.run(lan, "always", "echo run; sleep 1000")
    services.wait_for_runs(lan, 1)
    lan.macvfast("restart", "-t0", "web")
    services.wait_for_runs(lan, 2)
    os.kill(services.process(lan, "init"), signal.SIGKILL)
    services.wait_for_runs(lan, 3)


def test_a_killed_pid_1_is_run_again_and_a_killed_keeper_by_restore(lan: Lan) -> None:
    services.run(lan, "on-failure", "echo run; sleep 1000")
    services.wait_for_runs(lan, 1)
    os.kill(services.process(lan, "init"), signal.SIGKILL)
    services.wait_for_runs(lan, 2)
    os.kill(services.process(lan, "keeper"), signal.SIGKILL)
    services.wait_for_state(lan, "lost")
    assert "does not run" in lan.attempt("check").stdout
    lan.macvfast("restore")
    services.wait_for_runs(lan, 3)
    assert lan.attempt("check").returncode == 0


def test_a_keeper_that_is_killed_while_it_waits_is_one_that_restore_starts(lan: Lan) -> None:
    services.run(lan, "on-failure", "echo run; exit 1")
    services.wait_for_runs(lan, 5)
    services.wait_for_state(lan, "restarting")
    os.kill(services.process(lan, "keeper"), signal.SIGKILL)
    services.wait_for_state(lan, "lost")
    before = len(services.log(lan))
    lan.macvfast("restore")
    services.wait_for_runs(lan, before + 2)


@pytest.mark.parametrize(
    ("policy", "stopped", "runs"),
    [
        ("always", False, True), ("always", True, True), ("unless-stopped", False, True),
        ("unless-stopped", True, False), ("on-failure", False, True), ("on-failure", True, False), ("no", False, False),
    ],
)  # fmt: skip
def test_after_a_reboot_restore_starts_what_its_policy_says(
    lan: Lan, tmp_path: Path, policy: str, *, stopped: bool, runs: bool
) -> None:
    services.run(lan, policy, "echo run; sleep 1000")
    services.wait_for_runs(lan, 1)
    if stopped:
        lan.macvfast("stop", "-t0", "web")
    lose_everything(lan)
    with another_boot(tmp_path):
        lan.macvfast("restore")
        assert ps(lan, "web")["State"] == ("running" if runs else "exited" if stopped else "lost")
        # A second one has nothing to do.
        assert lan.macvfast("restore") == ""
        lan.macvfast("rm", "-f", "web")


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_after_a_reboot_a_service_whose_command_is_damaged_is_no_secret(lan: Lan, tmp_path: Path, policy: str) -> None:
    services.run(lan, policy, "echo run; sleep 1000")
    lan.macvfast("run", "--name=once", "true")
    services.wait_for_runs(lan, 1)
    lose_everything(lan)
    for name in ("web", "once"):
        (lan.state_dir / "sandboxes" / str(ps(lan, name)["ID"]) / "command.json").write_text("{")
    with another_boot(tmp_path):
        said = check_error(lan.attempt("restore"), 3)
        assert "sandbox web: start its command" in said
        assert "its file command.json is damaged" in said
        (line,) = lan.attempt("check").stdout.splitlines()
        assert "sandbox web" in line
        assert "command.json is damaged" in line
        assert "sandbox web: its command" in lan.attempt("restore", "--dry-run").stderr
        lan.macvfast("rm", "-f", "web")
        # One without a policy is not to run.
        assert lan.attempt("check").returncode == 0


@pytest.mark.parametrize("torn", [b"", bytes(86)], ids=["empty", "zeros"])
def test_after_the_power_went_a_command_without_a_policy_is_no_damaged_service(
    lan: Lan, tmp_path: Path, torn: bytes
) -> None:
    """What an ext4 has of files that were written a second before, and not waited for."""
    services.run(lan, "no", "sleep 1000")
    directory = services.directory_of(lan)
    lose_everything(lan)
    for name in ("status", "command.json"):
        (directory / name).write_bytes(torn)
    with another_boot(tmp_path):
        assert "command" not in lan.macvfast("restore")
        assert lan.macvfast("check") == ""
        assert ps(lan, "web")["State"] == "lost"
        lan.macvfast("rm", "-f", "web")


def test_of_many_services_that_restore_starts_at_the_same_time_each_runs_once(lan: Lan, tmp_path: Path) -> None:
    """Wrong: what is handed on to one keeper (lock, namespace, variables) is another one's."""
    gone = tmp_path / "gone"
    gone.write_text("#!/bin/sh\nsleep 1000\n")
    gone.chmod(0o755)
    lan.macvfast("network", "create", "--subnet=10.9.0.0/24", "-o", "parent=eth0", "lan")
    names = [f"s-{number}" for number in range(8)]

    for name in names:
        command = ("sh", "-c", 'echo "$NAME $(hostname -I)"; exec sleep 1000') if name != "s-5" else (str(gone),)
        options = ("-d", "--restart=always", f"--name={name}", "--net=lan", "-e", f"NAME={name}")
        lan.macvfast("run", *options, *command)
    gone.unlink()
    lose_everything(lan)
    with another_boot(tmp_path):
        said = check_error(lan.attempt("restore"), 3)
        assert "s-5" in said
        shown = lan.macvfast("ps", "-a", "--format={{.Names}} {{.State}} {{.Addresses}}").splitlines()
        runs = [line.split() for line in shown if " running " in line]
        assert [name for name, *_ in runs] == [name for name in names if name != "s-5"]
        for name, _, address in runs:
            netns.wait_until(lambda name=name: lan.macvfast("logs", name).count("\n") == 1, what="two lines")  # type: ignore[misc]
            assert lan.macvfast("logs", name).split("\n") == [f"{name} {address} "] * 2
        lan.macvfast("rm", "-f", *names)


@pytest.mark.parametrize("restore", ["macvfast restore", "on a thread"])
def test_restore_starts_services_although_sigchld_is_ignored(lan: Lan, tmp_path: Path, restore: str) -> None:
    """Wrong: the signal's action is changed with what works on the main thread only, or not, and how a keeper has
    started its command is lost.
    """
    for name in ("one", "two"):
        lan.macvfast("run", "-d", "--restart=always", f"--name={name}", "sleep", "99")
    lose_everything(lan)
    on_a_thread = (
        "import threading; from macvfast.cli import main;"
        "thread = threading.Thread(target=main, args=[['restore']]); thread.start(); thread.join()"
    )
    line = [netns.MACVFAST, "restore"] if restore == "macvfast restore" else [sys.executable, "-c", on_a_thread]
    with another_boot(tmp_path):
        done = lan.host.attempt("env", "--ignore-signal=CHLD", *line)
        assert (done.returncode, done.stderr) == (0, "")
        shown = lan.macvfast("ps", "--format={{.Names}} {{.State}}").splitlines()
        assert sorted(shown) == ["one running", "two running"]
        lan.macvfast("rm", "-f", "one", "two")


def test_a_service_whose_command_is_damaged_is_seen_while_it_runs(lan: Lan) -> None:
    """Not only by the next boot, which cannot start it."""
    services.run(lan, "always", "sleep 1000")
    lan.macvfast("run", "-d", "--name=once", "sleep", "1000")
    for name in ("web", "once"):
        (lan.state_dir / "sandboxes" / str(ps(lan, name)["ID"]) / "command.json").write_text("{")
    (line,) = lan.attempt("check").stdout.splitlines()
    assert line.startswith("sandbox web: its command (--restart) runs, and could not be started again: ")
    assert lan.api(lambda host: [one.kind for one in host.check("web")]) == ["not-running"]
    assert "command.json is damaged" in check_error(lan.attempt("restore"), 3)
    lan.macvfast("stop", "-t0", "web")
    assert lan.attempt("check").returncode == 0


def test_a_command_that_cannot_be_started_any_more_is_tried_again(lan: Lan, tmp_path: Path) -> None:
    program, other = tmp_path / "program", tmp_path / "other"
    program.write_text("#!/bin/sh\necho run\n")
    program.chmod(0o755)
    lan.macvfast("run", "-d", "--name=web", "--restart=always", str(program))
    services.wait_for_runs(lan, 2)
    program.rename(other)
    netns.wait_until(lambda: ps(lan, "web")["ExitCode"] == 127, what="a start in vain")
    before = len(services.log(lan))
    other.rename(program)
    services.wait_for_runs(lan, before + 1)


@pytest.mark.parametrize(
    "options",
    [["-d", "--restart=sometimes"], ["-d", "--restart=on-failure:x"], ["-d", "--restart=always:3"],
     ["-d", "--restart=on-failure:-1"], ["--restart=always"], ["-d", "--rm", "--restart=always"],
     ["-d", "--restart=on-failure:99999999999"]],
)  # fmt: skip
def test_a_policy_that_cannot_be_kept_is_refused_and_nothing_is_made(lan: Lan, options: list[str]) -> None:
    assert "--restart" in refused(lan, "run", *options, "true", status=125)


def test_the_first_start_is_told_from_later_ones(lan: Lan) -> None:
    """A command that is not there is refused at once, not tried again and again."""
    assert "not found" in refused(lan, "run", "-d", "--restart=always", "no-such-program", status=127)


def test_followers_of_the_log_see_all_runs(lan: Lan) -> None:
    services.run(lan, "on-failure:2", "echo run; exit 1")
    assert lan.macvfast("logs", "-f", "web") == "run\nrun\nrun"


@pytest.mark.parametrize("options", [[], ["-d"], ["-u", "nobody"]])
def test_exec_does_not_wait_until_it_runs_again_and_says_so(lan: Lan, tmp_path: Path, options: list[str]) -> None:
    """As Docker: the pause may be a minute."""
    # It fails at once six times, and then stays.
    script = 'echo run; echo x >> "$0"; [ "$(wc -l < "$0")" -lt 7 ] || exec sleep 1000; exit 1'
    lan.macvfast("run", "-d", "--name=web", "--restart=always", "sh", "-c", script, str(tmp_path / "runs"))
    with services.pause(lan):
        said = check_error(lan.attempt("exec", *options, "web", "true"), 125)
    assert said == f"{problem_text(SandboxRestarting('web'))}\n"
    services.wait_for_runs(lan, 7)
    services.wait_for_state(lan, "running")
    assert lan.macvfast("exec", "web", "echo", "here") == "here"


def test_exec_that_is_too_late_is_told_of_the_pause_by_the_keeper(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ended between the look at its state and the joining."""
    services.run(lan, "always", "exit 1")
    services.wait_for_state(lan, "restarting")
    monkeypatch.setattr(keeper, "_ended", lambda *_: (SandboxState.RUNNING, None))

    def join(host: Host) -> str:
        # It is refused while the command waits, and joins it while it runs: for ever shorter a part of the time.
        for _ in range(100):
            with contextlib.suppress(CommandNotStarted):
                try:
                    host.start("web", CommandRequest(argv=("true",), detach=True, join=True))
                except SandboxRestarting as error:
                    return error.sandbox
        return "never refused"

    assert lan.api(join) == "web"
