"""What is shown when something fails, and the exit status that goes with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from macvfast import errors
from macvfast.outcomes import LinkKept
from tests.unit.cli_bed import RUNNING, FakeHost, network, sandbox, typed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from macvfast.errors import MacvfastError
    from macvfast.outcomes import Outcomes

TAKEN = errors.ParentTaken(
    "lab",
    "eth0",
    "network `dmz` holds it",
    hints=["or remove `dmz` first: `macvfast network rm dmz`"],
)

# One error of each kind: the exit status of a command, and of `run`.
STATUSES: list[tuple[MacvfastError, int, int]] = [
    (errors.SubnetMissing("eth0 needs one"), 1, 125),
    (errors.NetworkNotFound("lab"), 1, 125),
    (errors.AddressTaken("172.16.86.10"), 1, 125),
    (errors.PoolExhausted(["10.0.0.0/30"], "lab", "IPv4"), 1, 125),
    (errors.PermissionNeeded("make a link", "CAP_NET_ADMIN"), 1, 125),
    (errors.KernelRefused("make a link", 16), 1, 125),
    (errors.StateUnusable("/var/lib/macvfast", "Permission denied"), 1, 125),
    (errors.TerminalMissing(), 1, 125),
    (errors.CommandNotStarted("sh", "it is not an executable file"), 126, 126),
    (errors.CommandNotFound("alpine"), 127, 127),
    (errors.NamespaceHeld("web", ["process 17"]), 3, 3),
]


def test_an_error_is_shown_as_in_the_specification() -> None:
    host = FakeHost()
    host.refusals["create_network"] = TAKEN
    said = typed("network create lab -o parent=eth0", host)
    assert said == (
        1,
        "",
        "error: network `lab` cannot use parent `eth0`\n"
        "  caused by: network `dmz` holds it\n"
        "\n"
        "hint: or remove `dmz` first: `macvfast network rm dmz`\n",
    )


def test_a_note_is_one_line_on_stderr_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    host = FakeHost()
    really = host.remove_networks

    def remove(names: Sequence[str]) -> Outcomes[str]:
        host.on_note(LinkKept("eth0.50", "eth0.50", uppers=("a\nb",)))
        return really(names)

    monkeypatch.setattr(host, "remove_networks", remove)
    assert typed("network rm lab", host) == (
        0,
        "lab\n",
        "note: link `eth0.50` is kept: `a\\nb` on it is not macvfast's; `ip link del eth0.50` removes it\n",
    )


@pytest.mark.parametrize(("error", "status", "of_run"), STATUSES, ids=[error.code for error, _, _ in STATUSES])
def test_each_kind_of_error_has_its_exit_status(error: MacvfastError, status: int, of_run: int) -> None:
    host = FakeHost(sandboxes=[RUNNING])
    for call in ("disconnect", "run", "start"):
        host.refusals[call] = error
    assert typed("network disconnect lab web", host).status == status
    assert typed("run sh", host).status == of_run
    assert typed("exec web sh", host).status == of_run


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.SandboxNotFound("web"), 0),
        (errors.EndpointNotFound("lab", "web"), 0),
        (errors.NetworkNotFound("lab"), 1),
        (errors.SandboxBusy("sandbox", "web", "made"), 1),
    ],
)
def test_disconnecting_by_force_is_content_with_what_is_gone_and_with_nothing_else(
    error: MacvfastError, status: int
) -> None:
    host = FakeHost()
    host.refusals["disconnect"] = error
    assert typed("network disconnect -f lab web", host).status == status


def test_what_cannot_be_undone_is_told_beside_the_first_error() -> None:
    host = FakeHost()
    held = errors.NamespaceHeld("web", ["process 17"])
    first = errors.CommandNotStarted("sh", "Exec format error")
    host.refusals["run"] = errors.UndoFailed(first, [held], hints=["`macvfast rm -f web` removes it"])
    said = typed("run -d --name web sh", host)
    assert said.status == 3
    assert said.err.startswith("error: command `sh` cannot be started\n  caused by: Exec format error\n")
    assert (
        "  caused by: then, while undoing: sandbox `web` could not be removed completely: its namespace is held by"
        in said.err
    )
    assert "hint: end that, then run `macvfast rm -f web` again\n" in said.err
    assert "hint: `macvfast rm -f web` removes it\n" in said.err


def test_ctrl_c_while_the_command_starts_ends_with_130() -> None:
    host = FakeHost()
    host.refusals["run"] = KeyboardInterrupt()
    said = typed("run -d sh", host)
    assert (said.status, said.out) == (130, "")
    assert said.err.startswith("error: interrupted\n")


# Several items.


def test_of_several_each_failure_is_shown_and_the_status_says_partly() -> None:
    host = FakeHost()
    host.outcomes = {"b": errors.NetworkNotFound("b"), "c": errors.NetworkInUse("c", ["web"])}
    said = typed("network rm a b c", host)
    assert (said.status, said.out) == (3, "a\n")
    assert said.err == (
        "error: network `b` not found\n"
        "  caused by: no network has that name, or an id that begins so\n"
        "\n"
        "hint: `macvfast network ls` lists them\n"
        "\n"
        "error: network `c` has endpoints\n"
        "  caused by: connected: `web`\n"
        "\n"
        "hint: `macvfast network disconnect c web`, or `macvfast rm -f web`\n"
    )


def test_where_nothing_was_removed_the_status_says_so() -> None:
    host = FakeHost()
    host.outcomes = {"a": errors.SandboxNotFound("a"), "b": errors.SandboxRunning("b")}
    assert typed("rm a b", host).status == 1
    host.outcomes = {"a": errors.NamespaceHeld("a", [])}
    assert typed("rm a", host).status == 3


def test_what_is_printed_of_the_removed_is_escaped() -> None:
    host = FakeHost(sandboxes=[sandbox("gone\x1b[31m")])
    assert typed(["rm", "-f", "gone\x1b[31m"], host).out == "gone\\x1b[31m\n"


def test_rm_prints_what_was_typed_and_by_force_nothing_for_what_was_not_there() -> None:
    host = FakeHost(sandboxes=[RUNNING])
    assert typed(f"rm -f {RUNNING.id} nosuch", host) == (0, f"{RUNNING.id}\n", "")
    assert typed("rm -f nosuch", host) == (0, "", "")
    # Where nothing was removed, a failure is no partial one.
    host.outcomes[RUNNING.id] = errors.KernelRefused("end process 7", 110)
    assert typed(f"rm -f nosuch {RUNNING.id}", host).status == 1


def test_a_sandbox_that_is_being_changed_is_there_for_rm() -> None:
    host = FakeHost()
    host.refusals["sandbox"] = errors.SandboxBusy("sandbox", "web", "removed")
    assert typed("rm -f web", host) == (0, "web\n", "")


def test_network_rm_by_force_passes_over_what_is_not_there_only() -> None:
    host = FakeHost()
    host.outcomes = {"b": errors.NetworkNotFound("b")}
    assert typed("network rm -f a b", host) == (0, "a\n", "")
    assert typed("network rm -f b", host) == (0, "", "")
    host.outcomes["c"] = errors.NetworkInUse("c", ["web"])
    assert typed("network rm -f b c", host).status == 1


def test_inspect_shows_what_there_is_and_ends_with_1() -> None:
    host = FakeHost(networks=[network()])
    said = typed("network inspect nope pub_net", host)
    assert said.status == 1
    assert [one["Name"] for one in json.loads(said.out)] == ["pub_net"]
    assert said.err.startswith("error: network `nope` not found\n")
    assert typed("network inspect nope", host).out == "[]\n"


# JSON.


@pytest.mark.parametrize(
    "line",
    ["network ls --format json", "ps --format=json", "network inspect x -f json", "network inspect x --format json"],
)
def test_where_json_is_asked_for_errors_are_json_too(line: str) -> None:
    host = FakeHost()
    for call in ("networks", "sandboxes", "network"):
        host.refusals[call] = errors.StateCorrupt("/var/lib/macvfast/state.db", "\x1b[31mbad\x9b")
    said = typed(line, host)
    assert said.status == 1
    assert json.loads(said.err) == {
        "error": {
            "code": "state-corrupt",
            "message": "the state file `/var/lib/macvfast/state.db` is damaged",
            "causes": ["\\x1b[31mbad\\x9b"],
            "hints": ["move it away and load a copy with `macvfast state load`; nothing was changed"],
        }
    }


def test_a_usage_error_is_json_too_where_json_is_asked_for() -> None:
    said = typed("ps --format json --bogus")
    assert (said.status, json.loads(said.err)["error"]["code"]) == (2, "usage")
    # The command's own words are none of ours.
    assert typed("run --bogus sh --format json").err.startswith("error: ")


# What nobody foresaw.


def test_a_bug_is_one_line_and_a_status_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    host = FakeHost()
    host.refusals["networks"] = ValueError("odd\x1b[31m")
    monkeypatch.delenv("MACVFAST_DEBUG", raising=False)
    said = typed("network ls", host)
    assert said.status == 70
    assert said.err.startswith("error: a bug in macvfast\n  caused by: ValueError: odd\\x1b[31m\n\nhint: ")
    assert "MACVFAST_DEBUG=1" in said.err
    assert "Traceback" not in said.err
    monkeypatch.setenv("MACVFAST_DEBUG", "1")
    assert typed("network ls", host).err.startswith("Traceback (most recent call last):\n")


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_ctrl_c_that_python_has_wrapped_is_no_bug(link: str) -> None:
    """As `Error calling __set_name__ of …`, where it comes while a class is made."""
    wrapped = RuntimeError("Error calling __set_name__")
    between = ValueError("between")
    setattr(wrapped, link, between)
    setattr(between, link, KeyboardInterrupt())
    host = FakeHost()
    host.refusals["networks"] = wrapped
    said = typed("network ls", host)
    assert said.status == 130
    assert said.err.startswith("error: interrupted\n  caused by: ")


def test_exceptions_that_name_each_other_are_a_bug_all_the_same() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    host = FakeHost()
    host.refusals["networks"] = one
    assert typed("network ls", host).status == 70


def in_a_process(
    line: str, tmp_path: Path, stdout: int | None, *, networks: int = 1, code: str = ""
) -> subprocess.CompletedProcess[str]:
    """The same in a process with real streams, at a host with so many networks."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from macvfast.cli.app import run\n"
        "from tests.unit.cli_bed import FakeHost, network\n"
        f"host = FakeHost(networks=[network(f'net-{{n}}') for n in range({networks})])\n"
        f"{code}\n"
        f"sys.exit(run({line.split()!r}, lambda state_dir, make: host))\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.run(
        [sys.executable, "-X", "dev", str(program)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("networks", [1, 5000])
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path, networks: int) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = in_a_process("network ls", tmp_path, write_end, networks=networks)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("line", "status"), [("network ls", 1), ("network create lab", 3)])
def test_a_result_that_cannot_be_written_is_an_error(tmp_path: Path, line: str, status: int) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = in_a_process(line, tmp_path, full)
    finally:
        os.close(full)
    assert done.returncode == status
    assert done.stderr.startswith("error: standard output cannot be written\n  caused by: No space left on device\n")
    assert ("the command succeeded" in done.stderr) == (status == 3)


def test_a_closed_standard_output_is_no_bug(tmp_path: Path) -> None:
    done = in_a_process("network ls", tmp_path, None, code="sys.stdout.close(); sys.stdout = None")
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    code = f"import os, signal; host.networks = lambda: os.kill(os.getpid(), {int(signal.SIGINT)})"
    done = in_a_process("network ls", tmp_path, subprocess.DEVNULL, code=code)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
