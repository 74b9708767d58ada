"""What a container engine knows a link of a container by, and the addresses of one that it makes by other means."""

from __future__ import annotations

from dataclasses import dataclass

from macvfast.checks import plain
from macvfast.model.networks import HasAddresses

# The engine that has attachments.
ENGINE = "cni"

# For how many seconds its networks are kept when nothing is on them any more.
KEPT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Attachment:
    """What an engine knows a link of a container by. `conf` is the name of the network's configuration.

    `str` of it is a few words for people.

    Raises:
        ArgumentInvalid
    """

    conf: str
    container: str
    ifname: str

    def __post_init__(self) -> None:
        """Refuse other types."""
        for name in ("conf", "container", "ifname"):
            plain(name, getattr(self, name), str)

    @property
    def sandbox(self) -> str:
        """The name of the sandbox that stands for it."""
        # Slow to load, and needed by plugins only.
        import json  # noqa: PLC0415
        from hashlib import sha256  # noqa: PLC0415

        whole = json.dumps([self.conf, self.container, self.ifname]).encode()
        return f"{ENGINE}-{self.container[:12]}-{sha256(whole).hexdigest()[:16]}"

    @property
    def path(self) -> str:
        """All three, as lists show it: `pods/0123456789ab/eth0`."""
        return f"{self.conf}/{self.container}/{self.ifname}"

    def __str__(self) -> str:
        return f"{self.ifname} of container {self.container} in {self.conf}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAddresses(HasAddresses):
    """Addresses of a network that an attachment has without an endpoint: something else makes its link.

    `boot_id` is the boot in which they were given.
    """

    attachment: Attachment
    network_id: str
    network: str
    boot_id: str
