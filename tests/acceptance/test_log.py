"""What is told on standard error to those who ask, and that others neither see nor pay for it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.acceptance import support
from tests.acceptance.support import check_error

if TYPE_CHECKING:
    from tests.netns import Lan

pytestmark = pytest.mark.needs("macvlan")


def test_each_batch_is_told_with_its_counts_and_time(lan: Lan) -> None:
    support.create_pub_net(lan)
    lan.host.environment["MACVFAST_LOG"] = "json"
    done = lan.attempt("scale", "pub_net", "web=3")
    assert done.returncode == 0
    told = [json.loads(line) for line in done.stderr.splitlines()]
    links = next(one for one in told if one.get("what") == "make and configure links")
    # A link, an address and a default route each.
    assert (links["event"], links["requests"], links["refused"]) == ("batch", 9, 0)
    assert links["ms"] > 0
    assert links["time"].endswith("Z")


def test_a_retry_and_an_undo_are_told(lan: Lan) -> None:
    """A stranger has the MAC of the first address; a MAC that was asked for and is taken cannot be replaced."""
    support.create_pub_net(lan)
    lan.run(
        *[
            "ip",
            "link",
            "add",
            "mv0",
            "link",
            "eth0",
            "address",
            "02:42:ac:10:56:02",
            "type",
            "macvlan",
            "mode",
            "bridge",
        ]
    )
    lan.run("ip", "link", "set", "mv0", "up")
    done = lan.attempt("--verbose", "create", "--net=pub_net", "--name=box")
    assert done.returncode == 0, done.stderr
    assert " retry what=make with other addresses sandboxes=1\n" in done.stderr
    done = lan.attempt("create", "--verbose", "--net=pub_net", "--name=other", "--mac-address=02:42:ac:10:56:02")
    assert done.returncode == 1
    assert " undo sandboxes=other\n" in done.stderr


def test_nothing_is_told_unasked_and_logging_is_not_loaded(lan: Lan) -> None:
    support.create_pub_net(lan)
    assert lan.attempt("create", "--net=pub_net").stderr == ""
    code = "import sys; from macvfast.cli import main; main(['network', 'ls']); print('logging' in sys.modules)"
    assert lan.host.run(sys.executable, "-c", code).splitlines()[-1] == "False"


def test_another_form_is_refused(lan: Lan) -> None:
    lan.host.environment["MACVFAST_LOG"] = "xml"
    assert "it is text or json" in check_error(lan.attempt("network", "ls"), 1)
