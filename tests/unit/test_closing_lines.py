"""What is said of tests that do not run: in CI they fail; elsewhere the runner's last lines count them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tests import conftest, probe
from tests.parity import engine

if TYPE_CHECKING:
    from collections.abc import Iterator


class Item:
    """A test that needs a Docker Engine."""

    def iter_markers(self, name: str) -> Iterator[pytest.Mark]:
        assert name == "needs"
        yield pytest.mark.needs("docker-engine").mark


@pytest.fixture
def _without_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "release", lambda: "not unpacked: tools/docker-engine")
    monkeypatch.setattr(probe, "_is_debian_12", lambda: True)
    feature = probe._docker_engine()
    monkeypatch.setattr(probe, "features", lambda: {"docker-engine": feature})


def begin(monkeypatch: pytest.MonkeyPatch, *, in_ci: bool) -> None:
    monkeypatch.setattr(probe, "IN_CI", in_ci)
    conftest.pytest_runtest_setup(cast("pytest.Item", Item()))


@pytest.mark.usefixtures("_without_engine")
def test_in_ci_a_test_that_needs_an_engine_fails_where_none_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pytest.fail.Exception, match="not unpacked: tools/docker-engine"):
        begin(monkeypatch, in_ci=True)


@pytest.mark.usefixtures("_without_engine")
def test_elsewhere_the_last_lines_count_it_with_what_unpacks_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pytest.skip.Exception) as caught:
        begin(monkeypatch, in_ci=False)
    others = [("test_x.py", 3, "Skipped: no bash"), *[("test_y.py", 7, f"Skipped: {caught.value}")] * 2]
    lines: list[str] = []
    reporter = SimpleNamespace(
        getreports=lambda kind: [SimpleNamespace(longrepr=one) for one in others] if kind == "skipped" else [],
        write_line=lines.append,
    )
    conftest.pytest_terminal_summary(cast("pytest.TerminalReporter", reporter))
    assert lines[:2] == [
        f"not run: 2: needs docker-engine: release {engine.RELEASE}, that of Debian {engine.SUITE}; here: "
        "not unpacked: tools/docker-engine",
        "not run: 1: no bash",
    ]
