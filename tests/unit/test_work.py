"""What the engine does of what plugins ask for, beside other processes on the same state."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import HostClosed
from macvfast.host import Host
from macvfast.plugins.cni import calls
from macvfast.plugins.doing import answered
from macvfast.plugins.kinds import connected
from macvfast.plugins.request import CONNECT, DISCONNECT, STATUS, Answer, Request
from macvfast.requests import EndpointRequest, OpenNetns
from macvfast.serve import work as doing
from macvfast.serve.calls import Requests
from macvfast.serve.hosts import Hosts
from macvfast.serve.request import Plain
from macvfast.serve.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.unit.machine import Machine

ID = "a" * 32


@pytest.fixture
def begun(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Work]]:
    """Begins engines on the machine's state, where there is a sandbox `box`."""
    machine.host.create_sandbox("box")
    monkeypatch.setenv("MACVFAST_STATE_DIR", machine.state_dir)
    monkeypatch.setattr(Host, "open", lambda *_, **__: machine.start())
    all_of_them: list[Work] = []

    def begin() -> Work:
        all_of_them.append(Work(Requests()))
        return all_of_them[-1]

    yield begin
    for one in all_of_them:
        one.close()


def asked(*, id_: str = ID, network: str = "lan", sandbox: str = "box", ifname: str | None = None) -> Request:
    endpoint = EndpointRequest(network=network, sandbox=sandbox, ifname=ifname)
    return Request(CONNECT, id_, None, None, endpoint, None, Plain())


def answer_of(work: Work, request: Request) -> Answer:
    answers: SimpleQueue[Answer] = SimpleQueue()
    work.begin(request, answers.put)
    return answers.get(timeout=60)


def endpoints(machine: Machine) -> int:
    return len(machine.host.sandbox("box").endpoints)


@pytest.mark.parametrize("other", [{"network": "other"}, {"sandbox": "second"}, {"ifname": "lan7"}], ids=str)
def test_an_id_that_comes_again_with_another_request_is_refused(
    machine: Machine, begun: Callable[[], Work], other: dict[str, str]
) -> None:
    """It is not answered with what the first one has made."""
    machine.host.create_sandbox("second")
    work = begun()
    first = answer_of(work, asked())
    assert answer_of(work, asked(**other)).said["error"]["code"] == "request-invalid"  # type: ignore[index]
    by_id = asked(network=machine.host.network("lan").id, sandbox=machine.host.sandbox("box").id, ifname="eth0")
    assert answer_of(work, by_id).said == first.said


def test_what_was_made_for_a_caller_that_left_is_removed_and_not_found_again(
    machine: Machine, begun: Callable[[], Work]
) -> None:
    work = begun()
    assert answer_of(work, asked()).made == asked()
    work.take_back(asked())
    # It is answered after what was asked for before it about that sandbox.
    assert answer_of(work, asked(id_="b" * 32)).made is not None
    assert machine.host.made_for(ID) is None
    assert endpoints(machine) == 1


def test_what_another_process_has_answered_with_meanwhile_stays(machine: Machine, begun: Callable[[], Work]) -> None:
    """A plugin asks once more without a server, and the server that it left hears of that connection's end later."""
    work = begun()
    answer_of(work, asked())
    made = machine.host.made_for(ID)
    assert made is not None
    work.take_back(asked())
    work.close()
    assert machine.host.made_for(ID) == made


def test_what_the_next_engine_has_answered_with_meanwhile_stays(machine: Machine, begun: Callable[[], Work]) -> None:
    old, new = begun(), begun()
    first = answer_of(old, asked())
    again = answer_of(new, asked())
    assert (again.said, again.made) == (first.said, None)
    old.take_back(asked())
    old.close()
    assert endpoints(machine) == 1


def removal(state_dir: str | None) -> Request:
    conf = json.dumps({"cniVersion": "1.0.0", "name": "pods", "type": "macvfast", "network": "lan"})
    environment = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "box", "CNI_IFNAME": "net1", "CNI_PATH": "/opt"}
    read = calls.read(calls.Call(ID, environment, conf, None))
    assert isinstance(read, Request)
    return replace(read, state_dir=state_dir)


def test_what_the_server_cannot_do_is_answered_in_no_words_of_a_plugin(
    machine: Machine, begun: Callable[[], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be taken for done: DEL ends with 0. So the plugin does it without the server."""
    work = begun()
    assert answer_of(work, removal(machine.state_dir)).said["status"] == 0
    elsewhere = answer_of(work, removal("/var/lib/other")).said
    assert elsewhere["error"]["code"] == "request-invalid"  # type: ignore[index]

    def crash(*_: object) -> Answer:
        raise ZeroDivisionError

    monkeypatch.setattr(doing, "answered", crash)
    assert [*answer_of(work, removal(machine.state_dir)).said] == ["error"]


# Together.


def test_of_requests_that_come_together_each_is_answered_with_its_own_and_a_refused_one_stops_no_other(
    machine: Machine, begun: Callable[[], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = begun()
    held, may_go_on, together = threading.Event(), threading.Event(), SimpleQueue[int]()

    def connect(host: Host, requests: Sequence[Request]) -> Sequence[Answer | None]:
        together.put(len(requests))
        held.set()
        assert may_go_on.wait(20)
        return connected(host, requests)

    monkeypatch.setattr(doing, "connected", connect)
    paths = [f"/run/netns/pod-{number}" for number in range(6)]
    for number in range(len(paths)):
        machine.world.give(f"/proc/self/fd/{100 + number}")
    answers = [SimpleQueue[Answer]() for _ in paths]
    for number, (path, answer) in enumerate(zip(paths, answers, strict=True)):
        network = "nothing" if number == 3 else "lan"
        endpoint = EndpointRequest(network=network, sandbox=f"pod-{number}")
        netns = OpenNetns(100 + number, path)
        work.begin(Request(CONNECT, f"{number:032x}", None, None, endpoint, netns, Plain()), answer.put)
        assert held.wait(20)
    may_go_on.set()
    said = [answer.get(timeout=60).said for answer in answers]
    assert [together.get(timeout=60), together.get(timeout=60)] == [1, 5]
    assert said[3]["error"]["code"] == "network-not-found"  # type: ignore[index]
    made = [one["endpoint"]["sandbox"] for one in said if "endpoint" in one]  # type: ignore[index]
    assert made == [f"pod-{number}" for number in (0, 1, 2, 4, 5)]
    assert [machine.host.made_for(f"{number:032x}") is not None for number in range(6)] == [
        number != 3 for number in range(6)
    ]


def test_where_no_further_thread_can_be_started_each_of_a_batch_is_answered(
    machine: Machine, begun: Callable[[], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made, and what is done alone, by a thread that there is."""
    work = begun()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    answers: dict[str, SimpleQueue[Answer]] = {"lan": SimpleQueue(), "nothing": SimpleQueue()}
    for number, (network, answer) in enumerate(answers.items()):
        machine.world.give(f"/proc/self/fd/{100 + number}")
        endpoint = EndpointRequest(network=network, sandbox=f"pod-{number}")
        netns = OpenNetns(100 + number, f"/run/netns/pod-{number}")
        work.begin(Request(CONNECT, f"{number:032x}", None, None, endpoint, netns, Plain()), answer.put)
    assert "endpoint" in answers["lan"].get(timeout=60).said
    assert answers["nothing"].get(timeout=60).said["error"]["code"] == "network-not-found"  # type: ignore[index]


# Turns.


@pytest.mark.parametrize("same", ["sandbox", "request"])
def test_one_sandbox_by_its_id_and_by_its_name_or_one_request_is_never_two_things_at_once(
    machine: Machine, begun: Callable[[], Work], monkeypatch: pytest.MonkeyPatch, same: str
) -> None:
    machine.host.create_sandbox("second")
    work = begun()
    sandbox = machine.host.sandbox("box").id if same == "sandbox" else "second"
    other = asked(id_=ID if same == "request" else "b" * 32, sandbox=sandbox)
    at_once, answers = threading.Event(), SimpleQueue[Answer]()
    inside = threading.Lock()

    def slowly(host: Host, request: Request) -> Answer:
        if not inside.acquire(blocking=False):
            at_once.set()
            return answered(host, request)
        if request != other:
            work.begin(other, answers.put)
            at_once.wait(0.3)
        inside.release()
        return answered(host, request)

    monkeypatch.setattr(doing, "answered", slowly)
    answer_of(work, asked())
    answers.get(timeout=60)
    assert not at_once.is_set()


def test_a_look_waits_behind_no_other_request(begun: Callable[[], Work], monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubelet asks every five seconds, and takes a node that does not answer out of service."""
    work, going_on, answers = begun(), threading.Event(), SimpleQueue[Answer]()

    def slowly(host: Host, request: Request) -> Answer:
        assert request.kind == STATUS or going_on.wait(60)
        return answered(host, request)

    monkeypatch.setattr(doing, "answered", slowly)
    removals = [replace(asked(id_=f"{n:032x}", sandbox=f"box{n}"), kind=DISCONNECT) for n in range(100)]
    for one in removals:
        work.begin(one, answers.put)
    assert answer_of(work, replace(asked(), kind=STATUS)).said == {}
    assert answers.empty()
    going_on.set()
    assert [answers.get(timeout=60).said for _ in removals] == [{"found": False}] * 100


# Hosts.


def test_an_engine_whose_state_is_slow_to_open_stops_no_other(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, may_open = threading.Event(), threading.Event()

    def open_slowly(_: str, *, origin: str | None) -> Host:
        if origin == "cni":
            opening.set()
            assert may_open.wait(60)
        return machine.start()

    def use() -> None:
        with hosts.of("cni"):
            pass

    monkeypatch.setattr(Host, "open", open_slowly)
    hosts = Hosts(machine.state_dir)
    slow = threading.Thread(target=use)
    slow.start()
    assert opening.wait(60)
    with hosts.of(None) as host:
        assert [one.name for one in host.networks()] == ["lan", "other"]
    may_open.set()
    slow.join()
    hosts.close()


def test_a_host_whose_state_was_replaced_is_closed_by_its_last_user(tmp_path: Path) -> None:
    state_dir = tmp_path / "replaced"
    hosts = Hosts(str(state_dir))
    with hosts.of(None) as used, hosts.of(None) as too:
        assert used is too
        shutil.rmtree(state_dir)
        with hosts.of(None) as new:
            assert new is not used
        assert list(used.networks()) == []
    with pytest.raises(HostClosed):
        list(used.networks())
    assert list(new.networks()) == []
    hosts.close()


def test_what_nobody_waits_for_any_more_is_not_begun(machine: Machine, begun: Callable[[], Work]) -> None:
    """Its caller may have done it without the server, and more after it."""
    answers: SimpleQueue[Answer] = SimpleQueue()
    begun().begin(asked(), answers.put, lambda: False)
    assert answers.get(timeout=60).made is None
    assert endpoints(machine) == 0
