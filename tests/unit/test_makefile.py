"""What `make` does with tools that fail."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("failing", [[], ["ruff"], ["mypy", "python"]])
def test_check_runs_every_tool_and_then_says_which_failed(tmp_path: Path, failing: list[str]) -> None:
    for name in ("cargo", "ruff", "mypy", "lint-imports", "python"):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\necho ran {name} $*\nexit {int(name in failing)}\n", encoding="ascii")
        tool.chmod(0o755)
    given = ["-o", "build", "-o", ".venv/.tools", f"BIN={tmp_path}", "check"]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment = {key: value for key, value in environment.items() if not key.startswith("MAKE")}
    done = subprocess.run(["make", *given], check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    ran = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("ran ")]
    assert ran == ["cargo"] * 2 + ["ruff"] * 2 + ["mypy", "lint-imports"] + ["python"] * 4
    names = {"python": "stubtest, generated docs, pictures, figures", "ruff": "ruff check, ruff format", "mypy": "mypy"}
    said = f"check: failed: {', '.join(names[name] for name in failing)}\n" if failing else ""
    assert (done.returncode != 0, said in done.stderr) == (bool(failing), True)
    assert ("all good" in done.stdout) == (not failing)
