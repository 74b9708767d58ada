"""restore, check, gc and service: what is asked of the host, what is printed, and the exit status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import KernelRefused, NamespaceHeld
from macvfast.outcomes import Difference, Freed, Plan, Step
from tests.unit.cli_bed import FakeHost, endpoint, network, sandbox, typed

if TYPE_CHECKING:
    from pathlib import Path

GONE = Difference(kind="namespace-missing", sandbox="web", found="its namespace is gone")
MISSING = Difference(
    kind="parent-missing", network="lab", found="its parent eth9 is missing", obstacle="link eth9 is not there",
    waits=True,
)  # fmt: skip
MADE = Step(mends=GONE, action="make its namespace")
FAILED = Step(mends=GONE, action="make its namespace", error=KernelRefused("make it", 12))


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("restore", (False, None)),
        ("restore --dry-run", (True, None)),
        ("restore --wait", (False, 60.0)),
        ("restore --wait=5", (False, 5.0)),
        ("restore --wait=0 --dry-run", (True, 0.0)),
    ],
)
def test_restore_waits_only_where_it_is_told_to(line: str, asked: tuple[bool, float | None]) -> None:
    host = FakeHost()
    assert typed(line, host) == (0, "", "")
    assert host.calls[1] == ("restore", *asked)


@pytest.mark.parametrize("value", ["-1", "soon", "1.5", "²"])
def test_a_wait_that_is_no_number_of_seconds_is_a_usage_error(value: str) -> None:
    host = FakeHost()
    said = typed(["restore", f"--wait={value}"], host)
    assert said.status == 2
    assert "number of seconds" in said.err
    assert "restore" not in host.names()


def test_a_word_after_wait_is_not_its_value() -> None:
    assert typed("restore --wait 5").status == 2


def test_restore_prints_what_it_did_and_names_what_remains() -> None:
    host = FakeHost()
    host.plan = Plan(steps=(MADE,), remaining=(MISSING,))
    said = typed("restore", host)
    assert said.status == 3
    assert said.out == "sandbox web: make its namespace\n"
    assert "network lab: its parent eth9 is missing (link eth9 is not there)" in said.err
    assert "run `macvfast restore` again" in said.err


def test_restore_tells_what_failed_as_an_error_and_ends_with_3() -> None:
    host = FakeHost()
    host.plan = Plan(steps=(MADE, FAILED))
    said = typed("restore", host)
    assert said.status == 3
    assert said.out == "sandbox web: make its namespace\n"
    assert said.err.startswith(f"error: not restored: {FAILED}\n  caused by: could not make it\n")


def test_what_remains_of_a_large_host_is_counted_after_the_first_lines() -> None:
    host = FakeHost()
    host.plan = Plan(remaining=(MISSING,) * 4000)
    said = typed("restore", host)
    assert "4000 differences remain" in said.err
    assert "and 3980 more" in said.err
    assert len(said.err.splitlines()) < 30


def test_restore_as_json_has_an_object_for_each_step_and_each_difference_that_remains() -> None:
    host = FakeHost()
    host.plan = Plan(steps=(MADE, FAILED), remaining=(MISSING,))
    said = typed("restore --format json", host)
    made, failed, remains = (json.loads(line) for line in said.out.splitlines())
    assert (made["Status"], made["Action"], made["Sandbox"]) == ("done", "make its namespace", "web")
    assert (failed["Status"], failed["Error"]["Code"]) == ("failed", "kernel-refused")
    assert (remains["Status"], remains["Network"], remains["Kind"]) == ("remains", "lab", "parent-missing")
    assert json.loads(said.err)["error"]["code"] == "kernel-refused"
    host.plan = Plan(steps=(MADE,))
    assert json.loads(typed("restore --dry-run --format=json", host).out)["Status"] == "planned"


def test_check_prints_a_line_for_each_difference_and_ends_with_7() -> None:
    host = FakeHost()
    assert typed("check", host) == (0, "", "")
    host.plan = Plan(steps=(MADE,), remaining=(MISSING,))
    said = typed("check", host)
    assert said.status == 7
    assert said.out.splitlines() == [
        "sandbox web: its namespace is gone",
        "network lab: its parent eth9 is missing (link eth9 is not there)",
    ]
    assert said.err == ""
    assert [json.loads(line)["Kind"] for line in typed("check --format json", host).out.splitlines()] == [
        "namespace-missing",
        "parent-missing",
    ]


def test_what_a_stranger_named_is_shown_escaped() -> None:
    host = FakeHost()
    host.plan = Plan(remaining=(Difference(kind="link-other", sandbox="web", found="it is called \x1b[2J"),))
    said = typed("check", host)
    assert "\x1b" not in said.out
    assert "\\x1b[2J" in said.out


def test_another_format_is_refused() -> None:
    for command in ("restore", "check"):
        assert "text or json" in typed(f"{command} --format=table").err


def test_gc_prints_what_it_freed_and_tells_what_it_could_not() -> None:
    host = FakeHost()
    host.freed = [
        Freed(kind="sandbox", name="guest", reason="its namespace is gone"),
        Freed(kind="sandbox", name="job", reason="ended", error=NamespaceHeld("job", ["process 7 (sleep)"])),
    ]
    said = typed("gc", host)
    assert said.status == 3
    assert said.out == "sandbox guest: its namespace is gone\n"
    assert "process 7" in said.err


def test_gc_of_an_origin_says_how_much_goes_and_asks() -> None:
    host = FakeHost(
        networks=[network(), network("pod", id="dd" * 32, origin="podman")],
        sandboxes=[sandbox("box", origin="podman", endpoints=(endpoint(origin="podman"),) * 2), sandbox()],
    )
    host.freed = [Freed(kind="network", name="pod", reason="podman made it")]
    refused = typed("gc --origin podman", host, answer="n\n")
    assert (refused.status, refused.out) == (0, "")
    assert "all that podman made: 1 network(s), 1 sandbox(es), 2 endpoint(s)" in refused.err
    assert ("gc", "podman") not in host.calls
    assert typed("gc --origin podman", host, answer="y\n").out == "network pod: podman made it\n"
    host.calls.clear()
    assert typed("gc --origin=podman -f", host).err == ""
    assert ("gc", "podman") in host.calls
    nobody = typed("gc --origin podman", host)
    assert nobody.status == 2
    assert "hint: macvfast gc --origin podman -f" in nobody.err


def test_gc_of_what_is_no_engine_is_refused_with_those_that_are() -> None:
    host = FakeHost()
    said = typed("gc --origin lxc -f", host)
    assert said.status == 2
    assert "it is one of cni, podman, docker" in said.err
    assert host.calls == []


def test_the_service_is_installed_with_its_wait_and_prints_its_files() -> None:
    host = FakeHost()
    said = typed("service install", host)
    assert said == (0, "/etc/macvfast/client.conf\n/etc/systemd/system/macvfast-restore.service\n", "")
    typed("service install --wait=120 --root=/mnt --now", host)
    assert [call[1:] for call in host.calls if call[0] != "open"] == [(60, None, False), (120, "/mnt", True)]


@pytest.mark.parametrize(
    ("words", "plugins"),
    [
        ("--podman", ("/usr/local/libexec/netavark/macvfast",)),
        ("--podman=/usr/lib/netavark", ("/usr/lib/netavark/macvfast",)),
        ("--cni --podman", ("/opt/cni/bin/macvfast", "/usr/local/libexec/netavark/macvfast")),
        ("--cni", ("/opt/cni/bin/macvfast",)),
        ("--cni=/srv/cni/", ("/srv/cni/macvfast",)),
        ("--cni-as macvlan,host-local", ("/opt/cni/bin/macvfast", "/opt/cni/bin/macvlan", "/opt/cni/bin/host-local")),
        ("--cni=/srv --cni-as=ipvlan --cni-as=ipvlan", ("/srv/macvfast", "/srv/ipvlan")),
    ],
)
def test_plugins_are_installed_in_a_directory_under_the_names_that_are_given(
    words: str, plugins: tuple[str, ...]
) -> None:
    host = FakeHost()
    assert typed(f"service install {words}", host).status == 0
    assert [call[4:] for call in host.calls if call[0] == "install_service"] == [plugins]


def test_a_plugin_has_no_name_whose_configuration_it_does_not_read() -> None:
    host = FakeHost()
    said = typed("service install --cni-as=macvlan,bridge", host)
    assert said.status == 2
    assert "option `--cni-as` cannot be `bridge`" in said.err
    assert host.calls == []


def test_podmans_plugin_is_in_a_directory_by_which_it_knows_its_caller() -> None:
    host = FakeHost()
    said = typed("service install --podman=/usr/local/bin", host)
    assert said.status == 2
    assert "such a directory is called netavark" in said.err
    assert host.calls == []


def test_the_service_is_uninstalled_without_a_look_at_the_state(tmp_path: Path) -> None:
    """One that is damaged is what it would run on at each boot."""
    host = FakeHost()
    said = typed(["service", "uninstall", f"--root={tmp_path}"], host)
    files = (
        "macvfast/client.conf",
        *(f"systemd/system/macvfast{end}" for end in ("-restore.service", ".socket", ".service")),
    )
    assert said == (0, "".join(f"{tmp_path}/etc/{file}\n" for file in files), "")
    assert host.calls == []
