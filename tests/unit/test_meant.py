"""What was meant by a name that was not found, or by words in the wrong place."""

from __future__ import annotations

import socket

import pytest

from macvfast.cli import meant
from macvfast.cli.usage import did_you_mean
from macvfast.errors import CommandNotFound, NetworkNotFound, ParentNotFound, SandboxNotFound, StateUnusable
from macvfast.plan import refuse_company
from macvfast.requests import NetworkRequest
from tests.unit.cli_bed import FakeHost, network, sandbox, typed


def hints(line: str, host: FakeHost) -> list[str]:
    """What a refused line is told to do."""
    said = typed(line, host)
    assert said.status != 0
    return [one.removeprefix("hint: ") for one in said.err.splitlines() if one.startswith("hint: ")]


@pytest.fixture
def host() -> FakeHost:
    """A network `lan` and a sandbox `web`; whatever is asked for is not found."""
    return FakeHost(networks=[network("lan")], sandboxes=[sandbox("web")])


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("lna", ["lan", "web"], ["did you mean `lan`?"]),
        ("co", ["c0"], ["did you mean `c0`?"]),
        ("web-7", ["web-1", "web-17", "web-70"], []),
        ("wbe-1", ["web-1"], ["did you mean `web-1`?"]),
        ("x", ["lan", "web"], []),
        ("FAR", ["far", "near"], ["did you mean `far`?"]),
        ("WEB-7", ["Web-7", "web-17"], ["did you mean `Web-7`?"]),
    ],
)
def test_what_is_spelled_nearly_so_is_meant_and_another_number_is_not(
    word: str, known: list[str], hint: list[str]
) -> None:
    assert did_you_mean(word, known) == hint


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("NAME=web", "did you mean `name`?"),
        ("statsu=idle", "did you mean `status`?"),
        ("ip=10.1.0.2", "did you mean `-f address=10.1.0.2`?"),
        ("mac-address=02:00:00:00:00:01", "did you mean `-f mac=02:00:00:00:00:01`?"),
        ("net=lan", "did you mean `-f network=lan`?"),
        ("ancestor=alpine", "leave it out: what `ancestor` is about is Docker's alone"),
    ],
)
def test_a_filter_has_the_words_of_other_programs(host: FakeHost, given: str, hint: str) -> None:
    assert hints(f"ps -f {given}", host) == [hint]


def test_what_is_no_mac_is_no_value_of_the_filter(host: FakeHost) -> None:
    said = typed("ps -f mac=foo", host).err
    assert said.startswith("error: option `-f mac` cannot be `foo`\n")
    assert "--mac-address" not in said


def test_the_hint_at_a_shell_keeps_what_was_typed(host: FakeHost) -> None:
    assert hints("run -it --net lan", host)[0] == "`macvfast run -it --net lan sh` opens a shell"
    assert hints("run --net lan -e 'A=b c' --", host)[0] == "`macvfast run -it --net lan -e 'A=b c' sh` opens a shell"
    assert hints("exec web", host)[0] == "`macvfast exec -it web sh` opens a shell"


def test_a_line_is_not_hinted_at_as_the_cure_of_itself(host: FakeHost) -> None:
    host.refusals["connect"] = NetworkNotFound("web")
    assert hints("network connect web web", host)[0] == "`web` is a sandbox"
    assert hints("network connect web lan", host)[0] == "the network comes first: `macvfast network connect lan web`"


def test_an_empty_sandbox_is_refused_in_the_words_of_the_command_line(host: FakeHost) -> None:
    assert hints("network connect lan ''", host)[0] == "`macvfast ps -a` lists the sandboxes"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("ps -f status=runing", "-f status=running"),
        ("ps -f address=172.16.86.5/24", "-f address=172.16.86.0/24"),
        ("network create -o share_parent=yes lab", "-o share_parent=true"),
        ("network create -o share_parent=OFF lab", "-o share_parent=false"),
        ("network create -o ipv6_ra=false lab", "-o ipv6_ra=off"),
        ("network create -o ipam_order=nxt lab", "-o ipam_order=next"),
        ("run -d --restart=allways --net lan sh", "--restart=always"),
        ("run -d --restart=sometimes --net lan sh", "--restart=on-failure:3, for example"),
        ("scale lan w=-3", "macvfast scale lan w=100"),
        ("scale lan w=1e20", "macvfast scale lan w=100"),
    ],
)
def test_a_value_that_is_none_has_the_nearest_one(host: FakeHost, line: str, hint: str) -> None:
    assert hints(line, host)[0] == hint


def test_each_name_that_is_not_found_has_its_hint_and_thousands_are_not_compared(host: FakeHost) -> None:
    names = [f"web{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    host.outcomes = {name: SandboxNotFound(name) for name in names}
    said = hints(f"rm {' '.join(names)}", host)
    assert said.count("did you mean `web`?") == meant.COMPARED
    assert len([call for call in host.calls if call[0] == "sandboxes"]) == 1


def test_where_the_state_cannot_be_read_the_error_is_the_first_one(host: FakeHost) -> None:
    host.refusals["network"] = NetworkNotFound("lna")
    host.refusals["networks"] = host.refusals["sandboxes"] = StateUnusable("/nowhere", "no such directory")
    assert hints("network inspect lna", host) == ["`macvfast network ls` lists them"]


@pytest.mark.parametrize(
    ("parent", "hint"),
    [
        ("eht0", ["did you mean `eth0`?"]),
        ("eth9", []),
        ("eth0@if5", ["did you mean `-o parent=eth0`?"]),
        ("eht0.50", ["did you mean `eth0.50`?"]),
        ("eth0.10.20", []),
    ],
)
def test_a_parent_is_one_of_the_links(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, parent: str, hint: list[str]
) -> None:
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0"), (3, "wlan0")])
    host.refusals["create_network"] = ParentNotFound(parent, "no link has that name")
    assert hints(f"network create -o parent={parent} lab", host) == [*hint, "`ip link` lists the links"]


def test_a_command_may_be_a_network_or_a_sandbox(host: FakeHost) -> None:
    for word, hint in (("lan", "run --net=lan COMMAND"), ("web", "exec web COMMAND")):
        host.refusals["run"] = CommandNotFound(word)
        kind = "network" if word == "lan" else "sandbox"
        assert hints(f"run {word} true", host)[0] == f"`{word}` is a {kind}: `macvfast {hint}`"


@pytest.mark.parametrize("line", ["ip address", "netns exec web ip address"])
def test_the_commands_of_ip_have_theirs_here(line: str) -> None:
    assert "`macvfast exec SANDBOX" in hints(line, FakeHost())[0]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("network delete lan", "`macvfast network rm NETWORK`"),
        ("network del lan", "`macvfast network rm NETWORK`"),
        ("network exists lan", "`macvfast network inspect NETWORK`"),
        ("network show lan", "`macvfast network inspect NETWORK`"),
        ("network add lan", "`macvfast network create NAME`"),
        ("network reload -a", "`macvfast restore` creates again what is recorded and missing"),
        ("ipam ls", "`macvfast ipam show`"),
        ("network pub_net", "`macvfast network --help` shows the usage"),
        ("network lan", "did you mean `macvfast network inspect lan`?"),
        ("ipam lan", "did you mean `macvfast ipam show lan`?"),
        ("ipam nal", "`macvfast ipam --help` shows the usage"),
        ("network inspct lan", "did you mean `inspect`?"),
        ("connect lan web", "did you mean `macvfast network connect`?"),
        ("disconnect lan web", "did you mean `macvfast network disconnect`?"),
        ("network stop web", "did you mean `macvfast stop`?"),
        ("ipam rm lan", "did you mean `macvfast rm` or `macvfast network rm`?"),
        ("prune", "did you mean `macvfast network prune`?"),
        ("install", "did you mean `macvfast service install`?"),
        ("netns add web", "`macvfast create --name SANDBOX`"),
        ("netns delete web", "`macvfast rm SANDBOX`"),
        ("netns exec web ip address", "`macvfast exec SANDBOX COMMAND`"),
        ("container exists web", "`macvfast inspect SANDBOX` shows a sandbox"),
        ("generate systemd web", "`macvfast run -d --restart=always …`"),
        ("kube play x.yaml", "`macvfast scale` makes many sandboxes alike"),
        ("unshare ip address", "`macvfast exec SANDBOX COMMAND`"),
        ("pids web", "`macvfast exec SANDBOX ps aux`"),
        ("identify 1", "`macvfast ps -a` lists the sandboxes"),
        ("set web 5", "`macvfast network connect --pid PID NETWORK SANDBOX`"),
        ("monitor", "`macvfast metrics` counts what there is"),
        ("-v", "`macvfast --version`"),
        ("rm -fa", "`macvfast rm -f $(macvfast ps -aq)` removes all"),
        ("stop -a", "`macvfast stop $(macvfast ps -q)` ends all"),
        ("run --replace --name web true", "`macvfast rm -f NAME` before"),
        ("run --pod p true", "one sandbox holds several commands"),
        ("create --netns=/run/netns/x --name x", "`macvfast network connect --netns PATH NETWORK SANDBOX`"),
        ("network create --route 10.2.0.0/16,10.0.0.1 lab", "in Python, `EndpointRequest(routes=…)`"),
        (
            "run --net lan:ip=10.0.0.7,mac=02:00:00:00:00:05 true",
            "--net name=lan,ip=10.0.0.7,mac-address=02:00:00:00:00:05",
        ),
        (
            "run --net lan:ip6=fd00::7,interface_name=lan0 true",
            "--net name=lan,ip6=fd00::7,driver-opt=com.docker.network.endpoint.ifname=lan0",
        ),
        ("delete web", "`macvfast rm SANDBOX` removes a sandbox"),
        ("ls", "`macvfast ps -a` lists sandboxes"),
        ("help", "`macvfast --help`, and"),
    ],
)
def test_a_word_that_is_no_command_has_a_hint_that_works(host: FakeHost, line: str, hint: str) -> None:
    assert hints(line, host)[0].startswith(hint)


def test_a_namespace_of_others_is_connected_by_its_path(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    there = "/run/netns/theirs"
    monkeypatch.setattr("macvfast.cli.meant.os.path.exists", lambda path: path == there)
    host.refusals["connect"] = SandboxNotFound("theirs")
    said = hints("network connect lan theirs", host)
    assert said[0] == f"`macvfast network connect --netns={there} lan theirs` connects a namespace of others"
    host.refusals["connect"] = SandboxNotFound("absent")
    assert hints("network connect lan absent", host) == ["`macvfast ps -a` lists them"]
    host.outcomes = {"theirs": SandboxNotFound("theirs")}
    assert hints("rm theirs", host) == ["`macvfast ps -a` lists them"]


def test_several_networks_are_several_options(host: FakeHost) -> None:
    host.refusals["run"] = NetworkNotFound("lan,other")
    assert hints("run --net lan,other true", host)[0] == "--net=lan --net=other"


def test_what_podman_says_of_a_name_server_changes_nothing_here() -> None:
    assert typed("network create --disable-dns --subnet=10.1.0.0/24 lab", FakeHost()).status == 0


def test_a_name_behind_a_group_is_looked_up_in_the_state_that_is_typed(host: FakeHost) -> None:
    hints("--state-dir /srv/state network lan", host)
    assert ("open", "/srv/state") in host.calls


@pytest.mark.parametrize(
    ("given", "typed_"),
    [
        ("--parent eth0", "-o parent=eth0"),
        ("--mtu=1400", "-o mtu=1400"),
        ("--vlan=50", "-o parent=eth0.50"),
        ("--macvlan-mode=vepa", "-o macvlan_mode=vepa"),
        ("--mode=l3", "-d ipvlan -o ipvlan_mode=l3"),
        ("-d ipvlan --mode=l3", "-o ipvlan_mode=l3"),
        ("--bclim=1 -d ipvlan", "-d macvlan -o bclim=1"),
        ("--vlan=7 -o parent=eth1", "-o parent=eth1.7"),
        ("-oparent=eth1 --vlan 7", "-o parent=eth1.7"),
        ("--vlan=7 --opt=parent=eth1", "-o parent=eth1.7"),
        ("--share-parent --subnet=10.1.0.0/24", "-o share_parent=true"),
        ("--share_parent", "-o share_parent=true"),
        ("--ipv6-ra=off", "-o ipv6_ra=off"),
        ("--mtu", "-o mtu=BYTES"),
        ("--parent --subnet=10.1.0.0/24", "-o parent=LINK"),
        ("-d ipvlan -o bc_queue_len=3", "-d macvlan -o bc_queue_len=3"),
        ("--interface-name eth0", "-o parent=eth0"),
        ("--macvlan eth0", "-o parent=eth0"),
        ("parent=eth0", "-o parent=eth0"),
        ("dev eth1", "-o parent=eth1"),
        ("vlan=50 -o parent=eth1", "-o parent=eth1.50"),
        ("mode vepa", "-o macvlan_mode=vepa"),
        ("-d ipvlan -o bcqueuelen=3,bclim=2", "-d macvlan -o bc_queue_len=3 -o bclim=2"),
        ("--type macvlan", "-d macvlan"),
        ("--type=ipvlan -o parent=eth1", "-d ipvlan"),
        ("-d ipvlan -o type=macvlan,mode=vepa", "-d macvlan -o macvlan_mode=vepa"),
        ("-o driver=ipvlan", "-d ipvlan"),
        ("type ipvlan", "-d ipvlan"),
    ],
)
def test_an_option_of_the_driver_is_typed_behind_o(given: str, typed_: str) -> None:
    assert hints(f"network create {given} lab", FakeHost())[0] == f"did you mean `{typed_}`?"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("parent=eth0:50", "did you mean `-o parent=eth0.50`?"),
        ("parent=eth0:5000", "`ip link` lists the links"),
        ("parent=eth0:x", "`ip link` lists the links"),
        ("vlan=4094", "did you mean `-o parent=eth0.4094`?"),
        ("vlan=5000", "a VLAN id is 1 to 4094: `-o parent=eth0.VID`"),
        ("vlan=050", "a VLAN id is 1 to 4094: `-o parent=eth0.VID`"),
    ],
)
def test_no_hint_has_a_vlan_id_that_is_refused_next(given: str, hint: str) -> None:
    assert hints(f"network create -o {given} lab", FakeHost()) == [hint]


def test_a_driver_that_is_none_is_no_hint() -> None:
    for given in ("--type=bridge", "-o type=bridge", "--type", "-o type=ipvlan,bclim=2"):
        assert not [one for one in hints(f"network create {given} lab", FakeHost()) if "-d " in one], given


def test_options_that_no_driver_has_together_are_no_hint() -> None:
    said = hints("network create -o mode=l3,bclim=2 lab", FakeHost())
    assert not [one for one in said if "-o bclim" in one]


@pytest.mark.parametrize("line", ["ps -l", "rm -v web", "start -i web", "inspect -s web", "stop -x web"])
def test_one_letter_is_like_no_other(line: str) -> None:
    assert "did you mean" not in typed(line, FakeHost()).err


def test_a_long_option_behind_one_dash_is_meant() -> None:
    assert hints("run -net=lan true", FakeHost())[0] == "did you mean `--net`?"


def test_all_options_that_are_not_taken_are_named_once_and_help_is_shown_all_the_same() -> None:
    said = typed("run -p 80:80 --privileged -p 443:443 --memory 1g --net=lan true", FakeHost())
    assert said.err.startswith("error: options `-p`, `--privileged` and `--memory` are not taken\n")
    assert said.err.count("  caused by: ") == 3
    assert typed("run -p 80:80 --privileged --help", FakeHost()).status == 0


def test_a_network_that_shares_or_belongs_to_an_engine_is_not_told_to_be_changed() -> None:
    request = NetworkRequest(name="second", parent="eth0")
    remove = "or remove `lan` first: `macvfast network rm lan`"
    update = "`macvfast network update -o share_parent=true lan`"
    for theirs, ours, origin, wanted in (
        (False, False, None, [f"{update}, then -o share_parent=true here", remove]),
        (True, False, None, ["-o share_parent=true here", remove]),
        (False, True, None, [update, remove]),
        (False, False, "podman", ["`lan` belongs to podman, and shares with nobody: give another parent"]),
    ):
        other = network("lan", share_parent=theirs, origin=origin)
        asked = NetworkRequest(name="second", parent="eth0", share_parent=True) if ours else request
        with pytest.raises(Exception, match="holds it") as caught:
            refuse_company("eth0", asked, [other])
        assert list(getattr(caught.value, "hints", ())) == wanted
