"""What holds namespaces, as far as a bounded look at this host shows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from macvfast.kernel import holders

if TYPE_CHECKING:
    import pytest


def test_a_search_ends_in_time_sees_processes_all_the_same_and_says_that_there_is_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who may open descriptors would otherwise hold up every removal for as long as he likes."""
    monkeypatch.setattr(holders, "LOOK_S", 0.0)
    search = holders.namespaces()
    inode = os.stat("/proc/self/ns/net").st_ino
    assert not search.complete
    assert inode in {os.stat(path).st_ino for path in search.paths if os.path.exists(path)}
    assert holders.find({inode}).holders[inode]


def test_a_process_is_named_once_by_the_plainest_way_to_what_it_holds() -> None:
    """It is in its namespace, has threads there, and may hold it open as well."""
    inode = os.stat("/proc/self/ns/net").st_ino
    mine = [one for one in holders.find({inode}).holders[inode] if one.path.startswith(f"/proc/{os.getpid()}/")]
    assert [one.path for one in mine] == [f"/proc/{os.getpid()}/ns/net"]
