"""Docker's spellings of every option of every command, written anew in Typer's."""

from __future__ import annotations

import re
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from docs import application
from docs.application import options_of, spellings_of
from macvfast.cli.app import application as whole
from macvfast.cli.docker import refusal
from macvfast.cli.line import Line
from macvfast.cli.usage import Usage

COMMANDS = application.commands()
ALL = [(path, option) for path, command in COMMANDS.items() for option in options_of(command)]
VALUED = [(path, one) for path, one in ALL if not one.is_flag and not one.metavar.startswith("[=")]
FLAGS = [(path, one) for path, one in ALL if one.is_flag]


def read(words: list[str]) -> Line:
    line = Line(whole())
    line.find(words)
    line.read()
    return line


def name(one: Any) -> str:
    return str(one if isinstance(one, str) else one.name)


@pytest.mark.parametrize(("path", "option"), VALUED, ids=name)
@pytest.mark.parametrize("value", ["K=V", "=K", "", "x y", "a,b"])
def test_a_value_is_the_same_in_each_spelling_that_pflag_takes(path: str, option: Any, value: str) -> None:
    expected = [*path.split(), next(one for one in option.opts if one.startswith("--")), value, "--"]
    for spelling in option.opts:
        words = [[spelling, value], [f"{spelling}={value}"]]
        # -oVALUE; but `-o=` says that the value follows the sign.
        if not spelling.startswith("--") and value and not value.startswith("="):
            words.append([f"{spelling}{value}"])
        for typed in words:
            assert read([*path.split(), *typed]).words() == expected
            assert read([*path.split(), *typed]).spelled == {option.name: spelling}


@pytest.mark.parametrize(("path", "option"), FLAGS, ids=name)
def test_a_flag_is_the_same_in_each_spelling_that_pflag_takes(path: str, option: Any) -> None:
    # `network inspect` has a --verbose, which is the application's all the same.
    for spelling in [one for one in spellings_of(option) if one != "--verbose"]:
        no = spelling in option.secondary_opts
        for said in ("", "=1", "=t", "=T", "=true", "=TRUE", "=True", "=0", "=f", "=F", "=false", "=FALSE", "=False"):
            on = (said.lower() not in ("=0", "=f", "=false")) != no
            spellings = option.opts if on else option.secondary_opts
            expected = [one for one in spellings if one.startswith("--")][:1]
            assert read([*path.split(), f"{spelling}{said}"]).words() == [*path.split(), *expected, "--"]


@hypothesis.given(st.permutations(["-d", "-i", "-t", "--rm", "--net=lab", "-eA=b", "--verbose", "--state-dir=/s"]))
def test_the_order_of_different_options_does_not_matter(options: list[str]) -> None:
    line = read(["run", *options, "sh", "-c", "--rm"])
    words = line.words()
    assert words[:4] == ["--state-dir", "/s", "--verbose", "run"]
    assert sorted(words[4 : words.index("--")]) == sorted(
        ["--detach", "--interactive", "--tty", "--rm", "--net", "lab", "--env", "A=b"]
    )
    assert line.arguments == ["sh", "-c", "--rm"]


@hypothesis.given(st.lists(st.sampled_from("dit"), min_size=1, max_size=5))
def test_short_flags_in_one_word_are_the_same_as_apart(letters: list[str]) -> None:
    together = read(["run", f"-{''.join(letters)}", "sh"]).words()
    assert together == read(["run", *(f"-{one}" for one in letters), "sh"]).words()


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["run", "sh", "-d"], ["sh", "-d"]),
        (["run", "--", "-d"], ["-d"]),
        (["run", "--", "sh", "--", "-d"], ["sh", "--", "-d"]),
        (["exec", "web", "sh", "--", "-d"], ["web", "sh", "--", "-d"]),
        (["exec", "web", "--", "sh", "-d"], ["web", "sh", "-d"]),
        (["exec", "--", "web", "sh", "-d"], ["web", "sh", "-d"]),
        (["rm", "a", "-f", "b"], ["a", "b"]),
        (["rm", "a", "--", "-f"], ["a", "-f"]),
    ],
)
def test_what_belongs_to_a_command_that_is_run_is_left_as_it_is(words: list[str], arguments: list[str]) -> None:
    assert read(words).arguments == arguments


# What `docker run --help` of 28.5 lists.
DOCKER_RUN = re.findall(
    r"\S+",
    """
--add-host --annotation --attach --blkio-weight --blkio-weight-device --cap-add --cap-drop --cgroup-parent --cgroupns
--cidfile --cpu-count --cpu-percent --cpu-period --cpu-quota --cpu-rt-period --cpu-rt-runtime --cpu-shares --cpus
--cpuset-cpus --cpuset-mems --detach --detach-keys --device --device-cgroup-rule --device-read-bps --device-read-iops
--device-write-bps --device-write-iops --disable-content-trust --dns --dns-opt --dns-option --dns-search --domainname
--entrypoint --env --env-file --expose --gpus --group-add --health-cmd --health-interval --health-retries
--health-start-interval --health-start-period --health-timeout --hostname --init --interactive --io-maxbandwidth
--io-maxiops --ip --ip6 --ipc --isolation --kernel-memory --label --label-file --link --link-local-ip --log-driver
--log-opt --mac-address --memory --memory-reservation --memory-swap --memory-swappiness --mount --name --net
--net-alias --network --network-alias --no-healthcheck --oom-kill-disable --oom-score-adj --pid --pids-limit --platform
--privileged --publish --publish-all --pull --quiet --read-only --restart --rm --runtime --security-opt --shm-size
--sig-proxy --stop-signal --stop-timeout --storage-opt --sysctl --tmpfs --tty --ulimit --use-api-socket --user --userns
--uts --volume --volume-driver --volumes-from --workdir
""",
)


@pytest.mark.parametrize("command", ["run", "create"])
def test_every_option_of_docker_run_is_taken_or_refused_with_a_reason(command: str) -> None:
    own = {spelling for one in options_of(COMMANDS[command]) for spelling in spellings_of(one)}
    for option in DOCKER_RUN:
        if option not in own:
            refused = refusal(command, option)
            assert refused is not None, option
            assert refused.why or set(refused.harmless) == {"true", "false"}, option


@pytest.mark.parametrize(
    "words",
    [
        ["network", "create", "--scope", "local", "lab"],
        ["network", "create", "--attachable=false", "lab"],
        ["network", "create", "--ingress=0", "--config-only=F", "lab"],
        ["network", "create", "--ipam-driver=default", "lab"],
        ["create", "--init", "--quiet", "-q"],
        ["run", "--quiet", "--sig-proxy", "--sig-proxy=true", "--privileged=false", "true"],
        ["run", "-a", "stdin", "--attach=stdout", "-astderr", "-ia=stdout", "--no-healthcheck", "true"],
        ["run", "--stop-signal", "SIGTERM", "true"],
        ["ps", "-n=-1", "--latest=false", "--size=false"],
        ["rm", "-fv", "web"],
        ["start", "--attach=false", "-i=false", "web"],
        ["stop", "-s", "SIGTERM", "web"],
        ["restart", "--signal=15", "-t", "3", "web"],
        ["inspect", "--type", "container", "web"],
    ],
    ids=" ".join,
)
def test_an_option_of_dockers_that_asks_for_what_is_so_anyway_is_taken(words: list[str]) -> None:
    line = read(words)
    assert line.arguments == ([words[-1]] if words[0] not in ("create", "ps") else [])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["network", "create", "--scope=swarm", "lab"], "this host alone"),
        (["network", "create", "--attachable", "lab"], "every sandbox may use it"),
        (["network", "create", "--ipam-driver", "dhcp", "lab"], "own pools"),
        (["run", "--sig-proxy=false", "true"], "always reach"),
        (["run", "--privileged", "true"], "rights"),
        (["run", "-a", "stdlog", "true"], "streams"),
        (["run", "--stop-signal=HUP", "true"], "SIGTERM"),
        (["ps", "-n", "3"], "order of names"),
        (["ps", "-ql"], "order of names"),
        (["ps", "-as"], "no size"),
        (["rm", "-l", "web"], "no name server"),
        (["start", "-a", "web"], "detached"),
        (["start", "--interactive", "web"], "detached"),
        (["start", "--checkpoint", "first", "web"], "no checkpoints"),
        (["stop", "-s", "KILL", "web"], "SIGTERM"),
        (["restart", "--signal", "HUP", "web"], "SIGTERM"),
        (["inspect", "--type=network", "lan"], "sandboxes alone"),
        (["inspect", "-s", "web"], "no size"),
    ],
    ids=str,
)
def test_any_other_value_of_it_is_refused_with_the_reason(words: list[str], why: str) -> None:
    with pytest.raises(Usage) as raised:
        read(words)
    assert why in raised.value.causes[0]
    assert "is not taken" in raised.value.message


def test_a_flag_of_dockers_that_is_neither_on_nor_off_is_refused_for_that() -> None:
    with pytest.raises(Usage) as raised:
        read(["run", "--quiet=perhaps", "true"])
    assert raised.value.causes == ("it is true or false",)
