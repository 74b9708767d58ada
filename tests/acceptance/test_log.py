"""What is told on standard error to those who ask, and that others neither see nor pay for it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support
from tests.acceptance.support import check_error
from tests.netns import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def test_each_batch_is_told_with_its_counts_and_time(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.host.environment["MACVFAST_LOG"] = "json"
    done = lan.attempt("scale", "pub_net", "web=3")
    assert done.returncode == 0
    told = [json.loads(line) for line in done.stderr.splitlines()]
    links = next(one for one in told if one.get("what") == "make and configure links")
    # A link, an address and a default route each.
    assert (links["event"], links["requests"], links["refused"]) == ("batch", 9, 0)
    assert links["ms"] > 0
    assert links["time"].endswith("Z")


def test_a_batch_that_asks_for_nothing_is_not_told(lan: Lan) -> None:
    """The second round of a removal looks for links that the first left, and finds none."""
    support.create_pub_net(lan)
    lan.macvfast("scale", "pub_net", "web=3")
    lan.host.environment["MACVFAST_LOG"] = "json"
    done = lan.attempt("rm", "web-0", "web-1", "web-2")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stderr.splitlines()]
    batches = [one for one in told if one["event"] == "batch"]
    assert batches
    assert [one for one in batches if one["requests"] == 0] == []


def test_a_retry_and_an_undo_are_told(lan: Lan) -> None:
    """A stranger has the MAC of the first address; a MAC that was asked for and is taken cannot be replaced."""
    support.create_pub_net(lan)
    lan.run(
        *[
            "ip",
            "link",
            "add",
            "mv0",
            "link",
            "eth0",
            "address",
            "02:42:ac:10:56:02",
            "type",
            "macvlan",
            "mode",
            "bridge",
        ]
    )
    lan.run("ip", "link", "set", "mv0", "up")
    done = lan.attempt("--verbose", "create", "--net=pub_net", "--name=box")
    assert done.returncode == 0, done.stderr
    assert " retry what=make with other addresses sandboxes=1\n" in done.stderr
    done = lan.attempt("create", "--verbose", "--net=pub_net", "--name=other", "--mac-address=02:42:ac:10:56:02")
    assert done.returncode == 1
    assert " undo sandboxes=other\n" in done.stderr


def test_nothing_is_told_unasked_and_logging_is_not_loaded(lan: Lan) -> None:
    support.create_pub_net(lan)
    assert lan.attempt("create", "--net=pub_net").stderr == ""
    code = "import sys; from macvfast.cli import main; main(['network', 'ls']); print('logging' in sys.modules)"
    assert lan.host.run(sys.executable, "-c", code).splitlines()[-1] == "False"


def test_another_form_is_refused(lan: Lan) -> None:
    lan.host.environment["MACVFAST_LOG"] = "xml"
    assert "it is text or json" in check_error(lan.attempt("network", "ls"), 1)


def typed(said: str) -> list[str]:
    """The commands that `--verbose` shows."""
    return [line.partition(" + ")[2] for line in said.splitlines() if " + " in line]


def state_of(lan: Lan, path: Path) -> tuple[object, ...]:
    """All that `ip` says of a namespace's links, addresses and routes, without what changes by itself in a moment."""
    seen = []
    for what in (["-details", "address"], ["-4", "route"], ["-6", "route"]):
        found = json.loads(lan.run("nsenter", f"--net={path}", "ip", "-json", *what))
        for one in found:
            for key in ("link_netnsid", "operstate"):
                one.pop(key, None)
            for address in one.get("addr_info", ()):
                address.pop("tentative", None)
        seen.append(sorted(found, key=str))
    forms = [lan.run("nsenter", f"--net={path}", "sysctl", "-n", f"net.ipv6.conf.{at}.disable_ipv6")
             for at in ("default", "eth0")]  # fmt: skip
    return (*seen, *forms)


@pytest.mark.parametrize("options", [(), ("--ipv6", "--subnet=2001:db8:86::/64"), ("-o", "macvlan_mode=private")])
def test_the_commands_that_are_shown_lead_to_the_same_end_state_when_they_are_typed(
    lan: Lan, options: tuple[str, ...]
) -> None:
    """Catches one that leaves out a change, or shows other names or numbers than it uses."""
    support.create_pub_net(lan, *options)
    made = lan.attempt("--verbose", "create", "--net=pub_net", "--name=web")
    assert made.returncode == 0, made.stderr
    path = lan.netns_dir / "web"
    wanted = state_of(lan, path)
    gone = lan.attempt("--verbose", "rm", "web")
    assert gone.returncode == 0, gone.stderr
    assert not path.exists()
    wait_until(lambda: support.filter_macs(lan) == set(), what="the parent's list")
    for command in typed(made.stderr):
        lan.run("sh", "-ec", command)
    assert state_of(lan, path) == wanted
    for command in typed(gone.stderr):
        lan.run("sh", "-ec", command)
    assert not path.exists()


def test_what_restore_and_disconnect_do_is_shown_as_commands(lan: Lan) -> None:
    lan.add_parent("eth1", "lan1", "172.16.87.250/24", "172.16.87.1/24")
    support.create_pub_net(lan)
    lan.macvfast("network", "create", "--subnet=172.16.87.0/24", "--gateway=172.16.87.1", "-o", "parent=eth1", "other")
    lan.macvfast("create", "--net=pub_net", "--net=other", "--name=web")
    lan.sandbox("web").run("ip", "address", "flush", "dev", "eth1")
    inside = f"nsenter --net={lan.netns_dir / 'web'} ip"
    done = lan.attempt("--verbose", "restore")
    assert f"{inside} address add 172.16.87.2/24 dev eth1" in typed(done.stderr)
    done = lan.attempt("--verbose", "network", "disconnect", "pub_net", "web")
    assert typed(done.stderr) == [
        f"{inside} link delete eth0", f"{inside} route add 0.0.0.0/0 via 172.16.87.1 dev eth1",
    ]  # fmt: skip


def test_options_and_a_pin_that_restore_gives_again_are_shown_and_do_so_when_they_are_typed(lan: Lan) -> None:
    """Catches our own names of options, which `ip` does not know, and a pin of another namespace."""
    support.create_pub_net(lan, "-o", "bc_queue_len=2500")
    lan.macvfast("run", "-d", "--net=pub_net", "--name=web", "sleep", "1000")
    path, inode = lan.netns_dir / "web", lan.sandbox("web").inode

    def undo() -> None:
        lan.sandbox_run("web", "ip", "link", "set", "eth0", "type", "macvlan", "bcqueuelen", "10")
        subprocess.run(["umount", path], check=True)

    undo()
    done = lan.attempt("--verbose", "restore")
    assert f"nsenter --net={path} ip link set eth0 type macvlan bcqueuelen 2500" in typed(done.stderr)
    undo()
    for command in typed(done.stderr):
        lan.run("sh", "-ec", command)
    assert path.stat().st_ino == inode
    assert lan.macvfast("check") == ""
    lan.macvfast("rm", "-f", "web")


def test_a_namespace_and_links_that_restore_makes_anew_are_shown(lan: Lan) -> None:
    support.create_pub_net(lan)
    for name in ("gone", "wrong"):
        lan.macvfast("create", "--net=pub_net", f"--name={name}")
    wanted = state_of(lan, lan.netns_dir / "gone")
    subprocess.run(["umount", lan.netns_dir / "gone"], check=True)
    lan.sandbox_run("wrong", "sh", "-c", "ip link set eth0 down && ip link set eth0 name other")
    done = lan.attempt("--verbose", "restore")
    shown = typed(done.stderr)
    wrong = [one for one in shown if f"{lan.netns_dir / 'wrong'}" in one]
    assert wrong[0] == f"nsenter --net={lan.netns_dir / 'wrong'} ip link delete other"
    assert any(one.startswith("ip link add link eth0 name eth0 ") for one in wrong[1:])
    gone = [one for one in shown if f"{lan.netns_dir / 'gone'}" in one]
    subprocess.run(["umount", lan.netns_dir / "gone"], check=True)
    wait_until(lambda: len(support.filter_macs(lan)) == 1, what="the parent's list")
    for command in gone:
        lan.run("sh", "-ec", command)
    assert state_of(lan, lan.netns_dir / "gone") == wanted


def test_a_link_that_is_deleted_in_a_namespace_that_a_process_holds_is_shown_by_way_of_it(lan: Lan) -> None:
    """Catches one that is shown by the path of a pin that is gone by then."""
    support.create_pub_net(lan)
    lan.macvfast("create", "--net=pub_net", "--name=web")
    inode = lan.sandbox("web").inode
    with lan.sandbox("web").start("sleep", "1000") as intruder:
        try:
            support.wait_for_process(inode, "sleep", "1000")
            done = lan.attempt("--verbose", "rm", "web")
            assert done.returncode == 0, done.stderr
            path = f"/proc/{intruder.pid}/ns/net"
            unpinned, deleted = typed(done.stderr)
            assert unpinned == f"umount {lan.netns_dir / 'web'} && rm {lan.netns_dir / 'web'}"
            assert deleted == f"nsenter --net={path} ip link delete eth0"
        finally:
            intruder.kill()
