"""What `service install` writes: systemd's units, enabled, without need of a running systemd, and the clients' file."""

from __future__ import annotations

import errno
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import OptionInvalid, PermissionNeeded, ServiceTaken, ServiceUnsafe, ServiceUnwritable
from macvfast.system import configured, durable, trusted, units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from macvfast.system.configured import Places

_UNITS = Path("etc/systemd/system")


def systemd_runs() -> bool:
    """Whether this machine was booted with it (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def install(places: Places, wait_s: int, root: str | None = None) -> list[Path]:
    """Write all files, replacing earlier ones of ours, and enable the units. They take effect at the next boot. Units
    are left out on a machine where systemd does not run. Gives the files.

    Args:
        places: what clients and units use.
        wait_s: how long the restore waits for parents, at most.
        root: the root directory of a system that is not running; None: this system.

    Raises:
        OptionInvalid: the path of a directory has a line break, which the clients' file cannot tell.
        ServiceTaken, ServiceUnsafe, ServiceUnwritable, PermissionNeeded
    """
    for name, path in places._asdict().items():
        if "\n" in path:
            raise OptionInvalid(name, path, "it has a line break")
    texts = {_client(root): units.client(places)}
    if root is not None or systemd_runs():
        texts |= {
            _unit(root, units.RESTORE): units.restore(places, wait_s),
            _unit(root, units.SOCKET): units.listening(places),
            _unit(root, units.SERVER): units.server(places),
        }
    for file in texts:
        _refuse_other(file)
    if root is None:
        _refuse_unsafe(list(texts), places)
    for file, text in texts.items():
        try:
            _make_directories(file.parent)
            # systemd warns of a unit that others cannot read, and obeys one that they can write.
            durable.replace(file, os.fsencode(text), 0o644)
            _enable(file)
        except OSError as error:
            raise _failed("install the service", file, error) from None
    return list(texts)


def uninstall(root: str | None = None) -> list[Path]:
    """Disable the units and delete all files; what is missing already is no matter. Gives the files.

    Raises:
        ServiceTaken, ServiceUnwritable, PermissionNeeded
    """
    paths = list(_files(root))
    for path in paths:
        _refuse_other(path)
    for path in paths:
        try:
            if (link := _link(path)) is not None:
                link.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _failed("uninstall the service", path, error) from None
    return paths


def installed() -> bool:
    """Whether this system has the unit of the server's socket."""
    return _unit(None, units.SOCKET).exists()


def _files(root: str | None) -> Iterator[Path]:
    yield _client(root)
    yield from (_unit(root, name) for name in (units.RESTORE, units.SOCKET, units.SERVER))


def _client(root: str | None) -> Path:
    return Path(root or "/") / configured.FILE.relative_to("/")


def _unit(root: str | None, name: str) -> Path:
    return Path(root or "/") / _UNITS / name


def _link(path: Path) -> Path | None:
    """What enables a unit; None where nothing does."""
    wanted = units.WANTED_BY.get(path.name)
    return None if wanted is None else path.parent / wanted / path.name


def _make_directories(directory: Path) -> None:
    for one in (*reversed(directory.parents), directory):
        trusted.make_directory(one, 0o755)


def _enable(path: Path) -> None:
    link = _link(path)
    if link is None:
        return
    _make_directories(link.parent)
    if link.is_symlink() and os.path.realpath(link) != os.path.realpath(path):
        link.unlink(missing_ok=True)
    try:
        link.symlink_to(f"../{path.name}")
    except FileExistsError:
        # Another process may be doing the same; anything else there would leave the unit disabled.
        if not link.is_symlink():
            raise
    durable.sync_names(link.parent)


def _refuse_unsafe(paths: list[Path], places: Places) -> None:
    """Refuse a service where other users may change what root would run: the files and the units' drop-ins, this
    program with all that it loads, and the state.
    """
    beside = [path.with_name(f"{path.name}.d") for path in paths]
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    loaded = [Path(trusted.__file__).parents[1], *(Path(sysconfig.get_path(kind)) for kind in kinds)]
    for one in (*paths, *beside, Path(places.state_dir), Path(sys.executable), *loaded):
        if (reason := trusted.why_others_may_change(one)) is not None:
            raise ServiceUnsafe(str(one), reason)


def _refuse_other(path: Path) -> None:
    """Refuse to replace or delete a file that macvfast did not write."""
    try:
        # systemd masks a unit by a link to /dev/null, which is not ours either.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            text = file.read(len(units.MARK.encode())).decode(errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed("read the service", path, error) from None
    if not text.startswith(units.MARK):
        raise ServiceTaken(str(path))


def _failed(operation: str, path: Path, error: OSError) -> PermissionNeeded | ServiceUnwritable:
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionNeeded(operation, f"permission to write {path}")
    return ServiceUnwritable(str(path), error.strerror or os.strerror(error.errno or 0))
