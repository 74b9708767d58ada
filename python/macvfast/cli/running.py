"""The commands that create sandboxes and run commands in them."""

from __future__ import annotations

from typing import Annotated

from macvfast.cli import sandbox_options as options
from macvfast.cli.call import Call
from macvfast.cli.commands import command
from macvfast.cli.parameters import SandboxKey, ignored, labels, offering, option


@command(
    "run",
    begins=True,
    runs=True,
    details="""\
All words from COMMAND on belong to it. The exit status is that of the command, or 125 if macvfast refused or failed,
126 if the command cannot be started, and 127 if it does not exist.

With -d, the output of the command goes to a log, which `macvfast logs` shows. The log keeps the last 16 MiB, or as much
as --log-max says. If the disk is full, output is lost and the log says how much; the command continues.

With --restart, a command that has ended is run again after 100 ms, and after twice as long each time, up to a minute;
once it has run for ten seconds, after 100 ms again. on-failure does so where it failed, at most N times. `macvfast
stop` ends this until `start`, or with always until the next boot. After a reboot, `macvfast restore` starts it.""",
    example="""\
macvfast run --net=pub_net --ip=172.16.86.10 -itd /bin/sh
macvfast run --net=pub_net -it --rm ping -c 4 172.16.86.10""",
)
def run(
    call: Call,
    words: options.Words,
    *,
    net: options.Net,
    ip: options.Ip = None,
    ip6: options.Ip6 = None,
    mac_address: options.MacAddress = None,
    gw_priority: options.GwPriority = None,
    name: options.Name = None,
    label: options.Labels,
    hostname: options.Hostname = None,
    add_host: options.AddHost,
    dns: options.Dns,
    dns_search: options.DnsSearch,
    dns_option: options.DnsOption,
    detach: Annotated[bool, option("-d, --detach", "Do not wait for the command; print the sandbox's id.")] = False,
    interactive: options.Interactive = False,
    tty: options.Tty = False,
    restart: Annotated[
        str,
        option(
            "--restart POLICY",
            "With -d, run the command again when it has ended: no (default), on-failure[:N], always, unless-stopped.",
            autocompletion=offering("no", "on-failure", "always", "unless-stopped"),
        ),
    ] = "no",
    remove: Annotated[bool, option("--rm", "Remove the sandbox when the command ends.")] = False,
    env: options.Env,
    env_file: options.EnvFile,
    workdir: options.Workdir = None,
    user: options.User = None,
    log_max: Annotated[str | None, option("--log-max SIZE", "Size of the log with -d (default: 16m).")] = None,
    rootfs: Annotated[str | None, option("--rootfs DIR", "Root file system of the command.")] = None,
    init: Annotated[bool, ignored("--init", "always on")] = False,  # noqa: ARG001
) -> int:
    """Run a command of this host in a new sandbox."""
    from macvfast.requests import CommandRequest  # noqa: PLC0415 - no list needs it

    endpoints = options.endpoints_of(call, net, _of_first(ip, ip6, mac_address, gw_priority))
    own_files = options.own_files_of(hostname, add_host, dns=dns, dns_search=dns_search, dns_options=dns_option)
    request = CommandRequest(
        argv=tuple(words),
        interactive=interactive,
        tty=tty,
        detach=detach,
        rootfs=rootfs,
        auto_remove=remove,
        restart=restart or "no",
        env=options.environment_of(call, env_file, env),
        workdir=workdir,
        user=user,
        log_max=_log_max(call, log_max, detach=detach),
    )
    with call.host() as host:
        made = host.run(request, name, endpoints=endpoints, labels=labels(label), own_files=own_files)
    if detach:
        call.out.line(made.id)
    return 0


def _of_first(ip: str | None, ip6: str | None, mac: str | None, gw_priority: str | None) -> dict[str, str | None]:
    """What is said of the first network, by the keys of a long `--net`."""
    return {"ip": ip, "ip6": ip6, "mac-address": mac, "gw-priority": gw_priority}


def _log_max(call: Call, text: str | None, *, detach: bool) -> int | None:
    from macvfast.requests import parse_size  # noqa: PLC0415 - no list needs it

    if text is None:
        return None
    if not detach:
        hint = f"macvfast run -d --log-max={text} …"
        raise call.wrong("option `--log-max` needs -d", "only the output of a detached command is kept", hint)
    return parse_size("log-max", text)


@command(
    "create",
    begins=True,
    instead="`macvfast run` starts a command in a new sandbox",
    details="""\
`macvfast exec` runs commands in it.""",
    example="macvfast create --net=pub_net --ip=172.16.86.10 --name web",
)
def create(
    call: Call,
    *,
    net: options.Net,
    ip: options.Ip = None,
    ip6: options.Ip6 = None,
    mac_address: options.MacAddress = None,
    gw_priority: options.GwPriority = None,
    name: options.Name = None,
    label: options.Labels,
    hostname: options.Hostname = None,
    add_host: options.AddHost,
    dns: options.Dns,
    dns_search: options.DnsSearch,
    dns_option: options.DnsOption,
    detach: Annotated[bool, ignored("-d, --detach")] = False,  # noqa: ARG001
    interactive: Annotated[bool, ignored("-i, --interactive")] = False,  # noqa: ARG001
    tty: Annotated[bool, ignored("-t, --tty")] = False,  # noqa: ARG001
    init: Annotated[bool, ignored("--init", "always on")] = False,  # noqa: ARG001
) -> int:
    """Create a sandbox without a command, and print its id."""
    endpoints = options.endpoints_of(call, net, _of_first(ip, ip6, mac_address, gw_priority))
    own_files = options.own_files_of(hostname, add_host, dns=dns, dns_search=dns_search, dns_options=dns_option)
    with call.host() as host:
        sandbox = host.create_sandbox(name, endpoints=endpoints, labels=labels(label), own_files=own_files)
    call.out.line(sandbox.id)
    return 0


@command(
    "exec",
    runs=True,
    details="""\
All words from COMMAND on belong to it. It joins the command that `run` started: it sees the same processes, and when
that command ends, it is ended with status 137. If no command of `run` is running, the sandbox counts as running until
the last COMMAND ends, and then has its earlier status again.

The exit status is that of COMMAND, or 125, 126 or 127 as with `macvfast run`. With -d, its output goes to the sandbox's
log (`macvfast logs`); if it has joined another command, its output is discarded.""",
    example="macvfast exec web ip address show eth0",
)
def execute(
    call: Call,
    key: SandboxKey,
    words: options.Words,
    *,
    detach: Annotated[bool, option("-d, --detach", "Do not wait for the command.")] = False,
    interactive: options.Interactive = False,
    tty: options.Tty = False,
    env: options.Env,
    env_file: options.EnvFile,
    workdir: options.Workdir = None,
    user: options.User = None,
) -> int:
    """Run a command in an existing sandbox."""
    from macvfast.requests import CommandRequest  # noqa: PLC0415 - no list needs it

    request = CommandRequest(
        argv=tuple(words),
        interactive=interactive,
        tty=tty,
        detach=detach,
        join=True,
        env=options.environment_of(call, env_file, env),
        workdir=workdir,
        user=user,
    )
    with call.host() as host:
        host.start(key, request)
    return 0
