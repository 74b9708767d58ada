"""The generator of docs/errors.md and docs/cli.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer

import macvfast
from docs import application, generate, manual, reference

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def sample_app() -> typer.Typer:
    app = typer.Typer(help="Networks for a host.", add_completion=False)
    network = typer.Typer(help="Make and remove networks.")
    app.add_typer(network, name="network")

    @network.command(epilog="Example:\n\n  $ macvfast network create lab\n  3f2a")
    def create(
        subnets: list[str] = typer.Option([], "--subnet", metavar="CIDR", help="IPv4|IPv6."),  # noqa: B008
        internal: bool = typer.Option(False, "--internal", help="No default route."),
    ) -> None:
        """Make a network."""

    @app.command(hidden=True)
    def secret() -> None:
        """Not for the page."""

    return app


def test_the_page_has_every_command_with_usage_options_and_example() -> None:
    page = generate.cli_page(sample_app())
    assert "### macvfast network\n" in page
    assert "#### macvfast network create\n\n```\nmacvfast network create [OPTIONS]\n```\n\nMake a network.\n" in page
    assert "| `--subnet CIDR` | IPv4\\|IPv6. |" in page
    assert "| `--internal` | No default route. |" in page
    assert "Example:\n\n```\n$ macvfast network create lab\n3f2a\n```\n" in page


def test_hidden_commands_are_left_out() -> None:
    assert "secret" not in generate.cli_page(sample_app())


def test_help_without_examples_stays_text() -> None:
    assert generate.as_markdown("One line.\n\nAnother\nparagraph.") == ["One line.", "", "Another", "paragraph.", ""]
    assert generate.as_markdown(None) == []


def test_a_stale_page_is_named_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    monkeypatch.setattr(generate, "DOCS", docs)
    monkeypatch.setattr(generate, "SHARE", tmp_path / "share")
    monkeypatch.setattr(generate, "cli_page", lambda: "cli")
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (docs / "cli.md").write_text("old\n", encoding="utf-8")
    (tmp_path / "share/man/man1/macvfast-old.1").write_text("gone from the table\n", encoding="utf-8")
    assert generate.main(["--check"]) == 1
    said = "error: not current: docs/cli.md, share/man/man1/macvfast-old.1; type: make docs\n"
    assert capsys.readouterr().err == said
    assert (docs / "cli.md").read_text(encoding="utf-8") == "old\n"
    assert generate.main([]) == generate.main(["--check"]) == 0


def test_every_command_and_group_has_a_man_page_that_names_all_its_options() -> None:
    pages = manual.pages()
    for path, command in application.commands().items():
        page = pages[f"macvfast-{path.replace(' ', '-')}.1"]
        for option in application.options_of(command):
            assert all(f"\\fB{manual.escaped(name)}\\fR" in page for name in application.spellings_of(option)), path
        assert f"\n{manual.escaped(command.declared.example.splitlines()[0])}\n" in page
    assert {f"macvfast-{path.replace(' ', '-')}.1" for path in application.groups()} < set(pages)
    assert pages["macvfast-network-list.1"] == ".so man1/macvfast-network-ls.1\n"


def test_roff_takes_nothing_of_a_text_for_its_own() -> None:
    assert manual.escaped(".SH -o 'a\\b'") == "\\&.SH \\-o 'a\\eb'"
    assert manual.escaped("'x") == "\\&'x"
    for page in manual.pages().values():
        requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
        assert requests <= {'.\\"', ".TH", ".SH", ".B", ".I", ".TP", ".PP", ".nf", ".fi", ".so"}


def test_the_page_on_python_has_every_public_name_and_method_and_every_example() -> None:
    page = reference.page()
    for name in {*macvfast.__all__} - {"__version__"}:
        assert f"### {name}\n" in page
    methods = [
        name for name in dir(macvfast.Host) if not name.startswith("_") and callable(getattr(macvfast.Host, name))
    ]
    assert len(methods) > 30
    assert [name for name in methods if f"#### Host.{name}\n" not in page] == []
    assert {f"{name}.py" for name in (*reference.ORDER, "__init__")} == {
        one.name for one in reference.EXAMPLES.glob("*.py")
    }


def test_each_line_of_what_a_docstring_says_is_raised_is_an_item_of_a_list() -> None:
    """Catches names that run on in one paragraph, or stand behind the text of another."""
    text = """Effect.

        Raises:
            NameInvalid, MacTaken
            UndoFailed: it still exists, and says
                why.
            Also as `run`.
        """
    assert reference.as_markdown(text)[4:] == [
        "- `NameInvalid, MacTaken`", "- `UndoFailed`: it still exists, and says", "  why.", "- Also as `run`.",
    ]  # fmt: skip
    raised = re.findall(r"\*\*Raises.*?\*\*\n\n(.*?)\n\n", reference.page(), re.DOTALL)
    assert len(raised) > 8
    for line in "\n".join(raised).splitlines():
        assert line.startswith(("- ", "  ")), line


def test_a_docstring_becomes_lists_of_what_it_explains() -> None:
    text = """Effect.

        Args:
            one: what it is,
                and more.
            two, three: others.
        """
    assert reference.as_markdown(text) == [
        "Effect.", "", "**Args:**", "", "- `one`: what it is,", "  and more.", "- `two, three`: others.",
    ]  # fmt: skip
