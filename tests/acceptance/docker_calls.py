"""What a Docker Engine asks of its plugin, asked by a test: HTTP on the plugin's socket, in the Engine's words."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.netns import wait_until

if TYPE_CHECKING:
    from macvfast.host import Host
    from tests.netns import Lan

Said = dict[str, Any]


def an_id() -> str:
    """One of Docker's ids."""
    return os.urandom(32).hex()


def age(host: Host) -> None:
    """Have all that Docker has be old enough for `gc`."""
    with host._store.writing() as records:
        for column in ("noted_endpoint.since", "network.created_at", "docker_pool.at", "docker_address.at"):
            table, _, name = column.partition(".")
            records._db.execute(f"UPDATE {table} SET {name} = '2026-01-01T00:00:00+00:00'")


class Dockerd:
    """What dockerd does of a plugin, in the order in which it does it; on a host where a server runs with --docker. Its
    process is one of the host's network namespace; another `start` of it is another run of dockerd.
    """

    def __init__(self, lan: Lan) -> None:
        self.lan = lan
        self.socket = lan.run_dir / "plugins" / "macvfast.sock"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start the server, and dockerd."""
        self.lan.serve_with(f"--docker={self.socket}")
        self.start()
        wait_until(self._answers, 60, "the plugin's first answer")
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self, mounts: str = "") -> None:
        """Start dockerd, again where it runs; `mounts`: in a mount namespace of its own, where this is mounted."""
        self.end()
        apart = ("unshare", "--mount", "--propagation=private", "sh", "-ec", f'{mounts}\nexec "$@"', "sh")
        command = self.lan.host.command(*(apart if mounts else ()), sys.executable, "-m", __name__, str(self.socket))
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)

    def restart_server(self) -> None:
        """Kill the server, and start another."""
        assert self.lan.server is not None
        self.lan.server.kill()
        self.lan.server.communicate()
        # Its children end with it; what they have not answered they never will.
        wait_until(lambda: not self._answers(), 20, "the end of the server")
        self.lan.serve_with(f"--docker={self.socket}")
        wait_until(self._answers, 60, "the plugin's first answer")

    def end(self) -> None:
        """End dockerd."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _answers(self) -> bool:
        return self.post("Plugin.Activate", b"")[0] == 200

    def post(self, method: str, body: bytes, **headers: str) -> tuple[int, Said]:
        """One call as it is; the status, and what is said; 0: it is not answered."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, body.decode("latin-1"), headers]) + "\n")
        self._process.stdin.flush()
        status, said = json.loads(self._process.stdout.readline())
        return status, said

    def call(self, method: str, **fields: object) -> Said:
        """One call that is answered; what is said."""
        status, said = self.post(method, json.dumps(fields).encode())
        assert status == 200, said
        return said

    def done(self, method: str, **fields: object) -> Said:
        """One call that must succeed."""
        said = self.call(method, **fields)
        assert not said.keys() & {"Err", "Error"}, said
        return said

    def refused(self, method: str, **fields: object) -> str:
        """One call that must be refused; why."""
        said = self.call(method, **fields)
        return str(said.get("Err") or said["Error"])

    # The orders in which dockerd calls.

    def create_network(
        self, subnet: str, gateway: str | None = None, *, ipam: dict[str, str] | None = None, old: bool = False,
        **options: str,
    ) -> Network:  # fmt: skip
        """`docker network create -d macvfast --ipam-driver macvfast --subnet … -o …`; `old`: before Docker 28, which
        asks for a gateway in any case.
        """
        pool = self.done("IpamDriver.RequestPool", AddressSpace="macvfast", Pool=subnet, SubPool="",
                         Options=ipam or {}, V6=":" in subnet)  # fmt: skip
        version = 6 if ":" in subnet else 4
        data = {"AddressSpace": "macvfast", "Pool": pool["Pool"]}
        id_ = an_id()
        made = Network(self, id_, {version: pool["PoolID"]})
        generic = {"com.docker.network.generic": options, "com.docker.network.internal": False}
        skipped = {"SkipIPv4": False, "SkipIPv6": False}
        if not old:
            skipped = self.done("NetworkDriver.GwAllocCheck", Options=generic)
        if gateway is not None or not skipped["SkipIPv6" if version == 6 else "SkipIPv4"]:
            wanted = {"RequestAddressType": "com.docker.network.gateway"}
            data["Gateway"] = made.request_address(gateway, version, wanted)
        self.done(
            "NetworkDriver.CreateNetwork", NetworkID=id_, Options=generic,
            IPv4Data=[data] if version == 4 else [], IPv6Data=[data] if version == 6 else [],
        )  # fmt: skip
        return made


class Network:
    """A network that dockerd has created."""

    def __init__(self, dockerd: Dockerd, id_: str, pools: dict[int, str]) -> None:
        self.dockerd = dockerd
        self.id = id_
        self.pools = pools

    def request_address(self, address: str | None = None, version: int = 4, options: object = None) -> str:
        """RequestAddress: the address with the length of its prefix."""
        said = self.dockerd.done(
            "IpamDriver.RequestAddress", PoolID=self.pools[version], Address=address or "", Options=options
        )
        return str(said["Address"])

    def release_address(self, address: str) -> None:
        version = 6 if ":" in address else 4
        self.dockerd.done("IpamDriver.ReleaseAddress", PoolID=self.pools[version], Address=address.partition("/")[0])

    def create_endpoint(self, address: str | None = None, mac: str = "", **options: object) -> Endpoint:
        """What comes before a container is there."""
        version = 4 if 4 in self.pools else 6
        return self.announce(self.request_address(address, version), mac, **options)

    def announce(self, given: str, mac: str = "", **options: object) -> Endpoint:
        """CreateEndpoint with an address that was requested."""
        id_ = an_id()
        both = {"Address": "", "AddressIPv6": given} if ":" in given else {"Address": given, "AddressIPv6": ""}
        asked = both | {"MacAddress": mac}
        said = self.dockerd.done(
            "NetworkDriver.CreateEndpoint", NetworkID=self.id, EndpointID=id_, Interface=asked, Options=options
        )
        assert not (mac and said["Interface"].get("MacAddress")), "the driver modified the MAC"
        return Endpoint(self, id_, given, mac or said["Interface"].get("MacAddress", ""))

    def remove(self) -> None:
        """`docker network rm`."""
        self.dockerd.done("NetworkDriver.DeleteNetwork", NetworkID=self.id)
        for pool in self.pools.values():
            self.dockerd.done("IpamDriver.ReleasePool", PoolID=pool)


class Endpoint:
    """An endpoint that dockerd has created."""

    def __init__(self, network: Network, id_: str, address: str, mac: str) -> None:
        self.network = network
        self.id = id_
        self.address = address
        self.mac = mac

    @property
    def ids(self) -> dict[str, str]:
        return {"NetworkID": self.network.id, "EndpointID": self.id}

    def done(self, method: str, **fields: object) -> Said:
        return self.network.dockerd.done(f"NetworkDriver.{method}", **self.ids, **fields)

    def join(self, key: str | Path) -> Said:
        """Join, and what follows it."""
        said = self.done("Join", SandboxKey=str(key), Options={})
        assert said["DisableGatewayService"] is True
        self.done("ProgramExternalConnectivity", Options={})
        assert self.done("EndpointOperInfo") == {"Value": {}}
        return said

    def leave(self) -> None:
        """What comes before dockerd takes a link back."""
        self.done("RevokeExternalConnectivity")
        self.done("Leave")

    def delete(self) -> None:
        """What comes after it."""
        self.done("DeleteEndpoint")
        self.network.release_address(self.address)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("plugin", timeout=20)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _post(path: Path, method: str, body: bytes, headers: dict[str, str]) -> tuple[int, Said]:
    with contextlib.closing(_Connection(path)) as connection:
        kind = "application/vnd.docker.plugins.v1.2+json"
        connection.request("POST", f"/{method}", body, {"Accept": kind, "Content-Type": kind} | headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def _serve(path: Path) -> None:
    """Make the calls that come, a line each, and print what is said."""
    for line in sys.stdin:
        method, body, headers = json.loads(line)
        try:
            answer = _post(path, method, body.encode("latin-1"), headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answer = 0, {"Err": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
