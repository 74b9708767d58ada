"""The systemd unit that restores at boot; written and enabled as plain files, without a running systemd."""

from __future__ import annotations

import errno
import os
import sys
import sysconfig
from pathlib import Path

from macvfast.errors import PermissionNeeded, ServiceTaken, ServiceUnsafe, ServiceUnwritable, SystemdMissing
from macvfast.system import trusted

UNIT = "macvfast-restore.service"
_FOLDER = Path("etc/systemd/system")
# The target of every normal boot.
_WANTED_BY = "multi-user.target.wants"

_MARK = "# Written by `macvfast service install`; `macvfast service uninstall` takes it away."

_TEXT = """\
{mark}
[Unit]
Description=Bring back macvfast's networks and sandboxes
Documentation=man:ip-link(8) man:ip-netns(8)
# After what makes and brings up NICs, and before what waits for the network.
After=network-pre.target systemd-networkd.service NetworkManager.service networking.service
Before=network-online.target
RequiresMountsFor={state_dir}
ConditionPathExists={state_dir}/state.db

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command}
# Longer than the wait for parents.
TimeoutStartSec={timeout_s}

[Install]
WantedBy=multi-user.target
"""

# How long the restore itself may take after the wait: thousands of sandboxes on a slow disk.
_WORK_S = 300


def install(state_dir: Path, wait_s: int, root: str | None = None) -> Path:
    """Write and enable the unit, replacing an earlier one of ours; it takes effect at the next boot. Gives its file.

    Args:
        state_dir: the state that is restored.
        wait_s: how long it waits for parents, at most.
        root: the root folder of a system that is not running; None: this system.

    Raises:
        SystemdMissing, ServiceTaken, ServiceUnsafe, ServiceUnwritable, PermissionNeeded
    """
    path = _unit(root)
    _refuse_other(path)
    if root is None:
        _refuse_unsafe(path, state_dir)
    command = [sys.executable, "-P", "-m", "macvfast", "--state-dir", str(state_dir), "restore", f"--wait={wait_s}"]
    text = _TEXT.format(
        mark=_MARK, state_dir=_escaped(str(state_dir)), command=" ".join(map(_quoted, command)),
        timeout_s=wait_s + _WORK_S,
    )  # fmt: skip
    link = path.parent / _WANTED_BY / UNIT
    try:
        for folder in (*reversed(path.parent.parents), path.parent, link.parent):
            trusted.make_folder(folder, 0o755)
        _write(path, text)
        if link.is_symlink() and os.path.realpath(link) != os.path.realpath(path):
            link.unlink(missing_ok=True)
        try:
            link.symlink_to(f"../{UNIT}")
        except FileExistsError:
            # Another process may be doing the same; anything else there would leave the unit disabled.
            if not link.is_symlink():
                raise
    except OSError as error:
        raise _failed("install the service", path, error) from None
    return path


def _write(path: Path, text: str) -> None:
    """Write the unit in one step, by a new file that no other process has."""
    fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with open(trusted.open_file(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(os.fsencode(text))
            # systemd warns of a unit that others cannot read, and obeys one that they can write.
            os.fchmod(file.fileno(), 0o644)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def uninstall(root: str | None = None) -> Path:
    """Disable the unit and delete its file, which may be missing already. Gives the file.

    Raises:
        SystemdMissing, ServiceTaken, ServiceUnwritable, PermissionNeeded
    """
    path = _unit(root)
    _refuse_other(path)
    try:
        (path.parent / _WANTED_BY / UNIT).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _failed("uninstall the service", path, error) from None
    return path


def _unit(root: str | None) -> Path:
    """The unit's file, on a machine where systemd runs (sd_booted(3)) or below a given root."""
    if root is None and not Path("/run/systemd/system").is_dir():
        raise SystemdMissing
    return Path(root or "/") / _FOLDER / UNIT


def _refuse_unsafe(path: Path, state_dir: Path) -> None:
    """Refuse a service where other users may change what root would run: the unit and its drop-ins, this program with
    all that it loads, and the state.
    """
    beside = path.with_name(f"{UNIT}.d")
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    loaded = [Path(trusted.__file__).parents[1], *(Path(sysconfig.get_path(kind)) for kind in kinds)]
    for one in (path, beside, state_dir, Path(sys.executable), *loaded):
        if (reason := trusted.why_others_may_change(one)) is not None:
            raise ServiceUnsafe(str(one), reason)


def _refuse_other(path: Path) -> None:
    """Refuse to replace or delete a unit that macvfast did not write."""
    try:
        # systemd masks a unit by a link to /dev/null, which is not ours either.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            text = file.read(len(_MARK.encode())).decode(errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed("read the service", path, error) from None
    if not text.startswith(_MARK):
        raise ServiceTaken(str(path))


def _failed(operation: str, path: Path, error: OSError) -> PermissionNeeded | ServiceUnwritable:
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionNeeded(operation, f"permission to write {path}")
    return ServiceUnwritable(str(path), error.strerror or os.strerror(error.errno or 0))


def _escaped(text: str) -> str:
    """A path as a unit's value (systemd.unit(5)): `%` begins a specifier; blanks, quotes and the like are escaped."""
    safe = "".join(c if c.isprintable() and c not in " \\'\"" else f"\\x{ord(c):02x}" for c in text)
    return safe.replace("%", "%%")


def _quoted(word: str) -> str:
    """A word of ExecStart (systemd.service(5)): `$` begins a variable."""
    return f'"{_escaped(word)}"'.replace("$", "$$")
