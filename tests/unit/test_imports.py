"""What `import macvfast` costs and gives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import macvfast

HEAVY = ["asyncio", "ipaddress", "msgspec", "pyroute2", "rich", "sqlite3", "subprocess", "typer", "macvfast._core"]


def loaded_by(program: str) -> set[str]:
    """The modules that a program has loaded at its end, in an interpreter of its own."""
    text = f"{program}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by("import macvfast")
    assert loaded.isdisjoint(HEAVY)
    assert {name for name in loaded if name.startswith("macvfast")} == {"macvfast"}


@pytest.mark.parametrize(
    "program", ["from macvfast import Host", "import macvfast; macvfast.Pool", "from macvfast import *"]
)
def test_no_name_of_the_package_loads_a_library_of_the_command_line(program: str) -> None:
    assert loaded_by(program).isdisjoint({"asyncio", "msgspec", "pyroute2", "rich", "typer"})


def test_what_a_list_of_networks_needs_loads_no_cryptography() -> None:
    """OpenSSL takes some 4 ms of each command that opens the state."""
    program = "import macvfast.host, macvfast.cli.network, macvfast.engine.pool_usage, macvfast.kernel.look"
    assert loaded_by(program).isdisjoint({"_hashlib", "secrets"})


def test_a_name_is_loaded_when_it_is_first_used() -> None:
    loaded = loaded_by("import macvfast\nmacvfast.Network")
    assert "macvfast.model" in loaded
    assert loaded.isdisjoint({"sqlite3", "macvfast.host", "macvfast._core"})


def test_all_that_is_exported_is_there_and_all_that_is_there_is_exported() -> None:
    assert macvfast.__all__ == sorted(set(macvfast.__all__), key=lambda name: (name.startswith("_"), name))
    homes = {name: module for module, names in macvfast._HOMES.items() for name in names}
    assert {*homes, "__version__"} == set(macvfast.__all__)
    for name in macvfast.__all__:
        assert getattr(macvfast, name) is not None
    for name, module in homes.items():
        assert getattr(macvfast, name) is getattr(sys.modules[f"macvfast.{module}"], name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Hosts"):
        macvfast.Hosts  # noqa: B018
    assert not hasattr(macvfast, "_core_of_nothing")


def test_no_word_of_sql_stands_outside_of_records() -> None:
    """Catches a condition that the engine writes itself: who changes a table would have to look everywhere."""
    package = Path(macvfast.__file__).parent
    sql = re.compile(r"\.execute(many)?\(|\bPRAGMA\b|\bSELECT\b|\bINSERT\b|\bATTACH\b|\bBEGIN\b|\b\w+ = \?")
    found = {
        str(file.relative_to(package)): sql.findall(text)
        for file in package.rglob("*.py")
        if "records" not in file.parts and sql.search(text := file.read_text(encoding="utf-8"))
    }
    assert found == {}
