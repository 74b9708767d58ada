"""What other users of the host can do to it: nothing that root then carries out, joins, ends or waits for."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance.support import programs, refused
from tests.acceptance.test_own_files import at_home
from tests.netns import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")

NOBODY = 65534
AS_NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


# Modes.

# Of all that stands in the state directory and in /run/macvfast: files of /etc are mounted for commands of any user.
MODES = {"directory": "700", "file": "600", "directory etc": "755", "file in etc": "644"}


def kind(path: Path) -> str:
    directory = stat.S_ISDIR(path.lstat().st_mode)
    if path.name == "etc" and directory:
        return "directory etc"
    return "directory" if directory else "file in etc" if path.parent.name == "etc" else "file"


@pytest.mark.usefixtures("pub_net")
def test_with_a_umask_of_0_nothing_of_the_state_is_open_to_others(lan: Lan) -> None:
    """Whatever comes first makes the directory of all sandboxes, and that of each."""
    macvfast = netns.MACVFAST
    lan.run("ip", "netns", "add", "given")
    lan.run(
        "sh", "-ec",
        f"umask 0\n{macvfast} run -d --name=own --net=pub_net --add-host=printer:172.16.86.9 -- sleep 1000\n"
        f"{macvfast} run -d --rm --name=ends --net=pub_net -- sleep 1000\n"
        f"{macvfast} network connect --netns=/run/netns/given pub_net stands\n{macvfast} exec -d stands sleep 1000\n"
        f"{macvfast} scale pub_net w=2\n{macvfast} exec w-0 true\n{macvfast} state backup {lan.state_dir}/copy\n",
    )  # fmt: skip
    found = [
        (path, kind(path), f"{path.lstat().st_mode & 0o7777:o}") for path in (lan.state_dir, *lan.state_dir.rglob("*"))
    ]
    lan.macvfast("rm", "-f", "own", "ends", "stands")
    lan.run("ip", "netns", "delete", "given")
    assert [(path, mode) for path, of, mode in found if mode != MODES[of]] == []
    assert {of for _, of, _ in found} == set(MODES)


def test_with_a_umask_of_0_nothing_in_the_default_places_is_open_to_others(lan: Lan) -> None:
    said = at_home(
        lan,
        "umask 0\nmacvfast create --name=web --add-host=printer:172.16.86.9 >/dev/null\nmacvfast create >/dev/null\n"
        "find /var/lib/macvfast /run/macvfast -printf '%p %y %m\\n'\n",
    )
    lines = [line.split() for line in said.splitlines()]
    kinds = {"d": "directory", "f": "file"}
    etc = {"d": "directory etc", "f": "file in etc"}
    wrong = [
        line
        for line in lines
        if line[2] != MODES[(etc if line[0].endswith("/etc") or "/etc/" in line[0] else kinds)[line[1]]]
    ]
    assert wrong == []
    assert any(path.startswith("/run/macvfast/sandboxes/") for path, *_ in lines)


def test_a_state_directory_that_others_may_list_is_refused_and_left_alone(lan: Lan) -> None:
    lan.macvfast("create", "--name=web")
    lan.state_dir.chmod(0o755)
    for words in (("ps",), ("create",), ("rm", "web")):
        assert f"chmod 0700 {lan.state_dir}" in refused(lan, *words)
    lan.state_dir.chmod(0o700)
    lan.macvfast("rm", "web")


# What a sandbox's directory says.


@contextmanager
def somebodys_process() -> Iterator[int]:
    """A process of another user, in a pid namespace of its own."""
    shell = f"echo $$; exec unshare --pid --fork --kill-child {AS_NOBODY} sleep 1000"
    with subprocess.Popen(["sh", "-c", shell], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        parent = int(process.stdout.readline())
        children = Path(f"/proc/{parent}/task/{parent}/children")

        def sleeps() -> int:
            pids = [int(pid) for pid in children.read_text().split()]
            return next((pid for pid in pids if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"), 0)

        pid = wait_until(sleeps, what="the process")
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGKILL)


def start_time(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"


def forge(lan: Lan, id_: str, pid: int, *, uid: int = 0, keeper: str = "") -> None:
    """Have the status of a sandbox name a process that has nothing to do with it, as its pid 1 and, unless that is
    given, as its keeper.
    """
    directory = lan.state_dir / "sandboxes" / id_
    directory.mkdir(parents=True, mode=0o700, exist_ok=True)
    directory.parent.chmod(0o700)
    # Each keeper leaves it behind; without it a sandbox is being removed.
    (directory / "lock").touch(mode=0o600)
    process = f"{pid} {start_time(pid)}"
    status = directory / "status"
    status.unlink(missing_ok=True)
    status.write_text(f"boot {BOOT_ID}\nkeeper {keeper or process}\ninit {process}\nstate running\n")
    os.chown(status, uid, uid)


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_a_forged_status_makes_root_neither_join_nor_kill(lan: Lan, uid: int) -> None:
    """Written while the directory was open to all, or in a directory of theirs."""
    id_ = lan.macvfast("create", "--name=web")
    with somebodys_process() as pid:
        forge(lan, id_, pid, uid=uid)
        done = lan.attempt("exec", "web", "readlink", "/proc/self/ns/net", "/proc/self/ns/pid")
        theirs = os.readlink(f"/proc/{pid}/ns/pid")
        if uid:
            assert done.returncode == 125
            assert "belongs to another user (uid 65534)" in done.stderr
        else:
            assert theirs not in done.stdout
            assert done.returncode == 0, done.stderr
        forge(lan, id_, pid, uid=uid)
        os.kill(pid, signal.SIGSTOP)
        lan.attempt("rm", "-f", "web")
        assert is_there(pid)
    assert lan.sandbox_names() == []
    assert lan.macvfast("ps", "-aq") == ""


@pytest.mark.parametrize("instead", ["nothing", "rubbish", "another's process", "another's pid 1"])
def test_a_command_is_ended_whatever_its_status_says(lan: Lan, instead: str) -> None:
    """Its keeper would be waited for, for as long as it may take, by this and by each later command."""
    id_ = lan.macvfast("run", "-d", "--name=web", "sh", "-c", "sleep 1001 & sleep 1000")
    status = lan.state_dir / "sandboxes" / id_ / "status"
    with somebodys_process() as pid:
        if instead == "another's process":
            forge(lan, id_, pid)
        elif instead == "another's pid 1":
            forge(lan, id_, pid, keeper=re.findall("^keeper (.*)$", status.read_text(), re.MULTILINE)[0])
        elif instead == "rubbish":
            status.write_text("rubbish")
        else:
            status.unlink()
        assert "runs a command" in refused(lan, "rm", "web")
        assert programs(lan) != []
        lan.macvfast("rm", "-f", "web")
        assert is_there(pid)
    assert lan.sandbox_names() == []
    assert programs(lan) == []


# /etc/netns.


def note_of(said: str) -> str:
    (note,) = [line for line in said.splitlines() if line.startswith("note:")]
    return note


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("chmod 1777 /var/lib", "others may write to /var/lib (mode 1777)"),
        ("chmod 775 /run", "others may write to /run (mode 0775)"),
        ("chown 65534 /etc/netns", "/etc/netns belongs to another user (uid 65534)"),
        ("mkdir /run/macvfast; chown 65534 /run/macvfast", "/run/macvfast: it belongs to another user (uid 65534)"),
        ("mkdir -p /run/macvfast /run/x; chmod 777 /run/macvfast", "/run/macvfast: others may write to it"),
        ("mkdir /run/x; ln -s x /run/macvfast", "/run/macvfast: it is a symbolic link"),
    ],
)
def test_no_link_is_made_where_others_could_put_files_of_theirs_at_its_end(lan: Lan, before: str, reason: str) -> None:
    """`ip netns exec` shows root what stands there as /etc/passwd."""
    given = "--add-host=printer:172.16.86.9" if "/var/lib" in before else ""
    said = at_home(
        lan,
        f"{before}\nmacvfast create --name=web {given} >/dev/null\nls -A /etc/netns\n[ ! -e /run/x ] || ls -A /run/x",
    )
    assert reason in note_of(said)
    assert len(said.splitlines()) == 1
    again = at_home(lan, f"{before}\nmacvfast run --name=web {given} uname -n 2>/dev/null")
    assert again == "web\n"


def test_a_link_that_outlives_its_state_is_no_later_sandboxs(lan: Lan) -> None:
    """Whoever can make its path again would put files of his own there."""
    remade = f"{AS_NOBODY} sh -c 'mkdir -p $0; echo evil >$0/passwd' $(readlink /etc/netns/web)"
    said = at_home(
        lan,
        "macvfast create --name=web --add-host=printer:172.16.86.9 >/dev/null\n"
        "ip netns del web; rm -r /var/lib/macvfast; chmod 1777 /var/lib\n"
        f"{remade}\nip netns add theirs\n"
        "macvfast --state-dir=/etc/netns/private create --name=web >/dev/null\n"
        "ls -A /etc/netns",
    )
    assert said.split() == ["private"]


def test_a_state_directory_that_another_user_made_again_is_refused(lan: Lan) -> None:
    said = at_home(
        lan,
        "macvfast create --name=web >/dev/null\nip netns del web; rm -r /var/lib/macvfast; chmod 1777 /var/lib\n"
        f"{AS_NOBODY} mkdir -m 700 /var/lib/macvfast\nmacvfast create --name=web || echo $?",
    )
    assert "it belongs to another user (uid 65534)" in said
    assert said.split()[-1] == "1"


def test_a_link_to_what_others_may_change_is_seen_and_taken_away(lan: Lan) -> None:
    said = at_home(
        lan,
        "macvfast create --name=web --add-host=printer:172.16.86.9 >/dev/null\nchmod 1777 /var/lib\n"
        "macvfast check || echo $?\nmacvfast gc; ls -A /etc/netns; macvfast check",
    )
    seen, status, *rest = said.splitlines()
    assert "sandbox web: `ip netns exec` would read what others may change" in seen
    assert "others may write to /var/lib (mode 1777)" in seen
    assert status == "7"
    assert len(rest) == 1


@pytest.mark.parametrize("by", ["restore", "gc"])
def test_what_a_replaced_state_knew_is_seen_and_taken_away(lan: Lan, by: str) -> None:
    said = at_home(
        lan,
        "macvfast create --name=stays --add-host=printer:172.16.86.9 >/dev/null\n"
        "macvfast state backup /var/lib/copy >/dev/null\n"
        "macvfast create --name=later --add-host=printer:172.16.86.9 >/dev/null\n"
        "macvfast state load --force /var/lib/copy >/dev/null\nmacvfast check || echo $?\n"
        f"macvfast {by} >/dev/null; macvfast check; ls -A /etc/netns; ls -A /var/lib/macvfast/sandboxes | wc -l",
    )
    *seen, status, names, count = said.splitlines()
    assert len(seen) == 2
    assert all("it is gone, and its files are left" in line for line in seen)
    assert (status, names, count) == ("7", "stays", "1")
