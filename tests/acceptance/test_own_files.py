"""What a sandbox has of its own besides its network: files in /etc, a host name, and its commands' surroundings."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance.support import programs, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Lan]:
    """A bed whose sandboxes lie where `ip netns` looks."""
    bed = netns.Lan(tmp_path, netns.NETNS_DIR)
    try:
        yield bed
    finally:
        for line in bed.macvfast("ps", "-aq").splitlines():
            bed.macvfast("rm", "-f", line)
        bed.host.remove()
        bed.router.remove()


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


def test_names_and_name_servers_are_as_they_were_given(lan: Lan) -> None:
    said = lan.macvfast(
        "run", "--rm", "-h", "web.lab", "--add-host=printer:172.16.86.9", "--add-host=six:fd00::9", "--dns=172.16.86.1",
        "--dns-search=lab", "--dns-option=ndots:2", "sh", "-c", "cat /etc/hosts; echo; cat /etc/resolv.conf",
    )  # fmt: skip
    known, _, resolver = said.partition("\n\n")
    assert hosts(known)["172.16.86.9"] == ["printer"]
    assert hosts(known)["fd00::9"] == ["six"]
    assert resolver.splitlines() == ["search lab", "nameserver 172.16.86.1", "options ndots:2"]


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


def test_ip_netns_exec_finds_the_files_and_they_go_with_the_sandbox(seen: Lan) -> None:
    seen.macvfast("create", "--name=web", "--add-host=printer:172.16.86.9")
    said = seen.run("ip", "netns", "exec", "web", "cat", "/etc/hosts")
    assert hosts(said)["172.16.86.9"] == ["printer"]
    seen.macvfast("rm", "web")
    assert not os.path.lexists("/etc/netns/web")


def test_files_that_somebody_else_put_for_the_name_stay(seen: Lan) -> None:
    theirs = Path("/etc/netns/web/hosts")
    theirs.parent.mkdir(parents=True)
    theirs.write_text("10.0.0.1\ttheirs\n")
    seen.macvfast("create", "--name=web")
    assert hosts(seen.run("ip", "netns", "exec", "web", "cat", "/etc/hosts")) == {"10.0.0.1": ["theirs"]}
    seen.macvfast("rm", "web")
    assert theirs.read_text() == "10.0.0.1\ttheirs\n"
    theirs.unlink()
    theirs.parent.rmdir()


def test_a_command_has_the_variables_folder_and_user_that_it_was_given(lan: Lan, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("way", ["run -d", "run", "exec -d", "exec"])
def test_the_values_of_variables_are_the_commands_alone(lan: Lan, tmp_path: Path, way: str) -> None:
    """Everybody on the host reads command lines; the command's environment its own user and root."""
    word, other = (os.urandom(8).hex() for _ in range(2))
    (tmp_path / "variables").write_text(f"TOKEN={word}\n")
    script = "echo $TOKEN,$OTHER > $OUT.new; mv $OUT.new $OUT; exec sleep 1000"
    out = tmp_path / "out"
    given = [f"--env-file={tmp_path}/variables", "-e", "OTHER", "-e", f"OUT={out}", "-u", "root"]
    lan.host.environment["OTHER"] = other
    if way.startswith("exec"):
        lan.macvfast("run", "-d", "--name=box", "sleep", "1000")
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
        assert [file for file in kept if any(secret in file.read_bytes() for secret in secrets)] == []
        lan.macvfast("rm", "-f", "box")
        process.communicate()


def _open_files(pid: int) -> list[str]:
    return [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]


def test_a_line_of_a_file_of_variables_is_not_shown_where_it_is_refused(lan: Lan, tmp_path: Path) -> None:
    (tmp_path / "variables").write_text("=hunter2\nA=hunter2\0\n")
    for number in range(2):
        lines = (tmp_path / "variables").read_text().splitlines(keepends=True)
        (tmp_path / "one").write_text(lines[number])
        assert "hunter2" not in refused(lan, "run", f"--env-file={tmp_path}/one", "true", status=125)


def test_a_user_that_is_not_there_is_refused_before_anything_is_made(lan: Lan) -> None:
    said = refused(lan, "run", "-u", "nobdy", "id", status=125)
    assert "there is no user `nobdy`" in said
    assert "there is no group `nogrp`" in refused(lan, "run", "-u", "nobody:nogrp", "id", status=125)


def test_a_folder_that_is_not_there_is_refused_before_anything_is_made(lan: Lan) -> None:
    assert "there is no folder `/not/there` to start in" in refused(lan, "run", "-w", "/not/there", "pwd", status=126)
