"""What `Host` does with endpoints that container engines announce, and whose links these move themselves."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface
from types import NoneType
from typing import TYPE_CHECKING

import macvfast
from macvfast.checks import plain, several
from macvfast.host.opened import Opened, key_of
from macvfast.model import parse_mac
from macvfast.state.lookup import one_network

if TYPE_CHECKING:
    from macvfast.checks import Several
    from macvfast.model import Interface, Network, NotedEndpoint


class OfNoted(Opened):
    """Announced, given a link, forgotten."""

    def note_endpoint(
        self, network: str | Network, id_: str, addresses: Several[Interface], *, mac: str | bytes | None = None,
        owner: str | None = None,
    ) -> NotedEndpoint:  # fmt: skip
        """Note an endpoint that an engine has announced; the same once more is found.

        Args:
            id_: the engine's own id of it.
            addresses: what it has, with the lengths of their prefixes; they are the engine's, and are in no pool.
            mac: None: derived from `owner`, else from the IPv4 address, else from the id.
            owner: a name for which the MAC is the same each time.

        Raises:
            AlreadyConnected: another one has that id.
            NetworkNotFound, NameAmbiguous, SandboxBusy, ParentNotFound, MacInvalid, MacTaken
            AddressTaken: the home namespace itself has it on the parent.
        """
        plain("id_", id_, str)
        plain("owner", owner, str, NoneType)
        given = several("addresses", addresses, IPv4Interface, IPv6Interface)
        parsed = None if mac is None else parse_mac(mac)
        return self._parts.engine.noted.note(key_of(network), id_, given, parsed, owner)

    def lend_link(self, network: str | Network, id_: str, path: str) -> NotedEndpoint:
        """Have a link for a noted endpoint in the home namespace, down and without addresses: its engine moves it from
        there. The same once more is found.

        Args:
            path: where the engine will have the namespace of the container.

        Raises:
            EndpointNotFound: it is not noted.
            NetworkNotFound, ParentNotFound, ParentUnusable, MacTaken, KernelRefused, KernelFeatureMissing
        """
        plain("path", path, str)
        return self._parts.engine.noted.lend(key_of(network), id_, path)

    def forget_endpoint(self, id_: str) -> bool:
        """Forget a noted endpoint. Its link is deleted where it is: in the home namespace, in that of its container, or
        in another. Returns whether it was there.

        Raises:
            LinkEscaped: the link may exist, and is nowhere to be found. The endpoint stays noted.
        """
        plain("id_", id_, str)
        return self._parts.engine.noted.forget(id_)

    def noted_endpoint(self, id_: str) -> NotedEndpoint | None:
        """The noted endpoint with an engine's id."""
        with self._store.reading() as records:
            return records.noted(id_)

    def noted_endpoints(self, network: str | Network | None = None) -> list[NotedEndpoint]:
        """All noted endpoints, or those of a network, by id."""
        plain("network", network, str, macvfast.Network, NoneType)
        with self._store.reading() as records:
            if network is None:
                return records.all_noted()
            return records.noted_on(one_network(records, self._store, key_of(network)).id)
