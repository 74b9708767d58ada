"""Classes, codes, messages and docs/errors.md, held together one to one."""

from __future__ import annotations

import copy
import errno
import inspect
import pickle
import re
import string
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from macvfast import errors
from macvfast.errors import MacvfastError

ERRORS_PAGE = Path(__file__).parents[2] / "docs" / "errors.md"

# One instance of every class, as a person sees it: the message, `caused by` lines, hints.
EXAMPLES: list[tuple[MacvfastError, str]] = [
    (
        errors.NameInvalid("network", "a/b"),
        "`a/b` is not a network name\n"
        "  caused by: names have 1 to 128 of the characters A-Z a-z 0-9 _ . - and begin with a letter or digit\n"
        "hint: `a-b` would be one",
    ),
    (
        errors.SubnetInvalid("172.16.86.5/24", "it has host bits set", meant="172.16.86.0/24"),
        "`172.16.86.5/24` is not a usable subnet\n  caused by: it has host bits set\nhint: --subnet=172.16.86.0/24",
    ),
    (
        errors.SubnetsOverlap("10.0.0.0/8", "10.1.0.0/16"),
        "subnets `10.0.0.0/8` and `10.1.0.0/16` of one network overlap\n"
        "  caused by: `10.1.0.0/16` lies within `10.0.0.0/8`\n"
        "hint: leave --subnet=10.1.0.0/16 out, or give --ip-range=10.1.0.0/16 in its place",
    ),
    (
        errors.PoolUnknown("ab12"),
        "there is no pool ab12\n"
        "  caused by: Docker has not requested it, or it was freed since\n"
        "hint: remove the network with `docker network rm`, and create it again",
    ),
    (
        errors.PoolTaken("10.1.0.0/16", "10.0.0.0/8", "docker:lab"),
        "subnet `10.1.0.0/16` is taken\n"
        "  caused by: Docker has the pool `10.0.0.0/8` in the domain `docker:lab` already\n"
        "hint: `docker network ls` shows its networks; `--ipam-opt domain=NAME` is another domain; what Docker no "
        "longer knows, `macvfast gc` frees",
    ),
    (
        errors.SubnetMissing("eth0 needs one", ["--subnet=172.16.86.0/24"]),
        "a subnet is missing\n  caused by: eth0 needs one\nhint: --subnet=172.16.86.0/24",
    ),
    (
        errors.RangeInvalid("10.0.0.9/25", "it has host bits set", meant="10.0.0.0/25"),
        "`10.0.0.9/25` is not a usable ip-range\n  caused by: it has host bits set\nhint: --ip-range=10.0.0.0/25",
    ),
    (
        errors.RouteInvalid("10.0.0.0/8 via 10.9.0.1", "10.9.0.1 is not in 10.7.0.0/24"),
        "route `10.0.0.0/8 via 10.9.0.1` cannot be used\n"
        "  caused by: 10.9.0.1 is not in 10.7.0.0/24\n"
        "hint: a route has a destination such as 10.0.0.0/8 and a gateway in a subnet of the endpoint, or none",
    ),
    (
        errors.GatewayInvalid("10.0.1.1", "it is outside every subnet"),
        "`10.0.1.1` cannot be the gateway\n"
        "  caused by: it is outside every subnet\n"
        "hint: --gateway takes another address of the subnet, or none",
    ),
    (
        errors.AuxAddressInvalid("host", "10.0.0.1", "it is the gateway", ["--gateway=10.0.0.254"]),
        "`host=10.0.0.1` cannot be an aux address\n  caused by: it is the gateway\nhint: --gateway=10.0.0.254",
    ),
    (
        errors.AddressInvalid("10.0.0", "it is neither IPv4 nor IPv6"),
        "`10.0.0` is not a usable address\n"
        "  caused by: it is neither IPv4 nor IPv6\n"
        "hint: --ip takes an address such as 192.168.32.10, --ip6 one such as 2001:db8:abc8::10",
    ),
    (
        errors.AddressOutsideSubnet("10.0.1.1", ["10.0.0.0/24"], "lab"),
        "address 10.0.1.1 is outside network `lab`\n"
        "  caused by: its subnets of that family are `10.0.0.0/24`\n"
        "hint: give an address of 10.0.0.0/24, or leave it out for the next free one",
    ),
    (
        errors.AddressReserved("10.0.0.255", "broadcast address"),
        "address 10.0.0.255 cannot be released\n"
        "  caused by: it is the subnet's broadcast address\n"
        "hint: release what was allocated or reserved; the rest goes with the subnet",
    ),
    (
        errors.MacInvalid("01:00:5e:00:00:01", "it is a multicast address"),
        "`01:00:5e:00:00:01` cannot be the endpoint's MAC\n"
        "  caused by: it is a multicast address\n"
        "hint: leave --mac-address out for a MAC that fits",
    ),
    (
        errors.OptionUnknown("network option", "prent", ["mtu", "parent"]),
        "`prent` is not a known network option\n  caused by: known: `mtu`, `parent`\nhint: did you mean `parent`?",
    ),
    (
        errors.OptionInvalid("macvlan_mode", "brige", "it is bridge, private, vepa or passthru", ["bridge"]),
        "`macvlan_mode` cannot be `brige`\n  caused by: it is bridge, private, vepa or passthru\nhint: bridge",
    ),
    (
        errors.ArgumentInvalid("sandboxes", "12", "a list is meant, even of a single item"),
        "`sandboxes` cannot be '12'\n  caused by: a list is meant, even of a single item\nhint: sandboxes=['12']",
    ),
    (
        errors.ParentUnusable("lo", "it is the loopback link", ["-o parent=eth0"]),
        "link `lo` cannot be a parent\n  caused by: it is the loopback link\nhint: -o parent=eth0",
    ),
    (
        errors.NamespaceInvalid("/etc/passwd", "it is a regular file"),
        "`/etc/passwd` is not a network namespace\n"
        "  caused by: it is a regular file\n"
        "hint: `ip netns` and `lsns -t net` list the network namespaces of this host",
    ),
    (
        errors.NameReserved("host"),
        "a network cannot be called `host`\n"
        "  caused by: Docker predefines it, and `--net host` means that network\n"
        "hint: choose another name",
    ),
    (
        errors.BackupInvalid("/etc/passwd", "it is of another program, or empty"),
        "`/etc/passwd` cannot be used as a backup of the state\n"
        "  caused by: it is of another program, or empty\n"
        "hint: `macvfast state backup FILE` writes one; FILE may be new, or an older backup",
    ),
    (
        errors.RootfsInvalid("/nowhere", "there is no such directory"),
        "`/nowhere` cannot be the root file system\n"
        "  caused by: there is no such directory\n"
        "hint: --rootfs takes a directory with all that the command needs, `proc` and `sys` included",
    ),
    (
        errors.UserUnknown("nobdy", "there is no user `nobdy`"),
        "`nobdy` cannot run the command\n  caused by: there is no user `nobdy`\n"
        "hint: -u USER[:GROUP], names or numbers",
    ),
    (
        errors.UserNotTrusted("app", "/srv/root", "uid 0", "0:0"),
        "`app` would have uid 0 of this host\n"
        "  caused by: users other than root can change etc/passwd or etc/group in `/srv/root`\n"
        "hint: `-u 0:0` gives the same rights explicitly\n"
        "hint: let only root write to the directory, etc and both files: `chown root:root`, `chmod go-w`",
    ),
    (
        errors.ImportSourceInvalid("/tmp/nets", "it is not JSON"),
        "networks cannot be read from `/tmp/nets`\n  caused by: it is not JSON\n"
        "hint: `docker network inspect NETWORK... > FILE` makes a file; --socket PATH names an Engine's socket",
    ),
    (
        errors.TerminalMissing(),
        "standard input is not a terminal\n"
        "  caused by: `-i` with `-t` needs one, unless `-d` is given\n"
        "hint: leave out `-t`",
    ),
    (
        errors.NetworkNotFound("lab"),
        "network `lab` not found\n"
        "  caused by: no network has that name, or an id that begins so\n"
        "hint: `macvfast network ls` lists them",
    ),
    (
        errors.SandboxNotFound("web"),
        "sandbox `web` not found\n"
        "  caused by: no sandbox has that name, or an id that begins so\n"
        "hint: `macvfast ps -a` lists them",
    ),
    (
        errors.NothingToStart("web"),
        "sandbox `web` has no command to start\n"
        "  caused by: `macvfast run` gives a sandbox its own command; with --rm, it runs once\n"
        "hint: `macvfast exec web COMMAND` runs one in it",
    ),
    (
        errors.EndpointNotFound("lab", "web"),
        "sandbox `web` is not connected to network `lab`\n"
        "  caused by: it has no endpoint there\n"
        "hint: `macvfast network connect lab web` connects it",
    ),
    (
        errors.ParentNotFound("eth9", "no link has that name", ["`ip link` lists them"]),
        "parent `eth9` not found\n  caused by: no link has that name\nhint: `ip link` lists them",
    ),
    (
        errors.NameAmbiguous("sandbox", "3f", ["3fa1", "3fb2"]),
        "`3f` fits several sandboxes\n"
        "  caused by: ids that begin so: `3fa1`, `3fb2`\n"
        "hint: give more of the id, or the name",
    ),
    (
        errors.EndpointAmbiguous("lab", "web", ["eth0", "lab1"]),
        "sandbox `web` is connected to network `lab` more than once\n"
        "  caused by: its links there: `eth0`, `lab1`\n"
        "hint: in Python, `Host.disconnect` takes the `ifname` of the one that is meant\n"
        "hint: `macvfast rm web` removes the sandbox with all of them",
    ),
    (
        errors.CommandNotFound("alpine", ["macvfast takes no image name"]),
        "command `alpine` not found\n  caused by: no directory of PATH has it\nhint: macvfast takes no image name",
    ),
    (
        errors.CommandNotStarted("/etc/passwd", "permission denied"),
        "command `/etc/passwd` cannot be started\n"
        "  caused by: permission denied\n"
        "hint: it must be an executable program, or a script whose first line names one: `#!/bin/sh`",
    ),
    (
        errors.NetworkExists("lab"),
        "network `lab` exists already\n"
        "  caused by: network names are unique\n"
        "hint: choose another name, or remove it first: `macvfast network rm lab`",
    ),
    (
        errors.NetworkDiffers("lab", ["mtu: 1500 is recorded, 9000 is asked for", "ipv6: true is recorded, false is"]),
        "network `lab` differs from the request\n"
        "  caused by: mtu: 1500 is recorded, 9000 is asked for\n"
        "  caused by: ipv6: true is recorded, false is\n"
        "hint: request what is recorded, choose another name, or remove it first: `macvfast network rm lab`",
    ),
    (
        errors.SandboxExists("web"),
        "sandbox `web` exists already\n"
        "  caused by: sandbox names are unique\n"
        "hint: choose another name, or remove it first: `macvfast rm -f web`",
    ),
    (
        errors.NotScaled("web-3", "lab"),
        "sandbox `web-3` is left as it is\n"
        "  caused by: `scale` did not make it on network `lab`\n"
        "hint: choose another prefix, or remove it first: `macvfast rm -f web-3`",
    ),
    (
        errors.SandboxOnOthers("web-3", "lab"),
        "sandbox `web-3` is left as it is\n"
        "  caused by: it is connected to other networks than `lab` too\n"
        "hint: `scale --force` removes it nevertheless",
    ),
    (
        errors.NamespaceNameTaken("web", "/run/netns/web"),
        "sandbox `web` cannot be pinned\n"
        "  caused by: `/run/netns/web` exists already, and macvfast did not make it\n"
        "hint: choose another name",
    ),
    (
        errors.PinsLocked("prepare `/run/netns` for network namespaces", ["process 7 (sleep)", "process 9 (flock)"]),
        "could not prepare `/run/netns` for network namespaces\n"
        "  caused by: its lock is held by process 7 (sleep), process 9 (flock)\n"
        "hint: end that: `kill 7 9`",
    ),
    (
        errors.PinsUnsafe("prepare `/srv/pins` for network namespaces", "others may write to it (mode 0777)"),
        "could not prepare `/srv/pins` for network namespaces\n"
        "  caused by: others may write to it (mode 0777)\n"
        "hint: name a directory that only root can write to with MACVFAST_NETNS_DIR (default: /run/netns)",
    ),
    (
        errors.NamespaceChanged("web", "/run/netns/web", "another namespace is there"),
        "sandbox `web` is not at `/run/netns/web`\n"
        "  caused by: another namespace is there\n"
        "hint: `macvfast rm -f web` removes it; then create it again",
    ),
    (
        errors.ParentTaken("lab", "eth0", "network `dmz` holds it", ["macvfast network rm dmz"]),
        "network `lab` cannot use parent `eth0`\n  caused by: network `dmz` holds it\nhint: macvfast network rm dmz",
    ),
    (
        errors.SubnetTaken("10.0.0.0/24", "10.0.0.0/16", "dmz"),
        "subnet `10.0.0.0/24` is taken\n"
        "  caused by: it overlaps `10.0.0.0/16` of network `dmz` on the same LAN\n"
        "hint: give another --subnet, or remove `dmz` first: `macvfast network rm dmz`",
    ),
    (
        errors.AddressTaken("10.0.0.5", "sandbox `web`", ["choose another"]),
        "address 10.0.0.5 is taken\n  caused by: it is sandbox `web`\nhint: choose another",
    ),
    (
        errors.MacTaken("02:42:0a:00:00:05", "sandbox `web`"),
        "MAC 02:42:0a:00:00:05 is taken\n"
        "  caused by: sandbox `web` has it\n"
        "hint: give another --mac-address, or leave it out for one that is free",
    ),
    (
        errors.NetworkInUse("lab", ["web", "db"]),
        "network `lab` has endpoints\n"
        "  caused by: connected: `web`, `db`\n"
        "hint: `macvfast network disconnect lab web`, or `macvfast rm -f web`",
    ),
    (
        errors.PassthruOccupied("lab", "web"),
        "passthru network `lab` takes one endpoint only\n"
        "  caused by: sandbox `web` is connected\n"
        "hint: `macvfast network disconnect lab web`",
    ),
    (
        errors.AlreadyConnected("web", "lab"),
        "sandbox `web` cannot be connected to network `lab`\n"
        "  caused by: it is connected already\n"
        "hint: `macvfast network disconnect lab web` disconnects it first",
    ),
    (
        errors.MadeByEngine("network", "pod", "podman"),
        "network `pod` belongs to podman\n"
        "  caused by: podman made it, and changes and removes it itself\n"
        "hint: `podman network rm pod`, then `macvfast gc`\n"
        "hint: if podman is gone for good: `macvfast gc --origin podman` removes all that it made",
    ),
    (
        errors.EndpointOfEngine("web", "podman"),
        "sandbox `web` has an endpoint that belongs to podman\n"
        "  caused by: podman would still count on it\n"
        "hint: disconnect it with podman, or remove both: `macvfast rm -f web`",
    ),
    (
        errors.SandboxRestarting("web"),
        "sandbox `web` is restarting\n  caused by: its command has ended, and --restart runs it again after a pause\n"
        "hint: run this again when `macvfast ps` shows it running; `macvfast logs web` may say why it ends",
    ),
    (
        errors.SandboxRunning("web"),
        "sandbox `web` runs a command\n"
        "  caused by: its command is still running\n"
        "hint: `macvfast stop web` ends it, and `macvfast rm -f web` removes the sandbox, too",
    ),
    (
        errors.SandboxBusy("sandbox", "web", "removed"),
        "sandbox `web` is being removed\n"
        "  caused by: another macvfast process began it\n"
        "hint: wait until that is done, then run the command again",
    ),
    (
        errors.PoolExhausted(["10.0.0.0/30"], "lab", "IPv4"),
        "no free IPv4 address in network `lab`\n"
        "  caused by: every address of `10.0.0.0/30` for automatic allocation is in use\n"
        "hint: remove a sandbox that is not needed: `macvfast ps -a -f network=lab` lists them",
    ),
    (
        errors.PermissionNeeded("make a link", "CAP_NET_ADMIN"),
        "not permitted to make a link\n  caused by: CAP_NET_ADMIN is needed\nhint: run macvfast as root",
    ),
    (
        errors.KernelRefused("make link `eth0`", errno.EBUSY, "Device is busy", ["try later"], "a bridge has it"),
        "could not make link `eth0`\n"
        "  caused by: a bridge has it\n"
        "  caused by: the kernel said: Device is busy: Device or resource busy (EBUSY)\n"
        "hint: try later",
    ),
    (
        errors.KernelFeatureMissing("make link `eth0.10`", errno.EOPNOTSUPP, "802.1Q", "8021q"),
        "could not make link `eth0.10`\n"
        "  caused by: this kernel has no 802.1Q (module `8021q`)\n"
        "  caused by: the kernel said: Operation not supported (EOPNOTSUPP)\n"
        "hint: modprobe 8021q\n"
        "hint: give an existing link with -o parent=NAME",
    ),
    (
        errors.HostClosed("/var/lib/macvfast"),
        "the Host of `/var/lib/macvfast` is closed\n  caused by: `close` was called, or its `with` block ended\n"
        "hint: `Host.open` opens it again",
    ),
    (
        errors.HostForked("/var/lib/macvfast"),
        "the Host of `/var/lib/macvfast` belongs to another process\n"
        "  caused by: this process was forked while it was open\n"
        "hint: `Host.open` in this process opens one of its own",
    ),
    (
        errors.StateUnusable("/var/lib/macvfast", "permission denied"),
        "the state in `/var/lib/macvfast` cannot be used\n  caused by: permission denied\nhint: run macvfast as root",
    ),
    (
        errors.StateBusy("/var/lib/macvfast", 30.0),
        "the state in `/var/lib/macvfast` is busy\n"
        "  caused by: macvfast waited 30 s for another process\n"
        "hint: run the command again; `fuser -v /var/lib/macvfast/state.db` shows who holds it",
    ),
    (
        errors.StateCorrupt("/var/lib/macvfast/state.db", "file is not a database"),
        "the state file `/var/lib/macvfast/state.db` is damaged\n"
        "  caused by: file is not a database\n"
        "hint: move it away and load a copy with `macvfast state load`; nothing was changed",
    ),
    (
        errors.StateMissing("/nonexistent/x"),
        "there is no state in `/nonexistent/x`\n"
        "  caused by: the directory that --state-dir or MACVFAST_STATE_DIR names does not exist\n"
        "hint: `macvfast network create` makes it; the default is /var/lib/macvfast",
    ),
    (
        errors.StateNewer("/var/lib/macvfast/state.db", 7, 1),
        "the state file `/var/lib/macvfast/state.db` is of format 7\n"
        "  caused by: this macvfast knows formats up to 1\n"
        "hint: use the macvfast that wrote it, or a newer one",
    ),
    (
        errors.HomeNamespaceOther("/var/lib/macvfast"),
        "the state in `/var/lib/macvfast` belongs to another network namespace\n"
        "  caused by: its parents are in that one, and macvfast was not started there\n"
        "hint: start macvfast in that namespace, or name another state directory with --state-dir",
    ),
    (
        errors.StateForeign("/var/lib/macvfast"),
        "the state in `/var/lib/macvfast` belongs to another machine\n"
        "  caused by: it was recorded under another machine id\n"
        "  caused by: its disk is shared or was cloned, it came with a backup, or this machine's id was changed\n"
        "hint: once no other machine uses it, `macvfast state adopt` takes it over; `macvfast ps -a` shows it",
    ),
    (
        errors.SnapshotDamaged("its checksum is wrong"),
        "the snapshot of a pool is damaged\n"
        "  caused by: its checksum is wrong\n"
        "hint: take another snapshot, or create the pool again and reserve the addresses in use",
    ),
    (
        errors.NamespaceHeld("web", ["tcpdump (pid 41)"]),
        "sandbox `web` could not be removed completely\n"
        "  caused by: its namespace is held by tcpdump (pid 41); its address stays taken\n"
        "hint: end that, then run `macvfast rm -f web` again",
    ),
    (
        errors.MacRemains(
            "sandbox `web`", "02:42:0a:00:00:02", "eth0", "link `mv0` (macvlan) of this namespace", "macvfast rm -f web"
        ),
        "sandbox `web` could not be removed completely\n"
        "  caused by: MAC 02:42:0a:00:00:02 is still on `eth0`: link `mv0` (macvlan) of this namespace has it\n"
        "  caused by: its address stays taken\n"
        "hint: run `macvfast rm -f web` again once that link has another MAC or is deleted",
    ),
    (
        errors.LinkEscaped(
            "sandbox `web`",
            "eth0",
            ["02:42:0a:00:00:99"],
            [("/proc/7/ns/net", "eth0", "02:42:0a:00:00:99")],
            "macvfast rm -f web",
        ),
        "sandbox `web` could not be removed completely\n"
        "  caused by: its link on `eth0` is no longer in its namespace, and may still have its address\n"
        "  caused by: link `eth0` with MAC 02:42:0a:00:00:99 of the namespace at `/proc/7/ns/net` may be it\n"
        "  caused by: its address stays taken\n"
        "hint: `nsenter --net=/proc/7/ns/net ip link del eth0` deletes that, if it is the one\n"
        "hint: then run `macvfast rm -f web` again",
    ),
    (
        errors.ParentAway("sandbox `web`", "eth0", "eth0", "/run/netns/router", "macvfast rm -f web"),
        "sandbox `web` could not be removed completely\n"
        "  caused by: its parent `eth0` is in another network namespace, `/run/netns/router`\n"
        "  caused by: so macvfast cannot see whether its link is deleted; its address stays taken\n"
        "hint: `nsenter --net=/run/netns/router ip link set eth0 netns $$` brings that back\n"
        "hint: then run `macvfast rm -f web` again",
    ),
    (
        errors.StepFailed(
            "sandbox web: make link eth0 on network lab",
            errors.MacTaken("02:42:0a:00:00:02", "another link on `eth0`"),
        ),
        "not restored: sandbox web: make link eth0 on network lab\n"
        "  caused by: MAC 02:42:0a:00:00:02 is taken\n"
        "  caused by: another link on `eth0` has it\n"
        "hint: give another --mac-address, or leave it out for one that is free",
    ),
    (
        errors.RemovalUnfinished("network", "lab", "could not delete link `eth0.10`", "macvfast network rm lab"),
        "network `lab` could not be removed completely\n"
        "  caused by: could not delete link `eth0.10`\n"
        "hint: run `macvfast network rm lab` again",
    ),
    (
        errors.SystemdRefused("systemctl start macvfast.socket", "Unit macvfast.socket is masked."),
        "`systemctl start macvfast.socket` failed\n"
        "  caused by: Unit macvfast.socket is masked.\n"
        "hint: run `systemctl start macvfast.socket` again, once that is mended",
    ),
    (
        errors.ServiceTaken("/etc/systemd/system/macvfast-restore.service"),
        "the service cannot be installed or uninstalled\n"
        "  caused by: `/etc/systemd/system/macvfast-restore.service` exists, and macvfast did not write it\n"
        "hint: rm /etc/systemd/system/macvfast-restore.service",
    ),
    (
        errors.PluginTaken("/opt/cni/bin/macvlan"),
        "the plugin cannot be installed or uninstalled\n"
        "  caused by: `/opt/cni/bin/macvlan` is another program\n"
        "hint: --cni=DIR names another directory, which the runtime is to search first",
    ),
    (
        errors.PluginMissing("/usr/bin/python3"),
        "the plugin cannot be installed: the native program is missing\n"
        "  caused by: there is no `macvfast` beside /usr/bin/python3, and none among its scripts\n"
        "hint: install macvfast whole, as `pip install` does",
    ),
    (
        errors.ServiceUnsafe("/srv/venv/bin/python", "others may write to /srv (mode 0777)"),
        "the service cannot be installed: other users could change what root runs at boot\n"
        "  caused by: /srv/venv/bin/python: others may write to /srv (mode 0777)\n"
        "hint: install macvfast, and keep its state, where root alone may write, from the root down: /opt, /var/lib",
    ),
    (
        errors.ServiceUnwritable("/etc/systemd/system/macvfast-restore.service", "Read-only file system"),
        "the service `/etc/systemd/system/macvfast-restore.service` cannot be changed\n"
        "  caused by: Read-only file system\n"
        "hint: --root DIR names the root of another system",
    ),
    (
        errors.RestoreIncomplete(["network lab: its parent eth1 is missing (link eth1 is not there)"]),
        "1 difference remains between record and kernel\n"
        "  caused by: network lab: its parent eth1 is missing (link eth1 is not there)\n"
        "hint: `macvfast check` lists them all; run `macvfast restore` again once the causes are removed",
    ),
    (
        errors.UndoFailed(errors.NetworkNotFound("lab"), ["could not delete link `eth0`"]),
        "network `lab` not found\n"
        "  caused by: no network has that name, or an id that begins so\n"
        "  caused by: then, while undoing: could not delete link `eth0`\n"
        "hint: `macvfast network ls` lists them\n"
        "hint: the next command that changes something tries it again: `macvfast ps -a` shows what is still there",
    ),
    (
        errors.SomeFailed([("web", errors.SandboxNotFound("web"))], 3),
        "1 of 3 failed\n"
        "  caused by: web: sandbox `web` not found: no sandbox has that name, or an id that begins so\n"
        "hint: `macvfast ps -a` lists them",
    ),
    (
        errors.ServerRunning("/run/macvfast", "123"),
        "a server is running already\n"
        "  caused by: process 123 serves in `/run/macvfast`\n"
        "hint: leave it, or end it: `kill 123`",
    ),
    (
        errors.ServerBusy(1024),
        "the server has too much to do\n"
        "  caused by: 1024 connections are open\n"
        "hint: ask again when some of them have ended, or do without a server",
    ),
    (
        errors.RequestInvalid("it is not JSON"),
        "what the server was sent is no request\n"
        "  caused by: it is not JSON\n"
        "hint: docs/serve.md lists what a request has",
    ),
    (
        errors.RunDirectoryUnusable("/run/macvfast", "others may write to it (mode 0777)"),
        "the server's directory `/run/macvfast` cannot be used\n"
        "  caused by: others may write to it (mode 0777)\n"
        "hint: `ls -ld /run/macvfast` shows it; MACVFAST_RUN_DIR names another one",
    ),
    (
        errors.ServerLost("run"),
        "`macvfast run` may be unfinished\n"
        "  caused by: the server that did it has ended\n"
        "hint: `macvfast restore` finishes what was begun, and `macvfast check` shows what differs",
    ),
]


def all_below(cls: type[MacvfastError]) -> list[type[MacvfastError]]:
    """Every class of macvfast.errors below `cls`, in the order written."""
    found = []
    for below in cls.__subclasses__():
        if below.__module__ == errors.__name__:
            found += [below, *all_below(below)]
    return found


CLASSES = all_below(MacvfastError)
KINDS = {cls for cls in CLASSES if "__init__" not in vars(cls)}


def as_shown(error: MacvfastError) -> str:
    causes = [f"  caused by: {cause}" for cause in error.causes]
    return "\n".join([error.message, *causes, *(f"hint: {hint}" for hint in error.hints)])


@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES], ids=lambda error: error.code)
def test_an_error_comes_through_pickle_and_copy_with_all_that_it_says(error: MacvfastError) -> None:
    # What a worker process raises is pickled; one that cannot be read ends `multiprocessing.Pool`.
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert (again.args, _shown(again.__dict__)) == (error.args, _shown(error.__dict__))
        assert str(again) == str(error)


def _shown(attributes: dict[str, object]) -> str:
    """Attributes for comparison: an exception among them is equal to itself alone."""
    return repr(attributes)


@pytest.mark.parametrize(("error", "shown"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES])
def test_every_error_says_what_failed_why_and_what_to_type(error: MacvfastError, shown: str) -> None:
    assert as_shown(error) == shown
    assert str(error).splitlines() == [error.message, *(f"  caused by: {cause}" for cause in error.causes)]
    assert error.line == ": ".join([error.message, *error.causes])
    assert error.__notes__ == [f"hint: {hint}" for hint in error.hints]


def test_every_class_has_an_example_and_every_example_a_class_of_its_own() -> None:
    shown = sorted(type(error).__name__ for error, _ in EXAMPLES)
    assert shown == sorted(cls.__name__ for cls in CLASSES if cls not in KINDS)


def test_no_two_classes_share_a_code() -> None:
    codes = [MacvfastError.code, *(cls.code for cls in CLASSES)]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code) for code in codes)


def test_every_class_states_its_code_itself() -> None:
    assert [cls.__name__ for cls in CLASSES if "code" not in vars(cls)] == []


def test_the_kinds_are_those_that_callers_branch_on() -> None:
    assert {cls.__name__ for cls in MacvfastError.__subclasses__() if cls.__module__ == errors.__name__} == {
        "InvalidConfig",
        "NotFound",
        "Conflict",
        "PoolExhausted",
        "PermissionNeeded",
        "KernelRefused",
        "StateProblem",
        "Incomplete",
    }


def test_exit_statuses_are_those_of_the_table() -> None:
    differing = {cls.__name__: cls.exit_status for cls in CLASSES if cls.exit_status != 1}
    partly = dict.fromkeys(["Incomplete", *(cls.__name__ for cls in all_below(errors.Incomplete))], 3)
    assert differing == {**partly, "CommandNotFound": 127, "CommandNotStarted": 126}


@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES], ids=lambda error: type(error).__name__)
def test_the_values_an_error_speaks_of_are_attributes(error: MacvfastError) -> None:
    names = [name for name in inspect.signature(type(error)).parameters if name != "hints"]
    assert [name for name in names if name not in vars(error)] == []


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls not in KINDS], ids=lambda cls: cls.code)
def test_no_template_speaks_of_a_value_that_its_class_does_not_take(cls: type[MacvfastError]) -> None:
    # Of several templates an example shows one only: a misspelled value in another would be found by whoever needs it.
    own = [vars(cls).get(name, ()) for name in ("_text", "_cause", "_hint")]
    templates = [text for texts in own for text in ((texts,) if isinstance(texts, str) else texts)]
    named = {
        re.split(r"[.\[]", name)[0] for text in templates for _, name, _, _ in string.Formatter().parse(text) if name
    }
    assert named - set(inspect.signature(cls).parameters) == set()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        (("mtu", "x"), {}),
        (("mtu", "x", "why", [], "more"), {}),
        (("mtu", "x", "why"), {"reason": "twice"}),
        (("mtu", "x", "why"), {"because": "unknown"}),
    ],
)
def test_a_value_too_few_too_many_twice_or_unknown_is_refused(
    values: tuple[object, ...], named: dict[str, str]
) -> None:
    with pytest.raises(TypeError, match=r"OptionInvalid takes \(key, value, reason, hints=\(\)\)"):
        errors.OptionInvalid(*values, **named)  # type: ignore[arg-type]


def test_braces_in_a_value_are_no_template() -> None:
    assert errors.OptionInvalid("{value}", "{", "{hints[0]}").message == "`{value}` cannot be `{`"


def test_a_class_that_others_make_below_a_kind_takes_what_the_kind_takes() -> None:
    class Theirs(errors.Conflict):
        code = "theirs"
        since: ClassVar[int] = 0

    class Named(errors.NetworkNotFound):
        pass

    assert as_shown(Theirs("no", causes=["why"], hints=["type this"])) == "no\n  caused by: why\nhint: type this"
    assert (Theirs.code, Theirs.exit_status, Named.code) == ("theirs", 1, "network-not-found")
    assert str(Named("lab")) == str(errors.NetworkNotFound("lab"))


def test_the_docs_page_has_one_row_for_every_class_and_no_other() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| `(\w+)` \| (\d+) \| (.+) \|$", ERRORS_PAGE.read_text("utf-8"), re.MULTILINE
    )
    assert [(code, name, int(status)) for code, name, status, _ in rows] == [
        (cls.code, cls.__name__, cls.exit_status) for cls in CLASSES
    ]
    assert all(meaning.endswith(".") and meaning.count("`") % 2 == 0 for *_, meaning in rows)
    # Where a class has no docstring its templates are shown, and only with values that it takes.
    named = [set(re.findall(r"\*(\w+)\*", meaning)) for *_, meaning in rows]
    assert [
        cls for cls, names in zip(CLASSES, named, strict=True) if names - set(inspect.signature(cls).parameters)
    ] == []


def test_control_characters_never_reach_the_terminal() -> None:
    shown = as_shown(errors.OptionInvalid("\x1b[2Jkey", "v\r\n\u202e", "because\x07", ["type \x9b"]))
    assert shown.replace("\n  caused by: ", "").replace("\nhint: ", "").isprintable()
    assert r"\x1b[2Jkey" in shown


def test_long_names_and_long_lists_are_shortened() -> None:
    assert "x" * 40 + "…`" in errors.NameInvalid("network", "x" * 300).message
    (cause,) = errors.NetworkInUse("lab", [f"s{n}" for n in range(1000)]).causes
    assert cause.endswith("`s7` and 992 more")


def test_a_refusal_of_the_kernel_is_no_oserror() -> None:
    # Command-line libraries take an OSError of EPIPE for a closed pipe and end without a word.
    assert not issubclass(errors.KernelRefused, OSError)


def test_importing_the_errors_imports_nothing_else_of_macvfast() -> None:
    command = "import macvfast.errors, sys; print(*(name for name in sys.modules if name.startswith('macvfast')))"
    said = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert {name for name in said.split() if not name.startswith("macvfast.errors.")} == {"macvfast", "macvfast.errors"}
