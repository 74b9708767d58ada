"""Each example of a `--help` is typed as it stands there."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from macvfast.cli.commands import every_command
from tests import netns

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")

# In an order in which each finds what it speaks of.
ORDER = (
    "network create", "network ls", "network inspect", "network update", "create", "exec", "ps", "inspect", "topology",
    "network disconnect",
    "network connect", "ipam show", "logs", "status", "metrics", "check", "gc", "restore", "state backup",
    "state load", "state adopt", "stop", "start", "restart", "rm", "run", "scale", "network rm", "network prune",
    "network import cni", "network import docker", "service install", "service uninstall", "completion", "serve",
)  # fmt: skip
# What is typed before one, and what is not to be had here.
BEFORE = {
    "state load": "yes | ",
    "serve": "timeout --preserve-status 2 ",
    "network rm": "macvfast scale pub_net web=0; macvfast rm -f $(macvfast ps -aq); ",
}
WANTING = {
    "run": "standard input is not a terminal",
    "network import cni": "networks cannot be read from",
    "network import docker": "networks cannot be read from",
    "service install": "other users could change what root runs",
}


def test_each_example_of_a_help_text_can_be_typed(lan: Lan) -> None:
    examples = {command.path: command.example for command in every_command()}
    assert examples.keys() == set(ORDER)
    script = ["mount -t tmpfs tmpfs /var; mkdir /var/backups", f"PATH={shlex.quote(str(netns.MACVFAST.parent))}:$PATH"]
    for name in ORDER:
        lines = examples[name].replace("\\\n", " ").splitlines()
        script += [f"{BEFORE.get(name, '')}{line}; echo; echo '#### '$? {name}" for line in lines]
    said = lan.run("unshare", "--mount", "sh", "-c", "exec 2>&1\n" + "\n".join(script))
    refused = {}
    for part in said.split("\n#### ")[1:]:
        status, name = part.partition("\n")[0].split(" ", 1)
        if status != "0":
            refused[name] = status
    assert {name: status for name, status in refused.items() if name not in WANTING} == {}, said
    assert all(WANTING[name] in said for name in refused), said
