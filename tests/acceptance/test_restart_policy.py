"""`run --restart`: a command that has ended runs again as Docker's policies say, also after kills and a reboot."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from macvfast.cli.show.output import problem_text
from macvfast.engine import commands
from macvfast.engine.own_commands import OwnCommands
from macvfast.engine.sandbox_directories import SandboxDirectories
from macvfast.errors import CommandNotStarted, SandboxNotFound, SandboxRestarting
from macvfast.model import SandboxState
from macvfast.process import keeper
from macvfast.requests import CommandRequest
from macvfast.system.processes import process_of
from tests import netns
from tests.acceptance.support import another_boot, check_error, lose_everything, programs, ps, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from macvfast.host import Host
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Sandbox
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def _run(lan: Lan, policy: str, script: str, *options: str) -> None:
    lan.macvfast("run", "-d", "--name=web", f"--restart={policy}", *options, "sh", "-c", script)


def _log(lan: Lan) -> list[str]:
    return lan.macvfast("logs", "web").split("\n")


def _wait_for_runs(lan: Lan, count: int) -> None:
    """Wait until the command, which shows a line each time, has started so many times at least."""
    netns.wait_until(lambda: len(_log(lan)) >= count, what=f"{count} runs")


def _directory(lan: Lan) -> Path:
    return lan.state_dir / "sandboxes" / str(ps(lan, "web")["ID"])


def _process(lan: Lan, which: str) -> int:
    lines = (_directory(lan) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{which} "))


def _wait_for_state(lan: Lan, state: str) -> None:
    netns.wait_until(lambda: ps(lan, "web")["State"] == state, what=f"state {state}")


def _at_the_same_time(call: Callable[..., object], lines: Iterable[Iterable[str]]) -> None:
    threads = [threading.Thread(target=call, args=tuple(line)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _remove_all(lan: Lan) -> None:
    """Remove the sandbox, whatever has become of it, and see that nothing goes on behind."""
    lan.attempt("rm", "-f", "web")
    netns.wait_until(lambda: programs(lan) == [], what="the end of all keepers")
    assert os.listdir(lan.state_dir / "sandboxes") == []


def test_a_command_that_ends_is_run_again_in_the_same_sandbox(lan: Lan) -> None:
    lan.macvfast("network", "create", "--subnet=10.9.0.0/24", "-o", "parent=eth0", "lan")
    _run(lan, "always", 'echo "$0 $SECRET $(pwd) $(hostname -I)"', "--net=lan", "-w/tmp", "-e", "SECRET=x")
    _wait_for_runs(lan, 3)
    assert set(_log(lan)) == {"sh x /tmp 10.9.0.2 "}


@pytest.mark.parametrize(("policy", "runs"), [("on-failure:2", 3), ("on-failure:1", 2)])
def test_a_command_that_fails_is_run_again_as_often_as_was_said(lan: Lan, policy: str, runs: int) -> None:
    _run(lan, policy, "echo run; exit 7")
    _wait_for_state(lan, "exited")
    assert (ps(lan, "web")["ExitCode"], _log(lan)) == (7, ["run"] * runs)


def test_on_failure_a_command_that_succeeds_is_not_run_again(lan: Lan) -> None:
    _run(lan, "on-failure", "echo run; exit 0")
    _wait_for_state(lan, "exited")
    assert _log(lan) == ["run"]


def test_while_it_waits_its_state_says_so_and_it_counts_as_running(lan: Lan) -> None:
    _run(lan, "always", "echo run; exit 3")
    _wait_for_runs(lan, 5)
    _wait_for_state(lan, "restarting")
    assert ps(lan, "web")["ExitCode"] == 3
    assert "web" in lan.macvfast("ps", "-f", "status=restarting")
    assert "restarting (3)" in lan.macvfast("ps")
    assert "runs a command" in refused(lan, "rm", "web")
    assert lan.macvfast("start", "web") == "web"


def test_stop_ends_it_while_it_waits_and_start_begins_it_anew(lan: Lan) -> None:
    _run(lan, "always", "echo run; exit 3")
    _wait_for_runs(lan, 5)
    _wait_for_state(lan, "restarting")
    assert lan.macvfast("stop", "web") == "web"
    stopped = ps(lan, "web")
    assert (stopped["State"], stopped["ExitCode"]) == ("exited", 3)
    before = len(_log(lan))
    lan.macvfast("start", "web")
    _wait_for_runs(lan, before + 3)


def test_rm_ends_it_while_it_waits_and_leaves_nothing(lan: Lan) -> None:
    _run(lan, "always", "echo run")
    _wait_for_runs(lan, 5)
    _wait_for_state(lan, "restarting")
    keeper = _process(lan, "keeper")
    assert lan.macvfast("rm", "-f", "web") == "web"
    netns.wait_until(lambda: not process_of(keeper).alive(), what="the end of the keeper")
    assert lan.macvfast("ps", "-aq") == ""


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_stop_ends_a_running_one_for_good(lan: Lan, policy: str) -> None:
    _run(lan, policy, "trap 'exit 9' TERM; echo run; while :; do sleep 0.01; done")
    _wait_for_runs(lan, 1)
    keeper = _process(lan, "keeper")
    lan.macvfast("stop", "web")
    netns.wait_until(lambda: not process_of(keeper).alive(), what="the end of the keeper")
    assert (ps(lan, "web")["ExitCode"], _log(lan)) == (9, ["run"])
    assert lan.macvfast("restore") == ""
    assert ps(lan, "web")["State"] == "exited"


def test_restart_by_hand_keeps_the_policy(lan: Lan) -> None:
    _run(lan, "always", "echo run; sleep 1000")
    _wait_for_runs(lan, 1)
    lan.macvfast("restart", "-t0", "web")
    _wait_for_runs(lan, 2)
    os.kill(_process(lan, "init"), signal.SIGKILL)
    _wait_for_runs(lan, 3)


def test_a_killed_pid_1_is_run_again_and_a_killed_keeper_by_restore(lan: Lan) -> None:
    _run(lan, "on-failure", "echo run; sleep 1000")
    _wait_for_runs(lan, 1)
    os.kill(_process(lan, "init"), signal.SIGKILL)
    _wait_for_runs(lan, 2)
    os.kill(_process(lan, "keeper"), signal.SIGKILL)
    _wait_for_state(lan, "lost")
    assert "does not run" in lan.attempt("check").stdout
    lan.macvfast("restore")
    _wait_for_runs(lan, 3)
    assert lan.attempt("check").returncode == 0


def test_a_keeper_that_is_killed_while_it_waits_is_one_that_restore_starts(lan: Lan) -> None:
    _run(lan, "on-failure", "echo run; exit 1")
    _wait_for_runs(lan, 5)
    _wait_for_state(lan, "restarting")
    os.kill(_process(lan, "keeper"), signal.SIGKILL)
    _wait_for_state(lan, "lost")
    before = len(_log(lan))
    lan.macvfast("restore")
    _wait_for_runs(lan, before + 2)


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
    _run(lan, policy, "echo run; sleep 1000")
    _wait_for_runs(lan, 1)
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
    _run(lan, policy, "echo run; sleep 1000")
    lan.macvfast("run", "--name=once", "true")
    _wait_for_runs(lan, 1)
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
    _run(lan, "no", "sleep 1000")
    directory = _directory(lan)
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
    _run(lan, "always", "sleep 1000")
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
    _wait_for_runs(lan, 2)
    program.rename(other)
    netns.wait_until(lambda: ps(lan, "web")["ExitCode"] == 127, what="a start in vain")
    before = len(_log(lan))
    other.rename(program)
    _wait_for_runs(lan, before + 1)


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
    _run(lan, "on-failure:2", "echo run; exit 1")
    assert lan.macvfast("logs", "-f", "web") == "run\nrun\nrun"


@pytest.mark.parametrize("options", [[], ["-d"], ["-u", "nobody"]])
def test_exec_does_not_wait_until_it_runs_again_and_says_so(lan: Lan, tmp_path: Path, options: list[str]) -> None:
    """As Docker: the pause may be a minute."""
    # It fails at once six times, and then stays.
    script = 'echo run; echo x >> "$0"; [ "$(wc -l < "$0")" -lt 7 ] || exec sleep 1000; exit 1'
    lan.macvfast("run", "-d", "--name=web", "--restart=always", "sh", "-c", script, str(tmp_path / "runs"))
    _wait_for_runs(lan, 6)
    _wait_for_state(lan, "restarting")
    said = check_error(lan.attempt("exec", *options, "web", "true"), 125)
    # The pause is now 3.2 s: had it waited, there would be another run.
    assert (said, len(_log(lan))) == (f"{problem_text(SandboxRestarting('web'))}\n", 6)
    _wait_for_runs(lan, 7)
    _wait_for_state(lan, "running")
    assert lan.macvfast("exec", "web", "echo", "here") == "here"


def test_exec_that_is_too_late_is_told_of_the_pause_by_the_keeper(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ended between the look at its state and the joining."""
    _run(lan, "always", "exit 1")
    _wait_for_state(lan, "restarting")
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


class Removal:
    """`rm -f web` at a moment of another verb, which runs in this process."""

    def __init__(self, lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
        # By which `programs` knows what is started from here.
        monkeypatch.setenv("MACVFAST_STATE_DIR", str(lan.state_dir))
        self._lan = lan
        self._patch = monkeypatch
        self._thread = threading.Thread(target=lan.macvfast, args=("rm", "-f", "web"))

    def comes_before_the_lock(self) -> None:
        """It is done before the verb takes the keeper's lock."""
        really = SandboxDirectories.hold

        def late(directories: SandboxDirectories, sandbox: Sandbox) -> int:
            self._thread.start()
            self._thread.join()
            return really(directories, sandbox)

        self._patch.setattr(SandboxDirectories, "hold", late)

    def comes_before_the_start(self, *, waited_for: bool) -> None:
        """It begins when the verb has all that it starts the command with."""
        really = commands._open

        def late(sandbox: Sandbox, kernel: Callable[[], Kernel]) -> Namespace:
            namespace = really(sandbox, kernel)
            self._thread.start()
            # Of one that holds the lock it waits for the start, and then ends what was started.
            self._thread.join(None if waited_for else 0.5)
            return namespace

        self._patch.setattr(commands, "_open", late)

    def leaves_nothing(self) -> None:
        """There is no trace of the sandbox."""
        self._thread.join()
        assert programs(self._lan) == []
        assert (self._lan.macvfast("ps", "-aq"), os.listdir(self._lan.state_dir / "sandboxes")) == ("", [])


def _join(host: Host) -> str:
    try:
        host.start("web", CommandRequest(argv=("sleep", "1000"), detach=True, join=True))
    except SandboxNotFound:
        return "not found"
    return "started"


def _start(host: Host) -> str:
    (outcome,) = host.start_many(["web"])
    return "started" if outcome.ok else type(outcome.error).__name__


def test_a_refusal_of_a_start_deletes_nothing_of_a_recorded_sandbox(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong: whatever says "not found" while the lock is held is taken for the removal of the sandbox."""
    lan.macvfast("run", "-d", "--name=web", "echo", "kept")
    netns.wait_until(lambda: ps(lan, "web")["State"] == "exited", what="its end")
    monkeypatch.setattr(commands, "_open", mock.Mock(side_effect=SandboxNotFound("another")))
    assert lan.api(_start) == "SandboxNotFound"
    assert lan.macvfast("logs", "web") == "kept"


def test_exec_beside_a_command_that_is_removed_starts_nothing(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong: it makes the directory again, and its command runs in a namespace that nobody knows."""
    _run(lan, "no", "exec sleep 1000")
    removal = Removal(lan, monkeypatch)
    removal.comes_before_the_start(waited_for=True)
    assert lan.api(_join) == "not found"
    removal.leaves_nothing()


@pytest.mark.parametrize(("verb", "refusal"), [(_join, "not found"), (_start, "SandboxNotFound")])
def test_what_starts_after_a_removal_starts_nothing(
    lan: Lan, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Host], str], refusal: str
) -> None:
    """Wrong: it takes the lock of a sandbox that it has looked up before, and looks no more."""
    lan.macvfast("run", "--name=web", "true")
    removal = Removal(lan, monkeypatch)
    removal.comes_before_the_lock()
    assert lan.api(verb) == refusal
    removal.leaves_nothing()


@pytest.mark.parametrize("verb", [_join, _start])
def test_what_starts_before_a_removal_is_ended_by_it(
    lan: Lan, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Host], str]
) -> None:
    """Wrong: it opens the namespace first, and takes the lock when the removal is done with both."""
    _run(lan, "no", "exec sleep 1000")
    lan.macvfast("stop", "-t0", "web")
    removal = Removal(lan, monkeypatch)
    removal.comes_before_the_start(waited_for=False)
    assert lan.api(verb) == "started"
    removal.leaves_nothing()


def test_a_removal_deletes_the_lock_before_anything_else(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong: a keeper that has waited for it takes it, between the end of the command and that of its directory."""
    _run(lan, "always", "exec sleep 1000")
    directory = _directory(lan)
    left: list[set[str]] = []
    really = SandboxDirectories.unlink

    def look(directories: SandboxDirectories, sandboxes: Iterable[Sandbox]) -> None:
        left.append(set(os.listdir(directory)))
        really(directories, sandboxes)

    monkeypatch.setattr(SandboxDirectories, "unlink", look)
    lan.api(lambda host: host.remove_many(["web"], force=True).raise_if_any())
    assert "status" in left[0]
    assert "lock" not in left[0]


def test_exec_beside_rm_leaves_no_keeper_that_nobody_knows(lan: Lan) -> None:
    for turn in range(8):
        if turn % 2:
            _run(lan, "always", "sleep 1000")
        else:
            lan.macvfast("create", "--name=web")
        words = (*[("exec", "-d", "web", "sleep", "1000")] * 3, ("rm", "-f", "web"))
        _at_the_same_time(lan.attempt, words)
        _remove_all(lan)


def test_whatever_is_killed_and_whenever_force_ends_it_and_restore_starts_it(lan: Lan) -> None:
    """The moments between an end and the next start, where neither pid 1 nor a status is there."""
    for turn in range(25):
        lan.macvfast("run", "-d", "--name=web", "--restart=always", "sh", "-c", "echo run; sleep 0.0$0", str(turn % 7))
        which = ("keeper", "init", None)[turn % 3]
        if which is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(_process(lan, which), signal.SIGKILL)
        if turn % 2:
            lan.macvfast("restore")
            assert ps(lan, "web")["State"] in ("running", "restarting")
            lan.macvfast("stop", "-t", str(turn % 3), "web")
            assert ps(lan, "web")["State"] in ("exited", "lost")
        assert lan.macvfast("rm", "-f", "web") == "web"
        assert programs(lan) == []
    assert lan.attempt("check").returncode == 0


def test_stop_and_start_at_the_same_time_leave_one_of_the_two(lan: Lan) -> None:
    _run(lan, "always", "echo run; exec sleep 1000")
    for _ in range(5):
        _at_the_same_time(lan.macvfast, [(verb, "web") for verb in ("stop", "start", "restart")])
        assert ps(lan, "web")["State"] in ("running", "exited")
    lan.macvfast("stop", "-t0", "web")
    netns.wait_until(lambda: programs(lan) == [], what="the end of everything")


def test_rm_beside_starts_leaves_no_keeper_that_nobody_knows(lan: Lan) -> None:
    """A start that had looked the sandbox up ran its command again and again in a directory that was deleted."""
    for _ in range(8):
        _run(lan, "always", "exit 1")
        words = (("restart", "web"), ("rm", "-f", "web"), ("restore",), ("start", "web"))
        _at_the_same_time(lan.attempt, words)
        _remove_all(lan)


def test_a_keeper_whose_sandbox_is_gone_ends_with_its_command(lan: Lan) -> None:
    _run(lan, "always", "sleep 1000")
    init, keeper = _process(lan, "init"), process_of(_process(lan, "keeper"))
    shutil.rmtree(_directory(lan))
    os.kill(init, signal.SIGKILL)
    netns.wait_until(lambda: not keeper.alive(), what="the end of the keeper")
    lan.macvfast("rm", "-f", "web")


def test_a_stop_is_not_undone_by_a_restore_that_had_looked_before(lan: Lan) -> None:
    _run(lan, "always", "sleep 1000")
    init, keeper = _process(lan, "init"), process_of(_process(lan, "keeper"))
    os.kill(keeper.pid, signal.SIGKILL)
    netns.wait_until(lambda: not process_of(init).alive(), what="the end of pid 1")
    really = OwnCommands._start

    def restore(host: Host) -> list[object]:
        def late(own: OwnCommands, *arguments: object) -> bool:
            lan.macvfast("stop", "web")
            return really(own, *arguments)  # type: ignore[arg-type]

        with mock.patch.object(OwnCommands, "_start", late):
            return list(host.restore().steps)

    assert lan.api(restore) == []
    assert ps(lan, "web")["State"] == "lost"
