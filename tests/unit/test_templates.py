"""Templates: whatever is typed after `--format` is shown or refused; no escape sequence of others either."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from macvfast.cli.show.functions import FUNCTIONS
from macvfast.cli.show.networks import INSPECTED, inspected
from macvfast.cli.show.templates import Template
from macvfast.cli.usage import Usage
from macvfast.ipam.fullness import fullness
from tests.unit.cli_bed import DUAL, DUAL_BOX, FakeHost, endpoint, network, sandbox, typed

if TYPE_CHECKING:
    from macvfast.model import Network
    from macvfast.outcomes import SubnetUsage

WORDS = st.sampled_from(
    [
        *FUNCTIONS,
        "true",
        "false",
        "nil",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        ":=",
        "=",
        "|",
        "(",
        ")",
        ",",
        ".",
        "$",
        "$x",
        "$y",
        *(f".{name}" for name in INSPECTED),
        ".Label",
        ".Nope",
        "$.Name",
        "$x.Name",
        ".IPAM.Config",
        '""',
        '"a"',
        '"%d"',
        '"%s %v %q"',
        "`b`",
        '"\\\\"',
        "0",
        "1",
        "-1",
        "7",
        "9" * 30,
        "{{",
        "}}",
        "{{-",
        "-}}",
        "/*",
        "*/",
    ]
)
ANY_TEXT = st.text(max_size=30) | st.lists(WORDS, max_size=12).map(" ".join)
VALUES = st.recursive(
    st.sampled_from(
        [
            ".",
            "$",
            "$x",
            *(f".{name}" for name in INSPECTED),
            ".IPAM.Config",
            ".ConfigFrom.Network",
            "nil",
            "true",
            "0",
            "-3",
            "12",
            "99",
            '""',
            '"a"',
            '"parent"',
            '"%d"',
            '"%5.2s|%x"',
            '"%c"',
            '"%999999999d"',
            '"%"',
            "`,`",
        ]
    ),
    lambda inner: st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.lists(inner, min_size=1, max_size=3)).map(
        lambda call: f"({call[0]} {' '.join(call[1])})"
    ),
    max_leaves=6,
)
FORMS: st.SearchStrategy[str] = st.recursive(
    VALUES.map(lambda value: f"{{{{{value}}}}}") | VALUES.map(lambda value: f"{{{{$x := {value}}}}}") | st.just(" - "),
    lambda inner: (
        st.tuples(st.sampled_from(["if", "range", "with", "range $x, $y :="]), VALUES, inner, inner).map(
            lambda block: f"{{{{{block[0]} {block[1]}}}}}{block[2]}{{{{else}}}}{block[3]}{{{{end}}}}"
        )
        | st.tuples(inner, inner).map("".join)
    ),
    max_leaves=4,
)
NETWORKS = [
    (network("plain"), []),
    (network("empty", subnets=(), options=(), parent=None), []),
    (network("labels", labels=(("a\x1b[31m", "\x07\u200e"), ("", ""))), [endpoint(sandbox="x\ny")]),
    (DUAL, [*DUAL_BOX.endpoints]),
]


def usage_of(net: Network) -> list[SubnetUsage]:
    return [fullness(subnet, set()) for subnet in net.subnets]


@given(
    text=FORMS | ANY_TEXT | ANY_TEXT.map(lambda text: f"{{{{{text}}}}}"), which=st.sampled_from(range(len(NETWORKS)))
)
@settings(max_examples=1500, deadline=None)
@example(text='{{split .Name ""}}', which=0)
@example(text="{{index .Labels .IPAM}}", which=0)
@example(text='{{printf "%c" 99999999999}}', which=0)
@example(text='{{printf "%999999999d" 1}}', which=0)
@example(text='{{printf "%*d" 999999999 1}}', which=0)
@example(text=f"{{{{{'9' * 5000}}}}}", which=0)
@example(text=f"{{{{{'(' * 3000}.Name{')' * 3000}}}}}", which=0)
@example(text=f"{{{{.Name{' | upper' * 3000}}}}}", which=0)
@example(text=f"{'{{if .Name}}' * 3000}{'{{end}}' * 3000}", which=0)
@example(text=f"{'{{if .Name}}{{else if .Id}}' + '{{else if .Id}}' * 3000}{'{{end}}'}", which=0)
@example(text="{{truncate .Name -2}}", which=0)
@example(text="{{index .IPAM.Config true}}", which=0)
@example(text="{{" + " " * 100_000, which=0)
@example(text="{{.Name}}" + " " * 100_000 + "x", which=0)
def test_whatever_is_typed_is_shown_or_refused(text: str, which: int) -> None:
    """Wrong: a template ends as a bug, with status 70, or takes the memory or the time of the machine."""
    net, endpoints = NETWORKS[which]
    with suppress(Usage):
        shown = Template(text, INSPECTED).render(inspected(net, endpoints, usage_of(net)))
        assert len(shown) < 1 << 20
        typed_by_the_user = set(text) | set("\n\t")
        assert all(character.isprintable() or character in typed_by_the_user for character in shown)


@given(text=FORMS | ANY_TEXT.filter(lambda text: text not in ("", "json")))
@settings(max_examples=300, deadline=None)
def test_a_list_takes_any_template_or_refuses_it(text: str) -> None:
    host = FakeHost(networks=[net for net, _ in NETWORKS], sandboxes=[sandbox(), DUAL_BOX])
    for command in ("network ls", "ps -a"):
        for form in (text, f"table {text}"):
            said = typed([*command.split(), "--format", form], host)
            assert said.status in (0, 2), said.err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # As Go's strings.Split: between all characters.
        ('{{split .Name ""}}', "[p l a i n]"),
        ('{{join (split .Name "") "-"}}', "p-l-a-i-n"),
        ('{{split "" ""}}', "[]"),
        ('{{split "" "x"}}', "[]"),
        ('{{printf "%5s|%-5s|%05d|%x|%t|%q|%v|%%" "a" "b" 7 255 true "c" 1}}', '    a|b    |00007|ff|true|"c"|1|%'),
        ('{{printf "%.2s" "abc"}}', "ab"),
        ('{{printf "%s" .Options}}', "map[parent:eth0]"),
        ("{{truncate .Name 2}}", "pl"),
        ("{{pad .Name 1 2}}|", " plain  |"),
        ('{{pad "" 1 2}}|', "|"),
        ("{{.ID}} {{$.ID}}", f"{network('plain').id} {network('plain').id}"),
        # Fields that Docker's answer has, and its JSON leaves out; keys of users' that are not there.
        ("{{range .IPAM.Config}}{{.IPRange}}{{.AuxAddress.printer}}|{{end}}{{.Labels.tier}}{{.Origin}}", "|"),
        ("{{truncate .Name 99}}", "plain"),
        ("{{.Name}}{{- /* */ -}} x", "plainx"),
        ("{{.Name}}   {{- .Name -}}   {{.Name}}", "plainplainplain"),
    ],
)
def test_what_a_function_gives(text: str, shown: str) -> None:
    assert Template(text, INSPECTED).render(inspected(network("plain"), [], [])) == shown


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("{{.Name}}", False),
        ("{{.IPAM.Config}} {{range .Containers}}{{.Name}}{{end}}", False),
        ("{{$.Name}} {{(index .IPAM.Config 0).Subnet}}", False),
        ("{{.Status}}", True),
        ("{{json .}}", True),
        ("{{.}}", True),
        ("{{json $}}", True),
        ('{{index . "Sta" }}', True),
        ("{{range $key, $value := .}}{{$key}}{{end}}", True),
        ("{{with .IPAM}}{{json $}}{{end}}", True),
    ],
)
def test_what_may_show_the_status_is_known_beforehand(text: str, may: bool) -> None:
    assert Template(text, INSPECTED).may_name("Status") == may


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{truncate .Name -1}}", "`truncate` wants a number from 0 on"),
        ("{{.IPAM.Subnets}}", "`Subnets` is not one of the fields there: Driver, Options, Config"),
        ("{{(index .IPAM.Config 0).Nope}}", "`Nope` is not one of the fields there: Subnet, Gateway"),
        ("{{.Name.First}}", "`First` is not a field of plain"),
        ("{{.Options.parent.mtu}}", "`mtu` is not a field of eth0"),
        ("{{.Labels.tier.zone}}", "`zone` is not a field of nothing"),
        ("{{.ConfigFrom.Nope}}", "`Nope` is not one of the fields there: Network"),
        ("{{pad .Name 1 -1}}", "`pad` wants two numbers from 0 on"),
        ("{{pad .Name 1 1000}}", "`pad`: 1000 is wider than a line"),
        ("{{truncate .Name true}}", "`truncate` wants a number from 0 on"),
        ("{{index .IPAM.Config true}}", "index true is out of range"),
        ("{{index .Labels .IPAM}}", "index map[Config:"),
        ("{{index .Labels 1}}", "index 1 is out of range"),
        ("{{99999999999999999999}}", "99999999999999999999 is larger than a number can be"),
        ('{{printf "%c" 7}}', "`printf` knows no %c"),
        ('{{printf "%d" .Name}}', "`printf`: %d wants a number"),
        ('{{printf "%d"}}', "`printf`: a value is missing for %d"),
        ('{{printf "a" 1}}', "`printf`: 1 value is left over"),
        ('{{printf "%99999d" 1}}', "`printf`: 99999 is wider than a line"),
        ('{{printf "%" 1}}', "`printf` knows no %"),
        (f"{{{{{'(' * 3000}}}}}", "it is nested too deeply"),
    ],
)
def test_what_cannot_be_is_said(text: str, why: Any) -> None:
    said = typed(["network", "inspect", "-f", text, "plain"], FakeHost(networks=[network("plain")]))
    assert (said.status, said.out) == (2, "")
    assert why in said.err


@pytest.mark.parametrize(("field", "shown"), [("IPAddress", "172.16.86.10"), ("IPPrefixLen", "24"), ("Gateway", "")])
def test_what_docker_says_beside_its_networks_is_hinted_at_in_each_of_them(field: str, shown: str) -> None:
    host = FakeHost(sandboxes=[sandbox("web")])
    said = typed(["inspect", "-f", f"{{{{.NetworkSettings.{field}}}}}", "web"], host)
    assert said.status == 2
    assert f"`{field}` is not one of the fields there: SandboxKey, Networks" in said.err
    hint = f"{{{{range .NetworkSettings.Networks}}}}{{{{.{field}}}}}{{{{end}}}}"
    assert f"hint: {hint}\n" in said.err
    assert shown in typed(["inspect", "-f", hint, "web"], host).out


def test_a_field_that_no_network_has_either_is_not_looked_for_there() -> None:
    said = typed(["inspect", "-f", "{{.NetworkSettings.Ports}}", "web"], FakeHost(sandboxes=[sandbox("web")]))
    assert "`Ports` is not one of the fields there: SandboxKey, Networks" in said.err
    assert "range .NetworkSettings" not in said.err
