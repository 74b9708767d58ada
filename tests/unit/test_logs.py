"""The log of a sandbox is read and freed where it is, and nowhere else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import StateUnusable
from macvfast.process import logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO


@pytest.mark.parametrize("name", ["log", "log.1"])
def test_a_link_in_place_of_a_log_is_neither_read_nor_cut_off(tmp_path: Path, name: str) -> None:
    """Root reads and frees logs: whoever could put a link there would read, or empty, any file."""
    other = tmp_path / "other"
    other.write_text("not a log\n")
    directory = tmp_path / "box"
    directory.mkdir()
    (directory / name).symlink_to(other)
    with pytest.raises(StateUnusable, match="cannot read its log"):
        list(logs.read(directory))
    logs.free(directory)
    assert other.read_text() == "not a log\n"


@pytest.mark.timeout(10)
def test_a_pipe_in_place_of_a_log_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(StateUnusable, match="it is no regular file"):
        list(logs.read(tmp_path))
    logs.free(tmp_path)


def test_files_that_are_exchanged_while_they_are_opened_are_opened_again_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that nobody closes is a warning, and warnings are errors."""
    for name in ("log", "log.1"):
        (tmp_path / name).write_text(f"{name}\n")
    exchanged = [tmp_path / "log", tmp_path / "log.1"]
    is_called = logs._is_called

    def exchange_once(path: Path, file: BinaryIO | None) -> bool:
        while exchanged:
            exchanged.pop().write_text("again\n")
            return False
        return is_called(path, file)

    monkeypatch.setattr(logs, "_is_called", exchange_once)
    assert list(logs.read(tmp_path)) == [b"again\n", b"again\n"]


@pytest.mark.parametrize(("tail", "shown"), [(None, b"1\n2\n3\n"), (2, b"2\n3\n"), (1, b"3\n"), (0, b"")])
def test_what_is_added_while_a_log_is_read_is_for_who_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: int | None, shown: bytes
) -> None:
    """A command that shows more than is read would otherwise have its log read for ever."""
    (tmp_path / "log.1").write_text("1\n")
    (tmp_path / "log").write_text("2\n3\n")
    seek, rest = logs._seek_last_lines, logs._rest

    def add() -> None:
        with (tmp_path / "log").open("a") as log:
            log.write("later\n")

    def add_before_seeking(files: list[BinaryIO], ends: list[int], count: int) -> None:
        add()
        seek(files, ends, count)

    def add_before_reading(file: BinaryIO, end: int | None = None) -> Iterator[bytes]:
        add()
        yield from rest(file, end)

    monkeypatch.setattr(logs, "_seek_last_lines", add_before_seeking)
    monkeypatch.setattr(logs, "_rest", add_before_reading)
    assert b"".join(logs.read(tmp_path, tail)) == shown


def test_a_log_is_freed_for_all_who_have_it_open(tmp_path: Path) -> None:
    for name in ("log", "log.1"):
        (tmp_path / name).write_text("shown\n")
    with (tmp_path / "log").open() as log:
        logs.free(tmp_path)
        assert log.read() == ""
    assert list(logs.read(tmp_path)) == []
