"""`run`, `exec` and `ps`: a command of this host in a sandbox, on a terminal or without, attached or not."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.support import at_terminal, listed, ps, refused, wait_for_process
from tests.terminal import Terminal

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def log_of(lan: Lan, name: str) -> str:
    """What a detached command has written so far."""
    directory = lan.state_dir / "sandboxes" / str(ps(lan, name)["ID"])
    return (directory / "log").read_text(encoding="utf-8")


# Exit statuses.


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_run_ends_with_the_commands_own_status(lan: Lan, script: str, status: int) -> None:
    done = lan.attempt("run", "--name=box", "sh", "-c", f"echo out; echo err >&2; {script}")
    assert (done.returncode, done.stdout, done.stderr) == (status, "out\n", "err\n")
    shown = ps(lan, "box")
    assert (shown["State"], shown["ExitCode"]) == ("exited", status)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_caller_closed_is_no_reason_not_to_run(lan: Lan, closed: str) -> None:
    """Python has no object for it."""
    line = shlex.join([str(netns.MACVFAST), "run", "--rm", "-i", "sh", "-c", "exit 3"])
    assert lan.host.attempt("sh", "-c", f"exec {line} {closed}").returncode == 3
    assert not lan.sandbox_names()


@pytest.mark.parametrize(
    ("command", "status", "word"),
    [
        (["no-such-command"], 127, "not found"),
        (["/no/such/command"], 127, "not found"),
        (["/etc/passwd"], 126, "cannot be started"),
        (["/etc"], 126, "cannot be started"),
        (["alpine", "/bin/sh"], 127, "without an image"),
        (["ghcr.io/someone/thing:1.2", "sleep", "1"], 127, "without an image"),
    ],
    ids=["missing", "missing path", "no program", "a directory", "an image", "an image with a registry"],
)
@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["attached", "detached"])
def test_a_command_that_cannot_be_started_is_refused_beforehand(
    lan: Lan, command: list[str], status: int, word: str, detach: tuple[str, ...]
) -> None:
    support.create_pub_net(lan)
    assert word in refused(lan, "run", "--net=pub_net", *detach, *command, status=status)


def test_what_looks_like_an_image_is_not_explained_where_it_is_a_command(lan: Lan) -> None:
    assert "image" not in refused(lan, "run", "no-such-command", status=127)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--net=missing", "true"],
        ["--ip=172.16.86.1", "--net=pub_net", "true"],
        ["--name=a/b", "true"],
        ["--no-such-flag", "true"],
        [],
    ],
)
def test_what_run_refuses_ends_with_125(lan: Lan, arguments: list[str]) -> None:
    support.create_pub_net(lan)
    refused(lan, "run", *arguments, status=125)


def test_what_a_shell_cannot_execute_for_its_interpreter_is_126_or_127_and_leaves_the_sandbox_true(
    lan: Lan, tmp_path: Path
) -> None:
    """Only the kernel can tell: the file looks fine from outside."""
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    done = lan.attempt("run", "--name=box", str(script))
    assert done.returncode in (126, 127)
    assert "Traceback" not in done.stderr
    assert all(one["State"] != "running" for one in listed(lan, "ps", "-a"))


# Streams.


def test_standard_input_reaches_the_command_with_i_and_is_empty_without(lan: Lan) -> None:
    assert lan.attempt("run", "--rm", "-i", "cat", stdin="to be or not\n").stdout == "to be or not\n"
    assert lan.attempt("run", "--rm", "cat", stdin="to be or not\n").stdout == ""


def test_output_passes_unchanged_and_whole(lan: Lan) -> None:
    done = lan.attempt("run", "--rm", "seq", "200000")
    assert done.stdout == "".join(f"{number}\n" for number in range(1, 200001))


def test_the_command_is_alone_in_its_pid_namespace_with_its_own_proc_and_sys(lan: Lan) -> None:
    support.create_pub_net(lan)
    script = "echo $$; ls -d /proc/[0-9]* | wc -l; ls /sys/class/net"
    pid, processes, *links = lan.macvfast("run", "--rm", "--net=pub_net", "sh", "-c", script).split()
    assert int(pid) < 10
    # pid 1, the shell, ls and wc.
    assert int(processes) <= 5
    assert links == ["eth0", "lo"]


def words_before(lan: Lan, way: str) -> list[str]:
    """What is typed between `run` or `exec` and a command; for `exec`, another runs then."""
    if way == "run":
        return []
    lan.macvfast("run", "-d", "--name=box", "sleep", "1000")
    return ["box"]


@pytest.mark.parametrize("way", ["run", "exec"])
def test_without_t_a_command_has_no_way_to_the_callers_terminal(lan: Lan, way: str) -> None:
    name = words_before(lan, way)
    script = "readlink /proc/[0-9]*/fd/* | grep /dev/pts || echo none; (: < /dev/tty) 2>/dev/null || echo nor any; cat"
    with at_terminal(lan, way, "-i", *name, "sh", "-c", script) as person:
        person.wait_for("none\r\nnor any\r\n")
        person.type("typed\n\x04")
        assert person.wait() == 0
    assert person.screen.endswith("typed\r\ntyped\r\n")


@pytest.mark.parametrize("way", ["run", "exec"])
def test_under_proc_there_is_not_the_hosts(lan: Lan, way: str) -> None:
    assert lan.macvfast(way, *words_before(lan, way), "sh", "-c", "umount -l /proc; echo /proc/*") == "/proc/*"


def test_after_two_dashes_all_is_the_commands_own(lan: Lan) -> None:
    assert lan.macvfast("run", "--rm", "--", "echo", "--rm", "-d", "--net=missing") == "--rm -d --net=missing"
    assert lan.macvfast("run", "--rm", "echo", "--rm", "-d", "--net=missing") == "--rm -d --net=missing"


def test_docker_spellings_are_understood(lan: Lan) -> None:
    lan.macvfast(
        "network",
        "create",
        "--driver",
        "macvlan",
        "--subnet",
        "172.16.86.0/24",
        "--opt",
        "parent=eth0",
        "--ipv6=false",
        "n",
    )
    assert "172.16.86.9/24" in lan.macvfast("run", "--rm", "--network", "n", "--ip", "172.16.86.9", "ip", "-4", "addr")


# A terminal.


def test_a_terminal_has_the_size_of_the_window_and_follows_it(lan: Lan) -> None:
    with at_terminal(lan, "run", "-it", "--rm", "/bin/sh", size=(33, 101)) as terminal:
        terminal.wait_for("# ")
        assert "not a tty" not in terminal.ask("tty")
        assert terminal.ask("stty size") == "33 101\n"
        terminal.resize(40, 120)
        netns.wait_until(lambda: terminal.ask("stty size") == "40 120\n", what="the new size inside")


def test_control_c_interrupts_the_command_and_not_macvfast(lan: Lan) -> None:
    with at_terminal(lan, "run", "-it", "--rm", "--name=box", "/bin/sh") as terminal:
        terminal.wait_for("# ")
        terminal.type("sleep 1000\n")
        wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
        terminal.type("\x03")
        terminal.wait_for(r"\^C")
        terminal.wait_for("# ")
        assert terminal.ask("echo still $((40+2))") == "still 42\n"
        terminal.type("exit 5\n")
        assert terminal.wait() == 5
    assert lan.sandbox_names() == []


def test_a_terminal_that_is_not_there_cannot_be_had(lan: Lan) -> None:
    assert "not a terminal" in refused(lan, "run", "-it", "/bin/sh", status=125)


def test_a_detached_shell_stays_with_its_terminal_held_open(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("run", "--net=pub_net", "--name=box", "-itd", "/bin/sh")
    pid = wait_for_process(lan.sandbox("box").inode, "/bin/sh")
    assert Path(f"/proc/{pid}/fd/0").readlink().parts[1] == "dev"
    assert os.major(os.stat(f"/proc/{pid}/fd/0").st_rdev) in range(136, 144)  # a pseudo-terminal's other end
    # A shell whose standard input is at its end is gone at once; this one is asleep, waiting for what is typed.
    netns.wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("S"))
    assert ps(lan, "box")["State"] == "running"


def test_a_detached_shell_without_i_has_no_input_and_ends(lan: Lan) -> None:
    lan.macvfast("run", "--name=box", "-d", "/bin/sh")
    netns.wait_until(lambda: ps(lan, "box")["State"] == "exited", what="the end of the shell")
    assert ps(lan, "box")["ExitCode"] == 0


# Detached.


def test_a_detached_command_prints_the_id_and_writes_to_a_log(lan: Lan) -> None:
    id_ = lan.macvfast("run", "--name=box", "-d", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert ps(lan, "box")["ID"] == id_
    netns.wait_until(lambda: ps(lan, "box")["State"] == "exited", what="the end of the command")
    assert ps(lan, "box")["ExitCode"] == 3
    assert sorted(log_of(lan, "box").splitlines()) == ["err", "out"]


def test_a_detached_command_outlives_the_terminal_that_started_it(lan: Lan) -> None:
    with at_terminal(lan, "run", "-it", "--rm", "--name=window", "/bin/sh") as window:
        window.wait_for("# ")
        with at_terminal(lan, "run", "-d", "--name=box", "sleep", "1000") as terminal:
            assert terminal.wait() == 0
            pid = wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
            terminal.hang_up()
        # Hanging up ends what hangs on the window, and a sandbox of it; by then the other one would have gone too.
        window.hang_up()
        netns.wait_until(lambda: lan.sandbox_names() == ["box"], what="the end of the other window's sandbox")
    assert Path(f"/proc/{pid}").exists()
    assert ps(lan, "box")["State"] == "running"


def test_a_caller_that_lets_the_kernel_reap_its_children_can_detach_a_command(lan: Lan) -> None:
    """What is started so inherits that, and its own children's statuses would be lost to it."""
    script = "trap '' CHLD; exec \"$@\""
    done = lan.host.attempt("sh", "-c", script, "sh", netns.MACVFAST, "run", "-d", "--name=box", "sleep", "1000")
    assert (done.returncode, done.stderr) == (0, "")
    assert ps(lan, "box")["State"] == "running"


def test_what_is_put_into_the_background_by_a_script_is_not_interrupted_with_it(lan: Lan) -> None:
    with Terminal(["bash", "--norc", "-i"], environment={"PS1": "# "}) as person:
        person.wait_for("# $")
        line = shlex.join(lan.host.command(netns.MACVFAST, "run", "--name=box", "sleep", "1000"))
        settings = " ".join(f"{name}={value}" for name, value in lan.host.environment.items())
        person.type(f"sh -c '{settings} {line} & wait'\n")
        netns.wait_until(lambda: lan.sandbox_names() == ["box"], what="the sandbox")
        pid = wait_for_process(lan.sandbox("box").inode, "sleep", "1000")
        person.type("\x03")
        person.wait_for("# $")
    assert Path(f"/proc/{pid}").exists()
    assert ps(lan, "box")["State"] == "running"


# ps.


def test_ps_tells_idle_running_and_exited_apart(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=idle")
    lan.macvfast("run", "-d", "--net=pub_net", "--name=running", "sleep", "1000")
    lan.macvfast("run", "--name=exited", "true")
    shown = {one["Names"]: one for one in listed(lan, "ps", "-a")}
    assert {name: one["State"] for name, one in shown.items()} == {
        "idle": "idle",
        "running": "running",
        "exited": "exited",
    }
    assert sorted(one["Names"] for one in listed(lan, "ps")) == ["idle", "running"]
    assert set(shown["idle"]) >= {
        "ID",
        "Names",
        "Networks",
        "Addresses",
        "Command",
        "State",
        "ExitCode",
        "CreatedAt",
        "Labels",
    }
    assert "172.16.86.2" in str(shown["idle"]["Addresses"])
    assert "pub_net" in str(shown["idle"]["Networks"])
    assert "sleep" in str(shown["running"]["Command"])
    assert lan.macvfast("ps", "-a", "-q", "-f", "name=idle") in shown["idle"]["ID"]
    assert len(lan.macvfast("ps", "-a").splitlines()) == 4


def test_a_command_whose_keepers_were_killed_is_lost_and_its_network_stays(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("run", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    inside = support.pid_one(lan)
    os.kill(support.keeper(lan), signal.SIGKILL)
    os.kill(inside, signal.SIGKILL)
    netns.wait_until(lambda: not support.programs(lan), what="the end of the native program")
    assert ps(lan, "box")["State"] == "lost"
    assert support.addresses_of(lan, "box") == ["172.16.86.2/24"]
    lan.macvfast("exec", "box", "true")
    lan.macvfast("rm", "box")
    assert lan.sandbox_names() == []


@pytest.mark.needs("ping")
def test_an_exited_sandbox_keeps_its_link_and_address(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.macvfast("run", "--net=pub_net", "--name=box", "true")
    assert lan.router.can_ping("172.16.86.2")
    lan.macvfast("create", "--net=pub_net", "--name=other")
    assert support.address_of(lan, "other") == "172.16.86.3"


def test_ip_netns_sees_a_sandbox(tmp_path: Path) -> None:
    bed = netns.Lan(tmp_path, netns.NETNS_DIR)
    try:
        bed.macvfast("create", "--name=box")
        assert "box" in [line.split()[0] for line in bed.run("ip", "netns", "list").splitlines()]
        assert '"lo"' in bed.run("ip", "netns", "exec", "box", "ip", "-json", "link")
        bed.macvfast("rm", "box")
        assert "box" not in [line.split()[0] for line in bed.run("ip", "netns", "list").splitlines()]
    finally:
        for name in bed.sandbox_names():
            if name == "box":
                bed.macvfast("rm", "-f", "box")
        bed.host.remove()
        bed.router.remove()
