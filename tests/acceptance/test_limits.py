"""Few descriptors, few namespaces: what is asked for is done all the same, or refused by the limit's name."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import netns
from tests.acceptance import support
from tests.acceptance.support import check_error, listed
from tests.netns import wait_until

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")

MANY_THREADS = """
import resource, sys, threading
from macvfast import Host
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
with Host.open() as host:
    def work(number):
        try:
            names = [f"w{number}-{at}" for at in range(12)]
            host.connect_many("pub_net", names).raise_if_any()
            host.remove_many(names[:9]).raise_if_any()
            host.disconnect_many("pub_net", names[9:]).raise_if_any()
            host.remove_many(names[9:]).raise_if_any()
        except BaseException as error:
            print(number, error)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("done")
"""

GIVEN_EACH = """
import resource, sys
from macvfast import EndpointRequest, Host
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
with Host.open() as host:
    asked = [EndpointRequest(network="pub_net", sandbox=path.rpartition("/")[2], netns=path) for path in sys.argv[1:]]
    host.connect_many("pub_net", asked).raise_if_any()
    assert host.check() == []
    host.remove_many([one.sandbox for one in asked]).raise_if_any()
print("done")
"""


def with_limit(limit: str, *words: str) -> list[str]:
    return ["sh", "-c", f"ulimit {limit}; exec {shlex.join([str(netns.MACVFAST), *words])}"]


def test_a_command_that_changes_something_uses_its_hard_limit(lan: Lan) -> None:
    support.create_pub_net(lan)
    # With so few alone, no sandbox can be made.
    lan.run(*with_limit("-Sn 10", "create", "--net=pub_net", "--name=box"))
    assert lan.sandbox_names() == ["box"]


@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["attached", "detached"])
def test_where_the_program_around_a_command_has_too_few_the_limit_is_named(lan: Lan, detach: tuple[str, ...]) -> None:
    """It has its caller's, which the command is to have."""
    for limit in (11, 13):
        done = lan.host.attempt(*with_limit(f"-Sn {limit}", "run", "--rm", *detach, "true"))
        said = check_error(done, 125)
        assert "RLIMIT_NOFILE" in said
        assert "ulimit -n 4096" in said
    assert lan.sandbox_names() == []


@pytest.mark.parametrize("limit", [64, 256])
def test_many_are_made_and_removed_with_few_descriptors(lan: Lan, limit: int) -> None:
    """A chunk that did not fit was refused as a whole, and what fitted was luck."""
    support.create_pub_net(lan)
    limited = f"-n {limit}"
    lan.run(*with_limit(limited, "scale", "pub_net", "w=150"))
    assert len(listed(lan, "ps")) == 150
    assert lan.run(*with_limit(limited, "check")) == ""
    lan.run(*with_limit(limited, "rm", *(f"w-{number}" for number in range(150))))
    assert listed(lan, "ps", "-a") == []
    assert support.filter_macs(lan) == set()


def test_many_threads_share_few_descriptors(lan: Lan) -> None:
    support.create_pub_net(lan)
    assert lan.run(sys.executable, "-c", MANY_THREADS) == "done\n"
    assert listed(lan, "ps", "-a") == []


def test_many_are_connected_in_as_many_given_namespaces_with_few_descriptors(lan: Lan) -> None:
    """Catches one that keeps each open until all are connected."""
    support.create_pub_net(lan)
    given = [netns.Netns.make(f"given-{number}") for number in range(70)]
    try:
        assert lan.run(sys.executable, "-c", GIVEN_EACH, *(str(one.path) for one in given)) == "done\n"
        assert listed(lan, "ps", "-a") == []
        assert [one.link_names() for one in given] == [["lo"]] * 70
    finally:
        for one in given:
            one.remove()


@pytest.mark.skipif("MACVFAST_TEST_SERVED" in os.environ, reason="a worker has the limits of its server")
def test_without_a_descriptor_the_limit_is_named(lan: Lan) -> None:
    support.create_pub_net(lan)
    named = 0
    with support.unchanged(lan):
        for limit in range(7, 16):
            done = lan.host.attempt(*with_limit(f"-n {limit}", "create", "--net=pub_net", "--name=box"))
            if done.returncode != 1:
                # Too few for Python itself, or enough.
                lan.macvfast("rm", "-f", "box")
                continue
            said = check_error(done, 1)
            assert "RLIMIT_NOFILE" in said or "Too many open files" in said
            assert "ulimit -n 4096" in said
            named += 1
    assert named


@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["attached", "detached"])
def test_a_command_has_the_limit_of_its_caller(lan: Lan, detach: tuple[str, ...]) -> None:
    """The command `macvfast` itself uses all that it may."""
    shows = ("sh", "-c", "ulimit -Sn; grep files /proc/$PPID/limits")
    said = lan.run(*with_limit("-Sn 300", "run", *detach, "--name=box", *shows))
    if detach:
        wait_until(lambda: listed(lan, "ps", "-a")[0]["State"] == "exited", 20, "the end of the command")
        said = lan.macvfast("logs", "box")
    assert said.split()[0] == "300"
    assert said.split()[4] == "300"


def test_too_many_namespaces_are_refused_by_the_name_of_the_limit() -> None:
    """The kernel's own words are `No space left on device`."""
    script = f"""
        PATH={netns.MACVFAST.parent}:$PATH
        mount -t tmpfs tmpfs /run; mkdir /run/netns; export MACVFAST_STATE_DIR=/run/state
        unset MACVFAST_NETNS_DIR
        ip link add eth0 type veth peer name far0; ip link set eth0 up; ip link set far0 up
        macvfast network create -d macvlan --subnet=10.0.0.0/16 -o parent=eth0 lab
        echo 40 > /proc/sys/user/max_net_namespaces
        macvfast scale lab w=100
        echo "status $?"
        macvfast ps -q | wc -l
        macvfast check
    """
    apart = ["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        ["unshare", *apart, "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert "user.max_net_namespaces" in done.stderr
    assert "sysctl -w user.max_net_namespaces=N" in done.stderr
    assert "Traceback" not in done.stderr
    # Whole chunks are made, and nothing is half-made.
    assert done.stdout.splitlines()[-2:] == ["status 3", "32"]
