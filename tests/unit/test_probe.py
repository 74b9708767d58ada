"""What the probe says of a machine that lacks something."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import probe
from tests.parity import engine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("lacking", probe.CNI_PLUGINS)
def test_a_plugin_that_is_missing_among_others_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lacking: str
) -> None:
    monkeypatch.setattr(probe, "CNI_DIRECTORY", tmp_path)
    for name in probe.CNI_PLUGINS:
        (tmp_path / name).touch(0o755)
    assert probe._cni_plugins().present
    (tmp_path / lacking).unlink()
    feature = probe._cni_plugins()
    assert (feature.present, feature.expected) == (False, True)
    assert feature.detail == f"Debian package containernetworking-plugins, for {lacking}"


def test_a_machine_without_python_of_its_system_reads_no_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", run)
    feature = probe._yaml()
    assert (feature.present, feature.detail) == (False, "Debian package python3-yaml")


@pytest.mark.skipif(engine.ROOT is not None, reason="it is the Engine of a root of its own")
@pytest.mark.parametrize("system", [{"ID": "debian", "VERSION_ID": "12"}, {"ID": "debian", "VERSION_ID": "13"},
                                    {"ID": "debian"}, {"ID": "ubuntu", "VERSION_ID": "12"}])  # fmt: skip
def test_of_another_system_the_engine_of_debian_12_is_not_expected(
    monkeypatch: pytest.MonkeyPatch, system: dict[str, str]
) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: system)
    monkeypatch.setattr(engine, "release", lambda: "Docker version 26.1.5+dfsg1, build a72d7cd")
    feature = probe._docker_engine()
    assert not feature.present
    assert feature.expected == (system == {"ID": "debian", "VERSION_ID": "12"})
    assert feature.detail == "release 20.10, that of Debian bookworm; here: Docker version 26.1.5+dfsg1, build a72d7cd"
