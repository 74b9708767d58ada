"""What every test can ask for: the probe table, `needs`, a test bed, and the certainty that nothing is left behind."""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests import netns, probe
from tests.acceptance.serving import told_by_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# In the environment: the commands of every bed are done by a server.
SERVED = "MACVFAST_TEST_SERVED"

# Random tests are as slow as the machine is busy. In CI they are the same each time: a failure is the change's.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=10_000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("MACVFAST_TEST_PROFILE", "ci" if probe.IN_CI else "here"))

# Of the tests asked for: how many are for this machine, and how many for the virtual one.
_places: collections.Counter[str] = collections.Counter()


def pytest_configure() -> None:
    """Ask the machine first, then leave its namespaces: nothing of the tests can reach them."""
    _reset_signals()
    machine = probe.features()
    if machine["root"].present and machine["netns"].present:
        netns.isolate()


def _reset_signals() -> None:
    """Take no signal as it was inherited: `nohup`, a shell's `&` and other programs have some ignored or blocked, and
    all that the tests start, and send signals to, would have them so.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # Python itself ignores the last two, and gives them back to what it starts.
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Name what this machine lacks: tests that need it do not run."""
    lacking = [feature.name for feature in probe.features().values() if not feature.present]
    return f"this machine lacks: {', '.join(lacking) or 'nothing'}"


def _needs(item: pytest.Item) -> list[str]:
    wanted = [name for mark in item.iter_markers("needs") for name in mark.args]
    if "lan" in getattr(item, "fixturenames", ()):
        wanted += ["root", "netns", "veth", "ip", "nsenter", "ping", "tcpdump"]
    return wanted


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests whose place this is: the machine itself, or the virtual one. What is left to that is noted for
    `tests/vm/suite.py`.
    """
    places: dict[bool, list[pytest.Item]] = {False: [], True: []}
    for item in items:
        places[not probe.OF_THE_VM.isdisjoint(_needs(item))].append(item)
    cache = config.pluginmanager.hasplugin("cacheprovider") and config.cache
    if cache and not probe.IN_VM:
        cache.set(probe.LEFT_TO_THE_VM, [item.nodeid for item in places[True]])
    _places.update(here=len(places[probe.IN_VM]), vm=len(places[True]))
    config.hook.pytest_deselected(items=places[not probe.IN_VM])
    items[:] = places[probe.IN_VM]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Having left all to the virtual machine is no failure."""
    if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and _places["vm"]:
        session.exitstatus = pytest.ExitCode.OK


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose machine lacks something; that fails where the machine could have it: in CI, and in the virtual
    machine.
    """
    for name in _needs(item):
        feature = probe.features()[name]
        if feature.present:
            continue
        if probe.IN_VM or (probe.IN_CI and feature.expected):
            pytest.fail(f"needs {name}, which every build machine can have: {feature.detail}", pytrace=False)
        pytest.skip(f"needs {name}: {feature.detail}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests did not run here, and why."""
    # Of a skip, pytest keeps file, line and reason.
    reasons = [one.longrepr[2].removeprefix("Skipped: ") for one in terminalreporter.getreports("skipped")]
    for reason, count in sorted(collections.Counter(reasons).items()):
        terminalreporter.write_line(f"not run: {count}: {reason}")
    if probe.IN_VM:
        terminalreporter.write_line(f"tests in the virtual machine, Linux {os.uname().release}: {_places['here']}")
    elif _places["vm"]:
        terminalreporter.write_line(f"left to the virtual machine: {_places['vm']}")


def _links() -> list[str]:
    said = subprocess.run(["ip", "-json", "link", "show"], capture_output=True, check=True).stdout
    return sorted(link["ifname"] for link in json.loads(said))


def _mounts() -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return sorted(line.split()[4] for line in table)


def _what_is_there() -> collections.Counter[tuple[str, str]]:
    """The links, pins and mounts, each by its kind and name."""
    mounts = (mount for mount in _mounts() if not mount.startswith("/sys"))
    return collections.Counter([
        *(("link", name) for name in _links()),
        *(("namespace", name) for name in os.listdir(netns.NETNS_DIR)),
        *(("mount", path) for path in mounts),
    ])  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """After the last test: no link, pin, mount or process that was not there before the first. A mount of others goes
    when they delete the directory that it is on.
    """
    if netns.SESSION_VARIABLE not in os.environ:
        yield
        return
    before = _what_is_there()
    yield
    left = netns.processes_of_this_run()
    netns.kill_all(lambda: list(netns.processes_of_this_run()))
    assert not left, f"processes outlived the tests that started them: {left}"
    assert not _what_is_there() - before


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[netns.Lan]:
    """A host with `eth0` (172.16.86.250/24), a router at its far end (172.16.86.1/24), and an empty state."""
    made = netns.Lan(tmp_path)
    try:
        if SERVED in os.environ:
            made.be_served()
        yield made
    finally:
        made.remove()


@pytest.fixture
def told(lan: netns.Lan) -> Iterator[netns.Lan]:
    """A bed of which only root's file says where everything is."""
    kept = lan.host.environment
    with told_by_file(lan):
        lan.host.environment = {}
        yield lan
        lan.host.environment = kept


@pytest.fixture(params=["with a server", "without"])
def either_way(request: pytest.FixtureRequest, told: netns.Lan) -> netns.Lan:
    """The same with a server that does requests, and without one."""
    if request.param == "with a server":
        if told.server is None:
            told.serve()
    elif told.server is not None:
        pytest.skip("the bed has a server")
    return told


@pytest.fixture
def foreign() -> Iterator[netns.Netns]:
    """A namespace that macvfast knows nothing of."""
    made = netns.Netns.make("foreign")
    try:
        yield made
    finally:
        made.remove()
