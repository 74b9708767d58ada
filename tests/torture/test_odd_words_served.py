"""Random command lines on a real kernel: they do the same with a server and without it."""

from __future__ import annotations

import random
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from docs import application
from macvfast.cli import app
from tests import netns
from tests.acceptance import support
from tests.guide.page import masked
from tests.guide.test_served import bed, shown, the_same, were_served
from tests.torture import SEED, sized, test_odd_words

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.needs("root", "netns", "veth", "ip", "macvlan"), pytest.mark.timeout(7200)]

# Those that reach beyond a test's bed, and those that tell of the server.
LEFT_OUT = test_odd_words.LEFT_OUT | {"state adopt", "state backup", "state load", "status", "metrics", "completion"}


# As Docker's templates show it.
_TIME = re.compile(r"\b\d{4}-\d\d-\d\d [\d:.]+ \+0000 UTC")


def typed_lines(chance: random.Random, count: int) -> list[tuple[list[str], str]]:
    """Command lines, and what is answered to a question."""
    known = [command for path, command in application.commands().items() if path not in LEFT_OUT]
    common = [one for one in app.application().params if one.is_eager]
    lines = [test_odd_words.line(chance.choice(known), common, chance) for _ in range(count)]
    for number, words in enumerate(lines):
        # Where none is given, the name is an id: lists would be sorted by what is random.
        if words[0] in ("create", "run"):
            words.insert(1, f"--name=o{number}")
    return [(words, chance.choice(("", "y\n", "n\n"))) for words in lines]


def seen(directory: Path, lines: list[tuple[list[str], str]], *, served: bool) -> list[str]:
    """What each of them shows, its status, and the world after it."""
    found = []
    with bed(directory, served=served) as lan:
        lan.macvfast("network", "create", *support.PUB_NET, "lan")
        lan.macvfast("create", "--name=box", "--net=lan")
        for words, answer in lines:
            done = lan.host.attempt(netns.MACVFAST, *words, stdin=answer)
            said = f"{shlex.join(words)}\n{done.returncode}\n{_TIME.sub('<time>', done.stdout + done.stderr)}"
            found.append(f"{masked(said).replace(str(directory), '<directory>')}\n{shown(lan, directory)}")
        if served:
            were_served(lan, len(lines))
    return found


def test_odd_command_lines_do_the_same_with_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"seed {SEED}")
    # Nothing that leads out of the bed.
    safe = [value for value in test_odd_words.VALUES if "/proc" not in value and value != "missing/copy.db"]
    monkeypatch.setattr(test_odd_words, "VALUES", safe)
    lines = typed_lines(random.Random(SEED), sized(30, 2000))
    the_same(*(seen(tmp_path / way, lines, served=way == "served") for way in ("plain", "served")))
