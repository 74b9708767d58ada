"""Calls of CNI whose configurations name no network: what they read, and what they ask of the host."""

from __future__ import annotations

import json
import os
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from macvfast import errors
from macvfast.engine.attachments import Attachments
from macvfast.model import Sandbox
from macvfast.plugins.cni import calls
from macvfast.plugins.doing import answered
from macvfast.plugins.kinds import connected, undo
from macvfast.plugins.request import NotKept, Request
from macvfast.state.owners import Held, Owners
from macvfast.state.records import REMOVED
from tests.netns import wait_until
from tests.unit.fake_kernel import FakeKernel, FakeLink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.machine import Machine

IPAM = {"type": "host-local", "ranges": [[{"subnet": "10.20.0.0/30"}]]}
CONF = {"cniVersion": "1.1.0", "name": "pods", "type": "macvfast", "master": "eth5", "ipam": IPAM}


@pytest.fixture(autouse=True)
def _given(machine: Machine) -> None:
    """A link without networks, and a namespace to attach."""
    machine.world.add_home(FakeLink(5, "eth5", mac=b"\x52\x54\x00\x00\x00\x05"))
    machine.host._store.origin = "cni"
    machine.world.give("/proc/self/fd/0")


def read(command: str, conf: dict[str, Any], *, container: str = "c1", id_: str = "a" * 32, program: str = "") -> Any:
    """What a call becomes; its namespace is this process's standard input."""
    environment = {"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin"}
    if command not in ("STATUS", "GC"):
        environment |= {"CNI_CONTAINERID": container, "CNI_NETNS": "/run/netns/box", "CNI_IFNAME": "net1"}
    return calls.read(calls.Call(id_, environment, json.dumps(conf), 0, program))


def done(machine: Machine, command: str, conf: dict[str, Any], **named: str) -> Any:
    """The result of a call; where it fails, its code."""
    said = read(command, conf, **named)
    try:
        found: Any = answered(machine.host, said).said if isinstance(said, Request) else said
    except NotKept as error:
        found = error.said
    except errors.MacvfastError as error:
        found = said.words.failed(error)
    return found["result"]["code"] if found["status"] else found["result"]


# The file of name servers.


def held_by(conf: dict[str, Any]) -> dict[str, Any]:
    """The configuration of another plugin, whose IPAM plugin this is."""
    return conf | {"type": "bridge"}


@pytest.mark.parametrize("program", ["", "host-local"])
def test_a_file_of_name_servers_is_read_anew_by_each_container(machine: Machine, tmp_path: Path, program: str) -> None:
    path = tmp_path / "resolv.conf"
    conf = CONF | {"ipam": IPAM | {"resolvConf": str(path)}}
    conf = held_by(conf) if program else conf
    for server in ("192.0.2.1", "192.0.2.2"):
        path.write_text(f"nameserver {server}\n")
        request = read("ADD", conf, program=program)
        path.write_text("nameserver 192.0.2.99\n" if server == "192.0.2.2" else f"nameserver {server}\n")
        found: Any = answered(machine.host, request).said["result"]
        assert found["dns"] == {"nameservers": ["192.0.2.99" if server == "192.0.2.2" else server]}
        done(machine, "DEL", conf, program=program)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def long(path: Path) -> None:
    path.write_text("#" * (1 << 16) + "\nnameserver 192.0.2.1\n")


@pytest.mark.parametrize("make", [pipe, long, os.mkdir, lambda _: None], ids=["pipe", "long", "directory", "missing"])
@pytest.mark.parametrize("program", ["", "host-local"])
def test_what_is_no_file_of_name_servers_stops_the_container_alone(
    machine: Machine, tmp_path: Path, make: Callable[[Path], None], program: str
) -> None:
    """Catches a file that is opened where calls are read, for all callers; and addresses that stay given."""
    path = tmp_path / "resolv.conf"
    make(path)
    conf = CONF | {"ipam": IPAM | {"resolvConf": str(path)}}
    conf = held_by(conf) if program else conf
    assert done(machine, "ADD", conf, program=program) == 5
    assert machine.host.attachments() == []
    request = read("ADD", conf)
    assert connected(machine.host, [request]) == [None], "it is done alone, and says why"


@pytest.mark.parametrize("program", ["", "host-local"])
def test_what_host_local_has_given_goes_whatever_became_of_the_name_servers(
    machine: Machine, tmp_path: Path, program: str
) -> None:
    conf = CONF | {"ipam": IPAM | {"resolvConf": str(tmp_path / "none"), "dataDir": str(tmp_path)}}
    conf = held_by(conf) if program else conf
    (tmp_path / "pods").mkdir()
    ends: list[tuple[str, dict[str, Any]]] = [("DEL", {}), ("GC", {"cni.dev/valid-attachments": []})]
    for command, more in ends:
        kept = tmp_path / "pods" / "10.20.0.2"
        kept.write_text("c1\r\nnet1")
        done(machine, command, conf | more, program=program)
        assert not kept.exists(), command


# What an IPAM plugin of ours alone would heed.


def test_the_addresses_of_another_plugin_are_of_the_network_that_is_named(machine: Machine) -> None:
    machine.host.create_network("pub", parent="eth5", subnets=["10.9.0.0/24"])
    conf = held_by(CONF) | {"ipam": {"type": "macvfast", "network": "pub"}}
    assert done(machine, "ADD", conf, program="macvfast")["ips"][0]["address"] == "10.9.0.2/24"
    refused = conf | {"ipam": conf["ipam"] | {"domain": "x"}}
    assert done(machine, "ADD", refused, program="macvfast", container="c2") == 2


def test_the_addresses_of_another_plugin_may_be_in_a_domain_of_their_own(machine: Machine) -> None:
    """Two bridges with the same subnet."""
    for number, domain in enumerate(("x", "y", "x")):
        ipam = {"type": "macvfast", "ranges": [[{"subnet": "10.20.0.0/24"}]], "domain": domain}
        conf = held_by(CONF) | {"name": f"pods{number}", "ipam": ipam}
        given = done(machine, "ADD", conf, program="macvfast", container=f"c{number}")
        assert given["ips"][0]["address"].endswith(".3/24" if number == 2 else ".2/24")


# An IPAM plugin's ADD that is asked for again.


def addresses(found: Any) -> list[str]:
    return [one["address"] for one in found["ips"]]


def held(machine: Machine) -> int:
    (usage,) = machine.host.usage("cni-pods")
    return len(usage.held)


WIDE = {"type": "host-local", "ranges": [[{"subnet": "10.20.0.0/24"}]]}


def test_addresses_whose_answer_is_lost_are_given_again_and_not_taken_back_then(machine: Machine) -> None:
    """By a plugin whose server has died; or, where that lives, taken back by it, unless they were asked for again."""
    conf = held_by(CONF) | {"ipam": WIDE}
    lost = answered(machine.host, read("ADD", conf, program="host-local")).made
    assert lost is not None
    first = done(machine, "ADD", conf, program="host-local")
    assert (addresses(first), held(machine)) == (["10.20.0.2/24"], 1)
    undo(machine.host, lost)
    assert held(machine) == 1
    assert done(machine, "ADD", conf, program="host-local", id_="b" * 32) == 107, "that is another request"
    done(machine, "DEL", conf, program="host-local")
    lost = answered(machine.host, read("ADD", conf, program="host-local")).made
    assert lost is not None
    undo(machine.host, lost)
    assert held(machine) == 0
    machine.assert_record_is_true()


@pytest.mark.parametrize("program", ["", "host-local"])
def test_what_was_held_in_another_boot_makes_way_for_the_container(machine: Machine, program: str) -> None:
    conf = CONF | {"ipam": WIDE}
    assert done(machine, "ADD", held_by(conf), program="host-local")["ips"]
    with machine.host._store.writing() as records:
        records._db.execute("UPDATE attachment SET boot_id = 'another'")
    found = done(machine, "ADD", held_by(conf) if program else conf, program=program, id_="b" * 32)
    assert found["ips"]
    assert len(machine.host.attachments()) == 1
    machine.assert_record_is_true()


# Whether something could be attached.


@pytest.mark.parametrize("program", ["", "host-local"])
@pytest.mark.parametrize("own", [{}, {"ranges": IPAM["ranges"]}], ids=["no ranges", "ranges"])
def test_a_node_whose_ranges_come_with_each_container_is_ready(
    machine: Machine, own: dict[str, Any], program: str
) -> None:
    """A runtime gives STATUS no `runtimeConfig`."""
    conf = CONF | {"capabilities": {"ipRanges": True}, "ipam": {"type": "host-local"} | own}
    conf = held_by(conf) if program else conf
    given = {"runtimeConfig": {"ipRanges": [[{"subnet": "fd00:20::/64" if own else "10.30.0.0/24"}]]}}
    assert done(machine, "STATUS", conf, program=program) is None
    if program or not own:
        assert done(machine, "ADD", conf | given, program=program)["ips"]
    assert done(machine, "STATUS", conf, program=program) is None
    macvlan = conf | {"type": "macvlan", "master": "eth9"}
    assert done(machine, "STATUS", macvlan, program=program) == 50


def test_a_look_as_ipam_plugin_waits_for_nobody(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that wait would stop STATUS for all who ask."""

    def refuse(*_: object, **__: object) -> None:
        raise errors.SandboxBusy("network", "lan", "restored")

    monkeypatch.setattr(type(machine.host), "refuse_unready", refuse)
    monkeypatch.setattr(type(machine.host._store), "writing", None)
    assert done(machine, "STATUS", held_by(CONF), program="host-local") is None


@pytest.mark.parametrize("program", ["", "host-local"])
def test_a_pool_that_is_full_counts_where_the_configuration_says_so(machine: Machine, program: str) -> None:
    conf = held_by(CONF) if program else CONF
    assert done(machine, "ADD", conf, program=program)["ips"]
    assert done(machine, "STATUS", conf, program=program) is None
    assert done(machine, "STATUS", conf | {"statusOnExhaustion": True}, program=program) == 50


@pytest.mark.parametrize("lost", ["namespace", "boot", "file"])
def test_a_pool_that_the_next_container_makes_room_in_is_not_full(machine: Machine, tmp_path: Path, lost: str) -> None:
    """No container comes to a node that is not ready: nobody would ever make that room."""
    conf = CONF | {"ipam": IPAM | {"dataDir": str(tmp_path)}, "statusOnExhaustion": True}
    kept = tmp_path / "pods" / "10.20.0.2"
    if lost == "file":
        kept.parent.mkdir()
        kept.write_text("old\r\nnet1")
        assert done(machine, "ADD", conf) == 102
    else:
        assert done(machine, "ADD", conf)["ips"]
    assert done(machine, "STATUS", conf) == 50
    if lost == "file":
        kept.unlink()
    else:
        machine.world.let_go(machine.world.given.pop("/proc/self/fd/0"))
        machine.world.dying.clear()
    if lost == "boot":
        machine.world.reboot()
        machine.restart()
        machine.host._store.origin = "cni"
        machine.world.add_home(FakeLink(5, "eth5", mac=b"\x52\x54\x00\x00\x00\x05"))
    assert done(machine, "STATUS", conf) is None
    if lost != "boot":
        machine.world.give("/proc/self/fd/0")
        assert done(machine, "ADD", conf, container="c2", id_="b" * 32)["ips"]
        assert done(machine, "STATUS", conf) == 50


def test_a_container_waits_for_an_address_that_another_process_is_giving_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong: only removals of the same process are waited for, and a plugin beside a server finds no room."""
    assert done(machine, "ADD", CONF)["ips"]
    store = machine.host._store
    going, owners, held = begun_elsewhere(machine)
    # That of another container.
    machine.world.give("/proc/self/fd/0")
    look, looks = Attachments._removals, count()

    def ends_after_a_look(self: Attachments, *about: Any) -> set[int]:
        if next(looks) == 1:
            with store.writing() as records:
                records.settle(going)
            owners.give_up(held)
            machine.host.detach(machine.host.attachments()).raise_if_any()
        return look(self, *about)

    monkeypatch.setattr(Attachments, "_removals", ends_after_a_look)
    assert done(machine, "ADD", CONF, container="c2", id_="b" * 32)["ips"]
    assert next(looks) == 2


def begun_elsewhere(machine: Machine) -> tuple[int, Owners, Held]:
    """The intent of another process, which removes the one attachment, and what keeps that process alive."""
    store = machine.host._store
    owners, held = Owners(store.directory / "owners"), Held()
    owners.take(held)
    box = machine.host.attached(machine.host.attachments()[0])
    assert isinstance(box, Sandbox)
    with store.writing() as records:
        going = records.begin(held.token, REMOVED)
        records.begin_endpoint_removal(box.endpoints[0], going)
    return going, owners, held


def test_what_gives_back_nothing_that_is_wanted_is_not_waited_for(machine: Machine) -> None:
    """Wrong: a container with an address that another one has waits 10 s for the removals of all networks."""
    (given,) = done(machine, "ADD", CONF)["ips"]
    going, owners, held = begun_elsewhere(machine)
    address = given["address"].partition("/")[0]
    removals = machine.host._parts.engine._attachments._removals
    full = errors.PoolExhausted(["10.20.0.0/30"])
    for refusal, found in (
        (errors.AddressTaken(address), {going}), (errors.AddressTaken("10.20.0.9"), set()), (full, {going}),
        (errors.MacTaken("02:42:0a:14:00:02", "x"), {going}), (errors.MacTaken("02:42:0a:14:00:09", "x"), set()),
    ):  # fmt: skip
        assert removals("cni-pods", refusal) == found, refusal
    # On another parent, with other pools.
    assert removals("lan", full) == set()
    owners.give_up(held)
    assert removals("cni-pods", full) == set()


def test_a_container_whose_path_leads_nowhere_here_is_found_by_what_its_plugin_has_opened(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the plugin is called in a chroot. Wrong: each DEL looks through all processes of the host."""
    searches: list[object] = []
    find = FakeKernel.holders

    def holders(self: FakeKernel, *asked: Any, **how: Any) -> Any:
        searches.append(asked)
        return find(self, *asked, **how)

    monkeypatch.setattr(FakeKernel, "holders", holders)
    assert done(machine, "ADD", CONF)["ips"]
    before = len(searches)
    assert done(machine, "DEL", CONF) is None
    wait_until(lambda: machine.host.attachments() == [])
    assert len(searches) == before
    machine.assert_record_is_true()
