"""Command lines that are refused: one error, the exit status, and nothing asked of the host."""

from __future__ import annotations

import re

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.unit.cli_bed import DUAL, RUNNING, FakeHost, typed

# A command line, its exit status, and what the error says.
WRONG: list[tuple[str, int, str]] = [
    ("network create", 2, "error: `macvfast network create` needs NAME"),
    ("network create a b", 2, "takes NAME\n  caused by: `b` is one too many"),
    # The guide's misprint.
    ("network create -o parent=eth0.60 -o -o macvlan_mode=bridge macvlan60", 2, "hint: leave out the stray `-o`"),
    ("network create -o foo lab", 2, "error: option `-o` cannot be `foo`\n  caused by: it has the form KEY=VALUE"),
    ("network create -o =foo lab", 2, "error: option `-o` cannot be `=foo`"),
    ("network create lab -o", 2, "error: option `-o` needs a value"),
    ("network create --label = lab", 2, "error: option `--label` cannot be `=`"),
    ("network create --subnet= lab", 2, "error: option `--subnet` was given nothing"),
    ("network create --subnet=10.0.0.0/8, lab", 2, "error: option `--subnet` was given nothing"),
    ("network create --ipv6=maybe lab", 2, "error: option `--ipv6` cannot be `maybe`"),
    ("network create --attachable lab", 2, "error: option `--attachable` is not taken\n  caused by: every network"),
    ("network create --ipam-driver=dhcp lab", 2, "caused by: addresses always come from macvfast's own pools"),
    ("network create --ipv4=false lab", 1, "caused by: no IPv6 subnet is given"),
    ("network create --subnt=10.0.0.0/8 lab", 2, "hint: did you mean `--subnet`?"),
    ("network create -o mtu=x lab", 1, "error: option `-o mtu` cannot be `x`"),
    ("network create -o foo=bar lab", 1, "error: `foo` is not a known option of driver `macvlan`"),
    ("network create -d bridge lab", 1, "error: `bridge` is not a known driver"),
    ("network create a/b", 1, "error: `a/b` is not a network name"),
    ("network create ''", 1, "error: `` is not a network name"),
    ("network ls extra", 2, "takes no argument\n  caused by: `extra` is one too many"),
    ("network ls -f foo", 2, "error: option `-f` cannot be `foo`"),
    ("network ls -f foo=bar", 1, "error: `foo` is not a known filter"),
    ("network ls -f dangling=maybe", 1, "error: option `-f dangling` cannot be `maybe`"),
    ("network ls --format '{{.Foo}}'", 2, "caused by: `{{.Foo}}` is not there"),
    ("network inspect", 2, "error: `macvfast network inspect` needs NETWORK..."),
    ("network rm", 2, "error: `macvfast network rm` needs NETWORK..."),
    ("network connect lab", 2, "error: `macvfast network connect` needs SANDBOX"),
    ("network connect lab web extra", 2, "takes NETWORK SANDBOX\n  caused by: `extra` is one too many"),
    (
        "network connect --netns= lab web",
        2,
        "error: option `--netns` was given nothing\n  caused by: its value is empty",
    ),
    ("network connect --pid 1 --netns /x lab web", 2, "error: options `--netns` and `--pid` cannot be given together"),
    (
        "network connect --alias x lab web",
        2,
        "error: option `--alias` is not taken\n  caused by: a sandbox has no name server that could resolve the name",
    ),
    ("network connect --driver-opt x=y lab web", 2, "caused by: it is com.docker.network.endpoint.ifname=NAME"),
    ("network create -o com.docker.network.enable_ipv6=true lab", 1, "hint: did you mean `--ipv6`?"),
    ("network create -o com.docker.network.enable_ipv4=false lab", 1, "hint: did you mean `--no-ipv4`?"),
    ("network connect --gw-priority high lab web", 2, "error: option `--gw-priority` cannot be `high`"),
    ("run --gw-priority=1 sh", 125, "error: option `--gw-priority` needs a network"),
    *(
        (
            f"run --net lab --gw-priority={number} sh",
            125,
            "caused by: it is a number, -2147483648 to 2147483647, or none",
        )
        for number in ("2147483648", "-2147483649", "99999999999", "high")
    ),
    ("run --net name=lab,driver-opt=x=y sh", 125, "error: option `--driver-opt` cannot be `x=y`"),
    ("run --net name=lab,driver-opt=com.docker.network.endpoint.ifname=a/b sh", 125, "error: `ifname` cannot be `a/b`"),
    ("network connect --link-local-ip 169.254.1.1 lab web", 2, "error: option `--link-local-ip` is not taken"),
    ("network prune -f --filter colour=red", 1, "error: `colour` is not a known filter"),
    ("network prune -f --filter until=never", 1, "error: option `--filter until` cannot be `never`"),
    ("network connect --pid 0 lab web", 2, "error: option `--pid` cannot be `0`"),
    ("network connect --pid -3 lab web", 2, "error: option `--pid` cannot be `-3`"),
    ("network connect --pid self lab web", 2, "error: option `--pid` cannot be `self`"),
    ("network frobnicate", 2, "error: `frobnicate` is not a command of `macvfast network`"),
    ("network lst", 2, "hint: did you mean `ls`?"),
    ("network --bogus ls", 2, "error: `--bogus` is not an option of `macvfast network`"),
    ("netwrok ls", 2, "hint: did you mean `network`?"),
    ("--state-dir= ps", 2, "error: option `--state-dir` was given nothing"),
    ("--state-dir", 2, "error: option `--state-dir` needs a value"),
    ("ps -x", 2, "error: `-x` is not an option of `macvfast ps`"),
    ("ps -ax", 2, "error: `-x` (in `-ax`) is not an option of `macvfast ps`"),
    ("rm", 2, "error: `macvfast rm` needs SANDBOX..."),
    ("create /bin/sh", 2, "hint: `macvfast run` starts a command in a new sandbox"),
    ("create --rm", 2, "hint: give it to `macvfast exec` or `macvfast run`"),
    ("create -e A=b", 2, "caused by: it belongs to a command, and this sandbox has none yet"),
    ("create --ip=10.0.0.1", 2, "error: option `--ip` needs a network"),
    ("run", 125, "error: `macvfast run` needs COMMAND [ARG...]"),
    ("run -it", 125, "error: `macvfast run` needs COMMAND [ARG...]"),
    ("run --bogus sh", 125, "error: `--bogus` is not an option of `macvfast run`"),
    ("run --ip=10.0.0.1 sh", 125, "error: option `--ip` needs a network"),
    ("run --mac-address=02:00:5e:00:53:01 sh", 125, "error: option `--mac-address` needs a network"),
    ("run -p 80:80 sh", 125, "error: option `-p` is not taken\n  caused by: a sandbox has an address of its own"),
    ("run -itp 80:80 sh", 125, "error: option `-p` is not taken"),
    ("run --link-local-ip=169.254.1.1 sh", 125, "error: option `--link-local-ip` is not taken"),
    ("run --network-alias x sh", 125, "hint: --add-host NAME:ADDRESS"),
    ("run -v /a:/b sh", 125, "caused by: the command sees this host's files"),
    ("run -h", 125, "error: option `-h` needs a value"),
    ("run -d --restart=x sh", 125, "error: option `--restart` cannot be `x`"),
    ("run -d --log-max=3 sh", 125, "error: option `--log-max` cannot be `3`"),
    ("run --dns-search=a;b sh", 125, "error: option `--dns-search` cannot be `a;b`"),
    ("network create -o bclim=x lab", 1, "error: option `-o bclim` cannot be `x`"),
    ("run -h a_b sh", 125, "error: option `-h` cannot be `a_b`"),
    ("run --add-host printer sh", 125, "hint: --add-host NAME:ADDRESS"),
    ("run --add-host printer:nowhere sh", 125, "caused by: `nowhere` is not an IP address"),
    ("run --add-host h:host-gateway sh", 125, "caused by: the kernel keeps a macvlan and its parent's host apart"),
    ("run --dns dns.lab sh", 125, "error: option `--dns` cannot be `dns.lab`"),
    ("run --dns-search 'a b' sh", 125, "caused by: it is one word"),
    ("logs -t box", 2, "error: option `-t` is not taken\n  caused by: the log holds the output as it was written"),
    ("logs --since=10m box", 2, "hint: --tail LINES shows the last lines"),
    ("run -e =x sh", 125, "error: option `--env` cannot be `=…`"),
    ("run --env-file /not/there sh", 125, "error: option `--env-file` cannot be `/not/there`"),
    ("run -d --log-max=8191 sh", 125, "caused by: it is a number of bytes from 8192 to "),
    ("run -d --log-max=9999999999g sh", 125, "caused by: it is a number of bytes from 8192 to "),
    ("run --env-file /dev/zero sh", 125, "caused by: it is larger than an environment can be"),
    ("run --net name=lab,alias=x sh", 125, "error: `alias` of `--net name=lab,alias=x` is not taken"),
    ("run --net name=lab,colour=red sh", 125, "caused by: `colour=red` is none of name=…, ip=…"),
    ("run --net ip=10.0.0.1 sh", 125, "hint: --net name=NETWORK,ip=10.0.0.1"),
    (
        "run --net name=lab,ip=10.0.0.1 --ip=10.0.0.2 sh",
        125,
        "error: option `--ip` and `--net name=lab,ip=10.0.0.1` differ",
    ),
    (
        "run --net host sh",
        125,
        "error: `--net host` is not taken\n  caused by: a sandbox always has a network namespace",
    ),
    ("run --net bridge sh", 125, "hint: `macvfast network ls` lists the networks"),
    ("run --net container:web sh", 125, "hint: `macvfast exec SANDBOX COMMAND` runs a command in it"),
    ("run --net none --net lab sh", 125, "caused by: it cannot be combined with another --net"),
    ("run --net none --ip 10.0.0.1 sh", 125, "error: option `--ip` needs a network"),
    *(
        (f"network create {name}", 1, f"error: a network cannot be called `{name}`")
        for name in ("bridge", "default", "host", "none")
    ),
    ("kill web", 2, "hint: `macvfast stop -t 0 SANDBOX` kills its command"),
    ("version", 2, "hint: `macvfast --version`"),
    ("network stop", 2, "error: `stop` is not a command of `macvfast network`"),
    ("run --net= sh", 125, "error: option `--net` was given nothing"),
    ("run --net --rm sh", 125, "error: option `--net` needs a value\n  caused by: `--rm` follows it"),
    ("run --net a --ip 999.1.1.1 sh", 125, "error: `999.1.1.1` is not a usable address"),
    ("run --net a --ip fd00::1 sh", 125, "caused by: it is an IPv6 address where IPv4 is asked for"),
    ("run --net a --mac-address 01:00:5e:00:00:01 sh", 125, "caused by: it is a multicast address"),
    ("exec", 125, "error: `macvfast exec` needs SANDBOX COMMAND [ARG...]"),
    ("exec web", 125, "error: `macvfast exec` needs COMMAND [ARG...]"),
    ("exec -x web sh", 125, "error: `-x` is not an option of `macvfast exec`"),
]


@pytest.mark.parametrize(("line", "status", "shown"), WRONG, ids=[line for line, _, _ in WRONG])
def test_a_wrong_command_line_is_refused_with_one_error(line: str, status: int, shown: str) -> None:
    host = FakeHost()
    said = typed(line, host)
    assert (said.status, said.out) == (status, "")
    assert shown in said.err
    assert re.fullmatch(r"error: .+\n(  caused by: .+\n)+\n(hint: .+\n)+", said.err)
    # A word behind a group may be the name of a network, which is looked up.
    assert set(host.names()) <= {"open", "networks"}


@pytest.mark.parametrize(
    ("line", "usage"), [("", "macvfast [OPTIONS] COMMAND"), ("network", "macvfast network [OPTIONS]")]
)
def test_a_group_without_a_command_shows_its_help_on_standard_error(line: str, usage: str) -> None:
    said = typed(line)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"Usage: {usage}")


def test_what_is_typed_is_shown_with_control_characters_escaped() -> None:
    said = typed(["network", "create", "a\x1b[31mb"])
    assert "`a\\x1b[31mb` is not a network name" in said.err
    said = typed(["network", "lab\x1b[31m"])
    assert "`lab\\x1b[31m` is not a command" in said.err


_PIECES = [
    *("network", "create", "ls", "rm", "inspect", "prune", "connect", "run", "exec", "ps", "web", "lab", "sh"),
    *("start", "stop"),
    *("--", "-", "", "-o", "-o=", "-oa=b", "-itd", "-d=true", "-t=x", "--net", "--net=", "--net=a", "-f", "-x"),
    "--ip=1.2.3.4",
    *("--ipv6=true", "--no-ipv6", "--format", "json", "table", "{{.Name}}", "--state-dir=/tmp/s", "--help", "--rm"),
    *("name=(", "status=idle", "=", "-=", "--=", "--=x", "\x1b", "\udcff", "é", "a" * 300),
]  # fmt: skip


@hypothesis.given(st.lists(st.sampled_from(_PIECES), max_size=7))
def test_no_command_line_is_a_bug(words: list[str]) -> None:
    said = typed(words, FakeHost(networks=[DUAL], sandboxes=[RUNNING]), answer="y\n")
    assert said.status in {0, 1, 2, 125}, said
    # With `--format json`, an error is JSON, too.
    refused = said.err.startswith(("error: ", '{"error":'))
    assert refused == (said.status != 0) or said.err.startswith("Usage: ")
