"""What `service install` writes: systemd's units, enabled, without need of a running systemd, and the clients' file."""

from __future__ import annotations

import errno
import os
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from macvfast.errors import (
    OptionInvalid,
    PermissionNeeded,
    PluginMissing,
    PluginTaken,
    ServiceTaken,
    ServiceUnsafe,
    ServiceUnwritable,
)
from macvfast.system import configured, durable, native, trusted, units

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from macvfast.system.configured import Places

_UNITS = Path("etc/systemd/system")


def systemd_runs() -> bool:
    """Whether this machine was booted with it (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def install(
    places: Places, wait_s: int, root: str | None = None, plugins: Collection[str] = (), *, docker: bool = False
) -> list[Path]:
    """Write all files, replacing earlier ones of ours, and enable the units. They take effect at the next boot. Units
    are left out on a machine where systemd does not run. Gives the files.

    Args:
        places: what clients and units use.
        wait_s: how long the restore waits for parents, at most.
        root: the root directory of a system that is not running; None: this system.
        plugins: where copies of the native program are to be, beside those that there are already, which are written
            anew.
        docker: whether the server is a plugin of Docker, too; it stays so until all is uninstalled.

    Raises:
        OptionInvalid: a path has a line break, which the clients' file cannot tell.
        PluginTaken, PluginMissing, ServiceTaken, ServiceUnsafe, ServiceUnwritable, PermissionNeeded
    """
    for name, path in (*places._asdict().items(), *(("cni", path) for path in plugins)):
        if "\n" in path:
            raise OptionInvalid(name, path, "it has a line break", ["rename that directory, or give another one"])
    _refuse_other(_client(root))
    recorded = _recorded(root)
    names = sorted({*plugins, *recorded})
    texts = {_client(root): units.client(places, names)}
    if root is not None or systemd_runs():
        docker = docker or serves_docker(root)
        texts |= {
            _unit(root, units.RESTORE): units.restore(places, wait_s),
            _unit(root, units.SOCKET): units.listening(places),
            _unit(root, units.SERVER): units.server(places, docker=docker),
        }
        if docker:
            texts[_unit(root, units.DOCKER)] = units.docker()
    for file in texts:
        _refuse_other(file)
    copies = [_within(root, path) for path in names]
    for path in (_within(root, name) for name in names if name not in recorded):
        if not _is_ours(path, root):
            raise PluginTaken(str(path))
    if root is None:
        _refuse_unsafe([*texts, *copies], places)
    program = _program() if copies else b""
    # Before anything is written: a directory that cannot be made leaves nothing behind that names it.
    for file in (*texts, *copies):
        _make_parent(file)
    # systemd warns of a unit that others cannot read, and obeys one that they can write.
    _write({file: os.fsencode(text) for file, text in texts.items()}, 0o644)
    _write(dict.fromkeys(copies, program), 0o755)
    return [*texts, *copies]


def _write(contents: Mapping[Path, bytes], mode: int) -> None:
    for file, content in contents.items():
        try:
            durable.replace(file, content, mode)
            _enable(file)
        except OSError as error:
            raise _failed("install the service", file, error) from None


def _make_parent(file: Path) -> None:
    try:
        _make_directories(file.parent)
    except OSError as error:
        raise _failed("install the service", file, error) from None


def _program() -> bytes:
    """The native program, of which plugins are copies.

    Raises:
        PluginMissing: it is not installed with this Python.
    """
    program = native.program()
    try:
        content = b"" if program is None else native.read(program)
    except OSError:
        content = b""
    if not native.is_a_copy(content):
        raise PluginMissing(sys.executable)
    return content


def ours(root: str | None = None) -> list[Path]:
    """The files that `uninstall` deletes, whether or not they are there.

    Raises:
        ServiceTaken: one of them is another program's.
        ServiceUnwritable, PermissionNeeded
    """
    paths = list(_files(root))
    for path in paths:
        _refuse_other(path)
    # Before the file that names them.
    return [*(_within(root, path) for path in _recorded(root)), *paths]


def uninstall(root: str | None = None) -> list[Path]:
    """Disable the units and delete all files; what is missing already is no matter. Gives the files.

    Raises:
        ServiceTaken, ServiceUnwritable, PermissionNeeded
    """
    paths = ours(root)
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


def serves_docker(root: str | None = None) -> bool:
    """Whether a system has the unit of Docker's socket."""
    return _unit(root, units.DOCKER).exists()


def _files(root: str | None) -> Iterator[Path]:
    yield _client(root)
    yield from (_unit(root, name) for name in (units.RESTORE, units.SOCKET, units.SERVER))
    if serves_docker(root):
        yield _unit(root, units.DOCKER)


def _client(root: str | None) -> Path:
    return _within(root, str(configured.FILE))


def _within(root: str | None, path: str) -> Path:
    """An absolute path in the system whose root directory is given."""
    return Path(root or "/") / path.lstrip("/")


def _text(path: Path) -> str:
    """What is in a file; nothing where it is missing."""
    try:
        return os.fsdecode(path.read_bytes())
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _failed("read the service", path, error) from None


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


def _recorded(root: str | None) -> list[str]:
    """The plugins that the clients' file names, without those in whose place, or in that of whose directory, something
    else has been put since.
    """
    found = []
    for path in units.plugins_of(_text(_client(root))):
        with suppress(ServiceUnwritable):
            if _is_ours(_within(root, path), root):
                found.append(path)
    return found


def _is_ours(path: Path, root: str | None) -> bool:
    """Whether a plugin is a copy of the native program, or missing. A link is somebody else's, wherever it leads.

    Raises:
        ServiceUnwritable: its directory leads out of the root directory.
    """
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root or "/")):
        raise ServiceUnwritable(str(path), f"its directory leads out of {root}")
    try:
        return not path.is_symlink() and native.is_a_copy(native.read(path))
    except FileNotFoundError:
        return True
    except OSError as error:
        raise _failed("read the service", path, error) from None


def _failed(operation: str, path: Path, error: OSError) -> PermissionNeeded | ServiceUnwritable:
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionNeeded(operation, f"permission to write {path}")
    return ServiceUnwritable(str(path), error.strerror or os.strerror(error.errno or 0))
