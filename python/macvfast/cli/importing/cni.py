"""`network import cni`: the networks that configurations of CNI mean, made before a container is attached to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import argument, option
from macvfast.errors import ImportSourceInvalid, MacvfastError, escape
from macvfast.outcomes import Outcome, Outcomes
from macvfast.plugins.cni import networks
from macvfast.plugins.cni.conf import LONGEST, Conf
from macvfast.plugins.cni.refusals import Refused
from macvfast.plugins.fields import Fields, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from macvfast.plugins.cni.networks import Wanted

# What a runtime reads of its directory.
_ENDINGS = (".conf", ".conflist", ".json")

# The plugins whose configurations mean a network.
_PLUGINS = ("macvfast", "macvlan", "ipvlan")


@command(
    "network import cni",
    begins=True,
    details="""\
It reads configurations of the plugins macvlan, ipvlan and macvfast: one file, or all in a directory. It makes the
networks `cni-NAME` that they mean. Addresses that the plugin host-local has given to containers stay taken as long as
its files are there. Without this command, all of it is done with the first container that macvfast attaches.""",
    example="macvfast network import cni --dry-run /etc/cni/net.d",
)
def cni(
    call: Call,
    path: Annotated[str, argument("DIR|CONFLIST", "The configurations of a runtime.")],
    *,
    dry_run: Annotated[bool, option("--dry-run", "Only print what would be made.")] = False,
) -> int:
    """Make the networks of CNI's configurations, and keep the addresses that its plugin host-local has given."""
    wanted: list[Wanted] = []
    for name, one in _found(Path(path)):
        if isinstance(one, str):
            call.out.aside(f"{escape(name)}: not imported: {escape(one)}\n")
        else:
            wanted.append(one)
    return _show(call, wanted) if dry_run else _make(call, wanted)


def _show(call: Call, wanted: Sequence[Wanted]) -> int:
    """Show the networks, and why some could not be made."""
    outcomes: list[Outcome[str]] = []
    with call.host(dry_run=True, origin="cni") as host:
        for one in wanted:
            try:
                found = one.find(host)
                if not isinstance(found, str):
                    host.refuse_unready(found)
                outcomes.append(Outcome(networks.described(one), value=one.conf))
            except MacvfastError as error:
                outcomes.append(Outcome(one.conf, error=error))
    return call.report(Outcomes(tuple(outcomes)))


def _make(call: Call, wanted: Sequence[Wanted]) -> int:
    """Make the networks; their names."""
    outcomes: list[Outcome[str]] = []
    with call.host(origin="cni") as host:
        for one in wanted:
            try:
                outcomes.append(Outcome(one.ensure(host, ahead=True), value=one.conf))
            except MacvfastError as error:
                outcomes.append(Outcome(one.conf, error=error))
    return call.report(Outcomes(tuple(outcomes)))


def _found(path: Path) -> Iterator[tuple[str, Wanted | str]]:
    """The networks that configurations mean, or why there is none, each with what it is found by.

    Raises:
        ImportSourceInvalid: the file or directory that was named cannot be read. Of those in a directory, others can.
    """
    for file in _files(path):
        try:
            for said in _plugins(Fields(_parsed(file))):
                conf = Conf(said)
                if networks.is_meant(conf):
                    yield str(file), networks.read(conf).network
        except Refused as error:
            yield str(file), ": ".join(filter(None, (error.message, error.details)))
        except Unfit as error:
            yield str(file), str(error)
        except MacvfastError as error:
            if isinstance(error, ImportSourceInvalid) and file == path:
                raise
            yield str(file), error.line


def _files(path: Path) -> list[Path]:
    """The configurations in a directory, or one file."""
    try:
        return sorted(one for one in path.iterdir() if one.suffix in _ENDINGS) if path.is_dir() else [path]
    except OSError as error:
        raise _unreadable(str(path), error.strerror or str(error)) from None


def _parsed(file: Path) -> object:
    """What is in a file of JSON."""
    try:
        with file.open("rb") as opened:
            data = opened.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise _unreadable(str(file), f"it has more than {LONGEST} bytes")
        parsed: object = json.loads(data)
    except OSError as error:
        raise _unreadable(str(file), error.strerror or str(error)) from None
    except (ValueError, RecursionError):
        raise _unreadable(str(file), "it is not JSON") from None
    return parsed


def _unreadable(source: str, reason: str) -> ImportSourceInvalid:
    return ImportSourceInvalid(source, reason, hints=["`ls /etc/cni/net.d` lists the configurations of most runtimes"])


def _plugins(whole: Fields) -> Iterator[dict[str, object]]:
    """The configurations of ours in a file, each with what a runtime adds from the list that it is in."""
    plugins = whole.several("plugins")
    shared = {"cniVersion": whole.text("cniVersion"), "name": whole.text("name")}
    for one in plugins or [whole]:
        if one.text("type") in _PLUGINS:
            yield {**one.values(), **shared}
