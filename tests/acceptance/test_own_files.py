"""What a sandbox has of its own besides its network: files in /etc, a host name, and its commands' surroundings."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance.support import check_error, programs, refused

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


# Where state and pins lie by default, and /etc/netns: each is this script's own.
PLACES = (
    "mkdir -p /etc/netns; for place in /var/lib /run /etc/netns; do mount -t tmpfs -o mode=755 tmpfs $place; done;"
    " mkdir /run/netns"
)


def at_home(lan: Lan, script: str) -> str:
    """What a shell script says whose sandboxes lie where `ip netns` looks, with their state in its default place."""
    shell = ["env", "-u", "MACVFAST_STATE_DIR", "-u", "MACVFAST_NETNS_DIR", "sh", "-ec"]
    return lan.run("unshare", "--mount", *shell, f"{PLACES}\nPATH={netns.MACVFAST.parent}:$PATH\nexec 2>&1\n{script}")


def hosts(text: str) -> dict[str, list[str]]:
    """The names in a hosts file by address, comments left out."""
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {address: names for address, *names in lines}


def test_a_command_knows_itself_by_its_sandboxs_name(lan: Lan, pub_net: str) -> None:  # noqa: ARG001
    said = lan.macvfast(
        "run", "--net=pub_net", "--rm", "--name=web", "--ip=172.16.86.10", "sh", "-c",
        "uname -n; cat /etc/hostname /etc/hosts",
    )  # fmt: skip
    name, in_file, *rest = said.splitlines()
    assert (name, in_file) == ("web", "web")
    assert hosts("\n".join(rest))["172.16.86.10"] == ["web"]
    assert hosts("\n".join(rest))["127.0.0.1"] == ["localhost"]
    assert lan.run("uname", "-n").strip() == os.uname().nodename


@pytest.mark.parametrize("length", [64, 65, 128])
def test_a_name_that_is_too_long_for_a_host_is_taken_by_every_command(lan: Lan, pub_net: str, length: int) -> None:  # noqa: ARG001
    """A host name has 64 bytes at most (HOST_NAME_MAX, limits.h), the name of a sandbox 128."""
    name, other = "a" * length, "b" * length
    lan.macvfast("create", "--net=pub_net", "--name", name)
    assert lan.macvfast("exec", name, "uname", "-n") == name[:64]
    said = lan.macvfast("run", "--name", other, "sh", "-c", "uname -n; cat /etc/hostname")
    assert said.splitlines() == [other[:64]] * 2
    lan.macvfast("network", "connect", "pub_net", other)
    assert hosts(lan.macvfast("exec", other, "cat", "/etc/hosts"))["172.16.86.3"] == [other[:64]]
    lan.macvfast("exec", "-d", name, "sleep", "1000")
    assert lan.macvfast("exec", name, "uname", "-n") == name[:64]
    lan.macvfast("rm", "-f", name, other)


def test_a_host_name_that_was_written_before_it_was_cut_is_cut_when_it_is_used(lan: Lan) -> None:
    id_ = lan.macvfast("create", "--name=web", "--hostname=web")
    (lan.state_dir / "sandboxes" / id_ / "hostname").write_text("w" * 69)
    assert lan.macvfast("exec", "web", "uname", "-n") == "w" * 64


def test_names_and_name_servers_are_as_they_were_given(lan: Lan) -> None:
    said = lan.macvfast(
        "run", "--rm", "-h", "web.lab", "--add-host=printer:172.16.86.9", "--add-host=six:fd00::9", "--dns=172.16.86.1",
        "--dns-search=lab", "--dns-option=ndots:2", "sh", "-c", "cat /etc/hosts; echo; cat /etc/resolv.conf",
    )  # fmt: skip
    known, _, resolver = said.partition("\n\n")
    assert hosts(known)["172.16.86.9"] == ["printer"]
    assert hosts(known)["fd00::9"] == ["six"]
    assert resolver.splitlines() == ["search lab", "nameserver 172.16.86.1", "options ndots:2"]


def test_names_and_name_servers_come_back_with_a_backup(lan: Lan, pub_net: str, tmp_path: Path) -> None:  # noqa: ARG001
    """With the files gone, as after a power cut or on another disk."""
    asked = ["-h", "web.lab", "--add-host=printer:172.16.86.9", "--dns=172.16.86.1", "--dns-search=lab"]
    lan.macvfast("create", "--net=pub_net", "--name=web", *asked)

    def seen() -> str:
        return lan.macvfast("exec", "web", "sh", "-c", "uname -n; cat /etc/hosts /etc/resolv.conf")

    before, copy = seen(), str(tmp_path / "copy.db")
    assert hosts(before.partition("\n")[2])["172.16.86.9"] == ["printer"]
    lan.macvfast("state", "backup", copy)
    lan.macvfast("rm", "-f", "web")
    lan.macvfast("state", "load", "-f", copy)
    lan.macvfast("restore")
    assert seen() == before
    # The kernel writes nothing of a file to the disk for up to half a minute.
    for path in (lan.state_dir / "sandboxes").glob("*/etc/*"):
        path.write_text("")
    said = lan.attempt("check")
    assert (said.returncode, said.stdout) == (
        7, "sandbox web: it lacks files of its own: etc/hosts, etc/hostname, etc/resolv.conf\n",
    )  # fmt: skip
    assert seen() == before
    assert lan.macvfast("check") == ""


def test_addresses_in_the_hosts_file_follow_the_networks(lan: Lan, pub_net: str) -> None:  # noqa: ARG001
    """Also for a command that runs meanwhile."""
    lan.macvfast("run", "-d", "--name=web", "sleep", "1000")

    def own() -> dict[str, list[str]]:
        found = hosts(lan.macvfast("exec", "web", "cat", "/etc/hosts"))
        return {address: names for address, names in found.items() if "web" in names}

    assert own() == {}
    lan.macvfast("network", "connect", "--ip=172.16.86.10", "pub_net", "web")
    assert own() == {"172.16.86.10": ["web"]}
    lan.macvfast("network", "disconnect", "pub_net", "web")
    assert own() == {}


@pytest.mark.parametrize("umask", ["022", "077"])
def test_a_command_of_any_user_reads_its_files_whatever_the_umask(lan: Lan, umask: str) -> None:
    words = f"{netns.MACVFAST} run -u nobody --name=web --add-host=printer:172.16.86.9 cat /etc/hosts /etc/hostname"
    said = lan.run("sh", "-c", f"umask {umask}; {words}")
    assert hosts(said.removesuffix("web\n"))["172.16.86.9"] == ["printer"]


@pytest.mark.parametrize("way", ["run -d --name=box", "run -d --rm --name=box", "exec -d box"])
def test_others_cannot_write_to_the_state_whatever_the_umask(lan: Lan, pub_net: str, way: str) -> None:  # noqa: ARG001
    """The directory of all sandboxes is made by whatever comes first; who may write to it says what runs in them."""
    words = f"{netns.MACVFAST} {way} sleep 1000"
    if way.startswith("exec"):
        # One that has no files of its own, and no directory yet.
        lan.run("ip", "netns", "add", "given")
        words = f"{netns.MACVFAST} network connect --netns=/run/netns/given pub_net box; {words}"
    lan.run("sh", "-c", f"umask 0; {words}")
    found = [path for path in lan.state_dir.rglob("*") if path.lstat().st_mode & 0o022]
    lan.macvfast("rm", "-f", "box")
    if way.startswith("exec"):
        lan.run("ip", "netns", "delete", "given")
    assert found == []


def test_what_is_made_many_at_once_has_what_one_has(lan: Lan, pub_net: str) -> None:  # noqa: ARG001
    lan.api(lambda host: host.connect_many("pub_net", ["one"]).raise_if_any())
    lan.macvfast("scale", "pub_net", "w=1")
    for name in ("one", "w-0"):
        said = lan.macvfast("exec", name, "sh", "-c", "uname -n; cat /etc/hostname /etc/hosts")
        own, in_file, *rest = said.splitlines()
        assert (own, in_file) == (name, name)
        assert [name] in hosts("\n".join(rest)).values()


def test_a_running_commands_hosts_file_follows_what_is_connected_many_at_once(lan: Lan, pub_net: str) -> None:  # noqa: ARG001
    lan.macvfast("run", "-d", "--name=web", "sleep", "1000")
    lan.api(lambda host: host.connect_many("pub_net", ["web"]).raise_if_any())
    assert ["web"] in hosts(lan.macvfast("exec", "web", "cat", "/etc/hosts")).values()
    lan.api(lambda host: host.disconnect_many("pub_net", ["web"]).raise_if_any())
    assert ["web"] not in hosts(lan.macvfast("exec", "web", "cat", "/etc/hosts")).values()


def test_ip_netns_exec_finds_the_files_and_they_go_with_the_sandbox(lan: Lan) -> None:
    said = at_home(
        lan,
        "macvfast create --name=web --add-host=printer:172.16.86.9 >/dev/null\n"
        "ip netns exec web cat /etc/hosts\n"
        "macvfast rm web\n"
        "ls -A /etc/netns /var/lib/macvfast/sandboxes",
    )
    known, _, rest = said.partition("web\n/etc/netns:")
    assert hosts(known)["172.16.86.9"] == ["printer"]
    assert rest.split() == ["/var/lib/macvfast/sandboxes:"]


@pytest.mark.parametrize("by", ["gc", "restore"])
def test_links_of_a_state_in_another_mount_namespace_with_the_same_etc_stay(lan: Lan, by: str) -> None:
    """Their files are in its /run and /var: here they lead nowhere."""
    elsewhere = "for place in /var/lib /run; do mount -t tmpfs -o mode=755 tmpfs $place; done; mkdir /run/netns"
    said = at_home(
        lan,
        "macvfast create --name=kept --add-host=printer:172.16.86.9 >/dev/null\n"
        "macvfast create --name=fleeting >/dev/null\n"
        f"unshare --mount sh -ec '{elsewhere}; macvfast create --name=here >/dev/null; macvfast check;"
        f" macvfast {by}; macvfast rm here'\n"
        "ls -A /etc/netns; macvfast check; ip netns exec kept cat /etc/hosts",
    )
    *names, known = said.split("\n", 2)
    assert names == ["here", "fleeting"], said
    assert known.startswith("kept\n"), said
    assert hosts(known.partition("\n")[2])["172.16.86.9"] == ["printer"]


def test_files_that_somebody_else_put_for_the_name_stay_and_are_said(lan: Lan) -> None:
    said = at_home(
        lan,
        "mkdir /etc/netns/web; echo 10.0.0.1 theirs >/etc/netns/web/hosts\n"
        "macvfast create --name=web >/dev/null\n"
        "ip netns exec web cat /etc/hosts\n"
        "macvfast rm web\n"
        "cat /etc/netns/web/hosts",
    )
    assert said.splitlines() == [
        "note: `ip netns exec` does not find the files of sandbox `web`: /etc/netns/web: it is not macvfast's;"
        " `macvfast exec web …` does",
        "10.0.0.1 theirs",
        "web",
        "10.0.0.1 theirs",
    ]


def test_a_sandbox_is_made_where_etc_cannot_be_written(lan: Lan) -> None:
    said = at_home(
        lan, "mount -o remount,ro /etc/netns\nmacvfast create --name=web >/dev/null\nmacvfast exec web uname -n"
    )
    note, name = said.splitlines()
    assert "/etc/netns/web: Read-only file system; `macvfast exec web …` does" in note
    assert name == "web"


def test_a_private_state_or_private_pins_leave_nothing_where_all_look(lan: Lan) -> None:
    said = at_home(
        lan,
        "macvfast --state-dir=/var/lib/private create --add-host=printer:172.16.86.9 >/dev/null\n"
        "MACVFAST_NETNS_DIR=/var/lib/pins macvfast create --add-host=printer:172.16.86.9 >/dev/null\n"
        "ls -A /etc/netns",
    )
    assert said == ""


def test_a_command_has_the_variables_directory_and_user_that_it_was_given(lan: Lan, tmp_path: Path) -> None:
    (tmp_path / "variables").write_text("# of the file\nA=file\nB=file\n")
    script = "echo $A,$B,$HOME; pwd; id -u; id -g"
    given = ["-e", "A=line", f"--env-file={tmp_path}/variables", "-w", "/usr", "-u", "nobody:daemon"]
    said = lan.macvfast("run", "--name=web", *given, "sh", "-c", script)
    assert said.splitlines() == ["line,file,/nonexistent", "/usr", "65534", "1"]
    assert lan.macvfast("exec", "-u", "4711", "-w", "/", "web", "sh", "-c", "pwd; id -u; id -g").split() == [
        "/",
        "4711",
        "0",
    ]


def test_a_variable_without_a_name_keeps_no_command_from_running(lan: Lan) -> None:
    """The kernel takes one (execve(2)), and Python can read it, but not hand it on."""
    script = "env '=x=1' \"$@\""

    def typed(*words: str) -> str:
        return lan.host.run("sh", "-c", script, "sh", str(netns.MACVFAST), *words).strip()

    assert typed("run", "--name=web", "echo", "here") == "here"
    assert typed("run", "-d", "--name=kept", "sleep", "1000")
    assert typed("exec", "kept", "echo", "here") == "here"
    assert lan.macvfast("restart", "-t0", "kept") == "kept"


@pytest.mark.parametrize("way", ["run", "exec"])
def test_another_user_has_the_environment_of_a_login_and_what_it_was_given(lan: Lan, way: str) -> None:
    lan.macvfast("create", "--name=box")
    lan.host.environment |= {"SECRET": "hunter2", "TERM": "vt100", "PATH": os.environ["PATH"]}
    name = ["box"] if way == "exec" else []

    def environment(*options: str) -> dict[str, str]:
        said = lan.macvfast(way, "-e", "GIVEN=1", *options, *name, "env").splitlines()
        return dict(line.split("=", 1) for line in said)

    entry = pwd.getpwnam("nobody")
    nobody = {"HOME": entry.pw_dir, "USER": "nobody", "LOGNAME": "nobody", "SHELL": entry.pw_shell}
    users = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TERM": "vt100", "GIVEN": "1"}
    assert environment("-u", "nobody") == nobody | users
    assert environment("-u", "nobody", "-e", "HOME=/h", "-e", "SECRET") == nobody | users | {
        "HOME": "/h",
        "SECRET": "hunter2",
    }
    # A number that nobody has is nobody's login.
    assert environment("-u", "4711") == {"HOME": "/", "SHELL": "/bin/sh"} | users
    roots = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert environment("-u", "root")["PATH"] == roots
    # Without -u, the command is the caller's own.
    assert environment()["SECRET"] == "hunter2"


@pytest.mark.parametrize("way", ["run -d", "run", "exec -d", "exec"])
def test_the_values_of_variables_are_the_commands_alone(lan: Lan, tmp_path: Path, way: str) -> None:
    """Everybody on the host reads command lines; the command's environment its own user and root."""
    word, other = (os.urandom(8).hex() for _ in range(2))
    (tmp_path / "variables").write_text(f"TOKEN={word}\n")
    script = "echo $TOKEN,$OTHER > $OUT.new; mv $OUT.new $OUT; exec sleep 1000"
    out = tmp_path / "out"
    given = [f"--env-file={tmp_path}/variables", "-e", "OTHER", "-e", f"OUT={out}", "-u", "root"]
    if way.startswith("exec"):
        lan.macvfast("run", "-d", "--name=box", "sleep", "1000")
    lan.host.environment["OTHER"] = other
    name = ["--name=box"] if way.startswith("run") else ["box"]
    with lan.host.start(netns.MACVFAST, *way.split(), *given, *name, "sh", "-c", script) as process:
        netns.wait_until(out.exists, what="the command")
        assert out.read_text() == f"{word},{other}\n"
        (tmp_path / "variables").unlink()
        out.unlink()
        secrets = [word.encode(), other.encode()]
        seen = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                line = Path("/proc", pid, "cmdline").read_bytes()
                if any(secret in line for secret in secrets):
                    seen.append(line)
        assert seen == []
        # Nor is what handed them over left behind.
        assert [link for pid in programs(lan) for link in _open_files(pid) if "memfd" in link] == []
        kept = [file for file in lan.state_dir.rglob("*") if file.is_file()]
        telling = [file for file in kept if any(secret in file.read_bytes() for secret in secrets)]
        # What `macvfast start` needs to run it again, for root alone.
        assert [file.name for file in telling] == (["command.json"] if way.startswith("run") else [])
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in telling)
        lan.macvfast("rm", "-f", "box")
        process.communicate()


def _open_files(pid: int) -> list[str]:
    return [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]


def test_a_line_of_a_file_of_variables_is_not_shown_where_it_is_refused(lan: Lan, tmp_path: Path) -> None:
    (tmp_path / "variables").write_text("=hunter2\nA=hunter2\0\n")
    for number in range(2):
        lines = (tmp_path / "variables").read_text().splitlines(keepends=True)
        (tmp_path / "one").write_text(lines[number])
        said = refused(lan, "run", f"--env-file={tmp_path}/one", "true", status=125)
        assert "hunter2" not in said
        assert f"option `--env-file` cannot be `{tmp_path}/one`" in said


def test_a_user_that_is_not_there_is_refused_before_anything_is_made(lan: Lan) -> None:
    said = refused(lan, "run", "-u", "nobdy", "id", status=125)
    assert "there is no user `nobdy`" in said
    assert "there is no group `nogrp`" in refused(lan, "run", "-u", "nobody:nogrp", "id", status=125)


def test_a_directory_that_is_not_there_for_exec_is_said_to_be_missing(lan: Lan) -> None:
    lan.macvfast("create", "--name=box")
    for detach in ([], ["-d"]):
        said = check_error(lan.attempt("exec", *detach, "-w", "/not/there", "box", "pwd"), 126)
        assert said == (
            "error: command `pwd` cannot be started\n"
            "  caused by: there is no directory `/not/there` to start in\n"
            "\n"
            "hint: -w takes a directory that the command can see\n"
        )


def test_a_directory_that_is_not_there_is_refused_before_anything_is_made(lan: Lan) -> None:
    said = refused(lan, "run", "-w", "/not/there", "pwd", status=126)
    assert "there is no directory `/not/there` to start in" in said
