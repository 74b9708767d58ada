"""Options that Docker has and macvfast refuses: each with the reason, and what to do instead where there is something.

Ignoring them would be worse: a user who gives `--alias` relies on that name. A value that asks for what is so anyway is
taken: `--scope local`, `--attachable=false`.
"""

from __future__ import annotations

from typing import NamedTuple


class Refused(NamedTuple):
    """Options that are refused, and why.

    Attributes:
        names: as they are typed.
        why, instead: the reason; what to type.
        harmless: the values that are taken, for they change nothing; of a flag, `true` or `false`.
        flag: whether the option is on or off.
    """

    names: tuple[str, ...]
    why: str
    instead: str = ""
    harmless: tuple[str, ...] = ()
    flag: bool = False


def _flags(names: tuple[str, ...], why: str, instead: str = "", harmless: tuple[str, ...] = ("false",)) -> Refused:
    """Options that are on or off; most are refused only where they are on."""
    return Refused(names, why, instead, harmless, flag=True)


_NO_NAMES = "a sandbox has no name server that could resolve the name"
_HOSTS_FILE = "--add-host NAME:ADDRESS with `macvfast run` or `create` puts a name into a sandbox's /etc/hosts"
_LOCAL = "every network belongs to this host alone, and every sandbox may use it"
_NO_CONFIG = "a network always has addresses of its own"
_OWN_IPAM = "addresses always come from macvfast's own pools"
_OWN_ADDRESS = "a sandbox has an address of its own on the LAN: every port of it is reachable there"
_LINK_LOCAL = "macvfast gives no link-local IPv4 addresses; IPv6 ones are the kernel's"
_FILES = "the command sees this host's files; --rootfs DIR gives it others"
_LIMITS = "macvfast sets no limits on resources"
_RIGHTS = "the command has the rights of the user who starts it; -u gives it another user"
_NAMESPACES = "network and pid namespace are always the sandbox's own; the others are this host's"
_CARE = "macvfast does not supervise commands"
_NO_KEYS = "no key detaches a command from its terminal"
_IMAGE = "there is no image: the command is one of this host, or of --rootfs DIR"
_LOG = "a detached command's output is in the sandbox's log, which `macvfast logs` shows, and nowhere else"
_NO_TIMES = "the log holds the output as it was written, without times"
_TAIL = "--tail LINES shows the last lines"
_SIGNAL = "a command gets SIGTERM, and SIGKILL where it does not end in time"
_ANY_SIGNAL = (
    "`macvfast stop -t 0 SANDBOX` sends SIGKILL at once; `macvfast exec SANDBOX kill -s SIGNAL PID`, any signal"
)
_SIGTERM = ("SIGTERM", "TERM", "15")
_NO_SIZE = "a command sees this host's files, so a sandbox has no size"
_BY_NAME = "the list is in the order of names, not of time"
_DETACHED = "`start` and `restart` run a command detached"
_SYSTEMD = "systemd-run -p … macvfast run …"

_NO_SERVER = "macvfast runs no name server"
_ROUTES = "in Python, `EndpointRequest(routes=…)` gives a sandbox routes of its own"
_SEVERAL = "one sandbox holds several commands: `macvfast exec -d SANDBOX COMMAND` starts another"
_GIVEN = "`macvfast network connect --netns PATH NETWORK SANDBOX` connects one that is there"
_NAMED = "it is for those that are named"
_STREAMS = "the command has the streams of its caller, as -d, -i and -t say"
_ORDER = "-o ipam_order=next allocates in another order"

_NETWORK_CREATE = (
    _flags(("--attachable", "--ingress"), _LOCAL),
    Refused(("--scope",), _LOCAL, harmless=("local",)),
    _flags(("--config-only",), _NO_CONFIG),
    Refused(("--config-from",), _NO_CONFIG),
    Refused(("--ipam-driver",), _OWN_IPAM, _ORDER, ("default",)),
    Refused(("--ipam-opt",), _OWN_IPAM, _ORDER),
    # Of Podman.
    _flags(("--disable-dns",), "", harmless=("true", "false")),
    Refused(("--dns",), _NO_SERVER, "--dns ADDRESS with `macvfast run` or `create`"),
    Refused(("--route",), "a network has no routes but those of its subnets", _ROUTES),
)

_NETWORK_CONNECT = (
    Refused(("--alias", "--link"), _NO_NAMES, _HOSTS_FILE),
    Refused(("--link-local-ip",), _LINK_LOCAL),
)

_RUN = (
    # Of Podman.
    _flags(("--replace",), "a name is taken until its sandbox is removed", "`macvfast rm -f NAME` before"),
    Refused(("--pod",), _NAMESPACES, _SEVERAL),
    Refused(("--netns",), "it gets a namespace that is made for it", _GIVEN),
    Refused(("-p", "--publish", "--expose"), _OWN_ADDRESS, "leave it out"),
    _flags(("-P", "--publish-all"), _OWN_ADDRESS, "leave it out"),
    Refused(("--link", "--network-alias", "--net-alias"), _NO_NAMES, _HOSTS_FILE),
    Refused(("--link-local-ip",), _LINK_LOCAL),
    Refused(
        ("--sysctl",),
        "macvfast sets only what its own links need",
        "`macvfast exec SANDBOX sysctl -w KEY=VALUE` afterwards",
    ),
    Refused(("-v", "--volume", "--mount", "--tmpfs", "--volumes-from", "--volume-driver", "--shm-size"), _FILES),
    Refused(("--device", "--device-cgroup-rule"), _FILES),
    _flags(("--read-only", "--use-api-socket"), _FILES),
    Refused(("-m", "--memory", "--memory-swap", "--memory-reservation", "--memory-swappiness"), _LIMITS, _SYSTEMD),
    Refused(("--kernel-memory", "--storage-opt", "--oom-score-adj", "--cgroup-parent"), _LIMITS, _SYSTEMD),
    Refused(("--cpus", "-c", "--cpu-shares", "--cpuset-cpus", "--cpuset-mems", "--cpu-count"), _LIMITS, _SYSTEMD),
    Refused(("--cpu-percent", "--cpu-period", "--cpu-quota"), _LIMITS, _SYSTEMD),
    Refused(("--cpu-rt-period", "--cpu-rt-runtime"), _LIMITS, _SYSTEMD),
    Refused(("--pids-limit", "--ulimit", "--gpus", "--blkio-weight", "--blkio-weight-device"), _LIMITS, _SYSTEMD),
    Refused(("--device-read-bps", "--device-read-iops"), _LIMITS, _SYSTEMD),
    Refused(("--device-write-bps", "--device-write-iops", "--io-maxbandwidth", "--io-maxiops"), _LIMITS, _SYSTEMD),
    _flags(("--oom-kill-disable",), _LIMITS, _SYSTEMD),
    _flags(("--privileged",), _RIGHTS),
    Refused(("--cap-add", "--cap-drop", "--security-opt", "--group-add"), _RIGHTS),
    Refused(("--pid", "--ipc", "--uts", "--userns", "--cgroupns"), _NAMESPACES),
    Refused(("--stop-signal",), _SIGNAL, _ANY_SIGNAL, _SIGTERM),
    Refused(("--stop-timeout",), _SIGNAL, "`macvfast stop -t SECONDS` says how long it may take"),
    Refused(("--health-cmd", "--health-interval", "--health-retries", "--health-timeout"), _CARE, "use a systemd unit"),
    Refused(("--health-start-interval", "--health-start-period"), _CARE, "use a systemd unit"),
    Refused(("--entrypoint", "--platform", "--pull", "--runtime", "--isolation"), _IMAGE, "leave it out"),
    Refused(("--log-driver", "--log-opt"), _LOG, "--log-max SIZE bounds it"),
    Refused(("--domainname",), "the command's host name is that of --hostname", "--hostname NAME.DOMAIN"),
    Refused(("--label-file", "--cidfile"), "macvfast does not have it", "--label KEY=VALUE; the id is printed with -d"),
    Refused(("--annotation",), "there is no container runtime that would read it", "--label KEY=VALUE"),
    Refused(("--detach-keys",), _NO_KEYS),
    Refused(("-a", "--attach"), _STREAMS, "leave it out", ("stdin", "stdout", "stderr")),
    _flags(("--sig-proxy",), "signals always reach the command", "leave it out", ("true",)),
    # What is on the one hand always so, and on the other never done.
    _flags(("--disable-content-trust", "--no-healthcheck", "-q", "--quiet"), "", harmless=("true", "false")),
)

_CREATE = (
    Refused(
        ("-e", "--env", "--env-file", "-w", "--workdir", "-u", "--user", "--rm", "--rootfs", "--restart"),
        "it belongs to a command, and this sandbox has none yet",
        "give it to `macvfast exec` or `macvfast run`",
    ),
)

_EXEC = (
    _flags(("--privileged",), _RIGHTS),
    Refused(("--detach-keys",), _NO_KEYS),
)

_PS = (
    Refused(("-n", "--last"), _BY_NAME, "--filter name=NAME shows one", ("-1",)),
    _flags(("-l", "--latest"), _BY_NAME, "--filter name=NAME shows one"),
    _flags(("-s", "--size"), _NO_SIZE, "leave it out"),
)

_RM = (
    _flags(("-a", "--all"), _NAMED, "`macvfast rm -f $(macvfast ps -aq)` removes all"),
    _flags(("-l", "--link"), _NO_NAMES, "`macvfast network disconnect NETWORK SANDBOX` takes a sandbox off a network"),
    # There are no volumes that could stay.
    _flags(("-v", "--volumes"), "", harmless=("true", "false")),
)

_START = (
    _flags(("-a", "--attach"), _DETACHED, "`macvfast logs -f SANDBOX` shows its output"),
    _flags(("-i", "--interactive"), _DETACHED, "`macvfast exec -it SANDBOX sh` opens a shell in it"),
    Refused(("--checkpoint", "--checkpoint-dir"), "macvfast keeps no checkpoints of commands", "leave it out"),
    Refused(("--detach-keys",), _NO_KEYS, "leave it out"),
)

_STOP = (Refused(("-s", "--signal"), _SIGNAL, _ANY_SIGNAL, _SIGTERM),)

_INSPECT = (
    Refused(
        ("--type",),
        "it shows sandboxes alone",
        "`macvfast network inspect NETWORK` shows a network",
        ("container",),
    ),
    _flags(("-s", "--size"), _NO_SIZE, "leave it out"),
)

_LOGS = (
    _flags(("-t", "--timestamps"), _NO_TIMES, _TAIL),
    Refused(("--since", "--until"), _NO_TIMES, _TAIL),
    _flags(("--details",), "no log driver adds anything to a line"),
)

_ROOT = (
    Refused(("-n",), "it is `ip`'s, for a namespace", "`macvfast exec SANDBOX ip …` runs `ip` in a sandbox"),
    _flags(("-v",), "it is another program's word for its version", "`macvfast --version`"),
)

# By the path of the command.
_REFUSED = {
    "": _ROOT,
    "network create": _NETWORK_CREATE,
    "network connect": _NETWORK_CONNECT,
    "run": _RUN,
    "create": (*_RUN, *_CREATE),
    "exec": _EXEC,
    "ps": _PS,
    "rm": _RM,
    "start": _START,
    "stop": (*_STOP, _flags(("-a", "--all"), _NAMED, "`macvfast stop $(macvfast ps -q)` ends all")),
    "restart": (*_STOP, _flags(("-a", "--all"), _NAMED, "`macvfast restart $(macvfast ps -q)` restarts all")),
    "inspect": _INSPECT,
    "logs": _LOGS,
}


# Values of --net that are no names of networks. `none` alone is what a sandbox without --net has.
_NETS = {
    "none": Refused((), "it cannot be combined with another --net", "leave it out"),
    "host": Refused((), "a sandbox always has a network namespace of its own", "run the command without macvfast"),
    "bridge": Refused((), "macvfast creates no network automatically", "`macvfast network ls` lists the networks"),
    "default": Refused((), "macvfast creates no network automatically", "`macvfast network ls` lists the networks"),
    "container": Refused(
        (), "a sandbox is one network namespace", "`macvfast exec SANDBOX COMMAND` runs a command in it"
    ),
}


def net_refusal(value: str) -> Refused | None:
    """Why a value of `--net` that Docker knows is not taken; None for the name of a network."""
    name, colon, _ = value.partition(":")
    return _NETS.get(name) if bool(colon) == (name == "container") else None


_NO_IMAGES = "there are no images: `macvfast run COMMAND` runs one of this host"
_NO_VOLUMES = "a command sees this host's files, or those of `macvfast run --rootfs DIR`"
_ONE_HOST = "every network belongs to this host alone: `macvfast network ls`"
_NAME = "a name stays: `macvfast create --name NEW` makes another sandbox, `macvfast rm OLD` removes the old one"
_PAUSED = "`macvfast stop SANDBOX` and `macvfast start SANDBOX` end a command and run it again"
_WATCHED = "`macvfast metrics` counts what there is, and `macvfast ps` shows it"
_KEPT = "`macvfast run -d --restart=always …`, and once `macvfast service install`, keep a command running"
_ENDED = "`macvfast logs -f SANDBOX` ends with the command; `macvfast ps -a` shows its exit status"
_PROCESSES = "`macvfast exec SANDBOX ps aux` shows the processes in it"

# Commands that Docker has and macvfast does not, and what to type for each: by word, or by several words.
_COMMANDS = {
    "attach": "`macvfast exec -it SANDBOX sh` opens a shell in it, and `macvfast logs -f SANDBOX` shows its output",
    "container": "the commands have no `container` before them: `macvfast ps`, `macvfast rm`",
    "cp": "a command sees this host's files: `cp` copies them",
    "diff": "a command changes this host's files themselves, or those of its --rootfs",
    "events": _WATCHED,
    "info": "`macvfast status`",
    "ip": "`macvfast exec SANDBOX ip address` runs it in a sandbox",
    "kill": "`macvfast stop -t 0 SANDBOX` kills its command",
    "netns": "`macvfast exec SANDBOX COMMAND` and `macvfast ps -a` are `ip netns exec` and `ip netns list`",
    "port": _OWN_ADDRESS,
    "rename": _NAME,
    "stats": "`systemd-cgtop` shows what commands use; `macvfast metrics` counts sandboxes and addresses",
    "system": "`macvfast status` shows what there is, and `macvfast gc` frees what nobody owns",
    "top": _PROCESSES,
    "update": "`macvfast network update` changes a network; a command gets other options with `rm` and `run`",
    "version": "`macvfast --version`",
    "volume": _NO_VOLUMES,
    "wait": _ENDED,
    **dict.fromkeys(("pause", "unpause"), _PAUSED),
    **dict.fromkeys(("compose", "stack"), "`macvfast scale` makes many sandboxes alike; a shell script makes others"),
    **dict.fromkeys(("config", "node", "secret", "swarm"), _ONE_HOST),
    **dict.fromkeys(("context", "login", "logout", "plugin"), "there is no registry and no remote engine"),
    **dict.fromkeys(("build", "builder", "buildx", "checkpoint", "commit", "export", "history", "image"), _NO_IMAGES),
    **dict.fromkeys(("images", "import", "load", "manifest", "pull", "push", "rmi", "save", "search"), _NO_IMAGES),
    **dict.fromkeys(("sbom", "scan", "scout", "tag", "trust"), _NO_IMAGES),
}


_MAKE = "`macvfast create --name SANDBOX` makes a sandbox, and `macvfast network create` a network"
_REMOVE = "`macvfast rm SANDBOX` removes a sandbox, and `macvfast network rm NETWORK` a network"
_LIST = "`macvfast ps -a` lists sandboxes, and `macvfast network ls` networks"
_SHOW = "`macvfast inspect SANDBOX` shows a sandbox, and `macvfast network inspect NETWORK` a network"
_JOIN = "`macvfast network connect --pid PID NETWORK SANDBOX` connects a process's namespace as a sandbox"
_MISSING = "`macvfast restore` creates again what is recorded and missing"

# The same for commands of Podman, `ip` and others.
_OTHERS = {
    **dict.fromkeys(("add", "new"), _MAKE),
    **dict.fromkeys(("del", "delete", "remove"), _REMOVE),
    **dict.fromkeys(("list", "ls"), _LIST),
    **dict.fromkeys(("exists", "show", "container exists"), _SHOW),
    "help": "`macvfast --help`, and `--help` behind each command",
    "pod": _SEVERAL,
    **dict.fromkeys(("generate", "generate systemd", "quadlet"), _KEPT),
    **dict.fromkeys(("kube", "play"), "`macvfast scale` makes many sandboxes alike; a shell script makes others"),
    "unshare": "`macvfast exec SANDBOX COMMAND` runs a command in a sandbox",
    "pids": _PROCESSES,
    "identify": "`macvfast ps -a` lists the sandboxes",
    **dict.fromkeys(("monitor", "netns monitor"), _WATCHED),
    "set": _JOIN,
    **{word: f"`macvfast exec SANDBOX ip {word}` runs it in a sandbox" for word in ("address", "addr", "route")},
    **dict.fromkeys(("link", "link add"), "`macvfast network connect NETWORK SANDBOX` gives a sandbox a link"),
    **dict.fromkeys(("link del", "link delete"), "`macvfast network disconnect NETWORK SANDBOX` removes a link"),
    "netns add": "`macvfast create --name SANDBOX`",
    **dict.fromkeys(("netns attach", "netns set"), _JOIN),
    **dict.fromkeys(("netns del", "netns delete"), "`macvfast rm SANDBOX`"),
    "netns exec": "`macvfast exec SANDBOX COMMAND`",
    "netns identify": "`macvfast ps -a` lists the sandboxes",
    **dict.fromkeys(("netns list", "netns list-id", "netns ls", "netns show"), "`macvfast ps -a`"),
    "netns pids": _PROCESSES,
    **dict.fromkeys(("network add", "network new"), "`macvfast network create NAME`"),
    **dict.fromkeys(("network del", "network delete"), "`macvfast network rm NETWORK`"),
    **dict.fromkeys(("network exists", "network show"), "`macvfast network inspect NETWORK`"),
    "network reload": _MISSING,
    **dict.fromkeys(("ipam inspect", "ipam list", "ipam ls"), "`macvfast ipam show`"),
    **dict.fromkeys(("state export", "state save"), "`macvfast state backup`"),
    **dict.fromkeys(("state import", "state restore"), "`macvfast state load`"),
}


def instead(*words: str) -> str | None:
    """What to type for a command of Docker's or of another program's that macvfast does not have.

    >>> instead("network", "delete")
    '`macvfast network rm NETWORK`'
    """
    path = " ".join(words)
    return _COMMANDS.get(path) or _OTHERS.get(path)


def refusal(command: str, name: str) -> Refused | None:
    """Why a command does not take an option of Docker's; None for one that Docker does not have either."""
    return next((one for one in _REFUSED.get(command, ()) if name in one.names), None)
