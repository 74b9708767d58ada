"""The generator of docs/errors.md and docs/cli.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from docs import generate

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
    monkeypatch.setattr(generate, "DOCS", tmp_path)
    monkeypatch.setattr(generate, "cli_page", lambda: "cli")
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "cli.md").write_text("old\n", encoding="utf-8")
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "error: not current: docs/cli.md; type: make docs\n"
    assert (tmp_path / "cli.md").read_text(encoding="utf-8") == "old\n"
