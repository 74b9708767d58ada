"""What counts as a difference between a page and a run, and that the page has every example of Docker's guide."""

from __future__ import annotations

import re

import pytest

from tests.guide.page import GUIDE, Exchange, File, Ids, Reboot, Section, Session, difference, rewritten, sections

SHOWN = """1951: eth0@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group 1983 qlen 1000
    link/ether 4e:95:19:60:07:bf brd ff:ff:ff:ff:ff:ff link-netnsid 0
    inet6 fe80::4c95:19ff:fe60:7bf/64 scope link
       valid_lft forever preferred_lft 86394sec
    link/ether 02:42:ac:10:56:02 brd ff:ff:ff:ff:ff:ff
49d0c39bb3b2032f742f4defb9232073fe277b6ca1036111be190ef118bdada1
64 bytes from 172.16.86.10: icmp_seq=1 ttl=64 time=0.072 ms
1 packets transmitted, 1 received, 0% packet loss, time 3059ms
rtt min/avg/max/mdev = 0.045/0.052/0.072/0.011 ms
dm-49d0c39bb3b2
web: 100 on pub_net (100 made in 0.52 s, 193/s)
"""


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("1951: eth0@if2:", "7: eth0@if1002:"),
        ("group 1983", "group 4"),
        ("4e:95:19:60:07:bf", "aa:bb:cc:dd:ee:01"),
        ("fe80::4c95:19ff:fe60:7bf/64 scope link", "fe80::a8bb:ccff:fedd:ee01/64 scope link proto kernel_ll"),
        ("86394sec", "86400sec"),
        ("49d0c39bb3b2032f742f4defb9232073fe277b6ca1036111be190ef118bdada1", "ab" * 32),
        ("time=0.072 ms", "time=12 ms"),
        ("time 3059ms", "time 0ms"),
        ("0.045/0.052/0.072/0.011 ms", "1.045/1.052/1.072/0.0 ms"),
        ("dm-49d0c39bb3b2", "dm-abababababab"),
        ("0.52 s, 193/s", "10.52 s, 9/s"),
        ("state UP", "state UNKNOWN"),
    ],
)
def test_macs_ids_and_times_may_differ(there: str, here: str) -> None:
    assert there in SHOWN
    assert difference(SHOWN, SHOWN.replace(there, here)) == ""


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("mtu 1500", "mtu 1400"),
        ("state UP", "state DOWN"),
        (",LOWER_UP", ""),
        ("group 1983", "group default"),
        # The one that is made of the address.
        ("02:42:ac:10:56:02", "02:42:ac:10:56:03"),
        ("02:42:ac:10:56:02", "4e:95:19:60:07:bf"),
        ("brd ff:ff:ff:ff:ff:ff", "brd 4e:95:19:60:07:bf"),
        ("/64 scope link", "/64 scope global"),
        ("valid_lft forever", "valid_lft 86394sec"),
        ("49d0c39bb3b2032f742f4defb9232073fe277b6ca1036111be190ef118bdada1", "49d0c39bb3b2"),
        ("from 172.16.86.10", "from 172.16.86.11"),
        ("icmp_seq=1", "icmp_seq=2"),
        ("ttl=64", "ttl=63"),
        ("1 received, 0%", "0 received, 100%"),
        ("100 made", "99 made"),
        ("rtt min", "\nrtt min"),
    ],
)
def test_nothing_else_may_differ(there: str, here: str) -> None:
    assert there in SHOWN
    assert difference(SHOWN, SHOWN.replace(there, here, 1)) != ""


def pings(count: int, received: int, end: str = "^C") -> str:
    replies = "".join(f"64 bytes from 10.0.0.2: icmp_seq={n} ttl=64 time=0.1 ms\n" for n in range(1, count + 1))
    return f"PING 10.0.0.2\n{replies}{end}\n{count} packets transmitted, {received} received\n"


def test_of_what_ctrl_c_ends_it_may_differ_how_long_it_went_on() -> None:
    assert difference(pings(2, 2), pings(5, 5)) == ""
    assert difference(pings(2, 2), pings(5, 4)) != ""
    assert difference(pings(2, 2), pings(0, 0)) != ""
    assert difference(pings(2, 2, end=""), pings(5, 5, end="")) != ""


def test_an_id_stands_for_one_thing_and_is_typed_as_it_is_in_this_run() -> None:
    ids = Ids()
    assert ids.learn("a" * 64, "b" * 64) == ""
    assert ids.typed(f"rm -f {'a' * 12} {'c' * 12}") == f"rm -f {'b' * 12} {'c' * 12}"
    assert ids.learn(f"{'a' * 12} {'c' * 12}", f"{'b' * 12} {'d' * 12}") == ""
    assert "stand for others" in ids.learn("a" * 12, "e" * 12)
    assert "stand for others" in ids.learn("f" * 12, "b" * 12)


PAGE = """# A page

## Nothing to type

Text.

## First, and *second*

<!-- needs vlan radvd -->
<!-- terminal 2 -->

```console
$ one \\
    more
shown

## shown too
# two
```

<!-- file a.py -->

```python
print()
```

```python
not_typed()
```

<!-- reboot -->

<!-- until x.z -->

```console
$ three
```
"""


def test_a_page_is_read_as_it_is_typed() -> None:
    (section,) = sections(PAGE)
    assert (section.title, section.needs, section.slug) == (
        "First, and *second*", ("vlan", "radvd"), "first-and-second",
    )  # fmt: skip
    first, file, reboot, last = section.steps
    assert isinstance(first, Session)
    assert isinstance(last, Session)
    assert first.exchanges == (
        Exchange("$ ", "one \\\n    more", "shown\n\n## shown too"), Exchange("# ", "two"),
    )  # fmt: skip
    assert (first.terminal, first.until) == (2, None)
    assert file == File("a.py", "print()\n")
    assert reboot == Reboot()
    assert (last.terminal, last.until) == (1, "x.z")


def test_what_is_shown_is_written_into_the_page_and_nothing_else() -> None:
    first, last = sections(PAGE)[0].sessions
    new = rewritten(PAGE, {first.place.start: "$ four\n1\n2", last.place.start: "$ three\n3"})
    assert new == PAGE.replace(first.text, "$ four\n1\n2").replace("$ three", "$ three\n3")
    assert rewritten(PAGE, {}) == PAGE


# Docker's guide, with `macvfast` for `docker` and without the image's name, misprints and all.
EXAMPLES = """
ip addr show eth0
macvfast network create -d macvlan --subnet=172.16.86.0/24 --gateway=172.16.86.1 -o parent=eth0 pub_net
macvfast run --net=pub_net --ip=172.16.86.10 -itd /bin/sh
macvfast run --net=pub_net -it --rm /bin/sh
ping -c 4 172.16.86.10
ip a show eth0
ip route
macvfast network create -d macvlan --subnet=172.16.86.0/24 --gateway=172.16.86.1 --aux-address="exclude_host=172.16.86.250" -o parent=eth0 pub_net
macvfast network create -d macvlan --subnet=192.168.32.0/24 --ip-range=192.168.32.128/25 --gateway=192.168.32.254 -o parent=eth0 macnet32
macvfast run --net=macnet32 -it --rm /bin/sh
macvfast network rm pub_net
macvfast network rm ID
ip link add link eth0 name eth0.50 type vlan id 50
macvfast network create -d macvlan --subnet=192.168.50.0/24 --gateway=192.168.50.1 -o parent=eth0.50 macvlan50
macvfast run --net=macvlan50 -it --name macvlan_test5 --rm /bin/sh
macvfast run --net=macvlan50 -it --name macvlan_test6 --rm /bin/sh
macvfast network create -d macvlan --subnet=192.168.60.0/24 --gateway=192.168.60.1 -o parent=eth0.60 -o -o macvlan_mode=bridge macvlan60
macvfast run --net=macvlan60 -it --name macvlan_test7 --rm /bin/sh
macvfast run --net=macvlan60 -it --name macvlan_test8 --rm /bin/sh
macvfast network create -d ipvlan --subnet=192.168.210.0/24 --subnet=192.168.212.0/24 --gateway=192.168.210.254 --gateway=192.168.212.254 -o ipvlan_mode=l2 ipvlan210
macvfast run --net=ipvlan210 --ip=192.168.210.10 -itd /bin/sh
macvfast run --net=ipvlan210 --ip=192.168.210.9 -it --rm ping -c 2 192.168.210.10
macvfast run --net=ipvlan210 --ip=192.168.212.10 -itd /bin/sh
macvfast run --net=ipvlan210 --ip=192.168.212.9 -it --rm ping -c 2 192.168.212.10
macvfast network create -d macvlan --subnet=192.168.216.0/24 --subnet=192.168.218.0/24 --gateway=192.168.216.1 --gateway=192.168.218.1 --subnet=2001:db8:abc8::/64 --gateway=2001:db8:abc8::10 -o parent=eth0.218 -o macvlan_mode=bridge macvlan216
macvfast run --net=macvlan216 --name=macnet216_test --ip=192.168.216.10 -itd /bin/sh
macvfast run --net=macvlan216 --name=macnet216_test --ip=192.168.218.10 -itd /bin/sh
macvfast run --net=macvlan216 --ip=192.168.216.11 -it --rm /bin/sh
ping 192.168.216.10
macvfast run --net=macvlan216 --ip=192.168.218.11 -it --rm /bin/sh
ping 192.168.218.10
ip -6 route
"""  # noqa: E501 - one command each


def test_every_example_of_dockers_guide_is_on_the_page() -> None:
    typed = [
        re.sub(r"\b[0-9a-f]{12}\b", "ID", " ".join(exchange.typed.replace("\\\n", " ").split()))
        for section in sections(GUIDE.read_text(encoding="utf-8"))
        for session in section.sessions
        for exchange in session.exchanges
    ]
    missing = set(EXAMPLES.strip().splitlines()) - set(typed)
    assert not missing


def test_the_contents_lead_to_every_section_in_order() -> None:
    page = GUIDE.read_text(encoding="utf-8")
    *titles, further = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert further == "Further"
    links = re.findall(r"^- \[(.+)\]\(#(.+)\)$", page, re.MULTILINE)
    assert links == [(title, Section(title, (), ()).slug) for title in titles]
