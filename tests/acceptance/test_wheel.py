"""The wheel holds all that belongs to macvfast and nothing else, and what it installs works without the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support

if TYPE_CHECKING:
    from tests.netns import Lan

# The native half may have to be built anew, which takes a minute.
pytestmark = [pytest.mark.needs("git", "make"), pytest.mark.timeout(600)]

CHECKOUT = Path(__file__).parents[2]
BUILT = {"macvfast/_core.abi3.so", "macvfast/macvfast-init"}
COMMAND = "scripts/macvfast"


def tracked(directory: str) -> dict[str, bytes]:
    """The files below a directory of the checkout that git knows, with their contents."""
    said = subprocess.run(["git", "ls-files", "-z", directory], cwd=CHECKOUT, capture_output=True, check=True).stdout
    names = [name for name in said.decode().split("\0") if name]
    return {name.removeprefix(f"{directory}/"): (CHECKOUT / name).read_bytes() for name in names}


def files_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir() or path.is_symlink()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that `make wheel` has built, from what has been fetched before."""
    directory = tmp_path_factory.mktemp("wheel")
    (directory / "of-another-program.whl").touch()
    environment = {**os.environ, "CARGO_NET_OFFLINE": "true", "PIP_NO_INDEX": "1"}
    # How a make that runs these tests was called is not for this one.
    environment = {name: value for name, value in environment.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    for _ in range(2):
        subprocess.run(["make", "wheel", f"DIST={directory}"], cwd=CHECKOUT, env=environment, check=True)
    (built,) = directory.glob("macvfast-*.whl")
    assert files_below(directory) == {built.name, "of-another-program.whl"}
    return built


def test_the_wheel_holds_what_git_knows_and_what_was_built_and_nothing_else(wheel: Path) -> None:
    """Catches a new package that is not taken along, and what lies about in the tree that is."""
    with zipfile.ZipFile(wheel) as whole:
        assert whole.testzip() is None
        content = {name: whole.read(name) for name in whole.namelist()}
        executable = {info.filename for info in whole.infolist() if info.external_attr >> 16 & 0o777 == 0o755}
    assert len(content) == len(whole.infolist())
    sources, data = tracked("python"), tracked("macvfast.data")
    assert {name for name in content if name.startswith("macvfast/")} == {*sources, *BUILT}
    (prefix,) = {name.removesuffix(COMMAND) for name in content if name.endswith(f".data/{COMMAND}")}
    assert {name for name in content if name.startswith(prefix)} == {prefix + name for name in (*data, COMMAND)}
    expected = sources | {prefix + name: there for name, there in data.items()}
    assert [name for name, there in expected.items() if content[name] != there] == []
    assert all(content[name].startswith(b"\x7fELF") for name in (*BUILT, prefix + COMMAND))
    assert executable >= {"macvfast/macvfast-init", prefix + COMMAND}
    others = {name for name in content if not name.startswith(("macvfast/", prefix))}
    assert all(re.fullmatch(r"macvfast-[0-9.]+\.dist-info/.+", name) for name in others), others


@pytest.mark.needs("macvlan", "ping")
def test_what_the_wheel_installs_works_without_the_checkout_and_an_uninstall_leaves_nothing(
    lan: Lan, wheel: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin/python"
    # What it depends on is this environment's. Its .pth files do not count there, so that the checkout is not found.
    site = next((venv / "lib").glob("python3*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    before = files_below(venv)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", wheel], check=True)
    for name, content in tracked("macvfast.data/data").items():
        assert (venv / name).read_bytes() == content, name

    def typed(*words: str) -> str:
        return lan.host.run("env", "--chdir", tmp_path, "-u", "PYTHONPATH", venv / "bin/macvfast", *words)

    assert wheel.name.startswith(f"macvfast-{typed('--version').split()[-1]}-")
    assert "/venv/" in lan.host.run(python, "-c", "import macvfast._core as core; print(core.__file__)")
    typed("network", "create", *support.PUB_NET, "pub_net")
    assert "pub_net" in typed("network", "ls")
    typed("run", "-d", "--net=pub_net", "--name=web", "sleep", "1000")
    programs = {Path(f"/proc/{pid}/exe").readlink() for pid in support.programs(lan)}
    assert programs == {site / "macvfast/macvfast-init"}
    assert typed("run", "--rm", "--net=pub_net", "ping", "-c1", "-W1", "172.16.86.1")
    typed("rm", "-f", "web")
    # Where no Python is beside the command, as `pip install --user` has it, a script there tells which it is.
    (tmp_path / "local").mkdir()
    for name in ("macvfast", "macvfast-python"):
        shutil.copy(venv / "bin" / name, tmp_path / "local" / name)
    assert lan.host.run("env", "-u", "PYTHONPATH", tmp_path / "local/macvfast", "network", "ls") == typed(
        "network", "ls"
    )
    subprocess.run([*pip, "uninstall", "--yes", "macvfast"], check=True)
    assert files_below(venv) == before
