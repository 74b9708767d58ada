"""Namespaces on a real kernel, beside `ip netns`."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from macvfast import _core, errors
from tests.kernel.handles import opened
from tests.netns import forked, on_thread_in, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.needs("root")

# asm-generic/socket.h; Python does not name it.
SO_NETNS_COOKIE = 71

NO_IPV6 = [("net/ipv6/conf/default/disable_ipv6", "1")]


def run_ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def listed() -> set[str]:
    """The namespaces that `ip netns` sees."""
    return {entry["name"] for entry in json.loads(run_ip("-json", "netns", "list") or "[]")}


def is_namespace(path: Path) -> bool:
    return subprocess.run(["nsenter", f"--net={path}", "true"], check=False, capture_output=True).returncode == 0


def mounts_at(path: Path) -> int:
    return sum(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


@pytest.fixture
def prefix() -> Iterator[str]:
    """Names for namespaces; whatever is there under them at the end is removed."""
    prefix = f"mvf-{uuid.uuid4().hex[:8]}"
    yield prefix
    for path in Path("/run/netns").glob(f"{prefix}*"):
        subprocess.run(["ip", "netns", "del", path.name], check=False)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for pins that is unmounted at the end."""
    directory = tmp_path / "deep" / "netns"
    yield directory
    while subprocess.run(["umount", "-l", str(directory)], check=False, capture_output=True).returncode == 0:
        pass


def made(result: _core.Namespace | _core.Refusal | errors.MacvfastError) -> _core.Namespace:
    assert isinstance(result, _core.Namespace), result
    return result


def refused(result: _core.Namespace | errors.MacvfastError) -> errors.KernelRefused:
    assert isinstance(result, errors.KernelRefused), result
    return result


def make_pinned(
    pins: Sequence[str], sysctls: Sequence[tuple[str, str]] = (), threads: int = 1
) -> list[_core.Namespace | errors.MacvfastError]:
    """A namespace at each path, or why there is none."""
    namespaces = [made(one) for one in _core.make_namespaces(len(pins), sysctls, threads)]
    pinned: list[_core.Namespace | errors.MacvfastError] = []
    for namespace, error in zip(
        namespaces, _core.pin_namespaces(list(zip(namespaces, pins, strict=True))), strict=True
    ):
        if error is not None:
            namespace.close()
        pinned.append(namespace if error is None else error)
    return pinned


def unpin(*paths: str) -> None:
    """Take pins away."""
    assert _core.unpin_namespaces(paths) == [None] * len(paths)


def test_a_namespace_is_made_with_lo_up_and_seen_by_ip_netns(prefix: str) -> None:
    (namespace,) = map(made, make_pinned([f"/run/netns/{prefix}"], ()))
    assert prefix in listed()
    (lo,) = json.loads(run_ip("-n", prefix, "-json", "address", "show"))
    assert lo["ifname"] == "lo"
    assert {"UP", "LOWER_UP"} <= set(lo["flags"])
    assert "127.0.0.1" in {address["local"] for address in lo["addr_info"]}
    assert namespace.inode == os.stat(f"/run/netns/{prefix}").st_ino == os.fstat(namespace.fd).st_ino
    assert [link.ifname for link in namespace.netlink.links()] == ["lo"]
    assert not os.get_inheritable(namespace.fd)
    namespace.close()
    run_ip("netns", "del", prefix)
    assert prefix not in listed()


def test_results_come_in_the_order_asked_whatever_the_threads(prefix: str) -> None:
    pins = [f"/run/netns/{prefix}-{number}" for number in range(40)]
    namespaces = [made(result) for result in make_pinned(pins, NO_IPV6, 4)]
    assert len({namespace.cookie for namespace in namespaces}) == 40
    for pin, namespace in zip(pins, namespaces, strict=True):
        assert os.stat(pin).st_ino == namespace.inode
        assert namespace.netlink.cookie == namespace.cookie
        namespace.close()
        unpin(pin)
    assert not any(Path(pin).exists() for pin in pins)


def test_a_taken_path_is_refused_alone_and_left_alone(prefix: str) -> None:
    pins = [f"/run/netns/{prefix}-{number}" for number in range(5)]
    run_ip("netns", "add", f"{prefix}-1")
    Path(pins[3]).write_text("not ours")
    before = os.stat(pins[1]).st_ino
    results = make_pinned(pins, (), 2)
    assert [isinstance(result, _core.Namespace) for result in results] == [True, False, True, False, True]
    for number in (1, 3):
        refusal = refused(results[number])
        assert refusal.errno == errno.EEXIST
        assert f"pin a network namespace at `{pins[number]}`" in str(refusal)
    assert os.stat(pins[1]).st_ino == before
    assert Path(pins[3]).read_text() == "not ours"
    Path(pins[3]).unlink()


def test_a_path_asked_for_twice_is_made_once(prefix: str) -> None:
    pin = f"/run/netns/{prefix}"
    results = make_pinned([pin, pin], (), 2)
    assert [type(result).__name__ for result in results] == ["Namespace", "KernelRefused"]


def test_sysctls_are_written_in_the_new_namespace_and_nowhere_else(prefix: str) -> None:
    own = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
    sysctls = [
        ("net/ipv4/ip_default_ttl", "42"),
        ("net/no/such/sysctl", "1"),
        ("net/ipv6/conf/lo/disable_ipv6", "1"),
        *NO_IPV6,
    ]
    # More than the 32 that one procfs instance serves.
    pins = [f"/run/netns/{prefix}-{number}" for number in range(70)]
    for namespace in map(made, make_pinned(pins, sysctls, 1)):
        namespace.close()
    for pin in (pins[0], pins[33], pins[69]):
        words = ["net.ipv4.ip_default_ttl", "net.ipv6.conf.default.disable_ipv6"]
        shown = run_ip("netns", "exec", Path(pin).name, "sysctl", "-n", *words)
        assert shown.split() == ["42", "1"]
        (lo,) = json.loads(run_ip("-n", Path(pin).name, "-json", "address", "show", "dev", "lo"))
        assert [address["family"] for address in lo["addr_info"]] == ["inet"]
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == own


def test_a_value_that_the_kernel_refuses_makes_no_namespace() -> None:
    for result in _core.make_namespaces(3, [("net/ipv4/ip_default_ttl", "4242")], 2):
        assert isinstance(result, _core.Refusal)
        assert (result.errno, result.operation) == (errno.EINVAL, "write the sysctl `net/ipv4/ip_default_ttl`")


def test_sysctls_are_written_in_a_namespace_of_others(prefix: str) -> None:
    run_ip("netns", "add", prefix)
    namespace = opened(f"/run/netns/{prefix}")
    own = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
    wanted = [("net/ipv4/ip_default_ttl", "42"), ("net/no/such/sysctl", "1")]
    assert _core.write_sysctls([(namespace, wanted)]) == [None]
    assert _core.read_sysctls([namespace], [name for name, _ in wanted]) == [["42", None]]
    assert run_ip("netns", "exec", prefix, "sysctl", "-n", "net.ipv4.ip_default_ttl").strip() == "42"
    (error,) = _core.write_sysctls([(namespace, [("net/ipv4/ip_default_ttl", "4242")])])
    assert isinstance(error, errors.KernelRefused)
    assert error.errno == errno.EINVAL
    assert "net/ipv4/ip_default_ttl" in str(error)
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == own
    namespace.close()


@pytest.mark.parametrize("name", ["kernel/hostname", "net/../kernel/hostname", "/net/ipv4/ip_default_ttl", "net", ""])
def test_a_sysctl_of_the_host_is_refused_before_anything_is_made(name: str) -> None:
    with pytest.raises(ValueError, match="sysctl"):
        _core.make_namespaces(1, [(name, "1")])
    (namespace,) = map(made, _core.make_namespaces(1))
    with pytest.raises(ValueError, match="sysctl"):
        _core.write_sysctls([(namespace, [(name, "1")])])
    with pytest.raises(ValueError, match="sysctl"):
        _core.read_sysctls([namespace], [name])
    namespace.close()


def test_making_none_makes_none() -> None:
    assert _core.make_namespaces(0) == []
    assert _core.pin_namespaces([]) == []
    assert _core.unpin_namespaces([]) == []
    assert _core.write_sysctls([]) == []
    assert _core.send_each([]) == []


def visitors() -> dict[int, str]:
    """The threads of this process that visit namespaces, each with the namespace it is in."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            if (task / "comm").read_text() == "macvfast-visits\n":
                found[int(task.name)] = os.readlink(task / "ns/net")
    return found


def visit_in_every_way(path: str) -> None:
    """Everything that is done in one namespace at a time."""
    (fresh,) = map(made, _core.make_namespaces(1, NO_IPV6))
    fresh.close()
    with contextlib.closing(opened(path)) as namespace:
        assert _core.write_sysctls([(namespace, NO_IPV6)]) == [None]
        assert _core.read_sysctls([namespace], [NO_IPV6[0][0]]) == [["1"]]


def test_one_thread_makes_all_visits_and_is_at_home_after_each(prefix: str) -> None:
    """Catches a thread per visit, and one that keeps alive where it was, or where its caller was."""
    run_ip("netns", "add", prefix)
    run_ip("netns", "add", f"{prefix}-caller")
    path = f"/run/netns/{prefix}"
    home = os.readlink("/proc/self/ns/net")
    seen = set()
    for turn in range(40):
        if turn % 4:
            visit_in_every_way(path)
        else:
            on_thread_in(f"/run/netns/{prefix}-caller", lambda: visit_in_every_way(path))
        ((thread, where),) = visitors().items()
        assert where == home
        seen.add(thread)
    # One that found nothing to do for a second had ended.
    assert len(seen) < 5


def test_the_visiting_thread_ends_when_there_is_nothing_to_visit(prefix: str) -> None:
    """Otherwise what it got from the thread that began it, a mount namespace say, would live as long as the process."""
    run_ip("netns", "add", prefix)
    for _ in range(2):
        visit_in_every_way(f"/run/netns/{prefix}")
        assert visitors()
        wait_until(lambda: not visitors(), what="its end")


def test_many_threads_visit_at_once_and_each_gets_its_own_answer(prefix: str) -> None:
    names = [f"{prefix}-{number}" for number in range(6)]
    for name in names:
        run_ip("netns", "add", name)
    cookies = {name: cookie_of(name) for name in names}
    wrong: list[str] = []

    def visit(name: str) -> None:
        for _ in range(100):
            namespace = opened(f"/run/netns/{name}")
            _core.write_sysctls([(namespace, [("net/ipv4/ip_default_ttl", str(100 + names.index(name)))])])
            ttl = _core.read_sysctls([namespace], ["net/ipv4/ip_default_ttl"])
            if (namespace.cookie, ttl) != (cookies[name], [[str(100 + names.index(name))]]):
                wrong.append(name)
            namespace.close()

    threads = [threading.Thread(target=visit, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(visitors()) <= 1


def cookie_of(name: str) -> int:
    def ask() -> int:
        with socket.socket(socket.AF_UNIX) as one:
            return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)

    return on_thread_in(f"/run/netns/{name}", ask)


def test_a_forked_child_visits_by_a_thread_of_its_own(prefix: str) -> None:
    """Catches one that waits for a thread which is the parent's, or for a lock that such a thread held."""
    run_ip("netns", "add", prefix)
    path = f"/run/netns/{prefix}"
    ended = threading.Event()

    def busy() -> None:
        while not ended.is_set():
            visit_in_every_way(path)

    others = [threading.Thread(target=busy) for _ in range(3)]
    for other in others:
        other.start()
    try:
        for _ in range(30):
            statuses = [forked(lambda: visit_in_every_way(path)), forked(lambda: forked_again(path))]
            assert statuses == [0, 0]
    finally:
        ended.set()
        for other in others:
            other.join()


def forked_again(path: str) -> None:
    visit_in_every_way(path)
    assert forked(lambda: visit_in_every_way(path)) == 0


def test_a_batch_does_not_reach_what_has_the_number_of_a_closed_namespace(prefix: str) -> None:
    """Numbers of descriptors are given again at once: the link would be born in another namespace."""
    run_ip("netns", "add", prefix)
    run_ip("-n", prefix, "link", "add", "parent", "index", "10", "type", "veth", "peer", "name", "far")
    (namespace,) = map(made, _core.make_namespaces(1))
    batch = _core.Batch()
    batch.add_macvlan("inside", 100, 10, "bridge", netns=namespace)
    number = namespace.fd
    namespace.close()
    other = os.open(f"/run/netns/{prefix}", os.O_RDONLY)
    os.dup2(other, number)
    try:
        with contextlib.closing(opened(f"/run/netns/{prefix}")) as host:
            with pytest.raises(errors.KernelRefused) as raised:
                host.netlink.send(batch)
            assert raised.value.errno == errno.EBADF
            assert host.netlink.link("inside") is None
    finally:
        for descriptor in {other, number}:
            os.close(descriptor)


def test_the_calling_thread_stays_where_it_is(prefix: str) -> None:
    before = os.readlink("/proc/thread-self/ns/net"), _core.home_cookie()
    (namespace,) = map(made, make_pinned([f"/run/netns/{prefix}"], NO_IPV6, 2))
    other = opened(f"/run/netns/{prefix}")
    assert _core.write_sysctls([(other, NO_IPV6)]) == [None]
    _core.read_sysctls([other], [name for name, _ in NO_IPV6])
    assert (os.readlink("/proc/thread-self/ns/net"), _core.home_cookie()) == before
    assert {os.readlink(f"/proc/self/task/{task}/ns/net") for task in os.listdir("/proc/self/task")} == {before[0]}
    namespace.close()
    other.close()


def test_a_namespace_dies_with_its_pin_and_its_handle(prefix: str) -> None:
    (namespace,) = map(made, make_pinned([f"/run/netns/{prefix}"], ()))
    # A veth ties the two together: its end out here goes when the namespace goes.
    run_ip("netns", "add", f"{prefix}-peer")
    peer = opened(f"/run/netns/{prefix}-peer")
    run_ip("-n", f"{prefix}-peer", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", prefix)
    unpin(f"/run/netns/{prefix}")
    assert peer.netlink.link("near") is not None
    namespace.close()
    wait_until(lambda: peer.netlink.link("near") is None, what="the end of the namespace with its handle")
    peer.close()


def test_pins_may_lie_in_another_directory(directory: Path) -> None:
    pins = [directory / "a", directory / "b"]
    namespaces = [made(result) for result in make_pinned([str(pin) for pin in pins], ())]
    assert (directory.stat().st_mode & 0o777, mounts_at(directory)) == (0o755, 1)
    for pin, namespace in zip(pins, namespaces, strict=True):
        assert is_namespace(pin)
        assert opened(str(pin)).cookie == namespace.cookie
    # Its mount is shared, once.
    (line,) = [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if line.split()[4] == str(directory)
    ]
    assert " shared:" in line
    for pin in pins:
        unpin(str(pin))
    assert list(directory.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_every_items_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pins = [str(tmp_path / "file" / name) for name in ("a", "b")]
    for result in make_pinned(pins, ()):
        assert refused(result).errno in (errno.ENOTDIR, errno.EEXIST)
        assert f"prepare `{tmp_path / 'file'}` for network namespaces" in str(refused(result))


@pytest.mark.parametrize("by", ["mode", "owner"])
def test_a_directory_where_others_could_exchange_a_new_pin_is_every_items_refusal(directory: Path, by: str) -> None:
    """The namespace would be mounted on whatever a link of theirs leads to."""
    directory.mkdir(parents=True)
    if by == "owner":
        os.chown(directory, 65534, 65534)
    else:
        directory.chmod(0o775)
    for result in make_pinned([str(directory / name) for name in ("a", "b")], ()):
        assert isinstance(result, errors.PinsUnsafe), result
    assert list(directory.iterdir()) == []
    assert mounts_at(directory) == 0
    # As /tmp is: nobody exchanges what is root's.
    os.chown(directory, 0, 0)
    directory.chmod(0o1777)
    (namespace,) = map(made, make_pinned([str(directory / "a")], ()))
    namespace.close()
    unpin(str(directory / "a"))


@pytest.mark.parametrize("umask", [0, 0o77])
def test_directories_above_the_pins_are_open_to_no_other_to_write(directory: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (namespace,) = map(made, make_pinned([str(directory / "above/below/a")], ()))
    finally:
        os.umask(before)
    namespace.close()
    unpin(str(directory / "above/below/a"))
    assert (directory / "above/below").stat().st_mode & 0o777 == 0o755
    assert [path for path in (directory, directory / "above") if path.stat().st_mode & 0o022] == []
    subprocess.run(["umount", "-l", directory / "above/below"], check=True)


def test_a_living_namespace_is_pinned_again(prefix: str) -> None:
    first, second = f"/run/netns/{prefix}-1", f"/run/netns/{prefix}-2"
    (namespace,) = map(made, make_pinned([first], ()))
    unpin(first)
    assert _core.pin_namespaces([(namespace, second)]) == [None]
    assert f"{prefix}-2" in listed()
    assert os.stat(second).st_ino == namespace.inode
    (error,) = _core.pin_namespaces([(namespace, second)])
    assert error is not None
    assert refused(error).errno == errno.EEXIST
    assert mounts_at(Path(second)) == 1
    namespace.close()


def test_a_namespace_of_ip_netns_is_opened_by_path_link_and_pid(prefix: str, tmp_path: Path) -> None:
    run_ip("netns", "add", prefix)
    (tmp_path / "link").symlink_to(f"/run/netns/{prefix}")
    with subprocess.Popen(["ip", "netns", "exec", prefix, "sh", "-c", "echo; read x"], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        paths = [f"/run/netns/{prefix}", str(tmp_path / "link"), f"/proc/{child.pid}/ns/net"]
        namespaces = [opened(path) for path in paths]
        child.communicate(b"\n")
    assert len({namespace.cookie for namespace in namespaces}) == 1
    assert {namespace.inode for namespace in namespaces} == {os.stat(f"/run/netns/{prefix}").st_ino}
    for namespace in namespaces:
        namespace.close()


def test_what_is_no_namespace_is_refused_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to-file").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        cases = {
            "missing": "nothing is there",
            "file": "it is a file that no namespace is mounted on",
            "to-file": "it is a file that no namespace is mounted on",
            "file/below": "nothing is there",
            "dangling": "nothing is there",
            "loop": "it is a symbolic link",
            "fifo": "it is a file that no namespace is mounted on",
            "socket": "it is a file that no namespace is mounted on",
            ".": "it is a directory",
            "a" * 5000: "nothing is there",
            "nul\0byte": "nothing is there",
        }
        paths = {str(tmp_path / name): reason for name, reason in cases.items()}
        paths["/dev/null"] = "it is a file that no namespace is mounted on"
        paths["/proc/self/ns/mnt"] = "it is a namespace of another kind"
        paths["/proc/self/ns/user"] = "it is a namespace of another kind"
        paths["/proc/999999999/ns/net"] = "nothing is there"
        paths[""] = "nothing is there"
        for path, reason in paths.items():
            with pytest.raises(errors.NamespaceInvalid) as caught:
                opened(path)
            assert (caught.value.path, caught.value.reason) == (path, reason)


def test_what_interrupts_while_an_outcome_is_told_is_raised_and_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python looks for Ctrl-C while it makes the exception of one path."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(errors.NamespaceInvalid, "__init__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _core.open_namespaces(["/proc/self/ns/net", "/nowhere"])


def test_opening_a_fifo_does_not_wake_its_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=lambda: (tmp_path / "fifo").write_text("x"), daemon=True)
    writer.start()
    with pytest.raises(errors.NamespaceInvalid):
        opened(str(tmp_path / "fifo"))
    # Had it been opened for reading, the writer would have gone on and ended.
    assert writer.is_alive()
    assert (tmp_path / "fifo").read_text() == "x"
    writer.join(10)


def test_unpinning_what_is_not_there_changes_nothing(tmp_path: Path) -> None:
    unpin(str(tmp_path / "missing"), str(tmp_path / "missing" / "below"), str(tmp_path / ("a" * 300)))
    assert list(tmp_path.iterdir()) == []


def test_a_pin_that_lost_its_mount_is_taken_away(prefix: str) -> None:
    pin = Path(f"/run/netns/{prefix}")
    run_ip("netns", "add", prefix)
    subprocess.run(["umount", str(pin)], check=True)
    unpin(str(pin))
    assert not pin.exists()


def test_unpinning_anything_but_a_pin_is_refused_and_leaves_it(prefix: str, tmp_path: Path) -> None:
    run_ip("netns", "add", prefix)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(f"/run/netns/{prefix}")
    os.mkfifo(tmp_path / "fifo")
    paths = [*(str(tmp_path / name) for name in ("file", "directory", "link", "fifo")), "/proc/self/ns/net"]
    for path, error in zip(paths, _core.unpin_namespaces(paths), strict=True):
        assert isinstance(error, errors.NamespaceInvalid)
        assert error.path == path
    assert (tmp_path / "file").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "directory", "link", "fifo"}
    assert is_namespace(Path(f"/run/netns/{prefix}"))


def test_a_closed_namespace_says_so(prefix: str) -> None:
    (namespace,) = map(made, make_pinned([f"/run/netns/{prefix}"], ()))
    netlink = namespace.netlink
    assert netlink is namespace.netlink
    namespace.close()
    namespace.close()
    for call in (
        lambda: namespace.fd,
        namespace.netlink.links,
        netlink.links,
        lambda: _core.pin_namespaces([(namespace, f"/run/netns/{prefix}-2")]),
        lambda: _core.write_sysctls([(namespace, NO_IPV6)]),
        lambda: _core.read_sysctls([namespace], ["net/ipv4/ip_forward"]),
        lambda: _core.send_each([(netlink, _core.Batch())]),
        lambda: _core.send_each([(netlink, _core.Batch())], 2),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert not Path(f"/run/netns/{prefix}-2").exists()


def in_own_mounts(script: str) -> str:
    """Run a program with `/run/netns` to itself: a mount namespace of its own, and an empty `/run`."""
    program = textwrap.dedent(script)
    shell = 'while umount -l /run/netns; do :; done 2>/dev/null; mount -t tmpfs none /run && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", shell, "sh", sys.executable, "-c", PRELUDE + program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


PRELUDE = """
import errno, os, subprocess
from pathlib import Path
from macvfast import _core, errors
from tests.kernel.handles import opened
from tests.netns import forked, on_thread_in, wait_until
def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
def mounts():
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [line for line in lines if line[4].startswith("/run/netns")]
def make(*names):
    made = _core.make_namespaces(len(names))
    assert _core.pin_namespaces([(one, f"/run/netns/{name}") for one, name in zip(made, names)]) == [None] * len(names)
def unpin(name):
    assert _core.unpin_namespaces([f"/run/netns/{name}"]) == [None]
"""


def test_whoever_locks_the_directory_of_the_pins_keeps_nobody_waiting_for_ever() -> None:
    """Any user can open it, and so hold its lock."""
    in_own_mounts("""
        import fcntl
        Path("/run/netns").mkdir()
        held = os.open("/run/netns", os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_SH)
        (namespace,) = _core.make_namespaces(1)
        (error,) = _core.pin_namespaces([(namespace, "/run/netns/ours")])
        assert isinstance(error, errors.PinsLocked), error
        name = Path("/proc/self/comm").read_text().strip()
        assert error.holders == (f"process {os.getpid()} ({name})",), error.holders
        assert os.listdir("/run/netns") == []
        # Once it is a shared mount, nobody needs the lock.
        subprocess.run(["mount", "--bind", "/run/netns", "/run/netns"], check=True)
        make("ours")
        os.close(held)
        subprocess.run(["umount", "-l", "/run/netns"], check=True)
        make("again")
    """)


def test_another_users_lock_on_the_directory_of_the_pins_is_not_waited_for() -> None:
    in_own_mounts("""
        import fcntl, signal
        os.chmod("/run", 0o755)
        Path("/run/netns").mkdir()
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            signal.alarm(60)
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
            fcntl.flock(os.open("/run/netns", os.O_RDONLY), fcntl.LOCK_SH)
            os.write(writer, b"locked")
            signal.pause()
        try:
            assert os.read(reader, 6) == b"locked"
            make("ours")
            assert [line[4] for line in mounts()] == ["/run/netns", "/run/netns/ours"], mounts()
        finally:
            os.kill(child, signal.SIGKILL)
    """)


def test_the_directory_of_the_pins_is_open_to_all_whatever_the_umask() -> None:
    in_own_mounts("""
        os.umask(0o077)
        make("ours")
        assert os.stat("/run/netns").st_mode & 0o777 == 0o755
    """)


def test_ip_netns_works_after_macvfast_has_made_its_directory() -> None:
    in_own_mounts("""
        assert not Path("/run/netns").exists()
        make("ours")
        assert os.stat("/run/netns").st_mode & 0o777 == 0o755
        ip("netns", "add", "theirs")
        assert set(ip("netns", "list").split()) == {"ours", "theirs"}
        assert "lo" in ip("netns", "exec", "ours", "ip", "link")
        # One mount of the directory on itself, shared, and one for each namespace.
        assert sorted(line[4] for line in mounts()) == ["/run/netns", "/run/netns/ours", "/run/netns/theirs"], mounts()
        assert all(any(word.startswith("shared:") for word in line) for line in mounts()), mounts()
        ip("netns", "del", "ours")
        assert ip("netns", "list").split() == ["theirs"]
        unpin("theirs")
        assert os.listdir("/run/netns") == []
        assert [line[4] for line in mounts()] == ["/run/netns"]
    """)


def test_macvfast_works_after_ip_netns_has_made_its_directory() -> None:
    in_own_mounts("""
        ip("netns", "add", "theirs")
        before = [line[4] for line in mounts()]
        make("ours")
        make("again")
        assert set(ip("netns", "list").split()) == {"ours", "theirs", "again"}
        added = sorted(line[4] for line in mounts() if line[4] not in before)
        assert added == ["/run/netns/again", "/run/netns/ours"], mounts()
        ip("netns", "del", "theirs")
        ip("netns", "exec", "ours", "true")
        ip("netns", "del", "ours")
        unpin("again")
        assert os.listdir("/run/netns") == []
    """)


def test_a_pin_removed_in_one_mount_namespace_is_gone_in_the_others() -> None:
    in_own_mounts("""
        make("ours")
        # A child with mounts of its own that follow ours, as a service of systemd has them.
        child = subprocess.Popen(
            ["unshare", "-m", "--propagation", "unchanged", "sh", "-c", "echo; read x; cat /proc/self/mountinfo"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        child.stdout.readline()
        unpin("ours")
        out, _ = child.communicate("\\n")
        assert "/run/netns" in out and "/run/netns/ours" not in out, out
    """)


def test_sysctls_are_written_where_no_procfs_of_ones_own_is_to_be_had() -> None:
    script = """
        made = _core.make_namespaces(1, [("net/ipv4/ip_default_ttl", "42")])
        assert isinstance(made[0], _core.Namespace), (made[0].operation, made[0].errno)
        assert _core.pin_namespaces([(made[0], "/run/netns/ours")]) == [None]
        assert ip("netns", "exec", "ours", "sysctl", "-n", "net.ipv4.ip_default_ttl").strip() == "42"
    """
    program = textwrap.dedent(script)
    # Root of a user namespace that has no process namespace of its own may not mount a procfs; /proc is there.
    shell = 'mount -t tmpfs none /run && exec "$@"'
    command = ["unshare", "-Urm", "sh", "-c", shell, "sh", sys.executable, "-c", PRELUDE + program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_without_privilege_the_needed_capability_is_named(prefix: str) -> None:
    run_ip("netns", "add", prefix)
    script = f"""
        error, = _core.open_namespaces(["/run/netns/{prefix}"])
        assert isinstance(error, errors.PermissionNeeded), error
        assert "CAP_SYS_ADMIN" in str(error), error
        netlink = _core.Netlink()
        batch = _core.Batch()
        batch.delete_link(999_999)
        assert netlink.send(batch)[0].errno == errno.EPERM
        assert netlink.link("lo").loopback
        refusal, = _core.make_namespaces(1)
        assert refusal.errno == errno.EPERM, (refusal.operation, refusal.errno)
    """
    keep = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    command = [*keep, sys.executable, "-c", PRELUDE + textwrap.dedent(script)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_many_threads_make_and_take_away_namespaces_at_once(prefix: str) -> None:
    problems: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for turn in range(10):
                pins = [f"/run/netns/{prefix}-{thread}-{turn}-{number}" for number in range(3)]
                for namespace in map(made, make_pinned(pins, NO_IPV6, 2)):
                    namespace.close()
                unpin(*pins)
        except BaseException as problem:  # noqa: BLE001 - handed to the main thread
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert not [name for name in os.listdir("/run/netns") if name.startswith(prefix)]
