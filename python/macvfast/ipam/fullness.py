"""How full a subnet is: what is in use of its pool, and by whom, as numbers and as a map."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from macvfast._core import Pool, Source
from macvfast.plan.usage import usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from macvfast.model import Address, Subnet
    from macvfast.outcomes import SubnetUsage
    from macvfast.state.records import Kept


def fullness(subnet: Subnet, taken: set[int], kept: Iterable[Kept] = (), own: Iterable[Address] = ()) -> SubnetUsage:
    """What is in use of a network's subnet.

    Args:
        subnet: one of the network.
        taken: what endpoints have of its pool, this network's or another's.
        kept: what all networks of the pool keep, and what is reserved.
        own: what the host itself has on the parent.
    """
    empty = Pool(subnet.cidr)
    ends = {number for number in (subnet.first, subnet.last) if empty.role(number) is not None}
    roles = {
        "in_use": taken,
        "gateway": set() if subnet.gateway is None else {int(subnet.gateway)},
        "aux": {int(address) for _, address in subnet.aux},
        "reserved": ends,
    }
    kept = tuple(kept)
    for one in kept:
        # The same address may be this network's own under another name.
        if not any(int(one.address) in values for values in roles.values()):
            role = "gateway" if one.role == "gateway" else "reserved" if one.network is None else "aux"
            roles[role].add(int(one.address))
    host = tuple(sorted((address for address in own if address in subnet.cidr), key=int))
    # What has another part as well is shown as that.
    roles["host"] = {int(address) for address in host}.difference(*roles.values())
    source = Source(subnet.cidr, ip_range=subnet.ranges, order="lowest", begin=0, avoid=())
    reservations = tuple((one.address, one.role) for one in kept if one.network is None)
    return replace(usage(subnet, roles, source.ranges, host), reservations=reservations)
