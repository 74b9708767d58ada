"""Builds wheels (PEP 517) and editable installs (PEP 660): maturin's, with the native program of `rust/init` in them.

The program is built by a cargo call of its own because it wants to be small in memory, many thousand times over:
statically linked, at a fixed address, and by a profile of its own (`Cargo.toml`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import maturin
from maturin import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

PROGRAM = "macvfast-init"
PACKAGE = "macvfast"
_PROGRAM_MODE = 0o100755 << 16
STATIC = ("-Ctarget-feature=+crt-static", "-Crelocation-model=static")


def build_wheel(directory: str, config: Mapping[str, Any] | None = None, metadata: str | None = None) -> str:
    """Build a wheel in `directory`, and return its name. Nothing is written into the source tree but `target`."""
    program = _build_program()
    name: str = maturin.build_wheel(directory, config, metadata)
    _add(Path(directory, name), f"{PACKAGE}/{PROGRAM}", program.read_bytes())
    return name


def build_editable(directory: str, config: Mapping[str, Any] | None = None, metadata: str | None = None) -> str:
    """Build a wheel in `directory` that points to the source tree, and put there what is built: the package is read
    from it.
    """
    staged = Path("python", PACKAGE, PROGRAM)
    # Under another name first: what runs at this moment cannot be written to, only replaced.
    new = staged.with_suffix(".new")
    shutil.copy(_build_program(), new)
    new.replace(staged)
    name: str = maturin.build_editable(directory, config, metadata)
    return name


def _build_program() -> Path:
    """Build the native program, and say where it is."""
    if not shutil.which("cargo"):
        # As maturin does, which has asked for this package then.
        from puccinialin import setup_rust

        os.environ.update(setup_rust())
    program = _cargo(STATIC)
    if program is None:
        print(f"{PROGRAM} is linked dynamically, and larger in memory: a static C library is missing", file=sys.stderr)
        program = _cargo(())
    if program is None:
        raise SystemExit(f"error: {PROGRAM} cannot be built")
    return program


def _cargo(flags: tuple[str, ...]) -> Path | None:
    """The program, built with these flags of rustc; None where cargo failed, which has said why."""
    environment = dict(os.environ)
    given = environment.pop("CARGO_ENCODED_RUSTFLAGS", None)
    given_flags = environment.pop("RUSTFLAGS", "").split() if given is None else given.split("\x1f")
    environment["CARGO_ENCODED_RUSTFLAGS"] = "\x1f".join([*filter(None, given_flags), *flags])
    # With a target named, the flags are the program's alone, and not those of what runs while it is built.
    target = environment.get("CARGO_BUILD_TARGET") or _host()
    options = ["--quiet", "--locked", "--profile", "init", "--package", PROGRAM, "--target", target]
    command = ["cargo", "build", *options, "--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        return None
    messages = map(json.loads, done.stdout.splitlines())
    (program,) = (Path(message["executable"]) for message in messages if message.get("executable"))
    return program


def _host() -> str:
    """What rustc builds for by itself."""
    told = subprocess.run(["rustc", "-vV"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return next(line.removeprefix("host: ") for line in told.splitlines() if line.startswith("host: "))


def _add(wheel: Path, name: str, content: bytes) -> None:
    """Add a program to a wheel, and to its list of files. Let scripts be run: a source distribution has no modes."""
    info = zipfile.ZipInfo(name)
    info.external_attr = _PROGRAM_MODE
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    new = wheel.with_suffix(".new")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as whole:
        whole.writestr(info, content, zipfile.ZIP_DEFLATED)
        for entry in old.infolist():
            data = old.read(entry)
            if ".data/scripts/" in entry.filename:
                entry.external_attr = _PROGRAM_MODE
            if entry.filename.endswith(".dist-info/RECORD"):
                data = f"{name},sha256={digest},{len(content)}\n".encode() + data
            whole.writestr(entry, data, zipfile.ZIP_DEFLATED)
    new.replace(wheel)
