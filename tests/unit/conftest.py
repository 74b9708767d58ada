"""The speed of the disk, and how long the kernel may take, are not what these tests are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from macvfast.engine import escapes, make, repair, sandboxes, settle
from macvfast.state.connections import Connections
from tests.unit.machine import Machine, make_networks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon what never comes, and do not wait for the disk."""
    connect = Connections._connect

    def connect_hastily(connections: Connections) -> sqlite3.Connection:
        connection = connect(connections)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    monkeypatch.setattr(Connections, "_connect", connect_hastily)
    monkeypatch.setattr(settle, "LOOK_S", 0.06)
    monkeypatch.setattr(settle, "GRACE_S", 0.02)
    monkeypatch.setattr(settle, "_PAUSE_S", 0.01)
    for name in ("UNSEEN_S", "GIVE_UP_S"):
        monkeypatch.setattr(settle, name, 0.1)
    monkeypatch.setattr(escapes, "PATIENCE_S", 0.01)
    for module in (make, repair):
        monkeypatch.setattr(module, "MAC_WAIT_S", 0.05)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for another process that removes the same sandbox: this test's never does."""
    monkeypatch.setattr(sandboxes, "_OTHERS_S", 0.1)


@pytest.fixture
def machine(tmp_path: Path, hasty: object) -> Iterator[Machine]:  # noqa: ARG001 - asked for before it is made
    """A machine with the networks `lan` and `other`."""
    made = Machine(tmp_path)
    make_networks(made)
    yield made
    made.faults.arm()
    made.host.close()
