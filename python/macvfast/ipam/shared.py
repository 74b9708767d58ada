"""One pool in one transaction: its bits, what its networks keep, and who has its addresses."""

from __future__ import annotations

from bisect import bisect_left, insort
from functools import partial
from typing import TYPE_CHECKING

from macvfast._core import Source, StoredPool
from macvfast.errors import AddressTaken, PoolExhausted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from macvfast.model import Address, Cidr
    from macvfast.state.records import Kept, Records


class SharedPool:
    """The addresses of one subnet, which all networks that have it in one layer-2 domain share.

    What they keep and who has an address is read once, when it is first asked for, and followed from then on: it costs
    no more where many networks change in one transaction. To take an address and to release it needs neither.
    """

    def __init__(self, records: Records, number: int, cidr: Cidr, used: int | None) -> None:
        """`used`: how many addresses are in use; None: a new pool, of which nothing is stored yet."""
        self._records = records
        self._number = number
        self._cidr = cidr
        self.bits = StoredPool(cidr, used=used, summary=records.summary(number), fetch=partial(records.page, number))
        # What is kept, and as what by which network; and the gateways by the networks' names. None: not read yet.
        self._kept: dict[Address, dict[str | None, str]] | None = {} if used is None else None
        self._gateways: list[tuple[str, Address]] = []
        # Sandbox and network of those who have addresses: as they were recorded, and since.
        self._recorded: dict[bytes, tuple[str, str]] | None = None
        self.given: dict[bytes, tuple[str, str]] = {}
        # What counts as in use until the end of the transaction, as only an endpoint with a MAC of its own can have it.
        self._passed: dict[bytes, None] = {}
        self._over = records.over(number)
        for address in self._over:
            if address not in self.kept:
                self.bits.release(address)

    def save(self) -> None:
        """Write what changed back into the transaction."""
        self.take_back_passed()
        self._records.forget_reservations(self._number, self._over)
        changes = self.bits.changes()
        if changes.pages or changes.summary:
            self._records.save_pool(self._number, changes.used, changes.pages, changes.summary)

    # What networks keep.

    @property
    def kept(self) -> dict[Address, dict[str | None, str]]:
        """The addresses that networks keep, and as what by which network; None is a reservation."""
        if self._kept is None:
            self._kept = {}
            for one in self._records.kept(self._number):
                one.refuse_free(self._cidr, self.bits.__contains__)
                self._note(self._kept, one)
        return self._kept

    def _note(self, kept: dict[Address, dict[str | None, str]], one: Kept) -> None:
        kept.setdefault(one.address, {})[one.network] = one.role
        if one.role == "gateway" and one.network is not None:
            insort(self._gateways, (one.network, one.address))

    def refuse_held(self, wanted: Iterable[Kept]) -> None:
        """Refuse to keep what an endpoint has.

        Raises:
            AddressTaken
        """
        for one in wanted:
            if one.address not in self.kept and one.address in self.bits:
                found = self.holder(one.address)
                again = "" if found is None else f"`macvfast network disconnect {found[1]} {found[0]}` first, or "
                hints = [f"{again}keep another address"]
                raise AddressTaken(str(one.address), self.holder_text(one.address), hints=hints)

    def keep(self, wanted: Iterable[Kept]) -> None:
        """Have a network keep these, too: nobody is given them."""
        for one in wanted:
            if one.address not in self.kept:
                self.bits.reserve(one.address)
            self._note(self.kept, one)

    def let_go(self, kept: Iterable[Kept]) -> None:
        """Have a network keep these no more; what no other network keeps is free."""
        for one in kept:
            roles = self.kept[one.address]
            del roles[one.network]
            if one.role == "gateway" and one.network is not None:
                del self._gateways[bisect_left(self._gateways, (one.network, one.address))]
            if not roles:
                del self.kept[one.address]
                self.bits.release(one.address)

    # What is passed over.

    def pass_over(self, packed: bytes) -> None:
        """Have nobody look at an address again, which was given just now and is of no use without a MAC of its own."""
        self._passed[packed] = None

    def take_back_passed(self, packed: bytes | None = None) -> None:
        """Have what was passed over free again: all of it, or one address."""
        going = [*self._passed] if packed is None else [packed] if packed in self._passed else []
        for one in going:
            del self._passed[one]
            self.bits.release(int.from_bytes(one))

    def passed(self, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """What was passed over of some ranges, the last first."""
        return (
            packed
            for packed in reversed(self._passed)
            if any(first <= int.from_bytes(packed) <= last for first, last in ranges)
        )

    # What is free, and who has what is not.

    def gateway(self) -> tuple[Address, str] | None:
        """The gateway that the first of its networks has, by their names, and that network."""
        if not self.kept or not self._gateways:
            return None
        network, address = self._gateways[0]
        return address, network

    def first_free(self, ip_range: Iterable[str] | None, avoided: Iterable[Address]) -> Address | None:
        """The first free address of the ip-range, or of the subnet; it stays free."""
        source = Source(self._cidr, ip_range=ip_range, order="lowest", begin=0, avoid=avoided)
        try:
            found = self.bits.allocate(source)
        except PoolExhausted:
            return None
        self.bits.release(found)
        return found

    def holder(self, address: Address) -> tuple[str, str] | None:
        """The sandbox and the network of the endpoint that has an address."""
        found = self.given.get(address.packed)
        if found is None:
            if self._recorded is None:
                self._recorded = self._records.holders(self._number)
            found = self._recorded.get(address.packed)
        return found

    def holder_text(self, address: Address) -> str:
        """Who has an address, in words."""
        found = self.holder(address)
        if found is not None:
            return f"held by sandbox `{found[0]}` on network `{found[1]}`"
        held = self._records.held_in(self._number).get(address.packed)
        return "being released" if held is None else f"held by {held}"
