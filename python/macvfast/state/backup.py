"""Backups of the state: written while other processes change it, and loaded again.

A backup is one SQLite file in the format of its time, from one moment. It is read into memory, converted there, and
loaded within one transaction of the state: other processes see either the old state or the new one.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import BackupInvalid, StateBusy, StateNewer, StateUnusable
from macvfast.model import natural
from macvfast.outcomes import Replacement
from macvfast.state import home
from macvfast.state.connections import in_memory, open_copy
from macvfast.state.failures import DAMAGE
from macvfast.state.records import FORMAT, Records, checked, database, format_of, now
from macvfast.system import durable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from macvfast.state.home import Here
    from macvfast.state.records.database import Connection
    from macvfast.state.store import Store


def backup(store: Store, file: str) -> Path:
    """Write a backup of the state to a file. An older backup is replaced when the new one is on the disk.

    Raises:
        BackupInvalid: something else is at that path.
        StateUnusable: it cannot be written.
    """
    try:
        target = Path(file).absolute()
    except OSError as error:
        raise BackupInvalid(file, f"there is no current directory: {error.strerror}") from None
    if os.path.lexists(target):
        if target.exists() and target.samefile(store.path):
            raise BackupInvalid(file, "it is the state itself")
        with _opened(store, file):
            pass
    _copy(store, target)
    return target


def compare(store: Store, file: str, netns_dir: str, here: Here) -> Replacement:
    """What would change if a backup were loaded.

    Args:
        store: the state.
        file: the backup.
        netns_dir: where namespaces are pinned here.
        here: this boot and machine.

    Raises:
        BackupInvalid, StateNewer
    """
    with _opened(store, file) as connection, store.reading() as records:
        _refuse_pins(Records(connection), records, file, netns_dir)
        return _replacement(records, Records(connection), file, here)


def load(store: Store, file: str, netns_dir: str, here: Here) -> Replacement:
    """Replace the state by a backup. The old state is kept in a file beside it. Arguments as for `compare`.

    Raises:
        BackupInvalid, StateNewer
        StateBusy: an operation is running, and could not record its outcome in the new state.
    """
    name = f"file:{os.urandom(8).hex()}?mode=memory&cache=shared"
    with _opened(store, file, name) as connection, store.attached(name, "loaded"), store.writing() as records:
        if others := store.others_at_work():
            raise StateBusy(str(store.directory), 0, others)
        _refuse_pins(Records(connection), records, file, netns_dir)
        replacement = _replacement(records, Records(connection), file, here)
        kept = store.path.with_name(f"state.db.{now():%Y%m%dT%H%M%S.%fZ}")
        _copy(store, kept)
        records.replace_with("loaded")
    return replace(replacement, kept=str(kept))


@contextmanager
def _opened(store: Store, file: str, name: str = ":memory:") -> Iterator[Connection]:
    """A backup, checked to be whole and of a known format, and read into memory under a name."""
    path = Path(file)
    try:
        if not path.is_file():
            raise BackupInvalid(file, "it is no regular file" if path.exists() else "there is no such file")
        with closing(open_copy(path.absolute())) as source:
            found = format_of(source)
            if found > FORMAT:
                raise StateNewer(file, found, FORMAT)
            if not found:
                raise BackupInvalid(file, "it is of another program, or empty")
            if (damage := database.damage(source, quick=True)) is not None:
                raise BackupInvalid(file, damage)
            copied = in_memory(source, name)
        with closing(copied) as connection:
            Records(connection).read_everything()
            with store.reading() as records:
                if Records(connection).tables() != records.tables():
                    raise BackupInvalid(file, "its tables are others than those of the state")
            yield connection
    except OSError as error:
        raise BackupInvalid(file, error.strerror or str(error)) from None
    except DAMAGE as error:
        raise BackupInvalid(file, f"it is no state, or damaged: {error}") from error


def _refuse_pins(then: Records, now_: Records, file: str, netns_dir: str) -> None:
    """Refuse a backup whose namespaces are pinned in a directory where neither this host nor the state pins any: root
    would create and delete files there.
    """
    known = {netns_dir, *(checked.pins(one) for one in now_.sandboxes() if one.made)}
    for one in then.sandboxes():
        if one.made and (directory := checked.pins(one)) not in known:
            raise BackupInvalid(
                file,
                f"sandbox `{one.name}` of it is pinned in `{directory}`, and not in `{netns_dir}`",
                hints=[f"if that is right: MACVFAST_NETNS_DIR={directory} macvfast state load {file}"],
            )


def _copy(store: Store, target: Path) -> None:
    """Write the state to a file, which is durable when this returns."""
    image = store.image()
    try:
        durable.replace(target, image)
    except OSError as error:
        raise StateUnusable(str(target), error.strerror or str(error)) from None


def _listed(contents: set[tuple[str, str, tuple[str, ...]]]) -> tuple[tuple[str, str], ...]:
    """Kinds and names, sorted as people count."""
    return tuple(sorted(((kind, name) for kind, name, _ in contents), key=lambda one: (one[0], natural(one[1]))))


def _replacement(now_: Records, then: Records, file: str, machine: Here) -> Replacement:
    here, there = now_.contents(), then.contents()
    return Replacement(
        file=file,
        now=_listed(here),
        then=_listed(there),
        only_now=_listed(here - there),
        only_then=_listed(there - here),
        foreign=home.is_foreign(then, machine),
    )
