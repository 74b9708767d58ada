"""What stands on what, and the four forms in which it is shown."""

from __future__ import annotations

import io
import json
import re
import subprocess
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from macvfast.cli.show.output import Output
from macvfast.cli.show.topology.svg import STYLE
from macvfast.cli.show.topology.tree import LINKS, SANDBOXES, Node, tree
from macvfast.model import MadeParent, Network, Sandbox, Subnet
from macvfast.requests import EndpointRequest
from macvfast.topology import Link, Topology, arranged
from macvfast.usage import NetworkUsage
from tests.unit.cli_bed import DUAL, FakeHost, endpoint, network, sandbox, typed
from tests.unit.fake_kernel import FakeLink
from tests.unit.test_pictures import ENHANCED, contrast, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.machine import Machine


def on_vlan(vid: int, base: str = "eth0") -> tuple[Network, MadeParent]:
    """A network on a sub-interface, with the record of that."""
    link = f"{base}.{vid}"
    subnet = Subnet(IPv4Network((10 << 24 | vid << 8, 24)), gateway=IPv4Address(10 << 24 | vid << 8 | 1))
    on = network(f"net{vid}", id=f"{vid:064x}", parent=link, link=link, subnets=(subnet,))
    return on, MadeParent(link, "vlan", base, vid, 7, "b")


def boxes_on(on: Network, *names: str) -> list[Sandbox]:
    """Sandboxes on a network, with its addresses from the tenth on."""
    first = on.subnets[0].first + 10
    return [
        sandbox(
            name,
            id=f"{abs(hash(name)):064x}"[:64],
            endpoints=(
                endpoint(on, name, packed=IPv4Address(first + number).packed, subnet=on.subnets[0], sandbox_id=name),
            ),
        )
        for number, name in enumerate(names)
    ]


def host_with(networks: list[tuple[Network, MadeParent | None]], sandboxes: list[Sandbox]) -> FakeHost:
    host = FakeHost(networks=[on for on, _ in networks], sandboxes=sandboxes)
    host.made = [made for _, made in networks if made is not None]
    return host


def a_host() -> FakeHost:
    """A parent with a network, a VLAN, and a VLAN in that; a dummy; a sandbox on two networks, and one on none."""
    fifty, inner = on_vlan(50), on_vlan(8, "eth0.50")
    tiny = Subnet(IPv4Network("10.99.0.0/30"))
    local = network("local", id="9" * 64, parent=None, link="dm-9", subnets=(tiny,), internal=True, origin="cni")
    dual = network(
        "dual", id="8" * 64, parent="bond0", link="bond0", driver="ipvlan", mode="l2", flag="private",
        subnets=(*DUAL.subnets[1:], Subnet(IPv6Network("2001:db8::/64"))), ipv6=True,
    )  # fmt: skip
    (web,) = boxes_on(network(), "web")
    both = sandbox(endpoints=(*web.endpoints, *boxes_on(fifty[0], *"abcdefghijkl", "web")[-1].endpoints))
    return host_with(
        [(network(), None), (local, MadeParent("dm-9", "dummy", None, None, 8, "b")), fifty, inner, (dual, None)],
        [both, *boxes_on(fifty[0], *(f"w-{number}" for number in range(12))), sandbox("lonely", endpoints=())],
    )


# What stands on what.


def links(topology: Topology) -> list[Any]:
    """Links as (name, names of networks, links on them)."""

    def shown(link: Link) -> Any:
        return link.name, [one.network.name for one in link.networks], [shown(upper) for upper in link.links]

    return [shown(link) for link in topology.links]


def test_sub_interfaces_stand_on_their_parents_in_natural_order() -> None:
    vlans = [on_vlan(vid) for vid in (10, 9, 100)]
    inner, deep = on_vlan(7, "eth0.9"), on_vlan(6, "eth1.5")
    networks = [network(), network("b10", link="eth0"), network("b9", link="eth0")]
    networks += [on for on, _ in (*vlans, inner, deep)]
    made = [one for _, one in (*vlans, inner, deep)]
    made += [MadeParent("eth1.5", "vlan", "eth1", 5, 9, "b"), MadeParent("eth9.1", "vlan", "eth9", 1, 9, "b")]
    found = arranged([NetworkUsage(on, ()) for on in networks], [], made, ["s10", "s9"], {})
    assert links(found) == [
        (
            "eth0",
            ["b9", "b10", "pub_net"],
            [
                ("eth0.9", ["net9"], [("eth0.9.7", ["net7"], [])]),
                ("eth0.10", ["net10"], []),
                ("eth0.100", ["net100"], []),
            ],
        ),
        ("eth1", [], [("eth1.5", [], [("eth1.5.6", ["net6"], [])])]),
    ]
    assert found.unconnected == ("s9", "s10")


@pytest.mark.usefixtures("hasty")
def test_the_topology_of_a_host_has_all_that_is_recorded(machine: Machine) -> None:
    host = machine.host
    host.remove_networks(["lan", "other"]).raise_if_any()
    host.create_network("lan", subnets=["10.0.0.0/24"], parent="eth0")
    host.create_network("fifty", subnets=["10.0.50.0/24"], parent="eth0.50")
    host.create_network("local", subnets=["10.0.99.0/24"])
    host.create_network("unused", subnets=["10.0.98.0/24"], parent="eth0.51")
    host.connect_many("fifty", ["w-10", "w-9"]).raise_if_any()
    host.create_sandbox("web", endpoints=[EndpointRequest.of("lan"), EndpointRequest.of("fifty")])
    host.create_sandbox("lonely")
    found = host.topology()
    (dummy, (name, networks, uppers)) = links(found)
    assert (dummy[0][:3], dummy[1:], name, networks) == ("dm-", (["local"], []), "eth0", ["lan"])
    assert uppers == [("eth0.50", ["fifty"], []), ("eth0.51", ["unused"], [])]
    fifty = found.links[1].links[0]
    assert (fifty.kind, fifty.vid, found.links[0].kind, found.links[1].kind) == ("vlan", 50, "dummy", None)
    assert [one.sandbox for one in fifty.networks[0].endpoints] == ["w-9", "w-10", "web"]
    assert [(pool.in_use, pool.free) for pool in fifty.networks[0].pools] == [(3, 250)]
    assert found.unconnected == ("lonely",)
    recorded = {(one.sandbox, one.network) for box in host.sandboxes() for one in box.endpoints}
    assert recorded == {("w-9", "fifty"), ("w-10", "fifty"), ("web", "lan"), ("web", "fifty")}


def test_a_sub_interface_that_others_made_stands_on_its_link(machine: Machine) -> None:
    """One that is used as it is, one that a sub-interface of ours stands on, and one whose link is elsewhere; not the
    other end of a veth, which the kernel says in the same attribute.
    """
    host, home = machine.host, machine.world.add_home
    host.remove_networks(["lan", "other"]).raise_if_any()
    home(FakeLink(20, "office", kind="vlan", parent=2, vid=20, altnames=["eth0.20"]))
    home(FakeLink(21, "inner", kind="vlan", parent=20, vid=21))
    home(FakeLink(30, "eth1.30", kind="vlan", parent=3, vid=30))
    home(FakeLink(40, "far", kind="vlan", parent=2, parent_netnsid=7, vid=40))
    home(FakeLink(50, "veth", kind="veth", parent=2))
    parents = ["eth0", "office", "inner", "eth1.30.5", "far", "veth"]
    for number, parent in enumerate(parents):
        host.create_network(f"n{number}", subnets=[f"10.{number}.0.0/24"], parent=parent)
    found = host.topology()
    assert links(found) == [
        ("eth0", ["n0"], [("office", ["n1"], [("inner", ["n2"], [])])]),
        ("eth1", [], [("eth1.30", [], [("eth1.30.5", ["n3"], [])])]),
        ("far", ["n4"], []),
        ("veth", ["n5"], []),
    ]
    office, (eth1_30,) = found.links[0].links[0], found.links[1].links
    assert [(one.kind, one.vid) for one in (office, eth1_30, eth1_30.links[0])] == [
        (None, 20), (None, 30), ("vlan", 5),
    ]  # fmt: skip


def test_names_of_different_times_make_no_circle() -> None:
    """By the record, eth0.5 is on eth0; then both were renamed."""
    networks = [network(f"n-{link}", link=link, parent=link) for link in ("eth0", "eth0.5")]
    made = [MadeParent("eth0.5", "vlan", "eth0", 5, 9, "b")]
    found = arranged([NetworkUsage(on, ()) for on in networks], [], made, [], {"eth0": ("eth0.5", 5)})
    assert sorted(re.findall(r"n-[\w.]+", repr(links(found)))) == ["n-eth0", "n-eth0.5"]


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("text", r"^└─ eth0\.7  VLAN 7\n   └─ network own  "),
        ("json", r'"Name": "eth0\.7",\s+"Made": null,\s+"Vlan": 7,'),
        ("dot", r'^  "link eth0" -- "link eth0\.7"$'),
        ("svg", r'<text class="name"[^>]*>eth0\.7</text>\n<text class="note"[^>]*>VLAN 7</text>'),
    ],
)
def test_each_form_shows_a_sub_interface_of_others_on_its_link(form: str, shown: str) -> None:
    own = network("own", id="7" * 64, parent="eth0.7", link="eth0.7")
    host = host_with([(network(), None), (own, None)], [])
    host.vlans = {"eth0.7": ("eth0", 7)}
    said = typed(f"topology --format {form}", host).out
    assert re.search(shown, said, re.MULTILINE), said


# Text.


def screen(columns: int, host: FakeHost, monkeypatch: pytest.MonkeyPatch, options: str = "") -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    said = typed(f"topology {options}", host, screen=True)
    assert (said.status, said.err) == (0, "")
    return said.out


def test_at_80_columns_the_tree_fits_and_says_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        screen(80, a_host(), monkeypatch)
        == """\
bond0
└─ network dual  ipvlan l2 private
   ├─ 192.168.32.0/24  [..........]  0 of 136 in use
   └─ 2001:db8::/64    [..........]  0 of 1.8e+19 in use
dm-9  dummy link
└─ network local  macvlan bridge, internal, of cni
   └─ 10.99.0.0/30  [..........]  0 of 2 in use
eth0
├─ network pub_net  macvlan bridge
│  ├─ 172.16.86.0/24  [#.........]  1 of 253 in use, gateway 172.16.86.1
│  └─ web  172.16.86.10
└─ eth0.50  VLAN 50
   ├─ network net50  macvlan bridge
   │  ├─ 10.0.50.0/24  [#.........]  13 of 253 in use, gateway 10.0.50.1
   │  ├─ w-0 to w-11  12 sandboxes
   │  └─ web          10.0.50.22
   └─ eth0.50.8  VLAN 8
      └─ network net8  macvlan bridge
         └─ 10.0.8.0/24  [..........]  0 of 253 in use, gateway 10.0.8.1
on no network
└─ lonely
"""
    )


def test_a_wide_terminal_and_a_pipe_have_one_line_for_each_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = screen(200, a_host(), monkeypatch)
    assert wide == typed("topology", a_host()).out
    assert "   ├─ 192.168.32.0/24  [....................]  0 of 136 in use\n" in wide
    assert "web  172.16.86.10\n" in wide


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_names_and_addresses_are_never_split(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    words = set(typed("topology", a_host()).out.replace(",", "").split())
    bars = {word for word in words if word.startswith("[")}
    shown = set(screen(columns, a_host(), monkeypatch).replace(",", "").split())
    assert words - bars <= shown
    assert columns < 80 or all(len(line) <= columns for line in screen(80, a_host(), monkeypatch).splitlines())


def test_where_the_output_has_no_lines_the_tree_is_ascii() -> None:
    from macvfast.cli.app import run

    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert run(["topology"], lambda *_, **__: a_host(), Output(stdout, io.StringIO(), None)) == 0  # type: ignore[arg-type]
    stdout.seek(0)
    shown = stdout.read()
    assert "`- network local  macvlan bridge, internal, of cni\n" in shown
    assert shown.isascii()


def test_a_host_without_networks_says_so() -> None:
    assert typed("topology", FakeHost()).out == "no networks\n"
    assert "no networks" in typed("topology --format svg", FakeHost()).out
    assert json.loads(typed("topology --format json", FakeHost()).out) == {"Links": [], "Unconnected": []}


def test_links_cannot_send_a_terminal_control_characters() -> None:
    hostile = network(parent="a\x9b31m", link="a\x9b31m")
    for form in ("text", "dot", "svg", "json"):
        out = typed(f"topology --format {form}", FakeHost(networks=[hostile])).out
        assert all(character.isprintable() or character == "\n" for character in out), form


# Folded.


def titles(nodes: tuple[Node, ...], kinds: tuple[str, ...] = ("sandbox", "more")) -> list[str]:
    return [" ".join((node.title, *node.notes)) for node in nodes if node.kind in kinds]


def folded(*names: str, whole: bool = False) -> list[str]:
    """How sandboxes of one network are shown."""
    host = host_with([(network(), None)], boxes_on(network(), *names))
    ((link,),) = (tree(host.topology(), whole=whole),)
    return [title.partition(" 172")[0] for title in titles(link.children[0].children)]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([f"w-{n}" for n in range(SANDBOXES)], [f"w-{n}" for n in range(SANDBOXES)]),
        ([f"w-{n}" for n in range(9)], ["w-0 to w-8 9 sandboxes"]),
        ([f"w{n:02}" for n in range(5, 15)], ["w05 to w14 10 sandboxes"]),
        ([*(f"w-{n}" for n in range(9)), "w-10", "x"], ["w-0 to w-8 9 sandboxes", "w-10", "x"]),
        ([f"w-{n}" for n in range(0, 20, 2)], [*(f"w-{n}" for n in range(0, 14, 2)), "3 more sandboxes"]),
        (
            [*"abcdefg", *(f"x-{n}" for n in range(1200))],
            [*"abcdefg", "x-0 to x-1199 1,200 sandboxes"],
        ),
        ([*"abcdefgh", *(f"x-{n}" for n in range(1200))], [*"abcdefg", "1,201 more sandboxes"]),
    ],
)
def test_many_sandboxes_are_folded_and_every_one_is_counted(names: list[str], shown: list[str]) -> None:
    assert folded(*names) == shown
    assert folded(*names, whole=True) == names


def test_many_links_are_folded_unless_all_are_asked_for() -> None:
    vlans = [on_vlan(vid) for vid in range(1, LINKS + 11)]
    host = host_with([*vlans], boxes_on(vlans[-1][0], "a", "b"))
    lines = typed("topology", host).out.splitlines()
    assert lines[-1] == "└─ 10 more links  10 networks, 2 endpoints"
    assert sum("network net" in line for line in lines) == LINKS
    whole = typed("topology --all", host).out
    assert (whole.count("network net"), "more links" in whole, "a  10.0.74.10" in whole) == (LINKS + 10, False, True)
    shared = FakeHost(networks=[network(f"n{number}") for number in range(LINKS + 1)])
    assert typed("topology", shared).out.splitlines()[-1] == "└─ 1 more network  0 endpoints"


def test_json_is_whole_however_much_there_is() -> None:
    vlans = [on_vlan(vid) for vid in range(1, LINKS + 11)]
    host = host_with([*vlans], boxes_on(vlans[0][0], *(f"w-{number}" for number in range(30))))
    (eth0,) = json.loads(typed("topology --format json", host).out)["Links"]
    assert [link["Name"] for link in eth0["Links"]] == [f"eth0.{vid}" for vid in range(1, LINKS + 11)]
    (net,) = eth0["Links"][0]["Networks"]
    assert [one["Sandbox"] for one in net["Endpoints"]] == [f"w-{number}" for number in range(30)]
    assert net["Endpoints"][0] == {
        "Sandbox": "w-0",
        "Interface": "eth0",
        "MacAddress": "02:42:ac:10:56:0a",
        "IPv4Address": "10.0.1.10/24",
        "IPv6Address": "",
    }
    assert net["Pools"] == [{"Subnet": "10.0.1.0/24", "InUse": 30, "Free": 223, "Capacity": 253, "Gateway": "10.0.1.1"}]
    assert (eth0["Made"], eth0["Links"][0]["Made"], eth0["Links"][0]["Vlan"]) == (None, "vlan", 1)


# Graphviz.


@pytest.mark.needs("dot")
def test_graphviz_reads_the_graph_and_has_a_sandbox_on_two_networks_once() -> None:
    odd = network("odd", id="7" * 64, parent='e"\\n<b>', link='e"\\n<b>')
    host = a_host()
    host = host_with([(on, None) for on in (*host.networks(), odd)], host.sandboxes())
    done = subprocess.run(
        ["dot", "-Tjson"], input=typed("topology --format dot", host).out, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    graph = json.loads(done.stdout)
    nodes = {node["_gvid"]: node["name"] for node in graph["objects"]}
    edges = [(nodes[edge["tail"]], nodes[edge["head"]]) for edge in graph["edges"]]
    assert len(nodes) == len(set(nodes.values()))
    assert [one for one in edges if one[1] == "sandbox web"] == [
        ("network pub_net", "sandbox web"),
        ("network net50", "sandbox web"),
    ]
    drawn = {text["text"] for node in graph["objects"] for text in node["_ldraw_"] if text["op"] == "T"}
    assert 'e"\\n<b>' in drawn


# SVG.


@pytest.mark.parametrize("style", STYLE.split("@media (prefers-color-scheme: dark)"), ids=["light", "dark"])
def test_text_stands_out_from_its_ground_and_bars_from_theirs(style: str) -> None:
    for ground in (".ground", ".box", ".link", ".network"):
        assert contrast(fill(style, "text"), fill(style, ground)) >= ENHANCED, ground
    for used in (".used", ".used.full"):
        # WCAG 2.1, 1.4.11: what is no text.
        assert contrast(fill(style, used), fill(style, ".track")) >= 3, used


def rectangles(drawing: ET.Element) -> Iterator[tuple[str, float, float, float, float]]:
    for one in drawing.iter("{http://www.w3.org/2000/svg}rect"):
        left, top, width, height = (float(one.get(key, "")) for key in ("x", "y", "width", "height"))
        yield one.get("class", ""), left, top, left + width, top + height


def test_a_picture_is_well_formed_and_no_text_leaves_its_box_and_no_box_meets_another() -> None:
    drawing = ET.fromstring(typed("topology --format svg", a_host()).out)
    shapes = list(rectangles(drawing))
    (ground,) = [shape[1:] for shape in shapes if shape[0] == "ground"]
    boxes = [shape[1:] for shape in shapes if shape[0] in ("box", "link", "network")]
    for number, (left, top, right, bottom) in enumerate(boxes):
        assert ground[0] < left < right < ground[2]
        assert ground[1] < top < bottom < ground[3]
        for other in boxes[number + 1 :]:
            assert right < other[0] or other[2] < left or bottom < other[1] or other[3] < top
    texts = list(drawing.iter("{http://www.w3.org/2000/svg}text"))
    for text in texts:
        x, y, wide = float(text.get("x", "")), float(text.get("y", "")), 8 * len(text.text or "")
        assert any(box[0] < x and x + wide < box[2] and box[1] < y < box[3] for box in boxes), text.text
    said = " ".join(text.text or "" for text in texts)
    for word in ("eth0.50.8", "VLAN 8", "net50", "13 of 253 in use", "w-0 to w-11", "lonely", "internal", "of cni"):
        assert word in said


def test_a_bar_is_as_long_as_its_pool_is_full() -> None:
    shapes = list(rectangles(ET.fromstring(typed("topology --format svg", a_host()).out)))
    tracks = [shape for shape in shapes if shape[0] == "track"]
    # Of the networks in the picture's order; an empty pool has none.
    used = [shape for shape in shapes if shape[0].startswith("used")]
    assert (len(tracks), len(used)) == (6, 2)
    assert [(one[3] - one[1]) / (tracks[0][3] - tracks[0][1]) for one in used] == [2 / 160, 8 / 160]


# The command.


def test_another_form_is_refused_with_those_that_there_are() -> None:
    said = typed("topology --format png")
    assert (said.status, said.out) == (2, "")
    assert "it is text, json, dot or svg" in said.err


def test_help_names_what_draws_the_graph() -> None:
    assert re.search(r"--format dot \| dot -Tpng", typed("topology --help").out)
