"""Lines that are typed wrong in the first minutes, and what macvfast says of them.

docs/errors.md shows them; tests/parity/test_mistakes.py types them, on a host as docs/mistakes.py describes it.
"""

from __future__ import annotations

from docs.mistakes import LAB, Mistake

WEB = "create --net=none --name=web"

MISTYPED = (
    Mistake(
        "A name of a network with a typing error",
        "network inspect lbb",
        docker="",
        macvfast="""\
error: network `lbb` not found
  caused by: no network has that name, or an id that begins so

hint: did you mean `lab`?
hint: `macvfast network ls` lists them""",
        before=(LAB,),
    ),
    Mistake(
        "A name of a sandbox with a typing error",
        "exec wbe true",
        docker="",
        macvfast="""\
error: sandbox `wbe` not found
  caused by: no sandbox has that name, or an id that begins so

hint: did you mean `web`?
hint: `macvfast ps -a` lists them""",
        before=(WEB,),
        status=125,
    ),
    Mistake(
        "A parent with a typing error",
        "network create -d macvlan --subnet=10.1.0.0/24 -o parent=ehh1 lab",
        docker="",
        macvfast="""\
error: parent `ehh1` not found
  caused by: no link has that name, and it is not of the form NAME.VID

hint: did you mean `eth1`?
hint: `ip link` lists the links""",
    ),
    Mistake(
        "A VLAN as an option",
        "network create -d macvlan --subnet=10.1.0.0/24 -o parent=eth1 -o vlan=50 lab",
        docker="",
        macvfast="""\
error: `vlan` is not a known option of driver `macvlan`
  caused by: known: `bc_queue_len`, `bclim`, `ipam_order`, `ipv6_ra`, `macvlan_mode`, `mtu`, `parent`, `share_parent`

hint: did you mean `-o parent=eth1.50`?""",
    ),
    Mistake(
        "A VLAN behind a colon",
        "network create -d macvlan --subnet=10.1.0.0/24 -o parent=eth1:50 lab",
        docker="",
        macvfast="""\
error: option `-o parent` cannot be `eth1:50`
  caused by: it cannot be the name of a link

hint: did you mean `-o parent=eth1.50`?""",
    ),
    Mistake(
        "The parent as an option of its own",
        "network create -d macvlan --subnet=10.1.0.0/24 --parent=eth1 lab",
        docker="",
        macvfast="""\
error: `--parent` is not an option of `macvfast network create`
  caused by: a word that begins with `-` is an option, unless it follows `--`

hint: did you mean `-o parent=eth1`?
hint: `macvfast network create --help` shows the usage""",
        status=2,
    ),
    Mistake(
        "The parent without its key",
        "network create -d macvlan --subnet=10.1.0.0/24 -o eth1 lab",
        docker="",
        macvfast="""\
error: option `-o` cannot be `eth1`
  caused by: it has the form KEY=VALUE

hint: -o parent=eth1
hint: `macvfast network create --help` shows the usage""",
        status=2,
    ),
    Mistake(
        "The parent as `ip link` shows it",
        "network create -d macvlan --subnet=10.1.0.0/24 -o parent=eth1@if5 lab",
        docker="",
        macvfast="""\
error: parent `eth1@if5` not found
  caused by: no link has that name, and it is not of the form NAME.VID

hint: did you mean `-o parent=eth1`?
hint: `ip link` lists the links""",
    ),
    Mistake(
        "Spaces around `=`",
        "network create -d macvlan lab --subnet=10.1.0.0/24 -o parent = eth1",
        docker="",
        macvfast="""\
error: option `-o` cannot be `parent`
  caused by: it has the form KEY=VALUE

hint: without spaces: -o parent=LINK
hint: `macvfast network create --help` shows the usage""",
        status=2,
    ),
    Mistake(
        "Sandbox and network in the wrong order",
        "network connect web lab",
        docker="",
        macvfast="""\
error: network `web` not found
  caused by: no network has that name, or an id that begins so

hint: the network comes first: `macvfast network connect lab web`
hint: `macvfast network ls` lists them""",
        before=(
            LAB,
            WEB,
        ),
    ),
    Mistake(
        "The same with `scale`",
        "scale web=3 lab",
        docker="",
        macvfast="""\
error: `lab` is not PREFIX=COUNT
  caused by: COUNT is a number of sandboxes, called PREFIX-0, PREFIX-1, …

hint: the network comes first: `macvfast scale lab web=3`
hint: `macvfast scale --help` shows the usage""",
        before=(LAB,),
        status=2,
    ),
    Mistake(
        "A name behind a group of commands",
        "ipam lab",
        docker="",
        macvfast="""\
error: `lab` is not a command of `macvfast ipam`
  caused by: its commands are show

hint: did you mean `macvfast ipam show lab`?
hint: `macvfast ipam --help` shows the usage""",
        before=(LAB,),
        status=2,
    ),
    Mistake(
        "Another program's word for a command",
        "network delete lab",
        docker="",
        macvfast="""\
error: `delete` is not a command of `macvfast network`
  caused by: its commands are create, ls, inspect, update, rm, prune, connect, disconnect, import

hint: `macvfast network rm NETWORK`
hint: `macvfast network --help` shows the usage""",
        before=(LAB,),
        status=2,
    ),
    Mistake(
        "A command of another group",
        "ipam rm lab",
        docker="",
        macvfast="""\
error: `rm` is not a command of `macvfast ipam`
  caused by: its commands are show

hint: did you mean `macvfast rm` or `macvfast network rm`?
hint: `macvfast ipam --help` shows the usage""",
        before=(LAB,),
        status=2,
    ),
    Mistake(
        "A name behind a list",
        "network ls lab",
        docker="",
        macvfast="""\
error: `macvfast network ls` takes no argument
  caused by: `lab` is one too many

hint: `macvfast network inspect lab` shows one network, `macvfast network ls -f name=lab` those of such a name
hint: `macvfast network ls --help` shows the usage""",
        before=(LAB,),
        status=2,
    ),
    Mistake(
        "A sandbox behind `ps`",
        "ps c0",
        docker="",
        macvfast="""\
error: `macvfast ps` takes no argument
  caused by: `c0` is one too many

hint: `macvfast ps -a -f name=c0` shows a sandbox, `macvfast ps -a -f network=c0` those on a network
hint: `macvfast ps --help` shows the usage""",
        status=2,
    ),
    Mistake(
        "A network as a sandbox",
        "rm lab",
        docker="",
        macvfast="""\
error: sandbox `lab` not found
  caused by: no sandbox has that name, or an id that begins so

hint: `lab` is a network: `macvfast network rm lab`
hint: `macvfast ps -a` lists them""",
        before=(LAB,),
    ),
    Mistake(
        "A sandbox as a network",
        "network rm web",
        docker="",
        macvfast="""\
error: network `web` not found
  caused by: no network has that name, or an id that begins so

hint: `web` is a sandbox: `macvfast rm web`
hint: `macvfast network ls` lists them""",
        before=(WEB,),
    ),
    Mistake(
        "A network in the place of the command",
        "run lab true",
        docker="",
        macvfast="""\
error: command `lab` not found
  caused by: no directory of PATH has it

hint: `lab` is a network: `macvfast run --net=lab COMMAND`
hint: install it, or give its whole path""",
        before=(LAB,),
        status=127,
    ),
    Mistake(
        "A sandbox in the place of the command",
        "run --net=none web",
        docker="",
        macvfast="""\
error: command `web` not found
  caused by: no directory of PATH has it

hint: `web` is a sandbox: `macvfast exec web COMMAND`
hint: install it, or give its whole path""",
        before=(WEB,),
        status=127,
    ),
    Mistake(
        "No command",
        "exec -it c0",
        docker="",
        macvfast="""\
error: `macvfast exec` needs COMMAND [ARG...]
  caused by: it was given only c0

hint: `macvfast exec -it c0 sh` opens a shell
hint: `macvfast exec --help` shows the usage""",
        status=125,
    ),
    Mistake(
        "An address with leading zeros",
        "network connect --ip=172.16.86.012 lab c0",
        docker="",
        macvfast="""\
error: `172.16.86.012` is not a usable address
  caused by: it is not an IPv4 address

hint: without leading zeros: `172.16.86.12`""",
        before=(LAB,),
    ),
    Mistake(
        "An address with its prefix length",
        "network connect --ip=172.16.86.12/24 lab c0",
        docker="",
        macvfast="""\
error: `172.16.86.12/24` is not a usable address
  caused by: it is not an IPv4 address

hint: leave the prefix length out: `172.16.86.12`""",
        before=(LAB,),
    ),
    Mistake(
        "An option of the other driver",
        "network create -d ipvlan --subnet=10.1.0.0/24 -o parent=eth1 -o bclim=3 lab",
        docker="",
        macvfast="""\
error: `bclim` is not a known option of driver `ipvlan`
  caused by: known: `ipam_order`, `ipv6_ra`, `ipvlan_flag`, `ipvlan_mode`, `mtu`, `parent`, `share_parent`

hint: did you mean `-d macvlan -o bclim=3`?""",
    ),
    Mistake(
        "Several options that are not taken",
        "run --privileged -p 80:80 --cap-add NET_ADMIN --net=none true",
        docker="",
        macvfast="""\
error: options `--privileged`, `-p` and `--cap-add` are not taken
  caused by: `--privileged`: the command has the rights of the user who starts it; -u gives it another user
  caused by: `-p`: a sandbox has an address of its own on the LAN: every port of it is reachable there
  caused by: `--cap-add`: the command has the rights of the user who starts it; -u gives it another user

hint: `-p`: leave it out
hint: `macvfast run --help` shows the usage""",
        status=125,
    ),
    Mistake(
        "Several options of the driver that are unknown",
        "network create -d macvlan --subnet=10.1.0.0/24 -o parnet=eth1 -o vlan=50 lab",
        docker="",
        macvfast="""\
error: `parnet` is not a known option of driver `macvlan`
  caused by: known: `bc_queue_len`, `bclim`, `ipam_order`, `ipv6_ra`, `macvlan_mode`, `mtu`, `parent`, `share_parent`

hint: `parnet`: did you mean `parent`?
hint: `vlan`: did you mean `-o parent=eth0.50`?""",
    ),
    Mistake(
        "A mode as a driver",
        "network create -d bridge --subnet=10.1.0.0/24 -o parent=eth1 lab",
        docker="",
        macvfast="""\
error: `bridge` is not a known driver
  caused by: known: `ipvlan`, `macvlan`

hint: `bridge` is a mode here: -d macvlan -o macvlan_mode=bridge""",
    ),
    Mistake(
        "A subnet without its prefix length",
        "network create -d macvlan --subnet=10.1.0.0 -o parent=eth1 lab",
        docker="",
        macvfast="""\
error: `10.1.0.0` is not a usable subnet
  caused by: it has no prefix length

hint: --subnet=10.1.0.0/24, for example""",
    ),
    Mistake(
        "Two sandboxes at once",
        "network connect lab c0 c1",
        docker="",
        macvfast="""\
error: `macvfast network connect` takes NETWORK SANDBOX
  caused by: `c1` is one too many

hint: one sandbox at a time: `macvfast network connect NETWORK c1` for the next
hint: `macvfast network connect --help` shows the usage""",
        before=(LAB,),
        status=2,
    ),
    Mistake(
        "A filter without its key",
        "network ls -f lab",
        docker="",
        macvfast="""\
error: option `-f` cannot be `lab`
  caused by: it has the form KEY=VALUE

hint: -f name=lab
hint: `macvfast network ls --help` shows the usage""",
        before=(LAB,),
        status=2,
    ),
)
