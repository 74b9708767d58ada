"""The state directory, a file in it, or the service cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.errors.base import MacvfastError
from macvfast.errors.refused import RAISE_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class StateProblem(MacvfastError, code="state-problem"):
    """The state directory, or a file in it, cannot be used."""


class HostClosed(StateProblem, code="host-closed"):
    path: str
    _text = "the Host of `{path}` is closed"
    _cause = "`close` was called, or its `with` block ended"
    _hint = "`Host.open` opens it again"


class HostForked(StateProblem, code="host-forked"):
    path: str
    _text = "the Host of `{path}` belongs to another process"
    _cause = "this process was forked while it was open"
    _hint = "`Host.open` in this process opens one of its own"


# What helps, by the words of SQLite and of strerror.
_REMEDIES = (
    (("open files", "RLIMIT_NOFILE"), RAISE_FILES),
    (("full", "No space", "quota"), "make room on its file system: `df -h` shows which are full"),
    (("read-only", "Read-only"), "`findmnt --options ro` lists what is mounted read-only"),
    (("ermission denied", "not permitted"), "run macvfast as root"),
    (("belongs to",), "`chown root {path}`, if nobody else has touched it"),
    (("others may write",), "`chmod go-rwx {path}`, if nobody else has touched it"),
    (("others may list",), "`chmod 0700 {path}`"),
    (("its file system has", "locks do not work"), "name a directory on a local file system with --state-dir"),
    (
        ("Not a directory", "File exists", "File name too long"),
        "name a directory with --state-dir or MACVFAST_STATE_DIR",
    ),
)


class StateUnusable(StateProblem, code="state-unusable"):
    path: str
    reason: str
    _text = "the state in `{path}` cannot be used"
    _hint = "`ls -la {path}` shows what is there"

    def _get_hints(self) -> Sequence[str]:
        found = (hint for words, hint in _REMEDIES if any(word in self.reason for word in words))
        return self._filled(next(found, self._hint))


class StateMissing(StateProblem, code="state-missing"):
    """The state directory that was named does not exist, and a command that only looks does not make it."""

    path: str
    _text = "there is no state in `{path}`"
    _cause = "the directory that --state-dir or MACVFAST_STATE_DIR names does not exist"
    _hint = "`macvfast network create` makes it; the default is /var/lib/macvfast"


class StateBusy(StateProblem, code="state-busy"):
    """Another process kept the state locked for longer than macvfast waits, or uses it where none may.

    `holders`: who they are and since when, as far as that is known.
    """

    path: str
    waited_s: float
    holders: Iterable[str] = ()
    _text = "the state in `{path}` is busy"
    _hint = "run the command again; `fuser -v {path}/state.db` shows who holds it"

    def _get_causes(self) -> Sequence[str]:
        waited = [f"macvfast waited {self.waited_s:g} s for another process"] if self.waited_s else []
        return [*waited, *(f"in use by {holder}" for holder in self.holders)]


class StateCorrupt(StateProblem, code="state-corrupt"):
    path: str
    reason: str
    _text = "the state file `{path}` is damaged"
    _hint = "move it away and load a copy with `macvfast state load`; nothing was changed"


class StateNewer(StateProblem, code="state-newer"):
    path: str
    found: int
    known: int
    _text = "the state file `{path}` is of format {found}"
    _cause = "this macvfast knows formats up to {known}"
    _hint = "use the macvfast that wrote it, or a newer one"


class HomeNamespaceOther(StateProblem, code="home-namespace-other"):
    """In this boot, the state belongs to another network namespace than the one in which macvfast was started."""

    path: str
    _text = "the state in `{path}` belongs to another network namespace"
    _cause = "its parents are in that one, and macvfast was not started there"
    _hint = "start macvfast in that namespace, or name another state directory with --state-dir"


class StateForeign(StateProblem, code="state-foreign"):
    path: str
    _text = "the state in `{path}` belongs to another machine"
    _cause = (
        "it was recorded under another machine id\n"
        "its disk is shared or was cloned, it came with a backup, or this machine's id was changed"
    )
    _hint = "once no other machine uses it, `macvfast state adopt` takes it over; `macvfast ps -a` shows it"


class ServiceUnwritable(StateProblem, code="service-unwritable"):
    path: str
    reason: str
    _text = "the service `{path}` cannot be changed"
    _hint = "--root DIR names the root of another system"


class ServiceUnsafe(StateProblem, code="service-unsafe"):
    what: str
    reason: str
    _text = "the service cannot be installed: other users could change what root runs at boot"
    _cause = "{what}: {reason}"
    _hint = "install macvfast, and keep its state, where root alone may write, from the root down: /opt, /var/lib"


class PluginMissing(StateProblem, code="plugin-missing"):
    python: str
    _text = "the plugin cannot be installed: the native program is missing"
    _cause = "there is no `macvfast` beside {python}, and none among its scripts"
    _hint = "install macvfast whole, as `pip install` does"


class SnapshotDamaged(StateProblem, code="snapshot-damaged"):
    """A pool's snapshot is truncated, altered, or of an unknown version."""

    reason: str
    _text = "the snapshot of a pool is damaged"
    _hint = "take another snapshot, or create the pool again and reserve the addresses in use"


class RunDirectoryUnusable(StateProblem, code="run-directory-unusable"):
    path: str
    reason: str
    _text = "the server's directory `{path}` cannot be used"
    _hint = "`ls -ld {path}` shows it; MACVFAST_RUN_DIR names another one"
