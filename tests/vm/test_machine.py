"""The virtual machine itself: its exit statuses, what it may write, what a reboot takes away, whose tests are whose."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import probe
from tests.vm import kernel, suite
from tests.vm.machine import TIMED_OUT, TREE

if TYPE_CHECKING:
    from pathlib import Path

# It is started here, and so not for the inside of it.
on_the_machine = pytest.mark.needs("root", "qemu-system-x86_64", "busybox", "ip")


@pytest.fixture
def fetched() -> None:
    """The kernel is there: a test run has no network to fetch it by."""
    if not (kernel.CACHE / "kernel").exists():
        if probe.IN_CI:
            pytest.fail("the kernel was not fetched: `make test` does that first", pytrace=False)
        pytest.skip("the kernel is not fetched: `tests/vm/run true` does that")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Start the virtual machine as it is typed."""
    return subprocess.run([TREE / "tests" / "vm" / "run", *arguments], capture_output=True, text=True, check=False)


FIRST_BOOT = """
set -e
echo "release $(uname -r) of user $(id -u)"
echo kept >"$0/kept"
cat /proc/sys/kernel/random/boot_id >"$0/boot"
echo lost >"$1/target/vm-wrote-this"
ip link add d0 type dummy
ip netns add left
echo "to stderr" >&2
exit 7
"""

SECOND_BOOT = """
ip -brief link show; ip netns list; cat "$0/kept"
cmp -s "$0/boot" /proc/sys/kernel/random/boot_id && echo "the same boot"
stty raw <&1  # waits for the output to have gone out
echo o >/proc/sysrq-trigger
while :; do :; done
"""


@on_the_machine
@pytest.mark.usefixtures("fetched")
def test_two_runs_with_one_directory_are_a_reboot_and_leave_nothing_else(tmp_path: Path) -> None:
    keep = tmp_path / "a directory"
    first = run("--keep", str(keep), "bash", "-c", FIRST_BOOT, str(keep), str(TREE))
    assert (first.returncode, first.stderr) == (7, "")
    release, rest = first.stdout.splitlines()
    assert release.startswith("release ")
    assert release.endswith("amd64 of user 0")
    assert os.uname().release not in release
    assert rest == "to stderr"
    assert not (TREE / "target" / "vm-wrote-this").exists()
    assert (keep / "kept").read_text() == "kept\n"
    # Nobody's success: the second boot is switched off before its command has ended.
    second = run("--keep", str(keep), "bash", "-c", SECOND_BOOT, str(keep))
    assert second.returncode == 125
    assert "the guest ended before the command did" in second.stderr
    (loopback, kept) = second.stdout.splitlines()
    assert loopback.startswith("lo ")
    assert kept == "kept"


@on_the_machine
@pytest.mark.usefixtures("fetched")
def test_what_takes_too_long_is_switched_off() -> None:
    done = run("--timeout", "0.5", "sleep", "1000")
    assert (done.returncode, done.stdout) == (TIMED_OUT, "")
    assert done.stderr == "vm: switched off after 0.5 s\n"


def collected(*, in_vm: bool) -> set[str]:
    """The tests of a file that pytest would run, on the machine itself or in the virtual one."""
    environment = {name: value for name, value in os.environ.items() if name != "MACVFAST_VM"}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    said = subprocess.run(
        [*command, "tests/kernel/test_batches.py"],
        cwd=TREE,
        env=environment | ({"MACVFAST_VM": "1"} if in_vm else {}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return {line for line in said.splitlines() if "::" in line}


def test_each_test_has_one_place() -> None:
    here, there = collected(in_vm=False), collected(in_vm=True)
    kinds = {name.partition("test_a_kind_that_not_every_kernel_has_is_made")[2] for name in there}
    assert kinds == {"[dummy]", "[vlan]", "[ipvlan]"}
    assert here.isdisjoint(there)
    assert len(here) > len(there)


@pytest.mark.parametrize(("in_ci", "status", "begin"), [(True, 1, "error: 3 tests ran"), (False, 0, "3 tests ran")])
def test_where_the_machine_cannot_run_its_tests_fail_in_ci_and_are_counted_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_ci: bool, status: int, begin: str
) -> None:
    def cannot(_: object) -> int:
        raise kernel.CannotRun("there is no qemu")

    monkeypatch.setattr(probe, "IN_CI", in_ci)
    monkeypatch.setattr(suite, "left", lambda: ["a", "b", "c"])
    monkeypatch.setattr(suite, "run", cannot)
    assert suite.main([]) == status
    said = capsys.readouterr().err
    assert said.startswith(f"{begin} nowhere")
    assert "caused by: there is no qemu" in said
