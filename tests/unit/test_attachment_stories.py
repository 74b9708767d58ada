"""Random stories of containers, their attachments, kills and reboots, against a plain model of what must be there."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from macvfast.errors import AlreadyConnected, NamespaceInvalid
from macvfast.model import Attachment, HeldAddresses
from macvfast.requests import EndpointRequest
from tests.netns import wait_until
from tests.unit.fake_kernel import Crash
from tests.unit.machine import Machine, make_networks
from tests.unit.test_attachments import opened

if TYPE_CHECKING:
    from macvfast.host import Host

pytestmark = pytest.mark.usefixtures("hasty")

PATHS = ("/run/netns/a", "/run/netns/b")
ATTACHMENTS = [
    Attachment(conf, container, ifname)
    for conf in ("pods", "others") for container in ("c1", "c2") for ifname in ("net1", "net2")
]  # fmt: skip

ONE, PATH = st.sampled_from(ATTACHMENTS), st.sampled_from(PATHS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), PATH),
        st.tuples(st.just("end"), PATH),
        st.tuples(st.just("add"), ONE, PATH),
        st.tuples(st.just("add"), ONE, PATH),
        st.tuples(st.just("hold"), ONE),
        st.tuples(st.just("delete"), ONE, st.booleans()),
        st.tuples(st.just("collect"), st.sampled_from(["pods", "others"]), st.sets(ONE)),
        st.tuples(st.just("gc")),
        st.tuples(st.just("restore")),
        st.tuples(st.just("reboot")),
        st.tuples(st.just("kill"), st.integers(1, 30)),
    ),
    max_size=14,
)

# What an attachment has: the cookie of its namespace, or None: addresses alone; and the boot since which.
Has = tuple[int | None, str]


class Story:
    """A machine, and what must be recorded on it."""

    def __init__(self, directory: Path) -> None:
        self.machine = Machine(directory)
        make_networks(self.machine)
        for path in PATHS:
            self.machine.world.give(path)
        self.cni = opened(self.machine)
        self.model: dict[Attachment, Has] = {}
        self.killed_at: int | None = None

    def close(self) -> None:
        self.machine.faults.arm()
        self.cni.close()
        self.machine.host.close()

    def again(self) -> None:
        """Other processes, after those before have ended."""
        self.machine.world.process_ends()
        self.cni.close()
        self.machine.restart()
        self.cni = opened(self.machine)

    # Steps. Each gives what must be recorded afterwards.

    def do(self, name: str, *arguments: Any) -> None:
        if name == "kill":
            self.killed_at = arguments[0]
            return
        before = dict(self.model)
        if self.killed_at is not None:
            self.machine.faults.arm(crash_at=self.killed_at)
        try:
            getattr(self, name)(*arguments)
        except Crash:
            self.again()
            self.machine.mend()
            after = self.expected(name, *arguments)
            there = set(self.cni.attachments())
            # Each that is made or removed is there or not; one that gets another namespace may have lost the first.
            moved = {arguments[0]} if name == "add" and before.get(arguments[0]) != after.get(arguments[0]) else set()
            assert ({*before} & {*after}) - moved <= there <= {*before} | {*after}
            self.model = {one: after.get(one) or before[one] for one in there}
            for one in there & {*before} & {*after}:
                self.model[one] = before[one] if self.is_as(one, before[one]) else after[one]
        else:
            self.model = self.expected(name, *arguments)
        self.machine.faults.arm()
        self.killed_at = None
        self.check()

    def begin(self, path: str) -> None:
        if path not in self.machine.world.given:
            self.machine.world.give(path)

    def end(self, path: str) -> None:
        if (netns := self.machine.world.given.pop(path, None)) is not None:
            self.machine.world.let_go(netns)
            self.machine.world.dying.clear()

    def add(self, one: Attachment, path: str) -> None:
        refused = self.refuses(one, path)
        endpoint = EndpointRequest(network="lan", sandbox=one.sandbox, ifname=one.ifname)
        try:
            self.cni.connect(endpoint, netns=path, attachment=one)
        except (AlreadyConnected, NamespaceInvalid):
            assert refused
        else:
            assert not refused

    def hold(self, one: Attachment) -> None:
        there = one in self.model and not self.is_of_another_boot(one)
        try:
            self.cni.hold("other", one)
        except AlreadyConnected:
            assert there
        else:
            assert not there

    def delete(self, one: Attachment, wait: bool) -> None:
        found = self.cni.detach([one], wait=wait or self.killed_at is not None)[0].result()
        assert found == (one in self.model)

    def collect(self, conf: str, kept: set[Attachment]) -> None:
        self.cni.detach([one for one in self.cni.attachments(conf) if one not in kept]).raise_if_any()

    def gc(self) -> None:
        assert [one.error for one in self.machine.host.gc() if one.error is not None] == []

    def restore(self) -> None:
        assert self.machine.host.restore().failed == []

    def reboot(self) -> None:
        self.machine.faults.arm()
        self.machine.world.reboot()
        self.again()

    # The model.

    def cookie(self, path: str) -> int | None:
        netns = self.machine.world.given.get(path)
        return None if netns is None else netns.cookie

    def refuses(self, one: Attachment, path: str) -> bool:
        """Whether an ADD must fail: without a namespace; where it is there; where its link's name is another's."""
        cookie, boot = self.cookie(path), self.machine.world.boot
        has = self.model.get(one)
        named = any(
            other.ifname == one.ifname and self.model[other] == (cookie, boot) for other in self.model if other != one
        )
        return cookie is None or named or has in ((None, boot), (cookie, boot))

    def is_of_another_boot(self, one: Attachment) -> bool:
        """Whether it has addresses alone, since another boot: they give way to whatever is asked for."""
        cookie, boot = self.model.get(one, (None, self.machine.world.boot))
        return cookie is None and boot != self.machine.world.boot

    def expected(self, name: str, *arguments: Any) -> dict[Attachment, Has]:
        boot, model = self.machine.world.boot, dict(self.model)
        living = {netns.cookie for netns in self.machine.world.given.values()}
        match name, arguments:
            case "add", (one, path):
                if self.cookie(path) is not None and not self.refuses(one, path):
                    model[one] = self.cookie(path), boot
                elif self.gives_way(one, path):
                    del model[one]
            case "hold", (one,):
                if one not in model or self.is_of_another_boot(one):
                    model[one] = None, boot
            case "delete", (one, _):
                model.pop(one, None)
            case "collect", (conf, kept):
                model = {one: has for one, has in model.items() if one.conf != conf or one in kept}
            case "restore", ():
                model = {one: has for one, has in model.items() if has[1] == boot}
            case "gc", ():
                model = {one: has for one, has in model.items() if has[1] == boot and has[0] in (None, *living)}
        return model

    def gives_way(self, one: Attachment, path: str) -> bool:
        """Whether what an attachment had goes although it cannot be made again: another has its link's name there."""
        cookie, has = self.cookie(path), self.model.get(one)
        return (
            cookie is not None and has is not None and has[0] is not None and has != (cookie, self.machine.world.boot)
        )

    def is_as(self, one: Attachment, has: Has) -> bool:
        found = self.cni.attached(one)
        if isinstance(found, HeldAddresses):
            return has == (None, found.boot_id)
        return found is not None and has == (found.cookie, found.boot_id)

    def check(self) -> None:
        wait_until(lambda: not self.unsettled(self.cni))
        assert {*self.cni.attachments()} == {*self.model}
        assert all(self.is_as(one, has) for one, has in self.model.items())
        for netns in self.machine.world.given.values():
            here = [one.ifname for one, has in self.model.items() if has == (netns.cookie, self.machine.world.boot)]
            assert sorted(link.ifname for link in netns.links.values()) == sorted(here)
        self.machine.assert_pools_are_true()

    @staticmethod
    def unsettled(host: Host) -> bool:
        with host._store.reading() as records:
            return bool(records.intents())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_after_any_story_what_containers_have_is_recorded_and_nothing_else(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        story = Story(Path(directory))
        try:
            for step in steps:
                story.do(*step)
        finally:
            with suppress(Crash):
                story.close()
