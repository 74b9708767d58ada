"""What `Host` does with attachments: what container engines know the links of their containers by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.host.opened import Opened
from macvfast.state import lookup

if TYPE_CHECKING:
    from macvfast.model import Attachment, HeldAddresses, Sandbox


class OfAttachments(Opened):
    """Made by `connect`, looked up here."""

    def attached(self, attachment: Attachment) -> Sandbox | HeldAddresses | None:
        """What an attachment has: the sandbox that stands for it, or addresses alone; None: nothing. Raises
        SandboxBusy.
        """
        return lookup.attached(self._store, attachment)

    def attachments(self, conf: str | None = None) -> list[Attachment]:
        """All attachments, or those of one configuration, sorted."""
        with self._store.reading() as records:
            return records.attachments(conf)
