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

import macvfast.__main__
from docs import application, generate
from macvfast.cli import main
from macvfast.cli.commands import COMMANDS, every_command
from tests.unit.cli_bed import typed

SHOWN = ["", *application.groups(), *application.commands()]

PROGRAM = """
import sys
before = set(sys.modules)
from macvfast.cli.app import run

class Host:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def networks(self): return iter(())
    pools = sandboxes = networks
    endpoints = None

status = run({words}, lambda state_dir, make: Host())
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
    assert any(source.endswith("cli/app.py") for source in sources)
    assert [source for source in sources if not Path(importlib.util.cache_from_source(source)).exists()] == []


@pytest.mark.parametrize("words", [("network", "ls"), ("network", "ls", "-q"), ("ps", "-a")])
def test_a_list_loads_what_reads_the_line_and_its_own_commands_only(words: tuple[str, ...]) -> None:
    part = {"network": {"network", "show.networks"}, "ps": {"sandbox", "show.sandboxes"}}[words[0]]
    reading = {"app", "call", "commands", "filters", "interrupts", "line", "parameters", "usage"}
    showing = {"show", "show.lists", "show.output", "show.tables", "show.text"}
    loaded = {name for name in loaded_by(*words) if name.split(".")[0] == "macvfast"}
    assert {name for name in loaded if not name.startswith("macvfast.errors.")} == {
        "macvfast",
        "macvfast.cli",
        "macvfast.errors",
        *(f"macvfast.cli.{name}" for name in reading | showing | part),
    }


def test_a_list_loads_nothing_that_takes_long_besides_typer() -> None:
    of_typer = {
        name.split(".")[0]
        for name in subprocess.run(
            [sys.executable, "-I", "-c", "import sys, typer; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split()
    }
    heavy = {"asyncio", "msgspec", "pydantic", "pyroute2", "rich", "argparse", "dataclasses", "json", "shlex"}
    loaded = {name.split(".")[0] for name in loaded_by("network", "ls")}
    assert loaded & heavy == set()
    assert "typer" in loaded
    # Typer's own parsing must not load more than its import has.
    assert {name for name in loaded - of_typer if not name.startswith("_")} == {"macvfast"}


@pytest.mark.parametrize("path", SHOWN)
def test_help_fits_80_columns_and_begins_with_the_usage(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = typed(f"{path} --help")
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"Usage: {f'macvfast {path}'.rstrip()} [OPTIONS]")
    assert max(map(len, said.out.splitlines())) <= 80
    assert "\b" not in said.out
    if path not in ("run", "create"):
        # There it is the host name, as in Docker.
        assert typed(f"{path} -h") == said


def test_help_fits_a_narrow_terminal_but_for_its_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    paragraphs = typed("network rm --help").out.partition("Example:")[0]
    assert max(map(len, paragraphs.splitlines())) <= 40


@pytest.mark.parametrize("columns", ["40", "80"])
def test_a_group_shows_the_whole_first_sentence_of_each_command(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for command in every_command():
        sentence = (command.function.__doc__ or "").partition("\n\n")[0]
        group = command.path.rpartition(" ")[0]
        assert " ".join(sentence.split()) in " ".join(typed(f"{group} --help").out.split())


@pytest.mark.parametrize("command", every_command(), ids=[command.path for command in every_command()])
def test_every_command_shows_an_example_that_it_takes(command: Any) -> None:
    said = typed(f"{command.path} --help").out
    assert f"Example:\n\n    {command.example.splitlines()[0]}" in said
    for line in command.example.replace("\\\n", "").splitlines():
        name, *words = line.split()
        assert name == "macvfast"
        # The host answers that nothing is there, or does it; the words themselves are understood.
        assert typed(words).status != 2
        assert "--help` shows the usage" not in typed(words).err


def test_every_option_is_explained() -> None:
    for path, command in application.commands().items():
        said = typed(f"{path} --help").out
        for option in application.options_of(command):
            assert option.help
            assert all(name in said for name in application.spellings_of(option))


def test_every_command_is_declared_in_the_module_that_the_table_names() -> None:
    for command in every_command():
        assert command.function.__module__ == f"macvfast.cli.{COMMANDS[command.path]}"
    assert {command.path for command in every_command()} == set(application.commands())


def test_the_generated_page_shows_usage_options_and_example() -> None:
    page = generate.cli_page()
    assert "```\nmacvfast network connect [OPTIONS] NETWORK SANDBOX\n```" in page
    assert "```\nmacvfast run [OPTIONS] COMMAND [ARG...]\n```" in page
    assert "| `-o KEY=VALUE`, `--opt KEY=VALUE` | Option of the driver; may be repeated. |" in page
    assert "```\n  parent=LINK " in page or "```\nparent=LINK " in page
    assert "Example:\n\n```\nmacvfast network create -d macvlan \\\n    --subnet=172.16.86.0/24 \\\n" in page


def test_the_version_is_the_packages() -> None:
    assert typed("--version") == (0, f"macvfast {macvfast.__version__}\n", "")
    assert typed("network --version ls") == typed("--version")
    assert typed("--version=false ps") == typed("ps")


def test_main_returns_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["bogus"]) == 2
    assert capsys.readouterr().err.startswith("error: `bogus` is not a command of `macvfast`\n")


def test_ctrl_c_while_the_command_is_loaded_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of Python's own code wraps it, as in the making of a class."""

    class Loading(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            if name != "run":
                raise AttributeError(name)
            raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setitem(sys.modules, "macvfast.cli.app", Loading("macvfast.cli.app"))
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
    script = macvfast.__main__.__file__

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
