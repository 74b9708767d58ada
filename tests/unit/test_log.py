"""The logger `macvfast`, as a program sees it that uses the library."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from macvfast.model import MadeParent, Route
from macvfast.options import kernel_attributes
from macvfast.plan import AddAddress, AddLink, AddRoute, EndpointPlan, SetOptions, SetUp, commands
from macvfast.system import log

if TYPE_CHECKING:
    import pytest


def test_records_reach_the_program_s_own_handlers_with_levels_and_values(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="macvfast"):
        log.batch("make links", 3, 1, 0.0)
        log.event("retry", sandboxes=2)
    levels = [(one.name, one.levelname, one.getMessage()) for one in caplog.records]
    assert levels == [("macvfast", "DEBUG", "batch"), ("macvfast", "INFO", "retry")]
    batch, retry = [getattr(one, "values") for one in caplog.records]  # noqa: B009 - mypy does not know it
    assert (batch["what"], batch["requests"], batch["refused"]) == ("make links", 3, 1)
    assert retry == {"sandboxes": 2}


def test_at_the_level_info_requests_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="macvfast"):
        log.batch("make links", 3, 1, 0.0)
        log.event("undo", sandboxes="a")
    assert [one.getMessage() for one in caplog.records] == ["undo"]


def said_by(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_it_writes_nothing_by_itself_and_does_not_load_logging() -> None:
    """Catches a handler on standard error, and a start that takes milliseconds longer."""
    program = "import sys; from macvfast.system import log; log.event('undo'); print('logging' in sys.modules)"
    assert said_by(program) == "False\n"
    shown = "import logging; from macvfast.system import log; log.event('undo'); one = logging.getLogger('macvfast'); "
    assert said_by(f"{shown}print(one.propagate, one.level, *map(type, one.handlers))") == (
        "True 0 <class 'logging.NullHandler'>\n"
    )


def test_a_program_that_logs_only_what_went_wrong_gets_nothing_twice() -> None:
    program = "import logging; from macvfast.system import log; logging.basicConfig(level='INFO'); log.event('undo')"
    assert said_by(program) == "INFO:macvfast:undo\n"


# The commands by which a change is shown; tests/acceptance/test_log.py types them.


def test_parents_are_shown_by_their_kind() -> None:
    made = MadeParent(link="eth0.50", kind="vlan", base="eth0", vid=50, ifindex=7, boot_id="")
    assert commands.create_parent(made) == "ip link add link eth0 name eth0.50 index 7 up type vlan id 50"
    made = MadeParent(link="dm-1", kind="dummy", base=None, vid=None, ifindex=8, boot_id="")
    assert commands.create_parent(made) == "ip link add name dm-1 index 8 up type dummy"
    assert commands.delete_parent("eth0.50") == "ip link delete eth0.50"
    assert commands.change_parent("eth0.50", None) == "ip link set eth0.50 up"
    assert commands.change_parent("eth0.50", 1400) == "ip link set eth0.50 mtu 1400"


def test_options_are_shown_in_the_words_of_ip() -> None:
    """Of a link that is made, and of one that is there."""
    options = (("bc_queue_len", "2500"), ("bclim", "-1"))
    link = AddLink(
        "macvlan", "bridge", None, "eth0", 9, 3, None, None, 5, up=True, attributes=kernel_attributes(options)
    )
    (made,) = commands.create_endpoint("/run/netns/web", "eth1", EndpointPlan(link, (), ()))
    assert made.endswith(" type macvlan mode bridge bcqueuelen 2500 bclim -1")
    (changed,) = commands.configure("/run/netns/web", "eth0", [SetOptions(9, options)])
    assert changed == "ip -n web link set eth0 type macvlan bcqueuelen 2500 bclim -1"


def test_a_pin_that_is_lost_is_shown_as_a_mount() -> None:
    assert commands.pin_netns("/proc/7/fd/5", "/run/netns/web") == (
        "touch /run/netns/web && mount --no-canonicalize --bind /proc/7/fd/5 /run/netns/web"
    )


def test_an_endpoint_is_shown_with_all_that_was_asked_for_of_it() -> None:
    link = AddLink("ipvlan", "l2", "private", "lan0", 9, 3, None, 1400, 5, up=False)
    far = AddRoute.of(9, Route.of("10.9.0.0/16", "172.16.86.9", metric=7, mtu=1300))
    steps = EndpointPlan(
        link, (("net/ipv6/conf/lan0/disable_ipv6", "1"),), (AddAddress(9, b"\n\0\0\1", 8), far, SetUp(9))
    )
    assert [*commands.create_endpoint("/run/netns/web", "eth1", steps)] == [
        "ip link add link eth1 name lan0 index 9 netns web mtu 1400 group 5 type ipvlan mode l2 private",
        "nsenter --net=/run/netns/web sysctl -qew net/ipv6/conf/lan0/disable_ipv6=1",
        "ip -n web address add 10.0.0.1/8 dev lan0",
        "ip -n web route add 10.9.0.0/16 via 172.16.86.9 dev lan0 metric 7 mtu 1300",
        "ip -n web link set lan0 up",
    ]


def test_what_a_shell_would_read_otherwise_is_quoted() -> None:
    """A link may be called `;reboot`, and a directory have a space."""
    assert commands.delete_link("/srv/my pins/web", ";reboot") == (
        "nsenter --net='/srv/my pins/web' ip link delete ';reboot'"
    )
    assert commands.delete_netns("/run/netns/web") == "ip netns delete web"


def test_a_change_is_shown_to_be_copied_and_not_made_up_for_nobody() -> None:
    program = (
        "from macvfast.system import log\n"
        "log.change(lambda: 1 / 0)\n"
        "log.start('text')\n"
        "log.change(lambda: ['ip link delete eth0'])"
    )
    assert said_by(program).partition(" ")[2] == "+ ip link delete eth0\n"
