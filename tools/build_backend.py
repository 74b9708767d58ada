"""Builds wheels (PEP 517) and editable installs (PEP 660): maturin's, with two native programs in them: the command
`macvfast` (`rust/client`), and what runs around commands in sandboxes (`rust/init`).

They are built by a cargo call of their own because they want to be small and to start at once: statically linked, at a
fixed address, and by a profile of their own (`Cargo.toml`). The command is linked with musl where Rust has it: before
`main`, the GNU C library asks the processor some 80 times what it is, and in a virtual machine each answer is the
hypervisor's (0.65 ms in all). What runs around commands says of errors what Python says, in the words of the C library.
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

# The native programs.
CLIENT = "macvfast"
INIT = "macvfast-init"
_PACKAGES = {CLIENT: "macvfast-client", INIT: "macvfast-init"}
PACKAGE = "macvfast"
_PROGRAM_MODE = 0o100755 << 16
STATIC = ("-Ctarget-feature=+crt-static", "-Crelocation-model=static")


def build_wheel(directory: str, config: Mapping[str, Any] | None = None, metadata: str | None = None) -> str:
    """Build a wheel in `directory`, and return its name. Nothing is written into the source tree but `target`."""
    programs = _build_programs()
    name: str = maturin.build_wheel(directory, config, metadata)
    _add(Path(directory, name), {f"{PACKAGE}/{INIT}": programs[INIT], _script(name): programs[CLIENT]})
    return name


def build_editable(directory: str, config: Mapping[str, Any] | None = None, metadata: str | None = None) -> str:
    """Build a wheel in `directory` that points to the source tree, and put there what is built: the package is read
    from it.
    """
    programs = _build_programs()
    staged = Path("python", PACKAGE, INIT)
    # Under another name first: what runs at this moment cannot be written to, only replaced.
    new = staged.with_suffix(".new")
    shutil.copy(programs[INIT], new)
    new.replace(staged)
    name: str = maturin.build_editable(directory, config, metadata)
    _add(Path(directory, name), {_script(name): programs[CLIENT]})
    return name


def _script(wheel: str) -> str:
    """Where a wheel has the command, by the wheel's name."""
    distribution, version, *_ = wheel.split("-")
    return f"{distribution}-{version}.data/scripts/{CLIENT}"


def _build_programs() -> dict[str, Path]:
    """Build the native programs, and say where they are."""
    if not shutil.which("cargo"):
        # As maturin does, which has asked for this package then.
        from puccinialin import setup_rust

        os.environ.update(setup_rust())
    given, host = os.environ.get("CARGO_BUILD_TARGET"), _host()
    musl = host.replace("-gnu", "-musl")
    targets = [given or host]
    faster = [musl] if given is None and _has_library(musl) else []
    return {INIT: _built(INIT, targets), CLIENT: _built(CLIENT, faster + targets)}


def _built(program: str, targets: list[str]) -> Path:
    """Build a program for the first of the targets for which it can be; for the last, also dynamically linked."""
    for target in targets:
        if (built := _cargo(program, target, STATIC)) is not None:
            return built
    print(f"{program} is linked dynamically: a static C library is missing", file=sys.stderr)
    if (built := _cargo(program, targets[-1], ())) is None:
        raise SystemExit(f"error: {program} cannot be built")
    return built


def _cargo(program: str, target: str, flags: tuple[str, ...]) -> Path | None:
    """A program, built for a target with these flags of rustc; None where cargo failed, which has said why."""
    environment = dict(os.environ)
    given = environment.pop("CARGO_ENCODED_RUSTFLAGS", None)
    given_flags = environment.pop("RUSTFLAGS", "").split() if given is None else given.split("\x1f")
    environment["CARGO_ENCODED_RUSTFLAGS"] = "\x1f".join([*filter(None, given_flags), *flags])
    # With a target named, the flags are the programs' alone, and not those of what runs while they are built.
    options = ["--quiet", "--locked", "--profile", "init", "--target", target, "--package", _PACKAGES[program]]
    command = ["cargo", "build", *options, "--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        return None
    messages = map(json.loads, done.stdout.splitlines())
    return next(Path(message["executable"]) for message in messages if message.get("executable"))


def _host() -> str:
    """What rustc builds for by itself."""
    told = subprocess.run(["rustc", "-vV"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return next(line.removeprefix("host: ") for line in told.splitlines() if line.startswith("host: "))


def _has_library(target: str) -> bool:
    """Whether Rust's library for a target is here."""
    told = subprocess.run(
        ["rustc", "--print", "target-libdir", "--target", target], stdout=subprocess.PIPE, check=False, text=True
    )
    return told.returncode == 0 and any(Path(told.stdout.strip()).glob("libstd-*"))


def _add(wheel: Path, programs: Mapping[str, Path]) -> None:
    """Add programs to a wheel, by their names in it, and to its list of files."""
    new = wheel.with_suffix(".new")
    listed = b""
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as whole:
        for name, program in programs.items():
            content = program.read_bytes()
            info = zipfile.ZipInfo(name)
            info.external_attr = _PROGRAM_MODE
            whole.writestr(info, content, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            listed += f"{name},sha256={digest},{len(content)}\n".encode()
        for entry in old.infolist():
            data = old.read(entry)
            if ".data/scripts/" in entry.filename:
                # A source distribution has no modes.
                entry.external_attr = _PROGRAM_MODE
            if entry.filename.endswith(".dist-info/RECORD"):
                data = listed + data
            whole.writestr(entry, data, zipfile.ZIP_DEFLATED)
    new.replace(wheel)
