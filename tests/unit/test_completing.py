"""What the shells offer while a command is typed."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from docs import application
from macvfast import requests
from macvfast.cli import main
from macvfast.errors import StateUnusable
from macvfast.model import SandboxState
from tests.unit.cli_bed import DUAL, DUAL_BOX, RUNNING, FakeHost, network, typed

MACVFAST = Path(sys.executable).parent / "macvfast"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rm ", "web"), ("exec ", "web"), ("network connect pub_net ", "web"), ("network disconnect pub_net ", "web"),
        ("network rm ", "pub_net"), ("network update ", "pub_net"), ("scale ", "pub_net"), ("run --net ", "pub_net"),
        ("network connect ", "pub_net"), ("network disconnect ", "pub_net"),
        # What only shows takes all.
        ("logs ", "both web"), ("network inspect ", "dual pub_net"), ("ipam show ", "dual pub_net"),
        ("network ls -f name=", "name=dual name=pub_net"), ("ps -f name=", "name=both name=web"),
    ],
)  # fmt: skip
def test_what_an_engine_made_is_offered_where_it_is_shown_and_not_where_it_is_refused(line: str, words: str) -> None:
    theirs = [replace(DUAL, origin="podman"), network()], [replace(DUAL_BOX, origin="podman"), RUNNING]
    assert offered(line, FakeHost(networks=theirs[0], sandboxes=theirs[1])) == words.split()


def offered(line: str, host: FakeHost | None = None) -> list[str]:
    """What is offered at the end of a line, after the word `macvfast `."""
    words = shlex.split(line)
    if not line or line.endswith(" "):
        words.append("")
    host = host or FakeHost(networks=[DUAL, network()], sandboxes=[DUAL_BOX, RUNNING])
    said = typed(["__complete", "--", *words], host)
    assert (said.status, said.err) == (0, "")
    return said.out.splitlines()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("net", "network"),
        ("network r", "rm"),
        ("network import ", "cni docker"),
        ("completion ", "bash fish zsh"),
        ("network rm ", "dual pub_net"),
        ("network rm dual p", "pub_net"),
        ("network connect ", "dual pub_net"),
        ("network connect pub_net ", "both web"),
        ("network connect pub_net web ", ""),
        ("ipam show d", "dual"),
        ("rm w", "web"),
        ("exec ", "both web"),
        ("exec web ", ""),
        ("run --net ", "dual pub_net"),
        ("run --net=p", "--net=pub_net"),
        ("run --network=d", "--network=dual"),
        ("run ls --net ", ""),
        ("network create -d ", "ipvlan macvlan"),
        ("network create -o macvlan_m", "macvlan_mode="),
        ("network create -d ipvlan -o ipvlan_", "ipvlan_flag= ipvlan_mode="),
        ("network create --driver=ipvlan -o ipvlan_mode=", "ipvlan_mode=l2 ipvlan_mode=l3 ipvlan_mode=l3s"),
        ("network create --opt=ipam_order=n", "--opt=ipam_order=next"),
        ("network create -o=par", "-o=parent="),
        ("network create -oipam_order=n", "-oipam_order=next"),
        ("network create -o=ipam_order=", "-o=ipam_order=lowest -o=ipam_order=next"),
        ("network create -d=i", "-d=ipvlan"),
        ("network ls -qx", ""),
        ("network ls -f dri", "driver="),
        ("network ls -f name=", "name=dual name=pub_net"),
        ("ps -f status=ru", "status=running"),
        ("ps -f name=", "name=both name=web"),
        ("ps -f origin=p", "origin=podman"),
        ("ps --all-o", "--all-origins"),
        ("network ls -f origin=", "origin=cni origin=docker origin=podman"),
        ("gc --origin ", "cni docker podman"),
        ("ps --no", "--no-trunc"),
        ("network create --no", "--no-ipv4 --no-ipv6"),
        ("--vers", "--version"),
        ("nonsense ", ""),
        ("network create --subnet ", ""),
    ],
)
def test_what_is_offered(line: str, words: str) -> None:
    assert offered(line) == words.split()


def test_every_command_is_offered_and_so_is_each_of_its_options() -> None:
    for path, command in application.commands().items():
        above, _, word = path.rpartition(" ")
        assert word in offered(f"{above} ".lstrip())
        spellings = {name for one in application.options_of(command) for name in application.spellings_of(one)}
        assert {name for name in spellings if name.startswith("--")} <= set(offered(f"{path} --"))


def test_parents_are_the_links_of_this_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """/sys shows those of the namespace in which it was mounted."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0"), (7, "bond0.7")])
    assert set(offered("network create -o parent=")) == {"parent=eth0", "parent=bond0.7"}


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_options_of_a_driver_that_are_offered_are_taken_with_every_value_that_is(driver: str) -> None:
    keys = offered(f"network create -d {driver} -o ")
    assert {"parent=", "ipam_order=", f"{driver}_mode="} <= set(keys)
    for key in keys:
        for pair in offered(f"network create -d {driver} -o {key}"):
            assert typed(f"network create -d {driver} -o {pair} lab", FakeHost()).status == 0


# Values of filters that take only some, and offer none.
BY_HAND = {"address=": "172.16.86.10", "mac=": "02:42:ac:10:56:0a", "until=": "1h"}


@pytest.mark.parametrize(("command", "option"), [("network ls", "-f"), ("network prune -f", "--filter"), ("ps", "-f")])
def test_filters_that_are_offered_are_taken_with_every_value_that_is(command: str, option: str) -> None:
    keys = offered(f"{command} {option} ")
    assert "label=" in keys
    for key in keys:
        for pair in offered(f"{command} {option} {key}") or [f"{key}{BY_HAND.get(key, '')}"]:
            assert typed(f"{command} {option} {pair}", FakeHost()).status == 0


def test_every_state_of_a_sandbox_and_no_other_is_offered_as_its_status() -> None:
    assert set(offered("ps -f status=")) == {f"status={state.value}" for state in SandboxState}


@pytest.mark.parametrize("command", ["create", "update"])
def test_the_help_names_every_option_that_is_offered_and_each_of_its_values(command: str) -> None:
    said = typed(f"network {command} --help").out
    for driver in ("macvlan", "ipvlan") if command == "create" else ("macvlan",):
        for key in offered(f"network {command} {f'-d {driver} ' if command == 'create' else ''}-o "):
            about = re.split(r"\n    (?=\w+=)|\n\n", said.partition(f"\n    {key}")[2])[0]
            values = requests.options_of(driver)[key.rstrip("=")].values
            # Of share_parent, the help says BOOL.
            assert about, key
            assert [one for one in values if one not in ("false", "true") and one not in about] == []


def test_the_state_directory_that_is_typed_is_the_one_that_is_asked() -> None:
    host = FakeHost()
    offered("--state-dir /tmp/s network rm ", host)
    offered("rm --state-dir=/tmp/t ", host)
    assert [call for call in host.calls if call[0] == "open"] == [("open", "/tmp/s"), ("open", "/tmp/t")]


def test_where_the_state_cannot_be_read_no_names_are_offered() -> None:
    host = FakeHost()
    host.refusals["networks"] = StateUnusable("/nowhere", "no such directory")
    assert offered("network rm ", host) == []


PIECES = [
    *("network", "create", "ls", "import", "run", "exec", "rm", "web", "--", "-", "", "-o", "-o=", "-itd", "-d=true"),
    *(
        "--net",
        "--net=",
        "--ipv6=x",
        "-x",
        "--filter",
        "-f",
        "name=",
        "--state-dir",
        "--help",
        "--version",
        "é",
        "\udcff",
    ),
]


@hypothesis.given(st.lists(st.sampled_from(PIECES), max_size=6))
def test_whatever_is_typed_is_no_error_while_it_is_completed(words: list[str]) -> None:
    host = FakeHost(networks=[DUAL], sandboxes=[RUNNING])
    said = typed(["__complete", "--", *words], host)
    assert (said.status, said.err) == (0, "")
    assert set(host.names()) <= {"open", "networks", "sandboxes"}


def test_completing_a_command_that_changes_something_makes_no_state(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for line in ("network rm ", "rm ", "run --net ", "network create -o parent="):
        words = [*shlex.split(line), ""]
        assert main(["__complete", "--", "--state-dir", str(state), *words]) == 0
    assert not state.exists()


def test_a_shell_that_is_not_known_is_refused() -> None:
    said = typed("completion tcsh")
    assert (said.status, said.out) == (2, "")
    assert "there is one for bash, zsh, fish" in said.err


BASH = """
source <(macvfast completion bash)
COMP_LINE=$1 COMP_POINT=${2:-${#1}}
# As bash itself breaks words: at = too.
read -ra words <<< "${1//=/ = }"
[[ $1 == *[[:space:]] ]] && words+=("")
COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
compopt() { :; }
_macvfast
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("macvfast netw", ["network"]),
        ("macvfast network create -o macvlan_mode=v", ["vepa"]),
        ("macvfast network create -o macvlan_mode=", ["bridge", "passthru", "private", "vepa"]),
        ("macvfast network create -o macvlan_m", ["macvlan_mode="]),
        ("macvfast network create -d i", ["ipvlan"]),
        ("macvfast network create -o=ipam_o", ["ipam_order="]),
        ("macvfast network create -o=ipam_order=n", ["next"]),
    ],
)
def test_bash_replaces_the_word_that_it_knows(line: str, replies: list[str], tmp_path: Path) -> None:
    assert bash_replies(tmp_path, line) == replies


@pytest.mark.parametrize(
    ("before", "behind", "replies"),
    [
        ("macvfast netw", "ork", ["network"]),
        ("macvfast network create -o macvlan_mode=v", "ep", ["vepa"]),
        ("macvfast network create -o macvlan_mode=", "vepa", ["bridge", "passthru", "private", "vepa"]),
    ],
)
def test_bash_completes_what_stands_before_a_cursor_within_a_word(
    before: str, behind: str, replies: list[str], tmp_path: Path
) -> None:
    assert bash_replies(tmp_path, before + behind, str(len(before))) == replies


def bash_replies(tmp_path: Path, *words: str) -> list[str]:
    """What bash is given for a line and, where it is not the line's end, the position of the cursor."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    path = f"{MACVFAST.parent}:/usr/bin:/bin"
    done = subprocess.run(
        [bash, "--norc", "-c", BASH, "bash", *words],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": path, "MACVFAST_STATE_DIR": str(tmp_path / "state")},
    )
    assert done.stderr == ""
    return done.stdout.splitlines()
