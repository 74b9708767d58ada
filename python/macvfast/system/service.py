"""The systemd unit that restores at boot: written and enabled by plain files, as systemd itself reads them."""

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
# What starts when the machine is up, whatever else it does.
_WANTED_BY = "multi-user.target.wants"

_MARK = "# Written by `macvfast service install`; `macvfast service uninstall` takes it away."

_TEXT = """\
{mark}
[Unit]
Description=Bring back macvfast's networks and sandboxes
Documentation=man:ip-link(8) man:ip-netns(8)
# What makes and brings up NICs goes first; what waits for the network waits for this.
After=network-pre.target systemd-networkd.service NetworkManager.service networking.service
Before=network-online.target
RequiresMountsFor={state_dir}
ConditionPathExists={state_dir}/state.db

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command}
# The wait ends by itself before this.
TimeoutStartSec={timeout_s}

[Install]
WantedBy=multi-user.target
"""

# How long the restoring itself may take, beside the wait: thousands of sandboxes on a slow disk.
_WORK_S = 300


def install(state_dir: Path, wait_s: int, root: str | None = None) -> Path:
    """Write and enable the unit; it takes effect at the next boot. Doing it again writes it anew.

    Args:
        state_dir: of the host that is to be restored.
        wait_s: how long it waits for parents, at most.
        root: where the system's files are, for one that is not running; None: this one.

    Returns:
        The unit's file.

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
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with open(trusted.open_file(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(os.fsencode(text))
            # systemd warns of one that others cannot read, and carries out one that they write to.
            os.fchmod(file.fileno(), 0o644)
        fresh.replace(path)
        if link.is_symlink() and os.path.realpath(link) != os.path.realpath(path):
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(f"../{UNIT}")
    except OSError as error:
        raise _failed("install the service", path, error) from None
    return path


def uninstall(root: str | None = None) -> Path:
    """Disable the unit and take its file away; where there is none, that is done already.

    Returns:
        The unit's file.

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
    """Where the unit lies, on a machine that systemd runs (sd_booted(3)), or below a given root."""
    if root is None and not Path("/run/systemd/system").is_dir():
        raise SystemdMissing
    return Path(root or "/") / _FOLDER / UNIT


def _refuse_unsafe(path: Path, state_dir: Path) -> None:
    """Refuse to have root carry out what others may change: the unit and what is put beside it, this program with all
    that it loads, and what is recorded.
    """
    beside = path.with_name(f"{UNIT}.d")
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    loaded = [Path(trusted.__file__).parents[1], *(Path(sysconfig.get_path(kind)) for kind in kinds)]
    for one in (path, beside, state_dir, Path(sys.executable), *loaded):
        if (reason := trusted.why_others_may_change(one)) is not None:
            raise ServiceUnsafe(str(one), reason)


def _refuse_other(path: Path) -> None:
    """Refuse a unit of that name which macvfast did not write."""
    try:
        # A link to /dev/null, as systemd masks a unit, is none of ours.
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
