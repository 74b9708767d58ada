"""docs/docker.md says of every option of Docker's what macvfast does with it, and says the truth."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from docs import application
from docs.application import options_of, spellings_of
from macvfast.cli.commands import COMMANDS
from macvfast.cli.docker import instead, refusal
from tests.parity.engine import CLIENT

PAGE = (Path(__file__).parents[2] / "docs/docker.md").read_text(encoding="utf-8")
SECTIONS = {
    "network create": ("network create",),
    "network ls, inspect, rm, prune, disconnect": (
        "network ls", "network inspect", "network rm", "network prune", "network disconnect",
    ),
    "network connect": ("network connect",),
    "run and create": ("run",),
    "exec": ("exec",),
    "ps": ("ps",),
    "inspect": ("inspect",),
    "rm": ("rm",),
    "start, stop, restart": ("start", "stop", "restart"),
    "logs": ("logs",),
}  # fmt: skip

# Of `docker run`, what is about networks and names, and how the command is started and stopped; the rest is not of this
# page, save for what macvfast takes.
ABOUT_NETWORKS = re.compile(
    r"net|ip|dns|host|mac|link|publish|expose|domainname|sysctl"
    r"|^--(?:name|detach|interactive|tty|rm|restart|entrypoint|stop-signal|stop-timeout)$"
)


def rows(section: str) -> dict[str, str]:
    """The options of a section with what is said of each."""
    text = PAGE.partition(f"### {section}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(--[\w-]+)` \| (.*?) \|", text, re.MULTILINE))


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_taken_is_an_option_and_what_is_refused_has_its_reason(section: str) -> None:
    assert rows(section)
    commands = application.commands()
    for option, said in rows(section).items():
        own = any(
            option in spellings_of(one)
            for name in SECTIONS[section]
            if name in commands
            for one in options_of(commands[name])
        )
        found = [one for name in SECTIONS[section] if (one := refusal(name, option)) is not None]
        harmless = any(one.flag and {*one.harmless} == {"true", "false"} for one in found)
        assert said.startswith("taken") == (own or harmless), option
        assert said.startswith("refused") == (bool(found) and not harmless), option


@pytest.mark.needs("docker-engine")
@pytest.mark.parametrize("section", SECTIONS)
def test_every_option_of_docker_is_there(section: str) -> None:
    for name in SECTIONS[section]:
        done = subprocess.run(
            [*CLIENT, *name.split(), "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        options = set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", done.stdout, re.MULTILINE))
        if name == "run":
            options = {option for option in options if ABOUT_NETWORKS.search(option)}
            # Of namespaces, health checks and devices, whose names hold these letters too.
            options -= {"--ipc", "--disable-content-trust", "--health-start-period", "--uts", "--pids-limit"}
        assert options <= set(rows(section)), name


def test_every_option_that_docker_has_is_taken_or_refused_by_run() -> None:
    run = options_of(application.commands()["run"])
    for option in rows("run and create"):
        assert refusal("run", option) is not None or any(option in spellings_of(one) for one in run), option


def commands_on_the_page() -> dict[str, str]:
    """Docker's commands, each with what is said of it."""
    section = PAGE.partition("\n## Commands\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([a-z]+)` \| (.*?) \|$", section, re.MULTILINE))


def test_each_of_dockers_commands_is_taken_or_has_the_hint_that_the_page_shows() -> None:
    page = commands_on_the_page()
    assert len(page) > 50
    ours = {path.partition(" ")[0] for path in COMMANDS}
    for word, said in page.items():
        if said.startswith(("taken", "something else here")):
            assert word in ours, word
        else:
            assert word not in ours, word
            assert instead(word) == said, word
    # What is ours and has Docker's name is on the page.
    assert {
        "run",
        "create",
        "exec",
        "start",
        "stop",
        "restart",
        "logs",
        "inspect",
        "ps",
        "rm",
        "network",
    } <= page.keys()


@pytest.mark.needs("docker-engine")
def test_every_command_of_docker_is_on_the_page() -> None:
    done = subprocess.run([*CLIENT, "--help"], capture_output=True, text=True, check=True)
    named = re.findall(r"^  ([a-z]+)\*? {2,}[A-Z]", done.stdout, re.MULTILINE)
    assert len(named) > 40
    assert sorted(set(named) - commands_on_the_page().keys()) == []
