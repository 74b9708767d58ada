"""Pools and addresses that Docker has of macvfast, its IPAM driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from macvfast.model.addresses import Address, Cidr


@dataclass(frozen=True, slots=True)
class DockerPool:
    """A pool that Docker has requested.

    Attributes:
        id: by which Docker knows it.
        domain: the layer-2 domain, within which Docker has a subnet once.
        cidr: the subnet.
        ranges: those of automatic allocation; none: all of the subnet.
        epoch: the run of dockerd that has said last that it has it.
        at: when that was.
    """

    id: str
    domain: str
    cidr: Cidr
    ranges: tuple[str, ...]
    epoch: str
    at: datetime


@dataclass(frozen=True, slots=True)
class DockerAddress:
    """An address that Docker has in a pool; `epoch` and `at` as of DockerPool. `gateway`: it is a network's gateway."""

    address: Address
    epoch: str
    at: datetime
    gateway: bool = False
