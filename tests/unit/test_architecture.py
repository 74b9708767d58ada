"""ARCHITECTURE.md names what is in the tree: files, functions, and the layers that import-linter enforces."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python/macvfast"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
FILES = sorted({one for one in re.findall(r"`([\w./-]+)`", PAGE) if one.endswith((".py", ".rs", "/"))})
CONTRACTS: dict[str, list[str]] = {
    contract["containers"][0].removeprefix("macvfast").removeprefix("."): contract["layers"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    if contract["type"] == "layers"
}
LAYERS = {
    container: {module for layer in layers for module in layer.split(" | ")} for container, layers in CONTRACTS.items()
}


def drawn() -> list[list[str]]:
    """The names of each line of the picture, without what is said of them."""
    picture = PAGE.partition("```\n")[2].partition("```")[0]
    return [
        found[1].split(" · ")
        for line in picture.splitlines()
        if (found := re.match(r"[ │]*(\w+(?: · \w+)*)(?: {2}|$)", line))
    ]


def named(file: str) -> list[Path]:
    """What a name on the page can mean: a path from the top or from the package, or a mere name, wherever it is."""
    if "/" in file:
        return [path for path in (ROOT / file, PACKAGE / file) if path.exists()]
    if (PACKAGE / file).exists():
        return [PACKAGE / file]
    return [path for top in (PACKAGE, ROOT / "rust") for path in top.rglob(file)]


def defined(file: Path) -> set[str]:
    """The functions and classes of a module, and `Class.method`."""
    found = set()
    for one in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(one, ast.FunctionDef | ast.ClassDef):
            found.add(one.name)
        if isinstance(one, ast.ClassDef):
            found |= {f"{one.name}.{method.name}" for method in one.body if isinstance(method, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("file", FILES)
def test_each_file_that_the_page_names_is_there_and_no_other_has_that_name(file: str) -> None:
    assert len(named(file)) == 1


def test_each_function_that_the_page_names_is_in_the_file_that_it_names() -> None:
    text = re.sub(r"\s+", " ", PAGE)
    pairs = re.findall(r"`(\w+(?:\.\w+)?)` (?:in|of) `([\w/]+\.py)`", text)
    assert len(pairs) > 2
    assert [(name, file) for name, file in pairs if name not in defined(named(file)[0])] == []


def test_each_method_of_the_host_that_the_page_names_is_one() -> None:
    names = set(re.findall(r"`(Host\.\w+)`", PAGE))
    assert names
    methods = {one.rpartition(".")[2] for file in (PACKAGE / "host").glob("*.py") for one in defined(file)}
    assert {name.removeprefix("Host.") for name in names} <= methods


@pytest.mark.parametrize("container", ["", "engine"])
def test_the_picture_has_each_layer_that_is_enforced(container: str) -> None:
    assert LAYERS[container] - {"__main__"} <= {name for line in drawn() for name in line}


def test_the_picture_has_the_packages_in_the_order_that_is_enforced() -> None:
    """Catches a layer that is drawn above what uses it, or beside it."""
    layers = [{*layer.split(" | ")} for layer in CONTRACTS[""] if layer != "__main__"]
    assert [line for line in map(set, drawn()) if line in layers] == layers
