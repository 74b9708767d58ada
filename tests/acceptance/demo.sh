#!/usr/bin/env bash
# The guide's first example, typed and checked: a network on eth0, two sandboxes that reach each other and their router.
# Everything lives in network, mount and pid namespaces that end with this script: the machine's own links, namespaces
# and state are neither used nor seen. Ends with 1 if anything is not as the guide says.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

if [[ ${MACVFAST_DEMO:-} != inside ]]; then
  [[ -x $here/.venv/bin/macvfast ]] || { echo "error: type \`make build\` first" >&2; exit 1; }
  [[ $(id -u) == 0 ]] || { echo "error: namespaces are made by root; type: sudo $0" >&2; exit 1; }
  # Bounded: a command that would not let go of its output must not hold a build up.
  MACVFAST_DEMO=inside exec timeout --foreground --kill-after=5 300 \
    unshare --net --mount --propagation private --pid --fork --kill-child --mount-proc bash "${BASH_SOURCE[0]}"
fi
# The first process of a pid namespace hears of Ctrl-C only where it asks to.
trap 'exit 130' INT TERM

export PATH=$here/.venv/bin:$PATH:/usr/sbin:/sbin LC_ALL=C.UTF-8
said=

say() { printf '\n# %s\n' "$*"; }

wrong() {
  printf '\nerror: not as the guide says: %s\n' "$1" >&2
  exit 1
}

# Type a command line: show it, run it, show what it said and keep that in $said. Its exit status must be $1.
typed() {
  local expected=$1 line=$2 status=0
  printf '$ %s\n' "$line"
  said=$(eval "$line" 2>&1) || status=$?
  [[ -z $said ]] || printf '%s\n' "$said"
  [[ $status == "$expected" ]] || wrong "exit status $status, not $expected: $line"
}

expect() { # what it means, a pattern of $said
  grep -Eq -- "$2" <<<"$said" || wrong "$1 (no \`$2\`)"
}

what_is_there() {
  ip -brief link show | awk '{ print "link", $1 }'
  ls /run/netns | sed 's/^/namespace /'
  macvfast network ls -q | sed 's/^/network /'
  macvfast ps -a -q | sed 's/^/sandbox /'
}

lay_the_lan() {
  mkdir -p /run/netns
  mount -t tmpfs tmpfs /run/netns
  state=$(mktemp -d)
  trap 'rm -rf "$state"' EXIT
  export MACVFAST_STATE_DIR=$state MACVFAST_NETNS_DIR=/run/netns
  ip link set lo up
  ip netns add router
  ip link add eth0 type veth peer name lan0 netns router
  ip -n router addr add 172.16.86.1/24 brd + dev lan0
  ip -n router link set lan0 up
  ip addr add 172.16.86.250/24 brd + dev eth0
  ip link set eth0 up
  ip route add default via 172.16.86.1
}

lay_the_lan
before=$(what_is_there)

say 'The host: eth0 is on 172.16.86.0/24, its router is 172.16.86.1.'
typed 0 'ip addr show eth0 | grep -w inet'
expect 'the host has its address' '172\.16\.86\.250/24'

say 'A macvlan network on eth0. Its mode is bridge, as nothing else is asked for.'
typed 0 'macvfast network create -d macvlan --subnet=172.16.86.0/24 --gateway=172.16.86.1 -o parent=eth0 pub_net'
expect 'create prints the id' '^[0-9a-f]{64}$'

say 'A first sandbox, with the address of --ip, left running.'
typed 0 'macvfast run --net=pub_net --ip=172.16.86.10 -itd /bin/sh'
first=$said

say 'A second one, with the next free address, at a terminal.'
session=(macvfast run --net=pub_net -it --rm /bin/sh)
printf '$ %s\n' "${session[*]}"
said=$(cd "$here" && python -m tests.terminal "${session[@]}" <<'LINES'
ping -c 4 172.16.86.10
ping -c 1 172.16.86.1
ip a show eth0
ip route
ping -c 1 -W 1 172.16.86.250
exit 0
LINES
) || wrong "exit status $? of the session: $said"
printf '%s\n' "$said"
expect 'the sandboxes reach each other' '4 packets transmitted, 4 received'
expect 'a sandbox reaches the gateway' '1 packets transmitted, 1 received'
expect 'eth0 is up' 'eth0@if[0-9]+: <BROADCAST,MULTICAST,UP,LOWER_UP'
expect 'the address is .2, its scope global' 'inet 172\.16\.86\.2/24 scope global eth0'
expect 'the default route is by the gateway' 'default via 172\.16\.86\.1 dev eth0'
expect 'the connected route has the source address' '172\.16\.86\.0/24 dev eth0 .*src 172\.16\.86\.2'
expect 'the parent itself is not reached: the kernel keeps it apart' '1 packets transmitted, 0 received, .*100% packet loss'

say 'The router sees the first sandbox as a machine of its own on the LAN.'
typed 0 'ip netns exec router ping -c 1 172.16.86.10'
expect 'the router reaches the sandbox' '1 received'

say 'What there is now: the second sandbox went with its command (--rm).'
typed 0 'macvfast network ls'
expect 'the network is listed' 'pub_net +macvlan'
typed 0 'macvfast ps'
expect 'the first sandbox runs' '172\.16\.86\.10'
if grep -Fqw 172.16.86.2 <<<"$said"; then wrong 'the second sandbox is still there'; fi
typed 0 'macvfast network inspect pub_net'
expect 'inspect shows the gateway' '"Gateway": "172\.16\.86\.1"'
expect 'inspect shows the parent' '"parent": "eth0"'

say 'A network with a sandbox on it is not removed.'
typed 1 'macvfast network rm pub_net'
expect 'the refusal is one error' '^error: '

say 'Remove the sandbox, then the network.'
typed 0 "macvfast rm -f ${first:0:12}"
typed 0 'macvfast network rm pub_net'

say 'Nothing is left: links, namespaces, networks and sandboxes are as before.'
after=$(what_is_there)
printf '%s\n' "$after"
[[ $after == "$before" ]] || wrong "before there was: $before"

say 'All as the guide says.'
