"""The directories of sandboxes with their own files of /etc: written, kept up to date, deleted.

Files that were asked for are recorded, and written to a directory beside the state. The others are written there before
the sandbox's first command starts. Where `ip netns exec` needs them earlier, they are in memory: otherwise transactions
of the state would wait until the files of thousands of sandboxes are on the disk.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import SandboxRunning, StateUnusable
from macvfast.outcomes import Difference, FilesUnseen, Step
from macvfast.process import files, keeper
from macvfast.requests import OwnFiles
from macvfast.state.store import DEFAULT_DIR, DEFAULT_NETNS_DIR
from macvfast.system import limits, trusted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from macvfast.model import Sandbox
    from macvfast.outcomes import Note
    from macvfast.state.store import Store

_NOTHING = OwnFiles()

# Files that only `ip netns exec` needs. A reboot deletes them, like namespaces; `restore` creates both again.
FLEETING = Path("/run/macvfast/sandboxes")

# Sandboxes whose files are written together, each with an open descriptor.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class _Own:
    """A sandbox, and what is recorded of its own files."""

    sandbox: Sandbox
    wanted: OwnFiles = _NOTHING


@dataclass(frozen=True, slots=True)
class Left:
    """A link or directory of a sandbox that no longer exists, or a link to what others may change."""

    path: Path
    name: str
    why: str = "it is gone, and its files are left"

    @property
    def step(self) -> Step:
        """The step that deletes it."""
        mends = Difference(kind="files-left", sandbox=self.name, found=f"{self.why}: {self.path}")
        return Step(mends=mends, action=f"take away {self.path}")


@dataclass(slots=True)
class Writing:
    """One operation that writes files of sandboxes.

    Attributes:
        contents: what they hold.
        unseen: by reason, the sandboxes in which `ip netns exec` shows the host's files.
    """

    contents: files.Contents = field(default_factory=files.Contents)
    unseen: dict[str, list[str]] = field(default_factory=dict)


class SandboxDirectories:
    """The directories of a state's sandboxes. `on_note` is called with what a person should know.

    Links in /etc/netns, which all states share, are created only if state and pins are in their default directories.
    """

    def __init__(self, store: Store, netns_dir: str, on_note: Callable[[Note], None]) -> None:
        self._store = store
        shared = (str(store.directory), netns_dir) == (DEFAULT_DIR, DEFAULT_NETNS_DIR)
        self._links = files.NETNS_ETC if shared else None
        # Where `ip netns exec` would find stale links for a sandbox of this state.
        self._found_in = files.NETNS_ETC if netns_dir == DEFAULT_NETNS_DIR else None
        self._kept = store.sandbox_dir("")
        self._homes = (self._kept, FLEETING) if shared else (self._kept,)
        self.note = on_note

    # Creating.

    def give(self, sandbox: Sandbox, wanted: OwnFiles | None, writing: Writing) -> None:
        """Write the files of a new sandbox that are needed before its first command.

        Args:
            sandbox: with its endpoints.
            wanted: the requested contents; None: nothing was requested.
            writing: of all sandboxes that are created with it; for `report_unseen`.

        Raises:
            StateUnusable
        """
        own = _Own(sandbox, wanted or _NOTHING)
        if own.wanted != _NOTHING:
            self._write(own, self._kept / sandbox.id, writing)
        self._show(own, writing)

    def show(self, sandboxes: Sequence[Sandbox]) -> None:
        """Create the links by which `ip netns exec` finds the files of sandboxes, and files in memory where needed."""
        if self._found_in is not None:
            writing = Writing()
            for own in self._recorded(sandboxes):
                self._show(own, writing)
            self.report_unseen(writing)

    def _show(self, own: _Own, writing: Writing) -> None:
        """Create the link by which `ip netns exec` finds a sandbox's files, in place of a stale one."""
        if self._found_in is not None:
            files.unlink_stale(self._found_in, own.sandbox.name, self._homes)
        if self._links is None:
            return
        sandbox, directory = own.sandbox, self._kept / own.sandbox.id
        try:
            if not os.path.exists(directory / "etc"):
                directory = FLEETING / sandbox.id
                self._write(own, directory, writing)
            why = files.link(self._links, sandbox.name, directory)
        except StateUnusable as error:
            why = f"{error.path}: {error.reason}"
        if why is not None:
            writing.unseen.setdefault(why, []).append(sandbox.name)

    def hold(self, sandbox: Sandbox) -> int:
        """Take the lock of a sandbox's keeper until its command starts. Returns a descriptor, which `launch` passes on.
        If this process dies before that, the lock is free, which shows that the sandbox is left behind.

        Raises:
            StateUnusable
            SandboxRunning: it has a keeper.
        """
        directory = self._store.sandbox_dir(sandbox.id)
        files.make_directory(directory)
        lock = keeper.hold(directory)
        if lock is None:
            raise SandboxRunning(sandbox.name)
        return lock

    def complete(self, sandbox: Sandbox) -> None:
        """Write the files that a sandbox lacks on the disk, before a command starts. A sandbox that stands for a given
        namespace has none.

        Raises:
            StateUnusable
        """
        writing = Writing()
        for own in self._recorded([sandbox]):
            if not self._write(own, self._kept / sandbox.id, writing):
                return
            if self._links is not None:
                self._show(own, writing)
                keeper.remove(FLEETING / sandbox.id)
            self.refresh([sandbox.id])

    def hostname(self, sandbox: Sandbox) -> str:
        """The host name that a sandbox's commands have, or will have; empty: the host's.

        Raises:
            StateUnusable
        """
        if written := files.hostname_of(self._kept / sandbox.id):
            return written
        return "".join(files.hostname_for(own.sandbox, own.wanted) for own in self._recorded([sandbox]))

    def lacking(self, sandboxes: Sequence[Sandbox], boot_id: str) -> list[Step]:
        """The steps that would write the files that sandboxes should have by now."""
        contents = files.Contents()
        return [
            _written(own.sandbox, lacking)
            for own in self._recorded(sandboxes)
            if (directory := self._due(own, boot_id)) is not None
            and (lacking := files.lacking(directory, contents.of(own.sandbox, own.wanted)))
        ]

    def mend(self, sandboxes: Sequence[Sandbox], boot_id: str) -> list[Step]:
        """Write them. Returns each step, with its error if it failed."""
        steps, ids, writing = [], [], Writing()
        for own in self._recorded(sandboxes):
            directory = self._due(own, boot_id)
            if directory is None:
                continue
            try:
                if not (lacking := self._write(own, directory, writing)):
                    continue
                error = None
                self._show(own, writing)
                ids.append(own.sandbox.id)
            except StateUnusable as failed:
                lacking, error = files.lacking(directory, writing.contents.of(own.sandbox, own.wanted)), failed
            steps.append(replace(_written(own.sandbox, lacking), error=error))
        # Addresses may have changed since they were read.
        self.refresh(ids)
        self.report_unseen(writing)
        return steps

    def _recorded(self, sandboxes: Sequence[Sandbox]) -> list[_Own]:
        """Sandboxes with the requested contents of their files, without sandboxes that stand for given namespaces."""
        ours = [sandbox for sandbox in sandboxes if sandbox.made]
        with self._store.reading() as records:
            asked = records.own_files(sandbox.id for sandbox in ours)
        return [_Own(sandbox, asked.get(sandbox.id, _NOTHING)) for sandbox in ours]

    def _due(self, own: _Own, boot_id: str) -> Path | None:
        """The directory in which a sandbox should have its files by now; None: it needs none yet."""
        kept = self._kept / own.sandbox.id
        if own.wanted != _NOTHING or os.path.exists(kept / "etc"):
            return kept
        # Files in memory are gone after a reboot, as the namespace is.
        fleeting = self._links is not None and own.sandbox.boot_id == boot_id
        return FLEETING / own.sandbox.id if fleeting else None

    def _write(self, own: _Own, directory: Path, writing: Writing) -> list[str]:
        """Write the files that a sandbox lacks in a directory. Returns their names.

        Raises:
            StateUnusable
        """
        texts = writing.contents.of(own.sandbox, own.wanted)
        if not (lacking := files.lacking(directory, texts)):
            return []
        try:
            files.make_directory(directory)
            with trusted.locked_directory(directory) as descriptor:
                # Another process may have written some in the meantime.
                files.write(descriptor, {file: texts[file] for file in files.lacking(directory, texts)})
        except OSError as error:
            raise StateUnusable(str(directory), error.strerror or str(error)) from None
        return lacking

    def report_unseen(self, writing: Writing) -> None:
        """Report the sandboxes in which `ip netns exec` shows the host's files."""
        for why, names in writing.unseen.items():
            self.note(FilesUnseen(tuple(names), f"{files.NETNS_ETC}/{names[0]}", why))

    def refresh(self, ids: Iterable[str]) -> None:
        """Write the addresses of sandboxes into their hosts files. If a file cannot be written, the change of the
        network still succeeds.
        """
        with_files = [
            home / id_ for id_ in sorted(set(ids)) for home in self._homes if os.path.exists(home / id_ / "etc")
        ]
        for some in limits.chunks(with_files, _AT_ONCE, each=1):
            self._refresh(some)

    def _refresh(self, directories: Sequence[Path]) -> None:
        """The same for some directories, sorted by id: all processes lock them in this order. The record is read after
        all are locked, so that the process that writes last has read last.
        """
        with ExitStack() as stack:
            descriptors: list[tuple[str, int]] = []
            for directory in directories:
                with suppress(OSError):
                    descriptors.append((directory.name, stack.enter_context(trusted.locked_directory(directory))))
            with self._store.reading() as records:
                there = records.sandboxes_named([id_ for id_, _ in descriptors])
            for id_, descriptor in descriptors:
                if id_ in there:
                    with suppress(OSError):
                        files.refresh(descriptor, there[id_])

    # Deleting.

    def has(self, id_: str) -> bool:
        """Whether a sandbox has a directory, because it has run a command or has files.

        Raises:
            StateUnusable
        """
        directory = self._kept / id_
        try:
            os.stat(directory)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StateUnusable(str(directory.parent), error.strerror or str(error)) from None
        return True

    def unlink(self, sandboxes: Iterable[Sandbox]) -> None:
        """Delete the links of sandboxes, while the record still says whose they are."""
        if self._links is not None:
            for sandbox in sandboxes:
                files.unlink(self._links, sandbox.name, [f"{home}/{sandbox.id}" for home in self._homes])

    def remove(self, sandboxes: Iterable[Sandbox]) -> None:
        """Delete the directories of sandboxes that no longer exist."""
        for sandbox in sandboxes:
            for home in self._homes:
                if os.path.lexists(f"{home}/{sandbox.id}"):
                    keeper.remove(home / sandbox.id)

    # What is left.

    def left(self, boot_id: str) -> list[Left]:
        """Links and directories of sandboxes that no longer exist, because a removal died or the state was replaced;
        and links to what other users may change. A directory in which a command runs is not among them.

        A link belongs to this state if the record has its sandbox, or if there is a directory of that sandbox. Any
        other link may have been created in a mount namespace with the same /etc and another /run and /var. So the links
        of a state that was deleted with its directory are not found here: they lead nowhere, and `unlink_stale`
        replaces them.
        """
        # Before the record is read: a new sandbox is recorded before its directory is created.
        links = files.links_to(self._links) if self._links is not None else []
        directories = [home / id_ for home in self._homes for id_ in files.directories(home)]
        with self._store.reading() as records:
            names = records.sandbox_names()
        if self._store.overtaken:
            return []
        unsafe = {home: why for home in self._homes if links and (why := trusted.why_others_may_change(home))}
        ours = {*names, *(directory.name for directory in directories)}
        left = []
        for path, where, id_ in links:
            if where in unsafe:
                why = f"`ip netns exec` would read what others may change ({unsafe[where]})"
                left.append(Left(path, path.name, why))
            elif where in self._homes and id_ in ours and names.get(id_) != path.name:
                left.append(Left(path, path.name))
        return left + [
            Left(directory, directory.name[:12])
            for directory in directories
            if directory.name not in names and not _runs(directory, boot_id)
        ]

    def clear(self, boot_id: str) -> list[Step]:
        """Delete what is left over. Returns each step, with its error if it failed."""
        steps = []
        for one in self.left(boot_id):
            if one.path.is_symlink():
                with suppress(OSError):
                    one.path.unlink()
            else:
                keeper.remove(one.path)
            there = os.path.lexists(one.path)
            error = StateUnusable(str(one.path), "it cannot be deleted") if there else None
            steps.append(replace(one.step, error=error))
        return steps


def _runs(directory: Path, boot_id: str) -> bool:
    return keeper.state(directory, boot_id)[0].active or keeper.lacks_status(directory)


def _written(sandbox: Sandbox, files: Sequence[str]) -> Step:
    """The step that writes files of a sandbox which are missing or torn."""
    names = ", ".join(files)
    mends = Difference(kind="files-missing", sandbox=sandbox.name, found=f"it lacks files of its own: {names}")
    return Step(mends=mends, action=f"write {names}")
