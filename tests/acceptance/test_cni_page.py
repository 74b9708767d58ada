"""What docs/cni.md has for Kubernetes: its YAML is read as kubectl would, and does what the page says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.serving import COMMAND
from tests.acceptance.test_cni import Runtime

if TYPE_CHECKING:
    from tests.netns import Lan, Netns

pytestmark = pytest.mark.needs("macvlan", "yaml")

PAGE = (Path(__file__).parents[2] / "docs/cni.md").read_text(encoding="utf-8")

READ = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)"


@cache
def objects() -> dict[str, Any]:
    """The objects of the page, by their kinds."""
    text = "---\n".join(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    done = subprocess.run(["/usr/bin/python3", "-c", READ], input=text, stdout=subprocess.PIPE, text=True, check=True)
    found = {one["kind"]: one for one in json.loads(done.stdout)}
    assert set(found) == {"DaemonSet", "NetworkAttachmentDefinition", "Pod"}
    return found


def typed(beginning: str) -> list[str]:
    """The words of the one command on the page that begins so, without the program's name."""
    (line,) = re.findall(rf"^    (macvfast {beginning}.*)$", PAGE, re.MULTILINE)
    return shlex.split(line)[1:]


def test_the_daemon_set_has_the_node_install_the_plugin(lan: Lan, tmp_path: Path) -> None:
    spec = objects()["DaemonSet"]["spec"]
    pod = spec["template"]
    assert pod["metadata"]["labels"] == spec["selector"]["matchLabels"]
    assert pod["spec"]["hostPID"], "process 1 would be the container's own"
    (container,) = pod["spec"]["initContainers"]
    assert container["securityContext"]["privileged"]
    # From a container's namespaces, it gets into those of the process, which stands for a node's first one here.
    first = lan.host.start("sh", "-c", "echo ready; exec sleep infinity")
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        entering = [word.replace("--target=1", f"--target={first.pid}") for word in container["command"]]
        for kind in ("net", "mnt", "uts", "ipc"):
            link = ("readlink", f"/proc/self/ns/{kind}")
            found = lan.host.run("unshare", "--net", "--mount", "--uts", "--ipc", *entering, *link)
            assert found == os.readlink(f"/proc/{first.pid}/ns/{kind}") + "\n"
    finally:
        first.kill()
        first.communicate()
    # A root of its own: this machine is not changed, and has no unit to start.
    words = [word for word in container["args"][1:] if word != "--now"]
    lan.host.run(COMMAND, *words, f"--root={tmp_path}")
    assert (tmp_path / "opt/cni/bin/macvfast").read_bytes() == Path(COMMAND).read_bytes()
    assert (tmp_path / "etc/macvfast/client.conf").exists()


def test_a_pod_gets_the_address_that_it_asks_for_by_its_definition_and_another_the_next_of_the_nodes_part(
    told: Lan, foreign: Netns
) -> None:
    """As Multus calls: the definition's configuration, with what the pod's annotation asks for as `runtimeConfig`."""
    told.macvfast(*typed("network create"))
    asked = json.loads(objects()["Pod"]["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"])
    definition = objects()["NetworkAttachmentDefinition"]
    (one,) = asked
    assert one.pop("name") == definition["metadata"]["name"]
    runtime = Runtime(told, foreign)
    runtime.conf = json.loads(definition["spec"]["config"])
    assert all(runtime.conf["capabilities"][name] for name in one)
    result = runtime.ok("ADD", runtimeConfig=one)
    assert [ip["address"] for ip in result["ips"]] == one["ips"]
    assert foreign.can_ping("172.16.86.1")
    assert runtime.ok("CHECK", prevResult=result, runtimeConfig=one) == {}
    assert runtime.ok("DEL") == {}
    assert runtime.ok("ADD")["ips"][0]["address"] == "172.16.86.64/24"
    assert runtime.ok("DEL") == {}
