"""How full a network's subnets are: numbers and a map of addresses, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.show.text import count_text
from macvfast.errors import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.model import Address, Network
    from macvfast.outcomes import Block, Map, SubnetUsage

# Cells of a row: with an IPv4 address before them they fill 80 columns; IPv6 addresses are longer.
_CELLS = {4: 64, 6: 32}

# Reservations, and what attachments hold, that people are shown; programs get all.
_RESERVATIONS = 8

LEGEND = "# in use   g gateway   a aux address   h host   r reserved   . free   - free, but only given with --ip"
LEGEND_OF_REMEMBERED = "m free, and remembered for a container that had it"
_LEGEND_OF_MANY = "1-9 tenths in use"


def usage_json(network: Network, one: SubnetUsage) -> dict[str, object]:
    """One subnet as programs read it."""
    subnet = one.subnet
    return {
        "Network": network.name,
        "Subnet": str(subnet.cidr),
        "Addresses": one.total.size,
        "InUse": one.total.in_use,
        "Gateway": None if subnet.gateway is None else str(subnet.gateway),
        "AuxiliaryAddresses": {name: str(address) for name, address in subnet.aux},
        "HostAddresses": [str(address) for address in one.own],
        "Reserved": one.total.reserved,
        "Reservations": {str(address): role for address, role in one.reservations},
        **({"Held": {str(address): by for address, by in one.held}} if one.held else {}),
        **({"Remembered": {str(address): of for address, of in one.remembered}} if one.remembered else {}),
        "Free": one.total.free,
        "Automatic": {
            "Ranges": list(subnet.ranges) or [str(subnet.cidr)],
            "Order": network.order,
            "Addresses": one.automatic_size,
            "Free": one.automatic_free,
        },
        "Map": {
            "Part": str(one.map.part),
            "AddressesPerCell": one.map.block_size,
            "Cells": "".join(cell(block) for block in one.map.blocks),
        },
    }


def usage_text(network: Network, one: SubnetUsage) -> str:
    """One subnet as people read it: its numbers, then its map."""
    subnet, total = one.subnet, one.total
    counts = f"{count_text(total.in_use)} in use, {count_text(total.free)} free, {count_text(total.reserved)} reserved"
    lines = [f"{subnet.cidr}: {count_text(total.size)} addresses, {counts}"]
    where = ", ".join(subnet.ranges) or "all of it"
    order = "the lowest first" if network.order == "lowest" else "the next after the last"
    lines.append(
        f"  automatic: {count_text(one.automatic_free)} free of {count_text(one.automatic_size)}, {order}, in {where}"
    )
    if subnet.gateway is not None:
        how = " (automatic)" if subnet.gateway_automatic else ""
        lines.append(f"  gateway:   {subnet.gateway}{how}")
    if subnet.aux:
        lines.append(f"  aux:       {', '.join(escape(f'{name}={address}') for name, address in subnet.aux)}")
    if one.own:
        lines.append(f"  host:      {', '.join(map(str, one.own))} on {network.link}")
    for title, some in (("reserved:", one.reservations), ("held:", one.held), ("remembered:", one.remembered)):
        lines += [f"  {title:<10} {address}, {escape(words)}" for address, words in some[:_RESERVATIONS]]
        if (more := len(some) - _RESERVATIONS) > 0:
            lines.append(f"  {title:<10} {count_text(more)} more")
    return "\n".join([*lines, "", *_map(one.map, {int(address) for address, _ in one.remembered}), ""])


def _map(shown: Map, remembered: set[int]) -> Iterator[str]:
    """The map with the first address of each row, and what its cells mean."""
    width = _CELLS[shown.part.version]
    starts = range(0, len(shown.blocks), width)
    labels = [str(_at(shown, start)) for start in starts]
    margin = max(map(len, labels)) + 1

    def some(start: int) -> Sequence[Block]:
        return shown.blocks[start : start + width]

    for label, start in zip(labels, starts, strict=True):
        cells = (_free_or(cell(block), shown, start + at, remembered) for at, block in enumerate(some(start)))
        yield f"{label:<{margin}}{''.join(cells)}"
    yield ""
    yield from _legend(shown.block_size)
    if remembered and shown.block_size == 1:
        yield LEGEND_OF_REMEMBERED


def _free_or(character: str, shown: Map, index: int, remembered: set[int]) -> str:
    """The character of a cell, with what is remembered among what is free, where a cell is one address."""
    if not remembered or shown.block_size > 1 or int(_at(shown, index)) not in remembered:
        return character
    return "m" if character in ".-" else character


def _legend(block_size: int) -> list[str]:
    first, _, last = LEGEND.rpartition("   ")
    if block_size == 1:
        return [first, last]
    return [f"a cell is {block_size:,} addresses   {_LEGEND_OF_MANY}", first, last]


def _at(shown: Map, index: int) -> Address:
    return shown.part.network_address + index * shown.block_size


def cell(block: Block) -> str:
    """A block as one character."""
    if block.in_use:
        if block.free == 0:
            return "#"
        return str(min(9, block.in_use * 10 // (block.in_use + block.free) + 1))
    if block.gateway:
        return "g"
    if block.aux:
        return "a"
    if block.host:
        return "h"
    if block.reserved:
        return "r"
    return "." if block.automatic else "-"
