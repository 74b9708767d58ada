"""Whose files and directories are believed, and which ways only root may change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import StateUnusable
from macvfast.process import files, keeper
from macvfast.system import trusted

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 65534


def by_another(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def writable(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def a_link(path: Path) -> None:
    there = path.with_name(f"{path.name}.moved")
    path.rename(there)
    path.symlink_to(there)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


MADE_STRANGE = {
    "it belongs to another user": by_another,
    "others may write to it": writable,
    "it is a symbolic link": a_link,
    "it is no regular file": a_pipe,
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a sandbox in which a command has run."""
    directory = tmp_path / "state/sandboxes" / ("a" * 64)
    files.make_directory(directory)
    (directory / "status").write_text("boot x\nkeeper 1 1\ninit 1 1\nstate exited\nexit 3\n")
    (directory / "lock").write_text("")
    (directory / "hostname").write_text("web")
    return directory


@pytest.mark.needs("root")
@pytest.mark.timeout(10)
@pytest.mark.parametrize("why", MADE_STRANGE)
@pytest.mark.parametrize("name", ["status", "lock", "hostname"])
def test_a_file_that_others_could_have_made_is_not_believed(directory: Path, name: str, why: str) -> None:
    """Root would join, or kill, whatever process it names; a fifo would be waited for."""
    MADE_STRANGE[why](directory / name)
    read: dict[str, Callable[[Path], object]] = {
        "status": keeper.read_status,
        "lock": keeper.hold,
        "hostname": files.hostname_of,
    }
    for act in (read[name], files.make_directory):
        with pytest.raises(StateUnusable, match=why):
            act(directory)


@pytest.mark.needs("root")
@pytest.mark.parametrize("why", [why for why in MADE_STRANGE if why != "it is no regular file"])
@pytest.mark.parametrize("above", [0, 1])
def test_a_directory_that_others_could_have_made_is_neither_taken_nor_cleared(
    directory: Path, above: int, why: str
) -> None:
    """What stands in it, or where it leads, would be used, or deleted."""
    changed = (directory, *directory.parents)[above]
    MADE_STRANGE[why](changed)
    with pytest.raises(StateUnusable, match=why) as refusal:
        files.make_directory(directory)
    assert refusal.value.path == str(changed)
    if above:
        assert files.directories(directory.parent) == []
        keeper.remove(directory)
        assert (directory / "status").exists()


@pytest.mark.needs("root")
def test_a_lock_of_anothers_keeps_nobody_from_the_other_sandboxes(directory: Path) -> None:
    """`restore`, `check` and `gc` look at all."""
    assert keeper.is_absent(directory)
    by_another(directory / "lock")
    assert keeper.is_locked(directory) is None
    assert not keeper.is_absent(directory)
    assert not keeper.lacks_status(directory)


@pytest.mark.needs("root")
@pytest.mark.parametrize("name", ["status.new", "log", "log.1", "log.max", "etc"])
def test_nothing_is_started_with_a_directory_that_others_have_filled(directory: Path, name: str) -> None:
    """A keeper would write to a fifo, or wait for it; what a link leads to would be mounted for a command."""
    (directory / name).symlink_to("/etc")
    with pytest.raises(StateUnusable, match="it is a symbolic link"):
        files.make_directory(directory)


def test_a_file_that_is_too_long_is_not_read(directory: Path) -> None:
    os.truncate(directory / "status", 1 << 42)
    with pytest.raises(StateUnusable, match="longer than"):
        keeper.read_status(directory)


def test_what_takes_the_place_of_a_directory_that_was_just_made_gets_no_mode_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write to the directory above exchanges it between the two calls."""
    (tmp_path / "secret").mkdir(0o700)
    really = os.mkdir

    def mkdir(path: Path, mode: int) -> None:
        really(path, mode)
        path.rmdir()
        path.symlink_to("secret")

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(OSError, match="it is a symbolic link"):
        trusted.make_directory(tmp_path / "made", 0o755)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o700


# Ways.


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as good as `/`: what is above it is not looked at."""
    really = trusted._way

    def way(path: Path) -> list[tuple[str, os.stat_result]]:
        return [(at, found) for at, found in really(path) if Path(at).is_relative_to(tmp_path)]

    monkeypatch.setattr(trusted, "_way", way)
    return tmp_path


@pytest.mark.needs("root")
def test_a_way_is_safe_where_root_alone_may_change_it_wherever_links_lead(roots: Path) -> None:
    (roots / "a/b").mkdir(parents=True)
    (roots / "a/link").symlink_to("../a/b")
    (roots / "a/b/file").write_text("")
    for way in ("a/b", "a/b/file", "a/link/file", "a/b/none", "a/none/none", "a/link/../b", "a/dangling"):
        assert trusted.why_others_may_change(roots / way) is None, way


@pytest.mark.needs("root")
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
@pytest.mark.parametrize("at", ["a", "a/b", "far", "far/c"])
def test_a_way_is_unsafe_where_others_may_write_anywhere_on_it(roots: Path, mode: int, at: str) -> None:
    """Sticky or not: when what stands there is gone, whoever comes first has its name."""
    (roots / "a/b").mkdir(parents=True)
    (roots / "far/c/d").mkdir(parents=True)
    (roots / "a/b/link").symlink_to(roots / "far/hop")
    (roots / "far/hop").symlink_to("c")
    assert trusted.why_others_may_change(roots / "a/b/link/d/e") is None
    (roots / at).chmod(mode)
    why = trusted.why_others_may_change(roots / "a/b/link/d/e")
    assert why == f"others may write to {roots / at} (mode {mode:04o})"


@pytest.mark.needs("root")
@pytest.mark.parametrize("at", ["a", "a/b", "a/b/file"])
def test_a_way_is_unsafe_where_anything_on_it_is_anothers(roots: Path, at: str) -> None:
    (roots / "a/b").mkdir(parents=True)
    (roots / "a/b/file").write_text("")
    by_another(roots / at)
    assert trusted.why_others_may_change(roots / "a/b/file") == f"{roots / at} belongs to another user (uid {NOBODY})"


@pytest.mark.needs("root")
def test_links_in_a_circle_lead_nowhere_that_is_safe(roots: Path) -> None:
    (roots / "a").symlink_to("b")
    (roots / "b").symlink_to("a")
    assert "Too many levels" in (trusted.why_others_may_change(roots / "a/x") or "")
