"""The machine, boot and network namespace that a state, with its links, belongs to.

Boot ids are unique among machines, so the machine is compared only in a new boot. A machine without an id counts as the
noted one, and so does every machine where none is noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from macvfast.errors import HomeNamespaceOther, StateBusy, StateForeign

if TYPE_CHECKING:
    from macvfast.outcomes import Adoption
    from macvfast.state.records import Records
    from macvfast.state.store import Store


class Kernel(Protocol):
    """What `home` needs to know of the kernel."""

    def boot_id(self) -> str: ...  # noqa: D102
    def home_cookie(self) -> int: ...  # noqa: D102
    def machine_id(self) -> str | None: ...  # noqa: D102


class Here(NamedTuple):
    """This boot, and this machine's id; None: it has none."""

    boot_id: str
    machine: str | None


class _Noted(NamedTuple):
    """What a state says it belongs to; None: nothing."""

    boot_id: str | None
    cookie: str | None
    machine: str | None

    @classmethod
    def of(cls, records: Records) -> _Noted:
        return cls(records.host("boot_id"), records.host("home_cookie"), records.host("machine"))


def is_here(store: Store, kernel: Kernel) -> bool:
    """Whether the state's links are in this boot and namespace; False: in an earlier boot's, or another machine's.

    Raises:
        HomeNamespaceOther: in this boot, but another namespace.
    """
    with store.reading() as records:
        return _is_here(store, kernel, _Noted.of(records))


def refuse_other(store: Store, kernel: Kernel) -> None:
    """Refuse to change a state of another machine, or of another namespace in this boot.

    Raises:
        HomeNamespaceOther, StateForeign
    """
    with store.reading() as records:
        _refuse_other(store, kernel, _Noted.of(records))


def is_claimed(records: Records, store: Store, kernel: Kernel) -> bool:
    """Before a change, refuse a state of another machine or namespace. False: this boot is new, and to be claimed.

    Raises:
        HomeNamespaceOther, StateForeign
    """
    noted = _Noted.of(records)
    return _refuse_other(store, kernel, noted) and (noted.machine is not None or kernel.machine_id() is None)


def claim(store: Store, kernel: Kernel) -> None:
    """Note a new boot. Raises as `is_claimed`."""
    with store.writing() as records:
        # Another process may have noted it meanwhile.
        _refuse_other(store, kernel, _Noted.of(records))
        records.set_host("boot_id", kernel.boot_id())
        records.set_host("home_cookie", str(kernel.home_cookie()))
        machine = kernel.machine_id()
        if machine is not None:
            records.set_host("machine", machine)


def is_foreign(records: Records, here: Here) -> bool:
    """Whether a state belongs to another machine."""
    return _is_foreign(_Noted.of(records), here)


def adopt(store: Store, here: Here) -> Adoption:
    """Make a state this machine's, unless it already is. What is recorded stays; new MACs are made with another key
    than the other machine's.

    Raises:
        StateBusy: an operation goes on, on this machine or, on a shared disk, on the other.
    """
    from macvfast.outcomes import Adoption  # noqa: PLC0415

    with store.writing() as records:
        if others := store.others_at_work():
            raise StateBusy(str(store.directory), 0, others)
        noted = _Noted.of(records)
        ours = here.boot_id == noted.boot_id or (here.machine is not None and here.machine == noted.machine)
        if ours or (noted.boot_id is None and noted.machine is None):
            return Adoption(adopted=False)
        for key in ("boot_id", "home_cookie", "machine", "mac_key"):
            records.unset_host(key)
        if here.machine is not None:
            records.set_host("machine", here.machine)
        return Adoption(adopted=True, endpoints=records.count_endpoints())


def _is_foreign(noted: _Noted, here: Here) -> bool:
    known = None not in (here.machine, noted.machine)
    return noted.boot_id != here.boot_id and known and noted.machine != here.machine


def _is_here(store: Store, kernel: Kernel, noted: _Noted) -> bool:
    if noted.boot_id != kernel.boot_id():
        return False
    if noted.cookie != str(kernel.home_cookie()):
        raise HomeNamespaceOther(str(store.directory))
    return True


def _refuse_other(store: Store, kernel: Kernel, noted: _Noted) -> bool:
    """Whether this boot is noted."""
    if _is_here(store, kernel, noted):
        return True
    if _is_foreign(noted, Here(kernel.boot_id(), kernel.machine_id())):
        raise StateForeign(str(store.directory))
    return False
