"""Names, MACs, addresses, options and requests: what is refused is refused when the value is made."""

from __future__ import annotations

import pytest

from macvfast.errors import (
    AddressInvalid,
    MacInvalid,
    MacvfastError,
    NameInvalid,
    OptionInvalid,
    OptionUnknown,
    SomeFailed,
)
from macvfast.model import check_name, mac_text, parse_address, parse_mac
from macvfast.outcomes import Outcome, Outcomes
from macvfast.requests import EndpointRequest, NetworkRequest


@pytest.mark.parametrize("name", ["a", "0", "lan", "eth0.10", "A_b-c.d", "a" * 128, "1.2.3.4"])
def test_names_of_letters_digits_and_three_signs_are_names(name: str) -> None:
    assert check_name("network", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        ".a",
        "_a",
        "a" * 129,
        "a b",
        "a/b",
        "a\n",
        "\n",
        "a\0",
        "ä",
        "aé",
        "a\u0660",
        "a:b",
        "..",
        "a\udcff",
        "\x1b[0m",
    ],
)
def test_other_names_are_refused_and_shown_without_control_characters(name: str) -> None:
    with pytest.raises(NameInvalid) as caught:
        check_name("sandbox", name)
    assert caught.value.name == name
    assert caught.value.line.isprintable()
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        ("02:42:ac:10:56:0a", b"\x02\x42\xac\x10\x56\x0a"),
        ("02-42-AC-10-56-0A", b"\x02\x42\xac\x10\x56\x0a"),
        ("0242.aC10.560a", b"\x02\x42\xac\x10\x56\x0a"),
        (b"\x02\x42\xac\x10\x56\x0a", b"\x02\x42\xac\x10\x56\x0a"),
        # A universal address is allowed: it may be a moved machine's.
        ("00:16:3e:00:00:01", b"\x00\x16\x3e\x00\x00\x01"),
        ("fe:ff:ff:ff:ff:ff", b"\xfe\xff\xff\xff\xff\xff"),
    ],
)
def test_macs_are_read_in_the_spellings_that_docker_takes(text: str | bytes, mac: bytes) -> None:
    assert parse_mac(text) == mac
    assert parse_mac(mac_text(mac)) == mac


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "form"),
        ("02:42:ac:10:56", "form"),
        ("02:42:ac:10:56:0a:00", "form"),
        ("02:42-ac:10:56:0a", "form"),
        ("0242.ac10.560a.", "form"),
        ("0242.ac10:560a", "form"),
        ("02.42.ac.10.56.0a", "form"),
        ("0242ac10560a", "form"),
        ("0242:ac10:560a", "form"),
        # Eight bytes, which Go takes and no link here has.
        ("0242.ac10.560a.0001", "form"),
        ("02:42:ac:10:56:0a:00:01", "form"),
        ("2:42:ac:10:56:a", "form"),
        ("02:42:ac:10:56:0g", "form"),
        ("02:42:ac:10:56:0a\n", "form"),
        ("٠2:42:ac:10:56:0a", "form"),
        ("01:42:ac:10:56:0a", "multicast"),
        ("ff:ff:ff:ff:ff:ff", "multicast"),
        ("00:00:00:00:00:00", "all zero"),
        (b"", "6 bytes"),
        (b"\x02\x42", "6 bytes"),
        (b"\x02" * 7, "6 bytes"),
        (2, "neither a text nor bytes"),
    ],
)
def test_macs_that_no_link_can_have_are_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(MacInvalid, match=reason):
        parse_mac(text)


@pytest.mark.parametrize(
    ("text", "version"),
    [("172.16.86.10", 4), ("255.255.255.255", 4), ("10.0.0.0", 4), ("2001:db8::1", 6), ("fe80::1", 6), ("fd00::", 6)],
)
def test_addresses_of_links_are_read(text: str, version: int) -> None:
    assert str(parse_address(text, version)) == text


@pytest.mark.parametrize(
    ("text", "version", "reason"),
    [
        ("", 4, "not an IPv4 address"),
        (2887144970, 4, "not an IPv4 address"),
        (b"\xac\x10\x56\x0a", 4, "not an IPv4 address"),
        (True, 4, "not an IPv4 address"),
        ("172.16.86", 4, "not an IPv4 address"),
        ("172.16.86.10/24", 4, "not an IPv4 address"),
        ("172.16.086.10", 4, "not an IPv4 address"),
        ("172.16.86.10 ", 4, "not an IPv4 address"),
        ("2001:db8::1", 4, "is an IPv6 address"),
        ("172.16.86.10", 6, "is an IPv4 address"),
        ("::ffff:172.16.86.10", 6, "IPv4-mapped"),
        ("fe80::1%eth0", 6, "zone"),
        ("0.0.0.0", 4, "an unspecified"),
        ("::", 6, "an unspecified"),
        ("127.0.0.1", 4, "a loopback"),
        ("::1", 6, "a loopback"),
        ("224.0.0.1", 4, "a multicast"),
        ("ff02::1", 6, "a multicast"),
    ],
)
def test_addresses_that_no_endpoint_can_have_are_refused(text: str, version: int, reason: str) -> None:
    with pytest.raises(AddressInvalid, match=reason):
        parse_address(text, version)


def test_an_endpoint_request_is_checked_however_it_is_made() -> None:
    good = EndpointRequest.of("lan", "web", ip="172.16.86.10", ip6="2001:db8::1", mac="02:42:ac:10:56:0a")
    assert (good.ip, good.ip6) == (parse_address("172.16.86.10", 4), parse_address("2001:db8::1", 6))
    with pytest.raises(AddressInvalid):
        EndpointRequest(network="lan", ip=good.ip6)
    with pytest.raises(AddressInvalid):
        EndpointRequest(network="lan", ip6=good.ip)
    with pytest.raises(MacInvalid):
        EndpointRequest(network="lan", mac=b"\x02")


# Networks.


@pytest.mark.parametrize(("driver", "mode", "flag"), [("macvlan", "bridge", None), ("ipvlan", "l2", "bridge")])
def test_each_driver_has_its_default_mode_and_flag(driver: str, mode: str, flag: str | None) -> None:
    made = NetworkRequest(name="n", driver=driver)
    assert (made.mode, made.flag, made.order, made.ipv6_ra, made.share_parent) == (mode, flag, "lowest", None, False)


@pytest.mark.parametrize(
    ("driver", "key", "value", "attribute", "meant"),
    [
        ("macvlan", "parent", "eth0.50", "parent", "eth0.50"),
        *(("macvlan", "macvlan_mode", mode, "mode", mode) for mode in ("bridge", "private", "vepa", "passthru")),
        ("macvlan", "macvlan_mode", "", "mode", "bridge"),
        *(("ipvlan", "ipvlan_mode", mode, "mode", mode) for mode in ("l2", "l3", "l3s")),
        *(("ipvlan", "ipvlan_flag", flag, "flag", flag) for flag in ("bridge", "private", "vepa")),
        ("macvlan", "mtu", "68", "mtu", 68),
        ("macvlan", "mtu", "65535", "mtu", 65535),
        ("macvlan", "share_parent", "true", "share_parent", True),
        ("macvlan", "share_parent", "false", "share_parent", False),
        ("macvlan", "ipam_order", "next", "order", "next"),
        ("macvlan", "ipv6_ra", "off", "ipv6_ra", False),
        ("macvlan", "ipv6_ra", "on", "ipv6_ra", True),
    ],
)
def test_each_option_says_what_it_says(driver: str, key: str, value: str, attribute: str, meant: object) -> None:
    made = NetworkRequest.from_options("n", driver=driver, options=[(key, value)])
    assert getattr(made, attribute) == meant
    assert made.options == ((key, value),)


@pytest.mark.parametrize(
    ("driver", "key", "known"),
    [
        ("macvlan", "ipvlan_mode", "macvlan_mode"),
        ("macvlan", "ipvlan_flag", "macvlan_mode"),
        ("ipvlan", "macvlan_mode", "ipvlan_mode"),
        ("macvlan", "", "parent"),
        ("macvlan", "com.docker.network.driver.mtu", "mtu"),
        ("macvlan", "Parent", "parent"),
    ],
)
def test_an_unknown_option_is_refused_with_the_known_ones(driver: str, key: str, known: str) -> None:
    with pytest.raises(OptionUnknown) as caught:
        NetworkRequest.from_options("n", driver=driver, options=[(key, "x")])
    assert known in caught.value.known
    assert known in str(caught.value)


@pytest.mark.parametrize(
    ("driver", "key", "value"),
    [
        ("macvlan", "macvlan_mode", "Bridge"),
        ("macvlan", "macvlan_mode", "l2"),
        ("macvlan", "macvlan_mode", "source"),
        ("ipvlan", "ipvlan_mode", "bridge"),
        ("ipvlan", "ipvlan_flag", "l2"),
        ("macvlan", "mtu", ""),
        ("macvlan", "mtu", "67"),
        ("macvlan", "mtu", "65536"),
        ("macvlan", "mtu", "-1500"),
        ("macvlan", "mtu", "1500.0"),
        ("macvlan", "mtu", "1_500"),
        ("macvlan", "mtu", "²"),
        # int() refuses so many digits with a ValueError.
        ("macvlan", "mtu", "9" * 5000),
        ("macvlan", "share_parent", "yes"),
        ("macvlan", "share_parent", ""),
        ("macvlan", "ipam_order", "random"),
        ("macvlan", "ipv6_ra", "true"),
        ("macvlan", "parent", ""),
        ("macvlan", "parent", ".."),
        ("macvlan", "parent", "a b"),
        ("macvlan", "parent", "a/b"),
        ("macvlan", "parent", "a:1"),
        ("macvlan", "parent", "eth0\n"),
        ("macvlan", "parent", "x" * 128),
        ("macvlan", "parent", "\udcff"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_refused(driver: str, key: str, value: str) -> None:
    with pytest.raises(OptionInvalid) as caught:
        NetworkRequest.from_options("n", driver=driver, options=[(key, value)])
    assert (caught.value.key, caught.value.value) == (key, value)
    assert caught.value.line.isprintable()


@pytest.mark.parametrize(
    ("driver", "typed", "meant"),
    [
        ("macvlan", "vlan=10", "-o parent=eth0.10"),
        ("macvlan", "vlan=10,mtu=1500", "-o parent=eth0.10 -o mtu=1500"),
        ("macvlan", "parent=eth1 vlan=10", "-o parent=eth1.10"),
        ("macvlan", "parent=eth1,vlan=10", "-o parent=eth1.10"),
        ("macvlan", "parent=eth1, mtu=1500", "-o parent=eth1 -o mtu=1500"),
        ("macvlan", "mtu=1500,parent=eth1", "-o mtu=1500 -o parent=eth1"),
        ("macvlan", "mode=bridge", "-o macvlan_mode=bridge"),
        ("macvlan", "mode=l2", "-d ipvlan -o ipvlan_mode=l2"),
        ("macvlan", "ipvlan_mode=l3", "-d ipvlan -o ipvlan_mode=l3"),
        ("ipvlan", "macvlan_mode=vepa", "-d macvlan -o macvlan_mode=vepa"),
        ("ipvlan", "mode=l3s", "-o ipvlan_mode=l3s"),
        ("macvlan", "host_iface=eth0", "-o parent=eth0"),
        ("macvlan", "master=eth2", "-o parent=eth2"),
        ("macvlan", "macvlan_mod=vepa", "macvlan_mode"),
    ],
)
def test_words_of_other_programs_have_what_is_typed_here_as_the_hint(driver: str, typed: str, meant: str) -> None:
    options = [(key, value) for key, _, value in (word.partition("=") for word in typed.replace(", ", ",").split(" "))]
    with pytest.raises((OptionUnknown, OptionInvalid)) as caught:
        NetworkRequest.from_options("n", driver=driver, options=options)
    assert caught.value.hints == (f"did you mean `{meant}`?",)


@pytest.mark.parametrize("typed", ["vlan=", "mode=", "vlan=10,x", "odd=1,mtu=1500"])
def test_where_nobody_can_tell_there_is_no_guess(typed: str) -> None:
    key, _, value = typed.partition("=")
    with pytest.raises((OptionUnknown, OptionInvalid)) as caught:
        NetworkRequest.from_options("n", options=[(key, value)])
    assert "did you mean" not in "".join(caught.value.hints)


def test_the_last_value_of_a_repeated_option_counts() -> None:
    made = NetworkRequest.from_options("n", options=[("parent", "eth0"), ("mtu", "1400"), ("parent", "eth1")])
    assert (made.parent, made.options) == ("eth1", (("parent", "eth1"), ("mtu", "1400")))


@pytest.mark.parametrize("driver", ["", "bridge", "MACVLAN", "host"])
def test_an_unknown_driver_is_refused_with_the_known_ones(driver: str) -> None:
    for make in (NetworkRequest.from_options, NetworkRequest):
        with pytest.raises(OptionUnknown) as caught:
            make(name="n", driver=driver)
        assert caught.value.known == ("ipvlan", "macvlan")


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(OptionInvalid, match="share_parent"):
        NetworkRequest(name="n", mode="passthru", share_parent=True)
    with pytest.raises(OptionInvalid, match="belongs to the driver `ipvlan`"):
        NetworkRequest(name="n", flag="private")


@pytest.mark.parametrize(
    ("options", "wants"),
    [
        ({}, True),
        ({"parent": None}, False),
        ({"mode": "passthru"}, True),
        ({"driver": "ipvlan"}, True),
        ({"driver": "ipvlan", "mode": "l3"}, False),
        ({"driver": "ipvlan", "mode": "l3s"}, False),
        ({"internal": True}, False),
        ({"gateway_automatic": False}, False),
    ],
)
def test_a_gateway_is_reserved_except_where_there_is_no_use_for_it(options: dict[str, object], wants: bool) -> None:
    assert NetworkRequest(name="n", **{"parent": "eth0", **options}).wants_gateways is wants  # type: ignore[arg-type]


# Outcomes.


def outcomes(*errors: MacvfastError | None) -> Outcomes[str]:
    return Outcomes(tuple(Outcome(str(n), value=None if e else "v", error=e) for n, e in enumerate(errors)))


def test_outcomes_are_a_sequence_that_knows_its_failures() -> None:
    error = MacvfastError("no")
    several = outcomes(None, error, None)
    assert len(several) == 3
    assert [item.name for item in several] == ["0", "1", "2"]
    assert several[-1].ok
    assert [item.name for item in several[1:]] == ["1", "2"]
    assert isinstance(several[1:], Outcomes)
    assert [item.error for item in several.failed] == [error]


def test_the_one_error_of_one_item_is_raised_as_it_is_and_several_are_counted() -> None:
    outcomes(None, None).raise_if_any()
    outcomes().raise_if_any()
    error = MacvfastError("no")
    with pytest.raises(MacvfastError) as caught:
        outcomes(error).raise_if_any()
    assert caught.value is error
    with pytest.raises(SomeFailed, match="1 of 2 failed") as some:
        outcomes(None, error).raise_if_any()
    assert some.value.failures == (("1", error),)
    assert some.value.exit_status == 3


def test_ipv4_is_off_where_that_is_asked_for_and_every_subnet_is_of_ipv6() -> None:
    assert NetworkRequest(name="lab", subnets=("fd00::/64",), ipv4=False, ipv6=True).subnets == ("fd00::/64",)
    for subnets, ipv4, why in (
        (("10.0.0.0/24", "fd00::/64"), False, "subnet 10.0.0.0/24 is of IPv4"),
        ((), False, "no IPv6 subnet is given"),
        (("fd00::/64",), True, "no IPv4 subnet is given"),
    ):
        with pytest.raises(OptionInvalid) as refused:
            NetworkRequest(name="lab", subnets=subnets, ipv4=ipv4)
        assert refused.value.causes == (why,)


def test_only_an_engines_network_has_endpoints_without_addresses() -> None:
    """A person who switches both families off has made a mistake."""
    with pytest.raises(OptionInvalid):
        NetworkRequest(name="lab", ipv4=False, ipv6=False)
    assert not NetworkRequest(name="lab", ipv4=False, ipv6=False, origin="cni").wants_subnet
    assert NetworkRequest(name="lab", origin="cni").wants_subnet
