"""`macvfast scale`: exactly so many sandboxes, on a real kernel, judged by `ip` and the parent's own filter list."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.terminal import Terminal

if TYPE_CHECKING:
    from tests.netns import Lan

SUMMARY = re.compile(r"(?P<prefix>\S+): (?P<count>\d+) on pub_net \((?P<what>[^)]*)\)")


def scale(lan: Lan, *words: str, status: int = 0) -> tuple[int, str]:
    """Type it; how many there are by its own words, and what it says on standard error."""
    done = lan.attempt("scale", "pub_net", *words)
    assert done.returncode == status, done.stderr
    found = SUMMARY.search(done.stdout)
    assert found is not None, done.stdout
    return int(found["count"]), done.stderr


def names(lan: Lan) -> list[str]:
    return sorted(one["Names"] for one in support.listed(lan, "ps", "-a"))


@pytest.mark.usefixtures("pub_net")
def test_as_many_are_made_and_removed_as_are_asked_for(lan: Lan) -> None:
    before = support.filter_macs(lan)
    assert scale(lan, "web=5") == (5, "")
    assert names(lan) == lan.sandbox_names() == [f"web-{number}" for number in range(5)]
    for number in range(5):
        link = support.link_of(lan, f"web-{number}")
        assert "UP" in link["flags"]
        assert support.address_of(lan, f"web-{number}") == f"172.16.86.{number + 2}"
        assert support.default_routes(lan, f"web-{number}") == [("172.16.86.1", "eth0")]
    assert lan.sandbox("web-4").can_ping("172.16.86.1")
    assert len(support.filter_macs(lan) - before) == 5
    assert scale(lan, "web=5") == (5, "")
    lan.macvfast("rm", "web-1")
    assert scale(lan, "web=3") == (3, "")
    assert names(lan) == ["web-0", "web-1", "web-2"]
    assert scale(lan, "web=0") == (0, "")
    assert lan.sandbox_names() == []
    assert support.filter_macs(lan) == before


@pytest.mark.usefixtures("pub_net")
def test_what_scale_did_not_make_is_refused_by_name_and_its_number_is_not_skipped(lan: Lan) -> None:
    lan.macvfast("create", "--name=web-1")
    count, said = scale(lan, "web=3", status=3)
    assert count == 2
    assert "`web-1`" in said
    assert names(lan) == ["web-0", "web-1", "web-2"]
    count, said = scale(lan, "web=0", status=3)
    assert count == 0
    assert "`web-1`" in said
    assert names(lan) == ["web-1"], "also with nothing else left to do"
    assert "(nothing done)" in lan.attempt("scale", "pub_net", "web=0").stdout
    lan.macvfast("rm", "web-1")
    assert "(nothing to do)" in lan.attempt("scale", "pub_net", "web=0").stdout


@pytest.mark.usefixtures("pub_net")
def test_what_runs_a_command_or_has_a_second_network_goes_only_by_force(lan: Lan) -> None:
    lan.add_parent("eth5", "lan5")
    lan.macvfast("network", "create", "--subnet=10.9.0.0/24", "-o", "parent=eth5", "other")
    scale(lan, "web=3")
    lan.macvfast("exec", "-d", "web-1", "sleep", "1000")
    lan.macvfast("network", "connect", "other", "web-2")
    count, said = scale(lan, "web=0", status=3)
    assert count == 2, "those that are refused are there"
    assert "`web-1`" in said
    assert "`web-2`" in said
    assert names(lan) == ["web-1", "web-2"]
    assert scale(lan, "--force", "web=0") == (0, "")
    assert lan.sandbox_names() == []


@pytest.mark.usefixtures("pub_net")
def test_a_full_pool_refuses_what_is_too_many_and_keeps_the_rest(lan: Lan) -> None:
    lan.add_parent("eth5", "lan5")
    lan.macvfast("network", "create", "--subnet=10.9.0.0/29", "-o", "parent=eth5", "tiny")
    done = lan.attempt("scale", "tiny", "w=8")
    assert done.returncode == 3
    assert done.stdout.startswith("w: 5 on tiny (5 made")
    assert done.stderr.startswith("error: 3 sandboxes `w-5` to `w-7`: no free IPv4 address in network `tiny`\n")
    assert done.stderr.count("error:") == 1
    assert lan.sandbox_names() == [f"w-{number}" for number in range(5)]
    assert lan.macvfast("scale", "tiny", "w=4").startswith("w: 4 on tiny (1 removed")
    lan.macvfast("create", "--net=tiny", "--name=last")


@pytest.mark.parametrize(
    "word", ["web", "web=", "=3", "web=-1", "web=1.5", "web=1e3", "web=³", "a/b=2", "web=99999999"]
)
def test_a_wrong_count_or_prefix_changes_nothing(lan: Lan, pub_net: str, word: str) -> None:
    before = support.world(lan)
    done = lan.attempt("scale", pub_net, word)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("error: ")
    assert support.world(lan) == before


@pytest.mark.usefixtures("pub_net")
def test_a_terminal_shows_a_bar_and_a_pipe_does_not(lan: Lan) -> None:
    assert lan.attempt("scale", "pub_net", "web=2").stderr == ""
    command = lan.host.command(netns.MACVFAST, "scale", "pub_net", "web=40")
    with Terminal(command, environment={**lan.host.environment, "TERM": "xterm"}) as terminal:
        # Of 38 that are missing; the summary speaks of 40.
        terminal.wait_for("/38")
        terminal.wait_for("web: 40 on pub_net")
        assert terminal.wait() == 0


@pytest.mark.usefixtures("pub_net")
def test_a_terminal_that_cannot_show_a_bar_shows_the_summary_alone(lan: Lan) -> None:
    with support.at_terminal(lan, "scale", "pub_net", "web=2") as terminal:
        assert terminal.wait() == 0
    assert terminal.screen.splitlines()[0].startswith("web: 2 on pub_net")


def test_a_thousand_are_made_and_removed_and_nothing_is_left(lan: Lan) -> None:
    lan.macvfast("network", "create", "--subnet=10.20.0.0/16", "-o", "parent=eth0", "big")
    before = support.filter_macs(lan)
    assert lan.macvfast("scale", "big", "b=1000").startswith("b: 1000 on big (1000 made")
    macs = support.filter_macs(lan) - before
    assert len(macs) == 1000
    assert len(lan.sandbox_names()) == 1000
    assert support.address_of(lan, "b-999") == "10.20.3.233"
    assert lan.macvfast("scale", "big", "b=0").startswith("b: 0 on big (1000 removed")
    assert support.filter_macs(lan) == before
    assert lan.sandbox_names() == []
