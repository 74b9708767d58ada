"""The plugin beside the reference plugin `ipvlan`: the same stories, and the same results, refusals and end states."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from macvfast.errors import MacvfastError
from macvfast.host import Host
from macvfast.plugins.cni import calls
from macvfast.plugins.doing import answered
from macvfast.plugins.request import Request
from macvfast.state.store import Store
from tests.cni import sides
from tests.cni.compare import Bench
from tests.cni.sides import Answer, Side
from tests.cni.stories import Step, Story
from tests.netns import Lan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cni.sides import Conf

pytestmark = pytest.mark.needs("ipvlan", "cni-plugins")

CONF: Conf = {
    "cniVersion": "1.0.0", "name": "pods", "type": "ipvlan", "master": "eth0",
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
}  # fmt: skip
DUAL = {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "2001:db8:1::/64"}]]}
ADD, CHECK, DEL = (Step(verb) for verb in ("ADD", "CHECK", "DEL"))

STORIES: dict[str, Story] = {
    **{mode: Story(CONF | {"mode": mode}, (ADD, CHECK, DEL)) for mode in ("l2", "l3s")},
    "two containers of both families, and an MTU": Story(
        CONF | {"cniVersion": "0.4.0", "mtu": 1400, "ipam": CONF["ipam"] | DUAL}, (ADD, Step("ADD", (1, "net1")), DEL)
    ),
    "added twice in mode l3, and an unknown mode": Story(
        CONF | {"mode": "l3"}, (ADD, CHECK, ADD, Step("ADD", (1, "net1"), fields={"mode": "bridge"}))
    ),
    "a link that is gone": Story(CONF, (ADD, Step("link deleted"))),
}


class InProcess(Side):
    """Our side, whose calls are done in this process: a command takes seconds in the virtual machine."""

    def call(self, step: Step) -> Answer:
        """Call the plugin by its parts in Python."""
        number, ifname = step.where
        container = self.container(number)
        environment = {
            "CNI_COMMAND": step.verb, "CNI_CONTAINERID": self.ids.format(number), "CNI_IFNAME": ifname,
            "CNI_PATH": str(self.plugins), "CNI_NETNS": str(container.path),
        }  # fmt: skip
        text = json.dumps(self._own(step.fields))

        def with_host() -> Any:
            netns = os.open(container.path, os.O_RDONLY)
            try:
                asked = calls.read(calls.Call(os.urandom(16).hex(), environment, text, netns))
                if not isinstance(asked, Request):
                    return asked
                with Host(Store(str(self.lan.state_dir), origin="cni"), netns_dir=str(self.lan.netns_dir)) as host:
                    try:
                        return answered(host, asked).said
                    except MacvfastError as error:
                        return asked.words.failed(error)
            finally:
                os.close(netns)

        said = self.lan.host.call(with_host)
        # As it is printed.
        return Answer(said["status"], json.loads(json.dumps(said["result"])))

    def clear(self) -> None:
        """Take the containers away, and the networks that were made for them."""
        for container in self.containers.values():
            container.remove()
        self.containers.clear()
        self.lan.api(lambda host: host.gc(origin="cni"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Both sides."""
    lans = []
    try:
        for name in ("theirs", "ours"):
            directory = tmp_path_factory.mktemp(name)
            lans.append((Lan(directory), directory))
        (theirs, there), (ours, here) = lans
        yield Bench(
            Side("theirs", theirs, sides.REFERENCE, there / "data"), InProcess("ours", ours, here, here / "data")
        )
    finally:
        for lan, _ in lans:
            lan.remove()


@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_as_with_the_reference_plugin_ipvlan(bench: Bench, name: str) -> None:
    wrong = bench.run(STORIES[name])
    assert not wrong, wrong
