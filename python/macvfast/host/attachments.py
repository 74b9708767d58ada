"""What `Host` does with attachments: what container engines know the links of their containers by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import macvfast
from macvfast.checks import plain, several
from macvfast.host.opened import Opened, key_of
from macvfast.model import parse_address
from macvfast.state import lookup

if TYPE_CHECKING:
    from macvfast.checks import Several
    from macvfast.model import Address, Attachment, HeldAddresses, Network, Sandbox
    from macvfast.outcomes import Outcomes
    from macvfast.requests import OpenNetns
    from macvfast.state.turns import Turn


class OfAttachments(Opened):
    """Made by `connect`, looked up here."""

    def attached(self, attachment: Attachment) -> Sandbox | HeldAddresses | None:
        """What an attachment has: the sandbox that stands for it, or addresses alone; None: nothing. Raises
        SandboxBusy.
        """
        return lookup.attached(self._store, attachment)

    def refuse_attached(self, attachment: Attachment, netns: OpenNetns) -> None:
        """Refuse an attachment that has a link in that namespace, or addresses alone: `connect` would.

        Raises:
            AlreadyConnected: it has.
            NamespaceInvalid: that is no network namespace.
            SandboxBusy: it is being made or removed.
        """
        self._parts.engine.refuse_attached(attachment, netns)

    def take_turn(self, attachment: Attachment) -> Turn:
        """Have what several processes do about an attachment be done one after the other, also what is not recorded:
        the others are refused until the turn is given up, as at the end of a `with`. Programs that this process starts
        meanwhile have it, too: where this process is killed, they still do.

        Raises:
            SandboxBusy: another process has it.
            StateUnusable
        """
        return self._store.take_turn("attachment", attachment.path)

    def attachments(self, conf: str | None = None) -> list[Attachment]:
        """All attachments, or those of one configuration, sorted."""
        with self._store.reading() as records:
            return records.attachments(conf)

    def held(self, network: str | Network) -> list[HeldAddresses]:
        """What attachments have of a network without an endpoint, by attachment. Raises as `network`."""
        return lookup.held_of(self._store, network)

    def detach(
        self, attachments: Several[Attachment], *, wait: bool = True, netns: OpenNetns | None = None
    ) -> Outcomes[bool]:
        """Remove attachments with all that they have. One outcome for each, in order: whether it was there. One that
        cannot be removed stops no other.

        Args:
            wait: until the kernel has released their links, and their addresses are free. Otherwise the removal of a
                single one is answered when it is durable and the link is gone from its namespace; `close` waits for the
                rest.
            netns: where the namespace of a single one may be, if its path does not lead there from here; another one is
                left alone.
        """
        asked = several("attachments", attachments, macvfast.Attachment)
        return self._parts.engine.detach(asked, wait=wait, netns=netns)

    def hold(
        self, network: str | Network, attachment: Attachment, *, ip: str | Address | None = None,
        ip6: str | Address | None = None, request_id: str | None = None,
    ) -> HeldAddresses:  # fmt: skip
        """Give an attachment one address of each family that a network has, for a link that something else makes;
        `detach` takes them back.

        Args:
            ip, ip6: the addresses; None: automatic.
            request_id: the same once more gives what the attachment has, and is not taken back then.

        Raises:
            AlreadyConnected: the attachment has addresses since this boot, or an endpoint.
            NetworkNotFound, NameAmbiguous, SandboxBusy, PoolExhausted, AddressTaken, AddressOutsideSubnet
        """
        plain("attachment", attachment, macvfast.Attachment)
        asked = [None if one is None else parse_address(str(one), version) for one, version in ((ip, 4), (ip6, 6))]
        return self._parts.engine.hold(key_of(network), attachment, asked, request_id)
