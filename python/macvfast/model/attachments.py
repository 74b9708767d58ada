"""What a container engine knows a link of a container by, and the addresses of one that it makes by other means."""

from __future__ import annotations

from dataclasses import dataclass, field

from macvfast.checks import plain
from macvfast.model.names import check_origin
from macvfast.model.networks import HasAddresses

# The engine whose networks are made when they are first needed, and for how many seconds they are kept when nothing is
# on them any more.
ON_DEMAND, KEPT_S = "cni", 3600.0


@dataclass(frozen=True, slots=True)
class Attachment:
    """What an engine knows a link of a container by.

    `str` of it is a few words for people.

    Attributes:
        conf: the name of the network's configuration, or the engine's id of the network.
        origin: the engine.
        owner: what stays the same where a container is made anew, and gets another id: its name; empty: nothing.

    Raises:
        ArgumentInvalid, OptionInvalid
    """

    conf: str
    container: str
    ifname: str
    origin: str = ON_DEMAND
    owner: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse other types, and engines that there are not."""
        for name in ("conf", "container", "ifname", "origin", "owner"):
            plain(name, getattr(self, name), str)
        check_origin(self.origin)

    @property
    def sandbox(self) -> str:
        """The name of the sandbox that stands for it."""
        # Slow to load, and needed by plugins only.
        import json  # noqa: PLC0415
        from hashlib import sha256  # noqa: PLC0415

        whole = json.dumps([self.conf, self.container, self.ifname]).encode()
        return f"{self.origin}-{self.container[:12]}-{sha256(whole).hexdigest()[:16]}"

    @property
    def is_remembered(self) -> bool:
        """Whether what it has is kept for its container when it goes: of an engine that names one by the same id again,
        or where the caller says a name.
        """
        return self.origin == "podman" or bool(self.owner)

    @property
    def path(self) -> str:
        """All three, as lists show it: `pods/0123456789ab/eth0`."""
        return f"{self.conf}/{self.container}/{self.ifname}"

    def __str__(self) -> str:
        return f"{self.ifname} of container {self.container} in {self.conf}"


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a container had of a network when it went, and gets again if nobody else has it by then. Addresses are
    packed.
    """

    container: str
    owner: str
    mac: bytes
    packed: bytes | None
    packed6: bytes | None

    @property
    def addresses(self) -> list[bytes]:
        """Its addresses."""
        return [one for one in (self.packed, self.packed6) if one is not None]

    def __str__(self) -> str:
        return f"of container {self.owner or self.container[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAddresses(HasAddresses):
    """Addresses of a network that an attachment has without an endpoint: something else makes its link.

    `boot_id` is the boot in which they were given.
    """

    attachment: Attachment
    network_id: str
    network: str
    boot_id: str
