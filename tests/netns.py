"""Namespaces that a test makes for itself: a host with a parent link, a router at its far end, and judges to ask.

    sandbox ─ macvlan ─ eth0 [host, 172.16.86.250/24] ── lan0 [router, 172.16.86.1/24]

`isolate` has put the whole test run into a mount and a network namespace of its own before the first test,
so that nothing here is seen by, or left behind on, the machine itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import json
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from macvfast.host import Host

T = TypeVar("T")

NETNS_DIR = Path("/run/netns")
MACVFAST = Path(sys.executable).parent / "macvfast"
# In the environment of everything that the run starts: a process that has it and outlives the run has leaked.
SESSION_VARIABLE = "MACVFAST_TEST_SESSION"

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_MOVE, MS_REC, MS_PRIVATE = 0x2000, 0x4000, 0x40000
MNT_DETACH = 2
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_RUNNING = 0x8913, 0x8914, 0x40
ETH_P_LOCAL = 0x88B5  # IEEE 802's local experimental EtherType: no protocol of the tests uses it

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def _libc_call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _unmount(path: Path) -> None:
    """Detach what is mounted there, with all below it, if anything is."""
    with contextlib.suppress(OSError):
        _libc_call("umount2", os.fsencode(path), MNT_DETACH)


def isolate() -> None:
    """Put this process, which has one thread yet, into a mount and a network namespace of its own.

    `/run/netns` is an empty tmpfs there: pins die with the run, however it ends. `/etc` is a copy, for the links that
    sandboxes have in /etc/netns.
    """
    _libc_call("unshare", CLONE_NEWNS | CLONE_NEWNET)
    _libc_call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    NETNS_DIR.mkdir(parents=True, exist_ok=True)
    _libc_call("mount", b"tmpfs", os.fsencode(NETNS_DIR), b"tmpfs", 0, b"mode=755")
    _libc_call("mount", b"tmpfs", b"/mnt", b"tmpfs", 0, b"mode=755")
    subprocess.run(["cp", "--archive", "/etc/.", "/mnt"], check=True)
    _libc_call("mount", b"/mnt", b"/etc", None, MS_MOVE, None)
    os.environ[SESSION_VARIABLE] = f"{os.getpid()}-{time.monotonic_ns()}"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def forked(work: Callable[[], object]) -> int:
    """The exit status of a forked child that does this; 1 where it raised, -14 where it hung."""
    return ended(started(work))


def started(work: Callable[[], object]) -> int:
    """The pid of a forked child that does this; `ended` waits for it."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            # Not as a call of Python's, like that of pytest's: a child that hangs may carry out none.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - this process goes no further
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    return pid


def ended(pid: int) -> int:
    """The exit status of a child that `started` has started."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_until(condition: Callable[[], T], timeout_s: float = 60, what: str = "the condition") -> T:
    """Ask `condition` until its answer is true, and return that answer.

    Raises:
        TimeoutError: it was not true within `timeout_s`.
    """
    end = time.monotonic() + timeout_s
    pause_s = 0.001
    while not (answer := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come true within {timeout_s:g} s")
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)
    return answer


def on_thread_in(path: str | Path, function: Callable[[], T]) -> T:
    """Call `function` on a thread of its own in the network namespace at `path`: its result, or what it raised."""
    results: list[T] = []
    errors: list[BaseException] = []

    def enter_and_call() -> None:
        try:
            with open(path, "rb") as namespace:
                _libc_call("setns", namespace.fileno(), CLONE_NEWNET)
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised again, on the caller's thread
            errors.append(error)

    thread = threading.Thread(target=enter_and_call)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


class Frames:
    """What tcpdump sees arrive on one link, as lines with the link-layer header."""

    def __init__(self, process: subprocess.Popen[str], send_sentinel: Callable[[], None]) -> None:
        self._process = process
        self._send_sentinel = send_sentinel
        self._lines: list[str] = []
        self._sentinels = 0
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                if f"0x{ETH_P_LOCAL:04x}" in line:
                    self._sentinels += 1
                elif not line.startswith("\t"):
                    self._lines.append(line.rstrip())
                self._changed.notify_all()

    def so_far(self, timeout_s: float = 60) -> list[str]:
        """Every frame that was sent before this call: a sentinel sent after them has come through."""
        with self._changed:
            before = self._sentinels
        self._send_sentinel()
        with self._changed:
            if not self._changed.wait_for(lambda: self._sentinels > before, timeout_s):
                raise TimeoutError("the sentinel frame did not arrive")
            return list(self._lines)

    def wait_for(self, text: str, timeout_s: float = 60) -> str:
        """The first frame whose line holds `text`."""

        def found() -> str | None:
            return next((line for line in self._lines if text in line), None)

        with self._changed:
            if not self._changed.wait_for(found, timeout_s):
                raise TimeoutError(f"no frame with {text!r} in:\n" + "\n".join(self._lines))
            line = found()
        assert line is not None
        return line

    def stop(self) -> None:
        """End tcpdump and what reads from it."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


def settle() -> None:
    """Wait until the kernel has taken down every namespace that was let go of before, and is done with it.

    Namespaces are taken down in one queue: a pair whose far end goes with its namespace is gone when those before it
    are. The second pair can only go once all work on the first was done.
    """
    for _ in range(2):
        pair = ["ip", "link", "add", "settle0", "type", "veth", "peer", "name", "settle1", "netns", "settle"]
        for command in (["ip", "netns", "add", "settle"], pair, ["ip", "netns", "delete", "settle"]):
            subprocess.run(command, check=True)
        wait_until(lambda: not _exists("settle0"), timeout_s=300, what="the end of dying namespaces")


def _exists(link: str) -> bool:
    return subprocess.run(["ip", "link", "show", link], capture_output=True, check=False).returncode == 0


class Netns:
    """A network namespace, known by a path that leads to it."""

    def __init__(self, path: str | Path, environment: Mapping[str, str] | None = None) -> None:
        self.path = Path(path)
        self.environment = dict(environment or {})

    @classmethod
    def make(cls, label: str) -> Netns:
        """A fresh namespace with `lo` up, pinned under a name that nothing else has."""
        name = f"t{os.getpid()}-{next(_numbers)}-{label}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        made = cls(NETNS_DIR / name)
        made.ip_batch("link set lo up")
        return made

    @property
    def name(self) -> str:
        """The name that `ip netns` shows, for one that lies where `ip netns` looks."""
        return self.path.name

    @property
    def inode(self) -> int:
        """The number in `net:[…]`; reused by the kernel once the namespace is gone."""
        return self.path.stat().st_ino

    def command(self, *command: str | Path) -> list[str]:
        """The command line that runs `command` in here."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, command)]

    def attempt(self, *command: str | Path, stdin: str = "", timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in here, whatever its exit status."""
        return subprocess.run(
            self.command(*command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **self.environment},
        )

    def run(self, *command: str | Path, stdin: str = "", timeout_s: float = 60) -> str:
        """Run a command in here that must succeed; its standard output."""
        done = self.attempt(*command, stdin=stdin, timeout_s=timeout_s)
        if done.returncode != 0:
            raise AssertionError(
                f"`{shlex.join(map(str, command))}` ended with {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def start(self, *command: str | Path, process_group: int | None = None) -> subprocess.Popen[str]:
        """Start a command in here with pipes on all three streams; the caller ends it and closes them. Process group 0
        is one of its own.
        """
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*command),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env={**os.environ, **self.environment},
            process_group=process_group,
        )

    def ip_batch(self, *lines: str) -> None:
        """Carry out several `ip` commands, without the word `ip`, by one process: starting one is what costs."""
        batch = ["ip", "-netns", self.name, "-batch", "-"]
        subprocess.run(batch, input="".join(f"{line}\n" for line in lines), text=True, check=True)

    def ip_json(self, *arguments: str) -> list[dict[str, Any]]:
        """What `ip -json -details ARGUMENTS` says in here."""
        said = self.run("ip", "-json", "-details", *arguments)
        return list(json.loads(said)) if said.strip() else []

    def link_names(self) -> list[str]:
        """The names of the links in here, sorted."""
        return sorted(link["ifname"] for link in self.ip_json("link", "show"))

    def can_ping(self, address: str, count: int = 1, timeout_s: int = 10) -> bool:
        """Whether an echo request to `address` is answered within `timeout_s`."""
        return self.attempt("ping", "-n", "-c", str(count), "-W", str(timeout_s), address).returncode == 0

    def call(self, function: Callable[[], T]) -> T:
        """Call a Python function on a thread that is in here: `Host.open()` then sees this as its home namespace."""
        return on_thread_in(self.path, function)

    @contextlib.contextmanager
    def frames(self, ifname: str, filter_expression: str = "", *, sent_by: tuple[Netns, str]) -> Iterator[Frames]:
        """Capture what arrives on link `ifname`, from the moment that tcpdump listens.

        Args:
            ifname: the link to listen on.
            filter_expression: in pcap's language; empty: every frame.
            sent_by: the namespace and link at the other end of the wire, from where the sentinels are sent.
        """

        def send_sentinel() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
                raw.bind((sent_by[1], 0))
                raw.send(b"\xff" * 6 + raw.getsockname()[4] + ETH_P_LOCAL.to_bytes(2, "big") + bytes(46))

        wanted = f"({filter_expression}) or ether proto {ETH_P_LOCAL}" if filter_expression else ""
        process = self.start(
            "tcpdump", "-i", ifname, "-l", "-n", "-e", "--immediate-mode", "-Q", "in", "-Z", "root", wanted
        )
        assert process.stderr is not None
        said = []
        while "listening on" not in (line := process.stderr.readline()):
            said.append(line)
            if not line:
                raise AssertionError(f"tcpdump did not start: {''.join(said)}")
        frames = Frames(process, lambda: sent_by[0].call(send_sentinel))
        try:
            yield frames
        finally:
            frames.stop()

    def remove(self) -> None:
        """Kill what runs in here and take the pin away."""
        kill_all_in({self.inode})
        self.unpin()

    def unpin(self) -> None:
        """Take the pin away: with it the namespace goes, unless something else holds it."""
        _unmount(self.path)
        self.path.unlink(missing_ok=True)


def _up(ifname: str, address: str | None) -> list[str]:
    """The commands that give a link an address and bring it up."""
    return [*([f"address add {address} brd + dev {ifname}"] if address else []), f"link set {ifname} up"]


def _is_running(ifname: str) -> bool:
    """Whether the kernel has noticed the carrier of a link, which it does a moment after the link is up, and its
    routes know.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16s24x", ifname.encode()))
        (flags,) = struct.unpack_from("16xH", asked)
        if not flags & IFF_RUNNING:
            return False
        # Changes nothing, but waits for the lock under which the routes are told.
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", ifname.encode(), flags))
        return True


class Lan:
    """A host with a parent link, the router at its other end, and macvfast with a state of its own."""

    def __init__(self, directory: Path, netns_dir: Path | None = None) -> None:
        self.state_dir = directory / "state"
        # It is named to every command, and one that only looks makes none.
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        self.netns_dir = netns_dir or directory / "netns"
        self.run_dir = directory / "run"
        self.host = Netns.make("host")
        self.router = Netns.make("router")
        self.host.environment = {
            "MACVFAST_STATE_DIR": str(self.state_dir),
            "MACVFAST_NETNS_DIR": str(self.netns_dir),
            "MACVFAST_RUN_DIR": str(self.run_dir),
        }
        self.add_parent("eth0", "lan0", "172.16.86.250/24", "172.16.86.1/24")
        self.host.ip_batch("route add default via 172.16.86.1")
        self.server: subprocess.Popen[str] | None = None

    def serve(self, *before: str) -> subprocess.Popen[str]:
        """Start a server, which does the commands that are typed from then on; `before`: by which command."""
        return self.serve_with(before=before)

    def serve_with(self, *options: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """The same, with options of `serve`."""
        self.server = self.host.start(*before, MACVFAST, "serve", *options)
        wait_until((self.run_dir / "command.sock").exists, 60, "the server's socket")
        return self.server

    def be_served(self) -> None:
        """Start a server, and see to it that it does the commands of this bed: they would do without it, unseen."""
        self.serve()

        def served() -> bool:
            # The sockets of one that was killed are there until the new one replaces them.
            with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
                return bool(self.macvfast("--version") and self.calls_served())
            return False

        wait_until(served, 60, "a command that the server does")

    def calls_served(self) -> int:
        """How many command lines the server has done."""
        return self._served("calls")

    def requests_served(self) -> int:
        """How many requests of plugins the server has done."""
        return self._served("requests")

    def _served(self, what: str) -> int:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(self.run_dir / "status.sock"))
            with connection.makefile("rb") as said:
                return sum(sum(one["counts"]) for one in json.load(said)[what])

    def add_parent(
        self, ifname: str, far_ifname: str, address: str | None = None, far_address: str | None = None
    ) -> None:
        """A further wire between host and router, up at both ends."""
        # With one index at both ends the kernel would notice the carrier a second later (`linkwatch_urgent_event`).
        near, far = f"index {1000 + next(_numbers)} name {ifname}", f"name {far_ifname} netns {self.router.name}"
        pair = f"link add {near} type veth peer {far}"
        self.host.ip_batch(pair, *_up(ifname, address))
        self.router.ip_batch(*_up(far_ifname, far_address))
        for end, name in ((self.host, ifname), (self.router, far_ifname)):
            end.call(lambda name=name: wait_until(lambda: _is_running(name), 60, f"the carrier of {name}"))  # type: ignore[misc]

    def run(self, *command: str | Path, stdin: str = "") -> str:
        """Run a command on the host that must succeed; its standard output."""
        return self.host.run(*command, stdin=stdin)

    def api(self, function: Callable[[Host], T]) -> T:
        """Call a function with a Host of this bed: cheaper than a command, by the start of Python."""

        def with_host() -> T:
            from macvfast.host import Host
            from macvfast.state.store import Store

            with Host(Store(str(self.state_dir)), netns_dir=str(self.netns_dir)) as host:
                return function(host)

        return self.host.call(with_host)

    def macvfast(self, *arguments: str, stdin: str = "") -> str:
        """Type a macvfast command that must succeed; what it prints, without the last newline."""
        return self.host.run(MACVFAST, *arguments, stdin=stdin).rstrip("\n")

    def attempt(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Type a macvfast command, whatever its exit status."""
        return self.host.attempt(MACVFAST, *arguments, stdin=stdin)

    def refused(self, *arguments: str, status: int = 1) -> str:
        """Type a macvfast command that must be refused with that exit status; its standard error."""
        done = self.attempt(*arguments)
        assert done.returncode == status, f"exit status {done.returncode}, not {status}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr

    def sandbox(self, name: str) -> Netns:
        """The namespace of a sandbox, by its name."""
        return Netns(self.netns_dir / name)

    def sandbox_run(self, name: str, *command: str) -> str:
        """Run a command in a sandbox's network namespace from outside; its standard output."""
        return self.sandbox(name).run(*command)

    def sandbox_names(self) -> list[str]:
        """The names pinned in the sandboxes' directory, sorted."""
        return sorted(os.listdir(self.netns_dir)) if self.netns_dir.is_dir() else []

    def frames_at_router(self, filter_expression: str = "") -> contextlib.AbstractContextManager[Frames]:
        """Capture what leaves the host by `eth0`, as the router sees it arrive."""
        return self.router.frames("lan0", filter_expression, sent_by=(self.host, "eth0"))

    def remove(self) -> None:
        """Take all of it away, whatever state the test left it in."""
        own = (self.host, self.router)
        pinned = [Netns(self.netns_dir / name) for name in self.sandbox_names()]
        kill_all_in({namespace.inode for namespace in (*own, *pinned)})
        for namespace in pinned:
            if namespace not in own:
                namespace.unpin()
        if self.netns_dir != NETNS_DIR:
            # A mount point, where macvfast has pinned something there.
            _unmount(self.netns_dir)
        for namespace in own:
            namespace.unpin()
        if self.server is not None:
            self.server.communicate()


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def processes_in(inodes: set[int]) -> list[int]:
    """The processes in network namespaces with those inode numbers, zombies left out."""
    found = []
    for pid in _processes():
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}/ns/net").st_ino in inodes:
                found.append(pid)
    return found


def processes_of_this_run() -> dict[int, str]:
    """What this test run started and is still there: pids with their command lines. This process is left out."""
    marker = f"{SESSION_VARIABLE}={os.environ.get(SESSION_VARIABLE)}".encode()
    found = {}
    for pid in _processes():
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if marker in environment and pid != os.getpid():
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def kill_all(processes: Callable[[], Sequence[int]]) -> None:
    """Kill what `processes` lists until it lists nothing: killing one may bring up another."""

    def none_left() -> bool:
        left = processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(none_left, what="the end of the processes that the test started")


def kill_all_in(inodes: set[int]) -> None:
    """Kill every process in network namespaces with those inode numbers; never this one's own namespace."""
    own = os.stat("/proc/self/ns/net").st_ino
    kill_all(lambda: processes_in(inodes - {own}))
