"""The namespaces of recorded sandboxes: opened where they are still what was recorded."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from macvfast.errors import InvalidConfig, MacvfastError, NamespaceChanged

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from macvfast.kernel.holders import Holder
    from macvfast.kernel.netlink import Kernel
    from macvfast.kernel.protocol import Namespace
    from macvfast.model import Sandbox


Sysctls = tuple[tuple[str, str], ...]


def open_recorded(
    kernel: Kernel, sandboxes: Sequence[Sandbox], *, search: bool = True, anywhere: Container[str] = (),
    places: Sequence[str] = (),
) -> list[Namespace | MacvfastError]:  # fmt: skip
    """The namespace of each sandbox; NamespaceChanged where it is not at its path. One that others made is found
    wherever it is: its path may have been that of a process.

    Sandboxes of one path share what was opened. Cost: some 20 µs for each path, and that of `find_again`, which also
    explains `search`.

    Args:
        anywhere: the ids of sandboxes whose own namespaces are looked for elsewhere, too.
        places: paths to be looked at before all others of this host.
    """
    boot_id = kernel.boot_id()
    paths = list({one.path: None for one in sandboxes if one.boot_id == boot_id})
    opened = dict(zip(paths, kernel.open_namespaces(paths), strict=True)) if paths else {}
    wanted = {one.path for one in sandboxes if is_of(opened.get(one.path), one)}
    for path, namespace in opened.items():
        if path not in wanted and not isinstance(namespace, MacvfastError):
            namespace.close()
    found = [_checked(one, opened.get(one.path)) for one in sandboxes]
    changed = [one for one, got in zip(sandboxes, found, strict=True) if isinstance(got, NamespaceChanged)]
    lost = [one for one in changed if not one.made or one.id in anywhere]
    again = _found_at(kernel, lost, places) if lost and places else {}
    again |= find_again(kernel, [one for one in lost if one.id not in again], search=search).by_id
    return [again.get(one.id, got) for one, got in zip(sandboxes, found, strict=True)]


def _found_at(kernel: Kernel, lost: Sequence[Sandbox], places: Sequence[str]) -> dict[str, Namespace | MacvfastError]:
    """Those of the namespaces that are at these paths, by sandbox id."""
    boot_id, by_cookie = kernel.boot_id(), dict[int, list[str]]()
    for one in lost:
        if one.boot_id == boot_id:
            by_cookie.setdefault(one.cookie, []).append(one.id)
    found: dict[str, Namespace | MacvfastError] = {}
    for namespace in kernel.open_namespaces(places):
        # Another place of the same namespace is one too many.
        these = [] if isinstance(namespace, MacvfastError) else by_cookie.pop(namespace.cookie, [])
        found |= dict.fromkeys(these, namespace)
        if not these:
            close_all([namespace])
    return found


class FoundAgain(NamedTuple):
    """Namespaces of sandboxes, by sandbox id; an error where one is that cannot be opened. `complete`: those that are
    missing are gone, as far as anything shows it.
    """

    by_id: dict[str, Namespace | MacvfastError]
    complete: bool


def find_again(
    kernel: Kernel, sandboxes: Sequence[Sandbox], *, search: bool = True, patient: bool = False
) -> FoundAgain:
    """The namespaces of sandboxes that exist elsewhere than at their paths, opened by way of what holds them.

    Found by inode number, which no two living namespaces share, and checked by cookie. Cost: that of Kernel.holders,
    where there are sandboxes.

    Args:
        search: whether threads and descriptors are looked at as well, and not only mounts and processes.
        patient: however long that takes.
    """
    boot_id = kernel.boot_id()
    known = [one for one in sandboxes if one.boot_id == boot_id and one.inode]
    cookies = {one.cookie for one in known}
    found: dict[int, Namespace] = {}
    refused: dict[int, MacvfastError] = {}
    complete = True
    # Where it is most likely to be, before every descriptor of the host is looked at.
    for quick in (True, False) if search else (True,):
        inodes = {one.inode for one in known if one.cookie not in found}
        if not inodes:
            break
        looked = kernel.holders(inodes, quick=quick, patient=patient)
        complete = looked.complete
        for inode, holders in looked.holders.items():
            opened = _first(kernel, holders)
            if isinstance(opened, MacvfastError):
                refused[inode] = opened
            elif opened is not None and opened.cookie in cookies - found.keys():
                found[opened.cookie] = opened
            else:
                close_all([opened])
    by_id = {
        one.id: found.get(one.cookie) or refused[one.inode]
        for one in known
        if one.cookie in found or one.inode in refused
    }
    return FoundAgain(by_id, complete)


def _first(kernel: Kernel, holders: Sequence[Holder]) -> Namespace | MacvfastError | None:
    """The namespace that all of these hold, by the first of them that is still there; None: none is."""
    refused: MacvfastError | None = None
    for holder in holders:
        (opened,) = kernel.open_namespaces([holder.path])
        if not isinstance(opened, MacvfastError):
            return opened
        if not isinstance(opened, InvalidConfig):
            refused = opened
    return refused


def is_free(path: str) -> bool:
    """Whether a namespace can be pinned at a path: nothing is there, or the empty file of a pin that lost its mount."""
    try:
        there = os.lstat(path)
    except OSError:
        return True
    return stat.S_ISREG(there.st_mode) and there.st_size == 0


def clear_leftover(path: str) -> None:
    """Delete what a pin leaves behind that lost its mount. One that has its mount stays: the kernel refuses (EBUSY)."""
    if is_free(path):
        with suppress(OSError):
            os.unlink(path)


def make_each(kernel: Kernel, wanted: Sequence[Sysctls]) -> list[Namespace]:
    """A new namespace for each set of sysctls, in that order: all, or none and an error.

    Raises:
        KernelRefused, PermissionNeeded
    """
    made: dict[Sysctls, list[Namespace]] = {}
    try:
        for sysctls in dict.fromkeys(wanted):
            made[sysctls] = kernel.make_namespaces(wanted.count(sysctls), sysctls)
    except BaseException:
        close_all([one for some in made.values() for one in some])
        raise
    waiting = {sysctls: iter(some) for sysctls, some in made.items()}
    return [next(waiting[sysctls]) for sysctls in wanted]


def close_all(namespaces: Sequence[Namespace | MacvfastError | None]) -> None:
    """Close what was opened; closing twice changes nothing."""
    for namespace in namespaces:
        if namespace is not None and not isinstance(namespace, MacvfastError):
            namespace.close()


def is_of(namespace: Namespace | MacvfastError | None, sandbox: Sandbox) -> TypeGuard[Namespace]:
    """Whether a namespace is the recorded one of a sandbox, in the same boot."""
    return namespace is not None and not isinstance(namespace, MacvfastError) and namespace.cookie == sandbox.cookie


def _checked(sandbox: Sandbox, found: Namespace | MacvfastError | None) -> Namespace | MacvfastError:
    if found is None:
        reason = "the namespace was lost when the host restarted"
    elif isinstance(found, InvalidConfig):
        reason = str(found)
    elif isinstance(found, MacvfastError) or found.cookie == sandbox.cookie:
        return found
    else:
        reason = "another namespace is there, which macvfast leaves alone"
    there = found is not None and not isinstance(found, MacvfastError)
    return NamespaceChanged(sandbox.name, sandbox.path, reason, restorable=not there)
