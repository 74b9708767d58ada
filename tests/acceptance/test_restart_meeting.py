"""Verbs that meet while `--restart` keeps a command: each waits for the other, and none leaves anything behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from macvfast.engine import commands
from macvfast.engine.own_commands import OwnCommands
from macvfast.engine.sandbox_directories import SandboxDirectories
from macvfast.errors import CommandNotStarted, SandboxNotFound
from macvfast.requests import CommandRequest
from macvfast.system.processes import process_of
from tests import netns
from tests.acceptance import services
from tests.acceptance.support import programs, ps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from macvfast.host import Host
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Sandbox
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


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
    except CommandNotStarted as error:
        return type(error).__name__
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
    services.run(lan, "no", "exec sleep 1000")
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
    services.run(lan, "no", "exec sleep 1000")
    lan.macvfast("stop", "-t0", "web")
    removal = Removal(lan, monkeypatch)
    removal.comes_before_the_start(waited_for=False)
    # The removal may be so quick that its pid 1 is ended before it is known to have started.
    assert lan.api(verb) in ("started", "CommandNotStarted")
    removal.leaves_nothing()


def test_a_removal_deletes_the_lock_before_anything_else(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong: a keeper that has waited for it takes it, between the end of the command and that of its directory."""
    services.run(lan, "always", "exec sleep 1000")
    directory = services.directory_of(lan)
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
            services.run(lan, "always", "sleep 1000")
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
                os.kill(services.process(lan, which), signal.SIGKILL)
        if turn % 2:
            lan.macvfast("restore")
            assert ps(lan, "web")["State"] in ("running", "restarting")
            lan.macvfast("stop", "-t", str(turn % 3), "web")
            assert ps(lan, "web")["State"] in ("exited", "lost")
        assert lan.macvfast("rm", "-f", "web") == "web"
        assert programs(lan) == []
    assert lan.attempt("check").returncode == 0


def test_stop_and_start_at_the_same_time_leave_one_of_the_two(lan: Lan) -> None:
    services.run(lan, "always", "echo run; exec sleep 1000")
    for _ in range(5):
        _at_the_same_time(lan.macvfast, [(verb, "web") for verb in ("stop", "start", "restart")])
        assert ps(lan, "web")["State"] in ("running", "exited")
    lan.macvfast("stop", "-t0", "web")
    netns.wait_until(lambda: programs(lan) == [], what="the end of everything")


def test_rm_beside_starts_leaves_no_keeper_that_nobody_knows(lan: Lan) -> None:
    """A start that had looked the sandbox up ran its command again and again in a directory that was deleted."""
    for _ in range(8):
        services.run(lan, "always", "exit 1")
        words = (("restart", "web"), ("rm", "-f", "web"), ("restore",), ("start", "web"))
        _at_the_same_time(lan.attempt, words)
        _remove_all(lan)


def test_a_keeper_whose_sandbox_is_gone_ends_with_its_command(lan: Lan) -> None:
    services.run(lan, "always", "sleep 1000")
    init, keeper = services.process(lan, "init"), process_of(services.process(lan, "keeper"))
    shutil.rmtree(services.directory_of(lan))
    os.kill(init, signal.SIGKILL)
    netns.wait_until(lambda: not keeper.alive(), what="the end of the keeper")
    lan.macvfast("rm", "-f", "web")


def test_a_stop_is_not_undone_by_a_restore_that_had_looked_before(lan: Lan) -> None:
    services.run(lan, "always", "sleep 1000")
    init, keeper = services.process(lan, "init"), process_of(services.process(lan, "keeper"))
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
