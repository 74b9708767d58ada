"""What the command loads, and what it says of itself."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import macvfast
from docs import generate
from macvfast.cli import commands, main
from macvfast.cli.app import app, help_text
from tests.unit.cli_bed import typed

CALLED = [command.path for command in commands.COMMANDS]
SHOWN = [(), *commands.GROUPS, *CALLED]

PROGRAM = """
import sys
before = set(sys.modules)
from macvfast.cli.dispatch import dispatch

class Host:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def networks(self): return iter(())
    sandboxes = networks

status = dispatch({words}, lambda state_dir, make: Host())
print(status, *sorted(set(sys.modules) - before), file=sys.stderr)
"""


def loaded_by(*words: str) -> set[str]:
    """The modules that a command loads, the host's own left out."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM.format(words=words)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    status, *modules = done.stderr.split()
    assert status == "0"
    return set(modules)


def test_what_a_list_loads_is_compiled_whatever_the_environment_says() -> None:
    """`make build` does it: without bytecode, a start takes twice as long."""
    ours = [name for name in sorted(loaded_by("ps")) if name.split(".")[0] == "macvfast"]
    sources = [spec.origin for spec in map(importlib.util.find_spec, ours) if spec is not None and spec.origin]
    assert any(source.endswith("cli/dispatch.py") for source in sources)
    assert [source for source in sources if not Path(importlib.util.cache_from_source(source)).exists()] == []


@pytest.mark.parametrize("words", [("network", "ls"), ("network", "ls", "-q"), ("ps", "-a")])
def test_a_list_loads_the_parser_the_table_of_commands_and_its_own_part_only(words: tuple[str, ...]) -> None:
    part, shown = {"network": ("network", "networks"), "ps": ("sandbox", "sandboxes")}[words[0]]
    loaded = {name for name in loaded_by(*words) if name.split(".")[0] == "macvfast"}
    assert {name for name in loaded if not name.startswith("macvfast.errors.")} == {
        "macvfast",
        "macvfast.cli",
        "macvfast.cli.arguments",
        "macvfast.cli.commands",
        "macvfast.cli.dispatch",
        "macvfast.cli.filters",
        "macvfast.cli.show",
        "macvfast.cli.show.lists",
        "macvfast.cli.show.output",
        "macvfast.cli.show.tables",
        "macvfast.cli.show.text",
        f"macvfast.cli.{part}",
        f"macvfast.cli.show.{shown}",
        "macvfast.cli.usage",
        "macvfast.errors",
    }


def test_a_list_loads_nothing_that_takes_long() -> None:
    heavy = {
        *("asyncio", "msgspec", "pyroute2", "rich", "typer", "click"),
        *("argparse", "dataclasses", "inspect", "json", "difflib", "shlex", "shutil", "subprocess", "traceback"),
    }
    assert {name.split(".")[0] for name in loaded_by("network", "ls")} & heavy == set()


@pytest.mark.parametrize("path", SHOWN, ids=[" ".join(path) or "macvfast" for path in SHOWN])
def test_help_fits_80_columns_and_begins_with_the_usage(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = typed([*path, "--help"])
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"Usage: {' '.join(('macvfast', *path))} [OPTIONS]")
    assert max(map(len, said.out.splitlines())) <= 80
    assert "\b" not in said.out
    if path not in (("run",), ("create",)):
        # There it is the host name, as in Docker.
        assert typed([*path, "-h"]) == said


@pytest.mark.parametrize("command", commands.COMMANDS, ids=[" ".join(command.path) for command in commands.COMMANDS])
def test_every_command_shows_an_example_that_it_takes(command: Any) -> None:
    said = help_text(command.path)
    assert f"Example:\n\n    {command.example.splitlines()[0]}" in said
    for line in command.example.replace("\\\n", "").splitlines():
        name, *words = line.split()
        assert name == "macvfast"
        # The host answers that nothing is there, or does it; the words themselves are understood.
        assert typed(words).status != 2
        assert "--help` shows the usage" not in typed(words).err


def test_every_option_is_explained() -> None:
    for command in commands.COMMANDS:
        said = help_text(command.path)
        for option in command.options:
            assert option.help
            assert all(name in said for name in (*option.names, option.off))


def test_the_typer_application_has_every_command_and_is_the_same_command() -> None:
    shown: Any = typer.main.get_command(app)

    def paths(group: Any, above: tuple[str, ...]) -> set[tuple[str, ...]]:
        found: set[tuple[str, ...]] = set()
        for name, one in group.commands.items():
            path = (*above, name)
            found |= paths(one, path) if hasattr(one, "commands") else {path}
        return found

    assert paths(shown, ()) == set(CALLED)
    for words in ("network create a b", "run", "--version", "network --help", "bogus"):
        ran = CliRunner().invoke(app, words.split())
        assert (ran.exit_code, ran.stdout, ran.stderr) == typed(words)


def test_the_generated_page_shows_usage_options_and_example() -> None:
    page = generate.cli_page()
    assert "```\nmacvfast network connect [OPTIONS] NETWORK SANDBOX\n```" in page
    assert "```\nmacvfast run [OPTIONS] COMMAND [ARG...]\n```" in page
    assert "| `-o KEY=VALUE`, `--opt KEY=VALUE` | An option of the driver; may be repeated. |" in page
    assert "```\n  parent=LINK " in page or "```\nparent=LINK " in page
    assert "Example:\n\n```\nmacvfast network create -d macvlan \\\n    --subnet=172.16.86.0/24 \\\n" in page


def test_the_version_is_the_packages() -> None:
    assert typed("--version") == (0, f"macvfast {macvfast.__version__}\n", "")


def test_main_returns_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["bogus"]) == 2
    assert capsys.readouterr().err.startswith("error: `bogus` is not a command of `macvfast`\n")


def test_ctrl_c_while_the_command_is_loaded_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of Python's own code wraps it, as in the making of a class."""

    class Loading(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            if name != "dispatch":
                raise AttributeError(name)
            raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setitem(sys.modules, "macvfast.cli.dispatch", Loading("macvfast.cli.dispatch"))
    assert main(["ps"]) == 130


INTERRUPTED_AT = """
import builtins, os, signal, sys
turn, script, sys.argv = int(sys.argv[1]), sys.argv[2], sys.argv[2:]
really, count = builtins.__import__, 0
def counted(*arguments, **others):
    global count
    count += 1
    if count == turn:
        os.kill(os.getpid(), signal.SIGINT)
    return really(*arguments, **others)
code = compile(open(script).read(), script, "exec")
builtins.__import__ = counted
try:
    exec(code, {"__name__": "__main__"})
finally:
    print(count, file=sys.stderr)
"""


def test_ctrl_c_ends_the_command_without_a_word_whatever_it_is_loading(tmp_path: Path) -> None:
    """From its first line on: Python's own handler would show where it is."""
    script = str(Path(sys.executable).with_name("macvfast"))

    def run(turn: int) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-c", INTERRUPTED_AT, str(turn), script, "--state-dir", str(tmp_path), "network", "ls"]
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)

    whole = run(0)
    assert whole.returncode == 0
    count = int(whole.stderr)
    assert count > 50
    # The first is that of the handler itself.
    for turn in range(2, count + 1, max(count // 25, 1)):
        done = run(turn)
        assert (done.returncode, done.stderr) == (-signal.SIGINT, ""), turn


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "macvfast", "bogus"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == typed("bogus").err
