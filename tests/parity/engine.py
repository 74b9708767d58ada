"""A Docker Engine of the test's own: in a network and a mount namespace, with nothing written outside its directory.

`tools/docker-engine` has unpacked Debian's packages; nothing is installed. Containers run `sleep` from a one-file
image, and are connected to networks while they run: that is when the Engine gives out addresses.

With MACVFAST_ENGINE=SUITE it is the Engine of a later Debian, in the root that `tools/engine-roots` has built.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shlex
import shutil
import socket
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tests.netns import Netns, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

_CACHE = Path(__file__).parents[2] / ".cache"
UNPACKED = _CACHE / "docker-engine"
SUITE = os.environ.get("MACVFAST_ENGINE", "bookworm")
ROOT = None if SUITE == "bookworm" else _CACHE / "engines" / SUITE
# Of the releases that differ, that of bookworm decides; of their minor releases none differs in what is compared.
RELEASE = {"bookworm": "20.10", "trixie": "26.1", "forky": "28.5"}[SUITE]
# What runs the docker command where no Engine is needed.
CLIENT = ("chroot", str(ROOT), "docker") if ROOT else (str(UNPACKED / "usr/bin/docker"),)
API = "/v1.41"
READY_S = 60

# Where dockerd, containerd and runc would write outside of DIR, they find a file system that ends with them.
START = """
{enter}
mount -t tmpfs none /run
mkdir -p {directory}/data && mount -t tmpfs none {directory}/data
exec dockerd --config-file {directory}/daemon.json --host unix://{directory}/docker.sock \
  --data-root {directory}/data --exec-root {directory}/exec --pidfile {directory}/pid --storage-driver vfs \
  --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --userland-proxy=false \
  --cgroup-parent {cgroup}
"""

# Makes a root the file system of the mount namespace: what runs there makes mount namespaces of its own, for which a
# chroot is not enough. Of this machine it sees its devices, its processes, and the directory of the test.
ENTER = """
mount --bind {root} {root}
cd {root}
for seen in proc sys dev; do mount --rbind /$seen $seen; done
mount -t tmpfs none ./{top}
mkdir -p .{directory}
mount --bind {directory} .{directory}
pivot_root . .
umount -l .
cd /
"""


class Said(NamedTuple):
    """What the Engine answered: an HTTP status, and what came with it."""

    status: int
    body: Any

    @property
    def message(self) -> str:
        """Why it refused; nothing if it did not."""
        return str(self.body["message"]) if self.status >= 400 else ""


def busybox_layer() -> bytes:
    """The files of an image with nothing but busybox, as a tar archive."""
    busybox = shutil.which("busybox", path="/usr/bin:/bin:/usr/sbin:/sbin")
    assert busybox is not None
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(busybox, "bin/busybox")
        for name in ("sh", "ip", "ping", "sleep", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname, link.mode = tarfile.SYMTYPE, "busybox", 0o777
            archive.addfile(link)
    return packed.getvalue()


class EngineUnusable(Exception):
    """The Engine is unpacked, but does not come up on this machine."""


def release() -> str:
    """The Engine's release, or why there is none."""
    daemon = (ROOT or UNPACKED) / "usr/sbin/dockerd"
    if not daemon.exists():
        return "not built: tools/engine-roots" if ROOT else "not unpacked: tools/docker-engine"
    command = ["chroot", ROOT, "dockerd"] if ROOT else [daemon]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() or done.stderr.strip()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=120)
        self._path = str(path)

    def connect(self) -> None:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(self._path)
        except OSError:
            made.close()
            raise
        self.sock = made


class Engine:
    """A running Engine with idle containers. A context manager; not for several threads."""

    def __init__(self, directory: Path, parents: Sequence[str] = ("eth0",), containers: Sequence[str] = ()) -> None:
        self.directory = directory
        self.namespace = Netns.make("engine")
        # `docker` of the test finds this daemon, and this PATH its runc and containerd.
        path = "/usr/sbin:/usr/bin" if ROOT else f"{UNPACKED}/usr/sbin:{UNPACKED}/usr/bin:{os.environ['PATH']}"
        self.namespace.environment = {"PATH": path, "DOCKER_HOST": f"unix://{directory}/docker.sock"}
        self._cgroup = f"macvfast-{self.namespace.name}"
        self._containers = tuple(containers)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: http.client.HTTPConnection | None = None
        for number, name in enumerate(parents):
            pair = ("link", "add", name, "type", "veth", "peer", "name", f"far{number}")
            self.namespace.run("ip", *pair)
            for end in (name, f"far{number}"):
                self.namespace.run("ip", "link", "set", end, "up")

    def __enter__(self) -> Self:
        """Start it, and its containers."""
        try:
            self._start()
            self._load_image()
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(self.start_container, self._containers))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        # Otherwise an old one writes a key to /etc/docker.
        settings = {} if ROOT else {"deprecated-key-path": f"{self.directory}/key.json"}
        (self.directory / "daemon.json").write_text(json.dumps(settings))
        directory = shlex.quote(str(self.directory))
        top = shlex.quote(self.directory.parts[1])
        enter = ENTER.format(root=shlex.quote(str(ROOT)), directory=directory, top=top) if ROOT else ""
        script = START.format(enter=enter, directory=directory, cgroup=self._cgroup)
        command = self.namespace.command("unshare", "--mount", "--propagation=private", "sh", "-ec", script)
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.namespace.environment},
            )
        wait_until(self._answers, READY_S, "the Engine's first answer")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise EngineUnusable((self.directory / "log").read_text(errors="replace")[-2000:])
        try:
            return self.call("GET", "/_ping").status == 200
        except (OSError, http.client.HTTPException):
            self._hang_up()
            return False

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _load_image(self) -> None:
        """An image with nothing but busybox."""
        with contextlib.closing(_UnixConnection(self.directory / "docker.sock")) as connection:
            connection.request("POST", f"{API}/images/create?fromSrc=-&repo=alpine", busybox_layer())
            answer = connection.getresponse()
            said = answer.read()
        assert answer.status == 200, said

    def start_container(self, name: str) -> None:
        """A container on no network: those of mode `none` cannot be connected until they are taken off that."""
        wanted = {
            "Image": "alpine",
            "Cmd": ["sleep", "2147483647"],
            "StopSignal": "SIGKILL",
            "HostConfig": {"NetworkMode": "none"},
        }
        with contextlib.closing(_UnixConnection(self.directory / "docker.sock")) as connection:
            for path, body in (
                (f"/containers/create?name={name}", wanted),
                (f"/containers/{name}/start", None),
                ("/networks/none/disconnect", {"Container": name}),
            ):
                said = _ask(connection, "POST", path, body)
                assert said.status < 400, said

    def call(self, method: str, path: str, body: object = None) -> Said:
        """Ask the Engine's HTTP API."""
        if self._connection is None:
            self._connection = _UnixConnection(self.directory / "docker.sock")
        return _ask(self._connection, method, path, body)

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Type a docker command, whatever its exit status."""
        inside = ("nsenter", "--target", str(self._daemon()), "--mount", "--root") if ROOT else ()
        return self.namespace.attempt(*inside, "docker", *arguments)

    def plugin_at(self, path: Path) -> None:
        """Have the Engine find a plugin called macvfast whose socket is at a path outside."""
        where = "/run/docker/plugins"
        script = f"mkdir -p {where} && ln -sf {shlex.quote(str(path))} {where}/macvfast.sock"
        self.namespace.run("nsenter", "--target", str(self._daemon()), "--mount", "--root", "sh", "-c", script)

    def _daemon(self) -> int:
        return int((self.directory / "pid").read_text())

    def stop(self) -> None:
        """End the Engine with all it runs, and take its namespace away."""
        self._hang_up()
        if self._process is not None:
            # It ends its containers first, by the signal that they were given.
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.namespace.remove()
        for directory in Path("/sys/fs/cgroup").glob(f"**/{self._cgroup}"):
            directory.rmdir()


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: object) -> Said:
    data = None if body is None else json.dumps(body)
    connection.request(method, f"{API}{path}", data, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    is_json = answer.headers.get_content_type() == "application/json"
    return Said(answer.status, json.loads(text) if text and is_json else text.decode())
