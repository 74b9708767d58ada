r"""Every command of macvfast with its options and its help, as values: read by the parser, the help and the docs.

In `details`, a paragraph that begins with a line of `\b` keeps its lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from macvfast.cli.arguments import Argument, Command, Option

if TYPE_CHECKING:
    from collections.abc import Sequence

ABOUT = "Docker's macvlan networking for a Linux host, without Docker, at the kernel's own speed."

DETAILS = "--state-dir and --verbose may be given before a command or among its options."

# The options of every command; they may also stand before it.
COMMON = (
    Option(
        ("--state-dir",),
        "Where networks and sandboxes are recorded; /var/lib/macvfast unless said.",
        "DIR",
        envvar="MACVFAST_STATE_DIR",
    ),
    Option(
        ("--verbose",), "Tell on standard error what is asked of the kernel; also MACVFAST_LOG=text|json.", kind="flag"
    ),
)
VERSION = Option(("--version",), "Show the version and exit.", kind="flag")

GROUPS = {
    ("network",): "Make, list, show and remove networks; connect sandboxes to them.",
    ("network", "import"): "Take networks over from elsewhere.",
    ("ipam",): "Look at the addresses of networks.",
    ("service",): "Restore at boot.",
    ("state",): "Copy what is recorded, and bring it back.",
}

_NETWORK = Argument("NETWORK", "Its id, name, or an unambiguous beginning of its id.")
_NETWORKS = Argument("NETWORK...", "Ids, names, or unambiguous beginnings of ids.", many=True)
_SANDBOX = Argument("SANDBOX", "Its id, name, or an unambiguous beginning of its id.")
_SANDBOXES = Argument("SANDBOX...", "Ids, names, or unambiguous beginnings of ids.", many=True)

_IP = Option(("--ip",), "The IPv4 address to have; otherwise the lowest free one.", "ADDRESS")
_IP6 = Option(("--ip6",), "The IPv6 address to have; otherwise the lowest free one.", "ADDRESS")
_MAC = Option(("--mac-address",), "The MAC to have; otherwise one is made from the address.", "MAC")
_LABEL = Option(("--label",), "A label for filters; may be repeated.", "KEY=VALUE", kind="labels")
_QUIET = Option(("-q", "--quiet"), "Show ids only.", kind="flag")
_NO_TRUNC = Option(("--no-trunc",), "Show ids at full length.", kind="flag")

_LISTED_AS = """\
--format json prints one object per line, a TEMPLATE what it asks of each, in Docker's form: {{.Name}}, {{json .}}.
A TEMPLATE that begins with `table` gives columns, with `\\t` between them."""

NETWORK_CREATE = Command(
    path=("network", "create"),
    function="network:create",
    begins=True,
    about="Create a network on a parent link, and print its id.",
    details="""\
Each gateway, ip-range and aux address belongs to the subnet that contains it; the order does not matter. Without
--gateway, an IPv4 subnet has the router of this host's default route, where that is in it, else the first free address
of the ip-range, or else of the subnet; none with --internal, without a parent, in ipvlan l3 and l3s, on a /31 or /32.
IPv6 routers say themselves who they are. What this host has on the parent itself is never given. An IPv6 subnet
switches IPv6 on.

What -o takes:

\b
  parent=LINK        a link of this host; NAME.VID is made where it is missing
  macvlan_mode=MODE  bridge (default), private, vepa, passthru
  ipvlan_mode=MODE   l2 (default), l3, l3s
  ipvlan_flag=FLAG   bridge (default), private, vepa
  mtu=BYTES          the parent's unless said
  share_parent=BOOL  whether other networks that say so too may use the parent
  ipam_order=ORDER   lowest (default): the lowest free address; or next
  ipv6_ra=WHETHER    on: take IPv6 router advertisements; or off; unless said,
                     on but for --internal and --gateway=none""",
    example="""\
macvfast network create -d macvlan \\
    --subnet=172.16.86.0/24 \\
    --gateway=172.16.86.1 \\
    -o parent=eth0 pub_net""",
    options=(
        Option(("-d", "--driver"), "macvlan (default) or ipvlan.", "DRIVER"),
        Option(("--subnet",), "A subnet; may be repeated.", "CIDR", kind="list"),
        Option(("--ip-range",), "Where to give addresses from by itself.", "CIDR|FIRST-LAST", kind="list"),
        Option(("--gateway",), "A subnet's gateway; none: no subnet gets one by itself.", "ADDRESS|none", kind="list"),
        Option(
            ("--aux-address",),
            "An address never to be given; without a name, it is its own name.",
            "[NAME=]ADDRESS",
            kind="many",
        ),
        Option(
            ("--ipv6",), "Whether endpoints have IPv6; by default where a subnet has.", kind="flag", off="--no-ipv6"
        ),
        Option(("--internal",), "No default route in sandboxes.", kind="flag"),
        _LABEL,
        Option(("-o", "--opt"), "An option of the driver; may be repeated.", "KEY=VALUE", kind="pairs"),
    ),
    arguments=(Argument("NAME", "1 to 128 of A-Z a-z 0-9 _ . -, the first a letter or digit."),),
)

NETWORK_LS = Command(
    path=("network", "ls"),
    function="network:ls",
    about="List networks.",
    details=f"""\
{_LISTED_AS}

Filters: name and id (a part, or a regular expression), driver, label=KEY or label=KEY=VALUE, type (builtin, custom),
dangling (true, false), scope. Of one key, any may hold, of labels, all must; different keys must all hold.

Also: macvfast network list.""",
    example="macvfast network ls -f driver=macvlan",
    options=(
        _QUIET,
        _NO_TRUNC,
        Option(("-f", "--filter"), "Show only what fits; may be repeated.", "KEY=VALUE", kind="pairs"),
        Option(("--format",), "table (default), json, or a TEMPLATE.", "FORMAT"),
    ),
    aliases=("list",),
    changes=False,
    listing=True,
)

NETWORK_INSPECT = Command(
    path=("network", "inspect"),
    function="network:inspect",
    about="Show networks in full, as Docker's JSON.",
    details="""\
What is found is shown, also where something else is not; the exit status is then 1. Several ip-ranges of one subnet
stand in its IPRange with commas between. --format json prints the same on one line, a TEMPLATE what it asks of each
network: {{.Id}}, {{json .Containers}}, {{range .IPAM.Config}}{{.Subnet}} {{end}}.""",
    example="macvfast network inspect pub_net",
    options=(
        Option(("-f", "--format"), "json, or a TEMPLATE.", "FORMAT"),
        Option(("-v", "--verbose"), "Taken as in Docker; there is nothing more to show.", kind="flag"),
    ),
    arguments=(_NETWORKS,),
    changes=False,
    listing=True,
)

NETWORK_RM = Command(
    path=("network", "rm"),
    function="network:rm",
    about="Remove networks without endpoints, and print each as it was given.",
    details="""\
A parent that macvfast made goes with its last network. Of several, those that can be are removed; the exit status is
then 3.

Also: macvfast network remove.""",
    example="macvfast network rm pub_net",
    options=(Option(("-f", "--force"), "Pass over networks that are not there.", kind="flag"),),
    arguments=(_NETWORKS,),
    aliases=("remove",),
)

NETWORK_PRUNE = Command(
    path=("network", "prune"),
    function="network:prune",
    about="Remove all networks without endpoints, and print their names.",
    details="""\
Filters: until=TIME (made before that: 10m, 1h30m, 2026-08-20T07:41:09, or seconds since 1970), label=KEY,
label=KEY=VALUE, label!=KEY, label!=KEY=VALUE; all must hold.""",
    example="macvfast network prune -f --filter until=24h",
    options=(
        Option(("-f", "--force"), "Do not ask.", kind="flag"),
        Option(("--filter",), "Remove only what fits; may be repeated.", "KEY=VALUE", kind="pairs"),
    ),
)

NETWORK_CONNECT = Command(
    path=("network", "connect"),
    function="network:connect",
    about="Connect a sandbox to a network.",
    details="""\
With --netns or --pid, SANDBOX is the name of a new sandbox that stands for that namespace, or of one that already does;
macvfast then makes and removes only its own links there.""",
    example="macvfast network connect --ip=172.16.86.10 pub_net web",
    options=(
        _IP,
        _IP6,
        _MAC,
        Option(("--netns",), "A namespace that something else made, by its path.", "PATH"),
        Option(("--pid",), "The namespace of a process.", "PID"),
    ),
    arguments=(_NETWORK, _SANDBOX),
)

NETWORK_DISCONNECT = Command(
    path=("network", "disconnect"),
    function="network:disconnect",
    about="Disconnect a sandbox from a network.",
    example="macvfast network disconnect pub_net web",
    options=(Option(("-f", "--force"), "Be content where it is not connected, or not there.", kind="flag"),),
    arguments=(_NETWORK, _SANDBOX),
)

NETWORK_IMPORT_DOCKER = Command(
    path=("network", "import", "docker"),
    function="importing.command:docker",
    begins=True,
    about="Take Docker's macvlan and ipvlan networks over: first show how, then, with --apply, make them.",
    details="""\
Reads what `docker network inspect` prints from FILE (`-`: standard input), or else asks the Engine. What is shown is a
shell script; what cannot be taken over is named in it. Docker's own networks are left as they are: remove them there
before a parent is used here.""",
    example="macvfast network import docker",
    options=(
        Option(("--socket",), "The Engine's socket; by default that of DOCKER_HOST, or /var/run/docker.sock.", "PATH"),
        Option(("--apply",), "Make the networks; print their names.", kind="flag"),
    ),
    arguments=(Argument("[FILE]", "The output of `docker network inspect NETWORK...`.", optional=True),),
)

IPAM_SHOW = Command(
    path=("ipam", "show"),
    function="addresses:show",
    about="Show how full a network's subnets are, in numbers and as a map.",
    details="""\
A cell of the map is one address, or as many as it says. Of several, digits say how much is in use: 1 is up to a tenth,
9 is not quite all. Where none is, it shows what else is there.

Of an IPv6 subnet only the part is mapped in which there is anything.""",
    example="macvfast ipam show pub_net",
    options=(Option(("--format",), "text (default) or json.", "FORMAT"),),
    arguments=(_NETWORK,),
    changes=False,
    listing=True,
)

_OF_A_SANDBOX = (
    Option(
        ("--net", "--network"),
        "Connect it to a network; may be repeated: eth0, eth1, …. Also: name=NETWORK,ip=…,ip6=…,mac-address=….",
        "NETWORK",
        kind="many",
    ),
    Option(_IP.names, "The IPv4 address to have on the first network.", _IP.metavar),
    Option(_IP6.names, "The IPv6 address to have on the first network.", _IP6.metavar),
    Option(_MAC.names, "The MAC to have on the first network.", _MAC.metavar),
    Option(("--name",), "The sandbox's name; by default the first 12 of its id.", "NAME"),
    Option(("-l", "--label"), _LABEL.help, _LABEL.metavar, kind="labels"),
    Option(("-h", "--hostname"), "The host name that its commands see; by default the sandbox's name.", "NAME"),
    Option(("--add-host",), "A name for its /etc/hosts; may be repeated.", "NAME:ADDRESS", kind="many"),
    Option(("--dns",), "A name server for its /etc/resolv.conf; by default this host's.", "ADDRESS", kind="many"),
    Option(("--dns-search",), "A domain for its /etc/resolv.conf; `.`: none.", "DOMAIN", kind="many"),
    Option(("--dns-option", "--dns-opt"), "An option for its /etc/resolv.conf.", "OPTION", kind="many"),
)
_OF_A_COMMAND = (
    Option(("-e", "--env"), "A variable of the command; NAME alone: as it is here.", "NAME[=VALUE]", kind="many"),
    Option(("--env-file",), "A file of such variables, one a line.", "FILE", kind="many"),
    Option(("-w", "--workdir"), "Where the command starts.", "DIR"),
    Option(("-u", "--user"), "Who runs it: names or numbers.", "USER[:GROUP]"),
)
_INTERACTIVE = Option(("-i", "--interactive"), "Keep the command's standard input open.", kind="flag")
_TTY = Option(("-t", "--tty"), "Give the command a terminal.", kind="flag")
_COMMAND = Argument("COMMAND [ARG...]", "A command of this host, and its arguments, as they are.", many=True)

RUN = Command(
    path=("run",),
    function="sandbox:run",
    begins=True,
    about="Run a command of this host in a new sandbox.",
    details="""\
From COMMAND on, everything belongs to it. The exit status is the command's; 125 where macvfast refused or failed,
126 where the command cannot be started, 127 where it is not there.

With -d, `macvfast logs` shows what the command shows: the last of it, 16 MiB unless --log-max says otherwise. What a
full disk does not take is missing, and counted in its place; the command goes on.""",
    example="""\
macvfast run --net=pub_net --ip=172.16.86.10 -itd /bin/sh
macvfast run --net=pub_net -it --rm ping -c 4 172.16.86.10""",
    options=(
        *_OF_A_SANDBOX,
        Option(("-d", "--detach"), "Do not wait for the command; print the sandbox's id.", kind="flag"),
        _INTERACTIVE,
        _TTY,
        Option(("--rm",), "Remove the sandbox when the command ends.", kind="flag"),
        *_OF_A_COMMAND,
        Option(("--log-max",), "How much of what it shows is kept with -d; 16m unless said.", "SIZE"),
        Option(("--rootfs",), "The command's root file system.", "DIR"),
        Option(("--init",), "There is always a pid 1 that reaps; taken as in Docker.", kind="flag"),
    ),
    arguments=(_COMMAND,),
    interspersed=False,
    runs=True,
)

CREATE = Command(
    path=("create",),
    function="sandbox:create",
    begins=True,
    about="Create a sandbox without a command, and print its id.",
    details="""\
Commands are started in it with `macvfast exec`. -d, -i and -t are taken as in Docker, and mean nothing here.""",
    example="macvfast create --net=pub_net --ip=172.16.86.10 --name web",
    options=(
        *_OF_A_SANDBOX,
        Option(("-d", "--detach"), "Means nothing here.", kind="flag"),
        Option(("-i", "--interactive"), "Means nothing here.", kind="flag"),
        Option(("-t", "--tty"), "Means nothing here.", kind="flag"),
    ),
    instead="`macvfast run` starts a command in a new sandbox",
)

EXEC = Command(
    path=("exec",),
    function="sandbox:execute",
    about="Run a command in a sandbox that is there.",
    details="""\
From COMMAND on, everything belongs to it. It joins what runs there already: it sees the same processes and, when the
command that `run` started ends, ends with it, with status 137. Where `run` started none, or it has ended, the sandbox
counts as running until the last COMMAND ends, and is then what it was before.

The exit status is the command's; 125, 126 and 127 as with `macvfast run`. With -d, what COMMAND shows goes to the
sandbox's log (`macvfast logs`), or nowhere where it has joined another.""",
    example="macvfast exec web ip address show eth0",
    options=(
        Option(("-d", "--detach"), "Do not wait for the command.", kind="flag"),
        _INTERACTIVE,
        _TTY,
        *_OF_A_COMMAND,
    ),
    arguments=(_SANDBOX, _COMMAND),
    interspersed=False,
    runs=True,
)

LOGS = Command(
    path=("logs",),
    function="sandbox:logs",
    about="Show what a sandbox's detached commands have shown.",
    details="""\
Both streams of what `run -d` and `exec -d` started, as they came; of much, the last of it. With -f, it goes on until
nothing runs in the sandbox any more, or Ctrl-C.""",
    example="macvfast logs -f --tail 100 web",
    options=(
        Option(("-f", "--follow"), "Go on with what is added.", kind="flag"),
        Option(("-n", "--tail"), "Only so many of the last lines; `all` unless said.", "LINES"),
    ),
    arguments=(_SANDBOX,),
    changes=False,
)

PS = Command(
    path=("ps",),
    function="sandbox:ps",
    about="List sandboxes; those whose command has exited only with -a.",
    details=f"""\
The status is idle (no command), running, exited, or lost (it ran when the host or its first process went down).

{_LISTED_AS}

Filters: name and id (a part, or a regular expression), network, status, label=KEY or label=KEY=VALUE. Of one key,
any may hold, of labels, all must; different keys must all hold.""",
    example="macvfast ps -a -f network=pub_net",
    options=(
        Option(("-a", "--all"), "Also those whose command has exited.", kind="flag"),
        _QUIET,
        _NO_TRUNC,
        Option(("-f", "--filter"), "Show only what fits; may be repeated.", "KEY=VALUE", kind="pairs"),
        Option(("--format",), "table (default), json, or a TEMPLATE.", "FORMAT"),
    ),
    changes=False,
    listing=True,
)

RM = Command(
    path=("rm",),
    function="sandbox:rm",
    about="Remove sandboxes with all their endpoints, and print each as it was given.",
    details="""\
Done when the kernel has let go of the links. Of several, those that can be are removed; the exit status is then 3.""",
    example="macvfast rm -f web",
    options=(Option(("-f", "--force"), "End running commands; pass over what is gone.", kind="flag"),),
    arguments=(_SANDBOXES,),
)

SCALE = Command(
    path=("scale",),
    function="scale:scale",
    about="Have exactly COUNT sandboxes PREFIX-0, PREFIX-1, … on a network.",
    details="""\
The lowest missing numbers are made and the highest removed, many at once; PREFIX=0 removes all. A sandbox of such a
name that `scale` did not make on the network is left as it is; so is, unless --force is given, one that runs a command
or has a second network. What is refused is listed, and the exit status is then 3. A terminal shows how far it is.""",
    example="macvfast scale pub_net web=100",
    options=(
        Option(("--progress",), "Show a bar; by default on a terminal.", kind="flag", off="--no-progress"),
        Option(("-f", "--force"), "Remove also what runs a command or has a second network.", kind="flag"),
    ),
    arguments=(_NETWORK, Argument("PREFIX=COUNT", "What their names begin with, and how many there are to be.")),
)

_AS_JSON = Option(("--format",), "text (default), or json: one object per line.", "FORMAT")

RESTORE = Command(
    path=("restore",),
    function="maintain:restore",
    about="Make again what is recorded and missing, and print what was done.",
    details="""\
After a reboot, a crash or a tampering hand: parents that macvfast made, namespaces, links, addresses and routes. What
macvfast did not make is neither changed nor removed; what is in the way is named, and the exit status is then 3. A
second time there is nothing to do. Commands that ran are not started again; what was to go with one (--rm) goes.

With --wait, what needs a parent that is missing or down, or whose MTU is too small, is made as soon as that has
changed.""",
    example="macvfast restore --wait=30",
    options=(
        Option(("--wait",), "Wait for parents, for so long; 60 seconds unless said.", "[=SECONDS]", kind="maybe"),
        Option(("--dry-run",), "Only print what would be done.", kind="flag"),
        _AS_JSON,
    ),
    listing=True,
)

CHECK = Command(
    path=("check",),
    function="maintain:check",
    about="List what differs between record and kernel, a line each; nothing is changed.",
    details="The exit status is 0 where nothing differs, and 7 where something does.",
    example="macvfast check",
    options=(_AS_JSON,),
    changes=False,
    listing=True,
)

GC = Command(
    path=("gc",),
    function="maintain:gc",
    about="Free what dead owners left, and print it.",
    details="""\
Sandboxes that stand for a namespace (--netns, --pid) that is gone, sandboxes of `macvfast run --rm` whose command has
ended or was never started, and what processes that died left half-made.""",
    example="macvfast gc",
)

_ROOT = Option(("--root",), "The root of a system that is not running; otherwise this one.", "DIR")

SERVICE_INSTALL = Command(
    path=("service", "install"),
    function="maintain:service_install",
    begins=True,
    about="Write and enable a systemd unit that restores at boot, and print its file.",
    details="""\
At every boot from the next one on, `macvfast restore --wait=SECONDS` runs for this state directory before
network-online.target is reached. To see what it did: journalctl -u macvfast-restore.""",
    example="macvfast service install --wait=120",
    options=(Option(("--wait",), "How long it waits for parents; 60 unless said.", "SECONDS"), _ROOT),
)

SERVICE_UNINSTALL = Command(
    path=("service", "uninstall"),
    function="maintain:service_uninstall",
    about="Disable that unit and take it away, and print its file.",
    example="macvfast service uninstall",
    options=(_ROOT,),
)

COMPLETION = Command(
    path=("completion",),
    function="completing:script",
    about="Print a shell's completion script, for bash, zsh or fish.",
    details="""\
It completes commands, options, and the networks, sandboxes, parents and modes that there are. The package installs it
where the three shells look by themselves; in a virtual environment they do not.""",
    example="macvfast completion bash",
    arguments=(Argument("SHELL", "bash, zsh or fish."),),
    changes=False,
)

_FILE = Argument("FILE", "A copy of the state.")

STATE_BACKUP = Command(
    path=("state", "backup"),
    function="state:backup",
    about="Write a copy of the state to a file, and print its path.",
    details="""\
It is whole as of one moment, also while other commands run. An older copy of that name is replaced; anything else is
left alone.""",
    example="macvfast state backup /var/backups/macvfast.db",
    arguments=(_FILE,),
    changes=False,
)

STATE_LOAD = Command(
    path=("state", "load"),
    function="state:load",
    begins=True,
    about="Bring a copy of the state back, and print where the replaced one is kept.",
    details="""\
First it shows which networks and sandboxes are recorded only now and which only in FILE, and asks. The kernel is not
touched: what only the replaced state knew stays until it is removed by hand, or with that state.""",
    example="macvfast state load /var/backups/macvfast.db",
    options=(
        Option(("-f", "--force"), "Do not ask.", kind="flag"),
        Option(("--dry-run",), "Only show what would be replaced.", kind="flag"),
    ),
    arguments=(_FILE,),
)

STATE_ADOPT = Command(
    path=("state", "adopt"),
    function="state:adopt",
    about="Take over a state that another machine made, and say what that machine may still use.",
    details="""\
For a replaced machine, a clone, or a machine whose id (machine-id(5)) was set anew: until then, whatever changes the
state is refused. What is recorded keeps its addresses and MACs, so the other machine must not go on with them on the
same LAN.""",
    example="macvfast state adopt",
)

# In the order of the help.
COMMANDS = (
    RUN,
    CREATE,
    EXEC,
    LOGS,
    PS,
    RM,
    SCALE,
    NETWORK_CREATE,
    NETWORK_LS,
    NETWORK_INSPECT,
    NETWORK_RM,
    NETWORK_PRUNE,
    NETWORK_CONNECT,
    NETWORK_DISCONNECT,
    NETWORK_IMPORT_DOCKER,
    IPAM_SHOW,
    RESTORE,
    CHECK,
    GC,
    SERVICE_INSTALL,
    SERVICE_UNINSTALL,
    COMPLETION,
    STATE_BACKUP,
    STATE_LOAD,
    STATE_ADOPT,
)


def find(path: Sequence[str]) -> Command | None:
    """The command that is called so; None for a group."""
    if not path:
        return None
    for command in COMMANDS:
        if (*command.path[:-1], path[-1]) == tuple(path) and path[-1] in (command.path[-1], *command.aliases):
            return command
    return None


def below(path: Sequence[str]) -> list[str]:
    """The words that may follow: commands and groups, aliases left out."""
    depth = len(path)
    found = [c.path[depth] for c in COMMANDS if c.path[:depth] == tuple(path) and len(c.path) > depth]
    return list(dict.fromkeys(found))
