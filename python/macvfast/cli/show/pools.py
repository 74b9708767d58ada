"""How full pools are: a line and a bar for each, and the same as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.tables import Column
from macvfast.cli.show.text import bar, count_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from macvfast.model import Network
    from macvfast.usage import NetworkUsage, PoolUsage

_COLUMNS = [
    Column("NETWORK"),
    Column("PARENT", goes=1),
    Column("SUBNET"),
    Column("USE", goes=2),
    Column("IN USE"),
    Column("FREE"),
]
_BAR = 20


def pools_table(networks: Iterable[NetworkUsage]) -> tuple[list[Column], list[list[str]]]:
    """The columns and rows of the pools of all networks."""
    return _COLUMNS, [_row(one.network, pool) for one in networks for pool in one.pools]


def _row(network: Network, pool: PoolUsage) -> list[str]:
    in_use = f"{count_text(pool.in_use)} of {count_text(pool.capacity)}"
    cidr = str(pool.subnet.cidr)
    return [network.name, network.parent or "", cidr, bar(pool.share, _BAR), in_use, count_text(pool.free)]


def pool_json(network: Network, pool: PoolUsage) -> dict[str, object]:
    """One pool as programs read it."""
    return {"Network": network.name, "Parent": network.parent, **usage_fields(pool)}


def usage_fields(pool: PoolUsage) -> dict[str, object]:
    """How full a pool is."""
    return {"Subnet": str(pool.subnet.cidr), "InUse": pool.in_use, "Free": pool.free, "Capacity": pool.capacity}
