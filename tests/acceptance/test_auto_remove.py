"""`run --rm` that is killed on the way: what is left is known to be left, and goes."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.support import filter_macs, listed

if TYPE_CHECKING:
    import subprocess

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")

# Makes the sandbox as `run --rm` does, says so, and waits where that would start the command.
STOPPED_HALF_WAY = """
import sys, time
from macvfast.process import launch
def wait(*_):
    print("made", flush=True)
    sys.stdin.read()
launch.launch = wait
from macvfast.cli import main
sys.exit(main(sys.argv[1:]))
"""


def half_way(lan: Lan) -> subprocess.Popen[str]:
    """A `run --rm` that has made its sandbox, and is about to start its command."""
    process = lan.host.start(
        sys.executable, "-c", STOPPED_HALF_WAY, "run", "--rm", "-d", "--net=pub_net", "--name=box", "sleep", "1000"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "made\n"
    return process


@pytest.mark.parametrize("way", ["restore", "gc"])
def test_what_a_killed_run_left_is_a_difference_and_goes(lan: Lan, way: str) -> None:
    support.create_pub_net(lan)
    with half_way(lan) as process:
        # As long as somebody is about to start it, it is left alone.
        assert lan.macvfast("check") == ""
        lan.macvfast(way)
        assert [one["Names"] for one in listed(lan, "ps")] == ["box"]
        process.kill()
        process.communicate()
    done = lan.attempt("check")
    assert done.returncode == 7
    assert "sandbox box: its command (--rm) was never started" in done.stdout
    assert "box" in lan.macvfast(way)
    assert listed(lan, "ps", "-a") == []
    assert filter_macs(lan) == set()
    assert lan.macvfast("check") == ""
    assert not list((lan.state_dir / "sandboxes").iterdir())


def test_what_is_about_to_run_is_ended_by_force(lan: Lan) -> None:
    support.create_pub_net(lan)
    with half_way(lan) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    lan.macvfast("rm", "-f", "box")
    assert filter_macs(lan) == set()


def test_after_a_reboot_what_was_to_go_with_its_command_goes(lan: Lan, tmp_path: object) -> None:
    support.create_pub_net(lan)
    lan.macvfast("run", "--rm", "-d", "--net=pub_net", "--name=box", "sleep", "1000")
    lan.macvfast("create", "--net=pub_net", "--name=stays")
    support.lose_everything(lan)
    with support.another_boot(tmp_path):  # type: ignore[arg-type]
        done = lan.attempt("check")
        assert [line for line in done.stdout.splitlines() if line.startswith("sandbox box: ")] == [
            "sandbox box: its command (--rm) has ended"
        ]
        lan.macvfast("restore")
        assert [one["Names"] for one in listed(lan, "ps", "-a")] == ["stays"]
        assert lan.macvfast("check") == ""


@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["attached", "detached"])
def test_a_command_that_cannot_be_started_takes_its_sandbox_with_it_at_once(
    lan: Lan, tmp_path: object, detach: tuple[str, ...]
) -> None:
    """Also where only the kernel knows: nobody waits for a lock that is his own."""
    script = tmp_path / "script"  # type: ignore[operator]
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    support.create_pub_net(lan)
    done = lan.host.attempt(netns.MACVFAST, "run", "--rm", *detach, "--net=pub_net", str(script), timeout_s=8)
    assert done.returncode == 126
    assert listed(lan, "ps", "-a") == []
    assert filter_macs(lan) == set()


@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["attached", "detached"])
@pytest.mark.parametrize(
    ("variable", "command"),
    [
        ("CNI_COMMAND=ADD", (sys.executable, "-m", "macvfast")),
        ("CNI_COMMAND=ADD", (str(netns.MACVFAST),)),
        ("MACVFAST_PYTHON=/bin/false", (sys.executable, "-m", "macvfast")),
    ],
    ids=["in a runtime's hook", "in a runtime's hook, native", "with another Python named"],
)
def test_a_sandbox_goes_with_its_command_whatever_the_callers_environment_makes_of_the_native_command(
    lan: Lan, variable: str, command: tuple[str, ...], detach: tuple[str, ...]
) -> None:
    support.create_pub_net(lan)
    seen = lan.host.run("env", variable, *command, "run", "--rm", *detach, "--net=pub_net", "env")
    # The variable is the command's, too.
    assert detach or variable in seen.splitlines()
    netns.wait_until(lambda: listed(lan, "ps", "-a") == [], 10, "the sandbox to go")
    assert filter_macs(lan) == set()
