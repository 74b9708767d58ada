"""Networks and endpoints with the two capabilities that they need, in place of all that root may."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.support import check_error

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def attempt(lan: Lan, capabilities: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Type a macvfast command as root with only some of the capabilities."""
    kept = ",".join(["-all", *(f"+{name}" for name in capabilities.split())])
    limited = ("setpriv", f"--bounding-set={kept}", "--inh-caps=-all", "--ambient-caps=-all")
    return lan.host.attempt(*limited, netns.MACVFAST, *arguments)


def test_net_admin_and_sys_admin_suffice_for_networks_and_endpoints(lan: Lan) -> None:
    for arguments in (
        ("network", "create", *support.PUB_NET, "pub_net"),
        ("create", "--net=pub_net", "--name=box"),
        ("create", "--name=loose"),
        ("network", "connect", "pub_net", "loose"),
        ("scale", "pub_net", "web=3"),
        ("restore",),
        ("check",),
        ("network", "disconnect", "pub_net", "loose"),
        ("scale", "pub_net", "web=0"),
        ("gc",),
        ("rm", "box", "loose"),
        ("network", "rm", "pub_net"),
    ):
        done = attempt(lan, "net_admin sys_admin", *arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    assert support.listed(lan, "network", "ls") == []
    assert lan.sandbox_names() == []


def test_what_needs_more_says_which_capability_for_what(lan: Lan) -> None:
    support.create_pub_net(lan)
    enough = "net_admin sys_admin setgid setuid"
    said = {
        given: attempt(lan, given, "run", "--rm", "-u", "65534", "true")
        for given in (enough, *(enough.replace(f" {name}", "") for name in ("setgid", "setuid")))
    }
    assert (said.pop(enough).returncode, lan.sandbox_names()) == (0, [])
    for given, done in said.items():
        missing = "CAP_SETUID" if "setgid" in given else "CAP_SETGID"
        assert "run a command as another user" in check_error(done, 125)
        assert missing in done.stderr
    with subprocess.Popen(["setpriv", "--reuid=65534", "--clear-groups", "unshare", "-Urn", "cat"], stdin=-1) as cat:
        netns.wait_until(lambda: Path(f"/proc/{cat.pid}/comm").read_text() == "cat\n", what="its namespace")
        done = attempt(lan, "net_admin sys_admin", "network", "connect", f"--pid={cat.pid}", "pub_net", "guest")
        assert "CAP_SYS_PTRACE" in check_error(done, 1)
        assert cat.stdin is not None
        cat.stdin.close()


@pytest.mark.parametrize(("given", "missing"), [("net_admin", "CAP_SYS_ADMIN"), ("sys_admin", "CAP_NET_ADMIN")])
def test_the_capability_that_is_missing_is_named(lan: Lan, given: str, missing: str) -> None:
    support.create_pub_net(lan)
    with support.unchanged(lan):
        said = check_error(attempt(lan, given, "create", "--net=pub_net"), 1)
    assert missing in said
    assert ({"CAP_SYS_ADMIN", "CAP_NET_ADMIN"} - {missing}).isdisjoint(said.split())
