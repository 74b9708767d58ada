"""A sandbox and the command that is started in it: both, or neither."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from macvfast.errors import CommandNotFound, CommandNotStarted, NamespaceHeld, UndoFailed
from macvfast.outcomes import Outcome, Outcomes
from macvfast.requests import CommandRequest, EndpointRequest
from tests.unit.machine import Machine, make_networks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from macvfast.process.launch import Place

ON_LAN = [EndpointRequest(network="lan")]
NOT_STARTED = CommandNotStarted("sh", "Exec format error")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    make_networks(machine)
    return machine


def sh(*, detach: bool = True, auto_remove: bool = False) -> CommandRequest:
    return CommandRequest(argv=("sh",), detach=detach, auto_remove=auto_remove)


def refusing(error: BaseException) -> Callable[[CommandRequest, Place], None]:
    """What starts no command, as `launch` does: the lock is closed."""

    def launch(request: CommandRequest, place: Place) -> None:  # noqa: ARG001
        if place.lock is not None:
            os.close(place.lock)
        raise error

    return launch


def test_a_command_that_is_not_there_makes_no_sandbox(machine: Machine) -> None:
    before = machine.everything()
    with pytest.raises(CommandNotFound):
        machine.host.run(CommandRequest(argv=("no-such-command",), detach=True), "web", endpoints=ON_LAN)
    assert machine.everything() == before


@pytest.mark.parametrize("auto_remove", [False, True])
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("error", [NOT_STARTED, KeyboardInterrupt(), RuntimeError("odd")], ids=type)
def test_a_command_that_does_not_start_leaves_no_sandbox(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, error: BaseException, *, detach: bool, auto_remove: bool
) -> None:
    """Also where this process has closed its state by then, to become the keeper."""
    before = machine.everything()
    monkeypatch.setattr("macvfast.process.launch.launch", refusing(error))
    with pytest.raises(type(error)) as raised:
        machine.host.run(sh(detach=detach, auto_remove=auto_remove), "web", endpoints=ON_LAN)
    assert raised.value is error
    machine.restart()
    machine.mend()
    assert machine.everything() == before
    machine.assert_record_is_true()


def test_what_cannot_be_removed_again_is_told_beside_the_first_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = NamespaceHeld("web", ["process 17"])
    monkeypatch.setattr("macvfast.process.launch.launch", refusing(NOT_STARTED))
    refused: Outcomes[str] = Outcomes((Outcome("web", error=held),))
    monkeypatch.setattr("macvfast.engine.engine.Engine.remove_sandboxes", lambda *_, **__: refused)
    with pytest.raises(UndoFailed) as raised:
        machine.host.run(sh(), "web", endpoints=ON_LAN)
    assert raised.value.first is NOT_STARTED
    assert "`macvfast rm -f web` removes sandbox `web`, which remains" in raised.value.hints


@pytest.mark.parametrize("auto_remove", [False, True])
def test_the_command_starts_in_the_namespace_that_was_made_without_another_look_for_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, *, auto_remove: bool
) -> None:
    """Wrong: a pin that somebody replaced in between gets the command."""
    places: list[Place] = []

    def launch(request: CommandRequest, place: Place) -> None:  # noqa: ARG001
        places.append(place)
        assert [handle.fd for handle in machine.world.handles] == [place.namespace_fd]
        if place.lock is not None:
            os.close(place.lock)

    opened: list[object] = []
    monkeypatch.setattr("macvfast.process.launch.launch", launch)
    monkeypatch.setattr("macvfast.engine.commands.open_recorded", lambda *_: opened.append(_))
    made = machine.host.run(sh(auto_remove=auto_remove), "web", endpoints=ON_LAN)
    assert opened == []
    assert (made.name, made.command, made.auto_remove) == ("web", ("sh",), auto_remove)
    assert machine.host.sandbox("web") == made
    assert [place.name for place in places] == ["web"]
    assert places[0].lock is not None
    machine.assert_record_is_true()
