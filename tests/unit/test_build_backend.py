"""What the wheel has beside what maturin puts into it."""

from __future__ import annotations

import base64
import csv
import hashlib
import shutil
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tools import build_backend

if TYPE_CHECKING:
    import pytest


def test_a_program_is_added_to_a_wheel_that_can_be_run_and_is_listed_with_its_checksum(tmp_path: Path) -> None:
    """Catches one that pip installs without its mode, as scripts of a source distribution were; and one that an
    uninstall leaves behind.
    """
    wheel, record, script = tmp_path / "p-1-py3-none-any.whl", "p-1.dist-info/RECORD", "p-1.data/scripts/p"
    before = {
        "p/__init__.py": b"",
        "p/_core.so": b"\x7fELF" * 100,
        record: f"p/__init__.py,,\n{record},,\n".encode(),
    }
    with zipfile.ZipFile(wheel, "w") as made:
        for name, data in before.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            made.writestr(info, data)
    (tmp_path / "built").mkdir()
    for name in ("program", "p"):
        (tmp_path / "built" / name).write_bytes(name.encode())
    build_backend._add(wheel, {"p/program": tmp_path / "built/program", script: tmp_path / "built/p"})
    assert sorted(tmp_path.iterdir()) == [tmp_path / "built", wheel]
    with zipfile.ZipFile(wheel) as whole:
        assert whole.testzip() is None
        modes = {info.filename: info.external_attr >> 16 for info in whole.infolist()}
        content = {name: whole.read(name) for name in modes}
    programs, others = ("p/program", "p/_core.so", script), ("p/__init__.py", record)
    assert modes == dict.fromkeys(programs, 0o100755) | dict.fromkeys(others, 0o100644)
    listed = {row[0]: row[1:] for row in csv.reader(content[record].decode().splitlines())}

    def row(data: bytes) -> list[str]:
        return [
            f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()}",
            str(len(data)),
        ]

    assert listed == {
        "p/program": row(b"program"), script: row(b"p"), "p/__init__.py": ["", ""], record: ["", ""]
    }  # fmt: skip
    assert {name: content[name] for name in ("p/__init__.py", "p/_core.so")} == dict(list(before.items())[:2])


def test_where_no_cargo_is_there_the_programs_are_built_with_the_one_that_maturin_fetches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cargo = tmp_path / "fetched" / "cargo"
    cargo.parent.mkdir()
    for name, said in (("cargo", '{"reason":"compiler-artifact","executable":"/built"}'), ("rustc", "host: here")):
        (cargo.parent / name).write_text(f"#!/bin/sh\necho '{said}'\n")
        (cargo.parent / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    fetched = SimpleNamespace(setup_rust=lambda: {"PATH": str(cargo.parent)})
    monkeypatch.setitem(sys.modules, "puccinialin", fetched)
    assert build_backend._build_programs() == {"macvfast": Path("/built"), "macvfast-init": Path("/built")}
    assert shutil.which("cargo") == str(cargo)
