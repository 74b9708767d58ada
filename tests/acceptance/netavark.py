"""Podman's side of a plugin: what netavark and Podman send it, as seen of releases 5.4 and 5.8."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from tests.acceptance.serving import COMMAND

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.netns import Lan, Netns


class Podman:
    """What calls the plugin, and keeps networks in files.

    Attributes:
        plugin: the copy of the native program in a directory of netavark's.
        networks: by name, as Podman has them.
    """

    def __init__(self, lan: Lan, directory: Path) -> None:
        self.lan = lan
        self.plugin = directory / "netavark/macvfast"
        self.plugin.parent.mkdir()
        shutil.copy(COMMAND, self.plugin)
        self.networks: dict[str, dict[str, Any]] = {}
        self._made = 0

    def call(self, *words: str, stdin: object = None, env: str = "") -> subprocess.CompletedProcess[str]:
        environment = ["env", env] if env else []
        text = stdin if isinstance(stdin, str) else json.dumps(stdin)
        return self.lan.host.attempt(*environment, self.plugin, *words, stdin=text)

    def ok(self, *words: str, stdin: object = None) -> dict[str, Any]:
        """What a call that must succeed prints; empty: nothing."""
        done = self.call(*words, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, ""), (done.stdout, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout or "{}")
        return found

    def error(self, *words: str, stdin: object = None) -> str:
        """What Podman shows of a call that must fail: it decodes an object with that one key."""
        done = self.call(*words, stdin=stdin)
        assert (done.returncode, done.stderr) == (1, ""), (done.stdout, done.stderr)
        (text,) = json.loads(done.stdout).items()
        assert text[0] == "error"
        return str(text[1])

    # Networks.

    def network(self, name: str, *subnets: str | dict[str, Any], **fields: Any) -> dict[str, Any]:
        """What `create` gets; options that are left out are not there, as Podman has it."""
        self._made += 1
        options = fields.pop("options", {"parent": "eth0"})
        return {
            "name": name, "id": f"{self._made:064x}", "driver": "macvfast", "created": "0001-01-01T00:00:00Z",
            "subnets": [one if isinstance(one, dict) else {"subnet": one} for one in subnets] or None,
            "ipv6_enabled": False, "internal": False, "dns_enabled": True, **({"options": options} if options else {}),
            **fields,
        }  # fmt: skip

    def create(self, name: str, *subnets: str | dict[str, Any], **fields: Any) -> dict[str, Any]:
        """`podman network create`: what the plugin answers is what Podman keeps."""
        asked = self.network(name, *subnets, **fields)
        made = self.ok("create", stdin=asked)
        for key in ("name", "id", "driver"):
            assert made[key] == asked[key]
        for one in made["subnets"] or []:
            # It gives a subnet without a gateway the first address.
            if not one.get("gateway") and not made["internal"]:
                raise AssertionError(f"Podman would choose the gateway of {one['subnet']}")
        self.networks[name] = made
        return made

    # Containers.

    def said(self, container: str, network: str, **options: Any) -> dict[str, Any]:
        """What `setup` and `teardown` get."""
        kept = {key: value for key, value in self.networks[network].items() if key not in ("labels", "created")}
        name = options.pop("name", f"name-of-{container[:4]}")
        asked = {"interface_name": "eth0", "aliases": [container[:12]], "static_ips": None, "static_mac": "", **options}
        return {
            "container_id": container, "container_name": name, "port_mappings": None, "network": kept,
            "network_options": asked,
        }  # fmt: skip

    def setup(self, netns: Netns, container: str, network: str, **options: Any) -> dict[str, Any]:
        """What a container gets: its interfaces, by name."""
        found = self.ok("setup", str(netns.path), stdin=self.said(container, network, **options))
        interfaces: dict[str, Any] = found["interfaces"]
        return interfaces

    def refused(self, netns: Netns, container: str, network: str, **options: Any) -> str:
        return self.error("setup", str(netns.path), stdin=self.said(container, network, **options))

    def teardown(self, netns: Netns | str, container: str, network: str, **options: Any) -> None:
        path = netns if isinstance(netns, str) else str(netns.path)
        assert self.ok("teardown", path, stdin=self.said(container, network, **options)) == {}


def address_in(interface: dict[str, Any], family: str = ".") -> str:
    """The address of a family that an interface was given, without its prefix length."""
    (found,) = [one["ipnet"] for one in interface["subnets"] if family in one["ipnet"]]
    return str(found).partition("/")[0]
