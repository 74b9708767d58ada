"""What `Host` does with endpoints: one, or many at once."""

from __future__ import annotations

import threading
from types import NoneType
from typing import TYPE_CHECKING

import macvfast
from macvfast.checks import plain, several
from macvfast.host.opened import Opened, key_of
from macvfast.state import lookup

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from macvfast.checks import Several
    from macvfast.errors import MacvfastError
    from macvfast.model import Address, Attachment, Endpoint, HeldAddresses, Network, Sandbox
    from macvfast.outcomes import Outcomes, Scaled
    from macvfast.requests import EndpointRequest, OpenNetns, PluginRequest
    from macvfast.system.progress import Tell


class OfEndpoints(Opened):
    """Sandboxes are connected to networks and disconnected from them."""

    def connect(
        self, network: str | Network | EndpointRequest, sandbox: str | Sandbox = "", *,
        ip: str | Address | None = None, ip6: str | Address | None = None, mac: str | bytes | None = None,
        netns: str | OpenNetns | None = None, request_id: str | None = None, attachment: Attachment | None = None,
    ) -> Endpoint:  # fmt: skip
        """Connect a sandbox to a network.

        Args:
            network: or a whole EndpointRequest, in place of `sandbox`, `ip`, `ip6` and `mac`.
            ip, ip6: the addresses; None: automatic.
            mac: None: derived from the address.
            netns: a namespace that macvfast did not create, by its path, or open. `sandbox` is then the name of a new
                sandbox that stands for it, or of one that already does.
            request_id: an id by which `made_for` finds the endpoint.
            attachment: what a container engine knows it by; the sandbox is called `attachment.sandbox`. One that has a
                namespace which is gone, or is another, is released first.

        Raises:
            NetworkNotFound, SandboxNotFound, AlreadyConnected, NamespaceInvalid, NamespaceChanged
            ArgumentInvalid: there is no sandbox, or something is given beside a whole request.
            Also as `create_sandbox`.
        """
        from macvfast.requests.endpoints import to_connect  # noqa: PLC0415 - a listing needs no requests

        if isinstance(netns, str):
            # It may be opened on another thread.
            netns = netns.replace("/proc/thread-self/", f"/proc/self/task/{threading.get_native_id()}/")
        request = to_connect(network, sandbox, ip=ip, ip6=ip6, mac=mac, netns=netns)
        plain("attachment", attachment, macvfast.Attachment, NoneType)
        return self._parts.engine.connect(request, request_id, attachment)

    def connect_each(self, requests: Sequence[PluginRequest]) -> list[Endpoint | MacvfastError]:
        """Connect sandboxes for several requests of plugins in one batch. Returns what was made, or why it was not, in
        their order.
        """
        return self._parts.engine.connect_each(requests)

    def known_requests(self, ids: Collection[str]) -> set[str]:
        """Those of these ids of requests for which something is made or was."""
        with self._store.reading() as records:
            return records.known_requests(ids)

    def link_mtu(self, endpoint: Endpoint) -> int | None:
        """The MTU of an endpoint's link: its own, else that of its network, else that which the parent has now; None:
        the parent is not there. Raises as `network`.
        """
        return self._parts.link_mtu(endpoint)

    def made_for(self, request_id: str) -> Endpoint | None:
        """What `connect` created with that `request_id`; waits for who is still at it. It is not taken back then."""
        return lookup.made_for(self._store, request_id)

    def take_back(self, request_id: str) -> Endpoint | HeldAddresses | None:
        """What `connect` or `hold` did with that `request_id`, unless it was asked for again: for the caller to remove,
        and not found again.
        """
        return lookup.take_back(self._store, request_id)

    def connect_many(
        self, network: str | Network, sandboxes: Several[str | EndpointRequest], *,
        netns: str | OpenNetns | None = None,
        progress: Tell | None = None,
    ) -> Outcomes[Endpoint]:  # fmt: skip
        """Connect many sandboxes to a network, and create those that do not exist. One outcome per item, in order. A
        refused one leaves nothing and stops no other.

        Args:
            sandboxes: names, or requests (their own `network` is not read), each with a namespace and labels of its own
                where it has them.
            netns: the namespace that all others stand for.
            progress: called with how many have ended, refused ones included, and of how many; first with 0.
        """
        asked = several("sandboxes", sandboxes, str, macvfast.EndpointRequest)
        return self._parts.engine.connect_many(key_of(network), asked, netns, progress)

    def scale(
        self, network: str | Network, prefix: str, count: int, *, force: bool = False,
        progress: Tell | None = None,
    ) -> Scaled:  # fmt: skip
        """Create or remove sandboxes `prefix-0`, `prefix-1`, … until a network has exactly `count`: the lowest missing
        numbers are created, the highest removed. A sandbox with such a name that `scale` did not create stays and is
        refused.

        Args:
            force: also remove sandboxes that run a command or have a second network.
            progress: as of `connect_many`; what is created and what is removed are counted together.

        Raises:
            NetworkNotFound, NameAmbiguous, NameInvalid, OptionInvalid
        """
        plain("prefix", prefix, str)
        plain("count", count, int)
        return self._parts.engine.scale(key_of(network), prefix, count, force=force, tell=progress)

    def disconnect(self, network: str | Network, sandbox: str | Sandbox, *, ifname: str | None = None) -> None:
        """Disconnect a sandbox from a network. When this returns, its link no longer exists and its addresses are free.
        `ifname` names the link if the sandbox has several there.

        Raises:
            NetworkNotFound, SandboxNotFound, EndpointNotFound, EndpointAmbiguous, SandboxBusy, RemovalUnfinished
        """
        plain("ifname", ifname, str, NoneType)
        self._parts.engine.disconnect(key_of(network), key_of(sandbox), ifname).result()

    def disconnect_many(
        self, network: str | Network, sandboxes: Several[str], *, progress: Tell | None = None
    ) -> Outcomes[str]:
        """Disconnect sandboxes from a network. One outcome per name. `progress` is as of `connect_many`."""
        return self._parts.engine.disconnect_many(key_of(network), several("sandboxes", sandboxes, str), progress)
