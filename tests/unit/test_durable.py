"""Files that are replaced in one step: what is there after a kill, a failure, or a power cut."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from macvfast.system import durable
from tests.netns import forked

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def names_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system has no files without names, as NFS and FAT have none."""
    really = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return really(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is at /proc, as in a bare chroot: a file without a name cannot get one."""
    really = os.link

    def refuse(path: str, name: str, *, dst_dir_fd: int, follow_symlinks: bool) -> None:
        path = path.replace("/proc/", "/no-proc/")
        really(path, name, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "link", refuse)


def listed(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_a_kill_before_a_file_is_whole_leaves_the_older_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a temporary file that is left for ever."""
    durable.replace(tmp_path / "file", b"old")

    def killed() -> None:
        monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        durable.replace(tmp_path / "file", b"new")

    assert forked(killed) == -signal.SIGKILL
    assert listed(tmp_path) == {"file": "old"}


@pytest.mark.parametrize("fails", ["fsync", "rename"])
@pytest.mark.parametrize("place", ["any", "names_only", "no_proc"])
def test_a_failure_leaves_the_older_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, place: str, fails: str
) -> None:
    if place != "any":
        request.getfixturevalue(place)
    durable.replace(tmp_path / "file", b"old", 0o644)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, fails, full)
        with pytest.raises(OSError, match="No space"):
            durable.replace(tmp_path / "file", b"new", 0o644)
    assert listed(tmp_path) == {"file": "old"}
    durable.replace(tmp_path / "file", b"newer", 0o644)
    assert listed(tmp_path) == {"file": "newer"}
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_content_is_on_the_disk_before_it_has_the_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut could leave an empty file in the place of the older one."""
    steps: list[str] = []
    sync, rename = os.fsync, os.rename

    def noted_sync(descriptor: int) -> None:
        steps.append(f"sync {'names' if os.path.isdir(f'/proc/self/fd/{descriptor}') else 'content'}")
        sync(descriptor)

    def noted_rename(*names: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        steps.append("rename")
        rename(*names, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "rename", noted_rename)
    durable.replace(tmp_path / "file", b"content")
    assert steps == ["sync content", "rename", "sync names"]
