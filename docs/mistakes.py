"""The mistakes that people make most with macvlan networks: what is typed, what Docker says, what macvfast says.

docs/errors.md shows them; tests/parity/test_mistakes.py types them at both. The host has links eth0 to eth3: eth0 and
eth1 free, eth2 a port of bridge br0, eth3 down. Sandboxes and containers c0 and c1 are there and on no network.
"""

from __future__ import annotations

from typing import NamedTuple


class Said(NamedTuple):
    """What a later release of Docker says, or what comes of it where it says nothing."""

    release: str
    docker: str = ""
    unnoticed: str = ""


class Mistake(NamedTuple):
    """One of them.

    Attributes:
        line: what is typed after the word `docker` or `macvfast`.
        docker: what Docker 20.10 says, with `…` for ids; nothing where it succeeds, or is not asked.
        macvfast: what macvfast says.
        before: what is typed first, at both.
        unnoticed: what comes of it where Docker says nothing.
        status: macvfast's exit status.
        later: what Docker says from other releases on, in their order.
    """

    title: str
    line: str
    docker: str
    macvfast: str
    before: tuple[str, ...] = ()
    unnoticed: str = ""
    status: int = 1
    later: tuple[Said, ...] = ()


def _create(rest: str) -> str:
    return f"network create -d macvlan {rest}"


LAB = _create("--subnet=172.16.86.0/24 --gateway=172.16.86.1 -o parent=eth0 lab")

MISTAKES = (
    Mistake(
        "A second network on a parent",
        _create("--subnet=10.1.0.0/24 -o parent=eth0 second"),
        docker="network dm-… is already using parent interface eth0",
        macvfast="""\
error: network `second` cannot use parent `eth0`
  caused by: network `lab` holds it

hint: `macvfast network update -o share_parent=true lab`, then -o share_parent=true here
hint: or remove `lab` first: `macvfast network rm lab`""",
        before=(LAB,),
        later=(Said("28.5", unnoticed="the network is made: from 27.0 on, a parent has several"),),
    ),
    Mistake(
        "A subnet that overlaps another",
        _create("--subnet=172.16.0.0/16 -o parent=eth0 -o share_parent=true second"),
        docker="Pool overlaps with other one on this address space",
        macvfast="""\
error: subnet `172.16.0.0/16` is taken
  caused by: it overlaps `172.16.86.0/24` of network `lab` on the same LAN

hint: give another --subnet, or remove `lab` first: `macvfast network rm lab`""",
        before=(_create("--subnet=172.16.86.0/24 -o parent=eth0 -o share_parent=true lab"),),
    ),
    Mistake(
        "A parent that is a port of a bridge",
        _create("--subnet=10.1.0.0/24 -o parent=eth2 lab"),
        docker="",
        macvfast="""\
error: link `eth2` cannot be a parent
  caused by: it is a port of bridge `br0`

hint: -o parent=br0""",
        unnoticed="the network is made, and no container starts on it: `device or resource busy`",
    ),
    Mistake(
        "A parent that is not there",
        _create("--subnet=10.1.0.0/24 -o parent=eth9 lab"),
        docker="invalid subinterface vlan name eth9, example formatting is eth0.10",
        macvfast="""\
error: parent `eth9` not found
  caused by: no link has that name, and it is not of the form NAME.VID

hint: `ip link` lists the links""",
    ),
    Mistake(
        "A VLAN on a link that is down",
        _create("--subnet=10.1.0.0/24 -o parent=eth3.10 lab"),
        docker="failed to create eth3.10 vlan link: operation not supported",
        macvfast="""\
error: link `eth3` cannot be a parent
  caused by: it is down, and a VLAN on it cannot come up

hint: ip link set eth3 up""",
    ),
    Mistake(
        "A VLAN id out of range",
        _create("--subnet=10.1.0.0/24 -o parent=eth0.4095 lab"),
        docker="vlan id must be between 1-4094, received: 4095",
        macvfast="""\
error: option `-o parent` cannot be `eth0.4095`
  caused by: `4095` is not a VLAN id: 1 to 4094, without leading zeros

hint: -o parent=eth0.1, or another of them""",
    ),
    Mistake(
        "A VLAN in a VLAN",
        _create("--subnet=10.1.0.0/24 -o parent=eth0.10.20 lab"),
        docker="required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received eth0.10.20",
        macvfast="""\
error: parent `eth0.10.20` not found
  caused by: neither it nor `eth0.10` exists

hint: a VLAN in a VLAN: `ip link add link eth0 name eth0.10 up type vlan id 10` first""",
    ),
    Mistake(
        "The loopback link as a parent",
        _create("--subnet=10.1.0.0/24 -o parent=lo lab"),
        docker="loopback interface is not a valid macvlan parent link",
        macvfast="""\
error: link `lo` cannot be a parent
  caused by: it is the loopback link: no frame leaves by it

hint: leave out -o parent for a network within this host""",
    ),
    Mistake(
        "An option with a typing error",
        _create("--subnet=10.1.0.0/24 -o parnet=eth0 lab"),
        docker="operation not supported",
        macvfast="""\
error: `parnet` is not a known option of driver `macvlan`
  caused by: known: `bc_queue_len`, `bclim`, `ipam_order`, `ipv6_ra`, `macvlan_mode`, `mtu`, `parent`, `share_parent`

hint: did you mean `parent`?""",
    ),
    Mistake(
        "A mode that is not one",
        _create("--subnet=10.1.0.0/24 -o parent=eth0 -o macvlan_mode=Bridge lab"),
        docker="requested macvlan mode 'Bridge' is not valid, 'bridge' mode is the macvlan driver default",
        macvfast="""\
error: option `-o macvlan_mode` cannot be `Bridge`
  caused by: it is one of bridge, private, vepa, passthru

hint: -o macvlan_mode=bridge""",
    ),
    Mistake(
        "No subnet",
        _create("-o parent=eth0 lab"),
        docker="",
        macvfast="""\
error: a subnet is missing
  caused by: network `lab` has a parent, so its subnet must be that of the LAN

hint: eth0 is on 172.16.86.0/24: --subnet=172.16.86.0/24""",
        unnoticed="the network is made, with a subnet of Docker's own that the LAN does not know",
    ),
    Mistake(
        "A subnet with host bits",
        _create("--subnet=172.16.86.5/24 -o parent=eth0 lab"),
        docker="",
        macvfast="""\
error: `172.16.86.5/24` is not a usable subnet
  caused by: it has host bits set: 172.16.86.0/24 is meant

hint: --subnet=172.16.86.0/24""",
        unnoticed="the network is made, with the subnet that was not typed",
        later=(Said("26.1", "invalid subnet 172.16.86.5/24: it should be 172.16.86.0/24"),),
    ),
    Mistake(
        "A gateway outside of the subnet",
        _create("--subnet=10.1.0.0/24 --gateway=10.2.0.1 -o parent=eth0 lab"),
        docker="no matching subnet for gateway 10.2.0.1",
        macvfast="""\
error: `10.2.0.1` cannot be the gateway
  caused by: no subnet of the network contains it (10.1.0.0/24)

hint: --gateway=10.1.0.1, or another of its addresses; or --gateway=none""",
    ),
    Mistake(
        "The router as an aux address, without --gateway",
        _create("--subnet=10.1.0.0/24 --aux-address=router=10.1.0.1 -o parent=eth0 lab"),
        docker="failed to allocate secondary ip address (router:10.1.0.1): Address already in use",
        macvfast="""\
error: `router=10.1.0.1` cannot be an aux address
  caused by: it is the gateway of 10.1.0.0/24, which no --gateway names

hint: give the gateway with --gateway, or none with --gateway none""",
    ),
    Mistake(
        "--ipv6 without an IPv6 subnet",
        _create("--subnet=10.1.0.0/24 --ipv6 -o parent=eth0 lab"),
        docker="could not find an available, non-overlapping IPv6 address pool among the defaults to assign to the …",
        macvfast="""\
error: option `--ipv6` cannot be `true`
  caused by: no IPv6 subnet is given

hint: --subnet=2001:db8:1::/64""",
        later=(Said("28.5", unnoticed="the network is made, with an IPv6 subnet that Docker chooses"),),
    ),
    Mistake(
        "An MTU larger than the parent's",
        _create("--subnet=10.1.0.0/24 -o parent=eth0 -o mtu=9000 lab"),
        docker="",
        macvfast="""\
error: option `-o mtu` cannot be `9000`
  caused by: parent `eth0` has an MTU of 1500

hint: -o mtu=1500, or `ip link set eth0 mtu 9000` first""",
        unnoticed="the network is made, and the option ignored",
    ),
    Mistake(
        "An address that another one has",
        "network connect --ip=172.16.86.10 lab c1",
        docker="Address already in use",
        macvfast="""\
error: address 172.16.86.10 is taken
  caused by: it is held by sandbox `c0` on network `lab`

hint: leave the address out for the next free one, or `macvfast rm -f c0` first""",
        before=(
            LAB,
            "network connect --ip=172.16.86.10 lab c0",
        ),
    ),
    Mistake(
        "An address outside of the subnet",
        "network connect --ip=172.16.87.10 lab c0",
        docker="Invalid address 172.16.87.10: It does not belong to any of this network's subnets",
        macvfast="""\
error: address 172.16.87.10 is outside network `lab`
  caused by: its subnets of that family are `172.16.86.0/24`

hint: give an address of 172.16.86.0/24, or leave it out for the next free one""",
        before=(LAB,),
        later=(Said("26.1", "no configured subnet or ip-range contain the IP address 172.16.87.10"),),
    ),
    Mistake(
        "No address left",
        "network connect lab c1",
        docker="no available IPv4 addresses on this network's address pools: lab (…)",
        macvfast="""\
error: no free IPv4 address in network `lab`
  caused by: every address of `10.1.0.0/30` for automatic allocation is in use

hint: remove a sandbox that is not needed: `macvfast ps -a -f network=lab` lists them""",
        before=(
            _create("--subnet=10.1.0.0/30 -o parent=eth0 lab"),
            "network connect lab c0",
        ),
    ),
    Mistake(
        "Removing a network that is in use",
        "network rm lab",
        docker="error while removing network: network lab id … has active endpoints",
        macvfast="""\
error: network `lab` has endpoints
  caused by: connected: `c0`

hint: `macvfast network disconnect lab c0`, or `macvfast rm -f c0`""",
        before=(
            LAB,
            "network connect lab c0",
        ),
        later=(Said("28.5", 'error while removing network: network lab has active endpoints (name:"c0" id:"…")'),),
    ),
    Mistake(
        "A second endpoint on a passthru network",
        "network connect lab c1",
        docker="failed to create the macvlan port: invalid argument",
        macvfast="""\
error: passthru network `lab` takes one endpoint only
  caused by: sandbox `c0` is connected

hint: `macvfast network disconnect lab c0`""",
        before=(
            _create("--subnet=10.1.0.0/24 -o parent=eth0 -o macvlan_mode=passthru lab"),
            "network connect lab c0",
        ),
    ),
    Mistake(
        "A name for the others to find it by",
        "network connect --alias=web lab c0",
        docker="",
        macvfast="""\
error: option `--alias` is not taken
  caused by: a sandbox has no name server that could resolve the name

hint: --add-host NAME:ADDRESS with `macvfast run` or `create` puts a name into a sandbox's /etc/hosts
hint: `macvfast network connect --help` shows the usage""",
        before=(LAB,),
        unnoticed="the name is found by the containers on the network",
        status=2,
    ),
    Mistake(
        "An image's name",
        "run --net=none alpine:3.20 ip address",
        docker="Unable to find image 'alpine:3.20' locally",
        macvfast="""\
error: command `alpine:3.20` not found
  caused by: no directory of PATH has it

hint: macvfast runs this host's commands, without an image: leave `alpine:3.20` out: `… ip address`""",
        status=127,
    ),
)
