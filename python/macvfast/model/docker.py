"""Pools and addresses that Docker has of macvfast, its IPAM driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from macvfast.model.addresses import Address, Cidr


def epoch_of(boot_id: str, pid: int, start_time: int) -> str:
    """What a run of dockerd is called: by its process, whose pid alone may be used again, as may its start time after
    another boot.
    """
    return f"{boot_id}/{pid}/{start_time}"


def process_in(epoch: str, boot_id: str) -> tuple[int, int] | None:
    """The pid and start time of the run of dockerd of an epoch; None: it is of another boot than this.

    >>> process_in(epoch_of("c0ffee", 17, 4711), "c0ffee"), process_in(epoch_of("c0ffee", 17, 4711), "beef")
    ((17, 4711), None)
    """
    boot, _, process = epoch.partition("/")
    pid, _, start_time = process.partition("/")
    return (int(pid), int(start_time)) if boot == boot_id and pid.isdecimal() and start_time.isdecimal() else None


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
