"""The commands on sandboxes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from macvfast.cli import be_careful
from macvfast.cli.filters import Filter, chosen, has_label, matches
from macvfast.cli.show.lists import Listing
from macvfast.cli.show.sandboxes import LISTED
from macvfast.cli.show.text import SHORT_ID
from macvfast.cli.usage import Usage, see_help
from macvfast.errors import MacvfastError, SandboxNotFound, UndoFailed

# As a shell has it for what Ctrl-C ended.
INTERRUPTED = 130

if TYPE_CHECKING:
    from macvfast.cli.arguments import Given
    from macvfast.cli.dispatch import Call
    from macvfast.host import Host
    from macvfast.model import Sandbox
    from macvfast.requests import CommandRequest, EndpointRequest, OwnFiles


def run(call: Call) -> int:
    """`run`."""
    given = call.given
    endpoints = _endpoints(given, "macvfast run")
    own_files = _own_files(given, "macvfast run")
    request = _command(given, given.words)
    made: Sandbox | None = None
    try:
        with call.host() as host:
            # Before anything is made: a command that is not there changes nothing.
            host.check_command(request)
            made = host.create_sandbox(
                given.text("name"),
                endpoints=endpoints,
                command=request.argv,
                labels=_labels(given),
                own_files=own_files,
                auto_remove=request.auto_remove,
            )
            _start(host, made, request)
    except MacvfastError as error:
        raise error if made is None else _undone(call, made, error) from None
    except BaseException:
        if made is not None:
            _remove(call, made)
        raise
    if request.detach:
        call.out.line(made.id)
    return 0


def _start(host: Host, sandbox: Sandbox, request: CommandRequest) -> None:
    """Start the command; where it is waited for, this process becomes its keeper and does not come back."""
    if request.detach:
        host.start(sandbox, request)
    else:
        host.replace_process(sandbox, request)


def _undone(call: Call, made: Sandbox, first: MacvfastError) -> MacvfastError:
    """Remove a sandbox whose command could not be started; what to raise: the first error, with what remains."""
    remains = _remove(call, made)
    if remains is None:
        return first
    return UndoFailed(
        first, [remains], hints=[f"`macvfast rm -f {made.name}` removes sandbox `{made.name}`, which remains"]
    )


def _remove(call: Call, sandbox: Sandbox) -> MacvfastError | None:
    """Remove a sandbox; why it is still there, if it is."""
    try:
        with call.host() as host:
            (outcome,) = host.remove_many([sandbox.id], force=True)
    except MacvfastError as error:
        return error
    return outcome.error


def create(call: Call) -> int:
    """`create`."""
    given = call.given
    endpoints = _endpoints(given, "macvfast create")
    own_files = _own_files(given, "macvfast create")
    with call.host() as host:
        sandbox = host.create_sandbox(
            given.text("name"), endpoints=endpoints, labels=_labels(given), own_files=own_files
        )
    call.out.line(sandbox.id)
    return 0


# The options that say the same as a key of Docker's long form of --network, and what they are of an EndpointRequest.
_OF_AN_ENDPOINT = {"ip": "ip", "ip6": "ip6", "mac-address": "mac"}


def _endpoints(given: Given, name: str) -> list[EndpointRequest]:
    """One endpoint per `--net`; the addresses and the MAC given by themselves belong to the first."""
    from macvfast.requests import EndpointRequest  # noqa: PLC0415 - a list needs none

    texts = given.many("net")
    # Docker's word for what a sandbox without --net has.
    wanted = [] if texts == ("none",) else [_network(text, name) for text in texts]
    for key in _OF_AN_ENDPOINT:
        value = given.text(key)
        if value is None:
            continue
        if not wanted:
            raise Usage(
                f"option `--{key}` needs a network",
                causes=["no --net says where it is to be had"],
                hints=[f"--{key} belongs with --net", see_help(name)],
            )
        if wanted[0].setdefault(key, value) != value:
            raise Usage(
                f"option `--{key}` and `--net {given.many('net')[0]}` differ",
                causes=["both are about the first network"],
                hints=[f"leave out --{key}", see_help(name)],
            )
    return [
        EndpointRequest.of(one["name"], **{_OF_AN_ENDPOINT[key]: value for key, value in one.items() if key != "name"})
        for one in wanted
    ]


def _network(text: str, name: str) -> dict[str, str]:
    """A value of `--net`: a network, or `name=NETWORK,ip=…,ip6=…,mac-address=…`."""
    from macvfast.cli.docker import net_refusal, refusal  # noqa: PLC0415 - a list needs none

    refused = net_refusal(text)
    if refused is not None:
        raise Usage(f"`--net {text}` is not taken", causes=[refused.why], hints=[refused.instead, see_help(name)])
    if "=" not in text:
        return {"name": text}
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        refused = refusal("network connect", f"--{key}")
        if refused is not None:
            raise Usage(
                f"`{key}` of `--net {text}` is not taken",
                causes=[refused.why],
                hints=[*filter(None, [refused.instead]), see_help(name)],
            )
        if key not in ("name", *_OF_AN_ENDPOINT) or not equals or not value:
            keys = ", ".join(f"{known}=…" for known in ("name", *_OF_AN_ENDPOINT))
            raise Usage(
                f"option `--net` cannot be `{text}`", causes=[f"`{part}` is none of {keys}"], hints=[see_help(name)]
            )
        found[key] = value
    if "name" not in found:
        raise Usage(
            f"option `--net` cannot be `{text}`", causes=["it names no network"], hints=[f"--net name=NETWORK,{text}"]
        )
    return found


def _own_files(given: Given, name: str) -> OwnFiles:
    """What the sandbox is to have in /etc."""
    from macvfast.requests import OwnFiles  # noqa: PLC0415

    hosts = []
    for text in given.many("add-host"):
        # Docker's newer form has `=`; the address of the older one may hold colons itself.
        host, sign, address = text.partition("=" if "=" in text else ":")
        if not sign:
            raise Usage(
                f"option `--add-host` cannot be `{text}`",
                causes=["it names no address"],
                hints=["--add-host NAME:ADDRESS", see_help(name)],
            )
        if address == "host-gateway":
            raise Usage(
                f"option `--add-host` cannot be `{text}`",
                causes=[
                    "the kernel keeps a macvlan and its parent's host apart: there is no address of this host to give"
                ],
                hints=["name the address of another machine", see_help(name)],
            )
        hosts.append((host, address.strip("[]")))
    return OwnFiles(
        hostname=given.text("hostname"),
        hosts=tuple(hosts),
        dns=given.many("dns"),
        dns_search=given.many("dns-search"),
        dns_options=given.many("dns-option"),
    )


# No environment is larger: the kernel takes 6 MiB of arguments and variables at most (execve(2)).
_ENV_FILE_MAX = 8 << 20


def _environment(given: Given) -> tuple[tuple[str, str], ...]:
    """The variables of `--env-file`, then those of `-e`; a name alone has the value that it has here, if any."""
    typed = [(f"`--env-file` cannot be `{path}`", line) for path in given.many("env-file") for line in _lines(path)]
    found: dict[str, str] = {}
    for what, text in (*typed, *(("", text) for text in given.many("env"))):
        name, equals, value = text.partition("=")
        if not name or "\0" in text:
            # What comes after the name may be secret.
            shown = f"{name}{equals}{'…' if value else ''}"
            form = "it has the form NAME=VALUE or NAME"
            raise Usage(
                f"option {what or f'`--env` cannot be `{shown}`'}",
                causes=[f"`{shown}` in it is no variable: {form}" if what else form],
                hints=["--env-file takes a file with NAME=VALUE in each line" if what else "-e NAME=VALUE"],
            )
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return tuple(found.items())


def _lines(path: str) -> list[str]:
    """The lines of a file of variables, without comments; a pipe is a file, too."""
    text = ""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_ENV_FILE_MAX + 1)
        reason = "it is larger than an environment can be" if len(text) > _ENV_FILE_MAX else None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
    if reason is not None:
        raise Usage(
            f"option `--env-file` cannot be `{path}`",
            causes=[reason],
            hints=["--env-file takes a file with NAME=VALUE in each line"],
        )
    return [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]


def _labels(given: Given) -> tuple[tuple[str, str], ...]:
    return tuple(dict(given.pairs("label")).items())


def _command(given: Given, words: list[str], *, join: bool = False) -> CommandRequest:
    from macvfast.requests import CommandRequest, parse_size  # noqa: PLC0415

    log_max = given.text("log-max")
    if log_max is not None and not given.flag("detach"):
        raise Usage(
            "option `--log-max` needs -d",
            causes=["what a command shows that is waited for is not kept"],
            hints=[f"macvfast run -d --log-max={log_max} …", see_help("macvfast run")],
        )
    return CommandRequest(
        argv=tuple(words),
        interactive=given.flag("interactive"),
        tty=given.flag("tty"),
        detach=given.flag("detach"),
        rootfs=given.text("rootfs"),
        auto_remove=given.flag("rm"),
        join=join,
        env=_environment(given),
        workdir=given.text("workdir"),
        user=given.text("user"),
        log_max=None if log_max is None else parse_size("log-max", log_max),
    )


def execute(call: Call) -> int:
    """`exec`."""
    key, *words = call.given.words
    request = _command(call.given, words, join=True)
    with call.host() as host:
        sandbox = host.sandbox(key)
        host.check_command(request, sandbox)
        _start(host, sandbox, request)
    return 0


def logs(call: Call) -> int:
    """`logs`."""
    given = call.given
    tail = given.text("tail")
    if tail is not None and not (tail == "all" or (tail.isascii() and tail.isdigit() and len(tail) < 16)):
        raise Usage(
            f"option `--tail` cannot be `{tail}`",
            causes=["it is a number of lines, or `all`"],
            hints=["--tail 100", see_help("macvfast logs")],
        )
    with call.host() as host:
        shown = host.logs(
            given.words[0], tail=None if tail in (None, "all") else int(tail), follow=given.flag("follow")
        )
    be_careful()
    # The state is closed by now: who follows a log for days is in nobody's way.
    try:
        for piece in shown:
            if not call.out.data(piece):
                break
    except KeyboardInterrupt:
        # The way to end it.
        return INTERRUPTED
    return 0


def ps(call: Call) -> int:
    """`ps`."""
    given = call.given
    pairs = given.pairs("filter")
    # Who asks for a status wants to see it, as in Docker.
    everything = given.flag("all") or any(key == "status" for key, _ in pairs)
    fits = chosen(pairs, FILTERS)
    listing = Listing(LISTED, given.text("format"), quiet=given.flag("quiet"), whole=given.flag("no-trunc"))
    with call.host() as host:
        shown = (box for box in host.sandboxes() if fits(box) and (everything or box.state.value != "exited"))
        listing.show(call.out, shown)
    return 0


def _is_on(sandbox: Sandbox, network: str) -> bool:
    """Whether it is connected to the network of that name or id (also the short one)."""
    return any(
        endpoint.network == network or (len(network) >= SHORT_ID and endpoint.network_id.startswith(network))
        for endpoint in sandbox.endpoints
    )


FILTERS: dict[str, Filter[Sandbox]] = {
    "name": Filter(lambda sandbox, value: matches(sandbox.name, value)),
    "id": Filter(lambda sandbox, value: matches(sandbox.id, value)),
    "network": Filter(_is_on),
    "status": Filter(lambda sandbox, value: sandbox.state.value == value, ("idle", "running", "exited", "lost")),
    "label": Filter(lambda sandbox, value: has_label(sandbox.labels, value)),
}


def rm(call: Call) -> int:
    """`rm`."""
    words, force = call.given.words, call.given.flag("force")
    with call.host() as host:
        absent = [key for key in words if force and not _is_there(host, key)]
        outcomes = host.remove_many(words, force=force)
    return call.report(outcomes, absent=absent)


def _is_there(host: Host, key: str) -> bool:
    try:
        host.sandbox(key)
    except SandboxNotFound:
        return False
    except MacvfastError:
        # Ambiguous, or being changed by another process.
        return True
    return True
